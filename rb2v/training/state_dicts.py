"""State dicts in files that torch wrote for others, as data: nothing in them is executed."""

from __future__ import annotations

import io
import pickletools
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from rb2v.errors import InputError
from rb2v.training.tensor_files import MAX_FILE_BYTES, check_file

_ARCHIVE_START = b"PK\x03\x04"
"""By which torch itself tells the forms apart; an archive behind other bytes is not one to it."""
_N_OLDER_PICKLES = 5
"""Of a file in the older form, before its numbers: magic number, version, machine, the object, names of storages."""
_INTEGERS = {"BININT", "BININT1", "BININT2", "LONG1"}
_MEMORIZING = {"BINPUT", "LONG_BINPUT"}
_STORAGE_ENDING = ("NONE", "TUPLE", "BINPERSID")


def read_state_dict(
    path: Path, expected: str, *, entry: str | None = None, allow_older_form: bool = False
) -> dict[str, Tensor]:
    """Read tensors by their names; memory is taken for what the file holds, not for what it claims to hold.

    Parameters
    ----------
    path : Path
        What ``torch.save`` wrote.
    expected : str
        What the file should be, for the messages.
    entry : str, optional
        Where the state dict is in a mapping; the mapping itself is the state dict if not given.
    allow_older_form : bool
        Also read what torch wrote before version 1.6, which is no archive.

    Returns
    -------
    dict of str to tensor
        On the CPU; names, shapes and values are not checked.

    Raises
    ------
    InputError
        If the file is missing, too large, damaged, in a form that is not read, or holds anything but tensors.
    """
    check_file(path, expected)
    source: Path | BinaryIO = path
    try:
        with path.open("rb") as file:
            is_archive = file.read(len(_ARCHIVE_START)) == _ARCHIVE_START
        if is_archive:
            _check_archive(path, expected)
        elif allow_older_form:
            # From memory, so that what is read is what was checked; and reads from memory end where the data end.
            source = io.BytesIO(path.read_bytes())
            _check_older_form(path, source, expected)
        else:
            raise InputError(path, "is damaged, or was not written by torch 1.6 or later", expected=expected)
        state: Any = torch.load(source, map_location="cpu", weights_only=True)
    except InputError:
        raise
    except Exception as error:  # there is hardly one that torch does not raise on damaged files
        raise InputError(path, "is damaged, or holds more than tensors", expected=expected) from error
    if entry is not None:
        if not isinstance(state, Mapping) or entry not in state:
            raise InputError(path, "is missing", entry, expected)
        state = state[entry]
    if not isinstance(state, Mapping) or not all(
        isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in state.items()
    ):
        raise InputError(path, "holds other things than tensors by their names", entry, expected)
    return dict(state)


def _check_archive(path: Path, expected: str) -> None:
    with zipfile.ZipFile(path) as archive:
        members = archive.infolist()
        if any(member.compress_type != zipfile.ZIP_STORED for member in members):
            raise InputError(path, "is a compressed archive, which torch does not write", expected=expected)
        if sum(member.file_size for member in members) > MAX_FILE_BYTES:
            raise InputError(path, "claims to hold more than it does", expected=expected)
        if archive.testzip() is not None:  # torch does not look at checksums
            raise InputError(path, "is damaged", expected=expected)


def _check_older_form(path: Path, source: BinaryIO, expected: str) -> None:
    """Check that the storages are no larger than the file, since torch takes their memory before it reads them.

    A storage is a tuple that ends with its size and None, and is handed over at once; every one is looked at, in the
    form in which torch writes it, and without following the program that a pickle is.
    """
    n_claimed = 0
    for _ in range(_N_OLDER_PICKLES):
        before: list[tuple[str, Any]] = []
        for opcode, argument, _ in pickletools.genops(source):
            if opcode.name in _MEMORIZING:
                continue
            before = [*before[-3:], (opcode.name, argument)]
            if opcode.name not in ("BINPERSID", "PERSID"):
                continue
            names = tuple(name for name, _ in before)
            if names[1:] != _STORAGE_ENDING or names[0] not in _INTEGERS or before[0][1] < 0:
                raise InputError(path, "is damaged, or was not written by torch", expected=expected)
            n_claimed += before[0][1]
    n_bytes = source.seek(0, io.SEEK_END)
    source.seek(0)
    if n_claimed > n_bytes:
        raise InputError(path, "claims to hold more than it does, or is damaged", expected=expected)
