"""A trained order network as one safetensors file, which holds its configuration and names its data."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from rb2v import __version__
from rb2v.errors import InputError
from rb2v.hypercut.config import TrainHyperCutConfig
from rb2v.hypercut.networks import OrderNetwork, make_order_network
from rb2v.io.store import SCHEMA, check_schema, parse_json, validate, whole_file

KIND = "hypercut-order"

# One entry: safetensors writes several in an order that changes from run to run.
_METADATA_KEY = "rb2v"
_EXPECTED = "a checkpoint that 'rb2v train-hypercut' wrote"


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
        "version": __version__,
        "config": dataclasses.asdict(config),
        "data_sha256": data_sha256,
    }
    tensors = {name: tensor.detach().cpu().contiguous() for name, tensor in weights.items()}
    with whole_file(path) as temporary:
        # Its own writing to files goes to another one, which a kill leaves.
        temporary.write_bytes(safetensors.torch.save(tensors, metadata={_METADATA_KEY: json.dumps(header)}))
    return path


def load_order_network(checkpoint: Path) -> tuple[OrderNetwork, TrainHyperCutConfig]:
    """Read a checkpoint; nothing in it is executed.

    Parameters
    ----------
    checkpoint : Path
        A file that ``save_order_network`` wrote.

    Returns
    -------
    network : OrderNetwork
        On the CPU, in evaluation mode.
    config : TrainHyperCutConfig
        What it was trained with.

    Raises
    ------
    InputError
        If the file is missing, no safetensors, no order network, of another schema, or lacks a tensor or holds one
        of another shape or type, named in the message.
    """
    header, tensors = _read(checkpoint)
    check_schema(checkpoint, header)
    if header.get("kind") != KIND:
        raise InputError(checkpoint, f"is {header.get('kind')!r}", "kind", expected=KIND)
    config = validate(TrainHyperCutConfig, header.get("config"), checkpoint)
    # Before the network is built: its size is the file's word, and could be any.
    plane = "normal" if config.arch != "upstream" else "hyperplane.hyperplane"
    n_numbers = config.n_dimensions + (plane != "normal")
    if plane in tensors and tensors[plane].numel() != n_numbers:
        raise InputError(checkpoint, f"is {_describe(tensors[plane])}", plane, f"{n_numbers} numbers")
    network = make_order_network(config.arch, config.n_dimensions, config.seed)
    expected = network.state_dict()
    for name in sorted(expected.keys() | tensors.keys()):
        if name not in tensors:
            raise InputError(checkpoint, "is missing", name, _EXPECTED)
        if name not in expected:
            raise InputError(checkpoint, f"is no tensor of a {config.arch!r} network", name)
        if tensors[name].shape != expected[name].shape or tensors[name].dtype != expected[name].dtype:
            raise InputError(checkpoint, f"is {_describe(tensors[name])}", name, expected=_describe(expected[name]))
        if not torch.isfinite(tensors[name]).all():
            raise InputError(checkpoint, "holds values that are not finite", name)
    network.load_state_dict(tensors)
    return network.eval(), config


def _read(path: Path) -> tuple[dict[str, Any], dict[str, Tensor]]:
    if not path.is_file():
        raise InputError(path, "there is no such file", expected=_EXPECTED)
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


def _describe(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {tuple(tensor.shape)}"
