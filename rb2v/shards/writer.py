"""Write one shard: the samples of one HDF5 file, readable with plain h5py and ``hdf5plugin``."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from rb2v.artifacts import CATEGORIES, Category
from rb2v.io.hdf5 import create_frames, create_hdf5
from rb2v.io.store import whole_file
from rb2v.shards.manifest import ShardEntry, sha256_of

FRAME_NAMES = ("blurry", "sharp")
TEXT_NAMES = ("take", "subject", "category")
NUMBER_TYPES: dict[str, type[np.generic]] = {
    "blurry_index": np.int64,
    "position": np.int64,
    "psnr": np.float32,
    "color": np.float32,
    "order": np.int8,
}


@dataclass(frozen=True, eq=False)
class ShardSample:
    """A blurry frame, its sharp sequence, and where they come from."""

    blurry: NDArray[np.uint8]
    """(H, W, 3) RGB."""
    sharp: NDArray[np.uint8]
    """(N + 1, H, W, 3) RGB, after the colour map."""
    color: NDArray[np.float32]
    """(3, 4) colour map in linear light."""
    take: str
    subject: str
    category: Category
    blurry_index: int
    """Index of the blurry frame in its video."""
    position: int
    """Fine-track index of ``x_0``."""
    psnr: float
    """PSNR of the colour-mapped synthetic blur against the blurry frame, in dB."""
    order: int = 0
    """+1 keep, -1 reverse, 0 not assigned."""


def write_shard(path: Path, samples: Iterable[ShardSample]) -> ShardEntry:
    """Write samples to one shard, whole or not at all; the same samples give the same bytes.

    Parameters
    ----------
    path : Path
        The file to write.
    samples : iterable of ShardSample
        At least one, all of one size; drawn one at a time.

    Returns
    -------
    ShardEntry
        The shard's line in the manifest.

    Raises
    ------
    ValueError
        If there is no sample, or one is of another shape or type than the first.
    """
    rows: dict[str, list[Any]] = {name: [] for name in (*TEXT_NAMES, *NUMBER_TYPES)}
    n_written = 0
    with whole_file(path) as temporary, create_hdf5(temporary) as file:
        for sample in samples:
            _check_sample(sample)
            for name in FRAME_NAMES:
                frames = getattr(sample, name)
                if n_written == 0:
                    create_frames(file, name, frames.shape)
                dataset = file[name]
                if frames.shape != dataset.shape[1:]:
                    raise ValueError(
                        f"{name} of sample {n_written} is {frames.shape}, of the first {dataset.shape[1:]}"
                    )
                dataset.resize(n_written + 1, axis=0)
                dataset[n_written] = frames
            for name, values in rows.items():
                values.append(getattr(sample, name))
            n_written += 1
        if n_written == 0:
            raise ValueError(f"{path.name}: a shard needs at least one sample")
        for name in TEXT_NAMES:
            file.create_dataset(name, data=rows[name], dtype=h5py.string_dtype("utf-8"))
        for name, dtype in NUMBER_TYPES.items():
            file.create_dataset(name, data=np.array(rows[name], dtype=dtype))
    return ShardEntry(path.name, n_written, path.stat().st_size, sha256_of(path))


def _check_sample(sample: ShardSample) -> None:
    blurry, sharp = sample.blurry, sample.sharp
    if blurry.dtype != np.uint8 or sharp.dtype != np.uint8:
        raise ValueError(f"frames must be uint8, got {blurry.dtype} and {sharp.dtype}")
    if blurry.ndim != 3 or blurry.shape[2] != 3 or sharp.shape[1:] != blurry.shape:
        raise ValueError(f"frames must be (H, W, 3) and (N + 1, H, W, 3), got {blurry.shape} and {sharp.shape}")
    if sample.color.shape != (3, 4):
        raise ValueError(f"color must be (3, 4), got {sample.color.shape}")
    if sample.category not in CATEGORIES:
        raise ValueError(f"{sample.category!r} is not one of {', '.join(CATEGORIES)}")
    if sample.order not in (-1, 0, 1):
        raise ValueError(f"order must be +1, -1 or 0, got {sample.order}")
