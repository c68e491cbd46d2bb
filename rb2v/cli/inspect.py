"""The command that looks into a data set."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from rb2v.cli.shared import echo, make_command, show_progress
from rb2v.errors import InputError, Rb2vError

if TYPE_CHECKING:
    from rb2v.inspection import Histogram, Summary

app, command = make_command("inspect", "rb2v inspect session/shards --serve")

_BAR_WIDTH = 40  # columns; leaves room for labels on a terminal of 80
_MOST_NAMES = 8  # as many takes or subjects as fit a line or two


@command
def inspect(
    shards: Annotated[Path, typer.Argument(help="Folder that 'rb2v build-shards' wrote.")],
    split: Annotated[Literal["train", "test"] | None, typer.Option(help="Look at one split only.")] = None,
    take: Annotated[str | None, typer.Option(help="Look at one take only.")] = None,
    category: Annotated[
        Literal["street", "face", "hand"] | None, typer.Option(help="Look at one category only.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            help="Folder for contact sheet, histograms and summary.json; with --sample a .gif, .mp4 or .png file."
        ),
    ] = None,
    sample: Annotated[
        int | None, typer.Option(help="One sample, by its index in the whole data set, train first.", min=0)
    ] = None,
    serve: Annotated[bool, typer.Option("--serve", help="Show a page to leaf through the samples.")] = False,
    host: Annotated[str, typer.Option(help="Address that the page is served at.")] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(help="Port that the page is served at; 0 takes a free one.", min=0, max=65535)
    ] = 8000,
    seed: Annotated[int, typer.Option(help="Seed of what is drawn by chance.", min=0)] = 0,
) -> None:
    """Count, plot and show what a data set holds."""
    if serve and out is not None:
        raise Rb2vError("--out: is not written by --serve; expected one of the two")
    if sample is not None and out is None and not serve:
        raise Rb2vError("--sample: nothing to do with it; expected --out FILE.gif, FILE.mp4 or FILE.png, or --serve")
    from rb2v import inspection
    from rb2v.shards import ShardReader

    reader = ShardReader(shards)
    chosen = inspection.select_samples(reader, split=split, take=take, category=category)
    if sample is not None and sample not in chosen:
        problem = f"there is no sample {sample}" if sample >= len(reader) else f"sample {sample} is not of those chosen"
        raise InputError(shards, problem, expected=f"0 to {len(reader) - 1}")
    if serve:
        state = {"sample": sample, "split": split, "category": category, "take": take}
        server = inspection.InspectionServer(reader, host, port)
        shown = {name: value for name, value in state.items() if value is not None}
        echo(f"{server.url(**shown)}\nCtrl-C ends it", soft_wrap=True)
        inspection.serve(server)
        return
    if sample is not None and out is not None:
        echo(str(inspection.write_clip(out, sample, reader.read(sample))), soft_wrap=True)
        return
    if out is not None:
        inspection.check_report_folder(out)
    with show_progress("measuring motion") as show:
        summary = inspection.summarize(reader, chosen, seed=seed, on_sample=show)
    _print_summary(summary)
    if out is not None:
        echo(str(inspection.write_report(out, reader, chosen, summary, seed=seed)), soft_wrap=True)


def _print_summary(summary: Summary) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    width, height = summary.output_size
    echo(
        f"rig {summary.rig}, built by rb2v {summary.version}: {summary.samples} samples of a blurry and "
        f"{summary.frames_per_sequence} sharp frames, {width}x{height} pixels",
        soft_wrap=True,
    )
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("split")
    categories = [name for name in summary.splits[0].categories if any(s.categories[name] for s in summary.splits)]
    for name in ("shards", "size", "samples", *categories, "takes", "subjects"):
        table.add_column(name, justify="right", no_wrap=True)
    for split in summary.splits:
        counts = [split.samples, *(split.categories[name] for name in categories), split.takes, split.subjects]
        table.add_row(split.split, str(split.shards), _format_bytes(split.bytes), *map(str, counts))
    echo(table)
    keep, reverse, none = (summary.orders[order] for order in (1, -1, 0))
    echo(
        f"takes: {_list_counts(summary.takes)}\nsubjects: {_list_counts(summary.subjects)}\n"
        f"orders: {keep} keep, {reverse} reverse, {none} not assigned",
        soft_wrap=True,
    )
    _print_histogram("PSNR of the synthetic blur [dB]", summary.psnr)
    if summary.composite_psnr.counts:
        _print_histogram("PSNR of eq. (1) where the green screen was replaced [dB]", summary.composite_psnr)
    if summary.phases is not None:
        echo(f"\nposition modulo {len(summary.phases)} [fine frames]")
        _print_bars({str(phase): count for phase, count in enumerate(summary.phases)})
    motion = summary.motion
    last = summary.frames_per_sequence - 1
    if motion.indices:
        measured = f"of {len(motion.indices)} samples drawn from {summary.samples}"
        _print_histogram(f"motion from x_0 to x_{last}, median of a sample [px], {measured}", motion.median)
        _print_histogram(f"motion from x_0 to x_{last}, 95th percentile of a sample [px]", motion.p95)
    if motion.damaged:
        echo(
            f"\n{len(motion.damaged)} of the samples drawn cannot be read: {', '.join(map(str, motion.damaged[:8]))}; "
            "'rb2v verify' finds all that are lost",
            soft_wrap=True,
        )


def _print_histogram(title: str, histogram: Histogram) -> None:
    ending = f", {histogram.n_not_finite} not finite" if histogram.n_not_finite else ""
    echo(f"\n{title}{ending}", soft_wrap=True)
    edges = histogram.edges
    _print_bars({f"{low:g} .. {high:g}": n for low, high, n in zip(edges, edges[1:], histogram.counts, strict=False)})


def _print_bars(counts: Mapping[str, int]) -> None:
    from rb2v.cli.consoles import console

    label_width = max(map(len, counts), default=0)
    most = max(counts.values(), default=0) or 1
    mark = "#" if console.options.ascii_only else "█"
    for label, count in counts.items():
        # A bin with anything in it shows a mark.
        bar = mark * -(-count * _BAR_WIDTH // most)
        echo(f"  {label:>{label_width}}  {bar}{' ' if bar else ''}{count}", soft_wrap=True)


def _list_counts(counts: Mapping[str, int]) -> str:
    listed = [f"{name} {count}" for name, count in counts.items()][:_MOST_NAMES]
    others = len(counts) - len(listed)
    return ", ".join(listed) + (f" and {others} others" if others else "")


def _format_bytes(n_bytes: int) -> str:
    for factor, unit in ((1e9, "GB"), (1e6, "MB"), (1e3, "kB")):
        if n_bytes >= factor:
            return f"{n_bytes / factor:.1f} {unit}"
    return f"{n_bytes} bytes"
