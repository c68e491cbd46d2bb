"""What stands beside an ingested take: which files of which cards it came from."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rb2v.io.recording import Recording
from rb2v.io.store import read_json
from rb2v.stages.ingest.cards import CardRecording

RECORD_NAME = "ingest.json"


def identity_of(recording: CardRecording, stated: Recording) -> list[str | int]:
    """Return what tells a recording from any other, wherever its card is mounted."""
    created = "" if stated.created is None else stated.created.isoformat()
    return [recording.name, created, *(path.stat().st_size for path in recording.paths)]


def read_records(root: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield name and record of each ingested take of a raw directory, in order."""
    for path in sorted((root / "takes").glob(f"*/{RECORD_NAME}")):
        yield path.parent.name, read_json(path)
