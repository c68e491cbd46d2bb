"""Two stages of our own form: each adds what can brighten and darken."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rb2v.blur2vid.backbones.base import GuidedBackbone, copy_static
from rb2v.blur2vid.backbones.unet import add_layers, multiple_of, run_layers
from rb2v.blur2vid.backbones.zhong.decomposer import MULTIPLE_PX, Decomposer

N_VECTOR_PARTS = 2  # x and y of the guidance
_N_SLOPES = 6  # of three colors in x and y
_SMALL_WIDTH = 32  # channels of a small stage, as many as the backbone unet has
_SMALL_DEPTHS = (1, 1, 2)  # its blocks at each scale, likewise


class TwoStages(GuidedBackbone):
    """The first stage sees the blurry image and the guidance, the second the image and the first one's frames.

    The first adds its output to the blurry image, the second to the first one's frames. The published second stage
    ends in a sigmoid instead, and so can only brighten.

    Parameters
    ----------
    n_frames : int
        Frames of a sequence.
    make_stage : callable
        Makes the network of a stage, given its channels in and out.
    sees_slopes : bool
        Whether the first stage is given `slopes_along` too.
    """

    def __init__(self, n_frames: int, make_stage: Callable[[int, int], nn.Module], *, sees_slopes: bool) -> None:
        super().__init__(n_frames)
        self._sees_slopes = sees_slopes
        self.stage_1 = make_stage(3 + N_VECTOR_PARTS + (_N_SLOPES if sees_slopes else 0), 3 * n_frames)
        self.stage_2 = make_stage(3 + 3 * n_frames, 3 * n_frames)

    def estimate_stages(self, blurry: Tensor, guidance: Tensor | None) -> Tensor:
        """Estimate the frames of both stages; see `GuidedBackbone.stages`."""
        shape = (len(blurry), self.n_frames, 3, *blurry.shape[-2:])
        centered = blurry - 0.5
        vectors = torch.zeros_like(blurry[:, :N_VECTOR_PARTS]) if guidance is None else guidance.to(blurry)
        given = [centered, vectors, *([slopes_along(blurry, vectors)] if self._sees_slopes else [])]
        change = self.stage_1(torch.cat(given, dim=1)).reshape(shape)
        first = copy_static(blurry[:, None] + change, blurry, guidance)
        change = self.stage_2(torch.cat([centered, (first - 0.5).flatten(1, 2)], dim=1)).reshape(shape)
        second = copy_static(first + change, blurry, guidance)
        return torch.stack([first, second])


def slopes_along(images: Tensor, vectors: Tensor) -> Tensor:
    """Return the slopes of images, (B, 3, H, W), in x and y, each times its part of the vectors, (B, 2, H, W).

    Returns
    -------
    (B, 6, H, W) tensor of float
        Central differences, x before y.
    """
    wide, high = F.pad(images, (1, 1, 0, 0), mode="replicate"), F.pad(images, (0, 0, 1, 1), mode="replicate")
    in_x, in_y = (wide[..., 2:] - wide[..., :-2]) / 2, (high[..., 2:, :] - high[..., :-2, :]) / 2
    return torch.cat([in_x * vectors[:, :1], in_y * vectors[:, 1:]], dim=1)


class Zhong(TwoStages):
    """Two stages of the published size, 64.6 million weights each.

    Parameters
    ----------
    n_frames : int
        Frames of a sequence.
    """

    multiple_px = MULTIPLE_PX

    def __init__(self, n_frames: int) -> None:
        super().__init__(n_frames, Decomposer, sees_slopes=False)


class ZhongSmall(TwoStages):
    """Two stages that are small U-Nets, for machines without a GPU.

    The first one sees the image's slopes along the guidance as well: to the first order that is what moves a frame
    away from the blurry image, with the right sign. Layers as few as these learn a product of two inputs slowly.

    Parameters
    ----------
    n_frames : int
        Frames of a sequence.
    """

    multiple_px = multiple_of(_SMALL_DEPTHS)

    def __init__(self, n_frames: int) -> None:
        super().__init__(n_frames, SmallStage, sees_slopes=True)


class SmallStage(nn.Module):
    """The layers of the backbone ``unet``, for images of any channels.

    Parameters
    ----------
    inputs, outputs : int
        Channels of the images in and out.
    width : int
        Channels of the finest level.
    depths : sequence of int
        Blocks of each level.
    """

    def __init__(
        self, inputs: int, outputs: int, width: int = _SMALL_WIDTH, depths: Sequence[int] = _SMALL_DEPTHS
    ) -> None:
        super().__init__()
        add_layers(self, inputs, outputs, width, depths)
        # So that training begins at the blurry image, and not at noise that both stages add to it.
        for weight in self.get_submodule("ending").parameters():
            nn.init.zeros_(weight)

    def forward(self, images: Tensor) -> Tensor:
        """Return images, (B, outputs, H, W), of images, (B, inputs, H, W)."""
        return run_layers(self, images)
