"""Common ground of the layouts: samples drawn from shards, columns as plain values, and frames as PNG."""

from __future__ import annotations

import math
import os
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import cv2
import h5py
import numpy as np
from numpy.typing import NDArray
from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

from rb2v.artifacts import SPLITS, Category, Split
from rb2v.errors import InputError
from rb2v.io.hdf5 import naming_damage, open_hdf5, own_dataset
from rb2v.io.store import parse_json, validate
from rb2v.shards import Manifest, ShardEntry, ShardReader, ShardSample
from rb2v.shards.builder import ShardPlan
from rb2v.shards.guidance_table import GuidanceReader, Key
from rb2v.shards.layout import FRAME_NAMES, MARK_NAME, NUMBER_TYPES, TEXT_NAMES, names_in
from rb2v.shards.manifest import LISTED_SHARD, path_within

MAX_PNG_BYTES = 2**28  # as many as an RGB image of `MAX_PIXELS` has
MAX_TEXT_BYTES = 2**20
"""Of what a file says of one sample beside the frames: a thousand times what is ever said."""
MAX_PIXELS = 89_000_000  # up to which Pillow does not suspect a decompression bomb

_FLOAT32_MAX = float(np.finfo(np.float32).max)
_NOT_FINITE = ("nan", "inf", "-inf")
_PNG_START = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR"
_PNG_COLOR = {0: "gray", 2: "RGB", 3: "palette", 4: "gray and alpha", 6: "RGBA"}


@dataclass(frozen=True)
class ShardPart:
    """One shard of the data set that is exported; can be sent to workers."""

    folder: Path
    """Where the shards are."""
    entry: ShardEntry
    """The manifest's line of the shard."""
    split: Split
    index: int
    """Of the shard among those of its split."""
    orders: bytes
    """Order of every sample, as 8-bit numbers."""

    @property
    def samples(self) -> int:
        """How many samples the shard has."""
        return self.entry.samples

    def read(self) -> Iterator[ShardSample]:
        """Yield the samples with the orders that they are exported with.

        Raises
        ------
        InputError
            If the shard is missing or damaged, or is a link out of its folder.
        """
        orders = np.frombuffer(self.orders, dtype=np.int8)
        names = (*FRAME_NAMES, *TEXT_NAMES, *NUMBER_TYPES, MARK_NAME)
        for row, values in enumerate(self._read_rows(names, range(self.samples))):
            numbers = {name: value.item() for name, value in values.items() if name in NUMBER_TYPES and name != "color"}
            if MARK_NAME in values:
                values[MARK_NAME] = values[MARK_NAME].astype(bool)
            yield ShardSample(**{**values, **numbers, "order": int(orders[row])})

    def read_frames(self, rows: Iterable[int]) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
        """Yield blurry and sharp frames of samples.

        Raises
        ------
        InputError
            As `read`.
        """
        for values in self._read_rows(FRAME_NAMES, rows):
            yield values["blurry"], values["sharp"]

    def read_colors(self, rows: slice) -> list[Any]:
        """Return the color maps of samples as nested lists.

        Raises
        ------
        InputError
            As `read`.
        """
        with self._open() as file, naming_damage(file, "color"):
            return list(own_dataset(file, "color")[rows].tolist())

    def _read_rows(self, names: Sequence[str], rows: Iterable[int]) -> Iterator[dict[str, Any]]:
        with self._open() as file:
            marks = (MARK_NAME,) if MARK_NAME in file else ()
            datasets = {name: own_dataset(file, name) for name in (*names_in(file), *marks) if name in names}
            for row in rows:
                values = {}
                for name, dataset in datasets.items():
                    with naming_damage(file, name):
                        values[name] = (dataset.asstr() if name in TEXT_NAMES else dataset)[row]
                yield values

    def _open(self) -> h5py.File:
        return open_hdf5(path_within(self.folder, self.entry.file), LISTED_SHARD)


@dataclass(frozen=True)
class Source:
    """The data set that is exported; its parts go to workers, and not the table of all samples."""

    reader: ShardReader
    orders: tuple[int, ...]
    """Order of every sample."""
    guidance: GuidanceReader | None = None
    """Motion guidance of every sample, for a layout that has room for it."""

    @property
    def manifest(self) -> Manifest:
        """The data set's manifest."""
        return self.reader.manifest

    @property
    def parts(self) -> list[ShardPart]:
        """The shards, in the order of the reader's table."""
        orders, start = np.array(self.orders, dtype=np.int8).tobytes(), 0
        parts = []
        for split in SPLITS:
            for index, entry in enumerate(self.manifest.splits[split].shards):
                stop = start + entry.samples
                parts.append(ShardPart(self.reader.folder, entry, split, index, orders[start:stop]))
                start = stop
        return parts


@dataclass(frozen=True)
class ImportPart(ShardPlan):
    """A shard that is to be written from another layout."""

    read_subjects: Callable[[], frozenset[str]] | None = None
    """Returns the subjects without a look at the frames; None where no subject can be in both splits."""


@dataclass(frozen=True)
class ImportPlan:
    """What a folder of another layout becomes."""

    template: Manifest
    """The manifest to be, without splits."""
    parts: Sequence[ImportPart]
    n_val: int = 0
    """Samples of a partition that shards do not have."""
    guidance: Callable[[float], Iterable[tuple[Key, NDArray[np.uint8]]]] | None = None
    """Returns samples and their motion guidance at half the frame's size, given the threshold of static pixels in px a
    sequence; None where the folder holds none."""


def _parse_not_finite(value: object) -> object:
    return float(value) if isinstance(value, str) and value in _NOT_FINITE else value


def _check_float32(value: float) -> float:
    if math.isfinite(value) and abs(value) > _FLOAT32_MAX:
        raise ValueError("is too large for a 32-bit number")
    return value


def _check_text(value: str) -> str:
    if not value or "\0" in value:
        raise ValueError("is empty or holds a NUL")
    return value


_Float32 = Annotated[float, BeforeValidator(_parse_not_finite), AfterValidator(_check_float32)]
_Int64 = Annotated[int, Field(ge=-(2**63), lt=2**63)]
_Text = Annotated[str, AfterValidator(_check_text)]
_Row = tuple[_Float32, _Float32, _Float32, _Float32]


class SampleColumns(BaseModel):
    """All of a sample but its frames, as JSON can hold it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    take: _Text
    subject: _Text
    category: Category
    blurry_index: _Int64
    position: _Int64
    psnr: _Float32
    color: tuple[_Row, _Row, _Row]
    order: Literal[-1, 0, 1] = 0
    composite_psnr: _Float32 = math.nan
    is_interpolated: tuple[bool, ...] | None = None

    def with_frames(
        self, blurry: NDArray[np.uint8], sharp: NDArray[np.uint8], source: Path, key: str | None = None
    ) -> ShardSample:
        """Return the sample that has these columns and frames.

        Raises
        ------
        InputError
            If as many frames are not marked as there are; it names the file and the place in it.
        """
        columns = {name: getattr(self, name) for name in COLUMN_NAMES if name != "color"}
        marks = None if self.is_interpolated is None else np.array(self.is_interpolated, dtype=bool)
        if marks is not None and len(marks) != len(sharp):
            place = MARK_NAME if key is None else f"{key}.{MARK_NAME}"
            raise InputError(source, f"marks {len(marks)} frames", place, f"{len(sharp)}")
        color = np.array(self.color, dtype=np.float32)
        return ShardSample(blurry=blurry, sharp=sharp, color=color, is_interpolated=marks, **columns)


COLUMN_NAMES = tuple(name for name in SampleColumns.model_fields if name != MARK_NAME)
"""Columns that every sample has."""


def columns_of(values: Mapping[str, Any]) -> dict[str, Any]:
    """Return a sample's columns as JSON holds them: numbers that are not finite as text.

    Parameters
    ----------
    values : mapping
        The columns of a `ShardSample` by name; those that are missing stay so.
    """
    marked = (MARK_NAME,) if values.get(MARK_NAME) is not None else ()
    return {name: _to_plain(values[name]) for name in (*COLUMN_NAMES, *marked) if name in values}


def _to_plain(value: object) -> object:
    if isinstance(value, np.ndarray):
        value = value.tolist()
    if isinstance(value, list):
        return [_to_plain(item) for item in value]
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


def parse_columns(text: str, source: Path, key: str) -> SampleColumns:
    """Read a sample's columns from a JSON text.

    Raises
    ------
    InputError
        If it is not JSON, or a column is missing, unknown or of the wrong kind.
    """
    try:
        document = parse_json(text)
    except ValueError as error:
        raise InputError(source, f"is not JSON ({error})", key) from error
    return check_columns(document, source, key)


def check_columns(document: object, source: Path, key: str) -> SampleColumns:
    """Check a sample's columns.

    Raises
    ------
    InputError
        If a column is missing, unknown or of the wrong kind.
    """
    try:
        return validate(SampleColumns, document, source)
    except InputError as error:
        place = key if error.key is None else f"{key}.{error.key}"
        raise InputError(source, error.problem, place, error.expected) from error


def encode_png(frame: NDArray[np.uint8]) -> bytes:
    """Return a (H, W, 3) RGB frame as PNG at OpenCV's default level."""
    ok, data = cv2.imencode(".png", cv2.cvtColor(frame, cv2.COLOR_RGB2BGR))
    if not ok:
        raise ValueError(f"OpenCV cannot write a PNG of {frame.shape}")
    return data.tobytes()


def decode_png(data: bytes, size: tuple[int, int], source: Path, key: str | None = None) -> NDArray[np.uint8]:
    """Return a PNG as a (H, W, 3) RGB frame.

    Parameters
    ----------
    data : bytes
        The file.
    size : (int, int)
        Width and height that it must have.
    source, key
        Where it comes from, for the message.

    Raises
    ------
    InputError
        If it is no whole PNG of 8-bit RGB, or of another size.
    """
    found = png_size(data, source, key)
    if found != size:
        raise InputError(source, f"is {found[0]}x{found[1]}", key, f"{size[0]}x{size[1]}, as the others")
    try:
        image = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), cv2.IMREAD_COLOR)
    except cv2.error as error:
        raise InputError(source, f"is damaged ({error.err})", key, "a whole PNG") from error
    if image is None or image.shape != (size[1], size[0], 3):
        raise InputError(source, "is damaged", key, "a whole PNG")
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def png_size(data: bytes, source: Path, key: str | None = None) -> tuple[int, int]:
    """Return width and height of a PNG by its header.

    Raises
    ------
    InputError
        If it is not a PNG of 8-bit RGB, or too large.
    """
    if not data.startswith(_PNG_START) or len(data) < len(_PNG_START) + 10:
        raise InputError(source, "is not a PNG", key, "an 8-bit RGB PNG")
    width, height, depth, color = struct.unpack_from(">IIBB", data, len(_PNG_START))
    if (depth, color) != (8, 2):
        raise InputError(source, f"is a PNG of {depth}-bit {_PNG_COLOR.get(color, color)}", key, "8-bit RGB")
    # The header first: a small file may declare an image that fills the memory.
    if not 0 < width * height <= MAX_PIXELS:
        raise InputError(source, f"is {width}x{height}", key, f"at most {MAX_PIXELS // 10**6} megapixels")
    return width, height


def is_whole_png(data: bytes, size: tuple[int, int]) -> bool:
    """Return whether a file is a PNG of a size that nothing was cut off or changed in since it was written.

    By the checksum of every chunk, so without decoding it.
    """
    if not data.startswith(_PNG_START) or struct.unpack_from(">II", data.ljust(24), 16) != size:
        return False
    start, kind = 8, b""
    while kind != b"IEND" and start + 12 <= len(data):
        (length,) = struct.unpack_from(">I", data, start)
        kind, end = data[start + 4 : start + 8], start + 8 + length
        if data[end : end + 4] != struct.pack(">I", zlib.crc32(memoryview(data)[start + 4 : end])):
            return False
        start = end + 4
    return kind == b"IEND" and start == len(data)


def write_picture(path: Path, data: bytes, scratch: Path) -> None:
    """Write a file atomically by way of a scratch folder that many share."""
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = scratch / path.name
    with temporary.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def find_inside(
    folder: Path, name: str, source: Path | None = None, key: str | None = None, *, root: str | None = None
) -> Path:
    """Return the path of a file that has to lie in a folder.

    Parameters
    ----------
    folder : Path
        The folder; may be a link itself.
    name : str
        The file's path below it.
    source, key
        What names the file, for the message where a link leads out; the file itself by default.
    root : str, optional
        Where the folder really is, where it is known: to find out takes as long as all else.

    Raises
    ------
    InputError
        If there is no such file, or a link on the way leads out of the folder: to any file of the machine.
    """
    path = folder / name
    real = os.path.realpath(path)
    if not real.startswith((root or os.path.realpath(folder)).rstrip("/") + "/"):
        raise InputError(source or path, f"{name!r} leads out of the folder", key, "a file in the folder itself")
    if not os.path.isfile(real):  # noqa: PTH113 - asks nothing more of long names than whether they are there
        raise InputError(path, "there is no such file", key)
    return path
