"""TorchScript archives read as data: the tensors of a module tree, and nothing that is executed.

An archive is a zip with a pickle of the module tree (``data.pkl``), one file per tensor storage (``data/0`` ...), and
code, which is left alone. The pickle is walked through here opcode by opcode: of the few opcodes that such a tree is
written with, none calls anything.

References
----------
.. [1] PyTorch, "Serialization semantics" and torch/csrc/jit/docs/serialization.md, on the layout of archives.
.. [2] Python, ``pickletools``, on the opcodes.
"""

from __future__ import annotations

import io
import math
import pickletools
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rb2v.errors import InputError

EXPECTED = "a TorchScript archive of BackgroundMattingV2, whole as it was downloaded"

_MAX_TREE_BYTES = 8 * 2**20  # the tree holds names and shapes, no numbers; more would fill the memory
_MAX_MEMORY_SLOTS = 10**6  # of the pickle; more would fill the memory
_MAX_DIMENSIONS = 8  # convolutions have four

_STORAGE_TYPES = {
    "torch FloatStorage": torch.float32,
    "torch HalfStorage": torch.float16,
    "torch DoubleStorage": torch.float64,
    "torch LongStorage": torch.int64,
}
_LISTS = {f"torch.jit._pickle build_{kind}list" for kind in ("int", "double", "bool", "tensor")}
_TENSOR, _TAGGED, _MAPPING = (
    "torch._utils _rebuild_tensor_v2",
    "torch.jit._pickle restore_type_tag",
    "collections OrderedDict",
)
_MODULE_PREFIXES = ("__torch__.", "__torch__ ")  # with the class in a package, or not


class _RefusedError(Exception):
    """What the pickle holds is not what a tree of modules is written with."""


@dataclass(frozen=True)
class _Name:
    """A global that the pickle names; it is never looked up."""

    text: str


@dataclass(eq=False)
class _Module:
    attributes: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class _Storage:
    dtype: torch.dtype
    key: str
    n_elements: int


@dataclass(frozen=True)
class _View:
    """A tensor: a part of a storage."""

    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    stride: tuple[int, ...]


class _Mark:
    pass


def is_torchscript(path: Path) -> bool:
    """Tell whether a file is a zip archive with TorchScript's parts."""
    try:
        if not zipfile.is_zipfile(path):
            return False
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith("/constants.pkl") for name in archive.namelist())
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        raise InputError(path, "is damaged or cut short", expected=EXPECTED) from error


def read_torchscript(path: Path) -> dict[str, Tensor]:
    """Return the parameters and buffers of an archive by their dotted names.

    Raises
    ------
    InputError
        If the archive is damaged, compressed where it is not to be, or its tree holds anything but modules, plain
        values and tensors.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            tree_name = _find_tree(archive)
            tree = _walk(_read_stored(archive, tree_name, _MAX_TREE_BYTES))
            if not isinstance(tree, _Module):
                raise _RefusedError("its tree is no module")
            folder = tree_name.removesuffix("data.pkl")
            return _load_tensors(archive, folder, _collect_views(tree))
    except _RefusedError as error:
        raise InputError(path, str(error), "data.pkl", expected=EXPECTED) from error
    except (zipfile.BadZipFile, OSError, ValueError, EOFError, NotImplementedError, RuntimeError) as error:
        raise InputError(path, "is damaged or cut short", expected=EXPECTED) from error


def _find_tree(archive: zipfile.ZipFile) -> str:
    names = [name for name in archive.namelist() if name.count("/") == 1 and name.endswith("/data.pkl")]
    if len(names) != 1:
        raise _RefusedError("is missing" if not names else "is there more than once")
    order = names[0].replace("data.pkl", "byteorder")
    if order in archive.namelist() and _read_stored(archive, order, 16) != b"little":
        raise _RefusedError("the numbers are big-endian")
    return names[0]


def _read_stored(archive: zipfile.ZipFile, name: str, max_bytes: int) -> bytes:
    """Read a member that is as large in the file as in memory."""
    info = archive.getinfo(name)
    if info.compress_type != zipfile.ZIP_STORED or info.file_size > max_bytes:
        raise _RefusedError(f"{name[:80]!r} is compressed or too large")
    return archive.read(info)


def _walk(pickled: bytes) -> object:
    """Return what a pickle describes: modules, views of storages, and plain values."""
    stack: list[Any] = []
    memory: dict[int, Any] = {}

    def pop_to_mark() -> list[Any]:
        items: list[Any] = []
        while not isinstance(stack[-1], _Mark):
            items.append(stack.pop())
        stack.pop()
        return items[::-1]

    try:
        for opcode, argument, _ in pickletools.genops(io.BytesIO(pickled)):
            match opcode.name:
                case "PROTO":
                    pass
                case "STOP":
                    (result,) = stack
                    return result
                case "MARK":
                    stack.append(_Mark())
                case "NONE" | "NEWTRUE" | "NEWFALSE":
                    stack.append({"NONE": None, "NEWTRUE": True, "NEWFALSE": False}[opcode.name])
                case "BINUNICODE" | "BININT" | "BININT1" | "BININT2" | "LONG1" | "BINFLOAT":
                    stack.append(argument)
                case "GLOBAL":
                    stack.append(_Name(str(argument)))
                case "EMPTY_TUPLE":
                    stack.append(())
                case "EMPTY_LIST":
                    stack.append([])
                case "EMPTY_DICT":
                    stack.append({})
                case "TUPLE":
                    stack.append(tuple(pop_to_mark()))
                case "TUPLE1" | "TUPLE2" | "TUPLE3":
                    items = [stack.pop() for _ in range(int(opcode.name[-1]))]
                    stack.append(tuple(items[::-1]))
                case "APPEND":
                    item = stack.pop()
                    _expect(stack[-1], list).append(item)
                case "APPENDS":
                    items = pop_to_mark()
                    _expect(stack[-1], list).extend(items)
                case "SETITEM":
                    item, key = stack.pop(), stack.pop()
                    _expect(stack[-1], dict)[_expect(key, str)] = item
                case "SETITEMS":
                    items = pop_to_mark()
                    entries = zip(items[::2], items[1::2], strict=True)
                    _expect(stack[-1], dict).update((_expect(key, str), item) for key, item in entries)
                case "BINPUT" | "LONG_BINPUT":
                    if len(memory) > _MAX_MEMORY_SLOTS:
                        raise _RefusedError("is too large")
                    memory[_expect(argument, int)] = stack[-1]
                case "BINGET" | "LONG_BINGET":
                    stack.append(memory[_expect(argument, int)])
                case "BINPERSID":
                    stack.append(_describe_storage(stack.pop()))
                case "NEWOBJ":
                    arguments, name = stack.pop(), stack.pop()
                    stack.append(_make_module(name, arguments))
                case "REDUCE":
                    arguments, name = stack.pop(), stack.pop()
                    stack.append(_rebuild(_expect(name, _Name).text, _expect(arguments, tuple)))
                case "BUILD":
                    state = _expect(stack.pop(), dict)
                    _expect(stack[-1], _Module).attributes.update(state)
                case other:
                    raise _RefusedError(f"holds {other}, which no tree of modules does")
    except (IndexError, KeyError, TypeError) as error:
        raise _RefusedError("is damaged") from error
    raise _RefusedError("is cut short")


def _expect(value: Any, kind: type) -> Any:  # noqa: ANN401 - of the kind asked for
    if not isinstance(value, kind) or (kind is int and isinstance(value, bool)):
        raise _RefusedError(f"holds a {type(value).__name__.strip('_')} where a {kind.__name__.strip('_')} belongs")
    return value


def _make_module(name: object, arguments: object) -> _Module:
    text: str = _expect(name, _Name).text
    if not text.startswith(_MODULE_PREFIXES) or arguments != ():
        raise _RefusedError(f"makes an object of {text[:80]!r}")
    return _Module()


def _rebuild(name: str, arguments: tuple[Any, ...]) -> object:
    if name == _TENSOR:
        storage, offset, shape, stride = arguments[:4]
        return _View(_expect(storage, _Storage), _expect(offset, int), _expect_counts(shape), _expect_counts(stride))
    if name == _TAGGED or name in _LISTS:
        return arguments[0]
    if name == _MAPPING and arguments == ():
        return {}
    raise _RefusedError(f"calls {name[:80]!r}")


def _expect_counts(values: object) -> tuple[int, ...]:
    counts: tuple[int, ...] = _expect(values, tuple)
    if len(counts) > _MAX_DIMENSIONS or any(_expect(count, int) < 0 for count in counts):
        raise _RefusedError("holds a tensor of an impossible shape")
    return counts


def _describe_storage(identity: object) -> _Storage:
    kind, type_name, key, _, n_elements = _expect_length(identity, 5)
    name = _expect(type_name, _Name).text
    if kind != "storage" or name not in _STORAGE_TYPES:
        raise _RefusedError(f"holds a storage of {name[:80]!r}")
    return _Storage(_STORAGE_TYPES[name], _expect(key, str), _expect(n_elements, int))


def _expect_length(values: object, length: int) -> Sequence[Any]:
    items: tuple[Any, ...] = _expect(values, tuple)
    if len(items) != length:
        raise _RefusedError("is damaged")
    return items


def _collect_views(tree: _Module) -> dict[str, _View]:
    views: dict[str, _View] = {}
    seen: set[int] = set()
    todo = [("", tree)]
    while todo:
        prefix, module = todo.pop()
        if id(module) in seen:  # a tree that shares branches could have more names than any memory
            raise _RefusedError("holds a module twice")
        seen.add(id(module))
        for name, value in module.attributes.items():
            if isinstance(value, _Module):
                todo.append((f"{prefix}{name}.", value))
            elif isinstance(value, _View):
                views[f"{prefix}{name}"] = value
    return views


def _load_tensors(archive: zipfile.ZipFile, folder: str, views: dict[str, _View]) -> dict[str, Tensor]:
    storages: dict[_Storage, Tensor] = {}
    tensors = {}
    for name, view in views.items():
        storage = view.storage
        if storage not in storages:
            storages[storage] = _load_storage(archive, f"{folder}data/{storage.key}", storage)
        reach = view.offset + sum((size - 1) * step for size, step in zip(view.shape, view.stride, strict=True))
        if math.prod(view.shape) > storage.n_elements or not 0 <= view.offset <= reach < storage.n_elements:
            raise _RefusedError(f"{name[:80]!r} lies outside of its storage")
        tensors[name] = storages[storage].as_strided(view.shape, view.stride, view.offset)
    return tensors


def _load_storage(archive: zipfile.ZipFile, member: str, storage: _Storage) -> Tensor:
    if member not in archive.namelist():
        raise _RefusedError(f"{member[:80]!r} is missing")
    n_bytes = storage.n_elements * storage.dtype.itemsize
    content = _read_stored(archive, member, n_bytes)
    if len(content) != n_bytes or n_bytes == 0:
        raise _RefusedError(f"{member[:80]!r} holds {len(content)} bytes instead of {n_bytes}")
    return torch.frombuffer(bytearray(content), dtype=storage.dtype)
