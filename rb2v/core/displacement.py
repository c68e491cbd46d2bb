"""What is left of the displacement between two registered views, place by place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from rb2v.core.homography import Homography
from rb2v.core.refinement import FloatImage, ImagePair, local_scale

_SCALES = ((4.0, 0.1), (2.0, 0.03), (1.0, 0.004))  # smoothing, and how near the step comes there, in pixels
_MAX_ITERATIONS = 8
_MAX_ERROR_PX = 0.25
_MIN_CORRELATION = 0.5
_MIN_SHARE = 0.5


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

    Gradients are matched by Gauss-Newton steps from a coarse scale to a fine one.

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
    scale = local_scale(homography, (pair.target.shape[1], pair.target.shape[0]))
    views = []
    for smoothing_px, _ in _SCALES:
        source = cv2.GaussianBlur(pair.source, (0, 0), smoothing_px / scale)
        target = cv2.GaussianBlur(pair.target, (0, 0), smoothing_px)
        views.append((np.asarray(source, dtype=np.float32), np.asarray(target, dtype=np.float32)))
    counted = np.ones(pair.source.shape, np.float32) if pair.source_mask is None else pair.source_mask
    return [
        _measure(views, counted.astype(np.float32), pair.target_mask, homography, center, radius_px)
        for center in centers
    ]


def _measure(
    views: Sequence[tuple[FloatImage, FloatImage]],
    source_counts: FloatImage,
    target_mask: NDArray[np.bool_] | None,
    homography: Homography,
    center: NDArray[np.float64],
    radius_px: int,
) -> Displacement | None:
    height, width = views[0][1].shape
    left, right = (int(np.clip(round(center[0]) + side * radius_px, 0, width)) for side in (-1, 1))
    top, bottom = (int(np.clip(round(center[1]) + side * radius_px, 0, height)) for side in (-1, 1))
    if right - left < radius_px or bottom - top < radius_px:
        return None
    window = np.s_[top:bottom, left:right]
    shift, found = np.zeros(2), None
    for (source, target), (_, precision_px) in zip(views, _SCALES, strict=True):
        for _ in range(_MAX_ITERATIONS):
            # What lies at x + shift in the registered view comes to x.
            to_window = np.array([[1.0, 0, -left - shift[0]], [0, 1.0, -top - shift[1]], [0, 0, 1]]) @ homography
            size = (right - left, bottom - top)
            warped = cv2.warpPerspective(source, to_window, size, flags=cv2.INTER_LINEAR)
            seen = cv2.warpPerspective(source_counts, to_window, size) > 0.999
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
    return Displacement(float(shift[0]), float(shift[1]), found.error_px)


@dataclass(frozen=True, eq=False)
class _Step:
    step: NDArray[np.float64]
    error_px: float
    correlation: float


def _solve(warped: FloatImage, target: FloatImage, seen: NDArray[np.bool_]) -> _Step | None:
    values, columns = [], []
    of_both = [
        [cv2.Scharr(image, cv2.CV_32F, *order, scale=1 / 32) for order in ((1, 0), (0, 1))]
        for image in (target, warped)
    ]
    for of_target, of_warped in zip(*of_both, strict=True):
        mean = 0.5 * (of_target + of_warped)
        slopes = [cv2.Scharr(mean, cv2.CV_32F, *order, scale=1 / 32)[seen] for order in ((1, 0), (0, 1))]
        values.append(of_target[seen])
        columns.append(np.column_stack([*slopes, of_warped[seen]]))
    a, design = np.concatenate(values).astype(np.float64), np.concatenate(columns).astype(np.float64)
    matrix, vector = design.T @ design, design.T @ a
    diagonal = np.sqrt(np.maximum(np.diag(matrix), 1e-300))
    scaled = matrix / np.outer(diagonal, diagonal)
    energy = float(a @ a)
    if energy < 1e-10 or np.linalg.eigvalsh(scaled)[0] < 1e-6:
        return None
    solution = np.linalg.solve(scaled, vector / diagonal) / diagonal
    if abs(solution[2]) < 1e-6:
        return None
    residual = a - design @ solution
    variance = float(residual @ residual) / len(residual) * 4 * np.pi
    covariance = np.linalg.inv(scaled) / np.outer(diagonal, diagonal) * variance / solution[2] ** 2
    correlation = float(a @ design[:, 2]) / float(np.sqrt(energy) * diagonal[2])
    return _Step(solution[:2] / solution[2], float(np.sqrt(np.diag(covariance)[:2].max())), correlation)
