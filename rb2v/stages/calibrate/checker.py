"""The color maps between the cameras, from a 24-patch checker that both saw."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rb2v.artifacts import Calibration, Camera, CameraResponse, GrayTone
from rb2v.core.color import apply_color_map, delta_e_2000, fit_color_map_by_consensus, from_linear, to_linear
from rb2v.core.homography import warp_points
from rb2v.core.lens import undistort_image
from rb2v.errors import InputError
from rb2v.io.video import read_image
from rb2v.stages.calibrate.captures import Image, Points, size_of
from rb2v.stages.calibrate.chart import (
    MAX_SPREAD,
    MIN_PITCH_PX,
    Chart,
    PatchColors,
    find_chart,
    fit_grid,
    is_in_picture,
    measure_patches,
    place_chart,
)
from rb2v.stages.calibrate.response import (
    ResponseChoice,
    choose_response,
    estimate_from_patches,
    find_gray_tones,
)

logger = logging.getLogger(__name__)

MIN_USABLE = 8
"""Patches without which no color map is fitted."""

_MAX_OFFSET = 0.5  # of the pitch, between a chart and where the homography puts it
# Images are swapped where they lie well only the other way round.
_MIN_SWAPPED_PX = 3.0
_MAX_SWAPPED = 0.3  # of the offset as they lie
_VISIBLE_DELTA_E = 1.0  # CIEDE2000 is scaled so that a difference of one can just be seen
_EXPECTED = "the whole chart in both views, in focus, uncovered and not overexposed"


@dataclass(frozen=True, eq=False)
class CheckerFit:
    """The color maps of a checker, and how well they take its patches from one camera to the other."""

    color: NDArray[np.float64]
    """(3, 4) color map in linear light, sharp to blurry."""
    color_coded: NDArray[np.float64]
    """(3, 4) color map of coded values, sharp to blurry."""
    undone: CameraResponse
    """The response that ``color`` was fitted under."""
    response: CameraResponse | None
    """The cameras' response as the user or the patches say it."""
    used: NDArray[np.bool_]
    """(24,) patches that the maps were fitted to."""
    gray_tones: Mapping[Camera, GrayTone]
    """Of the cameras whose gray row contradicts the response that was undone."""
    blurry: NDArray[np.float64]
    """(24, 3) the blurry camera's patches, coded as sRGB, 0..1."""
    sharp: NDArray[np.float64]
    """(24, 3) the sharp camera's, likewise."""
    mapped: NDArray[np.float64]
    """(24, 3) the sharp camera's after ``color``, likewise."""
    mapped_coded: NDArray[np.float64]
    """(24, 3) the sharp camera's after ``color_coded``, likewise."""

    def differences(self, colors: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the (24,) CIEDE2000 differences between some colors and the blurry camera's patches."""
        return delta_e_2000(colors, self.blurry)

    def complete(self, calibration: Calibration) -> Calibration:
        """Return the calibration with the colors that were found."""
        before, after, coded = (
            float(self.differences(colors)[self.used].mean()) for colors in (self.sharp, self.mapped, self.mapped_coded)
        )
        quality = dataclasses.replace(calibration.quality, delta_e=after, delta_e_before=before, delta_e_coded=coded)
        return dataclasses.replace(
            calibration,
            color=self.color,
            color_coded=self.color_coded,
            color_response=self.undone,
            response=self.response,
            gray_blurry=self.gray_tones.get("blurry"),
            gray_sharp=self.gray_tones.get("sharp"),
            quality=quality,
        )


def fit_checker(
    pair: tuple[Path, Path], calibration: Calibration, rig_response: CameraResponse, choice: ResponseChoice = None
) -> CheckerFit:
    """Fit the color maps to the checker's patches.

    Parameters
    ----------
    pair : tuple of Path
        Images of the checker as the blurry and the sharp camera saw it.
    calibration : Calibration
        How the views are registered.
    rig_response : {"linear", "srgb"} or float
        The response that the rig's file states.
    choice : {"auto", "linear", "srgb"} or float, optional
        The response to undo, see `choose_response`.

    Returns
    -------
    CheckerFit

    Raises
    ------
    InputError
        If an image is of another size than the calibration, the checker is not seen whole in both, they show it where
        the homography does not put it or mirrored in another way, or too few patches can be used.
    """
    images = _read_pair(pair, calibration)
    charts = _find_in_both(pair, images, calibration)
    _check_places(pair, charts, calibration)
    blurry, sharp = (chart.patches for chart in charts)
    usable = _usable_patches(pair, blurry, sharp)
    estimate = estimate_from_patches(blurry, sharp, usable)
    undone, response = choose_response(choice, rig_response, estimate, pair[0].parent)
    source, target = sharp.linear(undone), blurry.linear(undone)
    color, kept = fit_color_map_by_consensus(source[usable], target[usable])
    used = usable.copy()
    used[usable] = kept
    if used.sum() < MIN_USABLE:
        problem = f"only {used.sum()} of the checker's 24 patches agree on a color map"
        raise InputError(pair[1], problem, expected=f"{MIN_USABLE} at least, without glare and in one light")
    set_aside = usable & ~used
    if set_aside.any():
        names = ", ".join(str(index + 1) for index in np.flatnonzero(set_aside))
        logger.warning("%s: patches that do not fit the others are left out (glare?): %s", pair[0].parent, names)
    color_coded, _ = fit_color_map_by_consensus(sharp.coded[used], blurry.coded[used])
    # Differences are those of the light, so that they are coded as sRGB whatever the cameras' response is.
    mapped_coded = np.clip(apply_color_map(color_coded, sharp.coded), 0, 1)
    lights = (target, source, apply_color_map(color, source), to_linear(mapped_coded, undone))
    coded = [from_linear(light, "srgb").astype(np.float64) for light in lights]
    # Also those that do not fit the others: under another tone curve the darkest and the brightest do not.
    gray_tones = find_gray_tones(blurry, sharp, usable, undone, pair[0].parent)
    fit = CheckerFit(color, color_coded, undone, response, used, gray_tones, *coded)
    if (left := float(fit.differences(fit.mapped)[used].mean())) > _VISIBLE_DELTA_E:
        logger.warning(
            "%s: the color map leaves a difference of %.1f (CIEDE2000) between the cameras; from %g on it can be seen: "
            "is the light even, and are the picture profiles alike?",
            *(pair[0].parent, left, _VISIBLE_DELTA_E),
        )
    return fit


def _read_pair(pair: tuple[Path, Path], calibration: Calibration) -> tuple[Image, Image]:
    """Return the images without their lenses' distortion: the pixels that the homography is between."""
    images = []
    sizes = (calibration.size_blurry, calibration.size_sharp)
    lenses = (calibration.lens_blurry, calibration.lens_sharp)
    for path, size, lens in zip(pair, sizes, lenses, strict=True):
        image = read_image(path)
        if size_of(image) != size:
            found, wanted = (f"{width}x{height}" for width, height in (size_of(image), size))
            raise InputError(path, f"is {found}", expected=f"{wanted} as the geometry captures")
        images.append(undistort_image(image, lens))
    return images[0], images[1]


def _find_in_both(
    pair: tuple[Path, Path], images: tuple[Image, Image], calibration: Calibration
) -> tuple[Chart, Chart]:
    """Return the charts; where one view's is not found by itself, it is looked for where the other's says."""
    blurry, sharp = (find_chart(image) for image in images)
    if blurry is None and sharp is None:
        raise InputError(pair[0], "no 24-patch color checker was found", expected=_EXPECTED)
    if blurry is None and sharp is not None:
        blurry = _place(pair[0], images[0], warp_points(calibration.homography, sharp.centers))
    elif sharp is None and blurry is not None:
        back = np.linalg.inv(calibration.homography)
        sharp = _place(pair[1], images[1], warp_points(back, blurry.centers))
    assert blurry is not None
    assert sharp is not None
    for path, chart in zip(pair, (blurry, sharp), strict=True):
        if chart.pitch_px < MIN_PITCH_PX:
            problem = f"its color checker is too small: patches are {chart.pitch_px:.1f} px apart"
            raise InputError(path, problem, expected=f"{MIN_PITCH_PX:g} px at least; come nearer")
    return blurry, sharp


def _place(path: Path, image: Image, centers: Points) -> Chart:
    grid_to_image = fit_grid(centers) if np.isfinite(centers).all() else None
    if grid_to_image is None or not is_in_picture(image, grid_to_image):
        raise InputError(path, "does not hold the whole color checker", expected="the chart inside both views")
    chart = place_chart(image, grid_to_image)
    if chart is None:
        clipped = int(measure_patches(image, grid_to_image).clipped.sum())
        problem = "no 24-patch color checker was found, neither by itself nor where the other view has it"
        if clipped > 0:
            problem += f"; {clipped} patches are clipped there"
        raise InputError(path, problem, expected=_EXPECTED)
    logger.warning("%s: the color checker was found only from its place in the other view", path)
    return chart


def _check_places(pair: tuple[Path, Path], charts: tuple[Chart, Chart], calibration: Calibration) -> None:
    blurry, sharp = charts
    if (blurry.mirrored != sharp.mirrored) != calibration.mirrored:
        other = "the other way round than" if calibration.mirrored else "mirrored against"
        problem = f"shows the color checker {other} {pair[0].name} and the geometry captures say"
        raise InputError(pair[1], problem, expected="two images as the cameras recorded them")

    def offset(inner: Chart, outer: Chart) -> float:
        distances = np.linalg.norm(warp_points(calibration.homography, inner.centers) - outer.centers, axis=1)
        return float(np.median(distances)) / outer.pitch_px

    found = offset(sharp, blurry)
    alike = calibration.size_blurry == calibration.size_sharp
    if alike and found * blurry.pitch_px > _MIN_SWAPPED_PX and offset(blurry, sharp) < _MAX_SWAPPED * found:
        raise InputError(pair[0], "and the sharp camera's image seem swapped", expected="each in its own place")
    if not found <= _MAX_OFFSET:
        problem = f"its color checker lies {found * blurry.pitch_px:.0f} px from where the geometry captures put it"
        raise InputError(pair[1], problem, expected="nothing moved between the two images, and the rig as calibrated")


def _usable_patches(pair: tuple[Path, Path], blurry: PatchColors, sharp: PatchColors) -> NDArray[np.bool_]:
    """Return the (24,) patches that are neither clipped nor uneven in either view."""
    usable = np.ones(len(blurry.coded), dtype=np.bool_)
    for path, patches in zip(pair, (blurry, sharp), strict=True):
        sound = ~patches.clipped & (patches.spread <= MAX_SPREAD)
        if sound.sum() < MIN_USABLE:
            problem = (
                f"only {sound.sum()} of the checker's 24 patches can be used: {patches.clipped.sum()} are clipped, "
                f"{(patches.spread > MAX_SPREAD).sum()} are uneven"
            )
            raise InputError(path, problem, expected=f"{MIN_USABLE} at least")
        usable &= sound
    if usable.sum() < MIN_USABLE:
        problem = f"only {usable.sum()} of the checker's 24 patches can be used in both views"
        raise InputError(pair[1], problem, expected=f"{MIN_USABLE} at least, neither clipped nor uneven")
    return usable
