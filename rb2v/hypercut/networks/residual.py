"""The networks of the paper: as its supplement describes it, and as its authors released it.

References
----------
.. [1] Pham et al., "HyperCUT", CVPR 2023, supplementary Table 2.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from rb2v.errors import Rb2vError
from rb2v.hypercut.networks.antisymmetric import LEAK, MeanOverPixels
from rb2v.hypercut.networks.base import PairNetwork
from rb2v.hypercut.pair_order import draw_unit_normal

N_STEM_CHANNELS = 32  # as [1] has it
N_BLOCKS = 6  # as [1] has it
MAX_UPSTREAM_DIMENSIONS = 1024  # the released network grows no wider, so its points have no more
MIN_SIZE_PX = 33  # at a 32nd of it, two pixels are left to be reflected


class ResidualBlock(nn.Module):
    """``x + f(x)`` of two 3x3 convolutions."""

    def __init__(self, n_channels: int) -> None:
        super().__init__()
        # The name, and the places within, are those of the released checkpoint.
        self.conv_block = nn.Sequential(
            nn.ReflectionPad2d(1),
            nn.Conv2d(n_channels, n_channels, 3),
            nn.ReLU(),
            nn.ReflectionPad2d(1),
            nn.Conv2d(n_channels, n_channels, 3),
        )

    def forward(self, maps: Tensor) -> Tensor:
        """Return maps of the same shape."""
        residual: Tensor = self.conv_block(maps)
        return maps + residual


def _make_trunk(n_channels: tuple[int, ...], slope: float) -> list[nn.Module]:
    layers: list[nn.Module] = [nn.ReflectionPad2d(3), nn.Conv2d(6, N_STEM_CHANNELS, 7), nn.LeakyReLU(slope)]
    for n_in, n_out in zip((N_STEM_CHANNELS, *n_channels), n_channels, strict=False):
        layers += [nn.Conv2d(n_in, n_out, 3, stride=2, padding=1), nn.LeakyReLU(slope)]
    return [*layers, *(ResidualBlock(n_channels[-1]) for _ in range(N_BLOCKS)), MeanOverPixels()]


class PaperNetwork(PairNetwork):
    """The network as the supplement describes it: a residual trunk of one width, and a linear layer to n dimensions.

    Its leaky activations work (the released code's do not), and the plane's normal has unit length.
    """

    min_size_px = MIN_SIZE_PX

    def __init__(self, n_dimensions: int, seed: int) -> None:
        super().__init__()
        n_channels = (32, 64, 128, 128, 128)
        self.trunk = nn.Sequential(*_make_trunk(n_channels, LEAK))
        self.linear = nn.Linear(n_channels[-1], n_dimensions)
        self.register_buffer("normal", draw_unit_normal(n_dimensions, seed))

    def features(self, first: Tensor, second: Tensor) -> Tensor:
        """Return ``(B, 128)``."""
        features: Tensor = self.trunk(torch.cat([first, second], dim=1) - 0.5)
        return features

    def head(self, features: Tensor) -> Tensor:
        """Return points, ``(B, n_dimensions)``."""
        points: Tensor = self.linear(features)
        return points


class Hyperplane(nn.Module):
    """The released plane: n weights, and a bias that is added to all of them, so that it too passes the origin."""

    hyperplane: Tensor

    def __init__(self, n_dimensions: int, seed: int) -> None:
        super().__init__()
        drawn = torch.rand(n_dimensions + 1, generator=torch.Generator().manual_seed(seed))
        self.register_buffer("hyperplane", 2 * drawn - 1)


class _Features(nn.Module):
    def __init__(self, n_dimensions: int) -> None:
        super().__init__()
        # The widths follow n, and a slope of 1 leaves the leaky layers without effect: so was it released.
        n_channels = tuple(min(N_STEM_CHANNELS * 2**level, n_dimensions) for level in (1, 2, 3, 4, 5))
        self.model = nn.Sequential(*_make_trunk(n_channels, slope=1.0))


class UpstreamNetwork(PairNetwork):
    """The released network, whose checkpoint loads key by key and gives the same scores, to rounding.

    37 tensors of 2,315,681 numbers at 128 dimensions. It was trained on BGR frames that were normalized with the
    constants of RGB; frames are given to this class as RGB, like everywhere.

    Raises
    ------
    Rb2vError
        If there are more than 1024 dimensions.
    """

    min_size_px = MIN_SIZE_PX
    mean: Tensor
    std: Tensor

    def __init__(self, n_dimensions: int, seed: int) -> None:
        if n_dimensions > MAX_UPSTREAM_DIMENSIONS:
            limit = f"at most {MAX_UPSTREAM_DIMENSIONS} for the network 'upstream'"
            raise Rb2vError(f"n_dimensions must be {limit}, got {n_dimensions}")
        super().__init__()
        self.hyperplane = Hyperplane(n_dimensions, seed)
        self.f_func = _Features(n_dimensions)
        for name, values in (("mean", (0.485, 0.456, 0.406)), ("std", (0.229, 0.224, 0.225))):
            self.register_buffer(name, torch.tensor(values)[:, None, None], persistent=False)

    @property
    def normal(self) -> Tensor:  # type: ignore[override]
        """(n,) normal of the plane: the weights, each plus the bias."""
        return self.hyperplane.hyperplane[:-1] + self.hyperplane.hyperplane[-1]

    def features(self, first: Tensor, second: Tensor) -> Tensor:
        """Return the points themselves, ``(B, n)``."""
        pair = torch.cat([(frames.flip(-3) - self.mean) / self.std for frames in (first, second)], dim=1)
        points: Tensor = self.f_func.model(pair)
        return points
