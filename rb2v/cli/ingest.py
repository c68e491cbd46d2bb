"""The command that pairs the recordings of two memory cards."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rb2v.cli.doctor import STYLES, print_findings
from rb2v.cli.options import Given, OptionsOf
from rb2v.cli.shared import (
    EXECUTION,
    FILES,
    METHOD,
    ExecutorName,
    Workers,
    echo,
    echo_error,
    files,
    make_command,
    show_progress,
)
from rb2v.errors import Rb2vError
from rb2v.stages.ingest.config import IngestConfig

if TYPE_CHECKING:
    from rb2v.stages.ingest import Plan

app, command = make_command(
    "ingest",
    "rb2v ingest /media/BLURRY /media/SHARP --out session/raw --category face --subject ann",
)


@command
@OptionsOf(
    IngestConfig,
    {
        FILES: ("rig",),
        METHOD: (
            *("category", "subject", "green_screen", "screen", "link", "keep_refused", "clock_offset_seconds"),
            *("capture_fps_blurry", "capture_fps_sharp"),
        ),
    },
    former={"clock_offset_seconds": "--clock-offset"},
)
def ingest(
    card_blurry: Annotated[Path, typer.Argument(help="Memory card of the blurry camera, or a folder of its files.")],
    card_sharp: Annotated[Path, typer.Argument(help="Memory card of the sharp camera, likewise.")],
    out: Annotated[
        Path,
        files("Raw directory to write to; new takes are added to one that is there."),
    ],
    given: Given,
    copy: Annotated[bool, typer.Option("--copy", hidden=True)] = False,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Print what would be done, and write nothing.", rich_help_panel=EXECUTION),
    ] = False,
    workers: Workers = None,
    executor: ExecutorName = "auto",
) -> None:
    """Pair the recordings of two memory cards into takes, check them, and lay down a raw directory.

    Takes that the checks refuse, and recordings without a partner, are named; takes that are there are not touched.
    Exits with 2, when all the others are taken in, where a take is rejected, a recording cannot be read whole, or its
    partner is in doubt.
    """
    from rb2v.execution import make_executor
    from rb2v.stages import ingest as stage

    config = IngestConfig(**{**given, "link": False} if copy else given)
    with show_progress("reading recordings") as show:
        planned = stage.plan(
            card_blurry, card_sharp, out, config, executor=make_executor(workers, executor), on_recording=show
        )
    _print_plan(planned)
    if not dry_run:
        with show_progress("copying megabytes") as show:
            table = stage.run(planned, config, on_bytes=lambda done, total: show(done // 10**6, total // 10**6))
        echo(f"raw directory: {out}, rig {planned.rig_name}\n{table}", soft_wrap=True)
    for doubt in planned.doubts:
        another = "" if "clock_offset_seconds" not in given else "another "
        option = f"{another}--clock-offset-seconds"
        advice = f"where you know better, give {option}, or a folder with one recording for each camera"
        echo_error(f"not paired: {doubt}; {advice}", soft_wrap=True)
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
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

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
        table.add_row(take.name, *files, take.state, Text(level, style=STYLES[level]), take.evidence)
    if planned.takes:
        echo(table)
    for take in planned.takes:
        if take.state != "present":
            print_findings(take.diagnosis)
    for leftover in planned.leftovers:
        echo(f"{leftover.camera} camera: {leftover.recording.name} is in no take: {leftover.reason}", soft_wrap=True)
