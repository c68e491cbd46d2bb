"""Weights in safetensors files with one JSON header, as data: nothing in them is executed."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import safe_open
from torch import Tensor, nn

from rb2v.errors import InputError, require_file
from rb2v.io.store import parse_json, whole_file

MAX_FILE_BYTES = 2**29
"""Above the largest network that a configuration can ask for."""

# One entry: safetensors writes several in an order that changes from run to run.
_METADATA_KEY = "rb2v"


def write_tensors(path: Path, tensors: Mapping[str, Tensor], header: str) -> Path:
    """Write weights and their header whole or not at all; the same ones give the same bytes.

    Parameters
    ----------
    path : Path
        The file to write.
    tensors : mapping of str to tensor
        Weights.
    header : str
        A JSON object.
    """
    stored = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    with whole_file(path) as temporary:
        # Its own writing to files goes to another one, which a kill leaves.
        temporary.write_bytes(safetensors.torch.save(stored, metadata={_METADATA_KEY: header}))
    return path


def check_file(path: Path, expected: str) -> None:
    """Check that there is a file that may hold weights.

    Raises
    ------
    InputError
        If there is none, or it is too large.
    """
    require_file(path, expected)
    if path.stat().st_size > MAX_FILE_BYTES:
        raise InputError(path, f"is larger than {MAX_FILE_BYTES >> 20} MiB", expected=expected)


def check_header(path: Path, header: Mapping[str, Any], *, kind: str, format_version: object) -> None:
    """Check that the header of a file names the kind and the version of its contents.

    Raises
    ------
    InputError
        If it names others; ``key`` is ``kind`` or ``format``.
    """
    for name, value in (("kind", kind), ("format", format_version)):
        if header.get(name) != value:
            raise InputError(path, f"is {header.get(name)!r}", name, expected=str(value))


def read_tensors(path: Path, expected: str) -> tuple[dict[str, Any], dict[str, Tensor]]:
    """Read what `write_tensors` wrote.

    Parameters
    ----------
    path : Path
        The file.
    expected : str
        What the file should be, for the message.

    Returns
    -------
    header : dict
        Not checked yet.
    tensors : dict of str to tensor
        On the CPU.

    Raises
    ------
    InputError
        If the file is missing, too large, cut short, no safetensors, or has no header.
    """
    check_file(path, expected)
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
    except Exception as error:  # of sizes that no tensor has, torch raises what it likes
        raise InputError(path, "is not a safetensors file, or is cut short", expected=expected) from error
    try:
        header = parse_json(metadata.get(_METADATA_KEY, ""))
    except ValueError as error:
        raise InputError(path, "holds no rb2v header", _METADATA_KEY, expected=expected) from error
    if not isinstance(header, dict):
        raise InputError(path, "is not a JSON object", _METADATA_KEY, expected=expected)
    return header, tensors


def fill(path: Path, network: nn.Module, tensors: Mapping[str, Tensor], kind: str, expected: str) -> None:
    """Give a network its weights from a file, if they are its own to the last name and shape.

    Parameters
    ----------
    path : Path
        Where the tensors come from, for the messages.
    network : Module
        The network; floats in half precision are widened to its own.
    tensors : mapping of str to tensor
        What the file holds.
    kind, expected : str
        What the network is, and what the file should be, for the messages.

    Raises
    ------
    InputError
        If a tensor is missing, unknown, of another shape or type, or not finite, named in the message.
    """
    wanted = network.state_dict()
    for name in sorted(wanted.keys() | tensors.keys()):
        if name not in tensors:
            raise InputError(path, "is missing", name, expected)
        if name not in wanted:
            shown = name.encode("unicode_escape").decode()[:80]
            raise InputError(path, f"is not a tensor of {kind}", shown)
        tensor = tensors[name]
        alike = (
            {describe(wanted[name]), describe(wanted[name].half())}
            if wanted[name].is_floating_point()
            else {describe(wanted[name])}
        )
        if tensor.layout != torch.strided or describe(tensor) not in alike:
            raise InputError(path, f"is {describe(tensor)}", name, expected=describe(wanted[name]))
        if tensor.is_meta or not torch.isfinite(tensor).all():
            raise InputError(path, "holds values that are not finite", name)
    network.load_state_dict(tensors)


def describe(tensor: Tensor) -> str:
    """Return a tensor's type and shape in words.

    Examples
    --------
    >>> describe(torch.zeros(2, 3))
    'float32 (2, 3)'
    """
    return f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"
