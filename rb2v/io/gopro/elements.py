"""The tree of elements that a piece of GPMF is.

An element is a key of four letters, a type, the size of a value, how many of them, and the values, padded to four
bytes [1]_. An element of type 0 holds further elements.

References
----------
.. [1] https://gopro.github.io/gpmf-parser
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

HEADER = struct.Struct(">4scBH")
NESTED = b"\0"

_NUMBERS = {
    **{b"b": ">i1", b"B": ">u1", b"s": ">i2", b"S": ">u2", b"l": ">i4", b"L": ">u4", b"j": ">i8", b"J": ">u8"},
    **{b"f": ">f4", b"d": ">f8", b"q": ">i4", b"Q": ">i8"},
}
_FIXED_POINT = {b"q": 2.0**16, b"Q": 2.0**32}
_TEXTS = (b"c", b"F", b"U")
_MAX_DEPTH = 8  # cameras nest devices, streams and their values: three
_MAX_ELEMENTS = 200_000  # a packet of a second has some hundred
_MAX_PROBLEMS = 20  # that a person is told; what follows is of the same kind


@dataclass(frozen=True)
class Element:
    """One element; one that holds others comes without content, before those that are in it."""

    key: bytes
    kind: bytes
    size: int
    """Bytes of one value, which may be several numbers."""
    content: bytes

    def numbers(self) -> NDArray[np.float64]:
        """Return the values as (repeat, numbers per value), empty where they are no numbers."""
        dtype = np.dtype(_NUMBERS.get(self.kind, ">u1"))
        if self.kind not in _NUMBERS or self.size == 0 or self.size % dtype.itemsize:
            return np.zeros((0, 1))
        with np.errstate(all="ignore"):
            values = np.frombuffer(self.content, dtype=dtype).astype(np.float64)
        return values.reshape(-1, self.size // dtype.itemsize) / _FIXED_POINT.get(self.kind, 1.0)

    def text(self) -> str:
        """Return the text up to its first zero byte, empty where the element is none."""
        if self.kind not in _TEXTS:
            return ""
        return self.content.split(b"\0")[0].decode("latin-1").strip()

    def scalar(self) -> str | float | None:
        """Return a value that is one text or one number, else None."""
        if self.kind in _TEXTS:
            return self.text()
        numbers = self.numbers()
        return float(numbers[0, 0]) if numbers.size == 1 and np.isfinite(numbers[0, 0]) else None


class Walk:
    """A walk over the elements of a piece of GPMF, and what was damaged on the way.

    An element that reaches beyond the end of the one that holds it is left out, unless it holds others: those are read
    as far as they are there. Depth, number of elements and number of problems are bounded, so any bytes take time in
    proportion to their length at most.

    Parameters
    ----------
    data : bytes
        Any bytes.

    Attributes
    ----------
    problems : list of str
        What was damaged, as far as the walk has come.
    """

    def __init__(self, data: bytes) -> None:
        self.problems: list[str] = []
        self._data = data
        self._n_elements = 0

    def __iter__(self) -> Iterator[Element]:
        self.problems.clear()
        self._n_elements = 0
        return self._walk(0, len(self._data), "the payload", 0)

    def _walk(self, position: int, end: int, holder: str, depth: int) -> Iterator[Element]:
        while position < end:
            if position + HEADER.size > end:
                if any(self._data[position:end]):
                    self._note(f"{holder} ends within the head of an element")
                return
            key, kind, size, repeat = HEADER.unpack_from(self._data, position)
            if not any(key):
                if any(self._data[position:end]):
                    self._note(f"{holder} holds bytes that are no element")
                return
            if not key.replace(b" ", b"0").isalnum():
                self._note(f"{holder} holds bytes that are no element")
                return
            name = key.decode("ascii")
            start = position + HEADER.size
            stop = start + size * repeat
            self._n_elements += 1
            if self._n_elements > _MAX_ELEMENTS:
                self._note(f"{holder} holds more than {_MAX_ELEMENTS} elements")
                return
            if stop > end:
                self._note(f"{name} is cut short: {max(end - start, 0)} of {stop - start} bytes are there")
                stop = end
                if kind != NESTED:
                    return
            if kind != NESTED:
                yield Element(key, kind, size, self._data[start:stop])
            elif depth < _MAX_DEPTH:
                yield Element(key, kind, 0, b"")
                yield from self._walk(start, stop, name, depth + 1)
            else:
                self._note(f"{name} lies more than {_MAX_DEPTH} elements deep")
            position = stop + -(stop - start) % 4

    def _note(self, problem: str) -> None:
        if len(self.problems) < _MAX_PROBLEMS:
            self.problems.append(problem)
