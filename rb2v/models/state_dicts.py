"""State dicts that torch saved, read as data without torch: float32 tensors by name, and nothing that is executed.

The pickle in such a file names three things, for which its reader is given stand-ins that only note what they are
called with; any other name is refused.

References
----------
.. [1] PyTorch, ``torch.save``, on both forms: an archive since 1.6, five pickles and the storages before.
"""

from __future__ import annotations

import io
import math
import pickle
import struct
import zipfile
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from rb2v.errors import InputError

_EXPECTED = "a state dict of float32 tensors, as torch.save writes it"
_ARCHIVE_START = b"PK\x03\x04"
_MAGIC = 0x1950A86A20F9469CFC6C  # torch.serialization.MAGIC_NUMBER, the first pickle of files from before torch 1.6
_PARALLEL_PREFIX = "module."
_N_FLOAT_BYTES = 4  # of a float32


class _RefusedError(Exception):
    """What the file holds is not what a state dict is written with."""


class _FloatStorage:
    """Stands for the type of a storage; never made."""


class _Storage(NamedTuple):
    key: str
    n_floats: int


class _Tensor(NamedTuple):
    storage: _Storage
    shape: tuple[int, ...]


class _Names(dict[str, Any]):
    """Stands for an OrderedDict; the attributes that torch gives it are dropped."""

    def __setstate__(self, state: object) -> None:
        pass


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
    except _RefusedError as error:
        raise InputError(source, str(error), expected=_EXPECTED) from error
    except Exception as error:  # there is hardly one that unpickling does not raise on damaged files
        raise InputError(source, "is damaged or cut short", expected=_EXPECTED) from error
    is_parallel = all(name.startswith(_PARALLEL_PREFIX) for name in tensors)
    return {name.removeprefix(_PARALLEL_PREFIX) if is_parallel else name: tensors[name] for name in tensors}


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:  # noqa: ANN401 - a stand-in
        stand_ins = {
            "collections OrderedDict": _Names,
            "torch FloatStorage": _FloatStorage,
            "torch._utils _rebuild_tensor_v2": _note_tensor,
        }
        if f"{module} {name}" not in stand_ins:
            raise _RefusedError(f"names {f'{module} {name}'[:80]!r}, which no float32 tensor is written with")
        return stand_ins[f"{module} {name}"]

    def persistent_load(self, pid: Any) -> _Storage:  # noqa: ANN401 - checked here
        kind, storage_type, key, _, n_floats, *views = pid
        if kind != "storage" or storage_type is not _FloatStorage or any(view is not None for view in views):
            raise _RefusedError("holds another kind of storage")
        return _Storage(str(key), int(n_floats))


def _note_tensor(
    storage: _Storage, offset: int, shape: tuple[int, ...], stride: tuple[int, ...], *_: object
) -> _Tensor:
    steps = [math.prod(shape[axis + 1 :]) for axis in range(len(shape))]
    if offset != 0 or list(stride) != steps or math.prod(shape) != storage.n_floats:
        raise _RefusedError("holds a tensor that is part of another one")
    return _Tensor(storage, tuple(shape))


def _read_archive(content: bytes) -> dict[str, NDArray[np.float32]]:
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        if any(member.compress_type != zipfile.ZIP_STORED for member in archive.infolist()):
            raise _RefusedError("is a compressed archive, which torch does not write")
        root = archive.namelist()[0].partition("/")[0]
        wanted = _check(_Reader(io.BytesIO(archive.read(f"{root}/data.pkl"))).load())
        return {
            name: _fill(tensor, archive.read(f"{root}/data/{tensor.storage.key}")) for name, tensor in wanted.items()
        }


def _read_older_form(content: bytes) -> dict[str, NDArray[np.float32]]:
    stream = io.BytesIO(content)
    magic, _, machine, state, keys = (_Reader(stream).load() for _ in range(5))
    if magic != _MAGIC or machine["little_endian"] is not True:
        raise _RefusedError("was not written by torch")
    wanted = _check(state)
    n_floats = {tensor.storage.key: tensor.storage.n_floats for tensor in wanted.values()}
    storages: dict[str, bytes] = {}
    for key in keys:
        (n_stored,) = struct.unpack("<q", stream.read(8))
        if n_stored != n_floats[key]:
            raise _RefusedError(f"holds a storage of {n_stored} numbers instead of {n_floats[key]}")
        storages[key] = stream.read(n_stored * _N_FLOAT_BYTES)
    return {name: _fill(tensor, storages[tensor.storage.key]) for name, tensor in wanted.items()}


def _check(state: object) -> dict[str, _Tensor]:
    if not isinstance(state, dict) or not state:
        raise _RefusedError("holds no tensors by name")
    for name, tensor in state.items():
        if not isinstance(name, str) or not isinstance(tensor, _Tensor):
            raise _RefusedError(f"holds {str(name)[:80]!r}, which is no tensor")
    return state


def _fill(tensor: _Tensor, content: bytes) -> NDArray[np.float32]:
    if len(content) != _N_FLOAT_BYTES * tensor.storage.n_floats:
        raise _RefusedError("is cut short")
    return np.frombuffer(content, dtype="<f4").reshape(tensor.shape).astype(np.float32)
