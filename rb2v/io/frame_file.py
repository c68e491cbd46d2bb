"""A spool of frames of one shape in a plain file, read back while a take is worked on."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Generic, TypeVar

import blosc2
import numpy as np
from numpy.typing import NDArray

from rb2v.profiling import count_bytes

Kind = TypeVar("Kind", bound=np.generic)

_LEVEL = 1  # of Zstandard: 3 takes three times as long for 6 % fewer bytes of camera frames


class FrameFile(Generic[Kind]):
    """A stack of frames that is appended to and then read; not mapped, so that memory does not grow with what is read.

    Parameters
    ----------
    path : Path
        The file; what was in it is lost.
    dtype : type
        Of the numbers.
    is_compressed : bool
        Whether frames are compressed, without loss: camera frames take three quarters of their bytes then, and 2 ms
        more for each write and 1 ms for each read of 448x448 pixels.
    """

    def __init__(self, path: Path, dtype: type[Kind], *, is_compressed: bool = False) -> None:
        self._dtype = dtype
        self._path = path
        self._is_compressed = is_compressed
        path.write_bytes(b"")
        self._offsets = [0]
        self._shape: tuple[int, ...] = ()

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of frames, and the shape of each."""
        return (len(self), *self._shape)

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
        data: Any = np.ascontiguousarray(frame, dtype=self._dtype).data
        if self._is_compressed:
            data = _compress(data)
        with self._path.open("ab") as file:
            n_bytes = file.write(data)
        count_bytes(written=n_bytes)
        self._offsets.append(self._offsets[-1] + n_bytes)

    def __len__(self) -> int:
        return len(self._offsets) - 1

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

    def _read(self, first: int, n: int) -> NDArray[Kind]:
        stack = np.empty((n, *self._shape), dtype=self._dtype)
        with self._path.open("rb") as file:
            file.seek(self._offsets[first])
            if not self._is_compressed:
                count_bytes(read=file.readinto(stack.data))
                return stack
            for index in range(n):
                data = file.read(self._offsets[first + index + 1] - self._offsets[first + index])
                count_bytes(read=len(data))
                blosc2.decompress2(data, dst=stack[index], nthreads=1)
        return stack


def _compress(data: memoryview) -> bytes:
    filters = [blosc2.Filter.NOFILTER]
    packed = blosc2.compress2(
        data.cast("B"), codec=blosc2.Codec.ZSTD, clevel=_LEVEL, typesize=1, filters=filters, nthreads=1
    )
    return bytes(packed)
