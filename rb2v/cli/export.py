"""The command that writes a data set in another layout."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from rb2v.cli.shared import Command, ExecutorName, Workers, echo, make_app, print_splits, show_progress

app = make_app()

Format = Literal["hypercut", "webdataset", "datasets"]


@app.command("export", cls=Command, epilog="Example: rb2v export session/shards --out session/Street --format hypercut")
def export(
    shards: Annotated[
        Path, typer.Argument(metavar="SHARDS", help="Folder that 'rb2v build-shards' wrote.", show_default=False)
    ],
    out: Annotated[Path, typer.Option(help="Folder to write.")],
    format_: Annotated[
        Format,
        typer.Option(
            "--format",
            help="hypercut: the layout of the public RB2V data set; webdataset: tar files; datasets: a folder that "
            "Hugging Face's datasets opens.",
        ),
    ],
    labels: Annotated[
        Path | None,
        typer.Option(help="Table of 'rb2v label-order' or 'rb2v train-hypercut', in place of the shards' orders."),
    ] = None,
    only_consistent: Annotated[
        bool, typer.Option("--only-consistent", help="Give no order to samples whose pairs do not agree by the labels.")
    ] = False,
    workers: Workers = None,
    executor: ExecutorName = "auto",
) -> None:
    """Write a data set in the layout of another program."""
    from rb2v.execution import make_executor
    from rb2v.shards import exchange

    with show_progress("exporting samples") as show:
        written = exchange.export_shards(
            shards,
            out,
            format_,
            labels=labels,
            only_consistent=only_consistent,
            executor=make_executor(workers, executor),
            progress=show,
        )
    print_splits(shards, with_shards=False)
    echo(str(written), soft_wrap=True)
