"""The command that builds a data set from aligned takes."""

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
    Weights,
    Workers,
    echo,
    make_app,
    print_splits,
    show_progress,
)
from rb2v.stages.build_shards.config import BuildShardsConfig

app = make_app()


@app.command(
    "build-shards",
    cls=Command,
    epilog="Example: rb2v build-shards --aligned session/aligned --out session/shards",
)
@OptionsOf(
    BuildShardsConfig,
    {METHOD: ("matter", "light_match", "output_size", "test_share", "shard_samples"), EXECUTION: ("seed",)},
    former={"output_size": "--size"},
)
def build_shards(
    aligned: Annotated[Path, typer.Option(help="Folder that 'rb2v align' wrote.", rich_help_panel=FILES)],
    out: Annotated[Path, typer.Option(help="Folder for the shards and manifest.json.", rich_help_panel=FILES)],
    given: Given,
    backgrounds: Annotated[
        Path | None, typer.Option(help="Folder of images to put behind green-screen takes.", rich_help_panel=FILES)
    ] = None,
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
