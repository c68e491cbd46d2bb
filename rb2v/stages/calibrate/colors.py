"""The step of a calibration that adds colors: the checker's maps, the response, and an image to judge them by."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from rb2v.artifacts import Calibration, CameraResponse, RawDirectory
from rb2v.io.store import whole_file
from rb2v.io.video import write_image
from rb2v.stages.calibrate.captures import Capture
from rb2v.stages.calibrate.checker import fit_checker
from rb2v.stages.calibrate.response import ResponseChoice, choose_response, estimate_from_captures
from rb2v.stages.calibrate.swatches import draw_swatches


def add_colors(
    out_path: Path,
    raw: RawDirectory,
    captures: Sequence[Capture],
    calibration: Calibration,
    choice: ResponseChoice = None,
) -> tuple[Calibration, CameraResponse]:
    """Return the calibration with its color maps and response, and the response that is undone.

    The patches are drawn beside the file to be written.

    Without a checker there is no map, and the geometry captures tell the response where they can.

    Parameters
    ----------
    out_path : Path
        The calibration file; the image is ``<stem>_colors.png`` beside it.
    raw : RawDirectory
        Where the checker's images are, if there are any, and the rig.
    captures : sequence of Capture
        The geometry captures, without their lenses' distortion.
    calibration : Calibration
        How the views are registered.
    choice : {"auto", "linear", "srgb"} or float, optional
        The response to undo, see `choose_response`.

    Raises
    ------
    InputError
        As by `fit_checker`.
    """
    picture = out_path.with_name(f"{out_path.stem}_colors.png")
    if raw.color_pair is None:
        # One of an earlier run would seem to be of this one.
        picture.unlink(missing_ok=True)
        estimate = estimate_from_captures(captures, calibration)
        source = raw.root / "calibration" / "geometry"
        undone, response = choose_response(choice, raw.rig.response, estimate, source)
        return dataclasses.replace(calibration, response=response), undone
    fit = fit_checker(raw.color_pair, calibration, raw.rig.response, choice)
    with whole_file(picture) as temporary:
        write_image(temporary, draw_swatches(fit))
    return fit.complete(calibration), fit.undone
