"""Choice of the camera response: the rig's, the user's, or the captures' own."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from rb2v.artifacts import Calibration, Camera, CameraResponse, GrayTone
from rb2v.core.color import CHECKER_SRGB, to_linear
from rb2v.core.homography import warp_points
from rb2v.core.response import (
    CodedColorPairs,
    GraySteps,
    ResponseEstimate,
    estimate_gray_exponent,
    estimate_response,
)
from rb2v.stages.calibrate.captures import Capture, Image, Points
from rb2v.stages.calibrate.chart import GRAY_ROW, PatchColors

logger = logging.getLogger(__name__)

ResponseChoice = CameraResponse | Literal["auto"] | None
"""The response to undo: one that is given, ``"auto"`` for what the captures tell, None for the rig's."""

_BLOCK_PX = 8  # averages a sensor's noise, and is far larger than a registration's error
_MAX_BLOCK_SPREAD = 0.03  # of coded values: blocks with edges in them would tell the registration's error
_MIN_CODED, _MAX_CODED = 0.02, 0.97  # darker ones are noise and flare, brighter ones may be clipped
_MIN_BLOCKS = 100  # eight for each of a map's twelve numbers


def choose_response(
    choice: ResponseChoice, rig_response: CameraResponse, estimate: ResponseEstimate | None, source: Path
) -> tuple[CameraResponse, CameraResponse | None]:
    """Return the response to undo, and the one that the calibration states.

    Parameters
    ----------
    choice : {"auto", "linear", "srgb"} or float or None
        What the user wants.
    rig_response : {"linear", "srgb"} or float
        What the rig's file says.
    estimate : ResponseEstimate or None
        What the captures tell.
    source : Path
        The captures, for a warning where they contradict what is undone.
    """
    if choice == "auto":
        if estimate is not None:
            return estimate.response, estimate.response
        logger.warning("%s: does not tell the cameras' response; the rig's is taken: %s", source, rig_response)
        return rig_response, None
    undone = rig_response if choice is None else choice
    if estimate is not None and estimate.excludes(undone):
        stated = f"the rig says {undone}" if choice is None else f"{undone} was chosen"
        looks = f"{estimate.response} (as a pure gamma {estimate.gamma:.2f} +- {estimate.gamma_error:.2f})"
        logger.warning("%s: the cameras' response looks like %s, but %s", source, looks, stated)
    if choice is not None:
        return undone, undone
    return undone, None if estimate is None else estimate.response


def estimate_from_patches(
    blurry: PatchColors, sharp: PatchColors, usable: NDArray[np.bool_]
) -> ResponseEstimate | None:
    """Return what a checker's patches tell of the response: its gray row's published light, and both cameras' colors.

    Parameters
    ----------
    blurry, sharp : PatchColors
        The patches in both cameras.
    usable : (24,) ndarray of bool
        Those that count.
    """
    grays = [_gray_steps(patches, usable) for patches in (blurry, sharp)]
    return estimate_response(grays, [CodedColorPairs(sharp.coded[usable], blurry.coded[usable])])


def find_gray_tones(
    blurry: PatchColors, sharp: PatchColors, usable: NDArray[np.bool_], response: CameraResponse, source: Path
) -> dict[Camera, GrayTone]:
    """Return the tone curves of the cameras whose gray row contradicts a response, and warn of them.

    Parameters
    ----------
    blurry, sharp, usable
        As for `estimate_from_patches`.
    response : {"linear", "srgb"} or float
        What is undone.
    source : Path
        The captures, for the warning.
    """
    tones: dict[Camera, GrayTone] = {}
    views: tuple[tuple[Camera, PatchColors], ...] = (("blurry", blurry), ("sharp", sharp))
    for camera, patches in views:
        found = estimate_gray_exponent(_gray_steps(patches, usable), response)
        if found is not None:
            tones[camera] = GrayTone(found.exponent, found.error)
            logger.warning(
                "%s: the %s camera's gray row differs from response %s by an exponent of %.3f +- %.3f: is its picture "
                "profile the rig's, and the light even over the checker?",
                *(source, camera, response, found.exponent, found.error),
            )
    return tones


def _gray_steps(patches: PatchColors, usable: NDArray[np.bool_]) -> GraySteps:
    published = to_linear(CHECKER_SRGB[GRAY_ROW] / 255.0, "srgb").astype(np.float64).mean(axis=1)
    gray = usable[GRAY_ROW]
    return GraySteps(patches.coded[GRAY_ROW][gray], published[gray])


def estimate_from_captures(captures: Sequence[Capture], calibration: Calibration) -> ResponseEstimate | None:
    """Return what static scenes that both cameras saw tell of the response.

    Parameters
    ----------
    captures : sequence of Capture
        The scenes, without their lenses' distortion.
    calibration : Calibration
        How the views are registered.

    Returns
    -------
    ResponseEstimate or None
        None where they leave it open, as where the cameras differ by a gain alone.
    """
    crop = calibration.crop
    x = np.arange(crop.x + _BLOCK_PX / 2, crop.x + crop.width - _BLOCK_PX / 2, _BLOCK_PX) - 0.5
    y = np.arange(crop.y + _BLOCK_PX / 2, crop.y + crop.height - _BLOCK_PX / 2, _BLOCK_PX) - 0.5
    in_blurry = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    in_sharp = warp_points(np.linalg.inv(calibration.homography), in_blurry)
    sources, targets = [np.empty((0, 3))], [np.empty((0, 3))]
    for capture in captures:
        target, even_target = _sample_blocks(capture.blurry, in_blurry)
        source, even_source = _sample_blocks(capture.sharp, in_sharp)
        kept = even_source & even_target
        sources.append(source[kept])
        targets.append(target[kept])
    pairs = CodedColorPairs(np.concatenate(sources), np.concatenate(targets))
    return estimate_response([], [pairs]) if len(pairs.source) >= _MIN_BLOCKS else None


def _sample_blocks(image: Image, middles: Points) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return the mean coded colors of blocks, and which of them are even and of sound exposure."""
    coded = image.astype(np.float32) / np.float32(255)
    mean = cv2.blur(coded, (_BLOCK_PX, _BLOCK_PX))
    variance = cv2.blur(np.square(coded), (_BLOCK_PX, _BLOCK_PX)) - np.square(mean)
    x, y = middles.astype(np.float32).T[:, None]
    sampled = [
        np.asarray(cv2.remap(np.asarray(field, np.float32), x, y, cv2.INTER_LINEAR, borderValue=(-1, -1, -1)))[0]
        for field in (mean, variance)
    ]
    colors, spread = sampled[0].astype(np.float64), np.sqrt(np.abs(sampled[1])).max(axis=1)
    even = (spread <= _MAX_BLOCK_SPREAD) & (colors.min(axis=1) >= _MIN_CODED) & (colors.max(axis=1) <= _MAX_CODED)
    return colors, np.asarray(even)
