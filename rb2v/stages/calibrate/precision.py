"""Precision of a registration: reprojection errors, captures left out in turn, residuals over the crop."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rb2v.artifacts import CalibrationQuality, Crop, LocalResidual
from rb2v.core.displacement import Displacement, local_displacements
from rb2v.core.homography import Homography, fit_homography, warp_points
from rb2v.core.lens_fit import fit_pair
from rb2v.core.refinement import ImagePair
from rb2v.errors import InputError
from rb2v.stages.calibrate.registration import Matches, Registration

logger = logging.getLogger(__name__)

_GRID = 8  # windows along the crop's longer side
_MIN_RADIUS_PX = 12  # 25 pixels across show the texture of most things
_OVERLAP = 0.6  # of the step, as half a side: windows share a little, and nothing lies between them
_MIN_BENT = 16  # windows: a homography and two lenses have ten parameters
_NEARER = 0.9  # of the windows: in others something moved
_BENT_PX, _BENT_SHARE = 0.1, 2.0  # rms without lenses, and over that with them: lenses that were left out leave 0.18 to
# 0.35 px and 3.5 to 8 times as much, straight rigs and lenses that were found at most 0.05 px and 1.2 times
LARGE_RESIDUAL_PX = 0.75
"""Median displacement over the crop that a calibration warns of: more than three times what was left in a real pair of
views (docs/calibration.md)."""
_MAX_CAPTURES = 16  # enough for a median, and time does not grow further


def measure_quality(registration: Registration, residuals: Sequence[LocalResidual], folder: Path) -> CalibrationQuality:
    """Return the figures by which a registration is judged, without those of colors.

    Where no board and no feature gives point pairs, the windows of the residuals stand in for them.

    Raises
    ------
    InputError
        If the captures, which lie in the folder, give neither.
    """
    matches = registration.matches
    if matches:
        errors = np.concatenate([_errors_px(registration.homography, match) for match in matches])
        n_captures = len(matches)
    else:
        errors = np.array([np.hypot(one.dx, one.dy) for one in residuals])
        n_captures = len(registration.captures)
    if not len(errors):
        problem = "nothing in the captures tells how well they are registered: too little texture"
        raise InputError(folder, problem, expected="a chessboard or a textured scene")
    return CalibrationQuality(
        rms_px=float(np.sqrt(np.square(errors).mean())),
        pairs=n_captures,
        points=len(errors),
        delta_e=None,
        p95_px=float(np.quantile(errors, 0.95)),
        leave_one_out_px=_leave_one_out_px(registration),
        refined=registration.refinement is not None,
        correlation=None if registration.refinement is None else registration.refinement.correlation,
        takes=len(registration.takes),
        images=len(registration.captures),
    )


def _errors_px(homography: Homography, matches: Matches) -> NDArray[np.float64]:
    return np.asarray(np.linalg.norm(warp_points(homography, matches.sharp) - matches.blurry, axis=1), dtype=np.float64)


def _leave_one_out_px(registration: Registration) -> float | None:
    """Return the root mean square error at the points of each capture under what the other captures give."""
    matches = registration.matches
    if len(matches) < 2:
        return None
    names = [capture.name for capture in registration.captures]
    errors = []
    for index, match in enumerate(matches):
        try:
            if registration.refinement is not None:
                homography = registration.refinement.without(names.index(match.name))
            else:
                others = [other for other in matches if other is not match]
                homography, _ = fit_homography(
                    np.concatenate([other.sharp for other in others]),
                    np.concatenate([other.blurry for other in others]),
                )
        except ValueError:
            continue  # Without this one the others do not span a homography.
        errors.append(_errors_px(homography, matches[index]))
    return float(np.sqrt(np.square(np.concatenate(errors)).mean())) if errors else None


def measure_residuals(pairs: Sequence[ImagePair], homography: Homography, crop: Crop) -> tuple[LocalResidual, ...]:
    """Return the displacement that is left in windows over the crop, the median over the captures that tell it."""
    centers, radius_px = residual_places(crop)
    found: list[list[Displacement]] = [[] for _ in centers]
    for pair in pairs[:_MAX_CAPTURES]:
        for one, measured in zip(found, local_displacements(pair, homography, centers, radius_px), strict=True):
            if measured is not None:
                one.append(measured)
    residuals = tuple(
        LocalResidual(
            x=float(center[0]),
            y=float(center[1]),
            dx=_weighted_median([one.dx for one in some], [one.error_px for one in some]),
            dy=_weighted_median([one.dy for one in some], [one.error_px for one in some]),
            pairs=len(some),
        )
        for center, some in zip(centers, found, strict=True)
        if some
    )
    typical_px = float(np.median([np.hypot(one.dx, one.dy) for one in residuals])) if residuals else 0.0
    if typical_px > LARGE_RESIDUAL_PX:
        logger.warning(
            "the registered views lie %.1f px off each other in the median over the crop: something moved, or the "
            "cameras do not look from one point",
            typical_px,
        )
    return residuals


def warn_of_bending(
    residuals: Sequence[LocalResidual],
    homography: Homography,
    size_sharp: tuple[int, int],
    size_blurry: tuple[int, int],
) -> None:
    """Warn where what is left over the crop is what a lens leaves.

    A board of an unexpected size, or captures without boards, may hide a lens.
    """
    if len(residuals) < _MIN_BENT:
        return
    target = np.array([[one.x, one.y] for one in residuals])
    landed = target + [[one.dx, one.dy] for one in residuals]
    source = warp_points(np.linalg.inv(homography), landed)
    left_px = []
    for with_lenses in (False, True):
        fit = fit_pair(source, target, size_sharp, size_blurry, homography, with_lenses=with_lenses)
        errors = np.sort(fit.errors_px(source, target, size_sharp, size_blurry))[: int(_NEARER * len(target))]
        left_px.append(float(np.sqrt(np.square(errors).mean())))
    if left_px[0] > max(_BENT_PX, _BENT_SHARE * left_px[1]):
        logger.warning(
            "what is left between the views, %.2f px, looks like a lens: with one it is %.2f px; take five or "
            "more captures of a board and name its size (--board-corners, --charuco), with --lenses auto",
            *left_px,
        )


def residual_places(crop: Crop) -> tuple[NDArray[np.float64], int]:
    """Return the middles of the windows over a crop, as (n, 2), and half a window's side, in pixels."""
    step = max(max(crop.width, crop.height) / _GRID, 1.0)
    n_x, n_y = max(round(crop.width / step), 1), max(round(crop.height / step), 1)
    x = crop.x - 0.5 + (np.arange(n_x) + 0.5) * crop.width / n_x
    y = crop.y - 0.5 + (np.arange(n_y) + 0.5) * crop.height / n_y
    centers = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    return centers, max(round(_OVERLAP * step), _MIN_RADIUS_PX)


def _weighted_median(values: Sequence[float], errors_px: Sequence[float]) -> float:
    order = np.argsort(values)
    weights = 1 / (np.asarray(errors_px)[order] ** 2 + 1e-4)
    middle = int(np.searchsorted(np.cumsum(weights), 0.5 * weights.sum()))
    return float(np.asarray(values)[order][min(middle, len(values) - 1)])


def warn_of_no_captures(residuals: Sequence[LocalResidual], n_views: int, folder: Path) -> None:
    """Say that views of takes stood in for captures, and what they leave unexplained."""
    left = [float(np.hypot(one.dx, one.dy)) for one in residuals]
    # On a simulated session without its captures the homography was off by 0.05 to 0.07 px, and the median residual
    # was 0.07 to 0.09 px.
    precision = f" to about {np.median(left):.2f} px" if left else ""
    logger.warning(
        "%s: holds no capture pair; %d views of takes tell the homography%s; capture a static board to know it better",
        *(folder, n_views, precision),
    )
