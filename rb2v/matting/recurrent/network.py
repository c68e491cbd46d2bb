"""The network of Robust Video Matting: MobileNetV3, a recurrent decoder, and a deep guided filter to full size.

Convolutions are made in the order in which they run: so the weights of the published graph find them, whose batch norms
are folded in and whose names are numbers.

References
----------
.. [1] Lin et al., "Robust High-Resolution Video Matting with Temporal Guidance", WACV 2022, section 3.
.. [2] Howard et al., "Searching for MobileNetV3", ICCV 2019, table 1.
.. [3] Wu et al., "Fast End-to-End Trainable Guided Filter", CVPR 2018, section 3.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

State = Sequence[Tensor]
"""What the recurrent cells remember, from the largest scale to the smallest."""

_MEAN, _DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # of ImageNet's photographs, coded
_MAX_BASE_PX = 512  # longer side that the base network sees; the paper advises 256 to 512

# Kernel, expanded and output channels, squeeze and excitation, hard swish, stride, dilation; as published, but that
# dilation takes the place of the last stride.
_BLOCKS = (
    (3, 16, 16, False, False, 1, 1),
    (3, 64, 24, False, False, 2, 1),
    (3, 72, 24, False, False, 1, 1),
    (5, 72, 40, True, False, 2, 1),
    (5, 120, 40, True, False, 1, 1),
    (5, 120, 40, True, False, 1, 1),
    (3, 240, 80, False, True, 2, 1),
    (3, 200, 80, False, True, 1, 1),
    (3, 184, 80, False, True, 1, 1),
    (3, 184, 80, False, True, 1, 1),
    (3, 480, 112, True, True, 1, 1),
    (3, 672, 112, True, True, 1, 1),
    (5, 672, 160, True, True, 1, 2),
    (5, 960, 160, True, True, 1, 2),
    (5, 960, 160, True, True, 1, 2),
)
_TAPS = (0, 2, 5)  # blocks at a half, a quarter and an eighth of the size, into which the decoder looks
_SQUEEZED = 4  # times fewer channels inside squeeze and excitation
_N_FIRST, _N_LAST, _N_POOLED = 16, 960, 128  # channels
_TAP_CHANNELS = (16, 24, 40)  # as the blocks of `_TAPS` have them
_DECODED = (16, 32, 40, 80)  # channels of the decoder, from the largest scale to the smallest
_N_SOLVER = 24  # covariances and variances of four channels, and the 16 that are decoded


class Prediction(NamedTuple):
    """The foreground of a batch of frames."""

    foreground: Tensor
    """(B, 3, H, W) coded color in 0..1."""
    alpha: Tensor
    """(B, 1, H, W) in 0..1."""
    state: State


class RecurrentNetwork(nn.Module):
    """Encoder, recurrent decoder and guided filter."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, _N_FIRST, 3, 2, 1)
        channels = [_N_FIRST, *(block[2] for block in _BLOCKS)]
        self.blocks = nn.ModuleList(_Residual(n, *block) for n, block in zip(channels, _BLOCKS, strict=False))
        self.last = nn.Conv2d(channels[-1], _N_LAST, 1)
        self.pooled = nn.Conv2d(_N_LAST, _N_POOLED, 1)
        self.gate = nn.Conv2d(_N_LAST, _N_POOLED, 1, bias=False)
        self.deepest = _Memory(_N_POOLED // 2)
        shortcuts = (3, *_TAP_CHANNELS)
        below = (*_DECODED[1:], _N_POOLED)
        # From the smallest scale on.
        self.decoders = nn.ModuleList(
            _Decoder(below[scale] + shortcuts[scale] + 3, _DECODED[scale]) for scale in (3, 2, 1)
        )
        self.out = nn.ModuleList([nn.Conv2d(below[0] + 3, _DECODED[0], 3, 1, 1), _same(_DECODED[0])])
        self.project = nn.Conv2d(_DECODED[0], 4, 1)
        self.box = nn.Conv2d(4, 4, 3, 1, 1, groups=4, bias=False)
        self.solver = nn.ModuleList([nn.Conv2d(_N_SOLVER, 16, 1), nn.Conv2d(16, 16, 1), nn.Conv2d(16, 4, 1)])

    def forward(self, picture: Tensor, state: State | None = None) -> Prediction:
        """Tell the foreground of the next frame of a sequence.

        Parameters
        ----------
        picture : (B, 3, H, W) tensor
            Coded sRGB in 0..1, of any size.
        state : sequence of tensor, optional
            What the frame before left; None for the first.
        """
        scale = min(_MAX_BASE_PX / max(picture.shape[2:]), 1.0)
        small = picture
        if scale < 1:
            small = F.interpolate(picture, scale_factor=scale, mode="bilinear", recompute_scale_factor=False)
        hidden, new_state = self._decode(small, self._encode(small), state)
        return Prediction(*self._filter(picture, small, hidden), new_state)

    def _encode(self, picture: Tensor) -> list[Tensor]:
        mean, deviation = (picture.new_tensor(values).view(1, 3, 1, 1) for values in (_MEAN, _DEVIATION))
        out = F.hardswish(self.first((picture - mean) / deviation))
        seen = []
        for index, block in enumerate(self.blocks):
            out = block(out)
            if index in _TAPS:
                seen.append(out)
        out = F.hardswish(self.last(out))
        return [*seen, self.pooled(out).relu() * self.gate(F.adaptive_avg_pool2d(out, 1)).sigmoid()]

    def _decode(self, picture: Tensor, seen: list[Tensor], state: State | None) -> tuple[Tensor, list[Tensor]]:
        pictures = [picture]
        for _ in _TAPS:
            pictures.append(F.avg_pool2d(pictures[-1], 2, ceil_mode=True))
        *shortcuts, deep = seen
        memories: list[Tensor | None] = list(state) if state is not None else [None] * len(_DECODED)
        out, deepest = self.deepest(deep, memories[-1])
        kept = [deepest]
        for decoder, scale in zip(self.decoders, (3, 2, 1), strict=True):
            out, memory = decoder(
                _double(out, pictures[scale]), shortcuts[scale - 1], pictures[scale], memories[scale - 1]
            )
            kept.insert(0, memory)
        out = torch.cat([_double(out, picture), picture], dim=1)
        for convolution in self.out:
            out = convolution(out).relu()
        return out, kept

    def _filter(self, picture: Tensor, small: Tensor, hidden: Tensor) -> tuple[Tensor, Tensor]:
        """Return the foreground and alpha in full size, as locally linear functions of the frame."""
        full, guide = (torch.cat([image, image.mean(1, keepdim=True)], dim=1) for image in (picture, small))
        coarse = self.project(hidden)
        mean, coarse_mean = self.box(guide), self.box(coarse)
        covariance = self.box(guide * coarse) - mean * coarse_mean
        variance = self.box(guide * guide) - mean * mean
        slope = torch.cat([covariance, variance, hidden], dim=1)
        for index, convolution in enumerate(self.solver):
            slope = convolution(slope if index == 0 else slope.relu())
        offset = coarse_mean - slope * mean
        slope, offset = (_resize(planes, picture) for planes in (slope, offset))
        filtered = slope * full + offset
        return (picture + filtered[:, :3]).clamp(0, 1), filtered[:, 3:].clamp(0, 1)


def name_tensors(network: RecurrentNetwork, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the weights of the published graph's convolutions by the names that they have in a network.

    Parameters
    ----------
    network : RecurrentNetwork
        Whose convolutions are in the order in which they run.
    tensors : mapping of str to tensor
        ``000.weight`` and ``000.bias`` of the first that runs, and so on. Others keep their names.
    """
    convolutions = [name for name, module in network.named_modules() if isinstance(module, nn.Conv2d)]
    named = {f"{index:03d}": name for index, name in enumerate(convolutions)}
    parts = ((number, kind) for number, _, kind in (name.partition(".") for name in tensors))
    return {f"{named.get(n, n)}.{kind}": tensor for (n, kind), tensor in zip(parts, tensors.values(), strict=True)}


class _Residual(nn.Module):
    """MobileNetV3's inverted residual."""

    def __init__(
        self, n_in: int, kernel: int, wide: int, n_out: int, squeezed: bool, swish: bool, stride: int, dilation: int
    ) -> None:
        super().__init__()
        self.activate = F.hardswish if swish else F.relu
        self.expand = nn.Conv2d(n_in, wide, 1) if wide != n_in else None
        margin = dilation * (kernel // 2)
        self.spread = nn.Conv2d(wide, wide, kernel, stride, margin, dilation, wide)
        self.squeeze = _Squeeze(wide) if squeezed else None
        self.project = nn.Conv2d(wide, n_out, 1)
        self.is_residual = stride == 1 and n_in == n_out

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = x if self.expand is None else self.activate(self.expand(x))
        out = self.activate(self.spread(out))
        if self.squeeze is not None:
            out = out * self.squeeze(out)
        out = self.project(out)
        return x + out if self.is_residual else out


class _Squeeze(nn.Module):
    """Squeeze and excitation: a factor for every channel."""

    def __init__(self, n: int) -> None:
        super().__init__()
        wanted = n // _SQUEEZED
        # A multiple of 8, not below nine tenths, as published.
        n_few = (wanted + 4) // 8 * 8
        n_few += 8 * (n_few < 0.9 * wanted)
        self.down, self.up = nn.Conv2d(n, n_few, 1), nn.Conv2d(n_few, n, 1)

    def forward(self, x: Tensor) -> Tensor:
        few: Tensor = self.down(F.adaptive_avg_pool2d(x, 1))
        return F.hardsigmoid(self.up(few.relu()))


class _Memory(nn.Module):
    """A convolutional GRU over one half of the channels; the other half passes (section 3.1.2)."""

    def __init__(self, n: int) -> None:
        super().__init__()
        self.gates, self.update = nn.Conv2d(2 * n, 2 * n, 3, 1, 1), nn.Conv2d(2 * n, n, 3, 1, 1)

    def forward(self, x: Tensor, memory: Tensor | None) -> tuple[Tensor, Tensor]:
        passing, x = x.chunk(2, dim=1)
        if memory is None:
            memory = torch.zeros_like(x)
        reset, change = self.gates(torch.cat([x, memory], dim=1)).sigmoid().chunk(2, dim=1)
        new = self.update(torch.cat([x, reset * memory], dim=1)).tanh()
        memory = (1 - change) * memory + change * new
        return torch.cat([passing, memory], dim=1), memory


class _Decoder(nn.Module):
    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(n_in, n_out, 3, 1, 1)
        self.memory = _Memory(n_out // 2)

    def forward(self, x: Tensor, shortcut: Tensor, picture: Tensor, memory: Tensor | None) -> tuple[Tensor, Tensor]:
        out = self.convolution(torch.cat([x, shortcut, picture], dim=1)).relu()
        result: tuple[Tensor, Tensor] = self.memory(out, memory)
        return result


def _same(n: int) -> nn.Conv2d:
    return nn.Conv2d(n, n, 3, 1, 1)


def _double(x: Tensor, like: Tensor) -> Tensor:
    """Return planes twice as large, cut to the size of others."""
    height, width = like.shape[2:]
    return F.interpolate(x, scale_factor=2, mode="bilinear")[..., :height, :width]


def _resize(x: Tensor, like: Tensor) -> Tensor:
    return F.interpolate(x, like.shape[2:], mode="bilinear")
