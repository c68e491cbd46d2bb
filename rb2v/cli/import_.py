"""The command that reads a data set in another layout."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rb2v.choices import LayoutName
from rb2v.cli.options import Given, OptionsOf
from rb2v.cli.shared import (
    FILES,
    METHOD,
    ExecutorName,
    Workers,
    echo,
    files,
    make_command,
    print_splits,
    show_progress,
)
from rb2v.shards.exchange.config import ImportConfig

app, command = make_command("import", "rb2v import dataset/RB2V/Street --out street/shards")


@command
@OptionsOf(
    ImportConfig,
    {
        METHOD: ("val", "category", "shard_samples", "skip_ends", "box_size", "box_margin", "seed"),
        FILES: ("train_videos", "test_videos"),
    },
)
def import_(
    source: Annotated[
        Path, typer.Argument(metavar="SRC", help="Folder of a data set in another layout.", show_default=False)
    ],
    out: Annotated[Path, files("Folder for the shards and manifest.json.")],
    given: Given,
    format_: Annotated[
        LayoutName | None,
        typer.Option("--format", help="Layout of SRC; by default what it looks like.", rich_help_panel=METHOD),
    ] = None,
    guidance: Annotated[Path | None, files("Table of motion guidance to write beside the shards (baist).")] = None,
    workers: Workers = None,
    executor: ExecutorName = "auto",
) -> None:
    """Turn a data set in another layout into shards."""
    from rb2v.execution import make_executor
    from rb2v.shards import exchange

    config = ImportConfig(**given)
    with show_progress("writing samples") as show:
        summary = exchange.import_folder(
            source,
            out,
            config,
            layout=format_,
            guidance=guidance,
            executor=make_executor(workers, executor),
            progress=show,
        )
    print_splits(out)
    if summary.n_val:
        where = "left out" if config.val == "skip" else f"among those of {config.val}"
        echo(f"val: {summary.n_val} samples, {where}")
    echo(str(summary.manifest), soft_wrap=True)
    if summary.guidance is not None:
        echo(str(summary.guidance), soft_wrap=True)
