"""Images to judge a calibration by."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import cv2
import numpy as np
from PIL import Image as PillowImage

from rb2v.artifacts import Calibration
from rb2v.core.homography import warp_image
from rb2v.io.store import whole_file
from rb2v.io.video import write_image
from rb2v.stages.calibrate.captures import Capture, Image, size_of
from rb2v.stages.calibrate.light import draw_gain_field

_FLICKER_MS = 400  # long enough to look at, short enough to see a jump
_MAX_FLICKER_WIDTH_PX = 640  # of both panels; GIF compresses little
_YELLOW, _GREEN, _RED = (255, 255, 0), (60, 230, 60), (255, 70, 50)  # RGB of the crop, and of small and large residuals
_LARGE_RESIDUAL_PX = 0.5  # as `max_shift_px` of the alignment
_ARROW_SHARE = 0.4  # of the distance to the next arrow, so that none reaches it


def write_pictures(calibration_path: Path, capture: Capture, calibration: Calibration) -> list[Path]:
    """Write the images that a calibration is judged by beside its file, and return their paths."""
    stem = calibration_path.stem
    paths = []
    pictures = {
        "overlay": draw_overlay(capture.blurry, capture.sharp, calibration),
        "residuals": draw_residuals(capture.blurry, calibration),
    }
    if calibration.gain_field is not None:
        pictures["gains"] = draw_gain_field(calibration.gain_field, (calibration.crop.width, calibration.crop.height))
    else:
        calibration_path.with_name(f"{stem}_gains.png").unlink(missing_ok=True)  # of an earlier run
    for name, image in pictures.items():
        paths.append(calibration_path.with_name(f"{stem}_{name}.png"))
        with whole_file(paths[-1]) as temporary:
            write_image(temporary, image)
    paths.append(calibration_path.with_name(f"{stem}_flicker.gif"))
    frames = [PillowImage.fromarray(frame) for frame in draw_flicker(capture.blurry, capture.sharp, calibration)]
    with whole_file(paths[-1]) as temporary:
        frames[0].save(temporary, "GIF", save_all=True, append_images=frames[1:], duration=_FLICKER_MS, loop=0)
    return paths


def find_pictures(calibration_path: Path) -> list[Path]:
    """Return the images beside a calibration's file that were written with it."""
    names = ("overlay.png", "flicker.gif", "residuals.png", "gains.png", "colors.png")
    paths = [calibration_path.with_name(f"{calibration_path.stem}_{name}") for name in names]
    return [path for path in paths if path.exists()]


def draw_overlay(blurry: Image, sharp: Image, calibration: Calibration) -> Image:
    """Draw the two views as one chequered image, before and after registration, and the crop.

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


def draw_flicker(blurry: Image, sharp: Image, calibration: Calibration) -> tuple[Image, Image]:
    """Draw two frames that are to be shown in turn: what jumps between them is not registered.

    Parameters
    ----------
    blurry, sharp : (H, W, 3) ndarray of uint8
        A static scene seen by both cameras.
    calibration : Calibration
        How they are registered.

    Returns
    -------
    tuple of (h, w, 3) ndarray of uint8
        The blurry view twice, and the sharp view as recorded beside it as registered; within the crop.
    """
    size = size_of(blurry)
    before = np.asarray(cv2.resize(sharp, size), dtype=np.uint8)
    if calibration.mirrored:
        before = before[:, ::-1]
    after = warp_image(sharp, calibration.homography, size)
    x, y, width, height = dataclasses.astuple(calibration.crop)
    scale = min(_MAX_FLICKER_WIDTH_PX / (2 * width), 1.0)
    panel = (max(round(scale * width), 1), max(round(scale * height), 1))

    def cut(image: Image) -> Image:
        inside = np.ascontiguousarray(image[y : y + height, x : x + width])
        return np.asarray(cv2.resize(inside, panel, interpolation=cv2.INTER_AREA), dtype=np.uint8)

    return np.hstack([cut(blurry), cut(blurry)]), np.hstack([cut(before), cut(after)])


def draw_residuals(blurry: Image, calibration: Calibration) -> Image:
    """Draw what is left of the displacement over the crop, as arrows many times as long as it is.

    Parameters
    ----------
    blurry : (H, W, 3) ndarray of uint8
        What the blurry camera sees.
    calibration : Calibration
        How the views are registered, and the residuals.

    Returns
    -------
    (H, W, 3) ndarray of uint8
        Arrows in green below half a pixel and in red from there on, a dot where nothing is known, the crop in yellow,
        and a scale at the bottom left.
    """
    enlarged = max(round(960 / blurry.shape[1]), 1)
    size = (blurry.shape[1] * enlarged, blurry.shape[0] * enlarged)
    gray = cv2.cvtColor(np.asarray(cv2.resize(blurry, size), dtype=np.uint8), cv2.COLOR_RGB2GRAY)
    picture = np.dstack([gray // 3] * 3)
    x, y, width, height = dataclasses.astuple(calibration.crop)
    first, last = (enlarged * x, enlarged * y), (enlarged * (x + width - 1), enlarged * (y + height - 1))
    cv2.rectangle(picture, first, last, _YELLOW, 1)
    lengths = [float(np.hypot(one.dx, one.dy)) for one in calibration.residuals]
    # The largest arrow reaches nearly to its neighbor's place, but no arrow is a thousand times what it shows.
    spacing = np.sqrt(width * height / max(len(lengths), 1)) * enlarged
    magnification = _round_figure(min(_ARROW_SHARE * spacing / max([*lengths, 1e-3]), 1000.0 * enlarged))
    for one, length in zip(calibration.residuals, lengths, strict=True):
        start = (round(enlarged * one.x), round(enlarged * one.y))
        end = (round(enlarged * one.x + magnification * one.dx), round(enlarged * one.y + magnification * one.dy))
        color = _GREEN if length < _LARGE_RESIDUAL_PX else _RED
        cv2.circle(picture, start, 2, color, -1)
        cv2.arrowedLine(picture, start, end, color, 1, cv2.LINE_AA, tipLength=0.25)
    scale_px = _round_figure(0.5 * spacing / magnification)
    left, bottom = round(0.02 * size[0]), size[1] - round(0.03 * size[1])
    cv2.line(picture, (left, bottom), (left + round(magnification * scale_px), bottom), (255, 255, 255), 2)
    median = f", median {np.median(lengths):.3g} px" if lengths else ""
    label = f"{scale_px:g} px{median}"
    cv2.putText(picture, label, (left, bottom - 8), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (255, 255, 255), 1, cv2.LINE_AA)
    return np.asarray(picture, dtype=np.uint8)


def _round_figure(value: float) -> float:
    """Return the largest of 1, 2 and 5 times a power of ten that is not above a value."""
    power = 10.0 ** np.floor(np.log10(value))
    return float(max(factor for factor in (1, 2, 5) if factor * power <= value * (1 + 1e-9)) * power)
