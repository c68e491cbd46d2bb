"""Layout of a shard: the names, types and shapes of its data sets, and the checksum of a sample."""

from __future__ import annotations

import math
import zlib
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path

import h5py
import numpy as np
from numpy.typing import NDArray

from rb2v.artifacts import CATEGORIES, Category
from rb2v.errors import InputError
from rb2v.io.hdf5 import naming_damage, own_dataset
from rb2v.shards.manifest import MAX_SAMPLE_BYTES, Manifest

FRAME_NAMES = ("blurry", "sharp")
TEXT_NAMES = ("take", "subject", "category")
NUMBER_TYPES: dict[str, type[np.generic]] = {
    "blurry_index": np.int64,
    "position": np.int64,
    "psnr": np.float32,
    "color": np.float32,
    "order": np.int8,
    "composite_psnr": np.float32,
}
LATER_NAMES = ("composite_psnr",)
"""Numbers that shards of versions before 0.4 lack; they are then not a number, and no part of the checksum."""
MARK_NAME = "is_interpolated"
"""Marks of sharp frames, uint8 (n, N + 1); only in shards whose samples say it, and then part of the checksum."""
CHECKSUM_NAME = "checksum"
"""CRC-32 of each sample; shards of versions before 0.3 have none."""


@dataclass(frozen=True, eq=False)
class ShardSample:
    """A blurry frame, its sharp sequence, and where they come from."""

    blurry: NDArray[np.uint8]
    """(H, W, 3) RGB."""
    sharp: NDArray[np.uint8]
    """(N + 1, H, W, 3) RGB, after the color map."""
    color: NDArray[np.float32]
    """(3, 4) color map in linear light."""
    take: str
    subject: str
    category: Category
    blurry_index: int
    """Index of the blurry frame in its video."""
    position: int
    """Fine-track index of ``x_0``."""
    psnr: float
    """PSNR of the color-mapped synthetic blur against the blurry frame, in dB."""
    order: int = 0
    """+1 keep, -1 reverse, 0 not assigned."""
    composite_psnr: float = math.nan
    """PSNR, in dB, in linear light, of the mean of the sharp frames against the blurry one, both as they are stored,
    where a green screen was replaced behind them; NaN where none was."""
    is_interpolated: NDArray[np.bool_] | None = None
    """(N + 1,) whether each sharp frame lies between recorded ones; None where it is not known."""


def check_sample(sample: ShardSample) -> None:
    """Check the types, shapes and values of a sample that is to be written.

    Raises
    ------
    ValueError
        If one is not what a shard holds.
    """
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
    marks = sample.is_interpolated
    if marks is not None and (marks.dtype != np.bool_ or marks.shape != sharp.shape[:1]):
        raise ValueError(f"is_interpolated must be ({len(sharp)},) of bool, got {marks.shape} of {marks.dtype}")


def names_in(file: h5py.File) -> tuple[str, ...]:
    """Return the names of the data sets that a shard should have, apart from the marks and the checksums.

    Raises
    ------
    InputError
        If the file is damaged.
    """
    with naming_damage(file, "/"):
        lacking = [name for name in LATER_NAMES if name not in file]
    return tuple(name for name in (*FRAME_NAMES, *TEXT_NAMES, *NUMBER_TYPES) if name not in lacking)


def sample_checksum(sample: ShardSample, numbers: Collection[str] = tuple(NUMBER_TYPES)) -> int:
    """Return the CRC-32 of all that a shard holds of a sample.

    It runs over the frames, the texts as UTF-8, each ended by a NUL, the numbers, little-endian, in the order of the
    shard's data sets, and the marks of interpolated frames, where there are some.

    Parameters
    ----------
    sample : ShardSample
        The sample.
    numbers : collection of str
        Names of the numbers that the shard holds.
    """
    checksum = 0
    for name in FRAME_NAMES:
        checksum = zlib.crc32(np.ascontiguousarray(getattr(sample, name)).data, checksum)
    for name in TEXT_NAMES:
        checksum = zlib.crc32(getattr(sample, name).encode() + b"\0", checksum)
    for name, dtype in NUMBER_TYPES.items():
        if name not in numbers:
            continue
        little_endian = np.dtype(dtype).newbyteorder("<")
        checksum = zlib.crc32(np.ascontiguousarray(getattr(sample, name), dtype=little_endian).data, checksum)
    if sample.is_interpolated is not None:
        checksum = zlib.crc32(sample.is_interpolated.astype(np.uint8).data, checksum)
    return checksum


def find_lost_rows(file: h5py.File, n_samples: int) -> tuple[int, ...]:
    """Return the rows of a shard whose samples cannot be read, or do not have their checksums."""
    return tuple(row for row in range(n_samples) if not _is_sound(file, row))


def _is_sound(file: h5py.File, row: int) -> bool:
    try:
        values = {name: (file[name].asstr() if name in TEXT_NAMES else file[name])[row] for name in names_in(file)}
        marks = file[MARK_NAME][row].astype(bool) if MARK_NAME in file else None
        if CHECKSUM_NAME not in file:
            return True
        return bool(sample_checksum(ShardSample(**values, is_interpolated=marks), values) == file[CHECKSUM_NAME][row])
    except (OSError, RuntimeError, LookupError, TypeError, ValueError, MemoryError):
        return False


def check_layout(file: h5py.File, path: Path, n_samples: int, manifest: Manifest) -> None:
    """Check that a shard has the data sets, shapes and types that its manifest calls for.

    Raises
    ------
    InputError
        Naming the first data set that is missing, stored elsewhere, or another.
    """
    width, height = manifest.output_size
    shapes: dict[str, tuple[int, ...]] = {
        "blurry": (n_samples, height, width, 3),
        "sharp": (n_samples, manifest.frames_per_sequence, height, width, 3),
        "color": (n_samples, 3, 4),
        MARK_NAME: (n_samples, manifest.frames_per_sequence),
    }
    optional = tuple(name for name in (MARK_NAME, CHECKSUM_NAME) if name in file)
    for name in (*names_in(file), *optional):
        dataset = own_dataset(file, name)
        shape = shapes.get(name, (n_samples,))
        if dataset.shape != shape:
            raise InputError(path, f"has the shape {dataset.shape}", name, expected=str(shape))
        if not _has_type(dataset, name):
            raise InputError(path, f"has the type {dataset.dtype}", name, expected=_type_name(name))
        if dataset.chunks is not None and math.prod(dataset.chunks) * dataset.dtype.itemsize > MAX_SAMPLE_BYTES:
            raise InputError(path, f"has chunks of {dataset.chunks}", name, f"at most {MAX_SAMPLE_BYTES} bytes a chunk")


def _has_type(dataset: h5py.Dataset, name: str) -> bool:
    if name in TEXT_NAMES:
        text = h5py.check_string_dtype(dataset.dtype)
        return text is not None and text.encoding == "utf-8"
    return bool(dataset.dtype == _number_type(name))


def _number_type(name: str) -> np.dtype[np.generic]:
    return np.dtype(np.uint32 if name == CHECKSUM_NAME else NUMBER_TYPES.get(name, np.uint8))


def _type_name(name: str) -> str:
    return "utf-8 text" if name in TEXT_NAMES else _number_type(name).name
