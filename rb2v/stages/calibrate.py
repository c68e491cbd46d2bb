"""Calibration: from captures of static scenes to the homography, the mirror, the crop and the colour map."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from rb2v.artifacts import Calibration, CalibrationQuality, Crop, RawDirectory, Rig
from rb2v.core.color import apply_color_map, delta_e_2000, fit_color_map, from_linear, to_linear
from rb2v.core.homography import (
    Homography,
    choose_crop,
    fit_homography,
    gradient_magnitude,
    mirror_homography,
    refine_homography,
    warp_image,
    warp_points,
)
from rb2v.errors import InputError
from rb2v.io.config import read_raw_directory
from rb2v.io.store import whole_file, write_calibration
from rb2v.io.video import read_image, write_image

logger = logging.getLogger(__name__)

Points = NDArray[np.float64]
Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]

_COARSE_WIDTH_PX = 240
_MIN_FEATURE_PAIRS = 12
_BORDER_SHARE = 0.12
_BORDER_MARGIN_PX = 5


@dataclass(frozen=True)
class CalibrateConfig:
    """How the captures are read."""

    board_corners: tuple[int, int] = (9, 6)
    """Inner corners of the chessboard, across and down."""
    min_correlation: float = 0.25
    """Mean gradient correlation of the registered captures below which they share no structure."""
    refine: bool = True
    """Whether the homography is refined on the pictures themselves (ECC)."""

    def __post_init__(self) -> None:
        if min(self.board_corners) < 3:
            raise ValueError(f"board_corners must be at least 3 each way, got {self.board_corners}")


@dataclass(frozen=True, eq=False)
class _Capture:
    """One static scene seen by both cameras."""

    name: str
    blurry: Image
    sharp: Image
    corners: tuple[Points, Points] | None
    """Chessboard corners in both views, each in its detector's order; None where no board was found in both."""


@dataclass(frozen=True, eq=False)
class _Matches:
    """Point pairs of one capture."""

    sharp: Points
    blurry: Points


def run(
    raw_dir: Path,
    out_path: Path,
    config: CalibrateConfig | None = None,
    *,
    on_step: Callable[[str], None] | None = None,
) -> Path:
    """Calibrate a rig from its captures.

    Parameters
    ----------
    raw_dir : Path
        The raw directory.
    out_path : Path
        The calibration file to write; a picture to judge it by is written beside it.
    config : CalibrateConfig, optional
        How the captures are read.
    on_step : callable, optional
        Called with the name of each step as it begins.

    Returns
    -------
    Path
        ``out_path``.

    Raises
    ------
    InputError
        If captures are missing, differ in size, or share no structure.
    """
    config = config or CalibrateConfig()
    step = on_step or (lambda name: None)
    if out_path.is_dir() or not out_path.name or out_path.name in (".", ".."):
        raise InputError(out_path, "is a folder", expected="the name of a file to write, calibration.json say")
    raw = read_raw_directory(raw_dir)
    step("reading captures")
    captures = _read_captures(raw, config)
    step("finding mirror and homography")
    initial = _find_homography(captures, raw.rig, config, raw_dir)
    matches = _collect_matches(captures, initial)
    lit_blurry = _lit([capture.blurry for capture in captures])
    lit_sharp = _lit([capture.sharp for capture in captures])
    homography, kept = _fit_matches(matches, raw_dir)
    if config.refine:
        step("refining on the pictures")
        homography = _refine(homography, captures, lit_blurry, lit_sharp)
    step("finding the crop")
    crop = _find_crop(lit_blurry, lit_sharp, homography, raw.rig, raw_dir)
    color, delta_e = None, None
    if raw.color_pair is not None:
        step("fitting colours")
        color, delta_e = _fit_checker(raw.color_pair, homography, raw.rig, captures[0])
    calibration = Calibration(
        homography=homography,
        mirrored=bool(np.linalg.det(homography) < 0),
        size_blurry=_size(captures[0].blurry),
        size_sharp=_size(captures[0].sharp),
        crop=crop,
        color=color,
        quality=CalibrationQuality(_rms(homography, kept), len(matches), len(kept.sharp), delta_e),
    )
    overlay_path = out_path.with_name(f"{out_path.stem}_overlay.png")
    with whole_file(overlay_path) as temporary:
        write_image(temporary, draw_overlay(captures[0].blurry, captures[0].sharp, calibration))
    return write_calibration(out_path, calibration)


def _size(image: Image) -> tuple[int, int]:
    return image.shape[1], image.shape[0]


def _gray(image: Image) -> NDArray[np.float32]:
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), dtype=np.float32) / np.float32(255)


def _read_captures(raw: RawDirectory, config: CalibrateConfig) -> list[_Capture]:
    if not raw.geometry_pairs:
        folder = raw.root / "calibration" / "geometry"
        raise InputError(folder, "holds no capture pair", expected="blurry/<name>.png and sharp/<name>.png")
    captures: list[_Capture] = []
    for blurry_path, sharp_path in raw.geometry_pairs:
        blurry, sharp = read_image(blurry_path), read_image(sharp_path)
        if captures:
            first = captures[0]
            for path, image, reference in ((blurry_path, blurry, first.blurry), (sharp_path, sharp, first.sharp)):
                _check_size(path, image, reference, "the other captures")
        corners = [_find_corners(image, config.board_corners) for image in (blurry, sharp)]
        both = None if corners[0] is None or corners[1] is None else (corners[0], corners[1])
        captures.append(_Capture(blurry_path.name, blurry, sharp, both))
    return captures


def _check_size(path: Path, image: Image, reference: Image, others: str) -> None:
    if image.shape != reference.shape:
        (width, height), (w, h) = _size(image), _size(reference)
        raise InputError(path, f"is {width}x{height}", expected=f"{w}x{h} as {others}")


def _find_corners(image: Image, board_corners: tuple[int, int]) -> Points | None:
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    found, corners = cv2.findChessboardCornersSB(gray, board_corners, flags=cv2.CALIB_CB_ACCURACY)
    return np.asarray(corners, dtype=np.float64).reshape(-1, 2) if found else None


def _corner_orders(corners: Points, board_corners: tuple[int, int]) -> list[Points]:
    """Return the corners in the four orders in which a detector may have listed a board, mirrored ones included."""
    grid = corners.reshape(board_corners[1], board_corners[0], 2)
    return [order.reshape(-1, 2) for order in (grid, grid[::-1, ::-1], grid[:, ::-1], grid[::-1])]


def _find_homography(captures: Sequence[_Capture], rig: Rig, config: CalibrateConfig, raw_dir: Path) -> Homography:
    """Return the candidate, over all captures, boards' orders and mirrors, under which the pictures agree best."""
    candidates: list[Homography] = []
    for capture in captures:
        candidates += _board_candidates(capture, config)
    feature_captures = [capture for capture in captures if capture.corners is None] or captures[:1]
    for capture in feature_captures[:3]:
        candidates += _feature_candidates(capture)
    if rig.mirrored is not None:
        candidates = [h for h in candidates if (np.linalg.det(h) < 0) == rig.mirrored]
    gradients = [_coarse_gradients(capture) for capture in captures]
    scored = [(_mean_correlation(gradients, _rescaled(h, captures[0])), h) for h in candidates]
    best, homography = max(scored, key=lambda item: item[0], default=(-1.0, np.eye(3)))
    if best < config.min_correlation:
        raise InputError(
            raw_dir / "calibration" / "geometry",
            "the two views of the captures show no common structure",
            expected="pairs of pictures of one static scene"
            + ("" if rig.mirrored is None else f", mirrored: {str(rig.mirrored).lower()} as the rig says"),
        )
    return homography


def _board_candidates(capture: _Capture, config: CalibrateConfig) -> list[Homography]:
    if capture.corners is None:
        return []
    blurry, sharp = capture.corners
    candidates = []
    for order in _corner_orders(sharp, config.board_corners):
        homography, _ = cv2.findHomography(order, blurry, 0)
        if homography is not None and abs(homography[2, 2]) > 1e-9:
            candidates.append(np.asarray(homography, dtype=np.float64))
    return candidates


def _feature_candidates(capture: _Capture) -> list[Homography]:
    candidates = []
    mirror = mirror_homography(capture.sharp.shape[1])
    for flip in (np.eye(3), mirror):
        source, target = _match_features(capture, flip)
        if len(source) < _MIN_FEATURE_PAIRS:
            continue
        try:
            homography, inliers = fit_homography(source, target, threshold_px=2.0)
        except ValueError:
            continue
        if inliers.sum() >= _MIN_FEATURE_PAIRS:
            candidates.append(homography)
    return candidates


def _match_features(capture: _Capture, flip: Homography) -> tuple[Points, Points]:
    """Match SIFT features, the sharp picture mirrored first where ``flip`` says so; points in original pixels."""
    sift = cv2.SIFT.create(4000)
    described: list[tuple[Any, Any]] = []
    for image, warp in ((capture.sharp, flip), (capture.blurry, np.eye(3))):
        gray = cv2.cvtColor(warp_image(image, warp, _size(image)), cv2.COLOR_RGB2GRAY)
        described.append(sift.detectAndCompute(gray, None))
    (keypoints_sharp, descriptors_sharp), (keypoints_blurry, descriptors_blurry) = described
    if descriptors_sharp is None or descriptors_blurry is None or min(len(keypoints_sharp), len(keypoints_blurry)) < 2:
        return np.empty((0, 2)), np.empty((0, 2))
    pairs = cv2.BFMatcher().knnMatch(descriptors_sharp, descriptors_blurry, k=2)
    good = [pair[0] for pair in pairs if len(pair) == 2 and pair[0].distance < 0.75 * pair[1].distance]
    source = np.array([keypoints_sharp[match.queryIdx].pt for match in good], dtype=np.float64).reshape(-1, 2)
    target = np.array([keypoints_blurry[match.trainIdx].pt for match in good], dtype=np.float64).reshape(-1, 2)
    return (warp_points(np.linalg.inv(flip), source) if len(source) else source), target


def _coarse_gradients(capture: _Capture) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    gradients = []
    for image in (capture.blurry, capture.sharp):
        scale = _COARSE_WIDTH_PX / image.shape[1]
        small = cv2.resize(_gray(image), None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        gradient = gradient_magnitude(np.asarray(small, dtype=np.float32))
        gradients.append(np.asarray(cv2.GaussianBlur(gradient, (0, 0), 1.0), dtype=np.float32))
    return gradients[0], gradients[1]


def _rescaled(homography: Homography, capture: _Capture) -> Homography:
    """Return the homography between the coarse pictures."""
    scales = [
        np.array([[s, 0, (s - 1) / 2], [0, s, (s - 1) / 2], [0, 0, 1]])
        for s in (_COARSE_WIDTH_PX / image.shape[1] for image in (capture.blurry, capture.sharp))
    ]
    return np.asarray(scales[0] @ homography @ np.linalg.inv(scales[1]), dtype=np.float64)


def _mean_correlation(
    gradients: Sequence[tuple[NDArray[np.float32], NDArray[np.float32]]],
    homography: Homography,
    mask: Mask | None = None,
) -> float:
    return float(np.mean([_correlation(blurry, sharp, homography, mask) for blurry, sharp in gradients]))


def _correlation(
    blurry: NDArray[np.float32], sharp: NDArray[np.float32], homography: Homography, mask: Mask | None
) -> float:
    """Return the correlation of a picture with another warped onto it; -1 where they share less than a quarter."""
    size = (blurry.shape[1], blurry.shape[0])
    seen = warp_image(np.ones_like(sharp), homography, size) > 0.99
    if seen.mean() < 0.25:
        return -1.0
    if mask is not None:
        seen &= mask
    warped = warp_image(sharp, homography, size)
    a, b = blurry[seen] - blurry[seen].mean(), warped[seen] - warped[seen].mean()
    norm = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / norm if norm > 1e-9 else 0.0


def _collect_matches(captures: Sequence[_Capture], homography: Homography) -> list[_Matches]:
    """Return the point pairs of every capture that agree with a homography right to a few pixels."""
    mirrored = np.linalg.det(homography) < 0
    boards, features = [], []
    for capture in captures:
        if capture.corners is not None:
            blurry, sharp = capture.corners
            distances = np.linalg.norm(warp_points(homography, sharp)[:, None] - blurry[None], axis=2)
            near = distances.min(axis=1) < 3.0
            if near.mean() >= 0.8:
                boards.append(_Matches(sharp[near], blurry[distances.argmin(axis=1)[near]]))
            else:
                logger.warning("%s: its board does not fit the other captures and is left out", capture.name)
            continue
        flip = mirror_homography(capture.sharp.shape[1]) if mirrored else np.eye(3)
        source, target = _match_features(capture, flip)
        if len(source):
            near = np.linalg.norm(warp_points(homography, source) - target, axis=1) < 3.0
            if near.sum() >= _MIN_FEATURE_PAIRS:
                features.append(_Matches(source[near], target[near]))
    # A board's corners are several times as precise as features; two boards span the picture well enough.
    return boards if len(boards) >= 2 else boards + features


def _fit_matches(matches: Sequence[_Matches], raw_dir: Path) -> tuple[Homography, _Matches]:
    """Return the homography through the point pairs, and the pairs that carry it."""
    if not matches:
        folder = raw_dir / "calibration" / "geometry"
        raise InputError(folder, "the captures give too few point pairs", expected="a chessboard or a textured scene")
    source = np.concatenate([match.sharp for match in matches])
    target = np.concatenate([match.blurry for match in matches])
    homography, inliers = fit_homography(source, target)
    return homography, _Matches(source[inliers], target[inliers])


def _rms(homography: Homography, matches: _Matches) -> float:
    errors = warp_points(homography, matches.sharp) - matches.blurry
    return float(np.sqrt((errors**2).sum(axis=1).mean()))


def _refine(homography: Homography, captures: Sequence[_Capture], lit_blurry: Mask, lit_sharp: Mask) -> Homography:
    """Return the homography refined on all captures, or as it was where that does not make the pictures agree more."""
    # The housing's edge is not part of the scene, and would draw the refinement to itself.
    seen = _seen_by_both(lit_blurry, lit_sharp, homography)
    seen = cv2.erode(seen.astype(np.uint8), np.ones((2 * _BORDER_MARGIN_PX + 1,) * 2, np.uint8)) > 0
    width, height = _size(captures[0].blurry)
    grid = np.stack(np.meshgrid(np.linspace(0, width, 9), np.linspace(0, height, 9)), axis=-1).reshape(-1, 2)
    at_sharp = warp_points(np.linalg.inv(homography), grid)
    votes = []
    for capture in captures:
        try:
            refined, _ = refine_homography(homography, _gray(capture.sharp), _gray(capture.blurry), seen)
        except ValueError as error:
            logger.warning("%s: not used for refinement: %s", capture.name, error)
            continue
        votes.append(warp_points(refined, at_sharp))
    if not votes:
        return homography
    candidate, _ = fit_homography(at_sharp, np.median(votes, axis=0))
    gradients = [(gradient_magnitude(_gray(c.blurry)), gradient_magnitude(_gray(c.sharp))) for c in captures]
    better = _mean_correlation(gradients, candidate, seen) > _mean_correlation(gradients, homography, seen)
    return candidate if better else homography


def _seen_by_both(lit_blurry: Mask, lit_sharp: Mask, homography: Homography) -> Mask:
    size = (lit_blurry.shape[1], lit_blurry.shape[0])
    return lit_blurry & (warp_image(lit_sharp.astype(np.float32), homography, size) > 0.999)


def _find_crop(lit_blurry: Mask, lit_sharp: Mask, homography: Homography, rig: Rig, raw_dir: Path) -> Crop:
    seen = _seen_by_both(lit_blurry, lit_sharp, homography)
    try:
        x, y, width, height = choose_crop(seen, rig.output_size[0] / rig.output_size[1])
    except ValueError as error:
        raise InputError(raw_dir / "calibration" / "geometry", str(error), expected="overlapping views") from error
    return Crop(x, y, width, height)


def _lit(images: Sequence[Image]) -> Mask:
    """Return the pixels that the housing does not cover: lit in some capture, or not joined to the picture's rim."""
    brightest = np.max([cv2.GaussianBlur(image.max(axis=2), (0, 0), 1.5) for image in images], axis=0)
    dark = (brightest < _BORDER_SHARE * np.median(brightest)).astype(np.uint8)
    framed = np.pad(dark, 1, constant_values=1)
    _, labels = cv2.connectedComponents(framed, connectivity=4)
    border = (labels == labels[0, 0])[1:-1, 1:-1].astype(np.uint8)
    grown = cv2.dilate(border, np.ones((2 * _BORDER_MARGIN_PX + 1,) * 2, np.uint8))
    return np.asarray(grown == 0)


def _fit_checker(
    pair: tuple[Path, Path], homography: Homography, rig: Rig, reference: _Capture
) -> tuple[NDArray[np.float64], float]:
    """Return the colour map in linear light from the checker's patches, and the difference that it leaves."""
    blurry, sharp = (read_image(path) for path in pair)
    for path, image, other in zip(pair, (blurry, sharp), (reference.blurry, reference.sharp), strict=True):
        _check_size(path, image, other, "the geometry captures")
    warped = warp_image(sharp, homography, _size(blurry))
    quads = _find_patches(blurry)
    if quads is None:
        raise InputError(
            pair[0], "no 24-patch colour checker was found", expected="the whole chart, upright and in focus"
        )
    corners = warp_points(np.linalg.inv(homography), quads.reshape(-1, 2))
    if corners.min() < 0 or (corners.max(axis=0) > np.array(_size(sharp)) - 1).any():
        raise InputError(pair[1], "does not hold the whole colour checker", expected="the chart inside both views")
    target = _patch_means(to_linear(blurry, rig.response), quads)
    source = _patch_means(to_linear(warped, rig.response), quads)
    unclipped = (np.maximum(source, target) < 0.98).all(axis=1)
    try:
        color = fit_color_map(source[unclipped], target[unclipped])
    except ValueError as error:
        raise InputError(pair[1], f"the checker's patches give no colour map: {error}") from error
    # The difference is one of the light, so that it is coded as sRGB whatever the camera's response is.
    delta_e = delta_e_2000(from_linear(apply_color_map(color, source), "srgb"), from_linear(target, "srgb"))
    return color, float(delta_e.mean())


def _find_patches(image: Image) -> NDArray[np.float64] | None:
    """Return the corners of the 24 patches, (24, 4, 2) pixels, or None where there is no chart."""
    detector = cv2.mcc.CCheckerDetector.create()
    detector.setColorChartType(cv2.mcc.MCC24)
    if not detector.process(cv2.cvtColor(image, cv2.COLOR_RGB2BGR), 1):
        return None
    return np.asarray(detector.getBestColorChecker().getColorCharts(), dtype=np.float64).reshape(24, 4, 2)


def _patch_means(linear: NDArray[np.float32], quads: NDArray[np.float64]) -> NDArray[np.float64]:
    means = []
    for quad in quads:
        center = quad.mean(axis=0)
        inner = np.rint(center + 0.6 * (quad - center)).astype(np.int32)
        mask = np.zeros(linear.shape[:2], dtype=np.uint8)
        cv2.fillConvexPoly(mask, inner, 1)
        means.append(linear[mask > 0].mean(axis=0))
    return np.array(means, dtype=np.float64)


def draw_overlay(blurry: Image, sharp: Image, calibration: Calibration) -> Image:
    """Draw the two views as one chequered picture, before and after registration, and the crop.

    Parameters
    ----------
    blurry, sharp : (H, W, 3) ndarray of uint8
        A static scene seen by both cameras.
    calibration : Calibration
        How they are registered.

    Returns
    -------
    (H, 2 W, 3) ndarray of uint8
        Left the sharp view as recorded, right as registered; squares alternate between the cameras.
    """
    size = _size(blurry)
    before = np.asarray(cv2.resize(sharp, size), dtype=np.uint8)
    after = warp_image(sharp, calibration.homography, size)
    cell = max(size[1] // 10, 8)
    cells = np.add.outer(np.arange(size[1]) // cell, np.arange(size[0]) // cell) % 2 == 1
    panels = [np.where(cells[..., None], view, blurry) for view in (before, after)]
    crop = dataclasses.astuple(calibration.crop)
    corner = (crop[0] + crop[2] - 1, crop[1] + crop[3] - 1)
    cv2.rectangle(panels[1], crop[:2], corner, (255, 255, 0), 2)
    return np.hstack(panels).astype(np.uint8)
