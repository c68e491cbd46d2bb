"""The command that reads a data set in another layout."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from rb2v.cli.export import Format
from rb2v.cli.shared import Command, ExecutorName, Workers, echo, make_app, make_config, print_splits, show_progress

app = make_app()


@app.command("import", cls=Command, epilog="Example: rb2v import dataset/RB2V/Street --out street/shards")
def import_(
    source: Annotated[
        Path, typer.Argument(metavar="SRC", help="Folder of a data set in another layout.", show_default=False)
    ],
    out: Annotated[Path, typer.Option(help="Folder for the shards and manifest.json.")],
    format_: Annotated[
        Format | None, typer.Option("--format", help="Layout of SRC; by default what it looks like.")
    ] = None,
    val: Annotated[
        Literal["train", "test", "skip"], typer.Option(help="Where samples of a partition 'val' go (hypercut).")
    ] = "test",
    category: Annotated[
        Literal["street", "face", "hand"] | None,
        typer.Option(
            help="Category of samples that do not tell their own; by default that in the data set's name (hypercut)."
        ),
    ] = None,
    shard_samples: Annotated[int, typer.Option(help="Most samples of one shard (hypercut).")] = 128,
    workers: Workers = None,
    executor: ExecutorName = "auto",
) -> None:
    """Turn a data set in another layout into shards."""
    from rb2v.execution import make_executor
    from rb2v.shards import exchange

    config = make_config(lambda: exchange.ImportConfig(val=val, category=category, shard_samples=shard_samples))
    with show_progress("writing samples") as show:
        summary = exchange.import_folder(
            source,
            out,
            config,
            layout=format_,
            executor=make_executor(workers, executor),
            progress=show,
        )
    print_splits(out)
    if summary.n_val:
        where = "left out" if val == "skip" else f"among those of {val}"
        echo(f"val: {summary.n_val} samples, {where}")
    echo(str(summary.manifest), soft_wrap=True)
