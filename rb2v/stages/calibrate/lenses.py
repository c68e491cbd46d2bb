"""The cameras' lenses, from boards or from what both views show, and the captures without their distortion."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from rb2v.artifacts import CAMERAS, Camera, Lens, Rig
from rb2v.core.homography import Homography, fit_homography, mirror_homography
from rb2v.core.lens import largest_displacement_px, undistort_image, undistort_points
from rb2v.core.lens_fit import BoardView, LensFit, PairFit, Term, assumed_lens, fit_lens, fit_pair, held_out_rms_px
from rb2v.stages.calibrate.captures import Capture, Mask, Points, size_of
from rb2v.stages.calibrate.features import MIN_FEATURE_PAIRS, match_features

logger = logging.getLogger(__name__)

_MIN_BOARDS = 3  # two tell a lens, and the third whether it is right
_MIN_BOARDS_FOR_FOCAL = 5  # a view tells it by its tilt alone, and few boards are tilted much
_TERMS: tuple[tuple[Term, ...], ...] = (
    ("k1",),
    ("k1", "cx", "cy"),
    ("k1", "k2", "cx", "cy"),
    ("k1", "k2", "k3", "cx", "cy"),
)
_LARGE_TERMS = _TERMS[2]
_AS_GOOD = 1.02  # rms at left-out boards over the best model's: within it the simplest is taken
_CLEARLY_BETTER = 1.1  # rms of a perfect lens over the best model's: less is made of the corners' noise
_MIN_DISPLACEMENT_PX = 0.1  # at the farthest corner; half of what a detector's corners miss by (docs/calibration.md)
_STRAY_PX = 0.15  # rms of a board that is left out, where that is also so many medians of all boards:
_STRAY_MEDIANS = 4.0  # a board in the housing's shade hid a weak lens (docs/calibration.md)
_MAX_FOCAL_ERROR = 0.02  # relative standard error; it changes no pixel, and OpenCV's users expect one that is right
_MAX_POSE_RMS = 1.5  # of the free homographies' rms; more are boards that are not flat
_FEATURES_BETTER = 1.3  # rms without lenses over that with them, at left-out features: their noise leaves less
_MIN_PAIR_DISPLACEMENT_PX = 1.0  # about what SIFT features miss by
_MAX_FEATURE_CAPTURES = 4  # of some hundred pairs each, so that fits take seconds
_N_FOLDS = 5  # a fifth is left out at a time
_NEAR_PX = 12.0  # a lens bends pairs so far off a homography; farther ones are wrong
_WHOLLY = 250  # of 255: all pixels that an undistorted one is made of count


@dataclass(frozen=True)
class Lenses:
    """What bends each camera's images; None where nothing does that could be told."""

    blurry: Lens | None
    sharp: Lens | None

    def of(self, camera: Camera) -> Lens | None:
        """Return the lens of a camera."""
        return self.blurry if camera == "blurry" else self.sharp


def find_lenses(captures: Sequence[Capture], rig: Rig) -> Lenses:
    """Find the lenses from the boards of each camera, or, where there are few, from what both views show.

    A lens is found where it explains captures that it was not fitted to clearly better than none does.
    """
    boards = {
        camera: [view for capture in captures if (view := capture.boards[index]) is not None]
        for index, camera in enumerate(CAMERAS)
    }
    if min(len(views) for views in boards.values()) < _MIN_BOARDS:
        return _find_from_features(captures, rig)
    sizes = {"blurry": size_of(captures[0].blurry), "sharp": size_of(captures[0].sharp)}
    found = {camera: _find_from_boards(boards[camera], sizes[camera], camera) for camera in CAMERAS}
    return Lenses(found["blurry"], found["sharp"])


def without_distortion(captures: Sequence[Capture], lenses: Lenses) -> list[Capture]:
    """Return the captures as pinhole cameras would have recorded them."""
    if lenses.blurry is None and lenses.sharp is None:
        return list(captures)
    straight = []
    for capture in captures:
        corners = capture.corners
        if corners is not None:
            corners = (_undistorted(corners[0], lenses.blurry), _undistorted(corners[1], lenses.sharp))
        blurry, sharp = undistort_image(capture.blurry, lenses.blurry), undistort_image(capture.sharp, lenses.sharp)
        still = (_undistorted_mask(capture.still[0], lenses.blurry), _undistorted_mask(capture.still[1], lenses.sharp))
        straight.append(dataclasses.replace(capture, blurry=blurry, sharp=sharp, corners=corners, still=still))
    return straight


def _undistorted(points: Points, lens: Lens | None) -> Points:
    return points if lens is None else undistort_points(points, lens.matrix, lens.distortion)


def _undistorted_mask(mask: Mask | None, lens: Lens | None) -> Mask | None:
    if mask is None or lens is None:
        return mask
    as_picture = np.repeat(mask.astype(np.uint8)[..., None] * np.uint8(255), 3, axis=2)
    return np.asarray(undistort_image(as_picture, lens).min(axis=2) > _WHOLLY)


def _find_from_boards(views: Sequence[BoardView], size: tuple[int, int], camera: str) -> Lens | None:
    try:
        views = _without_strays(views, size)
        best = _choose_fit(views, size)
    except ValueError as error:
        logger.warning("%s camera: no lens is fitted to its boards: %s", camera, error)
        return None
    if best is None:
        return None
    focal_px = _find_focal_px(views, best, size)
    if focal_px is None:
        logger.info("%s camera: the boards tell the lens's distortion, but not its focal length", camera)
        return Lens(best.matrix, best.distortion)
    return _with_focal(best, focal_px)


def _without_strays(views: Sequence[BoardView], size: tuple[int, int]) -> list[BoardView]:
    """Return the views without those whose corners are not a board's, whatever the lens is.

    Corners in the shade of the housing are misplaced, and one such board is enough to hide a weak lens.
    """
    left_px = fit_lens(views, size, _LARGE_TERMS).view_rms_px
    limit_px = max(_STRAY_PX, _STRAY_MEDIANS * float(np.median(left_px)))
    return [view for view, rms_px in zip(views, left_px, strict=True) if rms_px <= limit_px]


def _choose_fit(views: Sequence[BoardView], size: tuple[int, int]) -> LensFit | None:
    """Return the simplest lens that explains boards that are left out as well as any; None where none is needed."""
    if len(views) < _MIN_BOARDS:
        return None
    if fit_lens(views, size, ()).rms_px <= _CLEARLY_BETTER * fit_lens(views, size, _LARGE_TERMS).rms_px:
        return None
    held_out = [(held_out_rms_px(views, size, terms), terms) for terms in _TERMS]
    least_px = min(rms_px for rms_px, _ in held_out)
    if held_out_rms_px(views, size, ()) <= _CLEARLY_BETTER * least_px:
        return None
    for rms_px, terms in sorted(held_out, key=lambda item: (item[0] > _AS_GOOD * least_px, len(item[1]))):
        fit = fit_lens(views, size, terms)
        moved_px = largest_displacement_px(fit, size)
        # A lens that cannot have recorded its own corners was fitted to boards in the middle only.
        if np.isfinite(moved_px) and rms_px < np.inf:
            return fit if moved_px >= _MIN_DISPLACEMENT_PX else None
    return None


def _find_focal_px(views: Sequence[BoardView], fit: LensFit, size: tuple[int, int]) -> float | None:
    """Return the focal length, where the boards' tilts tell it."""
    if len(views) < _MIN_BOARDS_FOR_FOCAL:
        return None
    places, pixels = [], []
    for view in views:
        straight = undistort_points(view.points, fit.matrix, fit.distortion)
        homography, _ = cv2.findHomography(view.grid, straight, 0)
        # A board in a mirror is a board that is mirrored.
        grid = view.grid * [np.sign(np.linalg.det(homography)), 1.0]
        places.append(np.column_stack([grid, np.zeros(len(grid))]).astype(np.float32))
        pixels.append(straight.astype(np.float32).reshape(-1, 1, 2))
    flags = cv2.CALIB_USE_INTRINSIC_GUESS | cv2.CALIB_FIX_PRINCIPAL_POINT | cv2.CALIB_FIX_ASPECT_RATIO
    flags |= cv2.CALIB_ZERO_TANGENT_DIST | cv2.CALIB_FIX_K1 | cv2.CALIB_FIX_K2 | cv2.CALIB_FIX_K3
    try:
        rms_px, matrix, _, _, _, deviations, *_ = cv2.calibrateCameraExtended(
            places, pixels, size, fit.matrix.copy(), np.zeros(5), flags=flags
        )
    except cv2.error:
        return None
    focal_px, error_px = float(matrix[0, 0]), float(np.max(np.ravel(deviations)[:2]))
    is_known = 0 < error_px < _MAX_FOCAL_ERROR * focal_px and rms_px <= _MAX_POSE_RMS * fit.rms_px
    return focal_px if is_known else None


def _with_focal(fit: LensFit, focal_px: float) -> Lens:
    """Return the lens that moves every pixel as the fit does, in terms of another focal length."""
    share = focal_px / fit.matrix[0, 0]
    matrix = fit.matrix.copy()
    matrix[0, 0] = matrix[1, 1] = focal_px
    return Lens(matrix, fit.distortion * np.array([share**2, share**4, share, share, share**6]))


def _find_from_features(captures: Sequence[Capture], rig: Rig) -> Lenses:
    """Return lenses of one coefficient each where both views' features agree clearly better with them."""
    none = Lenses(None, None)
    sizes = (size_of(captures[0].sharp), size_of(captures[0].blurry))
    source, target, homography = _matched_features(captures[:_MAX_FEATURE_CAPTURES], rig)
    if homography is None:
        return none
    try:
        plain = fit_pair(source, target, *sizes, homography, with_lenses=False)
        bent = fit_pair(source, target, *sizes, homography, with_lenses=True)
        near = bent.errors_px(source, target, *sizes) < _NEAR_PX
        source, target = source[near], target[near]
        left_px = [_held_out_px(source, target, sizes, fit) for fit in (plain, bent)]
    except ValueError:
        return none
    lenses = [Lens(*assumed_lens(size, k1)) for size, k1 in zip(sizes, (bent.source_k1, bent.target_k1), strict=True)]
    moved_px = [largest_displacement_px(lens, size) for lens, size in zip(lenses, sizes, strict=True)]
    if not left_px[0] > _FEATURES_BETTER * left_px[1] or not max(moved_px) >= _MIN_PAIR_DISPLACEMENT_PX:
        return none
    return Lenses(lenses[1], lenses[0])


def _held_out_px(source: Points, target: Points, sizes: tuple[tuple[int, int], tuple[int, int]], fit: PairFit) -> float:
    """Return the root mean square of the nearer nine in ten of the errors at points that were left out of a fit."""
    sides, errors = np.arange(len(source)) % _N_FOLDS, []
    with_lenses = bool(fit.source_k1 or fit.target_k1)
    for fold in range(_N_FOLDS):
        out = sides == fold
        known = (fit.source_k1, fit.target_k1)
        fitted = fit_pair(source[~out], target[~out], *sizes, fit.homography, with_lenses=with_lenses, lenses=known)
        errors.append(fitted.errors_px(source[out], target[out], *sizes))
    nearer = np.sort(np.concatenate(errors))[: int(0.9 * len(source))]
    return float(np.sqrt(np.square(nearer).mean()))


def _matched_features(captures: Sequence[Capture], rig: Rig) -> tuple[Points, Points, Homography | None]:
    """Return pairs of pixels, sharp and blurry, that one homography joins roughly; the better one of both mirrors."""
    best: tuple[Points, Points, Homography | None] = (np.empty((0, 2)), np.empty((0, 2)), None)
    for is_mirrored in (False, True):
        if rig.mirrored is not None and rig.mirrored != is_mirrored:
            continue
        flip = mirror_homography(captures[0].sharp.shape[1]) if is_mirrored else np.eye(3)
        matched = [match_features(capture, flip) for capture in captures]
        source, target = (np.concatenate([pair[side] for pair in matched]) for side in (0, 1))
        if len(source) < MIN_FEATURE_PAIRS:
            continue
        try:
            homography, inliers = fit_homography(source, target, threshold_px=_NEAR_PX)
        except ValueError:
            continue
        if inliers.sum() > max(len(best[0]), 4 * MIN_FEATURE_PAIRS):
            best = (source[inliers], target[inliers], homography)
    return best
