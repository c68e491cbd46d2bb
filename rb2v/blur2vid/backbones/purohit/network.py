"""Our network: two arms outwards from the center frame, which it estimates itself unless the true one is asked for."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rb2v.blur2vid.backbones.base import Backbone
from rb2v.blur2vid.backbones.purohit.recurrent import SLOPE, VideoDecoder, VideoEncoder, blurred_image_encoder
from rb2v.blur2vid.backbones.purohit.warping import warp
from rb2v.blur2vid.backbones.unet import UNet
from rb2v.errors import Rb2vError


class Purohit(Backbone):
    """Warp the center frame by the flow that a recurrent decoder reads from a code of the motion.

    A sequence has two arms: frames are predicted outwards from the center, so that flow grows from zero, which is what
    the first step is told, and one decoder serves both arms, so that exchanging their codes turns the sequence around.
    The center frame is the center estimate itself. (The paper predicts all frames in the order of time.)

    The first part of training encodes true sequences, each arm by itself; the second one reads both codes from the
    blurry image and the center estimate.

    Parameters
    ----------
    n_frames : int
        Frames of a sequence, odd, three at least.
    width : int
        Channels of the blurry image's encoder at the image's size, a multiple of 4; codes have twice as many.
    oracle_center : bool
        Whether the true center frame is an input. Otherwise a small U-Net estimates it.

    Raises
    ------
    Rb2vError
        If there is no such number of frames.
    """

    multiple_px = 8
    has_autoencoder = True

    def __init__(self, n_frames: int, width: int = 64, oracle_center: bool = False) -> None:
        super().__init__(n_frames)
        if n_frames < 3 or n_frames % 2 == 0:
            raise Rb2vError(f"'purohit' needs an odd number of frames, three at least, not {n_frames}")
        self.takes_center = oracle_center
        channels = (width // 4, width // 2, width, 2 * width)
        self.rve = VideoEncoder(channels)
        self.rvd = VideoDecoder(channels)
        self.bie = blurred_image_encoder(width, 4 * width)
        # No rectifier at its end: codes are what the autoencoder's are, between -1 and 1.
        self.bie[-1] = nn.Tanh()
        for part in (self.rve, self.rvd, self.bie):
            _keep_variance(part)
        self.deblurrer = None if oracle_center else UNet(1, width=width // 2)

    def estimate(self, blurry: Tensor, center: Tensor | None) -> Tensor:
        """Estimate the frames; see `Backbone.forward`."""
        if self.deblurrer is not None:
            center = self.deblurrer.estimate(blurry, None)[:, 0]
        assert center is not None
        codes = self.bie(torch.cat([blurry, center], dim=1) - 0.5)
        return self._decode(torch.cat(codes.chunk(2, dim=1)), center)

    def reconstruct(self, sharp: Tensor) -> Tensor:
        """Reconstruct sequences from the motion of their arms and their center frame; see `Backbone.autoencode`."""
        middle = self.n_frames // 2
        center = sharp[:, middle]
        arms = torch.cat([sharp[:, :middle].flip(1), sharp[:, middle + 1 :]])
        codes = self.rve(arms - 0.5, center.repeat(2, 1, 1, 1) - 0.5)
        return self._decode(codes, center)

    def _decode(self, codes: Tensor, center: Tensor) -> Tensor:
        """Return sequences from the codes of all first arms and then of all second ones, (2 B, channels, h, w)."""
        twice = center.repeat(2, 1, 1, 1)
        before, after = [], []
        for flow in self.rvd(codes, self.n_frames // 2):
            first, second = warp(twice, flow).chunk(2)
            before.append(first)
            after.append(second)
        return torch.stack([*reversed(before), center, *after], dim=1)


def _keep_variance(part: nn.Module) -> None:
    """Draw weights that keep the size of what passes them; torch's own let hardly any motion through to the code.

    What begins at zero stays there.
    """
    for layer in part.modules():
        if isinstance(layer, nn.Conv2d) and layer.weight.any():
            nn.init.kaiming_normal_(layer.weight, a=SLOPE)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
