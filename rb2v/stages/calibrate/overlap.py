"""Common view of both cameras: their housings' borders, and the crop that is free of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from rb2v.artifacts import Crop, Rig
from rb2v.core.homography import Homography, choose_crop, warp_image
from rb2v.errors import InputError
from rb2v.stages.calibrate.captures import Image, Mask

BORDER_MARGIN_PX = 5  # the housing is too near to be in focus, and shades what is beside it
_SHADED_SHARE = 0.9  # of the light a margin further in: a lens's own fall-off is far less over so few pixels
_BORDER_SHARE = 0.12  # of the median brightness: darker than most shadows, brighter than the housing's stray light


def lit_pixels(images: Sequence[Image]) -> Mask:
    """Return the pixels that the housing does not cover: lit in some capture, or not joined to the image's rim."""
    blurred = [cv2.GaussianBlur(image.max(axis=2), (0, 0), 1.5, borderType=cv2.BORDER_REPLICATE) for image in images]
    brightest = np.max(blurred, axis=0)
    dark = (brightest < _BORDER_SHARE * np.median(brightest)).astype(np.uint8)
    framed = np.pad(dark, 1, constant_values=1)
    _, labels = cv2.connectedComponents(framed, connectivity=4)
    border = (labels == labels[0, 0])[1:-1, 1:-1].astype(np.uint8)
    _mark_shaded_rims(border, brightest)
    grown = cv2.dilate(border, np.ones((2 * BORDER_MARGIN_PX + 1,) * 2, np.uint8))
    return np.asarray(grown == 0)


def _mark_shaded_rims(border: NDArray[np.uint8], brightest: NDArray[np.uint8]) -> None:
    """Mark the image's outermost lines where the housing shades them and ends at, or beyond, the rim."""
    if min(border.shape) <= 2 * BORDER_MARGIN_PX:
        return
    for turns in range(4):
        marked, light = np.rot90(border, turns), np.rot90(brightest, turns).astype(np.float64)
        lit = (light[BORDER_MARGIN_PX] > 0) & (marked[0] == 0)
        if lit.any() and np.median(light[0][lit] / light[BORDER_MARGIN_PX][lit]) < _SHADED_SHARE:
            marked[0] = 1


def seen_by_both(lit_blurry: Mask, lit_sharp: Mask, homography: Homography) -> Mask:
    """Return the pixels of the blurry camera that both cameras see."""
    size = (lit_blurry.shape[1], lit_blurry.shape[0])
    return lit_blurry & (warp_image(lit_sharp.astype(np.float32), homography, size) > 0.999)


def find_crop(lit_blurry: Mask, lit_sharp: Mask, homography: Homography, rig: Rig, raw_dir: Path) -> Crop:
    """Return a large rectangle of the output's aspect that both cameras see whole.

    Raises
    ------
    InputError
        If they share no pixel.
    """
    seen = seen_by_both(lit_blurry, lit_sharp, homography)
    try:
        x, y, width, height = choose_crop(seen, rig.output_size[0] / rig.output_size[1])
    except ValueError as error:
        raise InputError(raw_dir / "calibration" / "geometry", str(error), expected="overlapping views") from error
    return Crop(x, y, width, height)
