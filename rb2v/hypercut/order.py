"""The ordering network H and its hyperplane: which of its two directions a sharp sequence is shown in.

Sign convention, here and wherever orders are used
--------------------------------------------------
The score of an ordered pair of frames is ``s(a, b) = <H(a, b) - H(b, a), h>``, with a plane through the origin whose
unit normal ``h`` is drawn once and never trained. Pair ``k`` of a sequence is ``(x_k, x_{N-k})``. A positive score
says *keep* (order +1), a negative one says *reverse* (order -1), so a sequence in canonical order scores positive; a
regulariser that wants predictions in canonical order must pull their scores up. Swapping the frames of a pair
negates its score exactly. The two sides have no meaning of their own: a network trained from another seed may name them
the other way round.

References
----------
.. [1] Pham et al., "HyperCUT", CVPR 2023, section 3.2.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

N_CHANNELS = (32, 48, 64)
LEAK = 0.1


class RawPixels(nn.Module):
    """The two frames as they are, stacked; sees brightness as readily as motion."""

    n_cues = 6

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Return ``(B, 6, H, W)`` in [-0.5, 0.5]."""
        return torch.cat([first, second], dim=1) - 0.5

    def swap(self, cues: Tensor) -> Tensor:
        """Return the cues of the pair in the other order."""
        return cues.roll(3, dims=1)


class MotionCues(nn.Module):
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


class OrderNetwork(nn.Module):
    """Antisymmetric score of an ordered pair of frames.

    Parameters
    ----------
    front_end : RawPixels or MotionCues
        Takes two ``(B, 3, H, W)`` tensors to one map of cues, ``(B, C, h, w)``.
    trunk : Module
        Takes the cues to ``(B, n_dimensions)``, the space that the plane divides.
    n_dimensions : int
        Dimension of that space.
    seed : int
        Seed of the plane's normal.
    """

    normal: Tensor

    def __init__(self, front_end: RawPixels | MotionCues, trunk: nn.Module, n_dimensions: int, seed: int) -> None:
        super().__init__()
        self.front_end = front_end
        self.trunk = trunk
        self.register_buffer("normal", draw_unit_normal(n_dimensions, seed))

    def forward(self, first: Tensor, second: Tensor) -> Tensor:
        """Score pairs of frames.

        Parameters
        ----------
        first, second : (..., 3, H, W) tensor of float
            Frames in [0, 1], at least 8 pixels high and wide.

        Returns
        -------
        (...) tensor of float
            Positive: keep; negative: reverse.
        """
        leading = first.shape[:-3]
        cues = self.front_end(first.reshape(-1, *first.shape[-3:]), second.reshape(-1, *second.shape[-3:]))
        # Two passes of one shape, not one of twice the size: swapped frames then meet the very same arithmetic.
        difference = self.trunk(cues) - self.trunk(self.front_end.swap(cues))
        scores: Tensor = difference @ self.normal.to(difference.dtype)
        return scores.reshape(leading)


class MeanOverPixels(nn.Module):
    """Average a map over its pixels."""

    def forward(self, maps: Tensor) -> Tensor:
        """Return ``(B, C)`` for ``(B, C, h, w)``."""
        return maps.mean(dim=(2, 3))


def make_trunk(n_cues: int, strides: tuple[int, int, int], n_dimensions: int) -> nn.Sequential:
    """Return three convolutions, an average over pixels and a linear map.

    Without batch normalisation, which would tell the pairs of a batch about each other.
    """
    layers: list[nn.Module] = []
    for n_in, n_out, stride in zip((n_cues, *N_CHANNELS[:-1]), N_CHANNELS, strides, strict=True):
        layers += [nn.Conv2d(n_in, n_out, 3, stride=stride, padding=1), nn.LeakyReLU(LEAK)]
    return nn.Sequential(*layers, MeanOverPixels(), nn.Linear(N_CHANNELS[-1], n_dimensions))


def make_antisymmetric(n_dimensions: int, seed: int) -> OrderNetwork:
    """Return the network on raw pixels, the paper's formulation made antisymmetric."""
    trunk = make_trunk(RawPixels.n_cues, (2, 2, 2), n_dimensions)
    return OrderNetwork(RawPixels(), trunk, n_dimensions, seed)


def make_motion(n_dimensions: int, seed: int) -> OrderNetwork:
    """Return the network on motion cues, which cannot order by brightness."""
    trunk = make_trunk(MotionCues.n_cues, (1, 2, 1), n_dimensions)
    return OrderNetwork(MotionCues(), trunk, n_dimensions, seed)


ORDER_NETWORKS: Mapping[str, Callable[[int, int], OrderNetwork]] = {
    "antisymmetric": make_antisymmetric,
    "motion": make_motion,
}
"""Order networks by name: ``factory(n_dimensions, seed)``."""


def make_order_network(arch: str, n_dimensions: int, seed: int) -> OrderNetwork:
    """Build a network with weights drawn from ``seed``, leaving the global random state as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return ORDER_NETWORKS[arch](n_dimensions, seed)


def draw_unit_normal(n_dimensions: int, seed: int) -> Tensor:
    """Draw a direction in ``n_dimensions`` dimensions.

    Returns
    -------
    (n_dimensions,) tensor of float32
        Of unit length.
    """
    direction = torch.randn(n_dimensions, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))
    normal: Tensor = (direction / direction.norm()).float()
    return normal


def sequence_pairs(sequences: Tensor) -> tuple[Tensor, Tensor]:
    """Split sequences into their pairs ``(x_k, x_{N-k})``; the centre frame has no partner.

    Parameters
    ----------
    sequences : (..., N + 1, 3, H, W) tensor
        Sharp frames, N even.

    Returns
    -------
    first, second : (..., N / 2, 3, H, W) tensor
        Outer pair first.
    """
    n_pairs = sequences.shape[-4] // 2
    return sequences[..., :n_pairs, :, :, :], sequences.flip(-4)[..., :n_pairs, :, :, :]
