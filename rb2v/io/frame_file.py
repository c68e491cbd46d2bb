"""A spool of frames of one shape in a plain file, read back while a take is worked on."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from rb2v.profiling import count_bytes

Kind = TypeVar("Kind", bound=np.generic)


class FrameFile(Generic[Kind]):
    """A stack of frames that is appended to and then read; not mapped, so that memory does not grow with what is read.

    Parameters
    ----------
    path : Path
        The file; what was in it is lost.
    dtype : type
        Of the numbers.
    """

    def __init__(self, path: Path, dtype: type[Kind]) -> None:
        self._dtype = dtype
        self._path = path
        path.write_bytes(b"")
        self._n_frames = 0
        self._shape: tuple[int, ...] = ()

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of frames, and the shape of each."""
        return (self._n_frames, *self._shape)

    def append(self, frame: NDArray[Any]) -> None:
        """Add a frame behind the others.

        Raises
        ------
        ValueError
            If it is of another shape than those.
        """
        if self._n_frames and frame.shape != self._shape:
            raise ValueError(f"a frame of {frame.shape} among frames of {self._shape}")
        self._shape = frame.shape
        with self._path.open("ab") as file:
            count_bytes(written=file.write(np.ascontiguousarray(frame, dtype=self._dtype).data))
        self._n_frames += 1

    def __len__(self) -> int:
        return self._n_frames

    def __iter__(self) -> Iterator[NDArray[Kind]]:
        for index in range(self._n_frames):
            yield self[index]

    def __getitem__(self, key: int | slice | NDArray[np.integer]) -> NDArray[Kind]:
        """Return one frame, or a stack of consecutive or of chosen ones, as a new array."""
        if isinstance(key, slice):
            start, stop, step = key.indices(self._n_frames)
            if step == 1:
                return self._read(start, max(stop - start, 0))
            key = np.arange(start, stop, step)
        if isinstance(key, np.ndarray):
            stack = [self._read(int(index), 1)[0] for index in key]
            return np.stack(stack) if stack else self._read(0, 0)
        index = range(self._n_frames)[key]
        return np.asarray(self._read(index, 1)[0])

    def _read(self, first: int, n: int) -> NDArray[Kind]:
        stack = np.empty((n, *self._shape), dtype=self._dtype)
        with self._path.open("rb") as file:
            file.seek(first * math.prod(self._shape) * stack.itemsize)
            count_bytes(read=file.readinto(stack.data))
        return stack
