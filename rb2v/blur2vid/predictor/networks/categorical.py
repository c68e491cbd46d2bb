"""A small U-Net with a latent, trained by cross entropy alone.

References
----------
.. [1] Bhattacharyya et al., "Accurate and diverse sampling of sequences based on a best of many sample objective",
   CVPR 2018.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from rb2v.blur2vid.backbones.unet import add_layers, multiple_of, run_layers
from rb2v.blur2vid.predictor.networks.predictor import Predictor, latent_maps, reversed_scores
from rb2v.core.motion_classes import N_CLASSES

_WIDTH = 24  # channels of the finest level; 32 predict no better within 600 steps
_DEPTHS = (1, 1, 2, 2)  # blocks of each scale; the coarsest sees 16 px at once, of objects of 20 to 60
N_LATENT = 4  # as many numbers as the published predictor has


class Categorical(Predictor):
    """Scores of the classes from the image and a latent.

    Where a sequence and its reversal are as likely, the scores of the negative latent are those of the reversed
    guidance, by construction: a latent and its negative are the two directions that a blurry image cannot tell apart.

    Parameters
    ----------
    image_size : int
        Shorter side of the images that it sees, in pixels.
    is_symmetric : bool
        Whether a sequence and its reversal are as likely.
    """

    n_latent = N_LATENT

    def __init__(self, image_size: int, is_symmetric: bool = True) -> None:
        super().__init__(image_size)
        self.is_symmetric = is_symmetric
        add_layers(self, 3 + N_LATENT, N_CLASSES, _WIDTH, _DEPTHS)

    def shrink(self, blurry: Tensor) -> Tensor:
        """Return images, (B, 3, h, w), whose shorter side is ``image_size``, by the mean over each pixel's area."""
        size = _size_of(blurry, self.image_size)
        if size == tuple(blurry.shape[-2:]):
            return blurry
        if size[0] < blurry.shape[-2]:
            return F.interpolate(blurry, size=size, mode="area")
        return F.interpolate(blurry, size=size, mode="bilinear", align_corners=False)

    def shrink_classes(self, classes: Tensor) -> Tensor:
        """Return classes, (B, h, w) of int64, of the size that `shrink` gives, by nearest neighbor."""
        size = _size_of(classes, self.image_size)
        return F.interpolate(classes[:, None].float(), size=size, mode="nearest-exact")[:, 0].long()

    def scores(self, images: Tensor, latent: Tensor) -> Tensor:
        """Return the scores of the classes, (B, 5, h, w)."""
        if not self.is_symmetric:
            return self._raw_scores(images, latent)
        there, back = self._raw_scores(torch.cat([images, images]), torch.cat([latent, -latent])).chunk(2)
        return there + reversed_scores(back)

    def _raw_scores(self, images: Tensor, latent: Tensor) -> Tensor:
        height, width = images.shape[-2:]
        multiple = multiple_of(_DEPTHS)
        below, beside = -height % multiple, -width % multiple
        given = torch.cat([images - 0.5, latent_maps(latent, images)], dim=1)
        return run_layers(self, F.pad(given, (0, beside, 0, below), mode="replicate"))[..., :height, :width]


def _size_of(images: Tensor, shorter: int) -> tuple[int, int]:
    height, width = images.shape[-2:]
    scale = shorter / min(height, width)
    return max(round(height * scale), 1), max(round(width * scale), 1)
