"""The network of CDFI: kernels from a U-Net, frames and features collaborated by them, and a grid that synthesizes.

Modules bear the names that the published weights have, so that they can be loaded; layers and shapes follow from them.

References
----------
.. [1] Ding et al., "CDFI: Compression-Driven Network Design for Frame Interpolation", CVPR 2021, section 3.
.. [2] The code that the weights were published with, for what shapes do not tell: paddings, and how maps are enlarged.
.. [3] He et al., "Delving Deep into Rectifiers", ICCV 2015, section 2.2.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from rb2v.errors import Rb2vError
from rb2v.interpolation.learned.cdfi.collaboration import Rounding, collaborate
from rb2v.interpolation.learned.cdfi.config import MULTIPLE

KERNEL_SIDE = 11  # taps, as published
DILATION = 2  # pixels from tap to tap, as published

_PADDING = (KERNEL_SIDE - 1) * DILATION // 2
_N_TAPS = KERNEL_SIDE**2
_MEAN_RGB = (0.4631, 0.4352, 0.3990)  # as in the published code
# What compression left of the layers' widths [1].
_ENCODER = {1: (24, 24, 24), 2: (48, 48, 52), 3: (99, 97, 95), 4: (156, 142, 159), 5: (92, 72, 121)}
_DECODER = {5: (99, 69, 36), 4: (74, 83, 81), 3: (83, 88, 72), 2: (45, 45, 45)}
_KERNEL_HEAD = (52, 49, 21)  # what compression left
_MASK_HEAD = (52, 52, 48)  # what compression left
_HEADS = (
    *(f"module{kind}{which}" for kind in ("Weight", "Alpha", "Beta") for which in (1, 2)),
    "moduleOcclusion",
    "moduleBlend",
)
_FEATURES = {1: 4, 2: 8, 3: 12, 4: 16, 5: 20}
_GRID = (32, 64, 96)  # channels of the synthesis grid's three rows, as published
_N_COLUMNS = 6  # of that grid, as published
_SPREAD_TAPS = 1.5
"""Of the kernels that an untrained network starts with."""
_FIRST_SHARE = 0.1
"""Of the scale that it gives its heads' answers."""
_FIRST_BLEND = -2.0
"""Log odds that it starts with of what the grid makes, rather than the kernels."""
_STRIP_PIXELS = {"cpu": 2**15, "cuda": 2**20}
"""Pixels whose kernels are there at once where no gradients are kept; they need 2.9 KB each."""


class Estimate(NamedTuple):
    """A frame between two, and what the training looks at besides."""

    frame: Tensor
    """(B, 3, H, W), and (B, 0, H, W) where only the motion was asked for."""
    offsets: Tensor
    """(B, 4, H, W) mean offset of a pixel's samples from the places of their taps, down and right in the first frame,
    then in the second; of padded size, and (B, 0, H, W) where no gradients are kept."""
    motion: Tensor
    """The same from the pixel itself: where the kernels look."""


class Cdfi(nn.Module):
    """The network that makes the frame halfway between two.

    Parameters
    ----------
    as_published : bool
        Whether offsets are truncated, and feature maps stretched over the margin that kernels reach into, as in the
        code that the published weights were trained with. Otherwise samples are interpolated, and features lie where
        the frames show them.
    """

    def __init__(self, *, as_published: bool = False) -> None:
        super().__init__()
        self.as_published = as_published
        self.get_kernel = _KernelEstimation()
        self.context_synthesis = _Grid(2 * (3 + sum(_FEATURES.values())), 3)

    def forward(
        self, frame_a: Tensor, frame_b: Tensor, *, motion_only: bool = False, n_taps: int = KERNEL_SIDE
    ) -> Estimate:
        """Return the frame between two.

        Parameters
        ----------
        frame_a, frame_b : (B, 3, H, W) tensor of float
            Coded RGB in 0..1, of any size.
        motion_only : bool
            Whether no frame is made, which takes a quarter of the time; gradients have to be kept.
        n_taps : int
            Side of the kernels' middle part that is used, an odd number; with less than all of it gradients have to be
            kept.

        Returns
        -------
        Estimate

        Raises
        ------
        Rb2vError
            If the frames are not of one size.
        """
        if frame_a.shape != frame_b.shape or frame_a.ndim != 4 or frame_a.shape[1] != 3:
            shapes = f"{tuple(frame_a.shape)} and {tuple(frame_b.shape)}"
            raise Rb2vError(f"frames have the shapes {shapes}; expected (B, 3, H, W) twice")
        height, width = frame_a.shape[2:]
        frame_a, frame_b = _pad(frame_a), _pad(frame_b)
        hidden, maps = self.get_kernel(_subtract_mean(frame_a), _subtract_mean(frame_b))
        if motion_only:
            offsets, motion = _join(_look(*self._kernels(hidden, which, n_taps)) for which in (1, 2))
            return Estimate(frame_a[:, :0, :height, :width], offsets, motion)
        features = torch.cat([self._lay_over(features, frame_a.shape[2:]) for features in maps], dim=1)
        warped_a, looks_a = self._warp(frame_a, features, hidden, 1, n_taps)
        warped_b, looks_b = self._warp(frame_b, features, hidden, 2, n_taps)
        occlusion, blend = self.get_kernel.moduleOcclusion(hidden), self.get_kernel.moduleBlend(hidden)
        warped = occlusion * warped_a[:, :3] + (1 - occlusion) * warped_b[:, :3]
        # The grid is shown the two frames, and then level by level the features of either kernel.
        parts = (part for pair in zip(*map(_split, (warped_a, warped_b)), strict=True) for part in pair)
        frame = blend * self.context_synthesis(torch.cat(list(parts), dim=1)) + (1 - blend) * warped
        return Estimate(frame[..., :height, :width], *_join((looks_a, looks_b)))

    def start_narrow(self) -> Cdfi:
        """Let an untrained network begin near the mean of its frames, and return it.

        Kernels are narrow around the place itself, and the blend leaves most to the frames that they make. The layers
        that estimate them keep the scale of what they are given [3]_: as torch starts layers, a thousandth of it would
        reach the kernels, which then learned nothing in a thousand steps.
        """
        for layer in self.get_kernel.modules():
            if isinstance(layer, nn.Conv2d):
                nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
                if layer.bias is not None:
                    nn.init.zeros_(layer.bias)
        place = torch.arange(KERNEL_SIDE) - (KERNEL_SIDE - 1) / 2
        squared = (place[:, None].square() + place.square()).flatten()
        weights = -squared / (2 * _SPREAD_TAPS**2)
        biases = {"moduleWeight1": weights, "moduleWeight2": weights, "moduleBlend": torch.tensor([_FIRST_BLEND])}
        with torch.no_grad():
            for name in _HEADS:
                layer = self.get_kernel.get_submodule(name).get_submodule("7")
                assert isinstance(layer, nn.Conv2d)
                assert layer.bias is not None
                layer.weight.mul_(_FIRST_SHARE)
                layer.bias.copy_(biases.get(name, layer.bias))
        return self

    def _lay_over(self, features: Tensor, size: Sequence[int]) -> Tensor:
        """Return feature maps of the size of a padded frame."""
        if self.as_published:
            stretched = [side + 2 * _PADDING for side in size]
            return F.interpolate(features, size=stretched, mode="bilinear", align_corners=False)
        # Less the rim that the layer before added.
        enlarged = F.interpolate(features[..., 1:-1, 1:-1], size=list(size), mode="bilinear", align_corners=False)
        return F.pad(enlarged, [_PADDING] * 4, mode="replicate")

    def _warp(
        self, frame: Tensor, features: Tensor, hidden: Tensor, which: int, n_taps: int
    ) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Return a frame and features as the kernels of that frame make them, and where these look."""
        padded = torch.cat([F.pad(frame, [_PADDING] * 4, mode="replicate"), features], dim=1)
        rounding: Rounding = "truncate" if self.as_published else "floor"
        if torch.is_grad_enabled():
            kernels = self._kernels(hidden, which, n_taps)
            margin = (KERNEL_SIDE - n_taps) * DILATION // 2
            seen = F.pad(padded, [-margin] * 4)
            return collaborate(seen, *kernels, dilation=DILATION, rounding=rounding), _look(*kernels)
        heads = self._kernel_heads(which)
        raised = [_raise(head, hidden) for head in heads]
        result = padded.new_empty(len(frame), padded.shape[1], *frame.shape[2:])
        for rows in _strips(frame):
            here = [_finish_rows(head, each, rows) for head, each in zip(heads, raised, strict=True)]
            result[:, :, rows] = collaborate(padded, *here, dilation=DILATION, rounding=rounding, top=rows.start)
        nowhere = frame.new_empty(len(frame), 0, *frame.shape[2:])
        return result, (nowhere, nowhere)

    def _kernels(self, hidden: Tensor, which: int, n_taps: int) -> tuple[Tensor, Tensor, Tensor]:
        """Return the (B, n_taps ** 2, H, W) weights of the taps on a frame, and their offsets down and right."""
        heads = self._kernel_heads(which)
        weight, alpha, beta = (_finish(head, _raise(head, hidden), n_taps) for head in heads)
        return weight, alpha, beta

    def _kernel_heads(self, which: int) -> list[nn.Module]:
        return [self.get_kernel.get_submodule(f"module{kind}{which}") for kind in ("Weight", "Alpha", "Beta")]


def _look(weight: Tensor, alpha: Tensor, beta: Tensor) -> tuple[Tensor, Tensor]:
    """Return the (B, 2, H, W) mean offset of samples from their taps' places, and that from the pixel itself."""
    offsets = torch.stack([(weight * alpha).sum(dim=1), (weight * beta).sum(dim=1)], dim=1)
    side = math.isqrt(weight.shape[1])
    along = DILATION * (torch.arange(side, device=weight.device, dtype=weight.dtype) - (side - 1) / 2)
    places = torch.cartesian_prod(along, along)
    return offsets, offsets + torch.einsum("bkhw,kc->bchw", weight, places)


def _join(looks: Iterable[tuple[Tensor, Tensor]]) -> tuple[Tensor, Tensor]:
    """Return what `_look` says of both frames, as (B, 4, H, W)."""
    offsets, motion = (torch.cat(both, dim=1) for both in zip(*looks, strict=True))
    return offsets, motion


def _pad(frame: Tensor) -> Tensor:
    height, width = frame.shape[2:]
    down, right = -height % MULTIPLE, -width % MULTIPLE
    # What is too small to be mirrored is continued as it ends.
    mode = "reflect" if down < height and right < width else "replicate"
    return F.pad(frame, [0, right, 0, down], mode=mode) if down or right else frame


def _subtract_mean(frame: Tensor) -> Tensor:
    return frame - frame.new_tensor(_MEAN_RGB)[:, None, None]


def _split(warped: Tensor) -> tuple[Tensor, ...]:
    return torch.split(warped, [3, *_FEATURES.values()], dim=1)


def _strips(frame: Tensor) -> Iterator[slice]:
    height, width = frame.shape[2:]
    n_rows = max(1, _STRIP_PIXELS[frame.device.type] // (len(frame) * width))
    for start in range(0, height, n_rows):
        yield slice(start, min(start + n_rows, height))


class _KernelEstimation(nn.Module):
    """The U-Net that looks at both frames, and the heads that tell kernels and masks."""

    def __init__(self) -> None:
        super().__init__()
        widths = {level: layers[-1] for level, layers in _ENCODER.items()}
        n_in = 6
        for level, layers in _ENCODER.items():
            self.add_module(f"moduleConv{level}", _convolutions(n_in, layers))
            n_in = widths[level]
        for level, layers in _DECODER.items():
            self.add_module(f"moduleDeconv{level}", _convolutions(n_in, layers))
            upsample = nn.Sequential(_double(), _convolution(layers[-1], widths[level]), nn.ReLU())
            self.add_module(f"moduleUpsample{level}", upsample)
            n_in = widths[level]
        for which in (1, 2):
            self.add_module(f"moduleWeight{which}", _head(n_in, _KERNEL_HEAD, _N_TAPS, nn.Softmax(dim=1)))
            self.add_module(f"moduleAlpha{which}", _head(n_in, _KERNEL_HEAD, _N_TAPS))
            self.add_module(f"moduleBeta{which}", _head(n_in, _KERNEL_HEAD, _N_TAPS))
        self.moduleOcclusion = _head(n_in, _MASK_HEAD, 1, nn.Sigmoid())
        self.moduleBlend = _head(n_in, _MASK_HEAD, 1, nn.Sigmoid())
        for level, n_features in _FEATURES.items():
            self.add_module(f"module1by1_{level}", nn.Conv2d(widths[level], n_features, 1, padding=1))

    def forward(self, frame_a: Tensor, frame_b: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Return what the heads look at, of half the size, and the feature maps of all levels, each with a rim."""
        x = torch.cat([frame_a, frame_b], dim=1)
        seen = {}
        for level in _ENCODER:
            seen[level] = self.get_submodule(f"moduleConv{level}")(x)
            x = F.avg_pool2d(seen[level], 2)
        for level in _DECODER:
            x = self.get_submodule(f"moduleDeconv{level}")(x)
            x = self.get_submodule(f"moduleUpsample{level}")(x) + seen[level]
        return x, [self.get_submodule(f"module1by1_{level}")(seen[level]) for level in _FEATURES]


def _convolution(n_in: int, n_out: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(n_in, n_out, 3, stride=stride, padding=1)


def _double(*, align_corners: bool = True) -> nn.Upsample:
    return nn.Upsample(scale_factor=2, mode="bilinear", align_corners=align_corners)


def _convolutions(n_in: int, widths: tuple[int, ...]) -> nn.Sequential:
    layers = [_convolution(before, after) for before, after in pairwise((n_in, *widths))]
    return nn.Sequential(*(part for layer in layers for part in (layer, nn.ReLU())))


def _head(n_in: int, widths: tuple[int, ...], n_out: int, *activation: nn.Module) -> nn.Sequential:
    return nn.Sequential(*_convolutions(n_in, widths), _double(), _convolution(widths[-1], n_out), *activation)


_N_RAISING = 2 * len(_KERNEL_HEAD) + 1
"""Parts of a head up to the one that doubles the size."""


def _raise(head: nn.Module, hidden: Tensor) -> Tensor:
    assert isinstance(head, nn.Sequential)
    raised: Tensor = head[:_N_RAISING](hidden)
    return raised


def _finish(head: nn.Module, raised: Tensor, n_taps: int = KERNEL_SIDE) -> Tensor:
    """Return a head's maps, of the middle part of the kernels."""
    assert isinstance(head, nn.Sequential)
    if n_taps == KERNEL_SIDE:
        maps: Tensor = head[_N_RAISING:](raised)
        return maps
    last, *activation = list(head)[_N_RAISING:]
    assert isinstance(last, nn.Conv2d)
    assert last.bias is not None
    first = (KERNEL_SIDE - n_taps) // 2
    taps = torch.arange(_N_TAPS, device=raised.device).view(KERNEL_SIDE, KERNEL_SIDE)
    used = taps[first : first + n_taps, first : first + n_taps].flatten()
    maps = F.conv2d(raised, last.weight[used], last.bias[used], padding=1)
    for step in activation:
        maps = step(maps)
    return maps


def _finish_rows(head: nn.Module, raised: Tensor, rows: slice) -> Tensor:
    """Return some rows of what `_finish` returns."""
    first, end = max(rows.start - 1, 0), min(rows.stop + 1, raised.shape[2])
    return _finish(head, raised[:, :, first:end])[:, :, rows.start - first : rows.stop - first]


class _Lateral(nn.Module):
    """Two convolutions, and what they change is added."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.f = nn.Sequential(nn.PReLU(), _convolution(n_in, n_out), nn.PReLU(), _convolution(n_out, n_out))
        self.conv = _convolution(n_in, n_out) if n_in != n_out else None

    def forward(self, x: Tensor) -> Tensor:
        changed: Tensor = self.f(x) + (x if self.conv is None else self.conv(x))
        return changed


class _Vertical(nn.Module):
    """Two convolutions from one row of the grid to the next."""

    def __init__(self, n_in: int, n_out: int, *, up: bool) -> None:
        super().__init__()
        first = _convolution(n_in, n_out, stride=1 if up else 2)
        raising = [_double(align_corners=False)] if up else []
        self.f = nn.Sequential(*raising, nn.PReLU(), first, nn.PReLU(), _convolution(n_out, n_out))

    def forward(self, x: Tensor) -> Tensor:
        result: Tensor = self.f(x)
        return result


class _Grid(nn.Module):
    """GridNet: three rows, each of half the size of the one above; down in its first half of columns, then up."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.lateral_init = _Lateral(n_in, _GRID[0])
        for row, n in enumerate(_GRID):
            for column in range(_N_COLUMNS - 1):
                self.add_module(f"lateral_{row}_{column}", _Lateral(n, n))
        for row, (above, below) in enumerate(pairwise(_GRID)):
            for column in range(_N_COLUMNS // 2):
                self.add_module(f"down_{row}_{column}", _Vertical(above, below, up=False))
                self.add_module(f"up_{row}_{column}", _Vertical(below, above, up=True))
        self.lateral_final = _Lateral(_GRID[0], n_out)

    def forward(self, x: Tensor) -> Tensor:
        rows = [self.lateral_init(x)]
        for row in range(len(_GRID) - 1):
            rows.append(self._part(f"down_{row}_0", rows[row]))
        for column in range(1, _N_COLUMNS):
            rows = [self._part(f"lateral_{row}_{column - 1}", state) for row, state in enumerate(rows)]
            if column < _N_COLUMNS // 2:
                for row in range(len(_GRID) - 1):
                    rows[row + 1] = rows[row + 1] + self._part(f"down_{row}_{column}", rows[row])
            else:
                for row in reversed(range(len(_GRID) - 1)):
                    rows[row] = rows[row] + self._part(f"up_{row}_{column - _N_COLUMNS // 2}", rows[row + 1])
        result: Tensor = self.lateral_final(rows[0])
        return result

    def _part(self, name: str, x: Tensor) -> Tensor:
        result: Tensor = self.get_submodule(name)(x)
        return result


def smoothness(offsets: Tensor) -> Tensor:
    """Return how much the mean offsets of neighboring pixels differ, as a () tensor: a loss [1].

    Parameters
    ----------
    offsets : (B, 4, H, W) tensor of float
        Of an `Estimate`.
    """
    differences = ((offsets / _N_TAPS).diff(dim=axis) for axis in (2, 3))
    return offsets.shape[1] * torch.stack([(each.square() + 1e-6).sqrt().mean() for each in differences]).sum()
