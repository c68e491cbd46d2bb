"""The homography between the views: chosen among candidates, and refined on the images of all captures at once."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from rb2v.artifacts import Rig
from rb2v.core.homography import Homography, fit_homography, mirror_homography, normalized, warp_points
from rb2v.core.refinement import ImagePair, Refinement, common_pixels, gradient_correlation, refine_jointly
from rb2v.errors import InputError
from rb2v.stages.calibrate.boards import board_candidates
from rb2v.stages.calibrate.captures import Capture, Mask, Points, gray_of
from rb2v.stages.calibrate.config import CalibrateConfig
from rb2v.stages.calibrate.consensus import AGREEING_PX, find_consensus
from rb2v.stages.calibrate.consistency import Fits, check_misfits, leave_out_blurred, warn_of_halves
from rb2v.stages.calibrate.features import MIN_FEATURE_PAIRS, feature_candidates, match_features, phase_candidates
from rb2v.stages.calibrate.overlap import lit_pixels
from rb2v.stages.calibrate.takes import choose_fitting

logger = logging.getLogger(__name__)

_COARSE_WIDTH_PX = 240  # of the images on which candidates compete; squares of a board still show
_SATURATED = 250  # of 255; where light is clipped, edges lie elsewhere in each view
_MIN_SHARED = 0.2  # of the image, that both views must show; less correlates by chance
_MIN_BOARDS = 2  # a single one may be symmetric
_SURE_CORRELATION = 0.7  # from which boards need no features and no phase correlation beside them, which cost seconds
_N_REFINED = 4  # candidates, the best ones that differ: a board's four orders
_REFINED_SHARE = 0.4  # of the best one's correlation, below which refinement never catches up
_COARSE_PIXELS = 6000  # of a coarse 4:3 image's 43,200, those of the largest gradients
_SAME_SHARE = 0.04  # of the width: nearer candidates are refined to the same one
_AMBIGUITY = 0.015  # of correlation, that the best candidate must be ahead by
_MAX_PAIR_SHIFT_PX = 1.0  # and three medians: a capture that lies farther off than the others was taken after a knock
_MIN_PAIRS_TO_OUTVOTE = 3  # two against one
_MAX_ERROR_PX = 0.5  # standard error in the image's middle part; more shows in every registered frame


@dataclass(frozen=True, eq=False)
class Matches:
    """Point pairs of one capture."""

    sharp: Points
    blurry: Points
    name: str = ""


@dataclass(frozen=True, eq=False)
class Registration:
    """How the views are registered, and what it stands on."""

    homography: Homography
    captures: Sequence[Capture]
    """Those that agree."""
    pairs: Sequence[ImagePair]
    """Their gray images, with what counts of them; behind them those of the takes."""
    matches: Sequence[Matches]
    """Point pairs that agree, of each capture that has some."""
    refinement: Refinement | None
    """None where the images did not make it better, or were not asked."""
    lit_blurry: Mask
    lit_sharp: Mask
    takes: Sequence[str] = ()
    """Takes whose still first frames agree."""


def register(
    captures: Sequence[Capture], rig: Rig, config: CalibrateConfig, raw_dir: Path, takes: Sequence[Capture] = ()
) -> Registration:
    """Find the homography, sharp to blurry, that the captures agree on.

    Parameters
    ----------
    captures : sequence of Capture
        The geometry captures.
    rig : Rig
        What is known of the mirror.
    config : CalibrateConfig
        How the captures are read.
    raw_dir : Path
        For messages.
    takes : sequence of Capture
        What is static in takes: used where it fits the captures.

    Raises
    ------
    InputError
        If the captures share no structure, contradict each other, are too blurred, fit mirrored and unmirrored alike,
        or hold too little to tell the homography; or if two images of a pair are exchanged, or the pairs' names, or
        all images of one camera with those of the other.
    """
    folder = raw_dir / "calibration" / "geometry"
    warn_of_halves(captures)
    captures = leave_out_blurred(captures, folder)
    lit_blurry = lit_pixels([capture.blurry for capture in captures])
    lit_sharp = lit_pixels([capture.sharp for capture in captures])
    pairs = [_image_pair(capture, lit_blurry, lit_sharp) for capture in captures]
    initial = find_homography(captures, pairs, rig, config, folder)
    coarse = [_coarse(pair) for pair in pairs]
    at_coarse = _at_coarse(initial, pairs[0])
    fits = Fits(captures, coarse, at_coarse, [_score([pair], at_coarse) for pair in coarse])
    kept = check_misfits(fits, rig, folder, _expected(rig))
    captures, pairs = [captures[index] for index in kept], [pairs[index] for index in kept]
    used: list[str] = []
    refinement: Refinement | None = None
    if config.refine:
        captures, pairs, refinement = _refine(initial, captures, pairs)
        if refinement is not None and takes:
            of_takes = [_image_pair(take, lit_blurry, lit_sharp) for take in takes]
            fitting = choose_fitting(takes, of_takes, refinement.homography, folder)
            added = _refine_with(refinement, pairs, [of_takes[index] for index in fitting])
            if added is not None:
                refinement, pairs = added
                used = [takes[index].name for index in fitting]
        refinement = _follow_consensus(initial if refinement is None else refinement.homography, pairs, refinement)
    near = initial if refinement is None else refinement.homography
    matches, fitted = fit_matches(collect_matches(captures, near, 3.0), near)
    if not matches and refinement is None:
        raise InputError(folder, "the captures give too few point pairs", expected="a chessboard or a textured scene")
    homography = fitted if refinement is None else refinement.homography
    if refinement is not None:
        _check_certainty(refinement, pairs[0], folder)
    return Registration(homography, captures, pairs, matches, refinement, lit_blurry, lit_sharp, used)


def _image_pair(capture: Capture, lit_blurry: Mask, lit_sharp: Mask) -> ImagePair:
    still_blurry, still_sharp = (True if mask is None else mask for mask in capture.still)
    return ImagePair(
        gray_of(capture.sharp),
        gray_of(capture.blurry),
        lit_sharp & (capture.sharp.max(axis=2) < _SATURATED) & still_sharp,
        lit_blurry & (capture.blurry.max(axis=2) < _SATURATED) & still_blurry,
    )


def find_homography(
    captures: Sequence[Capture], pairs: Sequence[ImagePair], rig: Rig, config: CalibrateConfig, folder: Path
) -> Homography:
    """Return the candidate, over all captures, boards' orders and mirrors, under which the images agree best.

    Raises
    ------
    InputError
        If they agree under none, or as well under another one.
    """
    coarse = [_coarse(pair) for pair in pairs]

    def compete(candidates: Iterable[Homography]) -> list[tuple[float, Homography]]:
        allowed = [h for h in candidates if rig.mirrored is None or (np.linalg.det(h) < 0) == rig.mirrored]
        return [(_score(coarse, _at_coarse(h, pairs[0])), h) for h in allowed]

    scored = compete(_board_candidates(captures, config))
    n_boards = sum(capture.corners is not None for capture in captures)
    if n_boards < _MIN_BOARDS or max((score for score, _ in scored), default=-1.0) < _SURE_CORRELATION:
        scored += compete(_scene_candidates(captures, pairs))
    scored.sort(key=lambda item: -item[0])
    hopeful = [item for item in scored if item[0] > _REFINED_SHARE * scored[0][0]]
    refined = [_refine_coarsely(coarse, h, pairs[0], score) for score, h in _distinct(hopeful, pairs[0], _N_REFINED)]
    refined.sort(key=lambda item: -item[0])
    best, homography = refined[0] if refined else (-1.0, np.eye(3))
    if best < config.min_correlation:
        halves = [capture.name for capture in captures if capture.board_in not in (None, "both")]
        raise InputError(
            folder,
            "the two views of the captures show no common structure"
            + (f" ({', '.join(halves)}: a board is found in one view only)" if halves else ""),
            expected=_expected(rig),
        )
    others = [item for item in _distinct(refined, pairs[0], _N_REFINED)[1:] if item[0] > best - _AMBIGUITY]
    if others:
        same = (np.linalg.det(others[0][1]) < 0) == (np.linalg.det(homography) < 0)
        raise InputError(
            folder,
            f"the captures fit {'two ways round' if same else 'mirrored and unmirrored'} alike "
            f"(gradients correlate by {best:.3f} and {others[0][0]:.3f})",
            expected="a board in several places, or texture around it"
            + ("" if same else "; or the rig's mirrored: true or false"),
        )
    return homography


def _expected(rig: Rig) -> str:
    said = "" if rig.mirrored is None else f", mirrored: {str(rig.mirrored).lower()} as the rig says"
    return f"pairs of images of one static scene{said}"


def _board_candidates(captures: Sequence[Capture], config: CalibrateConfig) -> Iterator[Homography]:
    for capture in captures:
        if capture.corners is not None:
            yield from board_candidates(*capture.corners, capture.chessboard or config.chessboard)


def _scene_candidates(captures: Sequence[Capture], pairs: Sequence[ImagePair]) -> Iterator[Homography]:
    asked = [index for index, capture in enumerate(captures) if capture.corners is None] or [0]
    for index in asked[:3]:
        yield from feature_candidates(captures[index])
        small = _coarse(pairs[index])
        to_coarse = _coarse_scales(pairs[index])
        for candidate in phase_candidates(small.source, small.target):
            yield np.linalg.inv(to_coarse[0]) @ candidate @ to_coarse[1]


def _distinct(
    scored: Sequence[tuple[float, Homography]], pair: ImagePair, at_most: int
) -> list[tuple[float, Homography]]:
    """Return the first of the candidates that place the image elsewhere than those before them."""
    height, width = pair.target.shape
    points = np.array([[x * width, y * height] for x in (0.2, 0.5, 0.8) for y in (0.2, 0.5, 0.8)])
    kept: list[tuple[float, Homography]] = []
    for score, homography in scored:
        if score < 0:
            break
        back = np.linalg.inv(homography)
        at_sharp = warp_points(back, points)
        apart = [np.abs(warp_points(other, at_sharp) - points).max() for _, other in kept]
        if all(distance > _SAME_SHARE * width for distance in apart):
            kept.append((score, homography))
        if len(kept) == at_most:
            break
    return kept


def _refine_coarsely(
    coarse: Sequence[ImagePair], homography: Homography, pair: ImagePair, score: float
) -> tuple[float, Homography]:
    to_target, to_source = _coarse_scales(pair)
    try:
        start = to_target @ homography @ np.linalg.inv(to_source)
        refined = refine_jointly(start, coarse, precision_px=0.02, max_pixels=_COARSE_PIXELS).homography
        found = _score(coarse, refined)
        if found > score:
            return found, normalized(np.linalg.inv(to_target) @ refined @ to_source)
    except ValueError:
        pass  # It competes as it is.
    return score, normalized(homography)


def _coarse_scales(pair: ImagePair) -> tuple[Homography, Homography]:
    """Return what takes pixels of the target, and of the source, to those of the coarse images."""
    matrices = []
    for image in (pair.target, pair.source):
        scales = [after / before for after, before in zip(_coarse_size(image), image.shape[::-1], strict=True)]
        matrices.append(
            np.array([[scales[0], 0, (scales[0] - 1) / 2], [0, scales[1], (scales[1] - 1) / 2], [0, 0, 1.0]])
        )
    return matrices[0], matrices[1]


def _coarse_size(image: NDArray[np.float32]) -> tuple[int, int]:
    height, width = image.shape
    scale = min(_COARSE_WIDTH_PX / width, 1.0)
    return max(round(scale * width), 1), max(round(scale * height), 1)


def _at_coarse(homography: Homography, pair: ImagePair) -> Homography:
    to_target, to_source = _coarse_scales(pair)
    return np.asarray(to_target @ homography @ np.linalg.inv(to_source), dtype=np.float64)


def _coarse(pair: ImagePair) -> ImagePair:
    def small(image: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(cv2.resize(image, _coarse_size(image), interpolation=cv2.INTER_AREA), dtype=np.float32)

    def small_mask(mask: Mask | None) -> Mask | None:
        # Single saturated pixels are no reason to lose a coarse one.
        return None if mask is None else np.asarray(small(mask.astype(np.float32)) > 0.5)

    return ImagePair(small(pair.source), small(pair.target), small_mask(pair.source_mask), small_mask(pair.target_mask))


def _score(pairs: Sequence[ImagePair], homography: Homography) -> float:
    """Return the mean correlation of gradients; -1 where the views share less than a fifth of the image."""
    if not np.isfinite(homography).all() or abs(np.linalg.det(homography)) < 1e-12:
        return -1.0
    everything = ImagePair(pairs[0].source, pairs[0].target)
    if common_pixels(everything, homography).mean() < _MIN_SHARED:
        return -1.0
    return gradient_correlation(pairs, homography)


def _refine(
    initial: Homography, captures: list[Capture], pairs: list[ImagePair]
) -> tuple[list[Capture], list[ImagePair], Refinement | None]:
    """Refine on all captures, without those that are shifted against the others."""
    while True:
        try:
            refinement = refine_jointly(initial, pairs)
        except ValueError as error:
            logger.warning("the homography is not refined on the images: %s", error)
            return captures, pairs, None
        if len(pairs) < _MIN_PAIRS_TO_OUTVOTE:
            return captures, pairs, refinement
        shifts_px = [float(np.hypot(*refinement.shift_px(index))) for index in range(len(pairs))]
        worst = int(np.argmax(shifts_px))
        if shifts_px[worst] <= _MAX_PAIR_SHIFT_PX + 3 * float(np.median(shifts_px)):
            return captures, pairs, refinement
        logger.warning(
            "%s: lies %.1f px off the other captures and is left out: was the rig moved?",
            *(captures[worst].name, shifts_px[worst]),
        )
        captures = [*captures[:worst], *captures[worst + 1 :]]
        pairs = [*pairs[:worst], *pairs[worst + 1 :]]


def _refine_with(
    refinement: Refinement, pairs: list[ImagePair], of_takes: list[ImagePair]
) -> tuple[Refinement, list[ImagePair]] | None:
    """Return the refinement on captures and takes, and all their images; None where there is none with takes."""
    if not of_takes:
        return None
    together = [*pairs, *of_takes]
    try:
        return refine_jointly(refinement.homography, together, is_near=True), together
    except ValueError as error:
        logger.warning("the takes' still first frames are left out: %s", error)
        return None


def _follow_consensus(
    homography: Homography, pairs: Sequence[ImagePair], refinement: Refinement | None
) -> Refinement | None:
    """Return the refinement on what most places agree on, or the one that is there where all agree with it."""
    for agreeing_px in AGREEING_PX:
        consensus = find_consensus(homography, pairs, agreeing_px)
        if consensus is None:
            break
        try:
            refinement = refine_jointly(consensus.homography, consensus.pairs, is_near=True)
        except ValueError as error:
            logger.info("what does not agree with the most is not left out: %s", error)
            break
        homography = refinement.homography
        logger.info(
            "%d of %d places moved between the exposures or lie at another depth; they do not count",
            *(consensus.n_off, consensus.n_places),
        )
    return refinement


def _check_certainty(refinement: Refinement, pair: ImagePair, folder: Path) -> None:
    height, width = pair.target.shape
    inner = np.array([[x * (width - 1), y * (height - 1)] for x in (0.15, 0.5, 0.85) for y in (0.15, 0.5, 0.85)])
    error_px = float(refinement.standard_error_px(inner).max())
    if error_px > _MAX_ERROR_PX:
        raise InputError(
            folder,
            f"the captures hold too little texture: the homography is uncertain by {error_px:.1f} px",
            expected="a chessboard or a textured scene that fills the image",
        )


def collect_matches(captures: Sequence[Capture], homography: Homography, within_px: float) -> list[Matches]:
    """Return the point pairs of every capture that agree with a homography."""
    boards = []
    for capture in captures:
        if capture.corners is None:
            continue
        blurry, sharp = capture.corners
        distances = np.linalg.norm(warp_points(homography, sharp)[:, None] - blurry[None], axis=2)
        near = distances.min(axis=1) < within_px
        if near.mean() >= 0.8:
            boards.append(Matches(sharp[near], blurry[distances.argmin(axis=1)[near]], capture.name))
        else:
            logger.warning("%s: its board does not fit the other captures and is left out", capture.name)
    # A board's corners are several times as precise as features; two boards span the image well enough.
    return boards if len(boards) >= 2 else boards + _feature_matches(captures, homography, within_px)


def _feature_matches(captures: Sequence[Capture], homography: Homography, within_px: float) -> list[Matches]:
    mirrored = np.linalg.det(homography) < 0
    features = []
    for capture in captures:
        if capture.corners is not None:
            continue
        flip = mirror_homography(capture.sharp.shape[1]) if mirrored else np.eye(3)
        source, target = match_features(capture, flip)
        if len(source):
            near = np.linalg.norm(warp_points(homography, source) - target, axis=1) < within_px
            if near.sum() >= MIN_FEATURE_PAIRS:
                features.append(Matches(source[near], target[near], capture.name))
    return features


def fit_matches(matches: Sequence[Matches], near: Homography) -> tuple[list[Matches], Homography]:
    """Return the point pairs that agree on one homography, and that one; none, and the one given, where none does."""
    source = np.concatenate([np.empty((0, 2)), *(match.sharp for match in matches)])
    target = np.concatenate([np.empty((0, 2)), *(match.blurry for match in matches)])
    try:
        homography, inliers = fit_homography(source, target)
    except ValueError:  # too few, or along a line
        return [], near
    kept, start = [], 0
    for match in matches:
        agree = inliers[start : start + len(match.sharp)]
        start += len(match.sharp)
        if agree.any():
            kept.append(dataclasses.replace(match, sharp=match.sharp[agree], blurry=match.blurry[agree]))
    return kept, homography
