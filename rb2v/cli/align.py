"""The command that aligns takes."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rb2v.cli.options import Given, OptionsOf
from rb2v.cli.shared import (
    EXECUTION,
    METHOD,
    Device,
    ExecutorName,
    RawDir,
    Weights,
    Workers,
    echo,
    files,
    make_command,
    parse_response,
    show_progress,
)
from rb2v.errors import InputError, Rb2vError
from rb2v.stages.align.config import AlignConfig

if TYPE_CHECKING:
    from rb2v.artifacts import TakeRegistration
    from rb2v.stages.align import TakeProfile, TakeRecord

app, command = make_command(
    "align",
    "rb2v align --raw-dir session/raw --calibration session/calibration.json --out session/aligned",
)


@command
@OptionsOf(
    AlignConfig,
    {
        METHOD: (
            *("interpolator", "sync", "color", "color_fit", "positions", "search", "rolling_shutter"),
            *("registration", "matter", "drift_ppm", "drift_sigma_ppm"),
        ),
        "Thresholds": (
            *("min_psnr_db", "min_margin_db", "tolerance_frames", "max_clock_error_frames", "max_clipped_share"),
            *("max_flash", "max_gain_change", "min_interpolation_psnr_db", "min_composite_psnr_db"),
            *("min_explained_psnr_db", "max_shift_px", "wide_range_seconds"),
        ),
    },
    former={
        "min_psnr_db": "--min-psnr",
        "min_composite_psnr_db": "--min-composite-psnr",
        "min_explained_psnr_db": "--min-explained-psnr",
    },
)
def align(
    raw_dir: RawDir,
    calibration: Annotated[Path, files("The rig's calibration.json.")],
    out: Annotated[Path, files("Folder for the aligned takes and alignment.csv.")],
    given: Given,
    config: Annotated[
        Path | None,
        files("YAML file of method and thresholds; options given here win."),
    ] = None,
    take: Annotated[list[str] | None, files("Name of a take to align; may be repeated.")] = None,
    interpolator_weights: Annotated[
        Path | None,
        files(
            "The interpolator's weights in place of its usual ones: for cdfi what 'rb2v train-interpolator' wrote "
            "or the authors' CDFI_adacof.pth, for rife a folder of its files."
        ),
    ] = None,
    weights: Weights = None,
    response: Annotated[
        str | None,
        typer.Option(
            metavar="linear|srgb|calibration|GAMMA",
            help="Camera response to undo before averaging, in place of the rig's; calibration takes what CALIBRATION "
            "states, linear averages coded values.",
            rich_help_panel=METHOD,
        ),
    ] = None,
    per_take: Annotated[bool, typer.Option("--per-take", hidden=True)] = False,
    paper: Annotated[
        bool,
        typer.Option(
            "--paper",
            help="As the paper does: coded values, every frame by itself, nothing rejected.",
            rich_help_panel=METHOD,
        ),
    ] = False,
    preview: Annotated[
        bool,
        typer.Option(
            "--preview",
            help="Align every tenth blurry frame at a quarter of the size, and write what tells whether takes are "
            "good, with a contact sheet for each, to OUT_preview. OUT is left alone.",
            rich_help_panel=EXECUTION,
        ),
    ] = False,
    profile: Annotated[
        bool,
        typer.Option(
            "--profile",
            help="Print processor time and bytes by stage, and write them to profile.json.",
            rich_help_panel=EXECUTION,
        ),
    ] = False,
    device: Device = "auto",
    workers: Workers = None,
    executor: ExecutorName = "auto",
) -> None:
    """Find for every blurry frame the sharp frames that it integrated, and map their colors."""
    from rb2v.execution import make_executor
    from rb2v.io.config import read_settings
    from rb2v.stages import align as stage

    if paper and config is not None:
        raise InputError("--paper", "is a configuration of its own", expected="without --config")
    chosen = dict(given)
    if response is not None:
        chosen["response"] = _find_response(response, calibration)
    if per_take:
        chosen.setdefault("registration", "per-take")
    base = AlignConfig.paper() if paper else AlignConfig()
    if config is not None:
        base = read_settings(AlignConfig, config)
    settings = dataclasses.replace(base, **chosen)
    records: list[stage.TakeRecord] = []
    run = stage.run
    if preview:
        out, run = stage.preview_folder(out), stage.run_preview
    with show_progress("previewing takes" if preview else "aligning takes") as show:

        def count(record: stage.TakeRecord, n_takes: int) -> None:
            records.append(record)
            show(len(records), n_takes)

        written = run(
            raw_dir,
            calibration,
            out,
            settings,
            resources=stage.Resources(device, weights, interpolator_weights),
            execution=stage.Execution(take or (), make_executor(workers, executor), count, profile),
        )
    if preview:
        echo(stage.PREVIEW_NOTE, soft_wrap=True)
    _print_alignment(records)
    if preview:
        _print_shares(records)
    if profile:
        _print_profile(list(stage.read_profiles(out).values()))
    echo(str(written), soft_wrap=True)
    if records and not any(record.n_accepted for record in records):
        raise Rb2vError(f"{out}: no frame of any take was accepted: {_explain_rejections(records)}")


def _explain_rejections(records: Sequence[TakeRecord]) -> str:
    """Return what rejected most frames, and what may help."""
    from rb2v.artifacts import REASONS, REMEDIES

    counts: Counter[str] = Counter()
    for record in records:
        counts.update(record.reasons)
    if not counts:
        return "the takes hold no frame"
    reason, n = counts.most_common(1)[0]
    return f"{n} of {counts.total()} are {reason} ({REASONS[reason]}); {REMEDIES[reason]}"


def _describe_shift(registration: TakeRegistration | None) -> str:
    if registration is None:
        return "-"
    refined = "" if registration.homography is None else ", refined"
    behind = "".join(f", {step.shift_px:.2f} from {step.before_seconds:.2f} s on" for step in registration.steps)
    return f"{registration.shift_px:.2f} ± {registration.error_px:.2f}{refined}{behind}"


def _find_response(text: str, calibration_path: Path) -> str | float:
    from rb2v.io.calibration import read_calibration

    if text != "calibration":
        return parse_response(text, "--response", ("calibration", "linear", "srgb"))
    stated = read_calibration(calibration_path).response
    if stated is None:
        expected = "a calibration whose captures tell it, or another --response"
        raise InputError(calibration_path, "states none", "response", expected)
    return stated


def _print_alignment(records: Sequence[TakeRecord]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("take", no_wrap=True)
    for name in ("frames", "accepted"):
        table.add_column(name, justify="right", no_wrap=True)
    # These wrap on a narrow terminal; cut short they would tell nothing.
    for name in ("offset", "drift [ppm]", "exposure [ms]", "shift [px]"):
        table.add_column(name)
    for record in records:
        clock, exposure = record.timing.clock, record.timing.exposure
        table.add_row(
            record.name,
            str(record.n_frames),
            str(record.n_accepted),
            record.timing.offset_source or "-",
            "-" if clock is None else f"{1e6 * clock.drift:.1f} ± {1e6 * clock.drift_error:.1f}",
            "-" if exposure is None else f"{1e3 * exposure.seconds:.2f} ± {1e3 * exposure.error_seconds:.2f}",
            _describe_shift(record.registration),
        )
    echo(table)
    for record in records:
        if record.reasons:
            reasons = ", ".join(f"{reason}: {n}" for reason, n in record.reasons.items())
            echo(f"{record.name}: not accepted: {reasons}", soft_wrap=True)


def _print_shares(records: Sequence[TakeRecord]) -> None:
    for record in records:
        if record.n_frames:
            counts = {"accepted": record.n_accepted} | dict(record.reasons)
            shares = ", ".join(f"{100 * n / record.n_frames:.0f} % {name}" for name, n in counts.items())
            echo(f"{record.name}: {shares}", soft_wrap=True)


def _count_takes(profiles: Sequence[TakeProfile]) -> str:
    return "one take" if len(profiles) == 1 else f"{len(profiles)} takes"


def _print_profile(profiles: Sequence[TakeProfile]) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.table import Table

    from rb2v.stages.align import add_profiles

    if not profiles:
        echo("no profile: all takes were finished before")
        return
    total = add_profiles(profiles)
    n = max(total.n_frames, 1)
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("stage", no_wrap=True)
    for name in ("processor [ms/frame]", "share", "read [MB/frame]", "written [MB/frame]"):
        table.add_column(name, justify="right")
    for name, cost in total.stages.items():
        table.add_row(
            name,
            f"{1e3 * cost.processor_seconds / n:.1f}",
            f"{100 * cost.processor_seconds / max(total.processor_seconds, 1e-9):.1f} %",
            f"{cost.bytes_read / n / 1e6:.2f}",
            f"{cost.bytes_written / n / 1e6:.2f}",
        )
    echo(table)
    echo(
        f"{total.processor_seconds:.1f} s of processor for {total.n_frames} blurry frames in {_count_takes(profiles)}: "
        f"{1e3 * total.processor_seconds / n:.0f} ms per frame; {total.peak_memory_bytes / 1e6:.0f} MB of memory",
        soft_wrap=True,
    )
