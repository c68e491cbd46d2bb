"""The command that writes a data set straight from simulated scenes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from rb2v.cli.shared import Command, ExecutorName, Workers, echo, make_app, make_config, print_splits, show_progress

app = make_app()


@app.command("simulate-shards", cls=Command, epilog="Example: rb2v simulate-shards --out simulated/shards")
def simulate_shards(
    out: Annotated[
        Path, typer.Option(help="Folder for the shards and manifest.json; the truth goes to OUT/../truth/NAME OF OUT.")
    ],
    motion: Annotated[
        Literal["single", "mixed", "blocks"],
        typer.Option(
            help="single: the camera pans; mixed: it does, and three to six objects move each its own way; blocks: a "
            "plain block moves before a dark wall."
        ),
    ] = "mixed",
    train: Annotated[int, typer.Option(help="Sequences to train on.")] = 2000,
    test: Annotated[int, typer.Option(help="Sequences to test on, of other pictures.")] = 400,
    size: Annotated[int, typer.Option(help="Side of the square frames in pixels.")] = 96,
    seed: Annotated[int, typer.Option(help="Seed of everything random.", min=0)] = 0,
    photos: Annotated[Path | None, typer.Option(help="Folder of pictures to take textures from.")] = None,
    workers: Workers = None,
    executor: ExecutorName = "auto",
) -> None:
    """Write a data set straight from simulated streets, without cameras, and the true motion apart from it."""
    from rb2v.execution import make_executor
    from rb2v.simulator.sequences import SequencesConfig
    from rb2v.stages import simulate_shards as stage

    config = make_config(lambda: SequencesConfig(motion=motion, train=train, test=test, size=size, seed=seed))
    with show_progress("writing samples") as show:
        manifest = stage.run(out, config, photos_dir=photos, executor=make_executor(workers, executor), progress=show)
    print_splits(out)
    echo(f"{manifest}\ntruth: {stage.truth_folder(out) / stage.MOTION_NAME}", soft_wrap=True)
