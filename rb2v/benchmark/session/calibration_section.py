"""The calibration: what both cameras see laid over each other, and how far it lies from the truth."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from statistics import median

import numpy as np
from numpy.typing import NDArray

from rb2v.artifacts import Calibration, CalibrationQuality, Crop, GainField, LocalResidual
from rb2v.benchmark.report.page import Gallery, Section, Table, make_picture, make_table
from rb2v.benchmark.report.scores import Score
from rb2v.benchmark.session.inputs import Raw
from rb2v.core.homography import warp_points
from rb2v.core.lens import distort_points, undistort_image, undistort_points
from rb2v.errors import InputError
from rb2v.io.video import read_image
from rb2v.simulator.rig import SimulatedRig
from rb2v.stages.calibrate import draw_gain_field, draw_overlay, draw_residuals
from rb2v.stages.calibrate.precision import LARGE_RESIDUAL_PX

_SUITE, _STAGE = "calibration", "calibrate"


def report(
    calibration: Calibration,
    raw: Raw | None,
    truth: SimulatedRig | None,
    grid_points: int,
    colors_picture: Path | None = None,
) -> Section:
    """Return the section on a calibration.

    Raises
    ------
    InputError
        If the captures cannot be read, or are of another size than the calibration.
    """
    quality, crop = calibration.quality, calibration.crop
    own: list[list[str | Score]] = [
        ["Reprojection error, root mean square [px]", _score("rms", quality.rms_px, "px")],
        *_optional_figures(quality, calibration.residuals),
        ["Capture pairs used", _score("pairs", quality.pairs, "pairs")],
        ["Point pairs used", _score("points", quality.points, "points")],
        ["One view mirrored", _score("mirrored", float(calibration.mirrored), "yes/no")],
        ["Crop in the blurry camera's frame [px]", f"{crop.width} x {crop.height} at ({crop.x}, {crop.y})"],
    ]
    if quality.delta_e is not None:
        for said, name, value in (
            ("as recorded", "delta_e_before", quality.delta_e_before),
            ("after the map", "delta_e", quality.delta_e),
            ("after the map of coded values", "delta_e_coded", quality.delta_e_coded),
        ):
            if value is not None:
                own.insert(-2, [f"Color checker, mean CIEDE2000 {said}", _score(name, value, "CIEDE2000")])
    for camera, siting in (("blurry", calibration.chroma_blurry), ("sharp", calibration.chroma_sharp)):
        if siting is not None:
            own.append([f"Chroma of the {camera} camera [luma px]", siting.describe()])
    if calibration.tone_sharp is not None:
        exponent = _score("tone_exponent", calibration.tone_sharp.exponent, "1")
        own.append(["Exponent of the sharp camera's tone curve against the blurry one's", exponent])
    if calibration.gain_field is not None:
        own += [
            [f"Light of captures left out that differs between the views, {said} [%]", _score(name, 100 * share, "%")]
            for said, name, share in (
                ("as recorded", "uneven_light_before", calibration.gain_field.error_before),
                ("evened out", "uneven_light", calibration.gain_field.error_after),
            )
        ]
    said = "What the captures themselves say."
    if calibration.residuals:
        said += (
            " The residual displacement is what is left between the views; calibrate warns where its median is above "
            f"{LARGE_RESIDUAL_PX:g} px."
        )
    tables = [(said, own)]
    if truth is not None:
        errors = homography_errors(calibration, truth, grid_points)
        against: list[list[str | Score]] = [
            ["Homography error, mean [px]", _score("homography_error_mean", float(errors.mean()), "px", checked=True)],
            ["Homography error, largest [px]", _score("homography_error_max", float(errors.max()), "px")],
            [
                "Mirror found as the rig has it",
                _score("mirror_right", float(calibration.mirrored == truth.config.mirrored), "yes/no", checked=True),
            ],
        ]
        tables.append((f"Against the truth, over {grid_points} x {grid_points} points of the crop.", against))
    blocks: list[Table | Gallery] = [make_table(caption, ("Figure", "Value"), lines) for caption, lines in tables]
    if raw is not None and raw.geometry_pairs:
        blocks.append(_show_overlay(calibration, raw))
    if calibration.gain_field is not None:
        blocks.append(_show_gains(calibration.gain_field, crop))
    if colors_picture is not None:
        blocks.append(_show_colors(colors_picture))
    scores = tuple(cell for _, lines in tables for line in lines for cell in line if isinstance(cell, Score))
    lead = "Where the sharp camera's pixels lie in the blurry camera's frame, from captures of static scenes."
    return Section("Calibration", lead, tuple(blocks), scores)


def _optional_figures(quality: CalibrationQuality, residuals: Sequence[LocalResidual]) -> list[list[str | Score]]:
    """Return the figures that files of earlier versions, or a single capture, do not have."""
    lengths = [math.hypot(one.dx, one.dy) for one in residuals]
    return [
        [said, _score(name, value, "px")]
        for said, name, value in (
            ("Reprojection error that 95 of 100 points stay below [px]", "p95", quality.p95_px),
            ("Error at captures left out of the fit, root mean square [px]", "leave_one_out", quality.leave_one_out_px),
            ("Residual displacement over the crop, median [px]", "residual", median(lengths) if lengths else None),
            ("Residual displacement over the crop, largest [px]", "residual_max", max(lengths, default=None)),
        )
        if value is not None
    ]


def _score(metric: str, value: float, unit: str, *, checked: bool = False) -> Score:
    return Score(_SUITE, _STAGE, metric, value, unit, checked=checked)


def homography_errors(calibration: Calibration, truth: SimulatedRig, grid_points: int) -> NDArray[np.float64]:
    """Return how far points of the crop are misplaced, in recorded pixels of the blurry camera.

    From there to the sharp camera's recorded pixels by the true lenses and the true homography, and back by those of
    the calibration: what lenses and homography share out between them differently is no error.

    Parameters
    ----------
    calibration : Calibration
        The homography and the lenses to judge, and the crop.
    truth : SimulatedRig
        The true cameras.
    grid_points : int
        Points each way, evenly spaced over the crop.

    Returns
    -------
    (grid_points ** 2,) ndarray of float64
        NaN where the true lens of the sharp camera records nothing.
    """
    crop, lens_blurry, lens_sharp = calibration.crop, calibration.lens_blurry, calibration.lens_sharp
    x = np.linspace(crop.x, crop.x + crop.width - 1, grid_points)
    y = np.linspace(crop.y, crop.y + crop.height - 1, grid_points)
    points = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
    recorded = points if lens_blurry is None else distort_points(points, lens_blurry.matrix, lens_blurry.distortion)
    sharp = truth.to_sharp(recorded)
    if lens_sharp is not None:
        sharp = undistort_points(sharp, lens_sharp.matrix, lens_sharp.distortion)
    placed = warp_points(calibration.homography, sharp)
    if lens_blurry is not None:
        placed = distort_points(placed, lens_blurry.matrix, lens_blurry.distortion)
    return np.asarray(np.linalg.norm(placed - recorded, axis=1), dtype=np.float64)


def _show_gains(field: GainField, crop: Crop) -> Gallery:
    picture = draw_gain_field(field, (crop.width, crop.height))
    caption = "What the sharp camera's light is multiplied by over the crop: orange above 1, violet below."
    return Gallery(caption, (make_picture("gain field", picture),), columns=1)


def _show_colors(path: Path) -> Gallery:
    before, after = np.array_split(read_image(path), 2, axis=1)
    caption = (
        "The color checker's patches as the blurry camera saw them, and within each the sharp camera's color of it; "
        "the CIEDE2000 difference stands in the corner, and patches that the map was not fitted to are crossed out."
    )
    return Gallery(caption, (make_picture("as recorded", before), make_picture("mapped", after)), columns=2)


def _show_overlay(calibration: Calibration, raw: Raw) -> Gallery:
    blurry_path, sharp_path = raw.geometry_pairs[0]
    images = []
    for path, size, lens in (
        (blurry_path, calibration.size_blurry, calibration.lens_blurry),
        (sharp_path, calibration.size_sharp, calibration.lens_sharp),
    ):
        image = read_image(path)
        if image.shape[1::-1] != size:
            found, wanted = (f"{width}x{height}" for width, height in (image.shape[1::-1], size))
            raise InputError(path, f"is {found}", expected=f"{wanted} as in the calibration")
        images.append(undistort_image(image, lens))
    before, after = np.split(draw_overlay(images[0], images[1], calibration), 2, axis=1)
    caption = f"Capture {blurry_path.name}: squares alternate between the cameras; the yellow frame is the crop."
    pictures = [make_picture("as recorded", before), make_picture("registered", after)]
    if calibration.residuals:
        caption += " Arrows: the displacement that is left, enlarged; red from half a pixel on. Parallax shows there."
        pictures.append(make_picture("residual displacement", draw_residuals(images[0], calibration)))
    return Gallery(caption, tuple(pictures), columns=len(pictures))
