"""Pickles of numpy arrays read as data: arrays in nested mappings, and nothing that is executed.

Of the three globals that arrays are written with, none is looked up.

References
----------
.. [1] NumPy, ``ndarray.__reduce__`` and ``dtype.__reduce__``, on what an array is written as.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rb2v.errors import InputError
from rb2v.models.pickles import PickleReader, RejectedError, expect, kind_of

Tree = dict[str, Any]
"""Arrays of float32, or mappings of the same kind, by name."""

_EXPECTED = "a pickle of nested mappings of float32 arrays, whole"
_RECONSTRUCT = {"numpy.core.multiarray _reconstruct", "numpy._core.multiarray _reconstruct"}
_ARRAY, _DTYPE = "numpy ndarray", "numpy dtype"
_MAX_MEMORY_SLOTS = 10**5  # a slot is an array or a name; networks have some thousands, and more would fill the memory
_MAX_DEPTH = 16  # of nested mappings; networks nest a few, and more would exhaust the interpreter's stack


@dataclass(eq=False)
class _Dtype:
    code: str
    state: tuple[Any, ...] = ()


@dataclass(eq=False)
class _Array:
    state: tuple[Any, ...] = ()


def read_pickled_arrays(content: bytes, source: str) -> Tree:
    """Return the arrays of a pickle in their mappings.

    Parameters
    ----------
    content : bytes
        The pickle.
    source : str
        Where it is from, for errors.

    Returns
    -------
    dict
        Arrays of float32 that can be written to, or dicts of the same kind, by name.

    Raises
    ------
    InputError
        If the pickle is damaged or cut short, names any other global, or holds anything but mappings and arrays of
        float32.
    """
    try:
        return _build_tree(_ArrayReader().read(content), depth=0)
    except RejectedError as error:
        raise InputError(source, str(error), expected=_EXPECTED) from error


class _ArrayReader(PickleReader):
    opcodes = frozenset({"BINBYTES", "SHORT_BINBYTES"})
    content_name = "array"
    max_slots = _MAX_MEMORY_SLOTS
    names = frozenset({*_RECONSTRUCT, _ARRAY, _DTYPE})

    def call(self, name: str, arguments: tuple[Any, ...]) -> _Array | _Dtype:
        if name in _RECONSTRUCT:
            return _Array()
        if name == _DTYPE:
            return _Dtype(expect(arguments[0], str))
        raise RejectedError(f"calls {name!r}")

    def set_state(self, described: object, state: object) -> None:
        if not isinstance(described, _Array | _Dtype):
            raise RejectedError(f"sets the state of a {kind_of(described)}")
        described.state = expect(state, tuple)


def _build_tree(value: object, *, depth: int) -> Tree:
    mapping: dict[str, Any] = expect(value, dict)
    if depth > _MAX_DEPTH:
        raise RejectedError("is nested too deeply")
    return {
        name: _build_array(item, name) if isinstance(item, _Array) else _build_tree(item, depth=depth + 1)
        for name, item in mapping.items()
    }


def _build_array(array: _Array, name: str) -> NDArray[np.float32]:
    if len(array.state) != 5:
        raise RejectedError(f"{name[:80]!r} has no content")
    _, shape, dtype, is_fortran, content = array.state
    sizes = [expect(size, int) for size in expect(shape, tuple)]
    if expect(dtype, _Dtype).code != "f4" or dtype.state[1:2] != ("<",):
        raise RejectedError(f"{name[:80]!r} is not an array of float32")
    if min(sizes, default=0) < 0 or len(expect(content, bytes)) != 4 * math.prod(sizes):
        raise RejectedError(f"{name[:80]!r} holds {len(content)} bytes, which {tuple(sizes)} does not take")
    flat = np.frombuffer(content, dtype="<f4")
    return flat.reshape(sizes, order="F" if is_fortran else "C").astype(np.float32, order="C")
