"""Common view of both cameras: their housings' borders, and the crop that is free of them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from rb2v.artifacts import Crop, Rig
from rb2v.core.homography import Homography, choose_crop, warp_image
from rb2v.errors import InputError
from rb2v.stages.calibrate.captures import Image, Mask

BORDER_MARGIN_PX = 5  # the housing is too near to be in focus, and shades what is beside it
_BORDER_SHARE = 0.12  # of the median brightness: darker than most shadows, brighter than the housing's stray light


def lit_pixels(images: Sequence[Image]) -> Mask:
    """Return the pixels that the housing does not cover: lit in some capture, or not joined to the image's rim."""
    brightest = np.max([cv2.GaussianBlur(image.max(axis=2), (0, 0), 1.5) for image in images], axis=0)
    dark = (brightest < _BORDER_SHARE * np.median(brightest)).astype(np.uint8)
    framed = np.pad(dark, 1, constant_values=1)
    _, labels = cv2.connectedComponents(framed, connectivity=4)
    border = (labels == labels[0, 0])[1:-1, 1:-1].astype(np.uint8)
    grown = cv2.dilate(border, np.ones((2 * BORDER_MARGIN_PX + 1,) * 2, np.uint8))
    return np.asarray(grown == 0)


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
