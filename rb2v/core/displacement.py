"""Residual displacement between two registered views, place by place."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from rb2v.core.homography import Homography
from rb2v.core.refinement import FloatImage, ImagePair, local_scale

_SCALES = ((4.0, 0.1), (2.0, 0.03), (1.0, 0.004))  # smoothing, and how near the step comes there, in pixels
_MAX_ITERATIONS = 8  # only a bound, of each scale
_MAX_ERROR_PX = 0.25  # standard error; larger ones tell nothing where places agree within 0.5 and 0.25 px
_MIN_CORRELATION = 0.5  # of the matched gradients; less is another thing, or noise
_MIN_SHARE = 0.5  # of a window, that both views must show
_SURE_STEP_PX = 0.2  # so near, one Gauss-Newton step is enough: what it leaves falls with a higher power of it
_SURE_CORRELATION = 0.8  # of the gradients as they lie; what matches less is measured from coarse to fine


@dataclass(frozen=True)
class Displacement:
    """Where a registered view lies beside the other one around a place."""

    dx: float
    dy: float
    """In target pixels."""
    error_px: float
    """Standard error of the larger component."""


def local_displacements(
    pair: ImagePair, homography: Homography, centers: NDArray[np.float64], radius_px: int
) -> list[Displacement | None]:
    """Measure the displacement that a homography leaves in windows about some places.

    Gradients are matched by Gauss-Newton steps from a coarse scale to a fine one; where they match nearly as they
    are, by a single step at the fine scale.

    Parameters
    ----------
    pair : ImagePair
        The two views.
    homography : (3, 3) ndarray
        From source to target pixels.
    centers : (n, 2) ndarray
        Middles of the windows in target pixels.
    radius_px : int
        Half the side of a window.

    Returns
    -------
    list of Displacement or None
        One for each place: None where too little is seen there to tell, or the views differ in more than a shift.

    References
    ----------
    .. [1] Lucas and Kanade, "An iterative image registration technique with an application to stereo vision",
       IJCAI 1981.
    """
    views = _Views(pair, homography)
    return [
        found if found is not None else _measure(views, pair.target_mask, homography, center, radius_px)
        for center, found in zip(centers, _step_once(views, pair, homography, centers, radius_px), strict=True)
    ]


class _Views:
    """Both views at every scale, the coarse ones made when they are first asked for."""

    def __init__(self, pair: ImagePair, homography: Homography) -> None:
        self._pair = pair
        self._scale = local_scale(homography, (pair.target.shape[1], pair.target.shape[0]))
        self._smoothed: dict[float, tuple[FloatImage, FloatImage]] = {}
        self.shape = pair.target.shape
        counted = np.ones(pair.source.shape, np.float32) if pair.source_mask is None else pair.source_mask
        self.source_counts: FloatImage = counted.astype(np.float32)

    def at(self, smoothing_px: float) -> tuple[FloatImage, FloatImage]:
        """Return the source and the target, smoothed by a Gaussian of so many target pixels."""
        if smoothing_px not in self._smoothed:
            source = cv2.GaussianBlur(self._pair.source, (0, 0), smoothing_px / self._scale)
            target = cv2.GaussianBlur(self._pair.target, (0, 0), smoothing_px)
            self._smoothed[smoothing_px] = (np.asarray(source, np.float32), np.asarray(target, np.float32))
        return self._smoothed[smoothing_px]


def _step_once(
    views: _Views, pair: ImagePair, homography: Homography, centers: NDArray[np.float64], radius_px: int
) -> list[Displacement | None]:
    """Return the displacements of the windows in which a single step, taken in all of them at once, is sure."""
    height, width = views.shape
    source, target = views.at(_SCALES[-1][0])
    warped = np.asarray(cv2.warpPerspective(source, homography, (width, height)), dtype=np.float32)
    seen = cv2.warpPerspective(views.source_counts, homography, (width, height)) > 0.999
    if pair.target_mask is not None:
        seen &= pair.target_mask
    counted = cv2.erode(seen.astype(np.uint8), np.ones((5, 5), np.uint8)).astype(np.float32)
    # Sums over windows of all products of slopes, the warped gradient and the target's.
    products = [[np.zeros((height, width), np.float32) for _ in range(4)] for _ in range(4)]
    for order in ((1, 0), (0, 1)):
        of_target, of_warped = (cv2.Scharr(image, cv2.CV_32F, *order, scale=1 / 32) for image in (target, warped))
        mean = 0.5 * (of_target + of_warped)
        slopes = [cv2.Scharr(mean, cv2.CV_32F, *along, scale=1 / 32) for along in ((1, 0), (0, 1))]
        channels = [channel * counted for channel in (*slopes, of_warped, of_target)]
        for i in range(4):
            for j in range(i, 4):
                products[i][j] += channels[i] * channels[j]
    integrals = {(i, j): _integral(products[i][j]) for i in range(4) for j in range(i, 4)}
    area = _integral(counted)
    found: list[Displacement | None] = []
    for center in centers:
        left, right, top, bottom = _window(center, radius_px, (height, width))
        n_pixels = _sum(area, left, right, top, bottom)
        if (
            right - left < radius_px
            or bottom - top < radius_px
            or n_pixels < _MIN_SHARE * (right - left) * (bottom - top)
        ):
            found.append(None)
            continue
        sums = np.zeros((4, 4))
        for (i, j), integral in integrals.items():
            sums[i, j] = sums[j, i] = _sum(integral, left, right, top, bottom)
        step = _solve_sums(sums, 2 * n_pixels)
        is_sure = (
            step is not None
            and np.abs(step.step).max() < _SURE_STEP_PX
            and step.error_px < _MAX_ERROR_PX
            and step.correlation > _SURE_CORRELATION
        )
        found.append(_displacement(step.step, step.error_px) if step is not None and is_sure else None)
    return found


def _window(center: NDArray[np.float64], radius_px: int, shape: tuple[int, ...]) -> tuple[int, int, int, int]:
    """Return the left, right, top and bottom sides of what a window holds of an image."""
    left, right = (int(np.clip(round(center[0]) + side * radius_px, 0, shape[1])) for side in (-1, 1))
    top, bottom = (int(np.clip(round(center[1]) + side * radius_px, 0, shape[0])) for side in (-1, 1))
    return left, right, top, bottom


def _integral(image: FloatImage) -> NDArray[np.float64]:
    return np.asarray(cv2.integral(image), dtype=np.float64)


def _displacement(shift: NDArray[np.float64], error_px: float) -> Displacement:
    return Displacement(float(shift[0]), float(shift[1]), error_px)


def _sum(integral: NDArray[np.float64], left: int, right: int, top: int, bottom: int) -> float:
    return float(integral[bottom, right] - integral[top, right] - integral[bottom, left] + integral[top, left])


def _measure(
    views: _Views,
    target_mask: NDArray[np.bool_] | None,
    homography: Homography,
    center: NDArray[np.float64],
    radius_px: int,
) -> Displacement | None:
    left, right, top, bottom = _window(center, radius_px, views.shape)
    if right - left < radius_px or bottom - top < radius_px:
        return None
    window = np.s_[top:bottom, left:right]
    shift, found = np.zeros(2), None
    for smoothing_px, precision_px in _SCALES:
        source, target = views.at(smoothing_px)
        for _ in range(_MAX_ITERATIONS):
            # What lies at x + shift in the registered view comes to x.
            to_window = np.array([[1.0, 0, -left - shift[0]], [0, 1.0, -top - shift[1]], [0, 0, 1]]) @ homography
            size = (right - left, bottom - top)
            warped = cv2.warpPerspective(source, to_window, size, flags=cv2.INTER_LINEAR)
            seen = cv2.warpPerspective(views.source_counts, to_window, size) > 0.999
            if target_mask is not None:
                seen &= target_mask[window]
            seen = cv2.erode(seen.astype(np.uint8), np.ones((5, 5), np.uint8)) > 0
            if seen.mean() < _MIN_SHARE:
                return None
            found = _solve(np.asarray(warped, dtype=np.float32), target[window], seen)
            if found is None:
                return None
            shift = shift + found.step
            if np.abs(shift).max() > radius_px:
                return None
            if np.abs(found.step).max() < precision_px:
                break
    if found is None or found.error_px > _MAX_ERROR_PX or found.correlation < _MIN_CORRELATION:
        return None
    return _displacement(shift, found.error_px)


@dataclass(frozen=True, eq=False)
class _Step:
    step: NDArray[np.float64]
    error_px: float
    correlation: float


def _solve(warped: FloatImage, target: FloatImage, seen: NDArray[np.bool_]) -> _Step | None:
    rows = np.empty((4, 2, int(seen.sum())))
    for channel, order in enumerate(((1, 0), (0, 1))):
        of_target, of_warped = (cv2.Scharr(image, cv2.CV_32F, *order, scale=1 / 32) for image in (target, warped))
        mean = 0.5 * (of_target + of_warped)
        slopes = [cv2.Scharr(mean, cv2.CV_32F, *along, scale=1 / 32) for along in ((1, 0), (0, 1))]
        for row, values in zip(rows, (*slopes, of_warped, of_target), strict=True):
            row[channel] = values[seen]
    flat = rows.reshape(4, -1)
    return _solve_sums(flat @ flat.T, flat.shape[1])


def _solve_sums(sums: NDArray[np.float64], n_values: float) -> _Step | None:
    """Return the step from the (4, 4) sums of products of both slopes, the warped gradient and the target's."""
    matrix, vector, energy = sums[:3, :3], sums[:3, 3], float(sums[3, 3])
    diagonal = np.sqrt(np.maximum(np.diag(matrix), 1e-300))
    scaled = matrix / np.outer(diagonal, diagonal)
    if energy < 1e-10 or np.linalg.eigvalsh(scaled)[0] < 1e-6:
        return None
    solution = np.linalg.solve(scaled, vector / diagonal) / diagonal
    if abs(solution[2]) < 1e-6:
        return None
    variance = max(energy - float(vector @ solution), 0.0) / n_values * 4 * np.pi
    covariance = np.linalg.inv(scaled) / np.outer(diagonal, diagonal) * variance / solution[2] ** 2
    correlation = float(vector[2]) / float(np.sqrt(energy) * diagonal[2])
    return _Step(solution[:2] / solution[2], float(np.sqrt(np.diag(covariance)[:2].max())), correlation)
