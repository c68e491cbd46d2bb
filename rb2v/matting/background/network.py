"""The network of BackgroundMattingV2: a coarse estimate of the whole image, refined in full resolution.

Modules bear the names that the authors' checkpoints have, so that their weights can be loaded; shapes follow from them.

References
----------
.. [1] Lin et al., "Real-Time High-Resolution Background Matting", CVPR 2021, section 4.
.. [2] Sandler et al., "MobileNetV2: Inverted Residuals and Linear Bottlenecks", CVPR 2018, table 2.
.. [3] He et al., "Deep Residual Learning for Image Recognition", CVPR 2016, table 1.
.. [4] Chen et al., "Rethinking Atrous Convolution for Semantic Image Segmentation", 2017, section 3.3.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

N_HIDDEN = 32  # as published: channels that the base network hands on to the refiner
_PATCH_PX = 4  # the refiner decides for squares of this side
_MANY_PATCHES = 1 / 8  # share of the patches, beyond which margins cost more than refining the whole image
_N_PICTURES = 6  # channels of the image and of its plate

# Expansion, channels, blocks and stride; the last stride of the original is traded for dilation.
_MOBILENET_STAGES = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 1),
    (6, 320, 1, 1),
)
_MOBILENET_TAPS = (1, 3, 6, 17)  # blocks after which the decoder looks in: 1/2, 1/4, 1/8 and 1/16 of the size
_MOBILENET_FIRST_DILATED = 15  # block from which dilation stands in for the last stride


class Coarse(NamedTuple):
    """What the base network sees in an image of reduced size."""

    alpha: Tensor
    """(B, 1, h, w) in 0..1."""
    residual: Tensor
    """(B, 3, h, w) foreground's color less the image's."""
    error: Tensor
    """(B, 1, h, w) expected error of alpha, in 0..1."""
    hidden: Tensor
    """(B, 32, h, w) what else the refiner is told."""


class Prediction(NamedTuple):
    """Foreground of a batch of images."""

    alpha: Tensor
    """(B, 1, H, W) in 0..1."""
    foreground: Tensor
    """(B, 3, H, W) coded color in 0..1."""
    coarse: Coarse


@dataclass(frozen=True)
class Refinement:
    """Where the refiner goes over the coarse estimate."""

    mode: Literal["full", "sampling", "thresholding"] = "sampling"
    """Everywhere, where the most error is expected, or where more than a threshold is expected."""
    sample_pixels: int = 80_000
    """Most pixels of an image to refine, for "sampling"."""
    threshold: float = 0.1
    """Expected error from which on to refine, for "thresholding"."""


def choose_scale(height: int, width: int) -> float:
    """Return the scale at which the base network sees an image: the authors' for HD and 4K, and one half below.

    Examples
    --------
    >>> choose_scale(448, 448), choose_scale(1080, 1920), choose_scale(2160, 3840)
    (0.5, 0.25, 0.125)
    """
    return next((scale for scale in (0.5, 0.25) if max(height, width) * scale <= 512), 0.125)


class MattingNetwork(nn.Module):
    """Base network and refiner.

    Parameters
    ----------
    backbone : str
        A key of ``BACKBONES``.
    kernel_size : {1, 3}
        Of the refiner's convolutions.
    """

    def __init__(self, backbone: str, kernel_size: int = 3) -> None:
        super().__init__()
        make_encoder, (eighth, quarter, half, n_deep) = BACKBONES[backbone]
        self.backbone_name = backbone
        self.backbone = make_encoder()
        self.aspp = _PyramidPooling(n_deep)
        self.decoder = _Decoder((eighth, quarter, half, _N_PICTURES))
        self.refiner = _Refiner(kernel_size)

    def estimate(self, picture: Tensor, plate: Tensor) -> Coarse:
        """Run the base network on (B, 3, h, w) coded images in 0..1 and the plates behind them."""
        pictures = torch.cat([picture, plate], dim=1)
        *shortcuts, deep = self.backbone(pictures)
        out = self.decoder(self.aspp(deep), [*reversed(shortcuts), pictures])
        alpha, residual, error, hidden = out.split([1, 3, 1, N_HIDDEN], dim=1)
        return Coarse(hold(alpha), residual, hold(error), hidden.relu())

    def forward(
        self, picture: Tensor, plate: Tensor, scale: float = 0.25, refinement: Refinement | None = None
    ) -> Prediction:
        """Tell the foreground of images.

        Parameters
        ----------
        image, plate : (B, 3, H, W) tensor
            Coded sRGB in 0..1, of any size.
        scale : float
            At which the base network sees them, at most 1/2.
        refinement : Refinement, optional
            Where to refine.
        """
        height, width = picture.shape[2:]
        margins = (0, -width % _PATCH_PX, 0, -height % _PATCH_PX)
        padded, padded_plate = (F.pad(image, margins, mode="replicate") for image in (picture, plate))
        size = [max(int(side * scale), 1) for side in padded.shape[2:]]
        coarse = self.estimate(_resize(padded, size), _resize(padded_plate, size))
        alpha, residual = self.refiner(padded, padded_plate, coarse, refinement or Refinement())
        foreground = hold(padded + residual)
        return Prediction(hold(alpha)[..., :height, :width], foreground[..., :height, :width], coarse)


def hold(values: Tensor) -> Tensor:
    """Hold values within 0..1; gradients pass, so that training can bring back what went too far."""
    held = values.clamp(0, 1)
    return values + (held - values).detach() if values.requires_grad else held


def make_network(backbone: str, seed: int) -> MattingNetwork:
    """Return an untrained network; the same seed gives the same weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = MattingNetwork(backbone)
        for module in network.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
        for last in (network.decoder.conv4, network.refiner.conv4):
            nn.init.normal_(last.weight, std=0.01)
    return network


class _Block(nn.Sequential):
    """Convolution, batch norm, activation."""

    def __init__(
        self,
        n_in: int,
        n_out: int,
        kernel_size: int = 1,
        *,
        stride: int = 1,
        dilation: int = 1,
        groups: int = 1,
        activation: type[nn.Module] = nn.ReLU,
    ) -> None:
        super().__init__(
            nn.Conv2d(n_in, n_out, kernel_size, stride, dilation * (kernel_size // 2), dilation, groups, bias=False),
            nn.BatchNorm2d(n_out),
            activation(),
        )


class _InvertedResidual(nn.Module):
    def __init__(self, n_in: int, n_out: int, expansion: int, stride: int, dilation: int) -> None:
        super().__init__()
        wide = n_in * expansion
        widening = [] if expansion == 1 else [_Block(n_in, wide, activation=nn.ReLU6)]
        self.conv = nn.Sequential(
            *widening,
            _Block(wide, wide, 3, stride=stride, dilation=dilation, groups=wide, activation=nn.ReLU6),
            nn.Conv2d(wide, n_out, 1, bias=False),
            nn.BatchNorm2d(n_out),
        )
        self.is_residual = stride == 1 and n_in == n_out

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv(x)
        return x + out if self.is_residual else out


class _MobileNetEncoder(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        blocks: list[nn.Module] = [_Block(_N_PICTURES, 32, 3, stride=2, activation=nn.ReLU6)]
        n_in = 32
        for expansion, n_out, n_blocks, stride in _MOBILENET_STAGES:
            for index in range(n_blocks):
                dilation = 2 if len(blocks) >= _MOBILENET_FIRST_DILATED else 1
                blocks.append(_InvertedResidual(n_in, n_out, expansion, stride if index == 0 else 1, dilation))
                n_in = n_out
        self.features = nn.Sequential(*blocks)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the features at 1/2, 1/4, 1/8 and 1/16 of the size."""
        taps = []
        for index, block in enumerate(self.features):
            x = block(x)
            if index in _MOBILENET_TAPS:
                taps.append(x)
        return taps


class _Bottleneck(nn.Module):
    def __init__(self, n_in: int, n_narrow: int, stride: int, dilation: int) -> None:
        super().__init__()
        n_out = 4 * n_narrow
        self.conv1 = nn.Conv2d(n_in, n_narrow, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(n_narrow)
        self.conv2 = nn.Conv2d(n_narrow, n_narrow, 3, stride, dilation, dilation, bias=False)
        self.bn2 = nn.BatchNorm2d(n_narrow)
        self.conv3 = nn.Conv2d(n_narrow, n_out, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(n_out)
        self.downsample: nn.Module | None = None
        if n_in != n_out:
            self.downsample = nn.Sequential(nn.Conv2d(n_in, n_out, 1, stride, bias=False), nn.BatchNorm2d(n_out))

    def forward(self, x: Tensor) -> Tensor:
        narrow = F.relu(self.bn2(self.conv2(F.relu(self.bn1(self.conv1(x))))))
        shortcut = x if self.downsample is None else self.downsample(x)
        return F.relu(self.bn3(self.conv3(narrow)) + shortcut)


class _ResNetEncoder(nn.Module):
    def __init__(self, n_blocks: tuple[int, int, int, int]) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(_N_PICTURES, 64, 7, 2, 3, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.layer1 = _make_layer(64, 64, n_blocks[0])
        self.layer2 = _make_layer(256, 128, n_blocks[1], stride=2)
        self.layer3 = _make_layer(512, 256, n_blocks[2], stride=2)
        self.layer4 = _make_layer(1024, 512, n_blocks[3], dilation=2)

    def forward(self, x: Tensor) -> list[Tensor]:
        """Return the features at 1/2, 1/4, 1/8 and 1/16 of the size."""
        half = F.relu(self.bn1(self.conv1(x)))
        quarter = self.layer1(F.max_pool2d(half, 3, 2, 1))
        eighth = self.layer2(quarter)
        return [half, quarter, eighth, self.layer4(self.layer3(eighth))]


def _make_layer(n_in: int, n_narrow: int, n_blocks: int, stride: int = 1, dilation: int = 1) -> nn.Sequential:
    # The first block keeps the dilation of the layer before it.
    first = _Bottleneck(n_in, n_narrow, stride, 1)
    return nn.Sequential(first, *(_Bottleneck(4 * n_narrow, n_narrow, 1, dilation) for _ in range(n_blocks - 1)))


BACKBONES: Mapping[str, tuple[Callable[[], nn.Module], tuple[int, int, int, int]]] = {
    "mobilenetv2": (_MobileNetEncoder, (32, 24, 16, 320)),
    "resnet50": (lambda: _ResNetEncoder((3, 4, 6, 3)), (512, 256, 64, 2048)),
    "resnet101": (lambda: _ResNetEncoder((3, 4, 23, 3)), (512, 256, 64, 2048)),
}
"""Encoders, and their channels at 1/8, 1/4, 1/2 and 1/16 of the size."""


class _Pooled(nn.Sequential):
    """The mean of the whole image, seen everywhere."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__(nn.AdaptiveAvgPool2d(1), *_Block(n_in, n_out))

    def forward(self, x: Tensor) -> Tensor:
        size = x.shape[2:]
        for layer in self:
            x = layer(x)
        return x.expand(-1, -1, *size)


class _PyramidPooling(nn.Module):
    """Atrous spatial pyramid pooling."""

    def __init__(self, n_in: int, n_out: int = 256) -> None:
        super().__init__()
        dilated = [_Block(n_in, n_out, 3, dilation=dilation) for dilation in (3, 6, 9)]
        self.convs = nn.ModuleList([_Block(n_in, n_out), *dilated, _Pooled(n_in, n_out)])
        self.project = nn.Sequential(*_Block(5 * n_out, n_out), nn.Dropout(0.5))

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.project(torch.cat([branch(x) for branch in self.convs], dim=1))
        return out


class _Decoder(nn.Module):
    def __init__(self, n_shortcuts: tuple[int, int, int, int]) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(256 + n_shortcuts[0], 128, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(128)
        self.conv2 = nn.Conv2d(128 + n_shortcuts[1], 64, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(64)
        self.conv3 = nn.Conv2d(64 + n_shortcuts[2], 48, 3, padding=1, bias=False)
        self.bn3 = nn.BatchNorm2d(48)
        self.conv4 = nn.Conv2d(48 + n_shortcuts[3], 1 + 3 + 1 + N_HIDDEN, 3, padding=1)

    def forward(self, x: Tensor, shortcuts: list[Tensor]) -> Tensor:
        """Enlarge deep features step by step to the size of each shortcut, the last of which is the image."""
        steps = ((self.conv1, self.bn1), (self.conv2, self.bn2), (self.conv3, self.bn3))
        for (conv, norm), shortcut in zip(steps, shortcuts, strict=False):
            x = F.relu(norm(conv(torch.cat([_resize(x, shortcut.shape[2:]), shortcut], dim=1))))
        out: Tensor = self.conv4(torch.cat([_resize(x, shortcuts[-1].shape[2:]), shortcuts[-1]], dim=1))
        return out


class _Refiner(nn.Module):
    """Two convolutions in half the size and two in full size, over squares with their margins or over the image."""

    def __init__(self, kernel_size: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(N_HIDDEN + 4 + _N_PICTURES, 24, kernel_size, bias=False)
        self.bn1 = nn.BatchNorm2d(24)
        self.conv2 = nn.Conv2d(24, 16, kernel_size, bias=False)
        self.bn2 = nn.BatchNorm2d(16)
        self.conv3 = nn.Conv2d(16 + _N_PICTURES, 12, kernel_size, bias=False)
        self.bn3 = nn.BatchNorm2d(12)
        self.conv4 = nn.Conv2d(12, 4, kernel_size)
        # Convolutions without padding eat the margin: one pixel each, and a pixel of half size is two of full size.
        self._margins_px = (0, 0) if kernel_size == 1 else (3, 2)

    def forward(self, picture: Tensor, plate: Tensor, coarse: Coarse, refinement: Refinement) -> tuple[Tensor, Tensor]:
        """Return alpha and the foreground's residual in the image's size, which is a multiple of 4."""
        full_size = picture.shape[2:]
        half_size = [side // 2 for side in full_size]
        pictures = torch.cat([picture, plate], dim=1)
        seen = torch.cat([coarse.hidden, coarse.alpha, coarse.residual], dim=1)
        half = torch.cat([_resize(seen, half_size), _resize(pictures, half_size)], dim=1)
        half_margin, margin = self._margins_px
        if refinement.mode == "full":
            out = self._refine(_add_margin(half, half_margin), _add_margin(pictures, margin))
        else:
            out = _resize(seen[:, N_HIDDEN:], full_size)
            chosen = _choose_patches(coarse.error, (full_size[0] // _PATCH_PX, full_size[1] // _PATCH_PX), refinement)
            n_chosen = int(chosen.sum())
            if n_chosen > _MANY_PATCHES * chosen.numel():
                whole = self._refine(_add_margin(half, half_margin), _add_margin(pictures, margin))
                out = torch.where(F.interpolate(chosen[:, None].to(out), size=full_size) > 0, whole, out)
            elif n_chosen:
                where = torch.where(chosen)
                patches = _cut_patches(half, where, _PATCH_PX // 2, half_margin)
                refined = self._refine(patches, _cut_patches(pictures, where, _PATCH_PX, margin))
                out = _put_patches(out, where, refined)
        return out[:, :1], out[:, 1:]

    def _refine(self, half: Tensor, pictures: Tensor) -> Tensor:
        x = F.relu(self.bn1(self.conv1(half)))
        x = F.relu(self.bn2(self.conv2(x)))
        x = torch.cat([F.interpolate(x, scale_factor=2, mode="nearest"), pictures], dim=1)
        out: Tensor = self.conv4(F.relu(self.bn3(self.conv3(x))))
        return out


Where = tuple[Tensor, ...]
"""Image, row and column of chosen patches."""


def _choose_patches(error: Tensor, size: tuple[int, int], refinement: Refinement) -> Tensor:
    """Return a (B, rows, columns) mask of the patches to refine."""
    error = _resize(error, size)[:, 0]
    if refinement.mode == "thresholding":
        return error > refinement.threshold
    flat = error.flatten(1)
    n_patches = min(refinement.sample_pixels // _PATCH_PX**2, flat.shape[1])
    chosen = torch.zeros_like(flat, dtype=torch.bool)
    chosen.scatter_(1, flat.topk(n_patches, dim=1).indices, value=True)
    return (chosen & (flat > 0)).view_as(error)


def _add_margin(image: Tensor, margin: int) -> Tensor:
    return F.pad(image, [margin] * 4)


def _cut_patches(image: Tensor, where: Where, side: int, margin: int) -> Tensor:
    """Return (P, C, s, s) squares with a margin all around."""
    window = side + 2 * margin
    windows = _add_margin(image, margin).unfold(2, window, side).unfold(3, window, side)
    return windows.permute(0, 2, 3, 1, 4, 5)[where]


def _put_patches(image: Tensor, where: Where, patches: Tensor) -> Tensor:
    batch, channels, height, width = image.shape
    tiles = image.view(batch, channels, height // _PATCH_PX, _PATCH_PX, width // _PATCH_PX, _PATCH_PX)
    tiles = tiles.permute(0, 2, 4, 1, 3, 5).contiguous()
    tiles[where] = patches
    return tiles.permute(0, 3, 1, 4, 2, 5).reshape(image.shape)


def _resize(image: Tensor, size: torch.Size | tuple[int, int] | list[int]) -> Tensor:
    return F.interpolate(image, size=list(size), mode="bilinear", align_corners=False)
