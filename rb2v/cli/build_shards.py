"""The command that builds a data set from aligned takes."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from rb2v.cli.options import Given, OptionsOf
from rb2v.cli.shared import (
    EXECUTION,
    METHOD,
    ExecutorName,
    Weights,
    Workers,
    echo,
    files,
    make_command,
    print_splits,
    show_progress,
)
from rb2v.stages.build_shards.config import BuildShardsConfig

app, command = make_command("build-shards", "rb2v build-shards --aligned session/aligned --out session/shards")


@command
@OptionsOf(
    BuildShardsConfig,
    {METHOD: ("matter", "light_match", "output_size", "test_share", "shard_samples"), EXECUTION: ("seed",)},
    former={"output_size": "--size"},
)
def build_shards(
    aligned: Annotated[Path, files("Folder that 'rb2v align' wrote.")],
    out: Annotated[Path, files("Folder for the shards and manifest.json.")],
    given: Given,
    backgrounds: Annotated[Path | None, files("Folder of images to put behind green-screen takes.")] = None,
    weights: Weights = None,
    workers: Workers = None,
    executor: ExecutorName = "auto",
) -> None:
    """Replace green screens, split by subject and write HDF5 shards."""
    from rb2v.execution import make_executor
    from rb2v.stages import build_shards as stage

    config = BuildShardsConfig(**given)
    with show_progress("writing samples") as show:
        manifest = stage.run(
            aligned,
            out,
            config,
            weights=weights,
            backgrounds=backgrounds,
            executor=make_executor(workers, executor),
            progress=show,
        )
    print_splits(out)
    echo(str(manifest), soft_wrap=True)
