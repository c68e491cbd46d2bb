"""The cascade of Jin et al.: the center frame first, and from there outwards pair by pair.

The four networks bear the names of the authors' files and their layers the names in them, so that the weights which the
authors released fit as they are.

References
----------
.. [1] Jin et al., "Learning to extract a video sequence from a single motion-blurred image", CVPR 2018, and the
   network definitions that the authors published with it.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rb2v.blur2vid.backbones.base import Backbone
from rb2v.errors import Rb2vError

N_FRAMES = 7  # the released networks have outputs for so many
_CENTER_SHUFFLE, _PAIR_SHUFFLE = 4, 5  # as in the released networks: sides of the squares that become channels
CENTER_WIDTH, PAIR_WIDTH = 144, 128  # channels of the blocks, as in the released networks
_FIRST_CHANGE = 0.1
"""Size of the changes before training, as a share of what the usual initial weights would give."""


class Jin(Backbone):
    """Seven frames from four networks: frame 4, then frames 3 and 5, 2 and 6, 1 and 7 from those found before.

    Every network adds a change to the frame that is nearest in time, or to the blurry image.

    Parameters
    ----------
    n_frames : int
        Frames of a sequence: 7.

    Attributes
    ----------
    mean, std : (3,) tensor of float32
        Colors are shifted and scaled to these inside. 0 and 1 but for weights that were trained on normalized images.

    Raises
    ------
    Rb2vError
        For any other number of frames.
    """

    multiple_px = _CENTER_SHUFFLE * _PAIR_SHUFFLE

    def __init__(self, n_frames: int) -> None:
        if n_frames != N_FRAMES:
            raise Rb2vError(f"the backbone 'jin' recovers {N_FRAMES} frames, not {n_frames}")
        super().__init__(n_frames)
        self.f4 = CenterNetwork()
        self.f35 = InnerPair()
        self.f26 = OuterPair("generateFrame2_6")
        self.f17 = OuterPair("generateFrame1_7")
        self.mean: Tensor
        self.std: Tensor
        self.register_buffer("mean", torch.zeros(3))
        self.register_buffer("std", torch.ones(3))

    def estimate(self, blurry: Tensor, center: Tensor | None) -> Tensor:
        """Estimate the frames; see `Backbone.forward`."""
        mean, std = self.mean[:, None, None], self.std[:, None, None]
        blurry = (blurry - mean) / std
        frame_4 = self.f4(blurry)
        frame_3, frame_5 = self.f35(blurry, frame_4)
        frame_2, frame_6 = self.f26(blurry, (frame_4, frame_4), (frame_3, frame_5))
        frame_1, frame_7 = self.f17(blurry, (frame_3, frame_5), (frame_2, frame_6))
        frames = torch.stack((frame_1, frame_2, frame_3, frame_4, frame_5, frame_6, frame_7), dim=1)
        return frames * std + mean


class ChangeNetwork(nn.Module):
    """What is to be added to an image: residual blocks at low resolution, color by color, then a mix of the colors.

    Parameters
    ----------
    shuffle : int
        Pixels of the image, along a side, per pixel of the blocks.
    stages : sequence of sequence of FourConv
        Blocks; what every stage ends with is added to the image.
    mixer : FourConv or TwoConv
        Block at full resolution.
    """

    def __init__(self, shuffle: int, stages: Sequence[Sequence[FourConv]], mixer: FourConv | TwoConv) -> None:
        super().__init__()
        self._shuffle = shuffle
        self._n_stages = len(stages)
        for i, blocks in enumerate(stages, start=1):
            self.add_module(f"LocalGrad{i}", nn.Sequential(*blocks))
            self.add_module(f"fuse{i}", nn.Sequential(TwoConv(blocks[0].n_channels, shuffle**2)))
        self.conv2 = nn.Conv2d(3, mixer.n_channels, 3, padding=1, bias=False)
        self.GlobalGrad = nn.Sequential(mixer)
        self.norm3 = nn.InstanceNorm2d(mixer.n_channels, affine=True)
        self.conv3 = nn.Conv2d(mixer.n_channels, 3, 3, padding=1, bias=False)
        with torch.no_grad():
            # The norm before it makes any change as large as the image, and the cascade adds up four of them.
            self.conv3.weight.mul_(_FIRST_CHANGE)

    def split(self, images: Tensor) -> Tensor:
        """Turn images, (B, 3, H, W), into low-resolution maps of single colors, (3 B, shuffle^2, h, w)."""
        return F.pixel_unshuffle(images.flatten(0, 1).unsqueeze(1), self._shuffle)

    def change(self, features: Tensor, maps: Tensor) -> Tensor:
        """Return the change of the image that ``maps`` show, from features of its colors.

        Parameters
        ----------
        features : (3 B, channels, h, w) tensor of float
            Of every color by itself.
        maps : (3 B, shuffle^2, h, w) tensor of float
            The image; see `split`.

        Returns
        -------
        (B, 3, H, W) tensor of float
        """
        for i in range(1, self._n_stages + 1):
            features = self.get_submodule(f"LocalGrad{i}")(features)
            maps = maps + self.get_submodule(f"fuse{i}")(features)
        image = F.pixel_shuffle(maps, self._shuffle)
        image = image.reshape(-1, 3, *image.shape[-2:])
        mixed = F.relu(self.norm3(self.GlobalGrad(self.conv2(image))), inplace=True)
        change: Tensor = self.conv3(mixed)
        return change


class CenterNetwork(ChangeNetwork):
    """Frame 4 from the blurry image."""

    def __init__(self) -> None:
        n = CENTER_WIDTH
        stages = (
            [FourConv(n) for _ in range(3)],
            [FourConv(n, *dilations) for dilations in ((1, 2), (2, 4), (4, 8))],
            [FourConv(n, *dilations) for dilations in ((8, 4), (4, 2), (2, 1))],
            [FourConv(n) for _ in range(3)],
        )
        super().__init__(_CENTER_SHUFFLE, stages, FourConv(64))
        self.conv1_B = nn.Conv2d(_CENTER_SHUFFLE**2, n, 5, padding=2, bias=False)

    def forward(self, blurry: Tensor) -> Tensor:
        """Return the frame, (B, 3, H, W), of images of that shape."""
        maps = self.split(blurry)
        return blurry + self.change(self.conv1_B(maps), maps)


class FrameNetwork(ChangeNetwork):
    """A frame beside one that is known.

    Parameters
    ----------
    n_blocks : int
        Undilated blocks, before the dilated ones and after them.
    """

    def __init__(self, n_blocks: int) -> None:
        n = PAIR_WIDTH
        stages = (
            [FourConv(n) for _ in range(n_blocks)],
            [FourConv(n, *dilations) for dilations in ((1, 2), (4, 8), (8, 4), (2, 1))],
            [FourConv(n) for _ in range(n_blocks)],
        )
        super().__init__(_PAIR_SHUFFLE, stages, TwoConv(32, 32))
        self.conv1_B = nn.Conv2d(_PAIR_SHUFFLE**2, n // 2, 5, padding=2, bias=False)
        self.conv1_S1 = nn.Conv2d(_PAIR_SHUFFLE**2, n // 4, 5, padding=2, bias=False)
        self.conv1_S2 = nn.Conv2d(_PAIR_SHUFFLE**2, n // 4, 5, padding=2, bias=False)

    def forward(self, blurry: Tensor, further: Tensor, nearest: Tensor) -> Tensor:
        """Estimate a frame.

        Parameters
        ----------
        blurry : (B, 3, H, W) tensor of float
            Blurry image.
        further, nearest : (B, 3, H, W) tensor of float
            Two frames that are known; the change is added to the second.

        Returns
        -------
        (B, 3, H, W) tensor of float
        """
        maps = self.split(nearest)
        features = (self.conv1_B(self.split(blurry)), self.conv1_S1(self.split(further)), self.conv1_S2(maps))
        return nearest + self.change(torch.cat(features, dim=1), maps)


class InnerPair(nn.Module):
    """Frames 3 and 5, each by a network of its own; that of frame 5 sees frame 3, and so which direction it took."""

    def __init__(self) -> None:
        super().__init__()
        self.generateFrame3 = FrameNetwork(4)
        self.generateFrame5 = FrameNetwork(4)

    def forward(self, blurry: Tensor, frame_4: Tensor) -> tuple[Tensor, Tensor]:
        """Return frames 3 and 5, (B, 3, H, W) each, of images and center frames of that shape."""
        frame_3 = self.generateFrame3(blurry, frame_4, frame_4)
        return frame_3, self.generateFrame5(blurry, frame_3, frame_4)


class OuterPair(nn.Module):
    """A pair of frames, both by the same network, which goes on outwards from the frames within.

    Parameters
    ----------
    name : str
        Of the network in the authors' files.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        self._name = name
        self.add_module(name, FrameNetwork(2))

    def forward(
        self, blurry: Tensor, further: tuple[Tensor, Tensor], nearest: tuple[Tensor, Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Return the earlier and the later frame, each from two frames of its side; see `FrameNetwork.forward`."""
        network = self.get_submodule(self._name)
        return network(blurry, further[0], nearest[0]), network(blurry, further[1], nearest[1])


class FourConv(nn.Module):
    """A residual block of two branches, one of them two layers deep, each layer behind norm and rectifier.

    Parameters
    ----------
    n_channels : int
        Channels in and out.
    first_dilation, second_dilation : int
        Of the two layers of the deep branch, in pixels.
    """

    def __init__(self, n_channels: int, first_dilation: int = 1, second_dilation: int = 1) -> None:
        super().__init__()
        n, first, second = n_channels, first_dilation, second_dilation
        self.n_channels = n
        self.norm1 = nn.InstanceNorm2d(n, affine=True)
        self.norm2 = nn.InstanceNorm2d(n, affine=True)
        self.norm4 = nn.InstanceNorm2d(n, affine=True)
        self.conv1 = nn.Conv2d(n, n, 1, bias=False)
        self.conv2 = nn.Conv2d(n, n, 3, padding=first, dilation=first, bias=False)
        self.conv4 = nn.Conv2d(n, n, 3, padding=second, dilation=second, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """Return features of the same shape, (B, n_channels, h, w)."""
        shallow = self.conv1(F.relu(self.norm1(features), inplace=True))
        deep = self.conv2(F.relu(self.norm2(features), inplace=True))
        deep = self.conv4(F.relu(self.norm4(deep), inplace=True))
        total: Tensor = features + shallow + deep
        return total


class TwoConv(nn.Module):
    """A block of two branches of one layer each, behind norm and rectifier, without the input itself.

    Parameters
    ----------
    n_channels, n_out : int
        Channels in and out.
    """

    def __init__(self, n_channels: int, n_out: int) -> None:
        super().__init__()
        self.n_channels = n_channels
        self.norm1 = nn.InstanceNorm2d(n_channels, affine=True)
        self.norm2 = nn.InstanceNorm2d(n_channels, affine=True)
        self.conv1 = nn.Conv2d(n_channels, n_out, 1, bias=False)
        self.conv2 = nn.Conv2d(n_channels, n_out, 3, padding=1, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """Return features of shape (B, n_out, h, w), of features of shape (B, n_channels, h, w)."""
        narrow = self.conv1(F.relu(self.norm1(features), inplace=True))
        wide = self.conv2(F.relu(self.norm2(features), inplace=True))
        total: Tensor = narrow + wide
        return total
