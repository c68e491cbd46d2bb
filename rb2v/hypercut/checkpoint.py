"""Trained order networks in files: our own, which hold their configuration, and the authors' released weights."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from rb2v import __version__
from rb2v.errors import InputError, Rb2vError
from rb2v.hypercut.config import TrainHyperCutConfig, recommend
from rb2v.hypercut.networks import OrderNetwork, make_order_network
from rb2v.hypercut.networks.residual import MAX_UPSTREAM_DIMENSIONS
from rb2v.io.store import SCHEMA, check_schema, sha256_of, validate
from rb2v.training.state_dicts import read_state_dict
from rb2v.training.tensor_files import check_file, describe, fill, read_tensors, write_tensors

KIND = "hypercut-order"
FORMAT = 2
"""Raised when weights of before would give other scores; the first one called the negative side *reverse*."""
CHECKPOINT_NAME = "checkpoint.safetensors"
"""Of the checkpoint in the folder of a run."""
RELEASED_SUFFIX = ".pth"
RELEASED_SIZE_PX = 448
"""Size of the frames that the authors' weights are for."""

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
    return write_tensors(path, weights, json.dumps(header))


def digest_order_network(run: Path) -> str:
    """Return the SHA-256 of an order network's file, given itself or as the folder of its run.

    Raises
    ------
    InputError
        If there is no such file, or it is too large.
    """
    path = run / CHECKPOINT_NAME if run.is_dir() else run
    check_file(path, "what 'rb2v train-hypercut' wrote")  # before a digest that might take hours
    return sha256_of(path)


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
    check_file(path, expected)
    return _load_released(path) if released else _load_own(path)


def _load_own(path: Path) -> tuple[OrderNetwork, TrainHyperCutConfig]:
    header, tensors = read_tensors(path, _EXPECTED)
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
        raise InputError(path, f"is {describe(tensors[plane])}", plane, f"{n_numbers} numbers")
    return _build(path, config, tensors, _EXPECTED), config


def _load_released(path: Path) -> tuple[OrderNetwork, TrainHyperCutConfig]:
    tensors = read_state_dict(path, _EXPECTED_RELEASED)
    if all(name.startswith(_PARALLEL_PREFIX) for name in tensors):
        tensors = {name.removeprefix(_PARALLEL_PREFIX): tensor for name, tensor in tensors.items()}
    if _PLANE not in tensors:
        raise InputError(path, "is missing", _PLANE, _EXPECTED_RELEASED)
    plane = tensors[_PLANE]
    if plane.dim() != 1 or not 2 <= plane.numel() <= MAX_UPSTREAM_DIMENSIONS + 1:
        raise InputError(path, f"is {describe(plane)}", _PLANE, f"2 to {MAX_UPSTREAM_DIMENSIONS + 1} numbers")
    config = recommend("upstream", n_dimensions=plane.numel() - 1, image_size=RELEASED_SIZE_PX)
    return _build(path, config, tensors, _EXPECTED_RELEASED), config


def _build(path: Path, config: TrainHyperCutConfig, tensors: Mapping[str, Tensor], expected: str) -> OrderNetwork:
    try:
        network = make_order_network(config.arch, config.n_dimensions, config.seed)
    except Rb2vError as error:
        raise InputError(path, str(error), "config") from error
    fill(path, network, tensors, f"a {config.arch!r} network", expected)
    return network.eval()
