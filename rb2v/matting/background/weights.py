"""Weights of the network from files that others wrote, and to files of our own; nothing in them is executed."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from rb2v import __version__
from rb2v.errors import InputError, require_file
from rb2v.io.store import SCHEMA, sha256_of, whole_file
from rb2v.matting.background.archive import is_torchscript, read_torchscript
from rb2v.matting.background.network import MattingNetwork

KIND = "background-matting"
EXPECTED = "weights of BackgroundMattingV2: a state dict, a TorchScript archive, or what 'rb2v train-matting' wrote"

_METADATA_KEY = "rb2v"  # one entry: safetensors writes several in an order that changes from run to run
_MAX_FILE_BYTES = 2**30  # 1 GiB; 270 million numbers, several times what a ResNet-101 holds
_TELLING_KEYS = {
    "mobilenetv2": "backbone.features.0.0.weight",
    "resnet101": "backbone.layer3.22.conv1.weight",
    "resnet50": "backbone.conv1.weight",
}
"""Keys by which a backbone is recognized, the more demanding first."""
_COUNTER = ".num_batches_tracked"  # of batch norm, which needs it for nothing here
_WRAPPER = "model."  # the authors' archives hold the network as an attribute of this name


def load_network(path: Path) -> MattingNetwork:
    """Read a network with its weights, once per process and content of the file.

    Parameters
    ----------
    path : Path
        A plain state dict of torch, a TorchScript archive of the authors, or safetensors, in half or full precision.

    Returns
    -------
    MattingNetwork
        On the CPU, in float32 and evaluation mode; shared by all callers.

    Raises
    ------
    InputError
        If the file is missing, damaged, holds anything but tensors, or a tensor is missing, unknown, of another shape
        or not finite, named in the message.
    """
    return _load(path, digest(path))


def digest(path: Path) -> str:
    """Return the SHA-256 of a file of weights.

    Raises
    ------
    InputError
        If there is no such file, or it is too large to be one.
    """
    require_file(path, EXPECTED)
    if path.stat().st_size > _MAX_FILE_BYTES:
        raise InputError(path, f"is larger than {_MAX_FILE_BYTES >> 20} MiB", expected=EXPECTED)
    return sha256_of(path)


@lru_cache(maxsize=1)
def _load(path: Path, _sha256: str) -> MattingNetwork:
    tensors = _read(path)
    if tensors and all(name.startswith(_WRAPPER) for name in tensors):
        tensors = {name.removeprefix(_WRAPPER): tensor for name, tensor in tensors.items()}
    backbone = next((name for name, key in _TELLING_KEYS.items() if key in tensors), None)
    if backbone is None:
        raise InputError(path, "holds no network for background matting", expected=EXPECTED)
    first = tensors.get("refiner.conv1.weight")
    kernel_size = 1 if first is not None and first.shape[2:] == (1, 1) else 3
    with torch.device("meta"):
        network = MattingNetwork(backbone, kernel_size)
    network.load_state_dict(_check(path, backbone, tensors, network.state_dict()), assign=True)
    return network.eval().requires_grad_(requires_grad=False)


def _check(
    path: Path, backbone: str, tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor]
) -> dict[str, Tensor]:
    """Return the tensors as the network takes them."""
    unknown = sorted(tensors.keys() - expected.keys())
    if unknown:
        raise InputError(path, f"is not a tensor of a {backbone} network", unknown[0][:80])
    checked = {}
    for name, wanted in expected.items():
        if name.endswith(_COUNTER):
            checked[name] = torch.zeros((), dtype=torch.int64)
            continue
        form = f"floating point {tuple(wanted.shape)}"
        if name not in tensors:
            raise InputError(path, "is missing", name, form)
        tensor = tensors[name]
        is_plain = tensor.layout == torch.strided and not tensor.is_meta and tensor.is_floating_point()
        if not is_plain or tensor.shape != wanted.shape:
            kind = str(tensor.dtype).removeprefix("torch.")
            raise InputError(path, f"is {kind} {tuple(tensor.shape)}", name, form)
        checked[name] = tensor.detach().to("cpu", torch.float32, copy=True).contiguous()
        if not torch.isfinite(checked[name]).all():
            raise InputError(path, "holds values that are not finite", name)
    return checked


def _read(path: Path) -> dict[str, Tensor]:
    if path.suffix == ".safetensors":
        return _read_safetensors(path)
    return read_torchscript(path) if is_torchscript(path) else _read_state_dict(path)


def _read_safetensors(path: Path) -> dict[str, Tensor]:
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
    except (SafetensorError, OSError) as error:
        raise InputError(path, "is not a safetensors file, or is cut short", expected=EXPECTED) from error


def _read_state_dict(path: Path) -> dict[str, Tensor]:
    try:
        if zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                if any(info.compress_type != zipfile.ZIP_STORED for info in archive.infolist()):
                    raise InputError(path, "is a compressed archive, which torch does not write", expected=EXPECTED)
                damaged = archive.testzip()  # torch does not look at checksums
                if damaged is not None:
                    raise InputError(path, "is damaged", damaged[:80], expected=EXPECTED)
        state: Any = torch.load(path, map_location="cpu", weights_only=True)
    except InputError:
        raise
    except Exception as error:  # there is hardly one that torch does not raise on damaged files
        raise InputError(path, "is damaged, or holds more than tensors", expected=EXPECTED) from error
    if not isinstance(state, Mapping) or not all(
        isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in state.items()
    ):
        raise InputError(path, "holds other things than tensors by their names", expected=EXPECTED)
    return dict(state)


def save_network(
    path: Path, network: MattingNetwork, training: Mapping[str, Any], *, half_precision: bool = False
) -> Path:
    """Write weights whole or not at all; the same weights give the same bytes.

    Parameters
    ----------
    path : Path
        The safetensors file to write.
    network : MattingNetwork
        Network.
    training : mapping
        What it was trained with; kept in the file's header.
    half_precision : bool
        Write float16, in half the space.
    """
    header = {
        "schema": SCHEMA,
        "kind": KIND,
        "version": __version__,
        "backbone": network.backbone_name,
        "training": training,
    }
    dtype = torch.float16 if half_precision else torch.float32
    tensors = {
        name: tensor.detach().to("cpu", dtype).contiguous()
        for name, tensor in network.state_dict().items()
        if not name.endswith(_COUNTER)
    }
    with whole_file(path) as temporary:
        # Its own writing to files goes to another one, which a kill leaves.
        temporary.write_bytes(safetensors.torch.save(tensors, metadata={_METADATA_KEY: json.dumps(header)}))
    return path
