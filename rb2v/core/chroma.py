"""The siting of chroma: how far Cb and Cr of a camera's recordings lie beside its luma, found from the recordings.

An encoder that makes 4:2:0 chooses where chroma lies, and few streams say so. In most places of a picture one chroma
plane is an affine function of luma, so that their edges lie on each other once chroma is put where it belongs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import spline_filter
from scipy.ndimage import shift as shift_image

from rb2v.core.planes import Planes

_WINDOW_PX = 6  # of chroma: so few that mostly two colors meet, and enough to fit a line and a shift
_SMOOTHING_PX = 0.5  # of chroma: more would blend colors that do not meet
_MIN_SLOPE = 2.0  # levels per chroma pixel, root mean square: several times an encoder's noise
_MAX_ROUNDS = 12
_SETTLED_PX = 1e-3
_MAX_OFFSET_PX = 2.0  # of luma; standard sitings lie within half a pixel of the middle
_BORDER_PX = 3
_ROBUST_SCALE = 1.0
_MIN_WINDOWS = 30


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
    scenes = [
        [_Windows(planes.luma, plane) for planes in frames for plane in planes.chroma] for frames in recordings
    ]
    offset = np.zeros(2)  # of chroma pixels, from the middle of four luma pixels
    for _ in range(_MAX_ROUNDS):
        matrix, scores = _equations(scenes, offset)
        step = np.linalg.solve(matrix, scores.sum(axis=0))
        offset = offset + step
        if not np.abs(2 * offset).max() < _MAX_OFFSET_PX:
            raise ValueError("luma and chroma share no edges")
        if np.abs(step).max() < _SETTLED_PX:
            break
    matrix, scores = _equations(scenes, offset)
    inverse = np.linalg.inv(matrix)
    covariance = inverse @ (scores.T @ scores) @ inverse
    errors = 2 * np.sqrt(np.diag(covariance))
    x, y = (2 * offset + 0.5).tolist()
    return SitingEstimate(float(x), float(y), float(errors[0]), float(errors[1]))


def _equations(
    scenes: Sequence[Sequence[_Windows]], offset: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the (2, 2) normal matrix of a step, and the (n, 2) right-hand sides of places that say something."""
    matrix, scores, n_windows = np.zeros((2, 2)), [], 0
    for scene in scenes:
        total: NDArray[np.float64] | None = None
        for windows in scene:
            of_windows, vectors, n = windows.equations(offset)
            matrix += of_windows
            n_windows += n
            total = vectors if total is None else total + vectors
        if total is not None:
            scores.append(total)
    if n_windows < _MIN_WINDOWS or np.linalg.eigvalsh(matrix)[0] <= 0:
        raise ValueError(f"only {n_windows} places show an edge in luma and in chroma")
    return matrix, np.concatenate(scores)


class _Windows:
    """A plane of chroma beside luma of the same size, window by window."""

    def __init__(self, luma: NDArray[np.uint8], chroma: NDArray[np.uint8]) -> None:
        height, width = chroma.shape
        # Means of four lie in their middle, to which offsets refer.
        halved = cv2.resize(luma[: 2 * height, : 2 * width], (width, height), interpolation=cv2.INTER_AREA)
        smooth = [
            cv2.GaussianBlur(plane.astype(np.float32), (0, 0), _SMOOTHING_PX).astype(np.float64)
            for plane in (halved, chroma)
        ]
        self._spline = spline_filter(smooth[0], order=3, mode="mirror")
        self._chroma = _in_windows(smooth[1])

    def equations(self, offset: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64], int]:
        """Return the normal matrix of a step, every window's right-hand side, and how many windows say something."""
        moved = shift_image(self._spline, -offset[::-1], order=3, mode="mirror", prefilter=False)
        slopes = np.gradient(moved)
        luma, dx, dy = (_in_windows(plane) for plane in (moved, slopes[1], slopes[0]))
        chroma = self._chroma
        energy = np.maximum((luma * luma).sum(axis=1), 1e-9)
        gain = (luma * chroma).sum(axis=1) / energy
        residual = chroma - gain[:, None] * luma
        # What a change of the gain explains, a shift need not.
        steps = [
            gain[:, None] * (slope - ((slope * luma).sum(axis=1) / energy)[:, None] * luma) for slope in (dx, dy)
        ]
        strength = np.sqrt(sum((step * step).mean(axis=1) for step in steps))
        counts = strength > _MIN_SLOPE / 2
        if not counts.any():
            return np.zeros((2, 2)), np.zeros((len(gain), 2)), 0
        noise = np.square(residual).mean(axis=1)
        floor = float(np.median(noise[counts])) + 1e-9
        # A window in which chroma is no function of luma, as where three colors meet, says little.
        weights = counts / (floor * (1 + noise / (_ROBUST_SCALE * floor)) ** 2)
        matrix = np.array([[float((weights * (a * b).sum(axis=1)).sum()) for b in steps] for a in steps])
        vectors = np.stack([weights * (step * residual).sum(axis=1) for step in steps], axis=1)
        return matrix, vectors, int(counts.sum())


def _in_windows(plane: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return a plane without its border as (n, pixels) windows, each without its mean."""
    height, width = ((side - 2 * _BORDER_PX) // _WINDOW_PX for side in plane.shape)
    inner = plane[_BORDER_PX : _BORDER_PX + height * _WINDOW_PX, _BORDER_PX : _BORDER_PX + width * _WINDOW_PX]
    windows = inner.reshape(height, _WINDOW_PX, width, _WINDOW_PX).transpose(0, 2, 1, 3).reshape(height * width, -1)
    return windows - windows.mean(axis=1, keepdims=True)
