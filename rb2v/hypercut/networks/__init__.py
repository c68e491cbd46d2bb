"""Order networks by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch

from rb2v.hypercut.networks.antisymmetric import make_antisymmetric
from rb2v.hypercut.networks.base import OrderNetwork
from rb2v.hypercut.networks.motion import make_motion
from rb2v.hypercut.networks.residual import PaperNetwork, UpstreamNetwork
from rb2v.hypercut.networks.signs import SignNetwork

__all__ = ["ORDER_NETWORKS", "OrderNetwork", "make_order_network"]

ORDER_NETWORKS: Mapping[str, Callable[[int, int], OrderNetwork]] = {
    "upstream": UpstreamNetwork,
    "paper": PaperNetwork,
    "antisymmetric": make_antisymmetric,
    "motion": make_motion,
    "signs": SignNetwork,
}
"""Order networks by name: ``factory(n_dimensions, seed)``."""


def make_order_network(arch: str, n_dimensions: int, seed: int) -> OrderNetwork:
    """Build a network with weights drawn from ``seed``, leaving the global random state as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return ORDER_NETWORKS[arch](n_dimensions, seed)
