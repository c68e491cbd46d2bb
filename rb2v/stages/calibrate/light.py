"""Light of the cameras as captures tell it: tone curves that differ, the gain field, and an image of that."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from rb2v.artifacts import Calibration, CameraResponse, GainField, SharpTone
from rb2v.core.color import to_linear
from rb2v.core.gain_field import ViewPair, color_error, fit_gain_field, gain_image, middles
from rb2v.core.homography import crop_homography, warp_image
from rb2v.core.tone import MAX_EXPONENT, MIN_EXPONENT, ExponentFit, confirm_exponent, fit_exponent, undo_tone
from rb2v.stages.calibrate.captures import Capture, Image

_CELL_PX = 8  # of the crop: averages noise, and is far larger than a registration's error
_BRIGHTEST = 0.97  # of coded values; brighter ones may be clipped
_MIN_CELLS = 60  # four for each of a field's fifteen numbers
_PANEL_PX = 240  # height of a color's panel
_FULL_SCALE = 0.25  # gain less one that is drawn in full color
_WHITE, _BLACK = 255.0, (0, 0, 0)  # of 8 bits


def compare_light(
    captures: Sequence[Capture], calibration: Calibration, response: CameraResponse
) -> tuple[SharpTone | None, GainField | None]:
    """Return what static scenes tell of the cameras' light; None each where they tell nothing, or are fewer than two.

    Parameters
    ----------
    captures : sequence of Capture
        The scenes, without their lenses' distortion.
    calibration : Calibration
        How the views are registered.
    response : {"linear", "srgb"} or float
        The response that is undone.

    Returns
    -------
    tone : SharpTone or None
        The sharp camera's tone curve, where it is not the blurry camera's; as the checker's gray rows tell it where
        the scenes are too few to find it, and confirm it.
    field : GainField or None
        How light differs from place to place, once the tone is undone.
    """
    views = [_register_view(capture, calibration, response) for capture in captures]
    views = [view for view in views if len(view.places) >= _MIN_CELLS]

    def errors(exponent: float) -> NDArray[np.float64]:
        return np.array([color_error(view.pair(response, exponent)) for view in views])

    tone = fit_exponent(errors) or _confirm_gray_tones(calibration, errors)
    exponent = 1.0 if tone is None else tone.exponent
    field = fit_gain_field([view.pair(response, exponent) for view in views])
    return (
        None if tone is None else SharpTone(tone.exponent, tone.error_before, tone.error_after),
        None if field is None else GainField(field.coefficients, response, field.error_before, field.error_after),
    )


def _confirm_gray_tones(calibration: Calibration, errors: Callable[[float], NDArray[np.float64]]) -> ExponentFit | None:
    """Return what the checker's gray rows tell of the sharp camera's tone against the blurry one's, if views agree."""
    sharp, blurry = (1.0 if one is None else one.exponent for one in (calibration.gray_sharp, calibration.gray_blurry))
    exponent = sharp / blurry
    return confirm_exponent(errors, exponent) if MIN_EXPONENT < exponent < MAX_EXPONENT and exponent != 1 else None


@dataclass(frozen=True, eq=False)
class _View:
    """The crop of a capture, registered, by the cells of which both see all, neither clipped nor moving."""

    sharp: Image
    kept: NDArray[np.bool_]
    """(rows, columns) those cells among all."""
    places: NDArray[np.float64]
    """(n, 2) as of `ViewPair`."""
    blurry: NDArray[np.float64]
    """(n, 3) linear light."""

    def pair(self, response: CameraResponse, exponent: float) -> ViewPair:
        """Return both views, an exponent of the sharp camera's tone undone."""
        return ViewPair(self.places, _average(undo_tone(self.sharp, response, exponent))[self.kept], self.blurry)


def _register_view(capture: Capture, calibration: Calibration, response: CameraResponse) -> _View:
    crop = calibration.crop
    size = (crop.width, crop.height)
    to_crop = crop_homography(dataclasses.astuple(crop), size)
    blurry = np.ascontiguousarray(capture.blurry[crop.y : crop.y + crop.height, crop.x : crop.x + crop.width])
    sharp = warp_image(capture.sharp, to_crop @ calibration.homography, size)
    seen = _is_seen(blurry) & _is_seen(sharp)
    for mask, homography in zip(capture.still, (to_crop, to_crop @ calibration.homography), strict=True):
        if mask is not None:
            seen &= warp_image(mask.astype(np.uint8), homography, size) > 0
    kept = _average(seen.astype(np.float32)) > 1 - 1e-6  # of a mean in float32
    return _View(sharp, kept, middles(kept.shape[::-1])[kept], _average(to_linear(blurry, response))[kept])


def _average(image: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return means over cells of about `_CELL_PX` pixels."""
    cells = (max(image.shape[1] // _CELL_PX, 1), max(image.shape[0] // _CELL_PX, 1))
    return np.asarray(cv2.resize(image, cells, interpolation=cv2.INTER_AREA), dtype=np.float64)


def _is_seen(image: Image) -> NDArray[np.bool_]:
    return np.asarray(image.max(axis=2) < _BRIGHTEST * _WHITE, dtype=np.bool_)


def draw_gain_field(field: GainField, crop: tuple[int, int]) -> Image:
    """Draw the factors of red, green and blue side by side: orange above 1, violet below, white where it is 1.

    Parameters
    ----------
    field : GainField
        The field.
    crop : tuple of int
        Width and height of the crop, whose shape the panels have.

    Returns
    -------
    (H, W, 3) ndarray of uint8
    """
    size = (max(round(_PANEL_PX * crop[0] / crop[1]), 1), _PANEL_PX)
    gains = gain_image(field.coefficients, size)
    panels = []
    for channel, name in enumerate(("red", "green", "blue")):
        strength = np.clip((gains[..., channel : channel + 1] - 1) / _FULL_SCALE, -1, 1)
        colors = np.where(strength > 0, (0.0, 0.5, 1.0), (0.5, 1.0, 0.0)) * np.abs(strength)
        panel = np.rint(_WHITE * (1 - colors)).astype(np.uint8)
        text = f"{name} {gains[..., channel].min():.3f} to {gains[..., channel].max():.3f}"
        panels.append(cv2.putText(panel, text, (8, 20), cv2.FONT_HERSHEY_SIMPLEX, 0.45, _BLACK, 1, cv2.LINE_AA))
    return np.hstack(panels).astype(np.uint8)
