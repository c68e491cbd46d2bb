"""The commands for what comes from the cameras: ingest their cards, and check what was recorded."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from rich.box import SIMPLE_HEAD
from rich.table import Table
from rich.text import Text

from rb2v.cli.shared import ExecutorName, Workers, app, console, error_console, make_config, show_progress
from rb2v.errors import Rb2vError

if TYPE_CHECKING:
    from rb2v.stages.doctor import Diagnosis
    from rb2v.stages.ingest import Plan

_SHOWN = ("refuse", "warn", "info")
_STYLES = {"ok": "green", "info": "cyan", "warn": "yellow", "refuse": "bold red"}


@app.command(epilog="Example: rb2v ingest /media/BLURRY /media/SHARP --out session/raw --category face --subject ann")
def ingest(
    card_blurry: Annotated[Path, typer.Argument(help="Memory card of the blurry camera, or a folder of its files.")],
    card_sharp: Annotated[Path, typer.Argument(help="Memory card of the sharp camera, likewise.")],
    out: Annotated[Path, typer.Option(help="Raw directory to write to; new takes are added to one that is there.")],
    rig: Annotated[
        str | None, typer.Option(help="Name or path of a capture configuration; OUT's own, or gopro_hero8, by default.")
    ] = None,
    category: Annotated[Literal["street", "face", "hand"], typer.Option(help="Category of these takes.")] = "street",
    subject: Annotated[
        str | None,
        typer.Option(
            help="Who or what is filmed in all of them; needed for faces and hands. Edit take.yaml for others."
        ),
    ] = None,
    green_screen: Annotated[bool, typer.Option("--green-screen", help="Filmed before a green screen.")] = False,
    link: Annotated[
        bool, typer.Option("--link/--copy", help="Link to the videos where they are, or copy them.")
    ] = False,
    clock_offset: Annotated[
        float | None,
        typer.Option(
            help="How many seconds the sharp camera's clock is ahead; found out by default.", metavar="SECONDS"
        ),
    ] = None,
    keep_refused: Annotated[bool, typer.Option("--keep-refused", help="Take in what the checks refuse, too.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Print what would be done, and write nothing.")] = False,
    workers: Workers = None,
    executor: ExecutorName = "auto",
) -> None:
    """Pair the recordings of two memory cards into takes, check them, and lay down a raw directory.

    Takes that the checks refuse, and recordings without a partner, are named; takes that are there are not touched.
    Exits with 2, when all the others are taken in, where a take is refused, a recording cannot be read whole, or its
    partner is in doubt.
    """
    from rb2v.execution import make_executor
    from rb2v.stages import ingest as stage

    config = make_config(
        lambda: stage.IngestConfig(
            rig=rig,
            category=category,
            subject=subject,
            green_screen=green_screen,
            link=link,
            keep_refused=keep_refused,
            clock_offset_seconds=clock_offset,
        )
    )
    with show_progress("reading recordings") as show:
        planned = stage.plan(
            card_blurry, card_sharp, out, config, executor=make_executor(workers, executor), on_recording=show
        )
    _print_plan(planned)
    if not dry_run:
        with show_progress("copying megabytes") as show:
            table = stage.run(planned, config, on_bytes=lambda done, total: show(done // 10**6, total // 10**6))
        console.print(f"raw directory: {out}\n{table}", soft_wrap=True)
    for doubt in planned.doubts:
        another = "" if clock_offset is None else "another "
        advice = f"where you know better, give {another}--clock-offset, or a folder with one recording for each camera"
        error_console.print(f"not paired: {doubt}; {advice}", soft_wrap=True)
    if problems := _problems_of(planned):
        raise Rb2vError(f"{out}: {'; '.join(problems)}")


def _problems_of(planned: Plan) -> list[str]:
    """Return what was not taken in though it should have been."""
    problems = []
    if refused := [take.name for take in planned.takes if take.state == "refused"]:
        problems.append(
            f"{', '.join(refused)}: refused for what is named above; expected takes that can give a good data set, or "
            "--keep-refused"
        )
    if damaged := [f"{left.camera} {left.recording.name}" for left in planned.leftovers if not left.is_readable]:
        problems.append(
            f"{', '.join(damaged)}: cannot be read whole, for what is named above; expected whole recordings, copied "
            "from the card again, or moved elsewhere where they are lost"
        )
    if planned.doubts or not (planned.takes or damaged):
        problems.append("recordings are not paired, for what is named above")
    return problems


def _print_plan(planned: Plan) -> None:
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for name in ("take", "blurry", "sharp", "state", "checks"):
        table.add_column(name, no_wrap=True)
    table.add_column("evidence")
    for take in planned.takes:
        level = take.diagnosis.level
        files = [
            recording.name + (f" ({len(recording.paths)} chapters)" if len(recording.paths) > 1 else "")
            for recording in (take.blurry, take.sharp)
        ]
        table.add_row(take.name, *files, take.state, Text(level, style=_STYLES[level]), take.evidence)
    if planned.takes:
        console.print(table)
    for take in planned.takes:
        if take.state != "present":
            _print_findings(take.diagnosis)
    for leftover in planned.leftovers:
        console.print(
            f"{leftover.camera} camera: {leftover.recording.name} is in no take: {leftover.reason}", soft_wrap=True
        )


@app.command(epilog="Example: rb2v doctor session/raw")
def doctor(
    raw_dir: Annotated[Path, typer.Argument(help="Raw directory: capture.yaml, takes/.")],
    json: Annotated[Path | None, typer.Option(help="File to write what was found to, as JSON.")] = None,
    strict: Annotated[bool, typer.Option("--strict", help="Exit with 2 on warnings, too.")] = False,
    workers: Workers = None,
    executor: ExecutorName = "auto",
) -> None:
    """Check settings, shutter, frame rates and telemetry of every take against the rig.

    Exits with 0 where every take can give a good data set, and with 2 where one has to be refused.
    """
    from rb2v.execution import make_executor
    from rb2v.io.config import read_raw_directory
    from rb2v.io.store import write_json
    from rb2v.stages import doctor as stage

    with show_progress("checking takes") as show:
        found = stage.run(raw_dir, executor=make_executor(workers, executor), on_take=show)
    print_diagnoses(found)
    if json is not None:
        write_json(json, stage.to_document(found, read_raw_directory(raw_dir).rig))
        console.print(str(json), soft_wrap=True)
    refused = [diagnosis.take for diagnosis in found if diagnosis.level == "refuse"]
    warned = [diagnosis.take for diagnosis in found if diagnosis.level == "warn"]
    if refused or (strict and warned):
        counts = f"{len(refused)} of {len(found)} takes cannot give a good data set"
        if strict and warned:
            counts += f", {len(warned)} have warnings"
        raise Rb2vError(f"{raw_dir}: {counts}; every reason is named above")
    console.print(f"{len(found)} takes, {len(warned)} with warnings: none has to be refused")


@app.command(epilog="Example: rb2v rigs")
def rigs() -> None:
    """List the rigs that are known by name, and explain them."""
    from rb2v.io.config import list_rigs, read_rig, read_rig_description
    from rb2v.stages.doctor import exposure_seconds

    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("rig", no_wrap=True)
    for name in ("frames per second", "sharp frames", "exposure [ms]"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("for")
    for name, path in list_rigs().items():
        rig = read_rig(path)
        table.add_row(
            name,
            f"{rig.blurry_fps:.5g} / {rig.sharp_fps:.5g}",
            str(rig.frames_per_sequence),
            f"{1e3 * exposure_seconds(rig):.1f}",
            read_rig_description(path),
        )
    console.print(table)
    console.print(
        "name one in capture.yaml (rig: gopro_25_100), or write a file of your own: docs/rigs.md", soft_wrap=True
    )


def print_diagnoses(found: Sequence[Diagnosis]) -> None:
    """Print a table of takes and of what their checks said, and a line for everything that is not as it should be."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    table.add_column("take", no_wrap=True)
    table.add_column("verdict", no_wrap=True)
    table.add_column("ok", no_wrap=True, justify="right")
    for level in _SHOWN:
        table.add_column(level)
    for diagnosis in found:
        checks = {
            level: list(dict.fromkeys(finding.check for finding in diagnosis.findings if finding.level == level))
            for level in ("ok", *_SHOWN)
        }
        table.add_row(
            diagnosis.take,
            Text(diagnosis.level, style=_STYLES[diagnosis.level]),
            str(len(checks["ok"])),
            *(", ".join(checks[level]) or "-" for level in _SHOWN),
        )
    console.print(table)
    for diagnosis in found:
        _print_findings(diagnosis)


def _print_findings(diagnosis: Diagnosis) -> None:
    for finding in diagnosis.findings:
        if finding.level != "ok":
            console.print(f"{diagnosis.take}: {finding.check}: {finding.level}: {finding}", soft_wrap=True)
