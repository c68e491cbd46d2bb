"""Trained order networks in files: our own, which hold their configuration, and the authors' released weights."""

from __future__ import annotations

import dataclasses
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from rb2v import __version__
from rb2v.errors import InputError, Rb2vError
from rb2v.hypercut.config import TrainHyperCutConfig, recommend
from rb2v.hypercut.networks import OrderNetwork, make_order_network
from rb2v.hypercut.networks.residual import MAX_UPSTREAM_DIMENSIONS
from rb2v.io.store import SCHEMA, check_schema, parse_json, validate, whole_file

KIND = "hypercut-order"
FORMAT = 2
"""Raised when weights of before would give other scores; the first one called the negative side *reverse*."""
CHECKPOINT_NAME = "checkpoint.safetensors"
"""Of the checkpoint in the folder of a run."""
MAX_FILE_BYTES = 2**29
"""Above the largest network that a configuration can ask for."""
RELEASED_SUFFIX = ".pth"
RELEASED_SIZE_PX = 448
"""Size of the frames that the authors' weights are for."""

# One entry: safetensors writes several in an order that changes from run to run.
_METADATA_KEY = "rb2v"
_EXPECTED = "a checkpoint that 'rb2v train-hypercut' wrote"
_EXPECTED_RELEASED = "the state dict that the authors of HyperCUT released"
_PARALLEL_PREFIX = "module."
_PLANE = "hyperplane.hyperplane"


def save_order_network(
    path: Path, weights: Mapping[str, Tensor], config: TrainHyperCutConfig, data_sha256: str
) -> Path:
    """Write a checkpoint whole or not at all; the same weights give the same bytes.

    Parameters
    ----------
    path : Path
        The file to write.
    weights : mapping of str to tensor
        ``OrderNetwork.state_dict()``, with the plane's normal.
    config : TrainHyperCutConfig
        What the network was built and trained with, the seed of the normal included.
    data_sha256 : str
        Digest of the shards' manifest.
    """
    header = {
        "schema": SCHEMA,
        "kind": KIND,
        "format": FORMAT,
        "version": __version__,
        "config": dataclasses.asdict(config),
        "data_sha256": data_sha256,
    }
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    with whole_file(path) as temporary:
        # Its own writing to files goes to another one, which a kill leaves.
        temporary.write_bytes(safetensors.torch.save(tensors, metadata={_METADATA_KEY: json.dumps(header)}))
    return path


def load_order_network(path: Path) -> tuple[OrderNetwork, TrainHyperCutConfig]:
    """Read a trained network; nothing in the file is executed.

    Parameters
    ----------
    path : Path
        A file that ``save_order_network`` wrote, the folder of a run, or the authors' weights: a ``.pth`` file.

    Returns
    -------
    network : OrderNetwork
        On the CPU, in evaluation mode.
    config : TrainHyperCutConfig
        What it was trained with; of the authors' weights, the network and the size of its frames.

    Raises
    ------
    InputError
        If the file is missing, too large, no safetensors or state dict, no order network, of an earlier version, or
        lacks a tensor or holds one that is unknown, of another shape or type, or not finite, named in the message.
    """
    if path.is_dir():
        path = path / CHECKPOINT_NAME
    released = path.suffix == RELEASED_SUFFIX
    expected = _EXPECTED_RELEASED if released else _EXPECTED
    if not path.is_file():
        raise InputError(path, "there is no such file", expected=expected)
    if path.stat().st_size > MAX_FILE_BYTES:
        raise InputError(path, f"is larger than {MAX_FILE_BYTES >> 20} MiB", expected=expected)
    return _load_released(path) if released else _load_own(path)


def _load_own(path: Path) -> tuple[OrderNetwork, TrainHyperCutConfig]:
    header, tensors = _read_safetensors(path)
    check_schema(path, header)
    if header.get("kind") != KIND:
        raise InputError(path, f"is {header.get('kind')!r}", "kind", expected=KIND)
    if header.get("format") != FORMAT:
        raise InputError(
            path,
            f"is {header.get('format', 1)!r}, of rb2v {header.get('version')}: its scores mean something else",
            "format",
            f"{FORMAT}; train the network again",
        )
    config = validate(TrainHyperCutConfig, header.get("config"), path)
    # Before the network is built: its size is the file's word, and could be any.
    plane, n_numbers = (
        (_PLANE, config.n_dimensions + 1) if config.arch == "upstream" else ("normal", config.n_dimensions)
    )
    if plane in tensors and tensors[plane].numel() != n_numbers:
        raise InputError(path, f"is {_describe(tensors[plane])}", plane, f"{n_numbers} numbers")
    return _build(path, config, tensors, _EXPECTED), config


def _load_released(path: Path) -> tuple[OrderNetwork, TrainHyperCutConfig]:
    tensors = _read_state_dict(path)
    if all(name.startswith(_PARALLEL_PREFIX) for name in tensors):
        tensors = {name.removeprefix(_PARALLEL_PREFIX): tensor for name, tensor in tensors.items()}
    if _PLANE not in tensors:
        raise InputError(path, "is missing", _PLANE, _EXPECTED_RELEASED)
    plane = tensors[_PLANE]
    if plane.dim() != 1 or not 2 <= plane.numel() <= MAX_UPSTREAM_DIMENSIONS + 1:
        raise InputError(path, f"is {_describe(plane)}", _PLANE, f"2 to {MAX_UPSTREAM_DIMENSIONS + 1} numbers")
    config = recommend("upstream", n_dimensions=plane.numel() - 1, image_size=RELEASED_SIZE_PX)
    return _build(path, config, tensors, _EXPECTED_RELEASED), config


def _build(path: Path, config: TrainHyperCutConfig, tensors: Mapping[str, Tensor], expected: str) -> OrderNetwork:
    try:
        network = make_order_network(config.arch, config.n_dimensions, config.seed)
    except Rb2vError as error:
        raise InputError(path, str(error), "config") from error
    wanted = network.state_dict()
    for name in sorted(wanted.keys() | tensors.keys()):
        if name not in tensors:
            raise InputError(path, "is missing", name, expected)
        if name not in wanted:
            shown = name.encode("unicode_escape").decode()[:80]
            raise InputError(path, f"is no tensor of a {config.arch!r} network", shown)
        tensor = tensors[name]
        if tensor.layout != torch.strided or _describe(tensor) != _describe(wanted[name]):
            raise InputError(path, f"is {_describe(tensor)}", name, expected=_describe(wanted[name]))
        if tensor.is_meta or not torch.isfinite(tensor).all():
            raise InputError(path, "holds values that are not finite", name)
    network.load_state_dict(tensors)
    return network.eval()


def _read_safetensors(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    try:
        with safe_open(path, framework="pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
    except (SafetensorError, OSError) as error:
        raise InputError(path, "is no safetensors file, or is cut short", expected=_EXPECTED) from error
    try:
        header = parse_json(metadata.get(_METADATA_KEY, ""))
    except ValueError as error:
        raise InputError(path, "holds no rb2v header", _METADATA_KEY, expected=_EXPECTED) from error
    if not isinstance(header, dict):
        raise InputError(path, "is no JSON object", _METADATA_KEY, expected=_EXPECTED)
    return header, tensors


def _read_state_dict(path: Path) -> dict[str, Tensor]:
    if not zipfile.is_zipfile(path):
        # In the older form a file of some bytes can claim tensors of any size, and they are allocated at once.
        problem = "is damaged, or was not written by torch 1.6 or later"
        raise InputError(path, problem, expected=_EXPECTED_RELEASED)
    try:
        with zipfile.ZipFile(path) as archive:
            members = archive.infolist()
            if any(member.compress_type != zipfile.ZIP_STORED for member in members):
                raise InputError(
                    path, "is a compressed archive, which torch does not write", expected=_EXPECTED_RELEASED
                )
            if sum(member.file_size for member in members) > MAX_FILE_BYTES:
                raise InputError(path, "claims to hold more than it does", expected=_EXPECTED_RELEASED)
            if archive.testzip() is not None:  # torch does not look at checksums
                raise InputError(path, "is damaged", expected=_EXPECTED_RELEASED)
        state: Any = torch.load(path, map_location="cpu", weights_only=True)
    except InputError:
        raise
    except Exception as error:  # there is hardly one that torch does not raise on damaged files
        raise InputError(path, "is damaged, or holds more than tensors", expected=_EXPECTED_RELEASED) from error
    if not isinstance(state, Mapping) or not all(
        isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in state.items()
    ):
        raise InputError(path, "holds other things than tensors by their names", expected=_EXPECTED_RELEASED)
    return dict(state)


def _describe(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"
