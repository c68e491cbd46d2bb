"""The order of steps of a calibration."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from rb2v.artifacts import Calibration, CalibrationQuality
from rb2v.errors import InputError
from rb2v.io.calibration import write_calibration
from rb2v.io.config import read_raw_directory
from rb2v.io.store import whole_file
from rb2v.io.video import write_image
from rb2v.stages.calibrate.captures import read_captures, size_of
from rb2v.stages.calibrate.checker import fit_checker
from rb2v.stages.calibrate.config import CalibrateConfig
from rb2v.stages.calibrate.overlap import find_crop, lit_pixels
from rb2v.stages.calibrate.overlay import draw_overlay
from rb2v.stages.calibrate.registration import collect_matches, find_homography, fit_matches, refine, rms_px


def run(
    raw_dir: Path,
    out_path: Path,
    config: CalibrateConfig | None = None,
    *,
    on_step: Callable[[str], None] | None = None,
) -> Path:
    """Calibrate a rig from its captures.

    Parameters
    ----------
    raw_dir : Path
        The raw directory.
    out_path : Path
        The calibration file to write; a picture to judge it by is written beside it.
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
        If captures are missing, differ in size, or share no structure.
    """
    config = config or CalibrateConfig()
    step = on_step or (lambda name: None)
    if out_path.is_dir() or not out_path.name or out_path.name in (".", ".."):
        raise InputError(out_path, "is a folder", expected="the name of a file to write, calibration.json say")
    raw = read_raw_directory(raw_dir)
    step("reading captures")
    captures = read_captures(raw, config)
    step("finding mirror and homography")
    initial = find_homography(captures, raw.rig, config, raw_dir)
    matches = collect_matches(captures, initial)
    lit_blurry = lit_pixels([capture.blurry for capture in captures])
    lit_sharp = lit_pixels([capture.sharp for capture in captures])
    homography, kept = fit_matches(matches, raw_dir)
    if config.refine:
        step("refining on the pictures")
        homography = refine(homography, captures, lit_blurry, lit_sharp)
    step("finding the crop")
    crop = find_crop(lit_blurry, lit_sharp, homography, raw.rig, raw_dir)
    color, delta_e = None, None
    if raw.color_pair is not None:
        step("fitting colours")
        color, delta_e = fit_checker(raw.color_pair, homography, raw.rig, captures[0])
    calibration = Calibration(
        homography=homography,
        mirrored=bool(np.linalg.det(homography) < 0),
        size_blurry=size_of(captures[0].blurry),
        size_sharp=size_of(captures[0].sharp),
        crop=crop,
        color=color,
        quality=CalibrationQuality(rms_px(homography, kept), len(matches), len(kept.sharp), delta_e),
    )
    overlay_path = out_path.with_name(f"{out_path.stem}_overlay.png")
    with whole_file(overlay_path) as temporary:
        write_image(temporary, draw_overlay(captures[0].blurry, captures[0].sharp, calibration))
    return write_calibration(out_path, calibration)
