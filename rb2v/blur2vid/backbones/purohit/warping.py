"""Images seen through a flow."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

_INSIDE = 0.9999
"""Least share of an upstream sample that lies within the image."""


def warp(images: Tensor, flow: Tensor) -> Tensor:
    """Sample images where the flow points; beyond the border, the border's values.

    Parameters
    ----------
    images : (B, C, H, W) tensor of float
        What is sampled, bilinearly.
    flow : (B, 2, H, W) tensor of float
        From every pixel of the result to its place in ``images``, right and down, in pixels. None at all is the
        identity, but for rounding.

    Returns
    -------
    (B, C, H, W) tensor of float
    """
    return F.grid_sample(images, _grid(flow), padding_mode="border", align_corners=True)


def warp_upstream(images: Tensor, flow: Tensor) -> Tensor:
    """Sample images as the released code of HyperCUT does: shrunk by half a pixel a side, and zero beyond the border.

    Places count from the corner pixels' centers while they are computed and from the image's edges while they are
    sampled, so that zero flow is not the identity. Weights that were trained with it expect it.

    Parameters
    ----------
    images : (B, C, H, W) tensor of float
        What is sampled, bilinearly.
    flow : (B, 2, H, W) tensor of float
        Right and down, in pixels.

    Returns
    -------
    (B, C, H, W) tensor of float
        Zero where a sample reaches beyond the border.
    """
    grid = _grid(flow)
    sampled = F.grid_sample(images, grid, align_corners=False)
    inside = F.grid_sample(torch.ones_like(images[:, :1]), grid, align_corners=False)
    return torch.where(inside >= _INSIDE, sampled, 0)


def _grid(flow: Tensor) -> Tensor:
    """Return places for ``grid_sample``, (B, H, W, 2), with -1 and 1 at the centers of the corner pixels."""
    height, width = flow.shape[-2:]
    # Flow may come in half precision, under AMP, in which places beyond 256 are rounded to every other pixel.
    flow = flow.to(torch.promote_types(flow.dtype, torch.float32))
    x = torch.arange(width, device=flow.device, dtype=flow.dtype) + flow[:, 0]
    y = torch.arange(height, device=flow.device, dtype=flow.dtype)[:, None] + flow[:, 1]
    return torch.stack([x * (2 / max(width - 1, 1)) - 1, y * (2 / max(height - 1, 1)) - 1], dim=-1)
