"""Read a folder of shards sample by sample, from any number of processes."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rb2v.artifacts import CATEGORIES, SPLITS, Split
from rb2v.errors import InputError, require_file
from rb2v.io.hdf5 import naming_damage, open_hdf5, own_dataset
from rb2v.shards.epoch_order import CropPosition, CropSlices, check_crop, draw_order, place_crop
from rb2v.shards.layout import LATER_NAMES, MARK_NAME, NUMBER_TYPES, TEXT_NAMES, ShardSample, check_layout, names_in
from rb2v.shards.manifest import LISTED_SHARD, Manifest, ShardEntry, path_within, read_manifest

TABLE_COLUMNS = (
    "take",
    "subject",
    "category",
    "blurry_index",
    "position",
    "psnr",
    "order",
    "composite_psnr",
    "shard",
    "row",
)
MAX_OPEN_SHARDS = 64
"""Shards that a process keeps open; the one that was not read for the longest time is closed for another."""


class ShardReader:
    """Samples of a folder of shards, by index.

    The shards are checked when the reader is made, and opened when a process first reads from them; the reader can be
    pickled, and works in forked and spawned workers.

    Parameters
    ----------
    folder : str or path
        A folder that ``rb2v build-shards`` wrote.
    split : {"train", "test"}, optional
        The split to read; both where it is None, train first.

    Raises
    ------
    InputError
        If the manifest is missing, malformed or of another schema, or a shard is missing, cut short, or holds
        something else than the manifest says.
    """

    def __init__(self, folder: str | PathLike[str], split: Split | None = None) -> None:
        if split is not None and split not in SPLITS:
            raise InputError(folder, f"{split!r} is not a split", expected=" or ".join(SPLITS))
        self.folder = Path(folder)
        self.split = split
        self.manifest: Manifest = read_manifest(self.folder)
        entries = [entry for name in ([split] if split else SPLITS) for entry in self.manifest.splits[name].shards]
        tables = [read_table(self.folder, entry, self.manifest) for entry in entries]
        self.table: pd.DataFrame = (
            pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=list(TABLE_COLUMNS))
        )
        self.shard_sizes: tuple[int, ...] = tuple(entry.samples for entry in entries)
        """Samples of each shard, in the order of ``table``."""
        # Plain lists: looking one value up in a data frame takes longer than reading a small frame.
        self._shards: list[str] = self.table["shard"].tolist()
        self._rows: list[int] = self.table["row"].tolist()
        self._opened: OrderedDict[str, _OpenShard] = OrderedDict()
        self._pid = os.getpid()

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self._rows)

    @property
    def keys(self) -> list[tuple[Split, str, int]]:
        """Split, take and index of the blurry frame of every sample, by which tables beside the shards name it."""
        split_of = {entry.file: split for split in SPLITS for entry in self.manifest.splits[split].shards}
        splits = [split_of[shard] for shard in self._shards]
        return list(zip(splits, self.table["take"].tolist(), self.table["blurry_index"].tolist(), strict=True))

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_opened": OrderedDict()}

    def read(self, index: int, crop: CropSlices | None = None) -> ShardSample:
        """Return a sample.

        Parameters
        ----------
        index : int
            A row of ``table``.
        crop : (slice, slice), optional
            Rows and columns of its frames to return.

        Raises
        ------
        IndexError
            If there is no such sample.
        InputError
            If it is damaged.
        """
        shard, row = self._locate(index)
        return ShardSample(
            blurry=self.read_blurry(index, crop),
            sharp=self.read_sharp(index, crop=crop),
            color=shard.read("color", row),
            is_interpolated=self.read_marks(index),
            **{name: shard.read(name, row) for name in TEXT_NAMES},
            **{name: shard.read(name, row).item() for name in shard.plain_numbers},
        )

    def read_marks(self, index: int) -> NDArray[np.bool_] | None:
        """Return whether each sharp frame of a sample is interpolated.

        Parameters
        ----------
        index : int
            A row of ``table``.

        Returns
        -------
        (N + 1,) ndarray of bool or None
            None where the data set does not say it.

        Raises
        ------
        IndexError
            If there is no such sample.
        InputError
            If it is damaged.
        """
        shard, row = self._locate(index)
        return np.asarray(shard.read(MARK_NAME, row), dtype=bool) if shard.has_marks else None

    def read_blurry(
        self, index: int, crop: CropSlices | None = None, *, out: NDArray[np.uint8] | None = None
    ) -> NDArray[np.uint8]:
        """Return the blurry frame of a sample.

        Parameters
        ----------
        index : int
            A row of ``table``.
        crop : (slice, slice), optional
            Rows and columns to return; no more is decoded than the tiles they touch.
        out : (h, w, 3) ndarray of uint8, optional
            Contiguous memory to read into, which spares making it.

        Returns
        -------
        (h, w, 3) ndarray of uint8
            RGB.

        Raises
        ------
        IndexError
            If there is no such sample.
        InputError
            If it is damaged.
        ValueError
            If the crop has steps, or ``out`` is of another shape or type.
        """
        shard, row = self._locate(index)
        self._check_request(crop, out, ())
        return shard.read_frames("blurry", (row, *(crop or (slice(None), slice(None)))), out)

    def read_sharp(
        self,
        index: int,
        frames: Sequence[int] | None = None,
        crop: CropSlices | None = None,
        *,
        out: NDArray[np.uint8] | None = None,
    ) -> NDArray[np.uint8]:
        """Return sharp frames of a sample.

        Parameters
        ----------
        index : int
            A row of ``table``.
        frames : sequence of int, optional
            Which of ``x_0 ... x_N``, in any order; all where it is None.
        crop : (slice, slice), optional
            Rows and columns to return; no more is decoded than the tiles they touch.
        out : (N + 1, h, w, 3) ndarray of uint8, optional
            Contiguous memory to read all frames into, which spares making it.

        Returns
        -------
        (k, h, w, 3) ndarray of uint8
            RGB.

        Raises
        ------
        IndexError
            If there is no such sample or frame.
        InputError
            If it is damaged.
        ValueError
            If the crop has steps, or ``out`` is of another shape or type.
        """
        shard, row = self._locate(index)
        for frame in frames or ():
            if not 0 <= frame < self.manifest.frames_per_sequence:
                raise IndexError(f"sharp frame {frame} of {self.manifest.frames_per_sequence}")
        self._check_request(crop, out, (self.manifest.frames_per_sequence,))
        # All of them at once: a tile holds all frames, and would else be decoded for every one.
        sharp = shard.read_frames("sharp", (row, slice(None), *(crop or (slice(None), slice(None)))), out)
        return sharp if frames is None else sharp[list(frames)]

    def iterate(
        self,
        *,
        crop: int | tuple[int, int] | None = None,
        crop_position: CropPosition = "random",
        seed: int = 0,
        epoch: int = 0,
        shuffle: bool = True,
        window: int | None = None,
        start: int = 0,
    ) -> Iterator[ShardSample]:
        """Yield the samples of one epoch, in the order and with the crops that ``ShardDataset`` has for the same seed.

        Parameters
        ----------
        crop : int or (int, int), optional
            Side of a square, or height and width, of a crop in pixels; whole frames where it is None.
        crop_position : {"random", "center"}
            Where the crop lies.
        seed, epoch : int
            What order and crops depend on.
        shuffle : bool
            Whether to mix the samples.
        window : int, optional
            Shards among which samples are mixed, see `draw_order`; all where it is None.
        start : int
            Samples to leave out at the beginning: those that were read before.

        Raises
        ------
        InputError
            If the crop is larger than the frames, or a sample is damaged.
        Rb2vError
            If another argument is out of range.

        Examples
        --------
        >>> for sample in ShardReader("shards", "train").iterate(crop=256, seed=1):  # doctest: +SKIP
        ...     sample.blurry, sample.sharp
        """
        size = self.manifest.output_size
        checked = check_crop(str(self.folder), crop, crop_position, size)
        order = draw_order(self.shard_sizes, seed=seed, epoch=epoch, shuffle=shuffle, window=window)
        if not 0 <= start <= len(order):
            raise InputError(self.folder, f"there is no sample {start} to start at", "start", f"0 to {len(order)}")
        # The arguments are checked now, and not when the first sample is asked for.
        return (
            self.read(index, place_crop(checked, crop_position, size, seed=seed, epoch=epoch, index=index))
            for index in order[start:].tolist()
        )

    def _check_request(self, crop: CropSlices | None, out: NDArray[np.uint8] | None, leading: tuple[int, ...]) -> None:
        """Check what the caller asks for, before a failure is taken for the file's."""
        width, height = self.manifest.output_size
        rows, columns = crop or (slice(None), slice(None))
        if any(part.step not in (None, 1) for part in (rows, columns)):
            raise ValueError(f"a crop has no steps, got {crop}")
        shape = (*leading, *(len(range(*part.indices(n))) for part, n in ((rows, height), (columns, width))), 3)
        if out is not None and (out.shape != shape or out.dtype != np.uint8):
            raise ValueError(f"out must be {shape} of uint8, got {out.shape} of {out.dtype}")

    def _locate(self, index: int) -> tuple[_OpenShard, int]:
        if not 0 <= index < len(self):
            raise IndexError(f"sample {index} of {len(self)}")
        if self._pid != os.getpid():
            # An HDF5 handle inherited through a fork shares its file position and caches with the parent's.
            self._opened, self._pid = OrderedDict(), os.getpid()
        name = self._shards[index]
        if name not in self._opened:
            while len(self._opened) >= MAX_OPEN_SHARDS:
                self._opened.popitem(last=False)[1].file.close()
            self._opened[name] = _OpenShard(open_hdf5(path_within(self.folder, name), LISTED_SHARD))
        self._opened.move_to_end(name)
        return self._opened[name], self._rows[index]


class _OpenShard:
    """An open file and its data sets: to look one up takes as long as to decode a small frame."""

    def __init__(self, file: h5py.File) -> None:
        self.file = file
        self.plain_numbers = tuple(name for name in names_in(file) if name in NUMBER_TYPES and name != "color")
        with naming_damage(file, "/"):
            self.has_marks = MARK_NAME in file
        self._datasets: dict[str, h5py.Dataset] = {}

    def read(self, name: str, *selection: int | slice) -> Any:  # noqa: ANN401 - text, number or array
        dataset = self._dataset(name)
        with naming_damage(self.file, name):
            return (dataset.asstr() if name in TEXT_NAMES else dataset)[selection]

    def read_frames(
        self, name: str, selection: tuple[int | slice, ...], out: NDArray[np.uint8] | None
    ) -> NDArray[np.uint8]:
        if out is None:
            return np.asarray(self.read(name, *selection), dtype=np.uint8)
        dataset = self._dataset(name)
        with naming_damage(self.file, name):
            dataset.read_direct(out, selection)
        return out

    def _dataset(self, name: str) -> h5py.Dataset:
        if name not in self._datasets:
            self._datasets[name] = own_dataset(self.file, name)
        return self._datasets[name]


def read_table(folder: Path, entry: ShardEntry, manifest: Manifest) -> pd.DataFrame:
    """Return the samples of one shard, with `TABLE_COLUMNS`; no frame is read.

    Raises
    ------
    InputError
        If the file is missing, cut short, or holds something else than the manifest says.
    """
    path = path_within(folder, entry.file)
    require_file(path, LISTED_SHARD)
    if path.stat().st_size != entry.bytes:
        raise InputError(path, f"has {path.stat().st_size} bytes", expected=f"{entry.bytes} bytes by the manifest")
    with open_hdf5(path, LISTED_SHARD) as file, naming_damage(file, "samples"):
        check_layout(file, path, entry.samples, manifest)
        shard = _OpenShard(file)
        columns = {name: shard.read(name) for name in (*TEXT_NAMES, *shard.plain_numbers)}
    for name in sorted(set(columns["category"]) - set(CATEGORIES)):
        raise InputError(path, f"{name!r} is not a category", "category", ", ".join(CATEGORIES))
    if not np.isin(columns["order"], (-1, 0, 1)).all():
        raise InputError(path, "holds another value", "order", "+1, -1 or 0")
    lacking = {name: np.full(entry.samples, np.nan, NUMBER_TYPES[name]) for name in LATER_NAMES if name not in columns}
    table = pd.DataFrame({**columns, **lacking, "shard": entry.file, "row": np.arange(entry.samples)})
    return table[list(TABLE_COLUMNS)]
