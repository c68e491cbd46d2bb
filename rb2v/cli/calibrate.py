"""The command that calibrates a rig."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rb2v.cli.options import Given, OptionsOf
from rb2v.cli.shared import (
    METHOD,
    RawDir,
    files,
    make_command,
    parse_charuco,
    show_progress,
)
from rb2v.stages.calibrate.config import CalibrateConfig

app, command = make_command("calibrate", "rb2v calibrate --raw-dir session/raw --out session/calibration.json")


@command
@OptionsOf(
    CalibrateConfig, {METHOD: ("board_corners", "lenses", "takes", "response")}, former={"board_corners": "--board"}
)
def calibrate(
    raw_dir: RawDir,
    out: Annotated[Path, files("Calibration file to write.")],
    given: Given,
    charuco: Annotated[
        str | None,
        typer.Option(
            metavar="DICTIONARY,SQUARES[,SHARE]",
            help="A ChArUco board in place of the chessboard: OpenCV's name of the markers, squares across and down, "
            "and the side of a marker in sides of a square (0.5): DICT_6X6_250,5x7 for example.",
            rich_help_panel=METHOD,
        ),
    ] = None,
) -> None:
    """Find lenses, mirror, homography, crop and color map from static captures."""
    from threadpoolctl import threadpool_limits

    from rb2v.io.calibration import read_calibration
    from rb2v.stages import calibrate as stage

    board = None if charuco is None else parse_charuco(charuco, "--charuco")
    config = CalibrateConfig(**given, charuco=board)
    from rb2v.cli.calibration_report import count_warnings, print_calibration

    # Products of nine rows: the BLAS's other threads would add half the processor time, and end no sooner.
    with count_warnings() as counter, show_progress("calibrating") as show, threadpool_limits(1, "blas"):
        stage.run(raw_dir, out, config, on_step=lambda name: show(label=name))
    print_calibration(out, read_calibration(out), counter.n_warnings)
