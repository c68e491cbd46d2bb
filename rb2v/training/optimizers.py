"""Optimizers of torch, without the import of its compiler."""

from __future__ import annotations

import inspect

import torch
from torch.optim import Optimizer


class _Uncompiled:
    """The methods of an optimizer as they are inside of what torch wraps around them for ``torch.compile``.

    The first call of a wrapped one imports the compiler, which takes as long as a dozen steps of a small network.
    """

    add_param_group = inspect.unwrap(Optimizer.add_param_group)
    zero_grad = inspect.unwrap(Optimizer.zero_grad)
    state_dict = inspect.unwrap(Optimizer.state_dict)
    load_state_dict = inspect.unwrap(Optimizer.load_state_dict)
    step = torch.no_grad()(inspect.unwrap(torch.optim.Adam.step))


class Adam(_Uncompiled, torch.optim.Adam):
    """`torch.optim.Adam`, which takes the same steps."""


class AdamW(_Uncompiled, torch.optim.AdamW):
    """`torch.optim.AdamW`, which takes the same steps."""
