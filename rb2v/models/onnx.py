"""Weights in ONNX files, read as data: the convolutions' alone, and nothing of the graph is built or run.

An ONNX file is one protocol-buffers message. Of its few hundred kinds of field eight are read; the others are skipped
by their lengths, as the wire format allows.

References
----------
.. [1] Protocol Buffers, "Encoding": records of a tag (field number and wire type) and a value.
.. [2] ONNX 1.x, ``onnx.proto``, for the field numbers.
"""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from rb2v.errors import InputError

_EXPECTED = "an ONNX file whose convolutions have float32 weights within it"
_VARINT, _I64, _LEN, _I32 = 0, 1, 2, 5  # wire types; groups (3 and 4) are deprecated, and ONNX has none
_N_FIXED_BYTES = {_I64: 8, _I32: 4}
_MAX_VARINT_BYTES = 10  # of 64 bits, seven a byte
_GRAPH = 7  # field of a model
_NODE, _INITIALIZER = 1, 5  # fields of a graph
_INPUT, _OPERATOR = 1, 4  # fields of a node
_DIMENSION, _DATA_TYPE, _NAME, _RAW_DATA = 1, 2, 8, 9  # fields of a tensor
_FLOAT32 = 1  # data type
_MAX_DIMENSIONS = 4  # of a convolution's weights


class _DamagedError(Exception):
    pass


def convert_convolutions(content: bytes, source: str) -> dict[str, NDArray[np.float32]]:
    """Return the weights of a graph's convolutions, in the order in which it runs them.

    Parameters
    ----------
    content : bytes
        Of an ONNX file.
    source : str
        Where it is from, for errors.

    Returns
    -------
    dict of ndarray of float32
        ``000.weight`` (out, in / groups, height, width) and, where there is one, ``000.bias`` (out,) of the first;
        one that runs several times is there once.

    Raises
    ------
    InputError
        If the content is damaged or cut short, or has not got such weights.
    """
    try:
        return _read(memoryview(content))
    except _DamagedError as error:
        raise InputError(source, str(error), expected=_EXPECTED) from error


def _read(model: memoryview) -> dict[str, NDArray[np.float32]]:
    tensors: dict[str, memoryview] = {}
    convolutions: list[list[str]] = []
    for graph in _messages(model, _GRAPH):
        for tensor in _messages(graph, _INITIALIZER):
            tensors[_last_text(tensor, _NAME)] = tensor
        for node in _messages(graph, _NODE):
            inputs = [_text(value) for value in _messages(node, _INPUT)]
            if _last_text(node, _OPERATOR) == "Conv" and inputs[1:] not in convolutions:
                convolutions.append(inputs[1:])
    if not convolutions:
        raise _DamagedError("has no convolutions")
    found = {}
    for index, names in enumerate(convolutions):
        for kind, name in zip(("weight", "bias"), names, strict=False):
            if name not in tensors:
                raise _DamagedError(f"has no weights {name!r}")
            found[f"{index:03d}.{kind}"] = _to_array(tensors[name], name)
    return found


def _to_array(tensor: memoryview, name: str) -> NDArray[np.float32]:
    shape: list[int] = []
    data_type, raw = 0, memoryview(b"")
    for field, value in _fields(tensor):
        if field == _DIMENSION:
            shape += [value] if isinstance(value, int) else _varints(value)
        elif field == _DATA_TYPE and isinstance(value, int):
            data_type = value
        elif field == _RAW_DATA and not isinstance(value, int):
            raw = value
    if data_type != _FLOAT32 or len(shape) > _MAX_DIMENSIONS or len(raw) != 4 * math.prod(shape):
        raise _DamagedError(f"the weights {name!r} are not whole float32 numbers")
    return np.frombuffer(raw, dtype="<f4").reshape(shape).astype(np.float32)


def _messages(message: memoryview, field: int) -> Iterator[memoryview]:
    """Yield the values of a field that have a length of their own."""
    for number, value in _fields(message):
        if number == field:
            if isinstance(value, int):
                raise _DamagedError("is damaged")
            yield value


def _last_text(message: memoryview, field: int) -> str:
    texts = [_text(value) for value in _messages(message, field)]
    return texts[-1] if texts else ""


def _text(value: memoryview) -> str:
    try:
        return bytes(value).decode()
    except UnicodeDecodeError as error:
        raise _DamagedError("is damaged") from error


def _fields(message: memoryview) -> Iterator[tuple[int, int | memoryview]]:
    """Yield numbers and values of a message's fields: integers, or the bytes of what is no integer."""
    place = 0
    while place < len(message):
        tag, place = _varint(message, place)
        wire_type = tag & 7
        if wire_type == _VARINT:
            value, place = _varint(message, place)
            yield tag >> 3, value
            continue
        if wire_type == _LEN:
            length, place = _varint(message, place)
        elif wire_type in _N_FIXED_BYTES:
            length = _N_FIXED_BYTES[wire_type]
        else:
            raise _DamagedError("is damaged")
        if length > len(message) - place:
            raise _DamagedError("is cut short")
        yield tag >> 3, message[place : place + length]
        place += length


def _varints(message: memoryview) -> list[int]:
    values, place = [], 0
    while place < len(message):
        value, place = _varint(message, place)
        values.append(value)
    return values


def _varint(message: memoryview, place: int) -> tuple[int, int]:
    """Return an integer of seven bits a byte, lowest first, and the place behind it."""
    value = 0
    for index, byte in enumerate(message[place : place + _MAX_VARINT_BYTES]):
        value |= (byte & 0x7F) << (7 * index)
        if byte < 0x80:
            return value, place + index + 1
    raise _DamagedError("is cut short")
