"""Layouts that keep each shard as one file of another kind, beside a manifest like that of the shards."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rb2v import __version__
from rb2v.artifacts import SPLITS, Split
from rb2v.errors import InputError
from rb2v.execution import Executor
from rb2v.io.store import whole_file
from rb2v.shards import (
    Manifest,
    ShardEntry,
    ShardSample,
    SplitEntry,
    manifest_path,
    read_manifest,
    sha256_of,
    write_manifest,
)
from rb2v.shards.exchange.samples import ImportPart, ImportPlan, Progress, ShardPart, Source


@dataclass(frozen=True)
class Packing:
    """How the samples of a shard stand in one file."""

    layout: str
    """Name of the layout."""
    file_name: str
    """Format of the file's name, of ``split`` and ``index``."""
    folder: str
    """Where the files stand, below the folder that is exported to; empty for the folder itself."""
    write: Callable[[Path, Iterable[ShardSample], ShardPart], None]
    """Writes one file."""
    read: Callable[[Path, Manifest], Iterator[ShardSample]]
    """Yields the samples of one file."""


def export_packs(source: Source, out_dir: Path, packing: Packing, executor: Executor, progress: Progress) -> Path:
    """Write one file per shard and the manifest, and return its path; finished files are skipped.

    Parameters
    ----------
    source : Source
        What to export.
    out_dir : Path
        The folder to write.
    packing : Packing
        The kind of file.
    executor : Executor
        Where the files are written.
    progress : callable
        Called with the number of samples written and their total.
    """
    entries: dict[Split, list[ShardEntry]] = {split: [] for split in SPLITS}
    parts, n_done = source.parts, 0
    write = partial(_write_pack, source=source, folder=out_dir / packing.folder, packing=packing)
    for part, entry in zip(parts, executor.map(write, parts), strict=True):
        entries[part.split].append(entry)
        n_done += part.samples
        progress(n_done, len(source.reader))
    splits = {split: SplitEntry(tuple(entries[split]), source.manifest.splits[split].categories) for split in SPLITS}
    return write_manifest(out_dir, dataclasses.replace(source.manifest, splits=splits))


def _write_pack(part: ShardPart, source: Source, folder: Path, packing: Packing) -> ShardEntry:
    path = folder / packing.file_name.format(split=part.split, index=part.index)
    if not path.is_file():
        with whole_file(path) as temporary:
            packing.write(temporary, source.iter_samples(part), part)
    return ShardEntry(path.name, part.samples, path.stat().st_size, sha256_of(path))


def plan_packs(folder: Path, packing: Packing) -> ImportPlan:
    """Plan one shard per file.

    Parameters
    ----------
    folder : Path
        A folder that `export_packs` wrote.
    packing : Packing
        The kind of file.

    Raises
    ------
    InputError
        If the manifest or a file that it lists is missing, or the manifest cannot be used.
    """
    if not manifest_path(folder).is_file():
        expected = f"a folder that 'rb2v export --format {packing.layout}' wrote"
        raise InputError(manifest_path(folder), "there is no such file", expected=expected)
    manifest = read_manifest(folder)
    parts = []
    for split in SPLITS:
        for entry in manifest.splits[split].shards:
            path = folder / packing.folder / entry.file
            # A link could lead to any file of the machine.
            if not path.is_file() or path.is_symlink():
                raise InputError(path, "there is no such file", expected="a file that the manifest lists")
            parts.append(ImportPart(split, entry.samples, partial(_read_pack, path, entry, manifest, packing)))
    provenance = dataclasses.replace(
        manifest.provenance,
        version=__version__,
        config={
            **manifest.provenance.config,
            "import": {"format": packing.layout, "manifest_sha256": sha256_of(manifest_path(folder))},
        },
    )
    return ImportPlan(dataclasses.replace(manifest, splits={}, provenance=provenance), parts)


def _read_pack(path: Path, entry: ShardEntry, manifest: Manifest, packing: Packing) -> Iterator[ShardSample]:
    if (path.stat().st_size, sha256_of(path)) != (entry.bytes, entry.sha256):
        raise InputError(path, "is damaged, or not the file that the manifest lists", "sha256", entry.sha256)
    n_read = 0
    for sample in packing.read(path, manifest):
        n_read += 1
        if n_read > entry.samples:
            break
        yield sample
    if n_read != entry.samples:
        found = "more" if n_read > entry.samples else str(n_read)
        raise InputError(path, f"holds {found} samples", expected=f"{entry.samples} by the manifest")
