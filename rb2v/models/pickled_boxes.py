"""Pickled annotations read as data: the box of a person, and nothing that is executed.

References
----------
.. [1] NumPy, ``ndarray.__reduce__``, ``dtype.__reduce__`` and scalars, on what numbers are written as.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from rb2v.errors import InputError
from rb2v.models.pickles import PickleReader, RejectedError, expect, kind_of

Box = tuple[float, float, float, float]
"""Left, top, right and bottom, in pixels."""

MAX_PICKLE_BYTES = 2**20
"""Of an annotation; a box with key points takes some kilobytes."""

_EXPECTED = "a pickled mapping with 'bbox': left, top, right and bottom, and maybe a score"
_RECONSTRUCT = ("numpy.core.multiarray _reconstruct", "numpy._core.multiarray _reconstruct")
_SCALAR = ("numpy.core.multiarray scalar", "numpy._core.multiarray scalar")
_FROM_BUFFER = ("numpy.core.numeric _frombuffer", "numpy._core.numeric _frombuffer")
_ENCODE = "_codecs encode"
_CODES = ("f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8")
_MAX_SLOTS = 10**5  # of the pickle's memory; key points of a person take some hundred


@dataclass(eq=False)
class _Dtype:
    code: str
    order: str = "<"


@dataclass(eq=False)
class _Array:
    state: tuple[Any, ...] = ()


@dataclass(frozen=True)
class _Scalar:
    value: float


def read_pickled_box(content: bytes, source: str) -> Box:
    """Return the box of an annotation.

    Parameters
    ----------
    content : bytes
        A pickle of protocol 2 to 5.
    source : str
        Where it is from, for errors.

    Raises
    ------
    InputError
        If the pickle is damaged, too large, names anything that arrays of numbers are not written with, or holds no
        box, or one that is empty or not finite.
    """
    if len(content) > MAX_PICKLE_BYTES:
        raise InputError(source, f"has {len(content)} bytes", expected=f"at most {MAX_PICKLE_BYTES}")
    try:
        found = expect(_BoxReader().read(content), dict)
    except RejectedError as error:
        raise InputError(source, str(error), expected=_EXPECTED) from error
    if "bbox" not in found:
        raise InputError(source, "is missing", "bbox", _EXPECTED)
    numbers = _to_numbers(found["bbox"], source)
    if len(numbers) not in (4, 5):
        raise InputError(source, f"holds {len(numbers)} numbers", "bbox", _EXPECTED)
    left, top, right, bottom = numbers[:4]
    if not all(map(math.isfinite, numbers[:4])) or right <= left or bottom <= top:
        raise InputError(source, f"is {left:g}, {top:g}, {right:g}, {bottom:g}", "bbox", "a box that is not empty")
    return left, top, right, bottom


def _to_numbers(value: object, source: str) -> list[float]:
    if isinstance(value, _Array):
        try:
            return [float(number) for number in _build(value).ravel().tolist()]
        except RejectedError as error:
            raise InputError(source, str(error), "bbox", _EXPECTED) from error
    if isinstance(value, list | tuple):
        parts = [part.value if isinstance(part, _Scalar) else part for part in value]
        if len(parts) == 1 and isinstance(parts[0], list | tuple | _Array):
            return _to_numbers(parts[0], source)
        if all(isinstance(part, int | float) and not isinstance(part, bool) for part in parts):
            return [float(part) for part in parts]
    raise InputError(source, f"is a {kind_of(value)}", "bbox", _EXPECTED)


class _BoxReader(PickleReader):
    opcodes = frozenset(
        {
            *("BINBYTES", "SHORT_BINBYTES", "BINFLOAT", "EMPTY_LIST", "APPEND", "APPENDS", "LONG1"),
            *("SHORT_BINUNICODE", "BYTEARRAY8", "FRAME", "MEMOIZE", "STACK_GLOBAL"),
        }
    )
    content_name = "annotation"
    max_slots = _MAX_SLOTS
    names: ClassVar[frozenset[str] | None] = frozenset(
        {*_RECONSTRUCT, *_SCALAR, *_FROM_BUFFER, _ENCODE, "numpy ndarray", "numpy dtype"}
    )

    def call(self, name: str, arguments: tuple[Any, ...]) -> object:
        if name in _RECONSTRUCT:
            return _Array()
        if name == "numpy dtype":
            return _Dtype(expect(arguments[0], str))
        if name in _FROM_BUFFER:
            content, dtype, shape, _ = arguments
            return _Array((1, shape, dtype, False, bytes(content) if isinstance(content, bytearray) else content))
        if name in _SCALAR:
            dtype, content = arguments
            return _Scalar(float(_parse(expect(dtype, _Dtype), expect(content, bytes))[0]))
        if name == _ENCODE:
            # So protocol 2 writes bytes: as the text whose code points they are.
            return expect(arguments[0], str).encode("latin-1")
        raise RejectedError(f"calls {name!r}")

    def set_state(self, described: object, state: object) -> None:
        if isinstance(described, _Dtype):
            described.order = str(expect(state, tuple)[1])
        elif isinstance(described, _Array):
            described.state = expect(state, tuple)
        else:
            raise RejectedError(f"sets the state of a {kind_of(described)}")

    def _step(self, opcode: str, argument: Any, stack: list[Any], memory: dict[int, Any]) -> None:  # noqa: ANN401
        if opcode == "MEMOIZE":
            super()._step("BINPUT", len(memory), stack, memory)
        elif opcode == "STACK_GLOBAL":
            name, module = stack.pop(), stack.pop()
            stack.append(self._admit(f"{expect(module, str)} {expect(name, str)}"))
        elif opcode != "FRAME":
            super()._step(opcode, argument, stack, memory)


def _parse(dtype: _Dtype, content: bytes) -> Any:  # noqa: ANN401 - an array of numbers
    if dtype.code not in _CODES or dtype.order not in "<|" or not content:
        raise RejectedError(f"holds numbers of {dtype.order}{dtype.code[:16]}")
    if len(content) % int(dtype.code[1:]):
        raise RejectedError("holds part of a number")
    return np.frombuffer(content, dtype=f"<{dtype.code}")


def _build(array: _Array) -> Any:  # noqa: ANN401 - an array of numbers
    if len(array.state) != 5:
        raise RejectedError("holds an array without content")
    numbers = _parse(expect(array.state[2], _Dtype), expect(array.state[4], bytes))
    if math.prod(expect(size, int) for size in expect(array.state[1], tuple)) != len(numbers):
        raise RejectedError("holds an array of another size than it says")
    return numbers
