"""Read a folder of shards sample by sample, from any number of processes."""

from __future__ import annotations

import os
from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rb2v.artifacts import CATEGORIES, SPLITS, Split
from rb2v.errors import InputError
from rb2v.io.hdf5 import naming_damage, open_hdf5, own_dataset
from rb2v.shards.manifest import Manifest, ShardEntry, read_manifest
from rb2v.shards.writer import FRAME_NAMES, NUMBER_TYPES, TEXT_NAMES, ShardSample

TABLE_COLUMNS = ("take", "subject", "category", "blurry_index", "position", "psnr", "order", "shard", "row")

_EXPECTED = "a shard that the manifest lists"

CropSlices = tuple[slice, slice]


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
            raise InputError(folder, f"{split!r} is no split", expected=" or ".join(SPLITS))
        self.folder = Path(folder)
        self.split = split
        self.manifest: Manifest = read_manifest(self.folder)
        entries = [entry for name in ([split] if split else SPLITS) for entry in self.manifest.splits[name].shards]
        tables = [_read_table(self.folder, entry, self.manifest) for entry in entries]
        self.table: pd.DataFrame = (
            pd.concat(tables, ignore_index=True) if tables else pd.DataFrame(columns=list(TABLE_COLUMNS))
        )
        # Plain arrays: looking one value up in a data frame takes longer than reading a small frame.
        self._shards: list[str] = self.table["shard"].tolist()
        self._rows: list[int] = self.table["row"].tolist()
        self._files: dict[str, h5py.File] = {}
        self._pid = os.getpid()

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self._rows)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_files": {}}

    def read(self, index: int) -> ShardSample:
        """Return a sample.

        Parameters
        ----------
        index : int
            A row of ``table``.

        Raises
        ------
        IndexError
            If there is no such sample.
        InputError
            If it is damaged.
        """
        file, row = self._locate(index)
        return ShardSample(
            blurry=_read_part(file, "blurry", row),
            sharp=_read_part(file, "sharp", row),
            color=_read_part(file, "color", row),
            **{name: _read_part(file, name, row) for name in TEXT_NAMES},
            **{name: _read_part(file, name, row).item() for name in NUMBER_TYPES if name != "color"},
        )

    def read_blurry(self, index: int, crop: CropSlices | None = None) -> NDArray[np.uint8]:
        """Return the blurry frame of a sample.

        Parameters
        ----------
        index : int
            A row of ``table``.
        crop : (slice, slice), optional
            Rows and columns to return.

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
        """
        file, row = self._locate(index)
        rows, columns = crop or (slice(None), slice(None))
        return np.asarray(_read_part(file, "blurry", row, rows, columns), dtype=np.uint8)

    def read_sharp(
        self, index: int, frames: Sequence[int] | None = None, crop: CropSlices | None = None
    ) -> NDArray[np.uint8]:
        """Return sharp frames of a sample.

        Parameters
        ----------
        index : int
            A row of ``table``.
        frames : sequence of int, optional
            Which of ``x_0 ... x_N``, in any order; all where it is None.
        crop : (slice, slice), optional
            Rows and columns to return.

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
        """
        file, row = self._locate(index)
        rows, columns = crop or (slice(None), slice(None))
        if frames is None:
            return np.asarray(_read_part(file, "sharp", row, slice(None), rows, columns), dtype=np.uint8)
        for frame in frames:
            if not 0 <= frame < self.manifest.frames_per_sequence:
                raise IndexError(f"sharp frame {frame} of {self.manifest.frames_per_sequence}")
        # One by one: a chunk is one frame, and HDF5 can take neither repeated nor unsorted indices.
        parts = [_read_part(file, "sharp", row, frame, rows, columns) for frame in frames]
        return np.stack([np.asarray(part, dtype=np.uint8) for part in parts])

    def _locate(self, index: int) -> tuple[h5py.File, int]:
        if not 0 <= index < len(self):
            raise IndexError(f"sample {index} of {len(self)}")
        if self._pid != os.getpid():
            # An HDF5 handle inherited through a fork shares its file position and caches with the parent's.
            self._files, self._pid = {}, os.getpid()
        name = self._shards[index]
        if name not in self._files:
            self._files[name] = open_hdf5(self.folder / name, _EXPECTED)
        return self._files[name], self._rows[index]


def _read_part(file: h5py.File, name: str, *selection: int | slice) -> Any:  # noqa: ANN401 - text, number or array
    with naming_damage(file, name):
        dataset = file[name]
        return (dataset.asstr() if name in TEXT_NAMES else dataset)[selection]


def _read_table(folder: Path, entry: ShardEntry, manifest: Manifest) -> pd.DataFrame:
    path = folder / entry.file
    if not path.is_file():
        raise InputError(path, "there is no such file", expected=_EXPECTED)
    if path.stat().st_size != entry.bytes:
        raise InputError(path, f"has {path.stat().st_size} bytes", expected=f"{entry.bytes} bytes by the manifest")
    with open_hdf5(path, _EXPECTED) as file:
        _check_layout(file, path, entry.samples, manifest)
        columns = {name: _read_part(file, name) for name in (*TEXT_NAMES, *NUMBER_TYPES) if name != "color"}
    for name in sorted(set(columns["category"]) - set(CATEGORIES)):
        raise InputError(path, f"{name!r} is not a category", "category", ", ".join(CATEGORIES))
    if not np.isin(columns["order"], (-1, 0, 1)).all():
        raise InputError(path, "holds another value", "order", "+1, -1 or 0")
    return pd.DataFrame({**columns, "shard": entry.file, "row": np.arange(entry.samples)})[list(TABLE_COLUMNS)]


def _check_layout(file: h5py.File, path: Path, n_samples: int, manifest: Manifest) -> None:
    width, height = manifest.output_size
    shapes: dict[str, tuple[int, ...]] = {
        "blurry": (n_samples, height, width, 3),
        "sharp": (n_samples, manifest.frames_per_sequence, height, width, 3),
        "color": (n_samples, 3, 4),
    }
    for name in (*FRAME_NAMES, *TEXT_NAMES, *NUMBER_TYPES):
        dataset = own_dataset(file, name)
        shape = shapes.get(name, (n_samples,))
        if dataset.shape != shape:
            raise InputError(path, f"has the shape {dataset.shape}", name, expected=str(shape))
        if not _has_type(dataset, name):
            raise InputError(path, f"has the type {dataset.dtype}", name, expected=_type_name(name))


def _has_type(dataset: h5py.Dataset, name: str) -> bool:
    if name in TEXT_NAMES:
        text = h5py.check_string_dtype(dataset.dtype)
        return text is not None and text.encoding == "utf-8"
    return bool(dataset.dtype == np.dtype(NUMBER_TYPES.get(name, np.uint8)))


def _type_name(name: str) -> str:
    return "utf-8 text" if name in TEXT_NAMES else np.dtype(NUMBER_TYPES.get(name, np.uint8)).name
