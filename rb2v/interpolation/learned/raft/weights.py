"""Weights of RAFT as its authors publish them, read as data."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray

from rb2v.device import torch_device_of
from rb2v.interpolation.dense_flow import FlowEstimator
from rb2v.interpolation.learned.raft.network import MIN_SIDE_PX, STRIDE, Raft
from rb2v.training.state_dicts import read_state_dict
from rb2v.training.tensor_files import fill

_EXPECTED = "the state dict of RAFT's basic network, raft-sintel.pth for example"
_PREFIX = "module."
_ITERATIONS = 30  # as the guidance of Animation from Blur was made with


def load_raft(path: Path, device: str = "auto") -> FlowEstimator:
    """Return an estimator of flow with RAFT's weights; nothing in the file is executed.

    A TorchScript archive is a program, and is rejected.

    Parameters
    ----------
    path : Path
        A state dict, with or without the prefix ``module.``.
    device : {"auto", "cpu", "cuda"}
        Where to compute.

    Raises
    ------
    InputError
        If the file is missing or damaged, or a tensor is missing, unknown, of another shape, or not finite.
    """
    tensors = read_state_dict(path, _EXPECTED, allow_older_form=True)
    if all(name.startswith(_PREFIX) for name in tensors):
        tensors = {name.removeprefix(_PREFIX): tensor for name, tensor in tensors.items()}
    network = Raft()
    fill(path, network, tensors, "RAFT", _EXPECTED)
    network.eval().requires_grad_(False).to(torch_device_of(device))
    return _Estimator(network)


class _Estimator:
    """Frames of any size to the network and its flow back to them."""

    def __init__(self, network: Raft) -> None:
        self._network = network

    def __call__(self, first: NDArray[np.uint8], second: NDArray[np.uint8]) -> NDArray[np.float32]:
        height, width = first.shape[:2]
        device = next(self._network.parameters()).device
        frames = torch.from_numpy(np.stack([first, second]).transpose(0, 3, 1, 2).copy()).to(device).float() / 255
        scale = -(-MIN_SIDE_PX // min(height, width))
        if scale > 1:
            frames = F.interpolate(frames, scale_factor=scale, mode="bilinear", align_corners=False)
        rows, columns = frames.shape[-2:]
        below, beside = -rows % STRIDE, -columns % STRIDE
        # Half on each side, as the authors pad frames of Sintel.
        padding = (beside // 2, beside - beside // 2, below // 2, below - below // 2)
        frames = F.pad(frames, padding, mode="replicate")
        with torch.inference_mode():
            flow = self._network(frames[:1], frames[1:], _ITERATIONS)
        flow = flow[..., padding[2] : padding[2] + rows, padding[0] : padding[0] + columns]
        if scale > 1:
            flow = F.interpolate(flow, size=(height, width), mode="area") / scale
        return np.ascontiguousarray(flow[0].permute(1, 2, 0).cpu().numpy(), dtype=np.float32)
