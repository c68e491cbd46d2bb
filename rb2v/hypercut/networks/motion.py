"""The network that sees motion and not brightness."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rb2v.hypercut.networks.antisymmetric import AntisymmetricNetwork, FrontEnd, make_trunk

CUE_STEP_PX = 4
"""Pixels of the frames from one place of the cues to the next."""

# The square of a gradient of half a grey level: it makes a blank picture score nothing, and not its noise.
_FLOOR = 4e-6


class NormalFlow(FrontEnd):
    """Products of temporal and spatial gradients, for motion that is small beside what moves.

    With the pair's mean ``m`` and difference ``d``, at every scale: ``-d m_x`` and ``-d m_y``, which point along
    the motion, beside the energies ``m_x^2`` and ``m_y^2`` and the product ``m_x m_y`` that say where and along which
    axis it can be seen. Each is summed over colour, averaged to the places of the cues and divided by the
    picture's mean energy; the signed logarithm keeps single strong edges from drowning the rest.
    """

    scales = (1, 2, 4)
    n_odd = 2
    n_cues = 5 * len(scales)
    signs: Tensor

    def __init__(self) -> None:
        super().__init__()
        signs = torch.tensor(([-1.0] * self.n_odd + [1.0] * (5 - self.n_odd)) * len(self.scales))
        self.register_buffer("signs", signs[:, None, None], persistent=False)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Return ``(B, n_cues, H // 4, W // 4)``."""
        mean, difference = (first + second) / 2, second - first
        return torch.cat([self._cues(mean, difference, scale) for scale in self.scales], dim=1)

    def swap(self, cues: Tensor) -> Tensor:
        """Return the cues of the pair in the other order: the difference changes its sign."""
        return cues * self.signs

    def _cues(self, mean: Tensor, difference: Tensor, scale: int) -> Tensor:
        mean, difference = _shrink(mean, scale), _shrink(difference, scale)
        mean_x, mean_y = _gradient(mean)
        factors = ((-difference, mean_x), (-difference, mean_y), (mean_x, mean_x), (mean_y, mean_y), (mean_x, mean_y))
        cues = _shrink(torch.stack([(left * right).sum(dim=1) for left, right in factors], dim=1), CUE_STEP_PX // scale)
        energy = cues[:, 2:4].sum(dim=1).mean(dim=(1, 2))
        relative = cues / (energy + _FLOOR)[:, None, None, None]
        return relative.sign() * torch.log1p(4 * relative.abs())


class Correlation(FrontEnd):
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
        super().__init__()
        self.scale = scale
        self.reach = reach
        self.n_cues = (2 * reach + 1) ** 2
        self._n_opposite = self.n_cues // 2

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Return ``(B, n_cues, H // 4, W // 4)``: the differences, the half sums, and half the match of no shift."""
        matches = self._match(first, second)
        back, still, ahead = torch.split(matches, [self._n_opposite, 1, self._n_opposite], dim=1)
        back = back.flip(1)
        return torch.cat([ahead - back, (ahead + back) / 2, still / 2], dim=1)

    def swap(self, cues: Tensor) -> Tensor:
        """Return the cues of the pair in the other order: every shift becomes its opposite."""
        differences, sums = torch.split(cues, [self._n_opposite, self._n_opposite + 1], dim=1)
        return torch.cat([-differences, sums], dim=1)

    def _match(self, first: Tensor, second: Tensor) -> Tensor:
        """Return how well every shift matches, line by line; opposite ones are as far from the middle."""
        a, b = (torch.cat(_gradient(_shrink(frames, self.scale)), dim=1) for frames in (first, second))
        height, width = a.shape[-2:]
        reach = self.reach
        padded_a, padded_b = (F.pad(gradients, (reach,) * 4) for gradients in (a, b))
        places = range(2 * reach + 1)
        products = [
            padded_a[..., 2 * reach - y :, 2 * reach - x :][..., :height, :width]
            * padded_b[..., y : y + height, x : x + width]
            for y in places
            for x in places
        ]
        matches = self._average(torch.stack([product.sum(dim=1) for product in products], dim=1))
        energy = self._average(((a.square() + b.square()) / 2).sum(dim=1, keepdim=True))
        # Where there is next to nothing to match, noise would match by chance.
        least = self._least_share * energy.mean(dim=(2, 3), keepdim=True) + _FLOOR
        return matches / (energy + least)

    def _average(self, maps: Tensor) -> Tensor:
        step, margin = CUE_STEP_PX // self.scale, self._window // 2
        return F.avg_pool2d(maps, self._window, step, margin, count_include_pad=False)


class MotionCues(FrontEnd):
    """Normal flow and correlations side by side.

    A contrast reversal leaves all of them as they are, up to rounding, and so does a brightness shift: they are made
    of products of gradients.
    """

    def __init__(self) -> None:
        super().__init__()
        self.parts = nn.ModuleList([NormalFlow(), Correlation(scale=2, reach=3), Correlation(scale=4, reach=2)])
        self._sizes = [part.n_cues for part in self._front_ends()]
        self.n_cues = sum(self._sizes)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Return ``(B, n_cues, H // 4, W // 4)``; rows and columns beyond a multiple of 4 are left out."""
        height, width = (side // CUE_STEP_PX * CUE_STEP_PX for side in first.shape[-2:])
        first, second = first[..., :height, :width], second[..., :height, :width]
        return torch.cat([part(first, second) for part in self._front_ends()], dim=1)

    def swap(self, cues: Tensor) -> Tensor:
        """Return the cues of the pair in the other order."""
        parts = torch.split(cues, self._sizes, dim=1)
        return torch.cat([end.swap(part) for end, part in zip(self._front_ends(), parts, strict=True)], dim=1)

    def _front_ends(self) -> list[FrontEnd]:
        return [part for part in self.parts if isinstance(part, FrontEnd)]


def _shrink(maps: Tensor, factor: int) -> Tensor:
    return F.avg_pool2d(maps, factor) if factor > 1 else maps


def _gradient(frames: Tensor) -> tuple[Tensor, Tensor]:
    padded = F.pad(frames, (1, 1, 1, 1), mode="replicate")
    return padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2], padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]


def make_motion(n_dimensions: int, seed: int) -> AntisymmetricNetwork:
    """Return the network on motion cues, which cannot order by brightness."""
    front_end = MotionCues()
    return AntisymmetricNetwork(front_end, make_trunk(front_end.n_cues, (1, 2, 1), n_dimensions), n_dimensions, seed)
