"""Networks whose score is negated by swapping the frames of a pair, whatever their weights are."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn

from rb2v.hypercut.networks.base import OrderNetwork
from rb2v.hypercut.pair_order import draw_unit_normal

N_CHANNELS = (32, 48, 64)  # of three layers, few: cues of motion are simple, and one core trains it
LEAK = 0.1  # slope below 0, so that no unit is without a gradient


class FrontEnd(nn.Module, ABC):
    """What an antisymmetric network looks at."""

    n_cues: int

    @abstractmethod
    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Return the cues of pairs, ``(B, n_cues, h, w)``, from two ``(B, 3, H, W)`` tensors."""

    @abstractmethod
    def swap(self, cues: Tensor) -> Tensor:
        """Return the cues of the same pairs in the other order."""


class RawPixels(FrontEnd):
    """The two frames as they are, stacked; sees brightness as readily as motion."""

    n_cues = 6

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Return ``(B, 6, H, W)`` in [-0.5, 0.5]."""
        return torch.cat([first, second], dim=1) - 0.5

    def swap(self, cues: Tensor) -> Tensor:
        """Return the cues of the pair in the other order."""
        return cues.roll(3, dims=1)


class AntisymmetricNetwork(OrderNetwork):
    """Score ``s(a, b) = <H(a, b) - H(b, a), h>``.

    Parameters
    ----------
    front_end : FrontEnd
        What the trunk sees of a pair.
    trunk : Sequential
        Takes the cues to ``(B, n_dimensions)``, the space that the plane divides; its last layer is linear, without
        a bias, which would be added to both orders.
    n_dimensions : int
        Dimension of that space.
    seed : int
        Seed of the plane's normal, which has unit length.
    """

    antisymmetric = True
    min_size_px = 16

    def __init__(self, front_end: FrontEnd, trunk: nn.Sequential, n_dimensions: int, seed: int) -> None:
        super().__init__()
        self.front_end: FrontEnd = front_end
        self.trunk = trunk
        self.register_buffer("normal", draw_unit_normal(n_dimensions, seed))

    def embed(self, first: Tensor, second: Tensor) -> Tensor:
        """Return ``H(a, b) - H(b, a)``, (B, n_dimensions), for (B, 3, H, W) frames."""
        return self.embed_view(self.view(first, second))

    def view(self, first: Tensor, second: Tensor) -> tuple[Tensor, ...]:
        """Return the cues of ordered pairs, which have no weights."""
        return (self.front_end(first, second),)

    def embed_view(self, view: tuple[Tensor, ...]) -> Tensor:
        """Return the points of ordered pairs, ``(B, n_dimensions)``, from their cues."""
        (cues,) = view
        ahead, back = self.trunk[:-1](torch.cat([cues, self.front_end.swap(cues)])).chunk(2)
        # The difference before the last layer: a matrix product rounds by a row's place, and the other order's
        # difference has the same one.
        points: Tensor = self.trunk[-1](ahead - back)
        return points

    def embed_both(self, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        """Return the points of pairs in both orders, each the other's opposite."""
        points = self.embed(first, second)
        return points, -points


class MeanOverPixels(nn.Module):
    """Average a map over its pixels."""

    def forward(self, maps: Tensor) -> Tensor:
        """Return ``(B, C)`` for ``(B, C, h, w)``."""
        return maps.mean(dim=(2, 3))


def make_trunk(n_cues: int, strides: tuple[int, int, int], n_dimensions: int) -> nn.Sequential:
    """Return three convolutions, an average over pixels and a linear map.

    Without batch normalization, which would tell the pairs of a batch about each other.
    """
    layers: list[nn.Module] = []
    for n_in, n_out, stride in zip((n_cues, *N_CHANNELS[:-1]), N_CHANNELS, strides, strict=True):
        layers += [nn.Conv2d(n_in, n_out, 3, stride=stride, padding=1), nn.LeakyReLU(LEAK)]
    return nn.Sequential(*layers, MeanOverPixels(), nn.Linear(N_CHANNELS[-1], n_dimensions, bias=False))


def make_antisymmetric(n_dimensions: int, seed: int) -> AntisymmetricNetwork:
    """Return the network on raw pixels, the paper's formulation made antisymmetric."""
    trunk = make_trunk(RawPixels.n_cues, (2, 2, 2), n_dimensions)
    return AntisymmetricNetwork(RawPixels(), trunk, n_dimensions, seed)
