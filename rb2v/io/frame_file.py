"""Spools of frames of one shape in plain files, read back while a take is worked on."""

from __future__ import annotations

import bisect
import copy
import itertools
import os
import weakref
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Generic, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from rb2v.profiling import count_bytes

Kind = TypeVar("Kind", bound=np.generic)

_LEVEL = 1  # of LZ4, whose higher levels hardly make frames smaller


class Frames(ABC, Generic[Kind]):
    """A stack of frames on disk; not mapped, so that memory does not grow with what is read."""

    _shape: tuple[int, ...]
    _dtype: type[Kind]

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of frames, and the shape of each."""
        return (len(self), *self._shape)

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def part(self, frames: range) -> Self:
        """Return consecutive frames as a stack of their own, to be read and pickled; files are opened by reading."""

    @abstractmethod
    def _read(self, first: int, n: int) -> NDArray[Kind]: ...

    def __iter__(self) -> Iterator[NDArray[Kind]]:
        for index in range(len(self)):
            yield self[index]

    def __getitem__(self, key: int | slice | NDArray[np.integer]) -> NDArray[Kind]:
        """Return one frame, or a stack of consecutive or of chosen ones, as a new array."""
        if isinstance(key, slice):
            start, stop, step = key.indices(len(self))
            if step == 1:
                return self._read(start, max(stop - start, 0))
            key = np.arange(start, stop, step)
        if isinstance(key, np.ndarray):
            stack = [self._read(int(index), 1)[0] for index in key]
            return np.stack(stack) if stack else self._read(0, 0)
        index = range(len(self))[key]
        return np.asarray(self._read(index, 1)[0])


class FrameFile(Frames[Kind]):
    """A stack that is appended to and then read.

    Parameters
    ----------
    path : Path
        The file; what was in it is lost.
    dtype : type
        Of the numbers.
    is_compressed : bool
        Whether frames are compressed, without loss: each row is stored as what it differs by from the row above.
        Camera frames take 35 to 60 % of their bytes then, and 0.5 ms more for each write and 0.6 ms for each read of
        448x448 pixels. Zstandard would leave 43 in place of 60 %, for twice the time of a write.
    """

    def __init__(self, path: Path, dtype: type[Kind], *, is_compressed: bool = False) -> None:
        self._path, self._dtype = path, dtype
        self._is_compressed = is_compressed
        self._file: int | None = None
        self._open(os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        self._offsets = [0]
        self._shape: tuple[int, ...] = ()

    def _open(self, flags: int = os.O_RDONLY) -> int:
        # Kept open: to open a file costs as much as to read a reduced frame.
        if self._file is None:
            self._file = os.open(self._path, flags | getattr(os, "O_CLOEXEC", 0), 0o666)
            weakref.finalize(self, os.close, self._file)
        return self._file

    def part(self, frames: range) -> Self:
        """Return consecutive frames as a stack of their own."""
        some = copy.copy(self)
        some._offsets, some._file = self._offsets[frames.start : frames.stop + 1], None
        return some

    def __getstate__(self) -> dict[str, Any]:
        """Return everything but the open file."""
        return vars(self) | {"_file": None}

    def layout(self) -> dict[str, NDArray[Any]]:
        """Return what `reopen` needs beside the file."""
        parts = {"offsets": self._offsets, "shape": self._shape, "is_compressed": self._is_compressed}
        return {name: np.array(part, dtype=np.int64) for name, part in parts.items()}

    @classmethod
    def reopen(cls, path: Path, dtype: type[Kind], layout: Mapping[str, NDArray[Any]]) -> Self:
        """Return a stack that was written elsewhere, to be read."""
        stack = cls.__new__(cls)
        stack._path, stack._dtype, stack._file = path, dtype, None
        stack._offsets, stack._shape = layout["offsets"].tolist(), tuple(layout["shape"].tolist())
        stack._is_compressed = bool(layout["is_compressed"])
        return stack

    def append(self, frame: NDArray[Any]) -> None:
        """Add a frame behind the others.

        Raises
        ------
        ValueError
            If it is of another shape than those.
        """
        if len(self) and frame.shape != self._shape:
            raise ValueError(f"a frame of {frame.shape} among frames of {self._shape}")
        self._shape = frame.shape
        contiguous = np.ascontiguousarray(frame, dtype=self._dtype)
        data = _compress(contiguous) if self._is_compressed else contiguous.data.cast("B")
        n_written = 0
        while n_written < len(data):
            n_written += os.pwrite(self._open(), data[n_written:], self._offsets[-1] + n_written)
        count_bytes(written=n_written)
        self._offsets.append(self._offsets[-1] + n_written)

    def __len__(self) -> int:
        return len(self._offsets) - 1

    def _read(self, first: int, n: int) -> NDArray[Kind]:
        stack = np.empty((n, *self._shape), dtype=self._dtype)
        if n and not self._is_compressed:
            self._fill(stack.data.cast("B"), self._offsets[first])
        elif n:
            import blosc2  # 0.4 s, for which few processes have a use

            for index, (start, stop) in enumerate(itertools.pairwise(self._offsets[first : first + n + 1])):
                data = bytearray(stop - start)
                self._fill(memoryview(data), start)
                blosc2.decompress2(data, dst=stack[index], nthreads=1)
                rows = _rows(stack[index])
                for above, row in itertools.pairwise(rows):
                    np.add(row, above, out=row)
        return stack

    def _fill(self, buffer: memoryview, offset: int) -> None:
        n_read = 0
        while n_read < len(buffer):
            n = os.preadv(self._open(), [buffer[n_read:]], offset + n_read)
            if n == 0:
                raise EOFError(f"a scratch file ends at byte {offset + n_read}")
            n_read += n
        count_bytes(read=n_read)


def _compress(frame: NDArray[Any]) -> memoryview:
    import blosc2

    rows, differences = _rows(frame), np.empty_like(frame)
    _rows(differences)[:1] = rows[:1]
    np.subtract(rows[1:], rows[:-1], out=_rows(differences)[1:])
    data, filters = differences.data.cast("B"), [blosc2.Filter.BITSHUFFLE]
    size = frame.itemsize
    packed = blosc2.compress2(data, codec=blosc2.Codec.LZ4, clevel=_LEVEL, typesize=size, filters=filters, nthreads=1)
    return memoryview(packed)


def _rows(frame: NDArray[Any]) -> NDArray[Any]:
    """Return a view of a frame, (..., H, W, C), with its rows first."""
    return np.moveaxis(frame, max(frame.ndim - 3, 0), 0)


class JoinedFrames(Frames[Kind]):
    """Several stacks behind each other, read as one.

    Parameters
    ----------
    stacks : sequence of Frames
        One at least, of frames of one shape.
    """

    def __init__(self, stacks: Sequence[Frames[Kind]]) -> None:
        self._stacks = list(stacks)
        self._starts = [0, *itertools.accumulate(map(len, stacks))]
        self._shape, self._dtype = stacks[0]._shape, stacks[0]._dtype
        self._opened: tuple[int, Frames[Kind]] | None = None

    def __len__(self) -> int:
        return self._starts[-1]

    def __getstate__(self) -> dict[str, Any]:
        """Return everything but the open file."""
        return vars(self) | {"_opened": None}

    def part(self, frames: range) -> Self:
        """Return consecutive frames as a stack of their own."""
        spans = self._spans(frames.start, frames.stop)
        return type(self)([self._stacks[index].part(some) for index, some in spans])

    def _spans(self, start: int, stop: int) -> Iterator[tuple[int, range]]:
        """Yield which frames of which stacks are asked for."""
        index = bisect.bisect_right(self._starts, start) - 1
        while index < len(self._stacks) and self._starts[index] < stop:
            low, high = self._starts[index], self._starts[index + 1]
            yield index, range(max(start - low, 0), min(stop, high) - low)
            index += 1

    def _read(self, first: int, n: int) -> NDArray[Kind]:
        stack = np.empty((n, *self._shape), dtype=self._dtype)
        place = 0
        for index, some in self._spans(first, first + n):
            # One file is open at a time, however many there are.
            if self._opened is None or self._opened[0] != index:
                self._opened = index, self._stacks[index].part(range(len(self._stacks[index])))
            stack[place : place + len(some)] = self._opened[1][some.start : some.stop]
            place += len(some)
        return stack
