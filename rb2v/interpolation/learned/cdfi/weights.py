"""Weights of CDFI: those that its authors published, and those that ``rb2v train-interpolator`` wrote."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from rb2v import __version__
from rb2v.interpolation.learned.cdfi.network import Cdfi
from rb2v.io.store import SCHEMA, check_schema
from rb2v.models.shipped import shipped_path
from rb2v.training.state_dicts import read_state_dict
from rb2v.training.tensor_files import check_header, fill, read_tensors, write_tensors

KIND = "cdfi"
FORMAT = 1
"""Raised when weights of before would give other frames."""
CHECKPOINT_NAME = "checkpoint.safetensors"
"""Of the checkpoint in the folder of a run."""

_PUBLISHED_ENTRY = "state_dict"
_EXPECTED = "what 'rb2v train-interpolator' wrote, or the authors' CDFI_adacof.pth"


def save_cdfi(path: Path, weights: Mapping[str, Tensor], settings: Mapping[str, Any]) -> Path:
    """Write weights in half precision, whole or not at all; the same ones give the same bytes.

    Parameters
    ----------
    path : Path
        The file to write.
    weights : mapping of str to tensor
        ``Cdfi.state_dict()`` of a network that is not as published.
    settings : mapping
        What it was trained with, as JSON.
    """
    header = {"schema": SCHEMA, "kind": KIND, "format": FORMAT, "version": __version__, "settings": dict(settings)}
    return write_tensors(
        path, {name: tensor.half().contiguous() for name, tensor in weights.items()}, json.dumps(header)
    )


def load_cdfi(path: Path | None = None) -> Cdfi:
    """Read a network with its weights; nothing in the file is executed.

    Parameters
    ----------
    path : Path, optional
        The folder of a run of ``rb2v train-interpolator``, its checkpoint (``.safetensors``), or the authors' weights
        (any other suffix), a state dict under the key ``state_dict``; by default the weights that the project ships.

    Returns
    -------
    Cdfi
        On the CPU, in float32 and evaluation mode; as published, where the weights are.

    Raises
    ------
    InputError
        If the file is missing, damaged, holds anything but tensors, or a tensor is missing, unknown, of another shape
        or type, or not finite, named in the message.
    """
    if path is None:
        path = shipped_path(KIND)
    if path.is_dir():
        path = path / CHECKPOINT_NAME
    if path.suffix == ".safetensors":
        header, tensors = read_tensors(path, _EXPECTED)
        check_schema(path, header)
        check_header(path, header, kind=KIND, format_version=FORMAT)
        network = Cdfi()
    else:
        tensors = read_state_dict(path, _EXPECTED, entry=_PUBLISHED_ENTRY, allow_older_form=True)
        network = Cdfi(as_published=True)
    fill(path, network, tensors, "CDFI", _EXPECTED)
    return network.eval().requires_grad_(requires_grad=False)
