"""The command that writes a data set straight from simulated scenes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rb2v.cli.options import Given, OptionsOf
from rb2v.cli.shared import (
    EXECUTION,
    FILES,
    METHOD,
    Command,
    ExecutorName,
    Workers,
    echo,
    make_app,
    print_splits,
    show_progress,
)
from rb2v.simulator.config import SequencesConfig

app = make_app()


@app.command("simulate-shards", cls=Command, epilog="Example: rb2v simulate-shards --out simulated/shards")
@OptionsOf(SequencesConfig, {METHOD: ("motion", "train", "test", "size", "per_scene"), EXECUTION: ("seed",)})
def simulate_shards(
    out: Annotated[
        Path,
        typer.Option(
            help="Folder for the shards and manifest.json; the truth goes to OUT/../truth/NAME OF OUT.",
            rich_help_panel=FILES,
        ),
    ],
    given: Given,
    photos: Annotated[
        Path | None, typer.Option(help="Folder of images to take textures from.", rich_help_panel=FILES)
    ] = None,
    workers: Workers = None,
    executor: ExecutorName = "auto",
) -> None:
    """Write a data set straight from simulated streets, without cameras, and the true motion apart from it."""
    from rb2v.execution import make_executor
    from rb2v.stages import simulate_shards as stage

    config = SequencesConfig(**given)
    with show_progress("writing samples") as show:
        manifest = stage.run(out, config, photos_dir=photos, executor=make_executor(workers, executor), progress=show)
    print_splits(out)
    echo(f"{manifest}\ntruth: {stage.truth_folder(out) / stage.MOTION_NAME}", soft_wrap=True)
