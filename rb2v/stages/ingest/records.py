"""Record of an ingested take: the files of the cards that it came from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from rb2v.io.recording import Recording
from rb2v.io.store import check_schema, read_json, validate
from rb2v.stages.ingest.cards import CardRecording

RECORD_NAME = "ingest.json"


@dataclass(frozen=True)
class _FileRecord:
    file: str
    source: str
    bytes: int
    sha256: str


@dataclass(frozen=True)
class _CameraRecord:
    identity: list[str | int]
    files: list[_FileRecord]
    created: str | None
    timecode_seconds: float | None
    frames: int
    frame_rate: float
    duration_seconds: float


@dataclass(frozen=True)
class _TakeRecord:
    evidence: str
    blurry: _CameraRecord
    sharp: _CameraRecord


def identity_of(recording: CardRecording, stated: Recording) -> list[str | int]:
    """Return what tells a recording from any other, wherever its card is mounted."""
    created = "" if stated.created is None else stated.created.isoformat()
    return [recording.name, created, *(path.stat().st_size for path in recording.paths)]


def read_records(root: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield name and record of each ingested take of a raw directory, in order.

    Raises
    ------
    InputError
        If a record is not one that was written here.
    """
    for path in sorted((root / "takes").glob(f"*/{RECORD_NAME}")):
        document = read_json(path)
        check_schema(path, document)
        yield (
            path.parent.name,
            asdict(validate(_TakeRecord, {k: v for k, v in document.items() if k != "schema"}, path)),
        )
