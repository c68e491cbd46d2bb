"""The published predictor: a conditional variational autoencoder with discriminators, after BicycleGAN.

References
----------
.. [1] Zhong et al., "Animation from Blur", ECCV 2022.
.. [2] Zhu et al., "Toward multimodal image-to-image translation", NeurIPS 2017.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rb2v.blur2vid.predictor.networks.predictor import Predictor, latent_maps
from rb2v.core.motion_classes import N_CLASSES

N_LATENT = 4  # as published
WIDTHS = (64, 128, 256, 512, 512, 512, 512, 512)
"""Channels of the generator's eight levels, as published."""
_DROPPED = (4, 5, 6)
"""Levels, counted from the outermost, behind whose decoders half of the features are dropped."""
ENCODER_WIDTHS = (64, 128, 192, 256, 256)
"""Channels of the encoder's blocks, as published."""
_N_DISCRIMINATORS = 2  # the second sees maps of half the size with half the channels
DISCRIMINATOR_WIDTH = 64  # channels of the first layer, as published
_SLOPE = 0.2  # of leaky rectifiers, as in BicycleGAN


class ConditionalVaeGan(Predictor):
    """A generator of eight levels, an encoder of guidance maps, and two discriminators of them.

    The discriminators see guidance alone, not the image. For images of fewer pixels the generator has fewer levels.

    Parameters
    ----------
    image_size : int
        Side of the squares that it sees, in pixels: a power of two from 64 on, 256 as published.
    is_symmetric : bool
        Makes no difference: the published network learns from data that a reversal is as likely.
    """

    n_latent = N_LATENT

    def __init__(self, image_size: int, is_symmetric: bool = True) -> None:
        super().__init__(image_size)
        self.generator = Generator(WIDTHS[: image_size.bit_length() - 1])
        self.encoder = Encoder(ENCODER_WIDTHS)
        self.discriminators = nn.ModuleList(
            [make_discriminator(DISCRIMINATOR_WIDTH // 2**place) for place in range(_N_DISCRIMINATORS)]
        )

    def shrink(self, blurry: Tensor) -> Tensor:
        """Return images as squares, (B, 3, s, s), by nearest neighbor, as published."""
        return F.interpolate(blurry, size=(self.image_size, self.image_size), mode="nearest")

    def shrink_classes(self, classes: Tensor) -> Tensor:
        """Return classes as squares, (B, s, s) of int64, by nearest neighbor."""
        size = (self.image_size, self.image_size)
        return F.interpolate(classes[:, None].float(), size=size, mode="nearest")[:, 0].long()

    def scores(self, images: Tensor, latent: Tensor) -> Tensor:
        """Return the scores of the classes, (B, 5, s, s)."""
        made: Tensor = self.generator(images, latent)
        return made

    def encode(self, classes: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log variance of the latent, (B, n_latent), of guidance maps, (B, s, s) of int64."""
        found: tuple[Tensor, Tensor] = self.encoder(one_hot(classes))
        return found

    def discriminate(self, maps: Tensor) -> list[Tensor]:
        """Return how real patches of guidance maps, (B, 5, s, s), look, at each size."""
        found = []
        for place, discriminator in enumerate(self.discriminators):
            if place:
                maps = F.avg_pool2d(maps, 3, stride=2, padding=1, count_include_pad=False)
            found.append(discriminator(maps))
        return found


def one_hot(classes: Tensor) -> Tensor:
    """Return classes, (B, h, w) of int64, as (B, 5, h, w) of float."""
    return F.one_hot(classes, N_CLASSES).permute(0, 3, 1, 2).float()


def sample_hard(scores: Tensor) -> Tensor:
    """Draw one-hot maps, (B, 5, h, w), from scores; gradients pass as if the draw were soft."""
    return F.gumbel_softmax(scores, tau=1.0, hard=True, dim=1)


class Generator(nn.Module):
    """A U-Net that is given the latent at every level on the way down.

    Parameters
    ----------
    widths : sequence of int
        Channels of the levels, each at half the size of the one before.
    """

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        last = len(widths) - 1
        inputs = (3, *widths[:-1])
        self.downs = nn.ModuleList(
            [nn.Conv2d(a + N_LATENT, b, 4, stride=2, padding=1) for a, b in zip(inputs, widths, strict=True)]
        )
        outputs = (N_CLASSES, *widths[:-1])
        self.ups = nn.ModuleList(
            [
                nn.ConvTranspose2d(width if level == last else 2 * width, made, 4, stride=2, padding=1)
                for level, (width, made) in enumerate(zip(widths, outputs, strict=True))
            ]
        )

    def forward(self, images: Tensor, latent: Tensor) -> Tensor:
        """Return scores, (B, 5, h, w)."""
        last = len(self.downs) - 1
        features, kept = images, []
        for level, down in enumerate(self.downs):
            given = torch.cat([features, latent_maps(latent, features)], dim=1)
            features = down(F.leaky_relu(given, _SLOPE) if level else given)
            if 0 < level < last:
                features = F.instance_norm(features)
            kept.append(features)
        for level in range(last, -1, -1):
            features = self.ups[level](torch.relu(features))
            if level:
                features = F.instance_norm(features)
                if level in _DROPPED and level < last:
                    features = F.dropout(features, training=self.training)
                features = torch.cat([features, kept[level - 1]], dim=1)
        return features


class EncoderBlock(nn.Module):
    """Two convolutions and a halving, beside a shortcut."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, inputs, 3, padding=1)
        self.conv2 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.shortcut = nn.Conv2d(inputs, outputs, 1)

    def forward(self, features: Tensor) -> Tensor:
        """Return features, (B, outputs, h / 2, w / 2)."""
        made = self.conv1(F.leaky_relu(F.instance_norm(features), _SLOPE))
        made = self.conv2(F.leaky_relu(F.instance_norm(made), _SLOPE))
        added: Tensor = F.avg_pool2d(made, 2) + self.shortcut(F.avg_pool2d(features, 2))
        return added


class Encoder(nn.Module):
    """Mean and log variance of the latent of one-hot guidance maps.

    Parameters
    ----------
    widths : sequence of int
        Channels of the first convolution and of the blocks.
    """

    def __init__(self, widths: Sequence[int]) -> None:
        super().__init__()
        self.first = nn.Conv2d(N_CLASSES, widths[0], 4, stride=2, padding=1)
        self.blocks = nn.ModuleList([EncoderBlock(a, b) for a, b in itertools.pairwise(widths)])
        self.mean = nn.Linear(widths[-1], N_LATENT)
        self.log_variance = nn.Linear(widths[-1], N_LATENT)

    def forward(self, maps: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and log variance, (B, n_latent)."""
        features = self.first(maps)
        for block in self.blocks:
            features = block(features)
        pooled = F.adaptive_avg_pool2d(F.leaky_relu(features, _SLOPE), 1).flatten(1)
        return self.mean(pooled), self.log_variance(pooled)


def make_discriminator(width: int) -> nn.Sequential:
    """Return a discriminator of patches: how real every 70 px of one-hot maps look."""
    widths = (width, 2 * width, 4 * width)
    layers: list[nn.Module] = [nn.Conv2d(N_CLASSES, width, 4, stride=2, padding=1), nn.LeakyReLU(_SLOPE)]
    for a, b in itertools.pairwise(widths):
        layers += [nn.Conv2d(a, b, 4, stride=2, padding=1), nn.InstanceNorm2d(b), nn.LeakyReLU(_SLOPE)]
    layers += [nn.Conv2d(4 * width, 8 * width, 4, padding=1), nn.InstanceNorm2d(8 * width), nn.LeakyReLU(_SLOPE)]
    layers.append(nn.Conv2d(8 * width, 1, 4, padding=1))
    return nn.Sequential(*layers)
