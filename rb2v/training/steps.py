"""End of every step of a training, whatever is trained."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from rb2v.training.ranks import Placement, Ranks

MAX_GRADIENT_NORM = 1.0  # the usual bound: one odd batch cannot throw the weights far


def optimizer_step(
    fabric: Placement,
    ranks: Ranks,
    network: nn.Module,
    optimizer: Optimizer,
    loss: Tensor,
    terms: Mapping[str, Tensor],
) -> dict[str, float]:
    """Take a step down the loss, unless it or its gradient is not finite on any process.

    Parameters
    ----------
    fabric : Placement
        What placed network and optimizer.
    ranks : Ranks
        The processes that train together.
    network, optimizer
        What is trained.
    loss : () tensor of float
        Of this process's share of the batch.
    terms : mapping of str to () tensor of float
        What else is to be told of the step.

    Returns
    -------
    dict of str to float
        Of the whole batch: ``loss``, the terms, and ``gradient_norm``, before it is bounded.
    """
    optimizer.zero_grad()
    fabric.backward(loss)
    norm = fabric.clip_gradients(network, optimizer, max_norm=MAX_GRADIENT_NORM, error_if_nonfinite=False)
    means = ranks.means(torch.stack([loss, *terms.values()]))
    figures = dict(zip(("loss", *terms), means, strict=True))
    figures["gradient_norm"] = math.nan if norm is None else float(norm)
    if is_finite(figures):
        optimizer.step()
    return figures


def is_finite(figures: Mapping[str, float]) -> bool:
    """Tell whether `optimizer_step` took the step that these are the figures of."""
    return math.isfinite(figures["loss"]) and math.isfinite(figures["gradient_norm"])
