"""The two stages as their authors trained them, for their weights.

References
----------
.. [1] Zhong et al., "Animation from Blur", ECCV 2022, and its code: names, shapes and conventions.
"""

from __future__ import annotations

import torch
from torch import Tensor

from rb2v.blur2vid.backbones.base import GuidedBackbone, copy_static
from rb2v.blur2vid.backbones.zhong.decomposer import MULTIPLE_PX, Decomposer
from rb2v.blur2vid.backbones.zhong.network import N_VECTOR_PARTS


class UpstreamZhong(GuidedBackbone):
    """Both stages end in a sigmoid: the second can only brighten what the first made.

    Static pixels copy the blurry image in the first stage alone; the second adds to them as to all others.

    Parameters
    ----------
    n_frames : int
        Frames of a sequence; 7 in the published weights.
    width, n_blocks : int, optional
        Of each stage, smaller than the published ones for tests.
    """

    multiple_px = MULTIPLE_PX
    needs_guidance = True

    def __init__(self, n_frames: int, width: int | None = None, n_blocks: int | None = None) -> None:
        super().__init__(n_frames)
        self.decomposer_s1 = Decomposer(3 + N_VECTOR_PARTS, 3 * n_frames, width, n_blocks)
        self.decomposer_s2 = Decomposer(3 + 3 * n_frames, 3 * n_frames, width, n_blocks)

    def estimate_stages(self, blurry: Tensor, guidance: Tensor | None) -> Tensor:
        """Estimate the frames of both stages; see `GuidedBackbone.stages`."""
        shape = (len(blurry), self.n_frames, 3, *blurry.shape[-2:])
        vectors = torch.zeros_like(blurry[:, :N_VECTOR_PARTS]) if guidance is None else guidance.to(blurry)
        made = torch.sigmoid(self.decomposer_s1(torch.cat([blurry, vectors], dim=1))).reshape(shape)
        first = copy_static(made, blurry, guidance)
        added = torch.sigmoid(self.decomposer_s2(torch.cat([blurry, first.flatten(1, 2)], dim=1))).reshape(shape)
        return torch.stack([first, first + added])
