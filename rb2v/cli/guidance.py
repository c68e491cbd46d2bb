"""The command that writes the motion guidance of sequences."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rb2v.cli.options import Given, OptionsOf
from rb2v.cli.shared import FILES, METHOD, Device, ExecutorName, Workers, echo, make_command, show_progress
from rb2v.stages.guidance.config import GuidanceConfig

app, command = make_command("guidance", "rb2v guidance session/shards --out session/guidance.h5")


@command
@OptionsOf(GuidanceConfig, {METHOD: ("static_px",)})
def guidance(
    shards: Annotated[
        Path, typer.Argument(metavar="SHARDS", help="Folder that 'rb2v build-shards' wrote.", show_default=False)
    ],
    out: Annotated[Path, typer.Option(help="Table to write, HDF5.", rich_help_panel=FILES)],
    given: Given,
    flow_dir: Annotated[
        Path | None,
        typer.Option(
            help="Folder of flow or guidance files, TAKE/00000012_flow.npy or TAKE/00000012.flo for example, in place "
            "of an estimate.",
            rich_help_panel=FILES,
        ),
    ] = None,
    flow_weights: Annotated[
        Path | None,
        typer.Option(
            help="State dict of RAFT, raft-sintel.pth for example, which then estimates flow in place of DIS.",
            rich_help_panel=FILES,
        ),
    ] = None,
    truth: Annotated[
        Path | None,
        typer.Option(
            help="Truth folder of 'rb2v simulate-shards --motion opposed', whose displacement then takes the place of "
            "an estimate.",
            rich_help_panel=FILES,
        ),
    ] = None,
    device: Device = "auto",
    workers: Workers = None,
    executor: ExecutorName = "auto",
) -> None:
    """Write for every pixel of every sequence in which of four directions it moves, or that it is static."""
    from rb2v.core.motion_classes import CLASS_NAMES
    from rb2v.execution import make_executor
    from rb2v.stages import guidance as stage

    with show_progress("estimating motion") as show:
        summary = stage.run(
            shards,
            out,
            GuidanceConfig(**given),
            flow_dir=flow_dir,
            flow_weights=flow_weights,
            truth=truth,
            device=device,
            executor=make_executor(workers, executor),
            progress=show,
        )
    shares = ", ".join(f"{name} {100 * share:.1f} %" for name, share in zip(CLASS_NAMES, summary.shares, strict=True))
    threshold = f"static below {summary.source.static_px:g} px a sequence"
    echo(f"{summary.samples} sequences by {summary.source.method}, {threshold}: {shares}", soft_wrap=True)
    if summary.still:
        echo(f"{summary.still} sequences of which less than 1 % moves", soft_wrap=True)
    echo(str(summary.path), soft_wrap=True)
