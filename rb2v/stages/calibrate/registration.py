"""The homography between the views: chosen among candidates, fitted to point pairs, refined on the pictures."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from rb2v.artifacts import Rig
from rb2v.core.homography import (
    Homography,
    fit_homography,
    gradient_magnitude,
    mirror_homography,
    refine_homography,
    warp_image,
    warp_points,
)
from rb2v.errors import InputError
from rb2v.stages.calibrate.boards import board_candidates
from rb2v.stages.calibrate.captures import Capture, Mask, Points, gray_of, size_of
from rb2v.stages.calibrate.config import CalibrateConfig
from rb2v.stages.calibrate.features import MIN_FEATURE_PAIRS, feature_candidates, match_features
from rb2v.stages.calibrate.overlap import BORDER_MARGIN_PX, seen_by_both

logger = logging.getLogger(__name__)

_COARSE_WIDTH_PX = 240


@dataclass(frozen=True, eq=False)
class Matches:
    """Point pairs of one capture."""

    sharp: Points
    blurry: Points


def find_homography(captures: Sequence[Capture], rig: Rig, config: CalibrateConfig, raw_dir: Path) -> Homography:
    """Return the candidate, over all captures, boards' orders and mirrors, under which the pictures agree best."""
    candidates: list[Homography] = []
    for capture in captures:
        if capture.corners is not None:
            candidates += board_candidates(*capture.corners, config.board_corners)
    feature_captures = [capture for capture in captures if capture.corners is None] or captures[:1]
    for capture in feature_captures[:3]:
        candidates += feature_candidates(capture)
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


def _coarse_gradients(capture: Capture) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    gradients = []
    for image in (capture.blurry, capture.sharp):
        scale = _COARSE_WIDTH_PX / image.shape[1]
        small = cv2.resize(gray_of(image), None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        gradient = gradient_magnitude(np.asarray(small, dtype=np.float32))
        gradients.append(np.asarray(cv2.GaussianBlur(gradient, (0, 0), 1.0), dtype=np.float32))
    return gradients[0], gradients[1]


def _rescaled(homography: Homography, capture: Capture) -> Homography:
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


def collect_matches(captures: Sequence[Capture], homography: Homography) -> list[Matches]:
    """Return the point pairs of every capture that agree with a homography right to a few pixels."""
    mirrored = np.linalg.det(homography) < 0
    boards, features = [], []
    for capture in captures:
        if capture.corners is not None:
            blurry, sharp = capture.corners
            distances = np.linalg.norm(warp_points(homography, sharp)[:, None] - blurry[None], axis=2)
            near = distances.min(axis=1) < 3.0
            if near.mean() >= 0.8:
                boards.append(Matches(sharp[near], blurry[distances.argmin(axis=1)[near]]))
            else:
                logger.warning("%s: its board does not fit the other captures and is left out", capture.name)
            continue
        flip = mirror_homography(capture.sharp.shape[1]) if mirrored else np.eye(3)
        source, target = match_features(capture, flip)
        if len(source):
            near = np.linalg.norm(warp_points(homography, source) - target, axis=1) < 3.0
            if near.sum() >= MIN_FEATURE_PAIRS:
                features.append(Matches(source[near], target[near]))
    # A board's corners are several times as precise as features; two boards span the picture well enough.
    return boards if len(boards) >= 2 else boards + features


def fit_matches(matches: Sequence[Matches], raw_dir: Path) -> tuple[Homography, Matches]:
    """Return the homography through the point pairs, and the pairs that carry it."""
    if not matches:
        folder = raw_dir / "calibration" / "geometry"
        raise InputError(folder, "the captures give too few point pairs", expected="a chessboard or a textured scene")
    source = np.concatenate([match.sharp for match in matches])
    target = np.concatenate([match.blurry for match in matches])
    homography, inliers = fit_homography(source, target)
    return homography, Matches(source[inliers], target[inliers])


def rms_px(homography: Homography, matches: Matches) -> float:
    """Return the root mean square distance of the point pairs, in blurry-camera pixels."""
    errors = warp_points(homography, matches.sharp) - matches.blurry
    return float(np.sqrt((errors**2).sum(axis=1).mean()))


def refine(homography: Homography, captures: Sequence[Capture], lit_blurry: Mask, lit_sharp: Mask) -> Homography:
    """Return the homography refined on all captures, or as it was where that does not make the pictures agree more."""
    # The housing's edge is not part of the scene, and would draw the refinement to itself.
    seen = seen_by_both(lit_blurry, lit_sharp, homography)
    seen = cv2.erode(seen.astype(np.uint8), np.ones((2 * BORDER_MARGIN_PX + 1,) * 2, np.uint8)) > 0
    width, height = size_of(captures[0].blurry)
    grid = np.stack(np.meshgrid(np.linspace(0, width, 9), np.linspace(0, height, 9)), axis=-1).reshape(-1, 2)
    at_sharp = warp_points(np.linalg.inv(homography), grid)
    votes = []
    for capture in captures:
        try:
            refined, _ = refine_homography(homography, gray_of(capture.sharp), gray_of(capture.blurry), seen)
        except ValueError as error:
            logger.warning("%s: not used for refinement: %s", capture.name, error)
            continue
        votes.append(warp_points(refined, at_sharp))
    if not votes:
        return homography
    candidate, _ = fit_homography(at_sharp, np.median(votes, axis=0))
    gradients = [(gradient_magnitude(gray_of(c.blurry)), gradient_magnitude(gray_of(c.sharp))) for c in captures]
    better = _mean_correlation(gradients, candidate, seen) > _mean_correlation(gradients, homography, seen)
    return candidate if better else homography
