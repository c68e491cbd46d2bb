"""The command that checks recordings against the rig."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from rb2v.cli.shared import ExecutorName, Workers, echo, make_command, show_progress
from rb2v.errors import Rb2vError

if TYPE_CHECKING:
    from rb2v.stages.doctor import Diagnosis

app, command = make_command("doctor", "rb2v doctor session/raw")

STYLES = {"ok": "green", "info": "cyan", "warn": "yellow", "refuse": "bold red"}
"""How the terminal shows a level."""

_SHOWN = ("refuse", "warn", "info")


@command
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
        echo(str(json), soft_wrap=True)
    refused = [diagnosis.take for diagnosis in found if diagnosis.level == "refuse"]
    warned = [diagnosis.take for diagnosis in found if diagnosis.level == "warn"]
    if refused or (strict and warned):
        counts = f"{len(refused)} of {len(found)} takes cannot give a good data set"
        if strict and warned:
            counts += f", {len(warned)} have warnings"
        raise Rb2vError(f"{raw_dir}: {counts}; every reason is named above")
    takes = "1 take" if len(found) == 1 else f"{len(found)} takes"
    echo(f"{takes}, {len(warned)} with warnings, none refused")


def print_diagnoses(found: Sequence[Diagnosis]) -> None:
    """Print a table of takes and of what their checks said, and a line for everything that is not as it should be."""
    from rich.box import SIMPLE_HEAD
    from rich.table import Table
    from rich.text import Text

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
            Text(diagnosis.level, style=STYLES[diagnosis.level]),
            str(len(checks["ok"])),
            *(", ".join(checks[level]) or "-" for level in _SHOWN),
        )
    echo(table)
    for diagnosis in found:
        print_findings(diagnosis)


def print_findings(diagnosis: Diagnosis) -> None:
    """Print a line for every finding that is not as it should be."""
    for finding in diagnosis.findings:
        if finding.level != "ok":
            echo(f"{diagnosis.take}: {finding.check}: {finding.level}: {finding}", soft_wrap=True)
