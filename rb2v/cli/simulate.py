"""The command that simulates a recording session."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rb2v.choices import CATEGORIES
from rb2v.cli.options import Given, OptionsOf
from rb2v.cli.shared import (
    EXECUTION,
    FILES,
    ExecutorName,
    Workers,
    echo,
    files,
    make_command,
    parse_milliseconds,
    show_progress,
)
from rb2v.simulator.config import SimulateConfig

app, command = make_command("simulate", "rb2v simulate --out session/raw")


@command
@OptionsOf(
    SimulateConfig,
    {
        FILES: ("rig",),
        "Takes": ("size", "seconds", "categories", "motion", "screen", "screen_color", "plates"),
        "Cameras": ("mirrored", "drift_ppm", "max_offset_seconds", "distortion", "bump_px", "noise", "crf"),
        EXECUTION: ("seed",),
    },
    former={"max_offset_seconds": "--max-offset", "bump_px": "--bump"},
)
def simulate(
    out: Annotated[Path, files("Raw directory to write; the truth goes to OUT/../truth.")],
    given: Given,
    photos: Annotated[Path | None, files("Folder of images to take textures from.")] = None,
    video: Annotated[
        Path | None,
        files("A real clip as the scene, each of its frames one tick of the 600 fps track."),
    ] = None,
    green_screen: Annotated[
        bool,
        typer.Option(
            "--green-screen", help="The clip of --video was filmed before a green screen.", rich_help_panel=FILES
        ),
    ] = False,
    not_mirrored: Annotated[bool, typer.Option("--not-mirrored", hidden=True)] = False,
    test_seconds: Annotated[
        float, typer.Option(help="Length of a test take, in s; 0 for none.", rich_help_panel="Takes")
    ] = SimulateConfig.test_seconds,
    blurry_exposure_ms: Annotated[
        float | None,
        typer.Option(help="Shutter of the blurry camera, in ms; the rig's by default.", rich_help_panel="Cameras"),
    ] = None,
    readout_ms: Annotated[
        str,
        typer.Option(
            metavar="BLURRY,SHARP",
            help="Rolling shutters, in ms: from the first row's center of exposure to the last row's.",
            rich_help_panel="Cameras",
        ),
    ] = "0,0",
    workers: Workers = None,
    executor: ExecutorName = "auto",
) -> None:
    """Simulate a recording session whose answer is known."""
    from rb2v.execution import make_executor
    from rb2v.simulator import simulate as run

    blurry_readout_seconds, sharp_readout_seconds = parse_milliseconds(readout_ms, "--readout-ms")
    settings = {**given, "mirrored": False} if not_mirrored else dict(given)
    if "categories" in settings:  # takes are recorded in one order, however their categories are named
        settings["categories"] = tuple(name for name in CATEGORIES if name in settings["categories"])
    config = SimulateConfig(
        **settings,
        test_seconds=test_seconds or given.get("seconds", SimulateConfig.seconds),
        test_takes=test_seconds > 0,
        blurry_exposure_seconds=None if blurry_exposure_ms is None else blurry_exposure_ms / 1000,
        blurry_readout_seconds=blurry_readout_seconds,
        sharp_readout_seconds=sharp_readout_seconds,
    )
    with show_progress("recording") as show:
        truth = run(
            out,
            config,
            photos_dir=photos,
            video=video,
            green_screen=green_screen,
            executor=make_executor(workers, executor),
            on_done=show,
        )
    echo(f"raw directory: {out}\ntruth: {truth}", soft_wrap=True)
