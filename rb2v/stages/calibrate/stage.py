"""The order of steps of a calibration."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np

from rb2v.artifacts import Calibration
from rb2v.errors import InputError
from rb2v.io.calibration import write_calibration
from rb2v.io.config import read_raw_directory
from rb2v.stages.calibrate.captures import read_captures, size_of
from rb2v.stages.calibrate.chroma import find_chroma
from rb2v.stages.calibrate.colors import add_colors
from rb2v.stages.calibrate.config import CalibrateConfig
from rb2v.stages.calibrate.lenses import Lenses, find_lenses, without_distortion
from rb2v.stages.calibrate.light import compare_light
from rb2v.stages.calibrate.overlap import find_crop
from rb2v.stages.calibrate.overlay import write_pictures
from rb2v.stages.calibrate.precision import (
    measure_quality,
    measure_residuals,
    warn_of_bending,
    warn_of_no_captures,
)
from rb2v.stages.calibrate.registration import register
from rb2v.stages.calibrate.takes import read_still_takes
from rb2v.stages.calibrate.views_of_takes import read_views_of_takes


def run(
    raw_dir: Path,
    out_path: Path,
    config: CalibrateConfig | None = None,
    *,
    on_step: Callable[[str], None] | None = None,
) -> Path:
    """Calibrate a rig from its captures, or from views of its takes where there is none.

    Parameters
    ----------
    raw_dir : Path
        The raw directory.
    out_path : Path
        The calibration file to write; images to judge it by are written beside it.
    config : CalibrateConfig, optional
        How the captures are read.
    on_step : callable, optional
        Called with the name of each step as it begins.

    Returns
    -------
    Path
        ``out_path``.

    Raises
    ------
    InputError
        If captures are missing, differ in size, share no structure, contradict each other or the takes, or tell too
        little.
    """
    config = config or CalibrateConfig()
    step = on_step or (lambda name: None)
    if out_path.is_dir() or not out_path.name or out_path.name in (".", ".."):
        raise InputError(out_path, "is a folder", expected="the name of a file to write, calibration.json say")
    raw = read_raw_directory(raw_dir)
    step("reading captures")
    folder = raw_dir / "calibration" / "geometry"
    captures = read_captures(raw, config) if raw.geometry_pairs or not config.takes else []
    is_of_takes = not captures
    looks_at_takes = config.takes and not is_of_takes
    if is_of_takes:
        step("reading views of takes in place of captures")
        captures = read_views_of_takes(raw)
        if not captures:
            raise InputError(
                folder,
                "holds no capture pair, and the takes tell nothing in their place",
                expected="blurry/<name>.png and sharp/<name>.png, or takes that begin static or have sound",
            )
    step("finding the lenses")
    lenses = find_lenses(captures, raw.rig) if config.lenses == "auto" else Lenses(None, None)
    if looks_at_takes:
        step("looking for takes that begin with what is static")
    takes = without_distortion(read_still_takes(raw, captures), lenses) if looks_at_takes else []
    captures = without_distortion(captures, lenses)
    step("finding where chroma lies")
    chroma = find_chroma(raw, takes=config.takes)
    step("registering the views")
    registration = register(captures, raw.rig, config, raw_dir, takes)
    homography = registration.homography
    step("finding the crop")
    crop = find_crop(registration.lit_blurry, registration.lit_sharp, homography, raw.rig, raw_dir)
    step("measuring what is left")
    residuals = measure_residuals(registration.pairs, homography, crop)
    if is_of_takes:
        warn_of_no_captures(residuals, len(registration.captures), folder)
    warn_of_bending(residuals, homography, size_of(captures[0].sharp), size_of(captures[0].blurry))
    calibration = Calibration(
        homography=homography,
        mirrored=bool(np.linalg.det(homography) < 0),
        size_blurry=size_of(captures[0].blurry),
        size_sharp=size_of(captures[0].sharp),
        crop=crop,
        color=None,
        quality=measure_quality(registration, residuals, folder),
        residuals=residuals,
        lens_blurry=lenses.blurry,
        lens_sharp=lenses.sharp,
        chroma_blurry=chroma["blurry"],
        chroma_sharp=chroma["sharp"],
    )
    step("fitting colors")
    calibration, response = add_colors(out_path, raw, registration.captures, calibration, config.response)
    tone, field = compare_light(registration.captures, calibration, response)
    calibration = dataclasses.replace(calibration, tone_sharp=tone, gain_field=field)
    write_pictures(out_path, registration.captures[0], calibration)
    return write_calibration(out_path, calibration)
