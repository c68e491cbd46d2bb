"""The network that sees motion and not brightness."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from rb2v.hypercut.networks.antisymmetric import AntisymmetricNetwork, FrontEnd, make_trunk


class MotionCues(FrontEnd):
    """Products of temporal and spatial gradients, which a contrast reversal or a brightness shift leaves alone.

    With the pair's mean ``m`` and difference ``d``, at every scale: ``-d m_x`` and ``-d m_y``, which point along
    the motion, beside the energies ``m_x^2`` and ``m_y^2`` and the product ``m_x m_y`` that say where and along which
    axis it can be seen. Each is summed over colour, averaged to a quarter of the frame's size and divided by the
    picture's mean energy; the signed logarithm keeps single strong edges from drowning the rest.
    """

    scales = (1, 2, 4)
    n_odd = 2
    n_cues = 5 * len(scales)
    signs: Tensor

    def __init__(self) -> None:
        super().__init__()
        signs = torch.tensor(([-1.0] * self.n_odd + [1.0] * (5 - self.n_odd)) * len(self.scales))
        self.register_buffer("signs", signs[:, None, None], persistent=False)

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Return ``(B, n_cues, H // 4, W // 4)``."""
        mean, difference = (first + second) / 2, second - first
        return torch.cat([self._cues(mean, difference, scale) for scale in self.scales], dim=1)

    def swap(self, cues: Tensor) -> Tensor:
        """Return the cues of the pair in the other order: the difference changes its sign."""
        return cues * self.signs

    def _cues(self, mean: Tensor, difference: Tensor, scale: int) -> Tensor:
        if scale > 1:
            mean, difference = F.avg_pool2d(mean, scale), F.avg_pool2d(difference, scale)
        padded = F.pad(mean, (1, 1, 1, 1), mode="replicate")
        mean_x = padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2]
        mean_y = padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]
        factors = ((-difference, mean_x), (-difference, mean_y), (mean_x, mean_x), (mean_y, mean_y), (mean_x, mean_y))
        cues = torch.stack([(left * right).sum(dim=1) for left, right in factors], dim=1)
        if scale < max(self.scales):
            cues = F.avg_pool2d(cues, max(self.scales) // scale)
        energy = cues[:, 2:4].sum(dim=1).mean(dim=(1, 2))
        # The floor, a gradient of half a grey level, makes a blank picture score nothing and not its noise.
        relative = cues / (energy + 4e-6)[:, None, None, None]
        return relative.sign() * torch.log1p(4 * relative.abs())


def make_motion(n_dimensions: int, seed: int) -> AntisymmetricNetwork:
    """Return the network on motion cues, which cannot order by brightness."""
    trunk = make_trunk(MotionCues.n_cues, (1, 2, 1), n_dimensions)
    return AntisymmetricNetwork(MotionCues(), trunk, n_dimensions, seed)
