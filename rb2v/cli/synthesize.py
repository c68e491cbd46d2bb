"""The command that builds a data set from any fast video, or a published one, without a rig."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rb2v.choices import BlurPresetName, RejectionName
from rb2v.cli.options import Given, OptionsOf, repeated_choice
from rb2v.cli.shared import (
    EXECUTION,
    FILES,
    METHOD,
    Command,
    Device,
    ExecutorName,
    Workers,
    echo,
    make_app,
    print_splits,
    show_progress,
)
from rb2v.stages.synthesize.config import SynthesizeConfig

if TYPE_CHECKING:
    from rb2v.stages.synthesize import ClipSummary

_BLUR = "Blur"
_GATES = "Rejection"
_MOST_ROWS = 40  # clips that a terminal still shows; synthesis.csv has all
_SAME_RATE = 0.01  # rates that print alike

app = make_app()


@app.command(
    "synthesize",
    cls=Command,
    epilog="Example: rb2v synthesize videos --out shards --output-size 448x448 --preset realistic",
)
@OptionsOf(
    SynthesizeConfig,
    {
        METHOD: ("layout", "fps", "output_size", "frames_per_sequence", "upsampling", "interpolator", "stride"),
        _BLUR: (
            *("blur_samples", "exposure", "response", "saturation", "shot_noise", "read_noise"),
            *("compression", "jpeg_quality", "crf"),
        ),
        _GATES: ("reject", "min_motion_levels", "min_sharpness", "max_jitter"),
        "Data set": ("max_per_clip", "split", "test_share", "category", "shard_samples"),
        EXECUTION: ("seed",),
    },
)
def synthesize(
    source: Annotated[
        Path, typer.Argument(metavar="SOURCE", help="A video, or a folder in the layout.", show_default=False)
    ],
    out: Annotated[Path, typer.Option(help="Folder for the shards and manifest.json.", rich_help_panel=FILES)],
    given: Given,
    preset: Annotated[
        BlurPresetName | None,
        typer.Option(help="Choices of a published data set, or those nearest to real blur.", rich_help_panel=_BLUR),
    ] = None,
    keep: Annotated[
        list[str] | None,
        repeated_choice(RejectionName, "Take sequences that would be rejected for this reason", _GATES),
    ] = None,
    weights: Annotated[
        Path | None,
        typer.Option(help="File of the interpolator's weights, for one that has some.", rich_help_panel=FILES),
    ] = None,
    device: Device = "auto",
    workers: Workers = None,
    executor: ExecutorName = "auto",
) -> None:
    """Make blurry frames and their sharp sequences from fast videos, without a rig."""
    from rb2v.execution import make_executor
    from rb2v.stages import synthesize as stage

    config = stage.recommend(preset, **given, keep=tuple(keep) if keep else None)
    with show_progress("judging clips") as show:
        made = stage.run(
            source,
            out,
            config,
            weights=weights,
            device=device,
            executor=make_executor(workers, executor),
            progress=show,
        )
    _print_clips(made.clips)
    print_splits(out)
    echo(str(made.manifest), soft_wrap=True)


def _print_clips(clips: Sequence[ClipSummary]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("clip", no_wrap=True)
    table.add_column("split", no_wrap=True)
    for name in ("fps", "frames", "sequences", "accepted"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("rejected")
    for clip in clips[:_MOST_ROWS]:
        reasons = [f"{reason}: {n}" for reason, n in clip.reasons.items()]
        reasons += [f"beyond --max-per-clip: {clip.surplus}"] if clip.surplus else []
        counts = (str(clip.frames), str(clip.sequences), str(clip.accepted))
        table.add_row(clip.name, clip.split, _show_rate(clip), *counts, ", ".join(reasons))
    echo(table)
    if len(clips) > _MOST_ROWS:
        echo(f"and {len(clips) - _MOST_ROWS} more clips; synthesis.csv has all sequences")
    if len({clip.split for clip in clips}) == 1 and clips[0].split == "train":
        echo("note: one clip gives no test split; clips are never divided between splits", soft_wrap=True)


def _show_rate(clip: ClipSummary) -> str:
    if not math.isfinite(clip.fps):
        return "-"
    if abs(clip.stored_fps / clip.fps - 1) < _SAME_RATE:
        return f"{clip.fps:.4g}"
    return f"{clip.fps:.4g}, shown at {clip.stored_fps:.4g}"
