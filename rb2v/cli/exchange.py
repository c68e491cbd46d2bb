"""The commands that exchange data sets with other layouts."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from rb2v.cli.shared import ExecutorName, Workers, app, console, make_config, print_splits, show_progress

Format = Literal["hypercut", "webdataset", "datasets"]


@app.command(epilog="Example: rb2v export session/shards --out session/Street --format hypercut")
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
    console.print(str(written), soft_wrap=True)


@app.command("import", epilog="Example: rb2v import dataset/RB2V/Street --out street/shards")
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
        console.print(f"val: {summary.n_val} samples, {where}")
    console.print(str(summary.manifest), soft_wrap=True)
