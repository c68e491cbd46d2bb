"""The layers of a trained network in forms that a CPU computes faster: the same sums, in another order.

References
----------
.. [1] Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016, section 4.3: F(4x4, 3x3).
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_SIDE = 4  # of a tile of results; 36 products of channels for 16 pixels in place of 144
_SEEN = 6  # side of what a tile's results depend on
_LEAST_CHANNELS = 64  # with fewer, a tile's transforms cost more than what they save
_MOST_CHANNELS = 256  # with more, weights of four times the size no longer come out of the cache
_STRIP_TILES = 28  # at once: what is made of them stays in the cache, and is enough for a product of matrices

# Of what is seen, as in [1].
_OF_SEEN = (
    (4, 0, -5, 0, 1, 0),
    (0, -4, -4, 1, 1, 0),
    (0, 4, -4, -1, 1, 0),
    (0, -2, -1, 2, 1, 0),
    (0, 2, -1, -2, 1, 0),
    (0, 4, 0, -5, 0, 1),
)
# Of the taps, as in [1].
_OF_TAPS = (
    (1 / 4, 0, 0),
    (-1 / 6, -1 / 6, -1 / 6),
    (-1 / 6, 1 / 6, -1 / 6),
    (1 / 24, 1 / 12, 1 / 6),
    (1 / 24, -1 / 12, 1 / 6),
    (0, 0, 1),
)
# Of the products, as in [1].
_OF_PRODUCTS = (
    (1, 1, 1, 1, 1, 0),
    (0, 1, -1, 2, -2, 0),
    (0, 1, 1, 4, 4, 0),
    (0, 1, -1, 8, -8, 1),
)


def quicken(network: nn.Module) -> None:
    """Exchange layers of a network for those of this module, in place; it can no longer be trained.

    Parameters
    ----------
    network : Module
        On the CPU, in float32 and evaluation mode. Its parameters get other names.
    """
    for name, layer in network.named_children():
        if isinstance(layer, nn.Conv2d) and _is_wide(layer):
            setattr(network, name, WinogradConvolution(layer))
        elif isinstance(layer, nn.ConvTranspose2d) and _doubles(layer):
            setattr(network, name, Doubling(layer))
        else:
            quicken(layer)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


class WinogradConvolution(nn.Module):
    """A convolution of 3x3 taps with a quarter of the products [1]_; values differ by some 1e-5 of the largest.

    Parameters
    ----------
    plain : Conv2d
        Of stride 1, padded by one pixel.
    """

    def __init__(self, plain: nn.Conv2d) -> None:
        super().__init__()
        assert plain.bias is not None
        taps = torch.tensor(_OF_TAPS, dtype=torch.float64)
        weight = torch.einsum("aj,bl,oijl->abio", taps, taps, plain.weight.detach().double())
        self.weight = nn.Buffer(weight.flatten(0, 1).float().contiguous())
        self.bias = nn.Buffer(plain.bias.detach().clone())
        self.of_seen, self.of_products = (nn.Buffer(_of_both_axes(each)) for each in (_OF_SEEN, _OF_PRODUCTS))

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, n_out, H, W) of (B, n_in, H, W)."""
        batch, n_in, height, width = x.shape
        n_out = len(self.bias)
        n_down, n_across = -(-height // _SIDE), -(-width // _SIDE)
        padded = x.new_zeros(batch, _SIDE * n_down + 2, _SIDE * n_across + 2, n_in)
        padded[:, 1 : height + 1, 1 : width + 1] = x.permute(0, 2, 3, 1)
        seen = padded.unfold(1, _SEEN, _SIDE).unfold(2, _SEEN, _SIDE)
        made = x.new_empty(batch, n_down, _SIDE, n_across, _SIDE, n_out)
        n_rows = -(-_STRIP_TILES // n_across)
        for sample in range(batch):
            for top in range(0, n_down, n_rows):
                strip = seen[sample, top : top + n_rows].permute(3, 4, 0, 1, 2)
                spread = self.of_seen @ strip.reshape(_SEEN**2, -1)
                products = torch.bmm(spread.view(_SEEN**2, -1, n_in), self.weight)
                results = (self.of_products @ products.flatten(1)).view(_SIDE, _SIDE, -1, n_across, n_out)
                made[sample, top : top + n_rows] = results.add_(self.bias).permute(2, 0, 3, 1, 4)
        whole = made.view(batch, _SIDE * n_down, _SIDE * n_across, n_out)
        return whole[:, :height, :width].permute(0, 3, 1, 2)


class Doubling(nn.Module):
    """A transposed convolution of 4x4 taps that doubles the size, as a convolution of 2x2 for each of four phases.

    Parameters
    ----------
    plain : ConvTranspose2d
        Of stride 2, padded by one pixel.
    """

    def __init__(self, plain: nn.ConvTranspose2d) -> None:
        super().__init__()
        assert plain.bias is not None
        weight = plain.weight.detach()
        # Even results see the place before and the place itself, odd ones the place itself and the one behind.
        taps = ([3, 1], [2, 0])
        phases = [weight[:, :, down][..., right] for down in taps for right in taps]
        self.weight = nn.Buffer(torch.stack(phases).transpose(1, 2).flatten(0, 1).contiguous())
        self.bias = nn.Buffer(plain.bias.detach().repeat(4))

    def forward(self, x: Tensor) -> Tensor:
        """Return (B, n_out, 2 H, 2 W) of (B, n_in, H, W)."""
        batch, _, height, width = x.shape
        phases = F.conv2d(x, self.weight, self.bias, padding=1)
        phases = phases.view(batch, 2, 2, -1, height + 1, width + 1)
        made = x.new_empty(batch, height, 2, width, 2, phases.shape[3])
        for down in (0, 1):
            for right in (0, 1):
                phase = phases[:, down, right, :, down : down + height, right : right + width]
                made[:, :, down, :, right] = phase.permute(0, 2, 3, 1)
        return made.view(batch, 2 * height, 2 * width, -1).permute(0, 3, 1, 2)


def _is_wide(layer: nn.Conv2d) -> bool:
    is_plain = (layer.kernel_size, layer.stride, layer.padding) == ((3, 3), (1, 1), (1, 1))
    n_channels = (layer.in_channels, layer.out_channels)
    return is_plain and min(n_channels) >= _LEAST_CHANNELS and max(n_channels) <= _MOST_CHANNELS


def _doubles(layer: nn.ConvTranspose2d) -> bool:
    return (layer.kernel_size, layer.stride, layer.padding) == ((4, 4), (2, 2), (1, 1))


def _of_both_axes(matrix: tuple[tuple[float, ...], ...]) -> Tensor:
    """Return what a matrix does to rows and then to columns, as one matrix for both."""
    along = torch.tensor(matrix, dtype=torch.float32)
    return torch.kron(along, along)
