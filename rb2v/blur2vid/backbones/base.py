"""Base of the backbones: one blurry image in, a sequence of sharp frames out, of any size."""

from __future__ import annotations

from abc import ABC, abstractmethod

import torch
from torch import Tensor, nn


class Backbone(nn.Module, ABC):
    """A network that recovers the sharp frames of a blurry image.

    Subclasses estimate frames of sizes that suit their layers; here images are padded to such a size and the frames cut
    back.

    Parameters
    ----------
    n_frames : int
        Frames of a sequence, odd.
    """

    multiple_px: int = 1
    """What height and width must be multiples of inside."""
    min_size_px: int = 1
    """Least height and width inside."""
    takes_center: bool = False
    """Whether the true center frame is an input, as in the released code of HyperCUT (``oracle_center``)."""
    takes_guidance: bool = False
    """Whether motion guidance can be an input; see `GuidedBackbone`."""
    needs_guidance: bool = False
    """Whether it was trained with motion guidance, which it then needs."""
    has_autoencoder: bool = False
    """Whether training begins with `autoencode`."""

    def __init__(self, n_frames: int) -> None:
        super().__init__()
        self.n_frames = n_frames

    def forward(self, blurry: Tensor, center: Tensor | None = None) -> Tensor:
        """Estimate the sharp frames.

        Parameters
        ----------
        blurry : (B, 3, H, W) tensor of float
            RGB in [0, 1], of any size.
        center : (B, 3, H, W) tensor of float, optional
            The true center frame, for networks that take it and no others.

        Returns
        -------
        (B, n_frames, 3, H, W) tensor of float
            RGB; values may leave [0, 1].

        Raises
        ------
        ValueError
            If the network takes the center frame and it is not given, or the other way round.
        """
        if (center is not None) != self.takes_center:
            raise ValueError("the true center frame is " + ("missing" if self.takes_center else "no input"))
        height, width = blurry.shape[-2:]
        padded = None if center is None else self._pad(center)
        return self.estimate(self._pad(blurry), padded)[..., :height, :width]

    @abstractmethod
    def estimate(self, blurry: Tensor, center: Tensor | None) -> Tensor:
        """Estimate the sharp frames of images whose sides suit the layers; see `forward`."""

    def autoencode(self, sharp: Tensor) -> Tensor:
        """Reconstruct sequences from what the network makes of their own frames.

        Parameters
        ----------
        sharp : (B, n_frames, 3, H, W) tensor of float
            RGB in [0, 1].

        Returns
        -------
        (B, n_frames, 3, H, W) tensor of float
            Its error is what training begins with, where ``has_autoencoder``.
        """
        height, width = sharp.shape[-2:]
        flat = self._pad(sharp.flatten(0, 1))
        padded = flat.reshape(*sharp.shape[:2], *flat.shape[1:])
        return self.reconstruct(padded)[..., :height, :width]

    def reconstruct(self, sharp: Tensor) -> Tensor:
        """Reconstruct sequences whose sides suit the layers; see `autoencode`."""
        raise NotImplementedError(f"{type(self).__name__} has no autoencoder")

    def _pad(self, images: Tensor) -> Tensor:
        """Pad images, (B, 3, H, W), at the right and the bottom, by reflection as far as they reach."""
        for axis in (-2, -1):
            side = images.shape[axis]
            target = -(-max(side, self.min_size_px) // self.multiple_px) * self.multiple_px
            index = _reflect(side, target).to(images.device)
            if target != side:
                images = images.index_select(axis, index)
        return images


class GuidedBackbone(Backbone):
    """A network to which motion guidance tells how the image moves, and that estimates the frames in stages.

    What the guidance calls static is the blurry image itself in every stage. Without guidance the network is given
    zeros, and nothing is copied.
    """

    takes_guidance = True

    def forward(self, blurry: Tensor, center: Tensor | None = None, guidance: Tensor | None = None) -> Tensor:
        """Estimate the sharp frames.

        Parameters
        ----------
        blurry : (B, 3, H, W) tensor of float
            RGB in [0, 1], of any size.
        center : None
            Is for other networks.
        guidance : (B, 2, H, W) tensor of float, optional
            x and y of the motion: both of them -1 or 1, or both 0 where nothing moves.

        Returns
        -------
        (B, n_frames, 3, H, W) tensor of float
            RGB of the last stage; values may leave [0, 1].

        Raises
        ------
        ValueError
            If a center frame is given, or the guidance has another size than the image.
        """
        if center is not None:
            raise ValueError("the true center frame is no input")
        return self.stages(blurry, guidance)[-1]

    def stages(self, blurry: Tensor, guidance: Tensor | None = None) -> Tensor:
        """Return the frames of every stage, (S, B, n_frames, 3, H, W), of which `forward` returns the last."""
        height, width = blurry.shape[-2:]
        if guidance is not None and guidance.shape != (len(blurry), 2, height, width):
            raise ValueError(f"guidance of {tuple(guidance.shape)} for images of {tuple(blurry.shape)}")
        padded = self._pad(blurry)
        given = None if guidance is None else self._pad(guidance)
        return self.estimate_stages(padded, given)[..., :height, :width]

    def estimate(self, blurry: Tensor, center: Tensor | None) -> Tensor:
        """Estimate the frames without guidance; see `Backbone.forward`."""
        return self.estimate_stages(blurry, None)[-1]

    @abstractmethod
    def estimate_stages(self, blurry: Tensor, guidance: Tensor | None) -> Tensor:
        """Estimate the frames of every stage, of images whose sides suit the layers; see `stages`."""


def copy_static(frames: Tensor, blurry: Tensor, guidance: Tensor | None) -> Tensor:
    """Return frames, (B, T, 3, H, W), that are the blurry image where the guidance, (B, 2, H, W), is zero."""
    if guidance is None:
        return frames
    moves = (guidance != 0).any(dim=1)[:, None, None]
    return torch.where(moves, frames, blurry[:, None])


def _reflect(side: int, target: int) -> Tensor:
    """Return, for every place of a padded axis, the place of the image that is shown there: 0 1 2 1 0 1 ..."""
    period = max(2 * (side - 1), 1)
    places = torch.arange(target) % period
    return torch.where(places < side, places, period - places)
