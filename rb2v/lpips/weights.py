"""The weights of LPIPS, from the cache or from a file of the same kind."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import safe_open
from torch import Tensor

from rb2v.errors import InputError
from rb2v.lpips.network import Lpips, Net
from rb2v.models import fetched_file

_HOW_TO_FETCH = "what 'rb2v models fetch lpips' brings"


def load_lpips(net: Net = "alex", weights: Path | None = None) -> Lpips:
    """Return LPIPS v0.1 with its weights.

    Parameters
    ----------
    net : {"alex", "vgg"}
        Backbone.
    weights : Path, optional
        Safetensors file with the backbone and the heads; by default the one that ``rb2v models fetch lpips`` brought.

    Returns
    -------
    Lpips
        On the CPU, in float32 and evaluation mode; ``.to(device)`` moves it.

    Raises
    ------
    InputError
        If there is no such backbone, the file is missing or damaged, or a tensor is missing, unknown, of another shape
        or not finite, named in the message.
    """
    with torch.device("meta"):
        expected = Lpips(net).state_dict()
    network = Lpips(net)
    path = fetched_file("lpips", f"{net}.safetensors") if weights is None else weights
    if not path.is_file():
        fetching = "run 'rb2v models fetch lpips'" if weights is None else _HOW_TO_FETCH
        raise InputError(path, "the weights of LPIPS are not here", expected=fetching)
    network.load_state_dict(_check(path, _read(path), expected))
    return network


def _read(path: Path) -> dict[str, Tensor]:
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
    except Exception as error:  # of sizes that no tensor has, torch raises what it likes
        problem = "is not a safetensors file, or is cut short; remove it to fetch it again"
        raise InputError(path, problem, expected=_HOW_TO_FETCH) from error


def _check(path: Path, tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
    unknown = sorted(tensors.keys() - expected.keys())
    if unknown:
        raise InputError(path, "is not a tensor of this network", unknown[0][:80], expected=_HOW_TO_FETCH)
    for name, wanted in expected.items():
        form = f"floating point {tuple(wanted.shape)}"
        if name not in tensors:
            raise InputError(path, "is missing", name, form)
        tensor = tensors[name]
        if tensor.shape != wanted.shape or not tensor.is_floating_point():
            kind = str(tensor.dtype).removeprefix("torch.")
            raise InputError(path, f"is {kind} {tuple(tensor.shape)}", name, form)
        if not torch.isfinite(tensor).all():
            raise InputError(path, "holds values that are not finite", name)
    return tensors
