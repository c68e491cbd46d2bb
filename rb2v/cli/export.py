"""The command that writes a data set in another layout."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rb2v.cli.options import Given, OptionsOf
from rb2v.cli.shared import (
    METHOD,
    ExecutorName,
    Workers,
    echo,
    files,
    make_command,
    print_splits,
    show_progress,
)
from rb2v.shards.exchange.config import ExportConfig

app, command = make_command("export", "rb2v export session/shards --out session/Street --format hypercut")


@command
@OptionsOf(ExportConfig, {METHOD: ("format", "only_consistent")})
def export(
    shards: Annotated[
        Path, typer.Argument(metavar="SHARDS", help="Folder that 'rb2v build-shards' wrote.", show_default=False)
    ],
    out: Annotated[Path, files("Folder to write.")],
    given: Given,
    labels: Annotated[
        Path | None,
        files("Table of 'rb2v label-order' or 'rb2v train-hypercut', in place of the shards' orders."),
    ] = None,
    guidance: Annotated[Path | None, files("Table of 'rb2v guidance', whose maps are written too (baist).")] = None,
    workers: Workers = None,
    executor: ExecutorName = "auto",
) -> None:
    """Write a data set in the layout of another program."""
    from rb2v.execution import make_executor
    from rb2v.shards import exchange

    config = ExportConfig(**given)
    with show_progress("exporting samples") as show:
        written = exchange.export_shards(
            shards,
            out,
            config.format,
            labels=labels,
            only_consistent=config.only_consistent,
            guidance=guidance,
            executor=make_executor(workers, executor),
            progress=show,
        )
    print_splits(shards, with_shards=False)
    echo(str(written), soft_wrap=True)
