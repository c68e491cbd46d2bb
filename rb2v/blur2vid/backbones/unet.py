"""A small U-Net of gated blocks, for machines without a GPU and as a modern baseline.

References
----------
.. [1] Chen et al., "Simple baselines for image restoration", ECCV 2022: the block without activations.
.. [2] Ronneberger et al., "U-Net", MICCAI 2015.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rb2v.blur2vid.backbones.base import Backbone

_EPSILON = 1e-6  # beside variances of features, which are about 1
_SHUFFLE = 2
"""Pixels of the images per pixel of the finest level."""


class UNet(Backbone):
    """Gated blocks at three scales; the frames are the blurry image and what is to be added to it.

    Parameters
    ----------
    n_frames : int
        Frames of a sequence, odd.
    width : int
        Channels of the finest level; each further one has twice as many.
    depths : sequence of int
        Blocks of each level on the way down; there are as many on the way up, but for the last level.
    """

    def __init__(self, n_frames: int, width: int = 32, depths: Sequence[int] = (1, 1, 2)) -> None:
        super().__init__(n_frames)
        self.multiple_px = multiple_of(depths)
        add_layers(self, 3, 3 * n_frames, width, depths)

    def estimate(self, blurry: Tensor, center: Tensor | None) -> Tensor:
        """Estimate the frames; see `Backbone.forward`."""
        change = run_layers(self, blurry - 0.5)
        return blurry[:, None] + change.reshape(len(change), self.n_frames, 3, *change.shape[-2:])


def multiple_of(depths: Sequence[int]) -> int:
    """Return what the sides of images must be multiples of, in pixels, for `run_layers`."""
    return int(_SHUFFLE * 2 ** (len(depths) - 1))


def add_layers(module: nn.Module, inputs: int, outputs: int, width: int, depths: Sequence[int]) -> None:
    """Give a module the layers that `run_layers` runs, for images of some channels to images of others."""
    widths = [width * 2**level for level in range(len(depths))]
    module.intro = nn.Conv2d(inputs * _SHUFFLE**2, width, 3, padding=1)
    module.encoders = nn.ModuleList([_blocks(channels, n) for channels, n in zip(widths, depths, strict=True)])
    module.downs = nn.ModuleList([nn.Conv2d(channels, 2 * channels, 2, 2) for channels in widths[:-1]])
    module.ups = nn.ModuleList([nn.Conv2d(2 * channels, 4 * channels, 1) for channels in widths[:-1]])
    module.decoders = nn.ModuleList(
        [_blocks(channels, n) for channels, n in zip(widths[:-1], depths[:-1], strict=True)]
    )
    module.ending = nn.Conv2d(width, outputs * _SHUFFLE**2, 3, padding=1)


def run_layers(module: Any, images: Tensor) -> Tensor:  # noqa: ANN401 - a module with the layers
    """Return images, (B, outputs, H, W), of images, (B, inputs, H, W), about zero."""
    shuffled = F.pixel_unshuffle(images, _SHUFFLE)
    if shuffled.device.type == "cpu":
        # The channels of a place lie side by side then, as the norm reads them: two thirds of the time for all layers.
        shuffled = shuffled.contiguous(memory_format=torch.channels_last)
    features = module.intro(shuffled)
    skipped = []
    for encoder, down in zip(module.encoders, module.downs, strict=False):
        features = encoder(features)
        skipped.append(features)
        features = down(features)
    features = module.encoders[-1](features)
    for up, decoder, skip in zip(reversed(module.ups), reversed(module.decoders), reversed(skipped), strict=True):
        features = decoder(F.pixel_shuffle(up(features), 2) + skip)
    made: Tensor = F.pixel_shuffle(module.ending(features), _SHUFFLE)
    return made


def _blocks(channels: int, n: int) -> nn.Sequential:
    return nn.Sequential(*(GatedBlock(channels) for _ in range(n)))


class GatedBlock(nn.Module):
    """A residual block in which halves of the channels multiply each other, in place of activations.

    It has no attention over the whole input, which would tell a small part that is trained on from a large image.

    Parameters
    ----------
    channels : int
        Channels in and out.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm_mix = ChannelNorm(channels)
        self.widen = nn.Conv2d(channels, 2 * channels, 1)
        self.spatial = nn.Conv2d(2 * channels, 2 * channels, 3, padding=1, groups=2 * channels)
        self.narrow = nn.Conv2d(channels, channels, 1)
        self.norm_feed = ChannelNorm(channels)
        self.feed_in = nn.Conv2d(channels, 2 * channels, 1)
        self.feed_out = nn.Conv2d(channels, channels, 1)
        # So that a deep stack begins as the identity.
        self.mix_share = nn.Parameter(torch.zeros(channels, 1, 1))
        self.feed_share = nn.Parameter(torch.zeros(channels, 1, 1))

    def forward(self, features: Tensor) -> Tensor:
        """Return features of the same shape, (B, channels, h, w)."""
        mixed = _gate(self.spatial(self.widen(self.norm_mix(features))))
        features = features + self.mix_share * self.narrow(mixed)
        fed = self.feed_out(_gate(self.feed_in(self.norm_feed(features))))
        shared: Tensor = features + self.feed_share * fed
        return shared


class ChannelNorm(nn.Module):
    """Layer normalization over the channels of every place.

    Parameters
    ----------
    channels : int
        Channels in and out.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(channels, 1, 1))
        self.offset = nn.Parameter(torch.zeros(channels, 1, 1))

    def forward(self, features: Tensor) -> Tensor:
        """Return features of the same shape and layout, (B, channels, h, w)."""
        scale, offset = self.scale.flatten(), self.offset.flatten()
        normed = F.layer_norm(features.permute(0, 2, 3, 1), scale.shape, scale, offset, _EPSILON)
        is_last = features.is_contiguous(memory_format=torch.channels_last)
        layout = torch.channels_last if is_last else torch.contiguous_format
        return normed.permute(0, 3, 1, 2).contiguous(memory_format=layout)


def _gate(features: Tensor) -> Tensor:
    one, other = features.chunk(2, dim=1)
    return one * other
