"""Layouts that keep each shard as one file of another kind, beside a manifest like that of the shards."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path, PurePosixPath

from rb2v import __version__
from rb2v.artifacts import SPLITS, Split
from rb2v.errors import InputError, require_file
from rb2v.execution import Executor
from rb2v.io.store import whole_file
from rb2v.progress import Count
from rb2v.shards import (
    ShardEntry,
    ShardSample,
    SplitEntry,
    manifest_path,
    read_manifest,
    sha256_of,
    write_manifest,
)
from rb2v.shards.exchange.samples import (
    ImportPart,
    ImportPlan,
    ShardPart,
    Source,
    find_inside,
)
from rb2v.shards.layout import sample_checksum
from rb2v.shards.manifest import read_digests


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
    read: Callable[[Path, tuple[int, int], int], Iterator[ShardSample]]
    """Yields the samples of one file, given width and height of the frames, and the sharp frames of a sample."""
    read_subjects: Callable[[Path], frozenset[str]]
    """Returns the subjects in one file, without a look at the frames."""


def export_packs(source: Source, out_dir: Path, packing: Packing, executor: Executor, progress: Count) -> Path:
    """Write one file per shard and the manifest, and return its path; files that are whole are skipped.

    A file is whole if it has the digest that the manifest of an earlier run gives, or, where that run was interrupted
    before, if reading it gives the very samples of the shard.

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
    known = read_digests(out_dir)
    items = []
    for part in parts:
        name = packing.file_name.format(split=part.split, index=part.index)
        items.append((part, out_dir / packing.folder / name, known.get(name)))
    manifest = source.manifest
    write = partial(_write_pack, packing, manifest.output_size, manifest.frames_per_sequence)
    for part, entry in zip(parts, executor.map(write, items), strict=True):
        entries[part.split].append(entry)
        n_done += part.samples
        progress(n_done, len(source.reader))
    splits = {split: SplitEntry(tuple(entries[split]), source.manifest.splits[split].categories) for split in SPLITS}
    return write_manifest(out_dir, dataclasses.replace(source.manifest, splits=splits))


def _write_pack(
    packing: Packing, size: tuple[int, int], n_sharp: int, item: tuple[ShardPart, Path, str | None]
) -> ShardEntry:
    part, path, known_sha256 = item
    if path.is_file():
        sha256 = sha256_of(path)
        whole = _holds(packing.read(path, size, n_sharp), part) if known_sha256 is None else sha256 == known_sha256
        if whole:
            return ShardEntry(path.name, part.samples, path.stat().st_size, sha256)
    with whole_file(path) as temporary:
        packing.write(temporary, part.read(), part)
    return ShardEntry(path.name, part.samples, path.stat().st_size, sha256_of(path))


def _holds(samples: Iterator[ShardSample], part: ShardPart) -> bool:
    expected = part.read()
    while True:
        # The shard outside of the block: what is wrong with it is an error of the export.
        wanted = next(expected, None)
        try:
            found = next(samples, None)
        except InputError:
            return False
        if wanted is None or found is None:
            return wanted is found
        if sample_checksum(found) != sample_checksum(wanted):
            return False


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
        If the manifest or a file that it lists is missing or outside the folder, or the manifest cannot be used.
    """
    require_file(manifest_path(folder), f"a folder that 'rb2v export --format {packing.layout}' wrote")
    find_inside(folder, manifest_path(folder).name)
    manifest = read_manifest(folder)
    size, n_sharp = manifest.output_size, manifest.frames_per_sequence
    parts = []
    for split in SPLITS:
        for entry in manifest.splits[split].shards:
            path = find_inside(folder, str(PurePosixPath(packing.folder, entry.file)))
            read = partial(_read_pack, path, entry, size, n_sharp, packing)
            parts.append(ImportPart(split, entry.samples, read, partial(packing.read_subjects, path)))
    provenance = dataclasses.replace(
        manifest.provenance,
        version=__version__,
        config={
            **manifest.provenance.config,
            "import": {"format": packing.layout, "manifest_sha256": sha256_of(manifest_path(folder))},
        },
    )
    return ImportPlan(dataclasses.replace(manifest, splits={}, provenance=provenance), parts)


def _read_pack(
    path: Path, entry: ShardEntry, size: tuple[int, int], n_sharp: int, packing: Packing
) -> Iterator[ShardSample]:
    if (path.stat().st_size, sha256_of(path)) != (entry.bytes, entry.sha256):
        raise InputError(path, "is damaged, or not the file that the manifest lists", "sha256", entry.sha256)
    n_read = 0
    for sample in packing.read(path, size, n_sharp):
        n_read += 1
        if n_read > entry.samples:
            break
        yield sample
    if n_read != entry.samples:
        found = "more" if n_read > entry.samples else str(n_read)
        raise InputError(path, f"holds {found} samples", expected=f"{entry.samples} by the manifest")
