"""Write one shard: the samples of one HDF5 file, readable with plain h5py and ``hdf5plugin``."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from rb2v.errors import InputError
from rb2v.io.hdf5 import create_hdf5, open_hdf5, own_dataset
from rb2v.io.store import sha256_of, whole_file
from rb2v.shards.layout import (
    CHECKSUM_NAME,
    FRAME_NAMES,
    MARK_NAME,
    NUMBER_TYPES,
    TEXT_NAMES,
    ShardSample,
    find_lost_rows,
)
from rb2v.shards.manifest import ShardEntry
from rb2v.shards.packing import PackedSample, pack_sample
from rb2v.shards.tiles import append_packed, create_tiles


def ensure_shard(
    path: Path,
    n_samples: int,
    samples: Callable[[], Iterable[ShardSample | PackedSample]],
    known_sha256: str | None = None,
) -> ShardEntry:
    """Write a shard unless an earlier run did, and return its line in the manifest.

    Parameters
    ----------
    path : Path
        The shard. A file that is there is taken over if it is what an earlier run wrote, and written anew otherwise.
    n_samples : int
        How many samples it has.
    samples : callable
        Returns the samples.
    known_sha256 : str, optional
        Digest of the file that the earlier run wrote; where it is not known, every sample is read and compared with its
        checksum.
    """
    if path.is_file():
        entry = _describe(path, n_samples)
        if entry.sha256 == known_sha256 or (known_sha256 is None and _is_sound(path, n_samples)):
            return entry
    return write_shard(path, samples())


def _is_sound(path: Path, n_samples: int) -> bool:
    names = (*FRAME_NAMES, *TEXT_NAMES, *NUMBER_TYPES, CHECKSUM_NAME)
    try:
        with open_hdf5(path, "a shard") as file:
            complete = all(own_dataset(file, name).shape[:1] == (n_samples,) for name in names)
            return complete and not find_lost_rows(file, n_samples)
    except InputError:
        return False


def _describe(path: Path, n_samples: int) -> ShardEntry:
    return ShardEntry(path.name, n_samples, path.stat().st_size, sha256_of(path))


def write_shard(path: Path, samples: Iterable[ShardSample | PackedSample]) -> ShardEntry:
    """Write samples to one shard, whole or not at all; the same samples give the same bytes.

    Parameters
    ----------
    path : Path
        The file to write.
    samples : iterable of ShardSample or PackedSample
        At least one, all of one size; drawn one at a time. Packed ones are written as they are.

    Returns
    -------
    ShardEntry
        The shard's line in the manifest.

    Raises
    ------
    ValueError
        If there is no sample, or one is of another shape or type than the first.
    OSError
        If the system refuses a write, because the disk is full for example.
    """
    rows: dict[str, list[Any]] = {name: [] for name in (*TEXT_NAMES, *NUMBER_TYPES)}
    checksums: list[int] = []
    marks: list[NDArray[np.bool_] | None] = []
    with whole_file(path) as temporary, create_hdf5(temporary) as file:
        for sample in samples:
            packed = sample if isinstance(sample, PackedSample) else pack_sample(sample)
            for name in FRAME_NAMES:
                shape = packed.shapes[name]
                dataset = file[name] if checksums else create_tiles(file, name, shape)
                if shape != dataset.shape[1:]:
                    raise ValueError(f"{name} of sample {len(checksums)} is {shape}, of the first {dataset.shape[1:]}")
                append_packed(dataset, packed.tiles[name])
            for name, values in rows.items():
                values.append(packed.values[name])
            marks.append(packed.is_interpolated)
            if (marks[-1] is None) != (marks[0] is None):
                raise ValueError(f"sample {len(marks) - 1} says of no frame whether it is interpolated, or alone does")
            checksums.append(packed.checksum)
        if not checksums:
            raise ValueError(f"{path.name}: a shard needs at least one sample")
        for name in TEXT_NAMES:
            file.create_dataset(name, data=rows[name], dtype=h5py.string_dtype("utf-8"))
        for name, dtype in NUMBER_TYPES.items():
            file.create_dataset(name, data=np.array(rows[name], dtype=dtype))
        if marks[0] is not None:
            file.create_dataset(MARK_NAME, data=np.array(marks, dtype=np.uint8))
        file.create_dataset(CHECKSUM_NAME, data=np.array(checksums, dtype=np.uint32))
    return _describe(path, len(checksums))
