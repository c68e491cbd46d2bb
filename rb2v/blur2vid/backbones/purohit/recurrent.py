"""The recurrent halves of a video autoencoder; the modules bear the names that they have in HyperCUT's weights.

References
----------
.. [1] Shi et al., "Convolutional LSTM network", NeurIPS 2015.
.. [2] Purohit, Shah and Rajagopalan, "Bringing alive blurred moments", CVPR 2019.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SLOPE = 0.1
"""Of the rectifiers, below zero."""


class ResidualBlock(nn.Module):
    """Two convolutions, and what came in is added.

    Parameters
    ----------
    channels : int
        Channels in and out.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)

    def forward(self, features: Tensor) -> Tensor:
        """Return features of the same shape, (B, channels, h, w)."""
        change = self.conv2(F.leaky_relu(self.conv1(features), SLOPE))
        return F.leaky_relu(features + change, SLOPE)


class PyramidEncoder(nn.Module):
    """Features at one scale per entry of ``channels``, each half as large as the one before.

    Parameters
    ----------
    channels_in : int
        Channels of the images.
    channels : sequence of int
        Channels of every scale, the finest first.
    """

    def __init__(self, channels_in: int, channels: Sequence[int]) -> None:
        super().__init__()
        sizes = pairwise([channels_in, *channels])
        self.model = nn.ModuleList(
            nn.Sequential(nn.Conv2d(before, after, 3, stride=2 if scale else 1, padding=1), ResidualBlock(after))
            for scale, (before, after) in enumerate(sizes)
        )

    def forward(self, images: Tensor) -> list[Tensor]:
        """Return the features of images, (B, channels_in, H, W), the finest first."""
        features = []
        for layer in self.model:
            images = layer(images)
            features.append(images)
        return features


class ConvLSTM(nn.Module):
    """One step of a recurrent network whose state is an image.

    Parameters
    ----------
    channels : int
        Channels of what comes in, of what goes out and of the memory.
    """

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(2 * channels, 4 * channels, 3, padding=1)

    def forward(self, features: Tensor, hidden: Tensor, memory: Tensor) -> tuple[Tensor, Tensor]:
        """Return the next hidden state and the next memory, all of one shape, (B, channels, h, w)."""
        gates: Tensor = self.conv(torch.cat([features, hidden], dim=1))
        enter, keep, leave, candidate = gates.chunk(4, dim=1)
        memory = keep.sigmoid() * memory + enter.sigmoid() * candidate.tanh()
        return leave.sigmoid() * memory.tanh(), memory


class VideoEncoder(nn.Module):
    """Read frames one after the other; what remains is their motion as seen from the center frame (RVE).

    Parameters
    ----------
    channels : sequence of int
        Channels of every scale, the finest first; the last are those of the code.
    """

    def __init__(self, channels: Sequence[int]) -> None:
        super().__init__()
        self.frame_encoder = PyramidEncoder(6, channels)
        self.conv_lstm = ConvLSTM(channels[-1])

    def forward(self, frames: Tensor, center: Tensor) -> Tensor:
        """Encode motion.

        Parameters
        ----------
        frames : (B, T, 3, H, W) tensor of float
            In the order in which they are read, one at least.
        center : (B, 3, H, W) tensor of float
            What every frame is seen beside.

        Returns
        -------
        (B, channels[-1], h, w) tensor of float
            Between -1 and 1.
        """
        n_frames = frames.shape[1]
        beside = torch.cat([frames, center[:, None].expand_as(frames)], dim=2)
        features = self.frame_encoder(beside.flatten(0, 1))[-1].unflatten(0, (-1, n_frames))
        hidden = memory = torch.zeros_like(features[:, 0])
        for step in range(n_frames):
            hidden, memory = self.conv_lstm(features[:, step], hidden, memory)
        return hidden


class VideoDecoder(nn.Module):
    """Predict the flow of one frame after the other from a code of their motion (RVD).

    Parameters
    ----------
    channels : sequence of int
        Channels of every scale, the finest first; the last are those of the code.
    flow_feedback : bool
        Whether a step sees the flow of the one before, and flow at a finer scale is what is to be added to the coarser
        one. Without, as in the released code of HyperCUT, every step sees zeros, and every scale predicts flow anew.
    """

    def __init__(self, channels: Sequence[int], flow_feedback: bool = True) -> None:
        super().__init__()
        self.flow_feedback = flow_feedback
        self.flow_encoder = PyramidEncoder(2, channels)
        self.conv_lstm = ConvLSTM(channels[-1])
        self.flow_decoder = FlowDecoder(channels, refine=flow_feedback)

    def forward(self, code: Tensor, n_steps: int) -> Iterator[Tensor]:
        """Predict flow, step by step.

        Parameters
        ----------
        code : (B, channels[-1], h, w) tensor of float
            The first hidden state.
        n_steps : int
            Frames.

        Yields
        ------
        (B, 2, H, W) tensor of float
            Flow from the frame to the center frame, right and down, in pixels.
        """
        shrunk = 2 ** (len(self.flow_encoder.model) - 1)
        flow = code.new_zeros(len(code), 2, shrunk * code.shape[2], shrunk * code.shape[3])
        features = self.flow_encoder(flow)
        hidden, memory = code, torch.zeros_like(code)
        for step in range(n_steps):
            if step and self.flow_feedback:
                features = self.flow_encoder(flow)
            hidden, memory = self.conv_lstm(features[-1], hidden, memory)
            flow = self.flow_decoder(hidden, features)
            yield flow


class FlowDecoder(nn.Module):
    """Flow at every scale, the coarsest first.

    Parameters
    ----------
    channels : sequence of int
        Channels of every scale, the finest first.
    refine : bool
        Whether flow is what is to be added to that of the coarser scale; flow then begins as zero.
    """

    def __init__(self, channels: Sequence[int], refine: bool) -> None:
        super().__init__()
        self.refine = refine
        sizes = list(reversed(channels))
        self.deconvs = nn.ModuleList(Upscale(before, after) for before, after in pairwise(sizes))
        self.convs = nn.ModuleList(
            nn.Conv2d(2 * size + (2 if scale else 0), 2, 3, padding=1) for scale, size in enumerate(sizes)
        )
        if refine:
            for conv in self.convs.parameters():
                nn.init.zeros_(conv)

    def forward(self, hidden: Tensor, features: Sequence[Tensor]) -> Tensor:
        """Return flow at the finest scale, (B, 2, H, W), in its pixels, from features that begin with the finest."""
        flow: Tensor = self.convs[0](torch.cat([features[-1], hidden], dim=1))
        for upscale, conv, encoded in zip(self.deconvs, self.convs[1:], reversed(features[:-1]), strict=True):
            hidden = upscale(hidden)
            coarse = _double(flow)
            if self.refine:
                coarse = 2 * coarse
            flow = conv(torch.cat([encoded, hidden, coarse], dim=1))
            if self.refine:
                flow = flow + coarse
        return flow


class Upscale(nn.Module):
    """Features of twice the size.

    Parameters
    ----------
    channels_in, channels_out : int
        Channels before and after.
    """

    def __init__(self, channels_in: int, channels_out: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels_in, channels_out, 5, padding=2)

    def forward(self, features: Tensor) -> Tensor:
        """Return (B, channels_out, 2 h, 2 w)."""
        return F.leaky_relu(self.conv(_double(features)), SLOPE)


def _double(images: Tensor) -> Tensor:
    return F.interpolate(images, scale_factor=2, mode="bilinear", align_corners=False)


def blurred_image_encoder(width: int, channels_code: int) -> nn.Sequential:
    """Build what reads motion from a blurry image beside its center frame (BIE), ending in a rectifier.

    Parameters
    ----------
    width : int
        Channels at the image's size and at half of it; there are twice as many inside.
    channels_code : int
        Channels of the result, (B, channels_code, H / 8, W / 8).
    """
    wide = 2 * width
    sizes = [(6, width, 1), (width, width, 1), (width, width, 2), (width, wide, 1), (wide, wide, 1), (wide, wide, 2)]
    layers: list[nn.Module] = []
    for before, after, stride in [*sizes, (wide, channels_code, 2)]:
        layers += [nn.Conv2d(before, after, 5, stride=stride, padding=2), nn.LeakyReLU(SLOPE)]
    return nn.Sequential(*layers)
