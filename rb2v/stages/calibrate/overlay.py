"""Pictures to judge a calibration by."""

from __future__ import annotations

import dataclasses

import cv2
import numpy as np

from rb2v.artifacts import Calibration
from rb2v.core.homography import warp_image
from rb2v.stages.calibrate.captures import Image, size_of


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
    size = size_of(blurry)
    before = np.asarray(cv2.resize(sharp, size), dtype=np.uint8)
    after = warp_image(sharp, calibration.homography, size)
    cell = max(size[1] // 10, 8)
    cells = np.add.outer(np.arange(size[1]) // cell, np.arange(size[0]) // cell) % 2 == 1
    panels = [np.where(cells[..., None], view, blurry) for view in (before, after)]
    crop = dataclasses.astuple(calibration.crop)
    corner = (crop[0] + crop[2] - 1, crop[1] + crop[3] - 1)
    cv2.rectangle(panels[1], crop[:2], corner, (255, 255, 0), 2)
    return np.hstack(panels).astype(np.uint8)
