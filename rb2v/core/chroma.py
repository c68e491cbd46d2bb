"""The siting of chroma: how far Cb and Cr of a camera's recordings lie beside its luma, found from the recordings.

An encoder that makes 4:2:0 chooses where chroma lies, and few streams say so. In most places of an image one chroma
plane is an affine function of luma, so that their edges lie on each other once chroma is put where it belongs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from rb2v.core.planes import Planes

_WINDOW_PX = 6  # of chroma: so few that mostly two colors meet, and enough to fit a line and a shift
_SMOOTHING_PX = 0.5  # of chroma: more would blend colors that do not meet
_MIN_SLOPE = 1.0  # levels by which a chroma pixel's shift changes a window, root mean square: an encoder's noise
_MAX_ROUNDS = 12  # three are usual
_SETTLED_PX = 1e-3  # of chroma; a hundredth of what matters
_TAPS = 4  # of a shift, to either side, by Lanczos's kernel
_MAX_OFFSET_PX = 2.0  # of luma; standard sitings lie within half a pixel of the middle
_BORDER_PX = 6  # of chroma: where shifts of luma reach out of the image
_ROBUST_SCALE = 1.0  # in median residuals; with 3 errors were a quarter larger on the five rigs it was chosen on
_MIN_WINDOWS = 30  # fewer do not tell how well they agree


@dataclass(frozen=True)
class SitingEstimate:
    """Where the first sample of chroma lies, in luma pixels from the first sample of luma, and standard errors."""

    x: float
    y: float
    error_x: float
    error_y: float


def estimate_siting(recordings: Sequence[Sequence[Planes]]) -> SitingEstimate:
    """Estimate the siting of chroma from frames of one camera.

    Parameters
    ----------
    recordings : sequence of sequence of Planes
        Frames of one size, by the scene that they show: what frames of one scene say alike counts once in the errors.

    Raises
    ------
    ValueError
        If too few places show edges that luma and chroma share.

    References
    ----------
    .. [1] ITU-T H.273, section 8.7, for the standard sitings.
    .. [2] Omer and Werman, "Color lines: image specific color representation", CVPR 2004.
    """
    scenes = [[_Windows(planes) for planes in frames] for frames in recordings]
    offset = np.zeros(2)  # of chroma pixels, from the middle of four luma pixels
    for _ in range(_MAX_ROUNDS):
        matrix, vector, _ = _equations(scenes, offset)
        step = np.linalg.solve(matrix, vector)
        offset = offset + step
        if not np.abs(2 * offset).max() < _MAX_OFFSET_PX:
            raise ValueError("luma and chroma share no edges")
        if np.abs(step).max() < _SETTLED_PX:
            break
    matrix, _, scatter = _equations(scenes, offset)
    inverse = np.linalg.inv(matrix)
    errors = 2 * np.sqrt(np.diag(inverse @ scatter @ inverse))
    x, y = 2 * offset + 0.5
    return SitingEstimate(float(x), float(y), float(errors[0]), float(errors[1]))


def _equations(
    scenes: Sequence[Sequence[_Windows]], offset: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return the normal matrix and the right-hand side of a step, and the covariance of the latter."""
    matrix, vector, scatter, n_windows = np.zeros((2, 2)), np.zeros(2), np.zeros((2, 2)), 0
    for scene in scenes:
        for windows in scene:
            of_windows, vectors = windows.equations(offset)
            matrix += of_windows
            vector += vectors.sum(axis=0)
            # Frames of one scene may all be off alike.
            scatter += len(scene) * vectors.T @ vectors
            n_windows += len(vectors)
    if n_windows < _MIN_WINDOWS or np.linalg.eigvalsh(matrix)[0] <= 0:
        raise ValueError(f"only {n_windows} places show an edge in luma and in chroma")
    return matrix, vector, scatter


class _Windows:
    """Both planes of chroma beside luma of the same size, window by window."""

    def __init__(self, planes: Planes) -> None:
        height, width = planes.chroma[0].shape
        # Means of four lie in their middle, to which offsets refer.
        luma = np.asarray(cv2.resize(planes.luma, (width, height), interpolation=cv2.INTER_AREA), dtype=np.uint8)
        self._luma = _smoothed(luma)
        self._chroma = [_in_windows(_smoothed(plane)) for plane in planes.chroma]

    def equations(self, offset: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the normal matrix of a step, and the (n, 2) right-hand sides of the windows that say something."""
        across, down = (_shift_kernel(float(along)) for along in offset)
        moved = np.asarray(cv2.sepFilter2D(self._luma, -1, across, down), dtype=np.float32)
        slopes = np.gradient(moved)
        luma, dx, dy = (_in_windows(np.asarray(plane, np.float32)) for plane in (moved, slopes[1], slopes[0]))
        energy = np.maximum((luma * luma).sum(axis=1), 1e-6)
        # What a change of the gain explains, a shift need not.
        dx, dy = (slope - ((slope * luma).sum(axis=1) / energy)[:, None] * luma for slope in (dx, dy))
        matrix, vectors = np.zeros((2, 2)), []
        for chroma in self._chroma:
            gain = (luma * chroma).sum(axis=1) / energy
            residual = chroma - gain[:, None] * luma
            steps = [gain[:, None] * slope for slope in (dx, dy)]
            counts = np.sqrt((steps[0] ** 2 + steps[1] ** 2).mean(axis=1)) > _MIN_SLOPE
            if not counts.any():
                continue
            noise = np.square(residual[counts]).mean(axis=1, dtype=np.float64)
            floor = _ROBUST_SCALE * float(np.median(noise)) + 1e-9
            # A window in which chroma is no function of luma, as where three colors meet, says little.
            weights = 1 / (floor * (1 + noise / floor) ** 2)
            x, y = (step[counts] for step in steps)
            cross = float((weights * (x * y).sum(axis=1)).sum())
            squares = [float((weights * (one * one).sum(axis=1)).sum()) for one in (x, y)]
            matrix += np.array([[squares[0], cross], [cross, squares[1]]])
            vectors.append(np.stack([weights * (one * residual[counts]).sum(axis=1) for one in (x, y)], axis=1))
        return matrix, np.concatenate(vectors) if vectors else np.zeros((0, 2))


def _smoothed(plane: NDArray[np.uint8]) -> NDArray[np.float32]:
    return np.asarray(cv2.GaussianBlur(plane.astype(np.float32), (0, 0), _SMOOTHING_PX), dtype=np.float32)


def _shift_kernel(offset: float) -> NDArray[np.float64]:
    """Return the filter that makes a row show what it has farther to the right by an offset, in pixels."""
    places = np.arange(-_TAPS, _TAPS + 1) - offset
    weights = np.sinc(places) * np.sinc(places / _TAPS) * (np.abs(places) < _TAPS)
    return np.asarray(weights / weights.sum(), dtype=np.float64)


def _in_windows(plane: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return a plane without its border as (n, pixels) windows, each without its mean."""
    height, width = ((side - 2 * _BORDER_PX) // _WINDOW_PX for side in plane.shape)
    inner = plane[_BORDER_PX : _BORDER_PX + height * _WINDOW_PX, _BORDER_PX : _BORDER_PX + width * _WINDOW_PX]
    windows = inner.reshape(height, _WINDOW_PX, width, _WINDOW_PX).transpose(0, 2, 1, 3).reshape(height * width, -1)
    return np.asarray(windows - windows.mean(axis=1, keepdims=True), dtype=np.float32)
