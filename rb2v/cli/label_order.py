"""The command that labels the order of sequences."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from rb2v.cli.shared import Device, echo, make_command, show_progress

app, command = make_command(
    "label-order",
    "rb2v label-order --shards session/shards --run session/hypercut --out session/order_labels.csv",
)


@command
def label_order(
    shards: Annotated[Path, typer.Option(help="Folder that 'rb2v build-shards' wrote.")],
    run: Annotated[
        Path,
        typer.Option(
            help="Folder that 'rb2v train-hypercut' wrote, its checkpoint, or the HyperCUT authors' .pth file."
        ),
    ],
    out: Annotated[Path, typer.Option(help="Table to write, CSV.")],
    split: Annotated[Literal["train", "test"] | None, typer.Option(help="Split to label; both by default.")] = None,
    regions: Annotated[
        Path | None,
        typer.Option(help="Table to write of the order of every region, HDF5, by a network of arch signs."),
    ] = None,
    device: Device = "auto",
) -> None:
    """Write the order of every sequence of a data set, and how sure it is."""
    from rb2v.artifacts import SPLITS
    from rb2v.hypercut import labels as stage
    from rb2v.hypercut.regions import write_regions

    with show_progress("labeling") as show:
        splits = SPLITS if split is None else (split,)
        if regions is not None:
            write_regions(regions, run, shards, splits=splits, device=device, progress=show)
        table = stage.run(shards, run, out, splits=splits, device=device, progress=show)
    for name, rows in table.groupby("split", sort=False):
        counts = f"{(rows['order'] == 1).sum()} keep, {(rows['order'] == -1).sum()} reverse"
        if (rows["order"] == 0).any():
            counts += f", {(rows['order'] == 0).sum()} without order"
        echo(f"{name}: {len(rows)} sequences, {100 * rows['consistent'].mean():.1f} % consistent, {counts}")
    echo(str(out), soft_wrap=True)
