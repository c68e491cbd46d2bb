"""The adaptive collaboration of flows as Triton kernels; imported only where there is CUDA and Triton.

A program has a few neighboring pixels and all channels of them: it goes through their taps, and takes the channels of a
pixel of the image, which lie side by side, at once. Sums are in float32, whatever the tensors are.
"""

# ruff: noqa: ANN001, ANN202 - the values in a kernel have types of their own

from __future__ import annotations

import math

import torch
import triton
import triton.language as tl
from torch import Tensor

_PIXELS = 32
"""Of a program."""


@triton.jit
def _whole(offset, TRUNCATE: tl.constexpr):
    down = tl.floor(offset)
    if TRUNCATE:
        down = tl.where(offset < 0, -tl.floor(-offset), down)
    return down


@triton.jit
def _hold(place, last):
    return tl.minimum(tl.maximum(place, 0), last)


@triton.jit
def _far(offset):
    # Larger offsets may be no integers of 32 bits.
    return tl.minimum(tl.maximum(offset, -1048576.0), 1048576.0).to(tl.int32)


@triton.jit
def _forward_kernel(
    table_pointer,  # (B, height * width, channels)
    weight_pointer,  # (B, side * side, n_pixels), like the next two
    alpha_pointer,
    beta_pointer,
    result_pointer,  # (B, n_pixels, channels)
    n_pixels,
    n_columns,
    height,
    width,
    n_channels,
    dilation,
    top,
    SIDE: tl.constexpr,
    TRUNCATE: tl.constexpr,
    PIXELS: tl.constexpr,
    CHANNELS: tl.constexpr,
):
    sample = tl.program_id(1).to(tl.int64)
    pixel = tl.program_id(0) * PIXELS + tl.arange(0, PIXELS)
    channel = tl.arange(0, CHANNELS)[None, :]
    exists = pixel < n_pixels
    wanted = exists[:, None] & (channel < n_channels)
    table = table_pointer + sample * height * width * n_channels + channel
    total = tl.zeros((PIXELS, CHANNELS), dtype=tl.float32)
    for tap in range(SIDE * SIDE):
        at = (sample * SIDE * SIDE + tap) * n_pixels + pixel
        weight = tl.load(weight_pointer + at, mask=exists, other=0.0).to(tl.float32)
        alpha = tl.load(alpha_pointer + at, mask=exists, other=0.0).to(tl.float32)
        beta = tl.load(beta_pointer + at, mask=exists, other=0.0).to(tl.float32)
        down = _whole(alpha, TRUNCATE)
        right = _whole(beta, TRUNCATE)
        v = (alpha - down)[:, None]
        u = (beta - right)[:, None]
        y = pixel // n_columns + top + (tap // SIDE) * dilation + _far(down)
        x = pixel % n_columns + (tap % SIDE) * dilation + _far(right)
        above = _hold(y, height - 1) * width
        below = _hold(y + 1, height - 1) * width
        left = _hold(x, width - 1)
        next_right = _hold(x + 1, width - 1)
        above_left = tl.load(table + ((above + left) * n_channels)[:, None], mask=wanted, other=0.0).to(tl.float32)
        above_right = tl.load(table + ((above + next_right) * n_channels)[:, None], mask=wanted, other=0.0).to(
            tl.float32
        )
        below_left = tl.load(table + ((below + left) * n_channels)[:, None], mask=wanted, other=0.0).to(tl.float32)
        below_right = tl.load(table + ((below + next_right) * n_channels)[:, None], mask=wanted, other=0.0).to(
            tl.float32
        )
        sampled = (1 - v) * ((1 - u) * above_left + u * above_right) + v * ((1 - u) * below_left + u * below_right)
        total += weight[:, None] * sampled
    at = (sample * n_pixels + pixel)[:, None] * n_channels + channel
    tl.store(result_pointer + at, total.to(result_pointer.dtype.element_ty), mask=wanted)


@triton.jit
def _backward_kernel(
    table_pointer,  # as before
    weight_pointer,
    alpha_pointer,
    beta_pointer,
    gradient_pointer,  # (B, n_pixels, channels), of the result
    of_table_pointer,  # float32, zeros at first
    of_weight_pointer,
    of_alpha_pointer,
    of_beta_pointer,
    n_pixels,
    n_columns,
    height,
    width,
    n_channels,
    dilation,
    top,
    SIDE: tl.constexpr,
    TRUNCATE: tl.constexpr,
    PIXELS: tl.constexpr,
    CHANNELS: tl.constexpr,
):
    sample = tl.program_id(1).to(tl.int64)
    pixel = tl.program_id(0) * PIXELS + tl.arange(0, PIXELS)
    channel = tl.arange(0, CHANNELS)[None, :]
    exists = pixel < n_pixels
    wanted = exists[:, None] & (channel < n_channels)
    table = table_pointer + sample * height * width * n_channels + channel
    of_table = of_table_pointer + sample * height * width * n_channels + channel
    at = (sample * n_pixels + pixel)[:, None] * n_channels + channel
    gradient = tl.load(gradient_pointer + at, mask=wanted, other=0.0).to(tl.float32)
    for tap in range(SIDE * SIDE):
        at = (sample * SIDE * SIDE + tap) * n_pixels + pixel
        weight = tl.load(weight_pointer + at, mask=exists, other=0.0).to(tl.float32)
        alpha = tl.load(alpha_pointer + at, mask=exists, other=0.0).to(tl.float32)
        beta = tl.load(beta_pointer + at, mask=exists, other=0.0).to(tl.float32)
        down = _whole(alpha, TRUNCATE)
        right = _whole(beta, TRUNCATE)
        v = alpha - down
        u = beta - right
        y = pixel // n_columns + top + (tap // SIDE) * dilation + _far(down)
        x = pixel % n_columns + (tap % SIDE) * dilation + _far(right)
        above = _hold(y, height - 1) * width
        below = _hold(y + 1, height - 1) * width
        left = _hold(x, width - 1)
        next_right = _hold(x + 1, width - 1)
        at_above_left = ((above + left) * n_channels)[:, None]
        at_above_right = ((above + next_right) * n_channels)[:, None]
        at_below_left = ((below + left) * n_channels)[:, None]
        at_below_right = ((below + next_right) * n_channels)[:, None]
        above_left = tl.sum(tl.load(table + at_above_left, mask=wanted, other=0.0).to(tl.float32) * gradient, axis=1)
        above_right = tl.sum(tl.load(table + at_above_right, mask=wanted, other=0.0).to(tl.float32) * gradient, axis=1)
        below_left = tl.sum(tl.load(table + at_below_left, mask=wanted, other=0.0).to(tl.float32) * gradient, axis=1)
        below_right = tl.sum(tl.load(table + at_below_right, mask=wanted, other=0.0).to(tl.float32) * gradient, axis=1)
        of_above = (1 - u) * above_left + u * above_right
        of_below = (1 - u) * below_left + u * below_right
        of_left = (1 - v) * above_left + v * below_left
        of_right = (1 - v) * above_right + v * below_right
        of_weight = (1 - v) * of_above + v * of_below
        tl.store(of_weight_pointer + at, of_weight.to(of_weight_pointer.dtype.element_ty), mask=exists)
        of_alpha = weight * (of_below - of_above)
        tl.store(of_alpha_pointer + at, of_alpha.to(of_alpha_pointer.dtype.element_ty), mask=exists)
        of_beta = weight * (of_right - of_left)
        tl.store(of_beta_pointer + at, of_beta.to(of_beta_pointer.dtype.element_ty), mask=exists)
        tl.atomic_add(of_table + at_above_left, (weight * (1 - v) * (1 - u))[:, None] * gradient, mask=wanted)
        tl.atomic_add(of_table + at_above_right, (weight * (1 - v) * u)[:, None] * gradient, mask=wanted)
        tl.atomic_add(of_table + at_below_left, (weight * v * (1 - u))[:, None] * gradient, mask=wanted)
        tl.atomic_add(of_table + at_below_right, (weight * v * u)[:, None] * gradient, mask=wanted)


def forward(
    image: Tensor, weight: Tensor, alpha: Tensor, beta: Tensor, dilation: int, truncate: bool, top: int
) -> Tensor:
    """Return what ``collaboration.collaborate`` returns, see there."""
    table, maps, sizes = _lay_out(image, weight, alpha, beta)
    result = table.new_empty(len(image), weight.shape[2] * weight.shape[3], image.shape[1])
    _forward_kernel[_grid(result)](
        table, *maps, result, *sizes, dilation, top, TRUNCATE=truncate, **_block(image, weight), num_warps=4
    )
    return result.view(len(image), *weight.shape[2:], image.shape[1]).permute(0, 3, 1, 2)


def backward(
    gradient: Tensor,
    image: Tensor,
    weight: Tensor,
    alpha: Tensor,
    beta: Tensor,
    dilation: int,
    truncate: bool,
    top: int,
) -> tuple[Tensor, ...]:
    """Return the gradients of image, weight, alpha and beta for that of the result."""
    table, maps, sizes = _lay_out(image, weight, alpha, beta)
    of_result = gradient.permute(0, 2, 3, 1).contiguous()
    of_table = torch.zeros_like(table, dtype=torch.float32)
    of_maps = [torch.empty_like(each) for each in maps]
    grid = _grid(of_result.view(len(image), -1, image.shape[1]))
    _backward_kernel[grid](
        table,
        *maps,
        of_result,
        of_table,
        *of_maps,
        *sizes,
        dilation,
        top,
        TRUNCATE=truncate,
        **_block(image, weight),
        num_warps=4,
    )
    return of_table.permute(0, 3, 1, 2).to(image.dtype), *of_maps


def _lay_out(
    image: Tensor, weight: Tensor, alpha: Tensor, beta: Tensor
) -> tuple[Tensor, list[Tensor], tuple[int, ...]]:
    """Return the image with its channels side by side, the maps one after the other, and what kernels need to know."""
    table = image.permute(0, 2, 3, 1).contiguous()
    sizes = (weight.shape[2] * weight.shape[3], weight.shape[3], *image.shape[2:], image.shape[1])
    return table, [maps.contiguous() for maps in (weight, alpha, beta)], sizes


def _grid(result: Tensor) -> tuple[int, int]:
    return triton.cdiv(result.shape[1], _PIXELS), len(result)


def _block(image: Tensor, weight: Tensor) -> dict[str, int]:
    return {"SIDE": math.isqrt(weight.shape[1]), "PIXELS": _PIXELS, "CHANNELS": triton.next_power_of_2(image.shape[1])}
