"""The adaptive collaboration of flows: every pixel is a weighted sum of samples, each at a place of its own.

A pixel has a kernel of ``side`` by ``side`` taps, ``dilation`` pixels apart. Tap ``k * side + l`` of the pixel in row
``i`` and column ``j`` samples row ``i + dilation * k + alpha`` and column ``j + dilation * l + beta`` of an image that
is padded by half the kernel, and counts with its weight. Places outside the image are those nearest to them within.

References
----------
.. [1] Lee et al., "AdaCoF: Adaptive Collaboration of Flows for Video Frame Interpolation", CVPR 2020, eq. (4).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from typing import Any, Literal, get_args

import torch
import torch.nn.functional as F
from torch import Tensor

from rb2v.errors import Rb2vError, check_member

Rounding = Literal["floor", "truncate"]
"""How the pixels that a sample is interpolated from are found. ``floor``: they enclose it. ``truncate``: offsets are
rounded toward zero, so that a negative one is extrapolated from the two pixels on its side of zero, as in the code that
the published weights were trained with."""

_TILE_PIXELS = {"cpu": 2048, "cuda": 65536}
"""Output pixels whose taps are listed at once: what bounds the memory. A CPU's caches are to hold the lists."""
_N_PARTS = {"cpu": 4, "cuda": 1}
"""That a tile is taken in on the way back, where smaller ones have smaller products of matrices."""
_DENSE_ROWS = {"cpu": 2**15, "cuda": 0}
"""Rows of a table up to which the gradient of a sum over some of them is that of a product with all."""
_FAR_PX = 2.0**20
"""Beyond any image; offsets are held to it, since larger ones may be no integers of 32 bits."""


def collaborate(
    image: Tensor,
    weight: Tensor,
    alpha: Tensor,
    beta: Tensor,
    *,
    dilation: int = 2,
    rounding: Rounding = "floor",
    top: int = 0,
) -> Tensor:
    """Return the weighted sum of every pixel's samples, for all channels in one pass.

    The memory needed beyond arguments and result does not grow with the number of taps. Gradients flow to all four
    tensors; what they need is computed anew on the way back. On CUDA it is one kernel where Triton is installed; its
    gradient of the image is summed in any order.

    Parameters
    ----------
    image : (B, C, H, W) tensor of float
        Padded by ``dilation * (side - 1) / 2`` on every side.
    weight, alpha, beta : (B, side * side, h, w) tensor of float
        Of every tap: what it counts, and how far down and right of its place in the kernel it looks, in pixels.
    dilation : int
        Distance of neighboring taps in pixels.
    rounding : {"floor", "truncate"}
        See `Rounding`.
    top : int
        Row of the whole result that is the first of the ``h``, where the kernels are those of a strip of it.

    Returns
    -------
    (B, C, h, w) tensor of float
        Of the image's type.

    Raises
    ------
    Rb2vError
        If shapes do not belong together, or the rounding is unknown.
    """
    _check(image, weight, alpha, beta, rounding)
    kernels = (maps.to(image.dtype) for maps in (weight, alpha, beta))
    result: Tensor = _Collaboration.apply(image, *kernels, dilation, rounding, top)  # type: ignore[no-untyped-call]
    return result


def collaborate_by_taps(
    image: Tensor,
    weight: Tensor,
    alpha: Tensor,
    beta: Tensor,
    *,
    dilation: int = 2,
    rounding: Rounding = "floor",
    top: int = 0,
) -> Tensor:
    """Compute what `collaborate` computes as its definition has it, tap by tap; slow, to compare with."""
    _check(image, weight, alpha, beta, rounding)
    side, (height, width) = math.isqrt(weight.shape[1]), image.shape[2:]
    sample = torch.arange(len(image), device=image.device)[:, None, None]
    row = torch.arange(weight.shape[2], device=image.device)[:, None] + top
    column = torch.arange(weight.shape[3], device=image.device)
    total = torch.zeros((), dtype=image.dtype, device=image.device)
    for tap in range(side**2):
        down, right = (_whole(offset[:, tap], rounding) for offset in (alpha, beta))
        v, u = alpha[:, tap] - down, beta[:, tap] - right
        for dy, dx, share in ((0, 0, (1 - v) * (1 - u)), (0, 1, (1 - v) * u), (1, 0, v * (1 - u)), (1, 1, v * u)):
            y = (row + dilation * (tap // side) + down.long() + dy).clamp(0, height - 1)
            x = (column + dilation * (tap % side) + right.long() + dx).clamp(0, width - 1)
            total = total + (weight[:, tap] * share)[:, None] * image[sample, :, y, x].movedim(-1, 1)
    return total


def _check(image: Tensor, weight: Tensor, alpha: Tensor, beta: Tensor, rounding: str) -> None:
    check_member("rounding", rounding, get_args(Rounding))
    shapes = ", ".join(str(tuple(tensor.shape)) for tensor in (image, weight, alpha, beta))
    if (
        image.ndim != 4
        or weight.ndim != 4
        or len(image) != len(weight)
        or not weight.shape == alpha.shape == beta.shape
    ):
        raise Rb2vError(
            f"image, weight, alpha and beta have the shapes {shapes}; expected (B, C, H, W), (B, n, h, w) thrice"
        )
    if math.isqrt(weight.shape[1]) ** 2 != weight.shape[1]:
        raise Rb2vError(f"weight has {weight.shape[1]} taps; expected a square number")


def _whole(offset: Tensor, rounding: Rounding) -> Tensor:
    offset = offset.detach()
    return offset.floor() if rounding == "floor" else offset.trunc()


class _Collaboration(torch.autograd.Function):
    """`collaborate`, tile by tile, keeping nothing for the way back but its arguments."""

    @staticmethod
    def forward(
        ctx: Any,  # noqa: ANN401 - as torch has it
        image: Tensor,
        weight: Tensor,
        alpha: Tensor,
        beta: Tensor,
        dilation: int,
        rounding: Rounding,
        top: int,
    ) -> Tensor:
        ctx.save_for_backward(image, weight, alpha, beta)
        ctx.options = dilation, rounding, top
        if image.is_cuda and has_triton():
            from rb2v.interpolation.learned.cdfi import collaboration_cuda

            return collaboration_cuda.forward(image, weight, alpha, beta, dilation, rounding == "truncate", top)
        n_samples, n_channels, height, width = image.shape
        tables = image.permute(0, 2, 3, 1).contiguous().view(n_samples, height * width, n_channels)
        result = image.new_empty(n_samples, *weight.shape[2:], n_channels)
        for sample, rows in _tiles(weight):
            kernels = [maps[sample, :, rows] for maps in (weight, alpha, beta)]
            listed = _list_samples(kernels, dilation, rounding, top + rows.start, height, width)
            result[sample, rows] = _sum_samples(tables[sample], *listed).view(-1, weight.shape[3], n_channels)
        return result.permute(0, 3, 1, 2)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:  # noqa: ANN401 - as torch has it
        image, weight, alpha, beta = ctx.saved_tensors
        dilation, rounding, top = ctx.options
        if image.is_cuda and has_triton():
            from rb2v.interpolation.learned.cdfi import collaboration_cuda

            truncate = rounding == "truncate"
            gradients = collaboration_cuda.backward(gradient, image, weight, alpha, beta, dilation, truncate, top)
            return (*gradients, None, None, None)
        n_samples, n_channels, height, width = image.shape
        tables = image.permute(0, 2, 3, 1).contiguous().view(n_samples, height * width, n_channels)
        of_tables = torch.zeros_like(tables)
        of_maps = tuple(torch.empty_like(maps) for maps in (weight, alpha, beta))
        for sample, rows in _tiles(weight, _N_PARTS[weight.device.type]):
            kernels = [maps[sample, :, rows].detach().requires_grad_() for maps in (weight, alpha, beta)]
            with torch.enable_grad():
                index, share = _list_samples(kernels, dilation, rounding, top + rows.start, height, width)
            wanted = gradient[sample, :, rows].flatten(1).T.contiguous()
            of_table, of_share = _differentiate_sum(tables[sample], index, share.detach(), wanted)
            of_kernels = torch.autograd.grad(share, kernels, of_share)
            of_tables[sample] += of_table
            for maps, part in zip(of_maps, of_kernels, strict=True):
                maps[sample, :, rows] = part
        of_image = of_tables.view(n_samples, height, width, n_channels).permute(0, 3, 1, 2)
        return (of_image, *of_maps, None, None, None)


def _tiles(weight: Tensor, n_parts: int = 1) -> list[tuple[int, slice]]:
    """Return strips of rows of every sample, none of which has many pixels."""
    n_samples, _, height, width = weight.shape
    n_rows = max(1, _TILE_PIXELS[weight.device.type] // n_parts // max(width, 1))
    strips = [slice(start, min(start + n_rows, height)) for start in range(0, height, n_rows)]
    return [(sample, strip) for sample in range(n_samples) for strip in strips]


def _list_samples(
    kernels: Sequence[Tensor],
    dilation: int,
    rounding: Rounding,
    top: int,
    height: int,
    width: int,
) -> tuple[Tensor, Tensor]:
    """Return which pixels of an image are summed up for every pixel of a strip, and with which weights.

    Parameters
    ----------
    kernels : sequence of (n, h, w) tensor of float
        Weight, alpha and beta of the strip.
    dilation, rounding, top
        See `collaborate`.
    height, width : int
        Of the image.

    Returns
    -------
    index : (h * w, 4 * n) tensor of int32
        Of pixels in the order of rows.
    share : (h * w, 4 * n) tensor of float
    """
    n_taps, n_rows, n_columns = kernels[0].shape
    side, device = math.isqrt(n_taps), kernels[0].device
    # One row a pixel from here on, and its taps side by side, so that what is summed up together lies together.
    weight, alpha, beta = (maps.reshape(n_taps, -1).T.contiguous() for maps in kernels)
    down, right = (_whole(offset, rounding) for offset in (alpha, beta))
    v, u = alpha - down, beta - right
    tap = torch.arange(n_taps, device=device, dtype=torch.int32)
    pixel = torch.arange(n_rows * n_columns, device=device, dtype=torch.int32)[:, None]
    y = down.clamp_(-_FAR_PX, _FAR_PX).int().add_(pixel // n_columns + top).add_(tap // side * dilation)
    x = right.clamp_(-_FAR_PX, _FAR_PX).int().add_(pixel % n_columns).add_(tap % side * dilation)
    index = torch.empty(len(pixel), 4, n_taps, dtype=torch.int32, device=device)
    above, below = y.clamp(0, height - 1).mul_(width), y.add_(1).clamp_(0, height - 1).mul_(width)
    left = x.clamp(0, width - 1)
    right_of = x.add_(1).clamp_(0, width - 1)
    for corner, (line, place) in enumerate(((above, left), (above, right_of), (below, left), (below, right_of))):
        torch.add(line, place, out=index[:, corner])
    to_right = weight * u
    to_left = weight - to_right
    below_left, below_right = to_left * v, to_right * v
    shares = (to_left - below_left, to_right - below_right, below_left, below_right)
    return index.flatten(1), torch.stack(shares, dim=1).flatten(1)


def _sum_samples(table: Tensor, index: Tensor, share: Tensor) -> Tensor:
    """Return (n, C) sums over the rows of a (m, C) table that (n, k) indices name, with (n, k) weights."""
    # A sum over bags of embeddings is a weighted gather, for which torch has code that is made for the processor.
    return F.embedding_bag(index, table, per_sample_weights=share, mode="sum")


def _differentiate_sum(table: Tensor, index: Tensor, share: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """Return the gradients of table and weights, where (n, C) is that of what `_sum_samples` returns."""
    first, end = int(index.min()), int(index.max()) + 1
    if end - first > _DENSE_ROWS[table.device.type]:
        leaves = [table.detach().requires_grad_(), share.detach().requires_grad_()]
        with torch.enable_grad():
            total = _sum_samples(leaves[0], index, leaves[1])
        of_table, of_share = torch.autograd.grad(total, leaves, wanted)
        return of_table, of_share
    # Products of full matrices, though most of their entries are zero or not asked for, take less time than a gather.
    place = (index - first).long()
    full = wanted.new_zeros(len(index), end - first).scatter_add_(1, place, share)
    of_table = torch.zeros_like(table)
    of_table[first:end] = full.T @ wanted
    return of_table, (wanted @ table[first:end].T).gather(1, place)


@cache
def has_triton() -> bool:
    """Tell whether kernels for CUDA can be compiled."""
    return find_spec("triton") is not None
