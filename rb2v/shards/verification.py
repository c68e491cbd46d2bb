"""Check a folder of shards against its manifest, and say which samples are lost."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection
from pathlib import Path

import h5py
import pandas as pd

from rb2v.artifacts import SPLITS, Split
from rb2v.errors import InputError
from rb2v.execution import Executor, SerialExecutor
from rb2v.io.hdf5 import open_hdf5
from rb2v.shards.layout import (
    CHECKSUM_NAME,
    FRAME_NAMES,
    NUMBER_TYPES,
    TEXT_NAMES,
    ShardSample,
    check_layout,
    sample_checksum,
)
from rb2v.shards.manifest import Manifest, ShardEntry, manifest_path, read_manifest, sha256_of
from rb2v.shards.reader import TABLE_COLUMNS, path_within, read_table

MAX_SECONDS_PER_SAMPLE = 60.0
"""How long a damaged shard may keep the reader busy, per sample."""

_EXPECTED = "a shard that the manifest lists"


@dataclass(frozen=True)
class Fault:
    """Something that is wrong with a file of a data set."""

    file: str
    problem: str
    rows: tuple[int, ...] = ()
    """Rows of the shard whose samples are lost; none where only what surrounds them is wrong."""
    n_samples: int = 0
    """Samples of the shard; by the manifest, or found where it does not say."""

    def __str__(self) -> str:
        return f"{self.file}: {self.problem}" + (f"; {self.describe_loss()}" if self.rows else "")

    def describe_loss(self) -> str:
        """Return which samples are lost, as ranges of rows."""
        if len(self.rows) == self.n_samples:
            return f"all {self.n_samples} samples are lost" if self.n_samples > 1 else "its only sample is lost"
        ranges: list[list[int]] = []
        for row in self.rows:
            if ranges and row == ranges[-1][1] + 1:
                ranges[-1][1] = row
            else:
                ranges.append([row, row])
        text = ", ".join(f"{first}" if first == last else f"{first} to {last}" for first, last in ranges)
        plural = len(self.rows) > 1
        return f"sample{'s' * plural} {text} of {self.n_samples} {'are' if plural else 'is'} lost"


@dataclass(frozen=True)
class _Finding:
    """What the examination of one shard gave."""

    fault: Fault | None
    table: pd.DataFrame | None = None
    """The samples of a sound shard."""


def verify(
    folder: Path,
    *,
    read_all: bool = False,
    executor: Executor | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[Fault]:
    """Check every shard of a data set, and return what is wrong; an empty list where all is well.

    A shard is sound if its bytes have the digest that the manifest gives, and it holds what the manifest says. Of a
    shard that is not, every sample is read and compared with its checksums, to tell which are lost.

    Parameters
    ----------
    folder : Path
        A folder that ``rb2v build-shards`` or ``rb2v import`` wrote.
    read_all : bool
        Read every sample of sound shards too.
    executor : Executor, optional
        Where shards are read; here, by default.
    progress : callable, optional
        Called with the number of shards checked and of all.

    Raises
    ------
    InputError
        If the manifest cannot be used: nothing can be said of the shards then.
    """
    manifest = read_manifest(folder)
    listed = [(split, entry) for split in SPLITS for entry in manifest.splits[split].shards]
    faults = []
    tables: dict[Split, list[pd.DataFrame]] = {split: [pd.DataFrame(columns=list(TABLE_COLUMNS))] for split in SPLITS}
    examine = partial(_examine, folder=folder, manifest=manifest, read_all=read_all)
    found = (executor or SerialExecutor()).map(examine, [entry for _, entry in listed])
    for n_done, ((split, _), finding) in enumerate(zip(listed, found, strict=True), start=1):
        if finding.fault is not None:
            faults.append(finding.fault)
        if finding.table is not None:
            tables[split].append(finding.table)
        if progress is not None:
            progress(n_done, len(listed))
    if not faults:  # what a lost sample was counted as is not known
        faults += _check_counts(folder, manifest, {split: pd.concat(parts) for split, parts in tables.items()})
    names = {entry.file for _, entry in listed}
    strangers = sorted(path.name for path in folder.glob("*.h5") if path.name not in names and path.name[0] != ".")
    return [*faults, *(Fault(name, "the manifest does not list it") for name in strangers)]


def _examine(entry: ShardEntry, folder: Path, manifest: Manifest, read_all: bool) -> _Finding:
    def lost(problem: str) -> _Finding:
        return _Finding(Fault(entry.file, problem, tuple(range(entry.samples)), entry.samples))

    try:
        path = path_within(folder, entry.file)
        if not path.is_file():
            return lost("there is no such file")
        problem = _compare_bytes(path, entry)
        if problem is None:
            table = read_table(folder, entry, manifest)
            rows = _find_lost_rows(path, entry, manifest) if read_all else ()
            fault = Fault(entry.file, "samples do not have their checksums", rows, entry.samples) if rows else None
            return _Finding(fault, table)
    except InputError as error:
        return lost(str(InputError("", error.problem, error.key, error.expected)).removeprefix(": "))
    except OSError as error:
        return lost(f"cannot be read ({error.strerror})")
    # Apart: what damage makes of a table of the file can lead the HDF5 library anywhere.
    rows = _find_lost_rows_apart(path, entry, manifest)
    if rows is None:
        return lost(f"{problem}, and it cannot be read")
    if not rows:
        problem += "; yet every sample has its checksum: what the manifest says, or what lies between them, is wrong"
    return _Finding(Fault(entry.file, problem, rows, entry.samples))


def _compare_bytes(path: Path, entry: ShardEntry) -> str | None:
    size = path.stat().st_size
    if size != entry.bytes:
        return f"has {size} bytes; expected {entry.bytes} by the manifest"
    return None if sha256_of(path) == entry.sha256 else "its bytes do not have the SHA-256 that the manifest gives"


def _find_lost_rows(path: Path, entry: ShardEntry, manifest: Manifest) -> tuple[int, ...] | None:
    """Return the rows whose samples cannot be read or are not what was written; None where the file cannot be read."""
    try:
        with open_hdf5(path, _EXPECTED) as file:
            check_layout(file, path, entry.samples, manifest)
            return tuple(row for row in range(entry.samples) if not _is_sound(file, row))
    except (InputError, OSError, RuntimeError, KeyError):
        return None


def _is_sound(file: h5py.File, row: int) -> bool:
    try:
        values = {
            name: (file[name].asstr() if name in TEXT_NAMES else file[name])[row]
            for name in (*FRAME_NAMES, *TEXT_NAMES, *NUMBER_TYPES)
        }
        if CHECKSUM_NAME not in file:
            return True
        return bool(sample_checksum(ShardSample(**values)) == file[CHECKSUM_NAME][row])
    except (OSError, RuntimeError, KeyError, TypeError, ValueError, MemoryError):
        return False


def _find_lost_rows_apart(path: Path, entry: ShardEntry, manifest: Manifest) -> tuple[int, ...] | None:
    """Do it in a process of its own, and return None where that dies or takes too long."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])  # so that one process for every damaged shard costs little
    receiver, sender = context.Pipe(duplex=False)
    process = context.Process(target=_send_lost_rows, args=(sender, path, entry, manifest), daemon=True)
    process.start()
    sender.close()
    try:
        return receiver.recv() if receiver.poll(entry.samples * MAX_SECONDS_PER_SAMPLE) else None
    except EOFError:
        return None
    finally:
        process.kill()
        process.join()


def _send_lost_rows(sender: Connection, path: Path, entry: ShardEntry, manifest: Manifest) -> None:
    sender.send(_find_lost_rows(path, entry, manifest))


def _check_counts(folder: Path, manifest: Manifest, tables: Mapping[Split, pd.DataFrame]) -> Iterator[Fault]:
    name = manifest_path(folder).name
    for split, table in tables.items():
        said = {category: n for category, n in sorted(manifest.splits[split].categories.items()) if n}
        counted = table["category"].value_counts().sort_index().to_dict()
        if said != counted:
            yield Fault(name, f"splits.{split}.categories says {said}, the shards hold {counted}")
    train, test = (set(tables[split]["subject"]) for split in SPLITS)
    yield from _name_first(name, "is in both splits", sorted(train & test))
    keys = pd.concat(tables.values())[["take", "blurry_index"]]
    twice = keys[keys.duplicated()].drop_duplicates().sort_values(["take", "blurry_index"])
    names = [f"{take}, {index}" for take, index in twice.itertuples(index=False)]
    yield from _name_first(name, "stands in the shards more than once", names)


def _name_first(file: str, problem: str, names: Sequence[str]) -> Iterator[Fault]:
    if names:
        more = f" (and {len(names) - 1} more)" if len(names) > 1 else ""
        yield Fault(file, f"{names[0]!r} {problem}{more}")
