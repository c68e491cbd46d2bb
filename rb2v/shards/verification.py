"""Check a folder of shards against its manifest, and say which samples are lost."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pandas as pd

from rb2v.artifacts import SPLITS, Split
from rb2v.errors import InputError
from rb2v.execution import Executor, SerialExecutor
from rb2v.io.hdf5 import open_hdf5
from rb2v.io.store import sha256_of
from rb2v.progress import Count
from rb2v.shards.layout import find_lost_rows
from rb2v.shards.manifest import (
    LISTED_SHARD,
    Manifest,
    ShardEntry,
    is_as_written,
    manifest_path,
    path_within,
    read_manifest,
)
from rb2v.shards.reader import TABLE_COLUMNS, read_table

MAX_SECONDS_PER_SAMPLE = 60.0
"""How long a damaged shard may keep its reader busy, per sample."""

_READ_APART = "from rb2v.shards.reading_apart import read_apart; read_apart()"


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
    progress: Count | None = None,
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
    tables: dict[Split, list[pd.DataFrame]] = {split: [pd.DataFrame(columns=list(TABLE_COLUMNS))] for split in SPLITS}
    faults: dict[str, Fault] = {}
    examine = partial(_examine, folder=folder, manifest=dataclasses.replace(manifest, splits={}), read_all=read_all)
    found = (executor or SerialExecutor()).map(examine, [entry for _, entry in listed])
    for n_done, ((split, entry), finding) in enumerate(zip(listed, found, strict=True), start=1):
        if finding.fault is not None:
            faults[entry.file] = finding.fault
        if finding.table is not None:
            tables[split].append(finding.table)
        if progress is not None:
            progress(n_done, len(listed))
    damaged = [entry for _, entry in listed if entry.file in faults and not faults[entry.file].rows]
    for entry, rows in _find_lost_rows_apart(folder, damaged):
        faults[entry.file] = _with_loss(faults[entry.file], rows)
    others = [] if is_as_written(folder) else [Fault(manifest_path(folder).name, "was changed after it was written")]
    if not faults:  # what a lost sample was counted as is not known
        others += _check_counts(folder, manifest, {split: pd.concat(parts) for split, parts in tables.items()})
    names = {entry.file for _, entry in listed}
    strangers = sorted(path.name for path in folder.glob("*.h5") if path.name not in names and path.name[0] != ".")
    return [*faults.values(), *others, *(Fault(name, "the manifest does not list it") for name in strangers)]


def _examine(entry: ShardEntry, folder: Path, manifest: Manifest, read_all: bool) -> _Finding:
    """Examine a shard; of one whose bytes are not the manifest's, which samples are lost is left open."""

    def fault(problem: str, rows: Iterable[int] = ()) -> _Finding:
        return _Finding(Fault(entry.file, problem, tuple(rows), entry.samples))

    everything = range(entry.samples)
    try:
        path = path_within(folder, entry.file)
        if not path.is_file():
            return fault("there is no such file", everything)
        problem = _compare_bytes(path, entry)
        if problem is not None:
            return fault(problem)
        table = read_table(folder, entry, manifest)
        if read_all:
            with open_hdf5(path, LISTED_SHARD) as file:
                rows = find_lost_rows(file, entry.samples)
            if rows:
                return fault("samples do not have their checksums", rows)
        return _Finding(None, table)
    except InputError as error:
        return fault(str(InputError("", error.problem, error.key, error.expected)).removeprefix(": "), everything)
    except OSError as error:
        return fault(f"cannot be read ({error.strerror})", everything)


def _compare_bytes(path: Path, entry: ShardEntry) -> str | None:
    size = path.stat().st_size
    if size != entry.bytes:
        return f"has {size} bytes; expected {entry.bytes} by the manifest"
    return None if sha256_of(path) == entry.sha256 else "its bytes do not have the SHA-256 that the manifest gives"


def _with_loss(fault: Fault, rows: tuple[int, ...] | None) -> Fault:
    if rows is None:
        rows, problem = tuple(range(fault.n_samples)), f"{fault.problem}, and it cannot be read"
    elif not rows:
        problem = f"{fault.problem}, yet every sample has its checksum: the manifest or what lies between them is wrong"
    else:
        problem = fault.problem
    return Fault(fault.file, problem, rows, fault.n_samples)


def _find_lost_rows_apart(
    folder: Path, entries: Sequence[ShardEntry]
) -> Iterator[tuple[ShardEntry, tuple[int, ...] | None]]:
    """Yield which samples of damaged shards are lost; None where the shard cannot be read.

    They are read in a process of their own: what damage makes of a table of the file can lead the HDF5 library into a
    crash, or on for ever.
    """
    left = list(entries)
    while left:
        with subprocess.Popen(
            [sys.executable, "-c", _READ_APART, str(folder.absolute())],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        ) as child:
            assert child.stdin is not None
            assert child.stdout is not None
            if child.stdout.readline() != "ready\n":
                raise RuntimeError("damaged shards are read by a process of its own, which did not start")
            child.stdin.write(json.dumps([dataclasses.asdict(entry) for entry in left]))
            child.stdin.close()
            alive = True
            while left and alive:
                entry = left.pop(0)
                timer = threading.Timer(entry.samples * MAX_SECONDS_PER_SAMPLE, child.kill)
                timer.start()
                line = child.stdout.readline()
                timer.cancel()
                alive = bool(line)
                rows = json.loads(line) if alive else None
                yield entry, None if rows is None else tuple(rows)
            child.kill()


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
