"""TorchScript archives read as data: the tensors of a module tree, and nothing that is executed.

An archive is a zip with a pickle of the module tree (``data.pkl``), one file per tensor storage (``data/0`` ...), and
code, which is left alone.

References
----------
.. [1] PyTorch, "Serialization semantics" and torch/csrc/jit/docs/serialization.md, on the layout of archives.
"""

from __future__ import annotations

import math
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from rb2v.errors import InputError
from rb2v.models.pickles import Name, PickleReader, RejectedError, expect

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
            tree = _TreeReader().read(_read_stored(archive, tree_name, _MAX_TREE_BYTES))
            if not isinstance(tree, _Module):
                raise RejectedError("its tree is not a module")
            folder = tree_name.removesuffix("data.pkl")
            return _load_tensors(archive, folder, _collect_views(tree))
    except RejectedError as error:
        raise InputError(path, str(error), "data.pkl", expected=EXPECTED) from error
    except (zipfile.BadZipFile, OSError, ValueError, EOFError, NotImplementedError, RuntimeError) as error:
        raise InputError(path, "is damaged or cut short", expected=EXPECTED) from error


def _find_tree(archive: zipfile.ZipFile) -> str:
    names = [name for name in archive.namelist() if name.count("/") == 1 and name.endswith("/data.pkl")]
    if len(names) != 1:
        raise RejectedError("is missing" if not names else "is there more than once")
    order = names[0].replace("data.pkl", "byteorder")
    if order in archive.namelist() and _read_stored(archive, order, 16) != b"little":
        raise RejectedError("the numbers are big-endian")
    return names[0]


def _read_stored(archive: zipfile.ZipFile, name: str, max_bytes: int) -> bytes:
    """Read a member that is as large in the file as in memory."""
    info = archive.getinfo(name)
    if info.compress_type != zipfile.ZIP_STORED or info.file_size > max_bytes:
        raise RejectedError(f"{name[:80]!r} is compressed or too large")
    return archive.read(info)


class _TreeReader(PickleReader):
    """Describes modules, views of storages, and plain values."""

    opcodes = frozenset({"LONG1", "BINFLOAT", "EMPTY_LIST", "APPEND", "APPENDS", "BINPERSID", "NEWOBJ"})
    content_name = "tree of modules"
    max_slots = _MAX_MEMORY_SLOTS

    def call(self, name: str, arguments: tuple[Any, ...]) -> object:
        if name == _TENSOR:
            storage, offset, shape, stride = arguments[:4]
            return _View(expect(storage, _Storage), expect(offset, int), _expect_counts(shape), _expect_counts(stride))
        if name == _TAGGED or name in _LISTS:
            return arguments[0]
        if name == _MAPPING and arguments == ():
            return {}
        raise RejectedError(f"calls {name[:80]!r}")

    def set_state(self, described: object, state: object) -> None:
        expect(described, _Module).attributes.update(expect(state, dict))

    def make(self, name: str, arguments: object) -> _Module:
        if not name.startswith(_MODULE_PREFIXES) or arguments != ():
            raise RejectedError(f"makes an object of {name[:80]!r}")
        return _Module()

    def load(self, persistent_id: object) -> _Storage:
        return _describe_storage(persistent_id)


def _expect_counts(values: object) -> tuple[int, ...]:
    counts: tuple[int, ...] = expect(values, tuple)
    if len(counts) > _MAX_DIMENSIONS or any(expect(count, int) < 0 for count in counts):
        raise RejectedError("holds a tensor of an impossible shape")
    return counts


def _describe_storage(identity: object) -> _Storage:
    kind, type_name, key, _, n_elements = _expect_length(identity, 5)
    name = expect(type_name, Name).text
    if kind != "storage" or name not in _STORAGE_TYPES:
        raise RejectedError(f"holds a storage of {name[:80]!r}")
    return _Storage(_STORAGE_TYPES[name], expect(key, str), expect(n_elements, int))


def _expect_length(values: object, length: int) -> Sequence[Any]:
    items: tuple[Any, ...] = expect(values, tuple)
    if len(items) != length:
        raise RejectedError("is damaged")
    return items


def _collect_views(tree: _Module) -> dict[str, _View]:
    views: dict[str, _View] = {}
    seen: set[int] = set()
    todo = [("", tree)]
    while todo:
        prefix, module = todo.pop()
        if id(module) in seen:  # a tree that shares branches could have more names than any memory
            raise RejectedError("holds a module twice")
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
            raise RejectedError(f"{name[:80]!r} lies outside of its storage")
        tensors[name] = storages[storage].as_strided(view.shape, view.stride, view.offset)
    return tensors


def _load_storage(archive: zipfile.ZipFile, member: str, storage: _Storage) -> Tensor:
    if member not in archive.namelist():
        raise RejectedError(f"{member[:80]!r} is missing")
    n_bytes = storage.n_elements * storage.dtype.itemsize
    content = _read_stored(archive, member, n_bytes)
    if len(content) != n_bytes or n_bytes == 0:
        raise RejectedError(f"{member[:80]!r} holds {len(content)} bytes instead of {n_bytes}")
    return torch.frombuffer(bytearray(content), dtype=storage.dtype)
