"""The command that checks a data set against its manifest."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from rb2v.cli.shared import ExecutorName, Workers, echo, make_command, show_progress
from rb2v.errors import Rb2vError

app, command = make_command("verify", "rb2v verify session/shards")


@command
def verify(
    shards: Annotated[Path, typer.Argument(help="Folder of shards.")],
    read_all: Annotated[
        bool, typer.Option("--read-all", help="Read every sample, even of shards whose bytes are as the manifest says.")
    ] = False,
    workers: Workers = None,
    executor: ExecutorName = "auto",
) -> None:
    """Check the files of a data set against its manifest, and name the samples that are lost."""
    from rb2v.execution import make_executor
    from rb2v.shards import read_manifest
    from rb2v.shards import verify as run

    with show_progress("checking shards") as show:
        faults = run(
            shards,
            read_all=read_all,
            executor=make_executor(workers, executor),
            progress=show,
        )
    splits = read_manifest(shards).splits.values()
    n_shards, n_samples = sum(len(split.shards) for split in splits), sum(split.samples for split in splits)
    for fault in faults:
        echo(str(fault), soft_wrap=True)
    if faults:
        n_lost = sum(len(fault.rows) for fault in faults)
        raise Rb2vError(f"{shards}: {n_lost} of {n_samples} samples are lost; every fault is named above")
    echo(f"{n_shards} shards, {n_samples} samples: all as the manifest says", soft_wrap=True)
