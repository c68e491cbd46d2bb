"""The network of one stage, with the names and shapes of the published weights.

References
----------
.. [1] Zhong et al., "Animation from Blur", ECCV 2022, and its code: names, shapes and conventions.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

MULTIPLE_PX = 4  # two halvings on the way down
WIDTH = 128  # channels at full size; twice as many after each halving
N_BLOCKS = 12  # residual blocks at a quarter of the size


class Decomposer(nn.Module):
    """An encoder-decoder of strided convolutions around residual blocks, all with batch normalization.

    Parameters
    ----------
    inputs, outputs : int
        Channels of the images in and out.
    width, n_blocks : int, optional
        Channels at full size, and residual blocks; as published by default.
    """

    def __init__(self, inputs: int, outputs: int, width: int | None = None, n_blocks: int | None = None) -> None:
        super().__init__()
        width, n_blocks = width or WIDTH, n_blocks or N_BLOCKS
        self.first_conv = FirstBlock(inputs, width)
        self.down_blocks = nn.ModuleList([DownBlock(width, 2 * width), DownBlock(2 * width, 4 * width)])
        self.bottleneck = nn.Sequential(*(ResidualBlock(4 * width) for _ in range(n_blocks)))
        self.up_blocks = nn.ModuleList([UpBlock(4 * width, 2 * width), UpBlock(2 * width, width)])
        self.final_conv = nn.Sequential(nn.Conv2d(width, outputs, 7, padding=3))

    def forward(self, images: Tensor) -> Tensor:
        """Return images, (B, outputs, H, W), before any bounding, of images, (B, inputs, H, W)."""
        features = self.first_conv(images)
        for block in self.down_blocks:
            features = block(features)
        features = self.bottleneck(features)
        for block in self.up_blocks:
            features = block(features)
        made: Tensor = self.final_conv(features)
        return made


class FirstBlock(nn.Module):
    """A convolution at full size."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(inputs, outputs, 7, padding=3)
        self.norm = nn.BatchNorm2d(outputs)

    def forward(self, features: Tensor) -> Tensor:
        """Return features, (B, outputs, H, W)."""
        return torch.relu(self.norm(self.conv(features)))


class DownBlock(nn.Module):
    """Two convolutions, the second of which halves the size."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, stride=2, padding=1)
        self.norm1, self.norm2 = nn.BatchNorm2d(outputs), nn.BatchNorm2d(outputs)

    def forward(self, features: Tensor) -> Tensor:
        """Return features, (B, outputs, h / 2, w / 2)."""
        features = torch.relu(self.norm1(self.conv1(features)))
        return torch.relu(self.norm2(self.conv2(features)))


class ResidualBlock(nn.Module):
    """Two convolutions, normalized before each, and what they are given."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)
        self.norm1, self.norm2 = nn.BatchNorm2d(channels), nn.BatchNorm2d(channels)

    def forward(self, features: Tensor) -> Tensor:
        """Return features of the same shape, (B, channels, h, w)."""
        made = self.conv1(torch.relu(self.norm1(features)))
        made = self.conv2(torch.relu(self.norm2(made)))
        added: Tensor = features + made
        return added


class UpBlock(nn.Module):
    """A transposed convolution that doubles the size, and a convolution."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.trans = nn.ConvTranspose2d(inputs, outputs, 4, stride=2, padding=1)
        self.conv = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.norm1, self.norm2 = nn.BatchNorm2d(outputs), nn.BatchNorm2d(outputs)

    def forward(self, features: Tensor) -> Tensor:
        """Return features, (B, outputs, 2 h, 2 w)."""
        features = torch.relu(self.norm1(self.trans(features)))
        return torch.relu(self.norm2(self.conv(features)))
