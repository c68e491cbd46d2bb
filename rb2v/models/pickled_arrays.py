"""Pickles of numpy arrays read as data: arrays in nested mappings, and nothing that is executed.

The pickle is walked through opcode by opcode. Of the three globals that arrays are written with, none is looked up, and
of the few opcodes admitted, none calls anything.

References
----------
.. [1] Python, ``pickletools``, on the opcodes.
.. [2] NumPy, ``ndarray.__reduce__`` and ``dtype.__reduce__``, on what an array is written as.
"""

from __future__ import annotations

import io
import math
import pickletools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rb2v.errors import InputError

Tree = dict[str, Any]
"""Arrays of float32, or mappings of the same kind, by name."""

_EXPECTED = "a pickle of nested mappings of float32 arrays, whole"
_RECONSTRUCT = {"numpy.core.multiarray _reconstruct", "numpy._core.multiarray _reconstruct"}
_ARRAY, _DTYPE = "numpy ndarray", "numpy dtype"
_MAX_MEMORY_SLOTS = 10**5  # a slot is an array or a name; networks have some thousands, and more would fill the memory
_MAX_DEPTH = 16  # of nested mappings; networks nest a few, and more would exhaust the interpreter's stack


class _RefusedError(Exception):
    """What the pickle holds is not what arrays in mappings are written with."""


@dataclass(frozen=True)
class _Name:
    """A global that the pickle names; it is never looked up."""

    text: str


@dataclass(eq=False)
class _Dtype:
    code: str
    state: tuple[Any, ...] = ()


@dataclass(eq=False)
class _Array:
    state: tuple[Any, ...] = ()


class _Mark:
    pass


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
        return _build_tree(_walk(content), depth=0)
    except _RefusedError as error:
        raise InputError(source, str(error), expected=_EXPECTED) from error


def _walk(content: bytes) -> object:
    stack: list[Any] = []
    memory: dict[int, Any] = {}

    def pop_to_mark() -> list[Any]:
        items: list[Any] = []
        while not isinstance(stack[-1], _Mark):
            items.append(stack.pop())
        stack.pop()
        return items[::-1]

    constants = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
    makers: dict[str, Callable[[], object]] = {"EMPTY_DICT": dict, "EMPTY_TUPLE": tuple, "MARK": _Mark}
    try:
        for opcode, argument, _ in pickletools.genops(io.BytesIO(content)):
            match opcode.name:
                case "PROTO":
                    pass
                case "STOP":
                    (result,) = stack
                    return result
                case "NONE" | "NEWTRUE" | "NEWFALSE":
                    stack.append(constants[opcode.name])
                case "EMPTY_DICT" | "EMPTY_TUPLE" | "MARK":
                    stack.append(makers[opcode.name]())
                case "BINUNICODE" | "BINBYTES" | "SHORT_BINBYTES" | "BININT" | "BININT1" | "BININT2":
                    stack.append(argument)
                case "GLOBAL":
                    stack.append(_admit(str(argument)))
                case "TUPLE":
                    stack.append(tuple(pop_to_mark()))
                case "TUPLE1" | "TUPLE2" | "TUPLE3":
                    items = [stack.pop() for _ in range(int(opcode.name[-1]))]
                    stack.append(tuple(items[::-1]))
                case "SETITEM":
                    item, key = stack.pop(), stack.pop()
                    _expect(stack[-1], dict)[_expect(key, str)] = item
                case "SETITEMS":
                    items = pop_to_mark()
                    entries = zip(items[::2], items[1::2], strict=True)
                    _expect(stack[-1], dict).update((_expect(key, str), item) for key, item in entries)
                case "BINPUT" | "LONG_BINPUT":
                    if len(memory) >= _MAX_MEMORY_SLOTS:
                        raise _RefusedError("is too large")
                    memory[_expect(argument, int)] = stack[-1]
                case "BINGET" | "LONG_BINGET":
                    stack.append(memory[_expect(argument, int)])
                case "REDUCE":
                    arguments, name = stack.pop(), stack.pop()
                    stack.append(_begin(_expect(name, _Name).text, _expect(arguments, tuple)))
                case "BUILD":
                    state = _expect(stack.pop(), tuple)
                    if not isinstance(stack[-1], _Array | _Dtype):
                        raise _RefusedError(f"sets the state of a {_kind_of(stack[-1])}")
                    stack[-1].state = state
                case other:
                    raise _RefusedError(f"holds {other}, which no array is written with")
    except (IndexError, KeyError, TypeError, ValueError, OverflowError) as error:
        raise _RefusedError("is damaged or cut short") from error
    raise _RefusedError("is cut short")


def _expect(value: Any, kind: type) -> Any:  # noqa: ANN401 - of the kind asked for
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise _RefusedError(f"holds a {_kind_of(value)} where a {kind.__name__.strip('_')} belongs")
    return value


def _kind_of(value: object) -> str:
    return type(value).__name__.strip("_")


def _admit(text: str) -> _Name:
    if text not in {*_RECONSTRUCT, _ARRAY, _DTYPE}:
        raise _RefusedError(f"names {text[:80]!r}, which no array is written with")
    return _Name(text)


def _begin(name: str, arguments: tuple[Any, ...]) -> _Array | _Dtype:
    if name in _RECONSTRUCT:
        return _Array()
    if name == _DTYPE:
        return _Dtype(_expect(arguments[0], str))
    raise _RefusedError(f"calls {name!r}")


def _build_tree(value: object, *, depth: int) -> Tree:
    mapping: dict[str, Any] = _expect(value, dict)
    if depth > _MAX_DEPTH:
        raise _RefusedError("is nested too deeply")
    return {
        name: _build_array(item, name) if isinstance(item, _Array) else _build_tree(item, depth=depth + 1)
        for name, item in mapping.items()
    }


def _build_array(array: _Array, name: str) -> NDArray[np.float32]:
    if len(array.state) != 5:
        raise _RefusedError(f"{name[:80]!r} has no content")
    _, shape, dtype, is_fortran, content = array.state
    sizes = [_expect(size, int) for size in _expect(shape, tuple)]
    if _expect(dtype, _Dtype).code != "f4" or dtype.state[1:2] != ("<",):
        raise _RefusedError(f"{name[:80]!r} is no array of float32")
    if min(sizes, default=0) < 0 or len(_expect(content, bytes)) != 4 * math.prod(sizes):
        raise _RefusedError(f"{name[:80]!r} holds {len(content)} bytes, which {tuple(sizes)} does not take")
    flat = np.frombuffer(content, dtype="<f4")
    return flat.reshape(sizes, order="F" if is_fortran else "C").astype(np.float32, order="C")
