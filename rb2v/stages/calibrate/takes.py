"""Still first frames of takes: more captures, by which a rig that was moved after the captures is noticed."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from rb2v.artifacts import FormatOverride, RawDirectory, Take
from rb2v.core.homography import Homography, warp_points
from rb2v.core.refinement import ImagePair, Refinement, refine_jointly
from rb2v.errors import InputError
from rb2v.io.config import read_takes
from rb2v.io.video import iter_frames, probe_video
from rb2v.stages.calibrate.captures import Capture, Image, Mask, size_of

logger = logging.getLogger(__name__)

_SPAN_SECONDS = (
    0.4  # ten frames of 25 per second, whose mean has a third of their noise; soon over for who has to are static
)
_MIN_FRAMES = 3  # first, last and one between
_COARSE_WIDTH_PX = 240  # averages noise; what moves by a pixel here moves by several in the frame
_CHANGED = 4.0  # levels of 255, of smoothed coarse images: several times a camera's noise
_EDGE_QUANTILE = 0.9  # the steepest tenth
_MIN_SLOPE = 6.0  # levels per coarse pixel
_MAX_MOVED_EDGES, _MAX_MOVED = 0.25, 0.5  # shares, of the edges and of the image, that may change in a still take
_MAX_DRIFT_PX = 0.1  # from the first to the last frame: a fifth of `_MAX_SHIFT_PX`
_MOVED_REACH = 5  # coarse px: two on each side of what moved are left out, too

_MIN_CORRELATION = 0.4  # of the gradients; views of the same things reach it in noise and poor light
_MAX_ERROR_PX = 0.15  # standard error: three of them are less than `_MAX_SHIFT_PX`
_MAX_SHIFT_PX = 0.5  # as `max_shift_px` of the alignment: beyond it a rig was moved
_SURELY_OFF = 4.0  # times as far off as when exchanged
_LEAST_SHIFT_PX = 0.25  # a shift when exchanged counts as this at least, so that small ones decide nothing


def read_still_takes(raw: RawDirectory, captures: Sequence[Capture]) -> list[Capture]:
    """Return the mean of the first frames of every take in which both cameras recorded what is static.

    Parameters
    ----------
    raw : RawDirectory
        With takes or without.
    captures : sequence of Capture
        The geometry captures, for their sizes.

    Returns
    -------
    list of Capture
        Named after their takes' folders; what moves in a corner of a take is told by their ``still``.

    Raises
    ------
    InputError
        If the sizes of the takes tell that the captures of the cameras are in each other's folder.
    """
    if not (raw.root / "takes").is_dir():
        return []
    try:
        takes = read_takes(raw.root, on_fault=warn_of_fault)
    except InputError as error:
        logger.warning("the takes' first frames are not looked at: %s", error)
        return []
    found = []
    for take in takes:
        try:
            sizes = tuple(
                _size_of_recording(paths[0], override)
                for paths, override in ((take.blurry, take.blurry_format), (take.sharp, take.sharp_format))
            )
        except InputError as error:
            logger.warning("takes/%s: its first frames are not looked at: %s", take.name, error)
            continue
        if _has_sizes(take, sizes, raw, captures[0]):
            found.append(read_still_take(take))
    return [capture for capture in found if capture is not None]


def warn_of_fault(name: str, fault: InputError) -> None:
    """Say that a take is passed over because it cannot be read."""
    logger.warning("takes/%s: is not looked at: %s", name, fault)


def _size_of_recording(path: Path, override: FormatOverride) -> tuple[int, int]:
    info = probe_video(path, override)
    return info.width, info.height


def _has_sizes(take: Take, sizes: tuple[tuple[int, int], ...], raw: RawDirectory, reference: Capture) -> bool:
    expected = (size_of(reference.blurry), size_of(reference.sharp))
    if sizes == expected:
        return True
    shown = [f"{width}x{height}" for width, height in (*sizes, *expected)]
    if sizes == expected[::-1]:
        raise InputError(
            raw.root / "calibration" / "geometry" / "blurry",
            f"holds images of {shown[2]}, the size of the sharp recording of takes/{take.name}",
            expected=f"{shown[0]} as its blurry recording: each camera's images in its own folder",
        )
    logger.warning(
        "takes/%s: its first frames are not looked at: its recordings are %s and %s, the captures %s and %s",
        *(take.name, *shown),
    )
    return False


def read_still_take(take: Take) -> Capture | None:
    """Return the mean of a take's first frames, where both cameras recorded what is static."""
    views = []
    for paths, override in ((take.blurry, take.blurry_format), (take.sharp, take.sharp_format)):
        try:
            view = _read_still(paths, override)
        except InputError as error:
            logger.warning("takes/%s: its first frames are not looked at: %s", take.name, error)
            return None
        if view is None:
            logger.info("takes/%s: does not begin with what is static in both views", take.name)
            return None
        views.append(view)
    (blurry, still_blurry), (sharp, still_sharp) = views
    return Capture(f"takes/{take.name}", blurry, sharp, None, still=(still_blurry, still_sharp))


def _read_still(paths: Sequence[Path], override: FormatOverride) -> tuple[Image, Mask] | None:
    """Return the mean of a recording's first frames, and what is static of it; None where too much moves."""
    first: Image | None = None
    last: Image | None = None
    coarse: NDArray[np.float32] | None = None
    total: NDArray[np.float32] | None = None
    moved = np.zeros((0, 0), bool)
    edges = moved
    n_frames = 0
    start_seconds: float | None = None
    for frame in iter_frames(paths, override):
        start_seconds = frame.time_seconds if start_seconds is None else start_seconds
        if frame.time_seconds - start_seconds >= _SPAN_SECONDS:
            break
        seen = _coarse(frame.image)
        if first is None or coarse is None or total is None:
            first, coarse, total = frame.image, seen, np.zeros(frame.image.shape, np.float32)
            moved, edges = np.zeros(seen.shape, bool), _edges(seen)
        difference = seen - coarse
        moved |= np.abs(difference - np.median(difference)) > _CHANGED
        if not edges.any() or moved[edges].mean() > _MAX_MOVED_EDGES or moved.mean() > _MAX_MOVED:
            return None
        total += frame.image
        last = frame.image
        n_frames += 1
    if first is None or last is None or total is None or n_frames < _MIN_FRAMES:
        return None
    grown = cv2.dilate(moved.astype(np.uint8), np.ones((_MOVED_REACH, _MOVED_REACH), np.uint8))
    still = cv2.resize(grown, size_of(first), interpolation=cv2.INTER_NEAREST) == 0
    if _drift_px(first, last, still) > _MAX_DRIFT_PX:
        return None
    return np.rint(total / n_frames).astype(np.uint8), still


def _coarse(image: Image) -> NDArray[np.float32]:
    """Return the small gray image, 0..255."""
    width, height = size_of(image)
    scale = min(_COARSE_WIDTH_PX / width, 1.0)
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY).astype(np.float32)
    coarse_size = (max(round(scale * width), 1), max(round(scale * height), 1))
    small = cv2.resize(gray, coarse_size, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.GaussianBlur(small, (0, 0), 1.0), dtype=np.float32)


def _edges(coarse: NDArray[np.float32]) -> Mask:
    slope = np.hypot(*np.gradient(coarse))
    return np.asarray(slope > max(float(np.quantile(slope, _EDGE_QUANTILE)), _MIN_SLOPE))


def _drift_px(first: Image, last: Image, still: Mask) -> float:
    source, target = (
        cv2.cvtColor(one, cv2.COLOR_RGB2GRAY).astype(np.float32) / np.float32(255) for one in (first, last)
    )
    try:
        found = refine_jointly(
            np.eye(3), [ImagePair(source, target, still, still)], motion="shift", precision_px=0.01, is_near=True
        )
    except ValueError:
        return float("inf")
    return float(np.hypot(*found.homography[:2, 2]))


@dataclass(frozen=True)
class _Fit:
    """How a take's views lie under the captures' homography."""

    shift_px: float
    error_px: float


def choose_fitting(
    takes: Sequence[Capture], pairs: Sequence[ImagePair], homography: Homography, folder: Path
) -> list[int]:
    """Return the indices of the takes whose views lie where the captures say, and name the others.

    Parameters
    ----------
    takes : sequence of Capture
        As by `read_still_takes`, without their lenses' distortion.
    pairs : sequence of ImagePair
        Their images.
    homography : (3, 3) ndarray
        What the captures agree on.
    folder : Path
        Of the geometry captures.

    Raises
    ------
    InputError
        If most of the takes fit the other way round: the captures of the cameras are in each other's folder.
    """
    kept, exchanged = [], []
    for index, (take, pair) in enumerate(zip(takes, pairs, strict=True)):
        fit = _measure(pair, homography)
        if fit is not None and fit.shift_px <= max(_MAX_SHIFT_PX, 3 * fit.error_px):
            kept.append(index)
        elif _fits_exchanged(pair, homography, fit):
            exchanged.append(index)
        elif fit is None:
            logger.warning("%s: its still first frames do not fit the captures and are left out", take.name)
        else:
            logger.warning(
                "%s: its still first frames lie %.1f px off the captures and are left out: was the rig moved? "
                "'rb2v align' gives such a take a homography of its own",
                *(take.name, fit.shift_px),
            )
    if 2 * len(exchanged) > len(takes):
        raise InputError(
            folder / "blurry",
            f"holds the sharp camera's images, and sharp/ the blurry camera's: the still first frames of "
            f"{', '.join(takes[index].name for index in exchanged)} fit the other way round",
            expected="each camera's images in its own folder",
        )
    for index in exchanged:
        logger.warning("%s: its recordings fit the other way round and are left out", takes[index].name)
    return kept


def _fits_exchanged(pair: ImagePair, homography: Homography, own: _Fit | None) -> bool:
    if pair.source.shape != pair.target.shape:
        return False
    fit = _measure(ImagePair(pair.target, pair.source, pair.target_mask, pair.source_mask), homography)
    if fit is None or fit.shift_px > max(_MAX_SHIFT_PX, 3 * fit.error_px):
        return False
    # The views of a mirrored rig are nearly each other's inverse, so that both ways may fit.
    return own is None or own.shift_px > _SURELY_OFF * max(fit.shift_px, _LEAST_SHIFT_PX)


def _measure(pair: ImagePair, homography: Homography) -> _Fit | None:
    """Return how far the views lie off each other; None where they do not fit at all, or tell too little."""
    height, width = pair.target.shape
    points = np.array([[x * (width - 1), y * (height - 1)] for x in (0.2, 0.5, 0.8) for y in (0.2, 0.5, 0.8)])
    modes: tuple[Literal["homography", "shift"], ...] = ("homography", "shift")
    for motion in modes:
        found: Refinement | None
        try:
            found = refine_jointly(homography, [pair], motion=motion, precision_px=0.01)
        except ValueError:
            continue
        if found.correlation < _MIN_CORRELATION:
            return None  # a shift is one of the homographies, and correlates no better
        error_px = float(np.median(found.standard_error_px(points)))
        if error_px > _MAX_ERROR_PX:
            continue
        moved = warp_points(found.homography @ np.linalg.inv(homography), points) - points
        return _Fit(float(np.median(np.linalg.norm(moved, axis=1))), error_px)
    return None
