"""The network that says of every pixel which way round it is, and cannot be misled by signs that follow no motion."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rb2v.hypercut.networks.antisymmetric import LEAK
from rb2v.hypercut.networks.base import OrderNetwork
from rb2v.hypercut.pair_order import draw_unit_normal

N_CHANNELS = 32  # few, as in the other networks: one core trains it
DILATIONS = (1, 2, 4, 4, 2, 1)  # together they see 28 pixels to either side: all of a double image
SHARPNESS = 8.0
"""Score of a pair of which every pixel surely runs backward; logistic losses are settled there."""
_SHUFFLE = 2
"""Pixels of the frames per place of the layers."""
_LEAST_CHANCE = 1e-3  # of a sign, so that no single value costs more than seven sure ones
_FLOOR = 1e-3  # of a mean difference of 0..1: the score of two equal frames is 0, and noise below it counts less


class SignNetwork(OrderNetwork):
    """Share of a pair's difference that runs the preferred way, less the share that runs the other.

    From the mean of both frames and the size of their difference, which are the same in both orders, layers expect the
    difference's sign at every pixel and color of a pair in canonical order. With ``d = b - a`` and the expected signs
    ``g`` in [-1, 1], ``s(a, b) = -8 sum(d g) / sum(|d|)``. So a pair whose signs are swapped in a part scores what the
    rest is worth, whatever the part's shape; patterns of signs that follow no motion score nothing; and the score is
    negated with the order, whatever the weights are.

    Parameters
    ----------
    n_dimensions : int
        Dimension of the space that the plane divides; points lie along its normal.
    seed : int
        Seed of the plane's normal, which has unit length.
    """

    antisymmetric = True
    min_size_px = 16

    def __init__(self, n_dimensions: int, seed: int) -> None:
        super().__init__()
        n_seen = 6 * _SHUFFLE**2
        self.intro = nn.Conv2d(n_seen, N_CHANNELS, 3, padding=1)
        self.layers = nn.ModuleList(
            nn.Conv2d(N_CHANNELS, N_CHANNELS, 3, padding=dilation, dilation=dilation) for dilation in DILATIONS
        )
        self.ending = nn.Conv2d(N_CHANNELS, 3 * _SHUFFLE**2, 3, padding=1)
        self.register_buffer("normal", draw_unit_normal(n_dimensions, seed))

    def embed(self, first: Tensor, second: Tensor) -> Tensor:
        """Return the points of ordered pairs, (B, n_dimensions), for (B, 3, H, W) frames."""
        backward, size = self.score_maps(first, second)
        scores = SHARPNESS * backward.mean(dim=(1, 2)) / (size.mean(dim=(1, 2)) + _FLOOR)
        return scores[:, None] * self.normal

    def embed_both(self, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        """Return the points of pairs in both orders, each the other's opposite."""
        points = self.embed(first, second)
        return points, -points

    def score_maps(self, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        """Return where a pair runs backward and where it differs.

        Parameters
        ----------
        first, second : (B, 3, H, W) tensor of float
            Frames in [0, 1].

        Returns
        -------
        backward : (B, H, W) tensor of float
            The difference that runs backward less the one that runs the preferred way, sum over color.
        size : (B, H, W) tensor of float
            The difference's absolute value, likewise.
        """
        difference = second - first
        size = difference.abs()
        backward = -difference * self.expect_signs((first + second) / 2, size)
        return backward.sum(dim=1), size.sum(dim=1)

    def surprise(self, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        """Return how unlikely the signs of pairs are, as they are ordered and in the other order.

        Parameters
        ----------
        first, second : (B, P, 3, H, W) tensor of float
            Pairs of sequences.

        Returns
        -------
        ahead, back : (B, P, 3, H, W) tensor of float
            Negative log likelihood of the sign of every value, weighted by the difference's absolute value over its
            mean in the sequence.
        """
        difference = second - first
        size = difference.abs()
        mean = ((first + second) / 2).flatten(0, 1)
        chances = self.expect_signs(mean, size.flatten(0, 1)).reshape(size.shape)
        weights = size / (size.mean(dim=(1, 2, 3, 4), keepdim=True) + _FLOOR)
        signed = difference.sign() * chances
        ahead, back = (-torch.log(((1 + side * signed) / 2).clamp(min=_LEAST_CHANCE)) * weights for side in (1, -1))
        return ahead, back

    def expect_signs(self, mean: Tensor, size: Tensor) -> Tensor:
        """Return the signs of the differences of pairs in canonical order, (B, 3, H, W) in [-1, 1]."""
        height, width = mean.shape[-2:]
        seen = torch.cat([mean - 0.5, size], dim=1)
        seen = F.pad(seen, (0, width % _SHUFFLE, 0, height % _SHUFFLE), mode="replicate")
        maps = F.leaky_relu(self.intro(F.pixel_unshuffle(seen, _SHUFFLE)), LEAK)
        for layer in self.layers:
            maps = maps + F.leaky_relu(layer(maps), LEAK)
        signs: Tensor = F.pixel_shuffle(self.ending(maps), _SHUFFLE).tanh()
        return signs[..., :height, :width]
