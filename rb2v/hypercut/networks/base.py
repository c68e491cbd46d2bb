"""Base of the order networks: points for ordered pairs of frames, and their scores."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn


class OrderNetwork(nn.Module, ABC):
    """A map ``H`` of ordered pairs of frames to points, and a plane through the origin that divides them.

    Frames are RGB in [0, 1]. The sides of the plane are told in `rb2v.hypercut.order`.
    """

    antisymmetric: bool
    """Whether swapping the frames of a pair negates its score, whatever the weights are."""
    min_size_px: int
    """Smallest height and width of the frames."""
    normal: Tensor
    """(n,) normal of the plane."""

    @abstractmethod
    def embed(self, first: Tensor, second: Tensor) -> Tensor:
        """Return the points of ordered pairs.

        Parameters
        ----------
        first, second : (B, 3, H, W) tensor of float
            Frames in [0, 1].

        Returns
        -------
        (B, n) tensor of float
        """

    @abstractmethod
    def embed_both(self, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        """Return the points of pairs in both orders, from one batched pass."""

    def view(self, first: Tensor, second: Tensor) -> tuple[Tensor, ...]:
        """Return what the weights see of ordered pairs: alike for all networks of an architecture."""
        return first, second

    def embed_view(self, view: tuple[Tensor, ...]) -> Tensor:
        """Return the points of ordered pairs, ``(B, n)``, from what `view` returned."""
        return self.embed(*view)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Score pairs of frames in both orders, in one batched pass.

        Parameters
        ----------
        first, second : (..., 3, H, W) tensor of float
            Frames in [0, 1].

        Returns
        -------
        (2, ...) tensor of float32
            Scores of ``(first, second)`` and of ``(second, first)``.
        """
        both = torch.stack(self.embed_both(_flatten(first), _flatten(second)))
        return self.project(both).reshape(2, *first.shape[:-3])

    def score(self, first: Tensor, second: Tensor) -> Tensor:
        """Score pairs of frames as they are ordered.

        Parameters
        ----------
        first, second : (..., 3, H, W) tensor of float
            Frames in [0, 1].

        Returns
        -------
        (...) tensor of float32
            Negative: keep; positive: reverse.
        """
        return score_alike([self], first, second)[0]

    def project(self, points: Tensor) -> Tensor:
        """Return the scores, (...) float32, of points, (..., n): their projection on the plane's normal."""
        # In full precision also under AMP: the sides of small scores would else be rounded away. And as a sum, which
        # rounds both orders of a pair alike: a matrix product rounds by a row's place.
        return (points.float() * self.normal.float()).sum(dim=-1)


def score_alike(networks: Sequence[OrderNetwork], first: Tensor, second: Tensor) -> list[Tensor]:
    """Score pairs of frames as they are ordered by networks of one architecture, which share their view of the pairs.

    Parameters
    ----------
    networks : sequence of OrderNetwork
        At least one.
    first, second : (..., 3, H, W) tensor of float
        Frames in [0, 1].

    Returns
    -------
    list of (...) tensor of float32
        What `OrderNetwork.score` returns, one a network.
    """
    view = networks[0].view(_flatten(first), _flatten(second))
    return [network.project(network.embed_view(view)).reshape(first.shape[:-3]) for network in networks]


class PairNetwork(OrderNetwork):
    """A network that sees a pair as it is ordered; that its score turns with the order has to be learned."""

    antisymmetric = False

    @abstractmethod
    def features(self, first: Tensor, second: Tensor) -> Tensor:
        """Return what `head` takes to points, ``(B, f)``."""

    def head(self, features: Tensor) -> Tensor:
        """Return points, ``(B, n)``; the features themselves, where a network has no more."""
        return features

    def embed(self, first: Tensor, second: Tensor) -> Tensor:
        """Return the points of ordered pairs, (B, n), for (B, 3, H, W) frames."""
        return self.head(self.features(first, second))

    def embed_both(self, first: Tensor, second: Tensor) -> tuple[Tensor, Tensor]:
        """Return the points of pairs in both orders, from one batched pass."""
        ahead, back = self.features(torch.cat([first, second]), torch.cat([second, first])).chunk(2)
        # One after the other, so that a pair has the same place in both matrix products, which round by it.
        return self.head(ahead), self.head(back)


def _flatten(frames: Tensor) -> Tensor:
    return frames.reshape(-1, *frames.shape[-3:])
