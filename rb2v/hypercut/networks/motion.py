"""The network that sees motion and not brightness."""

from __future__ import annotations

from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rb2v.hypercut.networks.antisymmetric import AntisymmetricNetwork, FrontEnd, make_trunk

CUE_STEP_PX = 4
"""Pixels of the frames from one place of the cues to the next."""

# How torch.sum splits a sum over one axis of a tensor whose later axes are contiguous: into blocks of four vectors of
# eight floats; in what is left of the later axes, every fourth summand together.
_SUM_BLOCK_PX = 32  # four vectors of eight floats
_SUM_LANES = 4  # accumulators, each of which takes every fourth summand

# The square of a gradient of half a gray level: it makes a blank image score nothing, and not its noise.
_FLOOR = 4e-6


class SignedCues(FrontEnd):
    """Cues of which each is the same for the pair in the other order, or its own negative.

    Parameters
    ----------
    n_odd : int
        The first ones, which are negated; with the rest they are a group.
    n_even : int
        The rest of a group.
    n_groups : int
        Groups of such cues.
    """

    signs: Tensor

    def __init__(self, n_odd: int, n_even: int, n_groups: int = 1) -> None:
        super().__init__()
        self.n_cues = (n_odd + n_even) * n_groups
        signs = torch.tensor(([-1.0] * n_odd + [1.0] * n_even) * n_groups)
        self.register_buffer("signs", signs[:, None, None], persistent=False)

    def swap(self, cues: Tensor) -> Tensor:
        """Return the cues of the pair in the other order."""
        return cues * self.signs


class NormalFlow(SignedCues):
    """Products of temporal and spatial gradients, for motion that is small beside what moves.

    With the pair's mean ``m`` and difference ``d``, at every scale: ``-d m_x`` and ``-d m_y``, which point along
    the motion, beside the energies ``m_x^2`` and ``m_y^2`` and the product ``m_x m_y`` that say where and along which
    axis it can be seen. Each is summed over color, averaged to the places of the cues and divided by the
    image's mean energy; the signed logarithm keeps single strong edges from drowning the rest.
    """

    scales = (1, 2, 4)

    def __init__(self) -> None:
        super().__init__(n_odd=2, n_even=3, n_groups=len(self.scales))

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Return ``(B, n_cues, H // 4, W // 4)``."""
        first, second = _pairs_innermost(first), _pairs_innermost(second)
        mean, difference = (first + second) / 2, second - first
        return torch.cat([self._cues(mean, difference, scale) for scale in self.scales], dim=1)

    def _cues(self, mean: Tensor, difference: Tensor, scale: int) -> Tensor:
        mean, difference = _shrink(mean, scale), _shrink(difference, scale)
        mean_x, mean_y = _gradient(mean)
        ahead = -difference
        factors = ((ahead, mean_x), (ahead, mean_y), (mean_x, mean_x), (mean_y, mean_y), (mean_x, mean_y))
        step = CUE_STEP_PX // scale
        cues = _pairs_outermost(_shrink(_sums_of_products(factors), step))
        energy = cues[:, 2:4].sum(dim=1).mean(dim=(1, 2))
        relative = cues / (energy + _FLOOR)[:, None, None, None]
        return relative.sign() * torch.log1p(4 * relative.abs())


class Correlation(SignedCues):
    """How well the gradients of both frames match under every shift, for motion beyond the reach of normal flow.

    The shift is shared by both frames, ``g_a(x - k) g_b(x + k)``, so that the other order is the opposite shift at the
    same place. Products are averaged over a window and divided by the energy there, which leaves -1 to 1. Opposite
    shifts are told as their difference, which says where to, and as half their sum: motion below a pixel changes
    matches little, and a trunk that sees them as they are learns the look of the scene instead.

    Parameters
    ----------
    scale : int
        Pixels of the frames per pixel of the gradients, 1, 2 or 4.
    reach : int
        Largest ``k`` along either axis: motion of up to ``2 * scale * reach`` pixels is matched.
    """

    _window = 5
    _least_share = 0.1

    def __init__(self, scale: int, reach: int) -> None:
        self._n_opposite = (2 * reach + 1) ** 2 // 2
        super().__init__(n_odd=self._n_opposite, n_even=self._n_opposite + 1)
        self.scale = scale
        self.reach = reach

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Return ``(B, n_cues, H // 4, W // 4)``: the differences, the half sums, and half the match of no shift."""
        matches = self._match(first, second)
        back, still, ahead = torch.split(matches, [self._n_opposite, 1, self._n_opposite], dim=1)
        back = back.flip(1)
        return torch.cat([ahead - back, (ahead + back) / 2, still / 2], dim=1)

    def _match(self, first: Tensor, second: Tensor) -> Tensor:
        """Return how well every shift matches, line by line; opposite ones are as far from the middle."""
        a, b = (torch.cat(_gradient(_shrink(_pairs_innermost(frames), self.scale))) for frames in (first, second))
        height, width = a.shape[-2:]
        reach = self.reach
        padded_a, padded_b = (F.pad(gradients, (reach,) * 4) for gradients in (a, b))
        places = range(2 * reach + 1)
        shifted = (
            (
                padded_a[..., 2 * reach - y :, 2 * reach - x :][..., :height, :width],
                padded_b[..., y : y + height, x : x + width],
            )
            for y in places
            for x in places
        )
        matches = _pairs_outermost(self._average(_sums_of_products(shifted)))
        squares = (a.square() + b.square()) / 2
        energy = _pairs_outermost(self._average(_sums_of_products([(squares, torch.ones_like(squares))])))
        # Where there is next to nothing to match, noise would match by chance.
        least = self._least_share * energy.mean(dim=(2, 3), keepdim=True) + _FLOOR
        return matches / (energy + least)

    def _average(self, maps: Tensor) -> Tensor:
        step, margin = CUE_STEP_PX // self.scale, self._window // 2
        return F.avg_pool2d(maps, self._window, step, margin, count_include_pad=False)


class MotionCues(SignedCues):
    """Normal flow and correlations side by side.

    A contrast reversal leaves all of them as they are, up to rounding, and so does a brightness shift: they are made
    of products of gradients.
    """

    def __init__(self) -> None:
        parts = NormalFlow(), Correlation(scale=2, reach=3), Correlation(scale=4, reach=2)
        super().__init__(n_odd=0, n_even=sum(part.n_cues for part in parts))
        self.signs = torch.cat([part.signs for part in parts])
        self.parts = nn.ModuleList(parts)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Return ``(B, n_cues, H // 4, W // 4)``; rows and columns beyond a multiple of 4 are left out."""
        height, width = (side // CUE_STEP_PX * CUE_STEP_PX for side in first.shape[-2:])
        # In the parts' own layout already, so that none of them has to copy the frames.
        first, second = (_pairs_innermost(frames[..., :height, :width]).transpose(0, 1) for frames in (first, second))
        return torch.cat([part(first, second) for part in self.parts], dim=1)


def _pairs_innermost(frames: Tensor) -> Tensor:
    """Return ``(B, 3, H, W)`` frames as ``(3, B, H, W)``, with the pairs of a pixel side by side in memory.

    So products of shifted maps, and averages of them, run over whole rows: a map alone has rows of 14 to 64 numbers.
    """
    return frames.transpose(0, 1).contiguous(memory_format=torch.channels_last)


def _pairs_outermost(maps: Tensor) -> Tensor:
    """Return n maps, ``(n, B, h, w)``, as ``(B, n, h, w)``."""
    return maps.transpose(0, 1).contiguous()


def _sums_of_products(factors: Iterable[tuple[Tensor, Tensor]]) -> Tensor:
    """Sum the products of n pairs of tensors of 3 or 6 channels, ``(C, B, h, w)`` each, to ``(n, B, h, w)``.

    One channel after the other, so that what is read again is still in the core's own cache. The sum is rounded as
    `torch.sum` rounds it over the channels of ``(B, C, h, w)``, so that checkpoints give the scores that they always
    gave: one by one in blocks of pixels, and in another order where the last block of a map is not full.
    """
    factors = list(factors)
    has_gradient = torch.is_grad_enabled() and any(factor.requires_grad for pair in factors for factor in pair)
    maps = spare = None
    if not has_gradient:  # In place: new memory for every map costs as much as its sums.
        first, _ = factors[0]
        shape = len(factors), *first.shape[1:]
        maps = torch.empty(shape, dtype=first.dtype, device=first.device, memory_format=torch.channels_last)
        spare = torch.empty_like(maps[0])
    totals, last_products = [], []
    for place, (left, right) in enumerate(factors):
        n_channels, _, height, width = left.shape
        n_left = height * width % _SUM_BLOCK_PX if n_channels > _SUM_LANES else 0
        lefts, rights = left.unbind(), right.unbind()
        total = torch.mul(lefts[0], rights[0], out=None if maps is None else maps[place])
        for of_left, of_right in zip(lefts[1:], rights[1:], strict=True):
            total += torch.mul(of_left, of_right, out=spare)
        totals.append(total)
        if n_left:
            first_row = height - -(-n_left // width)
            last_products.append(left[..., first_row:, :] * right[..., first_row:, :])
    maps = torch.stack(totals) if maps is None else maps
    if last_products:
        # (C, n, pixels, B)
        products = torch.stack(last_products, dim=1).permute(0, 1, 3, 4, 2).flatten(2, 3)[:, :, -n_left:]
        first, *lanes = products.unbind()
        last = first + lanes[_SUM_LANES - 1]
        for lane in (*lanes[_SUM_LANES:], *lanes[: _SUM_LANES - 1]):
            last += lane
        maps.permute(0, 2, 3, 1).flatten(1, 2)[:, -n_left:] = last
    return maps


def _shrink(maps: Tensor, factor: int) -> Tensor:
    return F.avg_pool2d(maps, factor) if factor > 1 else maps


def _gradient(frames: Tensor) -> tuple[Tensor, Tensor]:
    padded = F.pad(frames, (1, 1, 1, 1), mode="replicate")
    return padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2], padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]


def make_motion(n_dimensions: int, seed: int) -> AntisymmetricNetwork:
    """Return the network on motion cues, which cannot order by brightness."""
    front_end = MotionCues()
    return AntisymmetricNetwork(front_end, make_trunk(front_end.n_cues, (1, 2, 1), n_dimensions), n_dimensions, seed)
