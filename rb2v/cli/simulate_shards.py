"""The command that writes a data set straight from simulated scenes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from rb2v.cli.options import Given, OptionsOf
from rb2v.cli.shared import (
    EXECUTION,
    METHOD,
    ExecutorName,
    Workers,
    echo,
    files,
    make_command,
    print_splits,
    show_progress,
)
from rb2v.simulator.config import SequencesConfig

app, command = make_command("simulate-shards", "rb2v simulate-shards --out simulated/shards")


@command
@OptionsOf(SequencesConfig, {METHOD: ("motion", "train", "test", "size", "per_scene"), EXECUTION: ("seed",)})
def simulate_shards(
    out: Annotated[
        Path,
        files("Folder for the shards and manifest.json; the truth goes to OUT/../truth/NAME OF OUT."),
    ],
    given: Given,
    photos: Annotated[Path | None, files("Folder of images to take textures from.")] = None,
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
