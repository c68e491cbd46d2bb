"""Scores of pairs that need no learning: what hit and con are worth shows only beside these."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor

Scorer = Callable[[Tensor, Tensor], Tensor]


def mean_brightness(first: Tensor, second: Tensor) -> Tensor:
    """Return by how much the second frame is brighter."""
    return second.mean(dim=(-3, -2, -1)) - first.mean(dim=(-3, -2, -1))


def brightness_center(first: Tensor, second: Tensor) -> Tensor:
    """Return by how much the center of brightness moves right, in halves of the frame's width."""
    return _center_x(second) - _center_x(first)


def _center_x(frames: Tensor) -> Tensor:
    columns = frames.sum(dim=(-3, -2))
    x = torch.linspace(-1, 1, columns.shape[-1], device=columns.device)
    return columns @ x / columns.sum(dim=-1).clamp(min=1e-6)


def random_projection(first: Tensor, second: Tensor) -> Tensor:
    """Return the difference of the frames projected on a fixed pattern of noise."""
    weights = torch.randn(first.shape[-3:], generator=torch.Generator().manual_seed(0)).to(first.device)
    return ((second - first) * weights).sum(dim=(-3, -2, -1))


def normal_flow(first: Tensor, second: Tensor) -> Tensor:
    """Return how far the image moves right, by its gradients: motion as far as it shows without learning.

    With the pair's mean ``m`` and difference ``d``, ``-sum(d m_x) / sum(m_x^2 + m_y^2)`` over pixels and colors, in
    pixels where nothing but small motion changes the image.
    """
    mean, difference = (first + second) / 2, (second - first)[..., 1:-1, 1:-1]
    mean_x = (mean[..., 1:-1, 2:] - mean[..., 1:-1, :-2]) / 2
    mean_y = (mean[..., 2:, 1:-1] - mean[..., :-2, 1:-1]) / 2
    energy = (mean_x.square() + mean_y.square()).sum(dim=(-3, -2, -1))
    return -(difference * mean_x).sum(dim=(-3, -2, -1)) / energy.clamp(min=1e-6)


CONTROLS: Mapping[str, Scorer] = {
    "mean_brightness": mean_brightness,
    "brightness_center": brightness_center,
    "random_projection": random_projection,
    "normal_flow": normal_flow,
}
"""Antisymmetric scores of pairs ``(..., 3, H, W)`` that nobody trained; all but the last know nothing of motion."""
