"""Ingest: lay the takes of a plan down in a raw directory, each whole or not at all."""

from __future__ import annotations

import csv
import hashlib
import io
import logging
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import yaml

from rb2v.artifacts import CAMERAS, Camera
from rb2v.errors import InputError
from rb2v.io.partial import is_same_file, try_lock
from rb2v.io.store import SCHEMA, sha256_of, whole_file, write_json, write_text
from rb2v.progress import Count
from rb2v.stages.ingest.cards import CardRecording, printable
from rb2v.stages.ingest.config import IngestConfig
from rb2v.stages.ingest.planning import Plan, PlannedTake
from rb2v.stages.ingest.records import RECORD_NAME, read_records

logger = logging.getLogger(__name__)

TABLE_NAME = "ingest.csv"

_STAGING_NAME = ".ingest"
_LOCK_NAME = "lock"
_CHUNK_BYTES = 1 << 22  # 4 MB: few calls for a file of gigabytes, little memory
_COLUMNS = (
    *("take", "camera", "state", "file", "source", "bytes", "sha256", "created", "timecode_seconds"),
    *("frames", "frame_rate", "duration_seconds", "evidence"),
)


def run(
    planned: Plan,
    config: IngestConfig | None = None,
    *,
    on_bytes: Count | None = None,
) -> Path:
    """Lay down the new takes of a plan, each whole or not at all, and return the table of what became of what.

    Takes that are there are not touched. A run that was killed resumes with the file that it was at.

    Parameters
    ----------
    planned : Plan
        What `plan` made of the cards.
    config : IngestConfig, optional
        The one that the plan was made with.
    on_bytes : callable, optional
        Called with how many bytes are copied and how many there are to copy.

    Raises
    ------
    InputError
        If another run writes to the raw directory, or has taken in a take since it was planned, or what was copied is
        not what the card holds.
    """
    config = config or IngestConfig()
    root = planned.root
    new = [take for take in planned.takes if take.state == "new"]
    n_bytes = sum(path.stat().st_size for take in new for camera in CAMERAS for path in take.recording(camera).paths)
    with _locked(root):
        for take in new:
            if os.path.lexists(root / "takes" / take.name):
                problem = "was made since this run looked, by another one"
                raise InputError(root / "takes" / take.name, problem, expected="the command to be run again")
        if not (root / "capture.yaml").exists():
            write_text(
                root / "capture.yaml", yaml.safe_dump({"schema": SCHEMA, "rig": planned.rig_name}, sort_keys=False)
            )
        n_done = 0
        for take in new:

            def count(n: int) -> None:
                nonlocal n_done
                n_done += n
                if on_bytes is not None:
                    on_bytes(n_done, n_bytes)

            _lay_down(root, take, config, count)
            logger.info("%s: %s", take.name, take.evidence)
        table = _write_table(root, planned)
        shutil.rmtree(root / _STAGING_NAME, ignore_errors=True)
        return table


@contextmanager
def _locked(root: Path) -> Iterator[None]:
    """Keep every other run out of a raw directory until the block ends."""
    path = root / _STAGING_NAME / _LOCK_NAME
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o666)
    try:
        # A run that ended in between has taken the lock's file away.
        if try_lock(descriptor) is False or not is_same_file(path, descriptor):
            raise InputError(root, "another run is writing here", expected="to wait for its end")
        yield
    finally:
        os.close(descriptor)


def _lay_down(root: Path, take: PlannedTake, config: IngestConfig, count: Callable[[int], None]) -> None:
    """Copy a take's files into a scratch folder, and rename it when it is complete."""
    folder = root / _STAGING_NAME / take.name
    folder.mkdir(parents=True, exist_ok=True)
    wanted = {name for camera in CAMERAS for name in _file_names(take.recording(camera), camera)}
    for left in folder.iterdir():
        if left.name not in wanted:
            left.unlink()
    record: dict[str, Any] = {"schema": SCHEMA, "evidence": take.evidence}
    description: dict[str, Any] = {
        "category": config.category,
        "subject": config.subject or take.name,
        "green_screen": config.green_screen,
    }
    if config.screen != "auto":
        description["screen"] = config.screen
    capture_fps = {camera: fps for camera in CAMERAS if (fps := config.capture_fps_of(camera)) is not None}
    if capture_fps:
        description["capture_fps"] = capture_fps
    for camera in CAMERAS:
        recording, facts = take.recording(camera), take.diagnosis.facts[camera]
        names = _file_names(recording, camera)
        files = []
        for name, source in zip(names, recording.paths, strict=True):
            digest = _link(source, folder / name) if config.link else _copy(source, folder / name, count)
            size = source.stat().st_size
            files.append({"file": name, "source": printable(source.name), "bytes": size, "sha256": digest})
        if names != [f"{camera}.mp4"]:
            description[camera] = names
        kept = ("created", "timecode_seconds", "frames", "frame_rate", "duration_seconds")
        record[camera] = {"identity": take.identities[camera], "files": files, **{key: facts[key] for key in kept}}
    comment = "# Takes of one subject are never divided between training and test: edit it where it is not right.\n"
    write_text(folder / "take.yaml", comment + yaml.safe_dump(description, sort_keys=False, allow_unicode=True))
    write_json(folder / RECORD_NAME, record)
    (root / "takes").mkdir(exist_ok=True)
    folder.rename(root / "takes" / take.name)


def _file_names(recording: CardRecording, camera: Camera) -> list[str]:
    suffixes = [path.suffix.lower() for path in recording.paths]
    if len(suffixes) == 1:
        return [f"{camera}{suffixes[0]}"]
    return [f"{camera}_{index}{suffix}" for index, suffix in enumerate(suffixes, start=1)]


def _link(source: Path, target: Path) -> str:
    target.unlink(missing_ok=True)
    target.symlink_to(source.resolve())
    return ""


def _copy(source: Path, target: Path, count: Callable[[int], None]) -> str:
    """Copy a file whole or not at all, read it back, and return its SHA-256; a whole copy that is there is kept."""
    size = source.stat().st_size
    if target.is_file() and not target.is_symlink() and target.stat().st_size == size:
        digest = sha256_of(source)
        if sha256_of(target) == digest:
            count(size)
            return digest
    target.unlink(missing_ok=True)
    hasher = hashlib.sha256()
    with whole_file(target) as temporary:
        with source.open("rb") as reader, temporary.open("wb") as writer:
            while chunk := reader.read(_CHUNK_BYTES):
                hasher.update(chunk)
                writer.write(chunk)
                count(len(chunk))
        shutil.copystat(source, temporary)
        temporary.chmod(0o644)
        if sha256_of(temporary) != hasher.hexdigest():
            raise InputError(target, "is not what was read from the card", expected="a disk that keeps what is written")
    return hasher.hexdigest()


def _write_table(root: Path, planned: Plan) -> Path:
    """Write which file became what: of every take that was ever taken in, and of what this run left."""
    rows: list[dict[str, object]] = []
    for name, record in read_records(root):
        for camera in CAMERAS:
            listed = record[camera]
            stated = {key: listed[key] for key in _COLUMNS if key in listed}
            stated |= {"take": name, "camera": camera, "state": "taken", "evidence": record["evidence"]}
            rows += [stated | file for file in listed["files"]]
    for take in planned.takes:
        if take.state == "refused":
            reasons = "; ".join(str(finding) for finding in take.diagnosis.findings if finding.level == "refuse")
            for camera in CAMERAS:
                rows += _rows_of(take.recording(camera), camera, "refused", reasons, take.name)
    for leftover in planned.leftovers:
        state = "unpaired" if leftover.is_readable else "unreadable"
        rows += _rows_of(leftover.recording, leftover.camera, state, leftover.reason, "")
    text = io.StringIO()
    writer = csv.DictWriter(text, _COLUMNS, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return write_text(root / TABLE_NAME, text.getvalue())


def _rows_of(recording: CardRecording, camera: Camera, state: str, reason: str, take: str) -> list[dict[str, object]]:
    stated: dict[str, object] = {"take": take, "camera": camera, "state": state, "evidence": reason}
    return [
        stated | {"source": printable(path.name), "bytes": path.stat().st_size if path.exists() else ""}
        for path in recording.paths
    ]
