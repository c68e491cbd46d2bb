"""Steps of a process alone on a CPU: those of torch's optimizers and of Fabric, without what they import."""

import math
import sys

import pytest
import torch
from torch import nn

from rb2v.training import optimizers
from rb2v.training.ranks import Ranks
from rb2v.training.steps import optimizer_step


def take_steps(fabric, name, kinds, n_steps):
    """Take steps of a small network, whose optimizer is laid down and taken up again; return weights and norms."""
    network = nn.Linear(4, 3)
    with torch.no_grad():
        network.weight.copy_(torch.linspace(-1, 1, 12).reshape(3, 4))
        network.bias.zero_()
    optimizer = getattr(kinds, name)(network.parameters(), lr=0.1, weight_decay=0.01)
    wrapped, wrapped_optimizer = fabric.setup(network, optimizer)
    norms = []
    for step in range(n_steps):
        loss = wrapped(torch.full((2, 4), step + 1.0)).square().mean()
        figures = optimizer_step(fabric, Ranks("cpu"), wrapped, wrapped_optimizer, loss, {})
        norms.append(figures["gradient_norm"])
        optimizer.load_state_dict(optimizer.state_dict())
    return network.weight.detach(), norms


@pytest.mark.parametrize("name", ["Adam", "AdamW"])
def test_steps_are_those_of_fabric_and_torch(name):
    from lightning_fabric import Fabric

    fabric = Fabric(accelerator="cpu", devices=1)
    expected, expected_norms = take_steps(fabric, name, torch.optim, 5)
    for placement in (fabric, Ranks("cpu").make_fabric()):
        weights, norms = take_steps(placement, name, optimizers, 5)
        assert torch.equal(weights, expected)
        assert norms == expected_norms


@pytest.mark.parametrize("name", ["Adam", "AdamW"])
def test_neither_compiler_nor_fabric_is_imported(name, monkeypatch):
    for module in ("torch._dynamo", "lightning_fabric"):
        monkeypatch.setitem(sys.modules, module, None)  # so that its import fails
    _, norms = take_steps(Ranks("cpu").make_fabric(), name, optimizers, 2)
    assert all(map(math.isfinite, norms))
