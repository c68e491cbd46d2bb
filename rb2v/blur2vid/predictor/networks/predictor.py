"""The interface of all predictors: a blurry image and a latent in, scores of the classes out, whatever the size."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rb2v.core.motion_classes import REVERSED


class Predictor(nn.Module, ABC):
    """A network that predicts a guidance map for every latent.

    Parameters
    ----------
    image_size : int
        Shorter side of the images that it sees, in pixels.
    """

    n_latent: int
    """Numbers of a latent, normally distributed."""

    def __init__(self, image_size: int) -> None:
        super().__init__()
        self.image_size = image_size

    @abstractmethod
    def shrink(self, blurry: Tensor) -> Tensor:
        """Return images, (B, 3, H, W), at the size that the network sees, (B, 3, h, w)."""

    @abstractmethod
    def shrink_classes(self, classes: Tensor) -> Tensor:
        """Return classes, (B, H, W) of int64, at the size that `shrink` gives, by nearest neighbor."""

    @abstractmethod
    def scores(self, images: Tensor, latent: Tensor) -> Tensor:
        """Return the scores of the classes, (B, 5, h, w), of what `shrink` returned and latents, (B, n_latent)."""

    def forward(self, images: Tensor, latent: Tensor) -> Tensor:
        """Return `scores`."""
        return self.scores(images, latent)

    def predict(self, blurry: Tensor, latent: Tensor) -> Tensor:
        """Return the most likely classes at the size of the images.

        Parameters
        ----------
        blurry : (B, 3, H, W) tensor of float
            RGB in [0, 1], of any size.
        latent : (B, n_latent) tensor of float
            Drawn from the normal distribution.

        Returns
        -------
        (B, H, W) tensor of uint8
        """
        scores = self.scores(self.shrink(blurry), latent)
        classes = scores.argmax(dim=1, keepdim=True).float()
        return F.interpolate(classes, size=blurry.shape[-2:], mode="nearest-exact")[:, 0].to(torch.uint8)


def reversed_scores(scores: Tensor) -> Tensor:
    """Return the scores, (B, 5, h, w), of the reversed sequence's classes."""
    return scores[:, torch.as_tensor(REVERSED.astype("int64"), device=scores.device)]


def reversed_classes(classes: Tensor) -> Tensor:
    """Return the classes, (B, h, w) of int64, of the reversed sequences."""
    return torch.as_tensor(REVERSED.astype("int64"), device=classes.device)[classes]


def latent_maps(latent: Tensor, like: Tensor) -> Tensor:
    """Return latents, (B, n), as constant maps, (B, n, h, w), beside features (B, c, h, w)."""
    return latent[:, :, None, None].expand(-1, -1, *like.shape[-2:])
