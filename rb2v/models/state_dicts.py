"""State dicts that torch saved, read as data without torch: float32 tensors by name, and nothing that is executed.

The pickle in such a file names three things; any other name is rejected.

References
----------
.. [1] PyTorch, ``torch.save``, on both forms: an archive since 1.6, five pickles and the storages before.
"""

from __future__ import annotations

import io
import math
import struct
import zipfile
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rb2v.errors import InputError
from rb2v.models.pickles import Name, PickleReader, RejectedError, expect

_MAPPING, _STORAGE, _TENSOR = "collections OrderedDict", "torch FloatStorage", "torch._utils _rebuild_tensor_v2"
_MAX_MEMORY_SLOTS = 10**6  # of the pickle; more would fill the memory
_EXPECTED = "a state dict of float32 tensors, as torch.save writes it"
_ARCHIVE_START = b"PK\x03\x04"
_MAGIC = 0x1950A86A20F9469CFC6C  # torch.serialization.MAGIC_NUMBER, the first pickle of files from before torch 1.6
_PARALLEL_PREFIX = "module."
_N_FLOAT_BYTES = 4  # of a float32


class _Storage(NamedTuple):
    key: str
    n_floats: int


class _Tensor(NamedTuple):
    storage: _Storage
    shape: tuple[int, ...]


def convert_state_dict(content: bytes, source: str) -> dict[str, NDArray[np.float32]]:
    """Return the tensors of a state dict by name, without the prefix of a network that was trained in parallel.

    Parameters
    ----------
    content : bytes
        What ``torch.save`` wrote, in either of its forms.
    source : str
        Where it is from, for errors.

    Returns
    -------
    dict of ndarray of float32
        Tensors in their shapes; ``module.`` is taken off where all names begin with it.

    Raises
    ------
    InputError
        If the content is damaged or cut short, names anything that float32 tensors are not written with, or holds
        other things than such tensors by name.
    """
    try:
        tensors = _read_archive(content) if content.startswith(_ARCHIVE_START) else _read_older_form(content)
    except RejectedError as error:
        raise InputError(source, str(error), expected=_EXPECTED) from error
    except Exception as error:  # there is hardly one that unpickling does not raise on damaged files
        raise InputError(source, "is damaged or cut short", expected=_EXPECTED) from error
    is_parallel = all(name.startswith(_PARALLEL_PREFIX) for name in tensors)
    return {name.removeprefix(_PARALLEL_PREFIX) if is_parallel else name: tensors[name] for name in tensors}


class _TensorReader(PickleReader):
    """Describes float32 tensors by their storages."""

    opcodes = frozenset(
        {
            *("LONG1", "BINFLOAT", "EMPTY_LIST", "APPEND", "APPENDS", "BINPERSID"),
            *("SHORT_BINSTRING", "BINSTRING"),  # names, where Python 2 wrote the file
        }
    )
    content_name = "float32 tensor"
    max_slots = _MAX_MEMORY_SLOTS
    names = frozenset({_MAPPING, _STORAGE, _TENSOR})

    def call(self, name: str, arguments: tuple[Any, ...]) -> object:
        if name == _MAPPING:
            return dict(*arguments)  # of Python 2 with its items
        if name == _TENSOR:
            return _note_tensor(*arguments[:4])
        raise RejectedError(f"calls {name!r}")

    def set_state(self, described: object, state: object) -> None:
        expect(described, dict)  # the attributes that torch gives a mapping are dropped

    def load(self, persistent_id: object) -> _Storage:
        kind, storage_type, key, _, n_floats, *views = expect(persistent_id, tuple)
        if kind != "storage" or storage_type != Name(_STORAGE) or any(view is not None for view in views):
            raise RejectedError("holds another kind of storage")
        return _Storage(str(key), expect(n_floats, int))


def _note_tensor(storage: object, offset: object, shape: object, stride: object) -> _Tensor:
    sizes = tuple(expect(size, int) for size in expect(shape, tuple))
    steps = tuple(math.prod(sizes[axis + 1 :]) for axis in range(len(sizes)))
    whole: _Storage = expect(storage, _Storage)
    if offset != 0 or stride != steps or math.prod(sizes) != whole.n_floats:
        raise RejectedError("holds a tensor that is part of another one")
    return _Tensor(whole, sizes)


def _read_archive(content: bytes) -> dict[str, NDArray[np.float32]]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
            raise RejectedError("is a compressed archive, which torch does not write")
        root = archive.namelist()[0].partition("/")[0]
        wanted = _check(_TensorReader().read(archive.read(f"{root}/data.pkl")))
        return {
            name: _fill(tensor, archive.read(f"{root}/data/{tensor.storage.key}")) for name, tensor in wanted.items()
        }


def _read_older_form(content: bytes) -> dict[str, NDArray[np.float32]]:
    stream = io.BytesIO(content)
    magic, _, machine, state, keys = (_TensorReader().read(stream) for _ in range(5))
    if magic != _MAGIC or expect(machine, dict)["little_endian"] is not True:
        raise RejectedError("was not written by torch")
    wanted = _check(state)
    n_floats = {tensor.storage.key: tensor.storage.n_floats for tensor in wanted.values()}
    storages: dict[str, bytes] = {}
    for key in expect(keys, list):
        (n_stored,) = struct.unpack("<q", stream.read(8))
        if n_stored != n_floats[key]:
            raise RejectedError(f"holds a storage of {n_stored} numbers instead of {n_floats[key]}")
        storages[key] = stream.read(n_stored * _N_FLOAT_BYTES)
    return {name: _fill(tensor, storages[tensor.storage.key]) for name, tensor in wanted.items()}


def _check(state: object) -> dict[str, _Tensor]:
    if not isinstance(state, dict) or not state:
        raise RejectedError("holds no tensors by name")
    for name, tensor in state.items():
        if not isinstance(name, str) or not isinstance(tensor, _Tensor):
            raise RejectedError(f"holds {str(name)[:80]!r}, which is not a tensor")
    return state


def _fill(tensor: _Tensor, content: bytes) -> NDArray[np.float32]:
    if len(content) != _N_FLOAT_BYTES * tensor.storage.n_floats:
        raise RejectedError("is cut short")
    return np.frombuffer(content, dtype="<f4").reshape(tensor.shape).astype(np.float32)
