"""Motion guidance of samples, in a table beside the shards."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
from numpy.typing import NDArray

from rb2v import __version__
from rb2v.artifacts import SPLITS, Split
from rb2v.core.motion_classes import CLASS_NAMES, N_CLASSES, STATIC, half_size, resample
from rb2v.errors import InputError
from rb2v.io.hdf5 import create_hdf5, naming_damage, open_hdf5, own_dataset
from rb2v.io.store import SCHEMA, sha256_of, whole_file
from rb2v.shards.epoch_order import CropSlices
from rb2v.shards.manifest import manifest_path
from rb2v.shards.reader import ShardReader

KIND = "guidance"
_EXPECTED = "the table that 'rb2v guidance' writes"
_OF_THIS_DATA_SET = "guidance of this data set"
_COMPRESSION = {"compression": "gzip", "compression_opts": 4, "shuffle": False, "fletcher32": True}
"""Plain h5py reads it; level 9 saves 3 % more of maps that take 1 bit a pixel already."""

_MAX_KEPT_BYTES = 2**28  # 5,000 maps of frames of 448x448, or 100,000 of 96x96

Key = tuple[Split, str, int]
"""Split, take and index of the blurry frame."""


@dataclass(frozen=True)
class GuidanceSource:
    """Origin of the guidance in a table."""

    method: str
    """``dis``, ``raft``, ``truth``, ``flow`` or ``trend`` files, or ``imported``."""
    static_px: float
    """Motion over a whole sequence, in pixels of the frame, below which a pixel is static; NaN where not known."""
    weights_sha256: str = ""
    """Of the network that estimated the flow."""


def write_guidance(
    path: Path, shards_dir: Path, source: GuidanceSource, rows: Iterable[tuple[Key, NDArray[np.uint8]]]
) -> Path:
    """Write a table of guidance, atomically; the same rows give the same bytes.

    Parameters
    ----------
    path : Path
        The table to write; a table of guidance that is there is replaced.
    shards_dir : Path
        The data set.
    source : GuidanceSource
        Where the guidance comes from.
    rows : iterable of (Key, (h, w) ndarray of uint8)
        Samples and their classes at half the frame's size (`rb2v.core.motion_classes.half_size`), drawn one at a time.

    Raises
    ------
    InputError
        If ``path`` holds something else than guidance.
    """
    check_guidance_path(path)
    keys: list[Key] = []
    moving: list[float] = []
    with whole_file(path) as temporary, create_hdf5(temporary) as file:
        dataset: h5py.Dataset | None = None
        for key, classes in rows:
            if dataset is None:
                dataset = file.create_dataset(
                    "classes",
                    (0, *classes.shape),
                    np.uint8,
                    maxshape=(None, *classes.shape),
                    chunks=(1, *classes.shape),
                    **_COMPRESSION,
                )
            dataset.resize(len(keys) + 1, axis=0)
            dataset[len(keys)] = classes
            keys.append(key)
            moving.append(float(np.mean(classes != STATIC)))
        if dataset is None:
            raise ValueError(f"{path.name}: guidance of no sample")
        for place, name in enumerate(("split", "take")):
            file.create_dataset(name, data=[str(key[place]) for key in keys], dtype=h5py.string_dtype("utf-8"))
        file.create_dataset("blurry_index", data=np.array([key[2] for key in keys], dtype=np.int64))
        file.create_dataset("moving", data=np.array(moving, dtype=np.float32))
        attributes: dict[str, Any] = {
            "schema": SCHEMA,
            "kind": KIND,
            "version": __version__,
            "data_sha256": sha256_of(manifest_path(shards_dir)),
            "classes": ",".join(CLASS_NAMES),
            "method": source.method,
            "static_px": source.static_px,
            "weights_sha256": source.weights_sha256,
        }
        for name, value in attributes.items():
            file.attrs[name] = value
    return path


def check_guidance_path(path: Path) -> None:
    """Check that a table of guidance can be written without replacing something else.

    Raises
    ------
    InputError
        If a folder or another file is there.
    """
    expected = "a new file, or a table of guidance to replace"
    if path.is_dir():
        raise InputError(path, "is a folder", expected=expected)
    if path.exists():
        try:
            with open_hdf5(path, expected) as file:
                is_guidance = file.attrs.get("kind") == KIND
        except InputError:
            is_guidance = False
        if not is_guidance:
            raise InputError(path, "exists and is not guidance", expected=expected)


class GuidanceReader:
    """Guidance of the samples of a `ShardReader`, by the reader's index.

    Parameters
    ----------
    path : Path
        A table that `write_guidance` wrote.
    reader : ShardReader
        The samples; each has to have guidance.

    Raises
    ------
    InputError
        If the file is missing, damaged, no such table or of another data set or class order, or a sample has no
        guidance or two.
    """

    def __init__(self, path: Path, reader: ShardReader) -> None:
        self.path = path
        self._frame_size = reader.manifest.output_size
        with open_hdf5(path, _EXPECTED) as file, naming_damage(file, "classes"):
            self.source = _read_source(file, path, reader)
            columns = [own_dataset(file, name) for name in ("split", "take", "blurry_index")]
            texts = [columns[0].asstr()[()].tolist(), columns[1].asstr()[()].tolist(), columns[2][()].tolist()]
            shape = own_dataset(file, "classes").shape
        width, height = self._frame_size
        if shape[1:] != half_size(height, width) or any(len(column) != shape[0] for column in texts):
            expected = f"{len(texts[0])} maps of {'x'.join(map(str, half_size(height, width)[::-1]))}"
            raise InputError(path, f"has the shape {shape}", "classes", expected)
        self._maps: NDArray[np.uint8] | None = None
        self._rows = _find_rows(path, list(zip(*texts, strict=True)), reader)

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self._rows)

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_maps": None}

    def read(self, index: int) -> NDArray[np.uint8]:
        """Return a sample's classes at half the frame's size, (h, w) ndarray of uint8.

        Tables of up to 256 MiB are kept in memory from the first read on.

        Raises
        ------
        InputError
            If they are damaged.
        """
        row = self._rows[index]
        if self._maps is not None:
            return np.asarray(self._maps[row], dtype=np.uint8)
        with open_hdf5(self.path, _EXPECTED) as file, naming_damage(file, "classes"):
            dataset = own_dataset(file, "classes")
            if dataset.size <= _MAX_KEPT_BYTES:
                self._maps = _check_classes(np.asarray(dataset[()], dtype=np.uint8), self.path)
                return np.asarray(self._maps[row], dtype=np.uint8)
            return _check_classes(np.asarray(dataset[row], dtype=np.uint8), self.path)

    def fit(
        self, classes: NDArray[np.uint8], size: tuple[int, int], crop: CropSlices | None = None
    ) -> NDArray[np.uint8]:
        """Return classes at the size of frames, by nearest neighbor.

        Parameters
        ----------
        classes : (h, w) ndarray of uint8
            What `read` returned.
        size : (int, int)
            Height and width of the result.
        crop : (slice, slice), optional
            Rows and columns of the full frame that the result shows.
        """
        return fit_guidance(classes, size, self._frame_size, crop)


def fit_guidance(
    classes: NDArray[np.uint8], size: tuple[int, int], frame_size: tuple[int, int], crop: CropSlices | None = None
) -> NDArray[np.uint8]:
    """Return the classes of a frame, or of a part of it, at a size, by nearest neighbor.

    Parameters
    ----------
    classes : (h, w) ndarray of uint8
        The frame's guidance, of any size.
    size : (int, int)
        Height and width of the result.
    frame_size : (int, int)
        Width and height of the frame.
    crop : (slice, slice), optional
        Rows and columns of the frame that the result shows.
    """
    if crop is None:
        return resample(classes, size)
    width, height = frame_size
    rows, columns = crop
    box = (rows.start / height, rows.stop / height, columns.start / width, columns.stop / width)
    return resample(classes, size, box)


def _check_classes(classes: NDArray[np.uint8], path: Path) -> NDArray[np.uint8]:
    if classes.max(initial=0) >= N_CLASSES:
        raise InputError(path, f"holds the class {classes.max()}", "classes", f"0 to {N_CLASSES - 1}")
    return classes


def _read_source(file: h5py.File, path: Path, reader: ShardReader) -> GuidanceSource:
    wanted = {
        "kind": KIND,
        "schema": SCHEMA,
        "classes": ",".join(CLASS_NAMES),
        "data_sha256": sha256_of(manifest_path(reader.folder)),
    }
    for name, value in wanted.items():
        found = file.attrs.get(name)
        if found is None:
            raise InputError(path, "is missing", name, _EXPECTED)
        if found != value:
            expected = _OF_THIS_DATA_SET if name == "data_sha256" else str(value)
            raise InputError(path, f"is {str(found)[:80]!r}", name, expected)
    texts = {name: str(file.attrs.get(name, "")) for name in ("method", "weights_sha256")}
    return GuidanceSource(texts["method"], float(file.attrs.get("static_px", np.nan)), texts["weights_sha256"])


def _find_rows(path: Path, keys: Sequence[Key], reader: ShardReader) -> NDArray[np.intp]:
    rows: dict[Key, int] = {}
    for row, key in enumerate(keys):
        if key[0] not in SPLITS:
            raise InputError(path, f"{key[0]!r} is not a split", "split", " or ".join(SPLITS))
        if key in rows:
            raise InputError(path, f"{_name(key)} has guidance twice", "blurry_index")
        rows[key] = row
    for key in reader.keys:
        if key not in rows:
            raise InputError(path, f"{_name(key)} has no guidance", "blurry_index", _OF_THIS_DATA_SET)
    return np.array([rows[key] for key in reader.keys], dtype=np.intp)


def _name(key: Key) -> str:
    return f"frame {key[2]} of take {key[1]!r} of the {key[0]} split"
