"""The network as the released code of HyperCUT has it, for weights that were trained with it.

References
----------
.. [1] Pham et al., "HyperCUT", CVPR 2023, and its code: names, shapes and conventions.
"""

from __future__ import annotations

import torch
from torch import Tensor

from rb2v.blur2vid.backbones.base import Backbone
from rb2v.blur2vid.backbones.purohit.recurrent import VideoDecoder, blurred_image_encoder
from rb2v.blur2vid.backbones.purohit.warping import warp_upstream

_CHANNELS = (16, 32, 164, 128)  # of the released weights, the 164 included
_MEAN = (0.485, 0.456, 0.406)  # ImageNet's, as in the released code
_STD = (0.229, 0.224, 0.225)  # ImageNet's, as in the released code


class BlurredImageEncoder(torch.nn.Module):
    """The encoder under the name that it has in the weights."""

    def __init__(self) -> None:
        super().__init__()
        self.model = blurred_image_encoder(64, _CHANNELS[-1])

    def forward(self, images: Tensor) -> Tensor:
        """Return the code, (B, 128, H / 8, W / 8), of blurry images beside their center frames, (B, 6, H, W)."""
        code: Tensor = self.model(images)
        return code


class UpstreamPurohit(Backbone):
    """Warp the true center frame, which is an input, by flow that is predicted in the order of time.

    Every step sees zero flow; also the center frame is warped, and `warp_upstream` gives no frame exactly as it was.
    What lies beyond the border is the mean color. There is no stage 1: it was never published.

    Parameters
    ----------
    n_frames : int
        Frames of a sequence.
    """

    mean: Tensor
    std: Tensor
    multiple_px = 8
    takes_center = True

    def __init__(self, n_frames: int) -> None:
        super().__init__(n_frames)
        self.bie = BlurredImageEncoder()
        self.rvd = VideoDecoder(_CHANNELS, flow_feedback=False)
        # Images are read as blue, green, red there, and normalized by the numbers of red, green, blue.
        self.register_buffer("mean", torch.tensor(_MEAN)[:, None, None], persistent=False)
        self.register_buffer("std", torch.tensor(_STD)[:, None, None], persistent=False)

    def estimate(self, blurry: Tensor, center: Tensor | None) -> Tensor:
        """Estimate the frames; see `Backbone.forward`."""
        assert center is not None
        blurry, center = ((images.flip(1) - self.mean) / self.std for images in (blurry, center))
        code = self.bie(torch.cat([blurry, center], dim=1))
        frames = torch.stack([warp_upstream(center, flow) for flow in self.rvd(code, self.n_frames)], dim=1)
        return (frames * self.std + self.mean).flip(2)
