"""The moving average of a network's weights, which is steadier than the weights themselves."""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

_WARM_UP = 10
"""The average of the first steps reaches back a tenth of them or so, else it would keep the first weights."""


class MovingAverage:
    """An exponential moving average of weights.

    Parameters
    ----------
    network : Module
        The network that is trained; it is copied.
    decay : float
        Share of the average that a step keeps; with 0 the average is the network's last weights.
    """

    def __init__(self, network: nn.Module, decay: float) -> None:
        self.network = copy.deepcopy(network).eval().requires_grad_(False)
        self._decay = decay

    def update(self, network: nn.Module, step: int) -> None:
        """Take in the weights after a step, counted from 0."""
        keep = min(self._decay, (1 + step) / (_WARM_UP + step))
        with torch.no_grad():
            for mean, value in zip(self.network.parameters(), network.parameters(), strict=True):
                mean.lerp_(value.detach().to(mean), 1 - keep)
            for ours, theirs in zip(self.network.buffers(), network.buffers(), strict=True):
                ours.copy_(theirs)

    def state_dict(self) -> dict[str, Any]:
        """Return the averaged weights."""
        return self.network.state_dict()

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take up averaged weights."""
        self.network.load_state_dict(state_dict)
