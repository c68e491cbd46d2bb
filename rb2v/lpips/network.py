"""LPIPS v0.1 in plain PyTorch: the features of AlexNet or VGG16, and a linear head on each of five layers.

References
----------
.. [1] Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric", CVPR 2018, eq. (1).
.. [2] Krizhevsky, "One weird trick for parallelizing convolutional neural networks", 2014 (this AlexNet).
.. [3] Simonyan and Zisserman, "Very Deep Convolutional Networks for Large-Scale Image Recognition", ICLR 2015.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from rb2v.errors import InputError, check_member

Net = Literal["alex", "vgg"]

# Of the images in -1..1 that LPIPS was trained on; ImageNet's, so scaled.
_SHIFT = (-0.030, -0.088, -0.188)
_SCALE = (0.458, 0.448, 0.450)  # ImageNet's deviations, so scaled
_NORM_EPS = 1e-10  # as LPIPS adds it
_MAX_CHUNK_PX = 2**18
"""Pixels in the network at a time, for which VGG16 takes about 250 MB; a larger pair goes alone."""


@dataclass(frozen=True)
class _Convolution:
    n_out: int
    kernel_size: int = 3
    stride: int = 1
    pool: int = 0
    """Size of the window of the maximum before it, which moves by 2; 0 for none."""
    is_feature: bool = True
    """Whether a head sees what comes out."""


_ALEX = (
    _Convolution(64, kernel_size=11, stride=4),
    _Convolution(192, kernel_size=5, pool=3),
    _Convolution(384, pool=3),
    _Convolution(256),
    _Convolution(256),
)
_VGG = tuple(
    _Convolution(n_out, pool=2 if block and not index else 0, is_feature=index == depth - 1)
    for block, (n_out, depth) in enumerate(((64, 2), (128, 2), (256, 3), (512, 3), (512, 3)))
    for index in range(depth)
)
_STACKS: dict[Net, tuple[_Convolution, ...]] = {"alex": _ALEX, "vgg": _VGG}
_MIN_SIZE_PX: dict[Net, int] = {"alex": 31, "vgg": 16}
"""Smallest side from which every layer has something left."""


class Lpips(nn.Module):
    """The distance of images by LPIPS v0.1, with weights at random; `load_lpips` gives it those that count.

    Parameters
    ----------
    net : {"alex", "vgg"}
        Backbone: alex is fast and closest to people's judgment; vgg is much slower, and usual in losses.

    Raises
    ------
    InputError
        If there is no such backbone.
    """

    shift: Tensor
    scale: Tensor

    def __init__(self, net: Net) -> None:
        super().__init__()
        check_member("net", net, _STACKS)
        self.net = net
        stack = _STACKS[net]
        n_inputs = (3, *(layer.n_out for layer in stack[:-1]))
        self.convolutions = nn.ModuleList(
            # Half the kernel, but for the 11 x 11 one: it has 2.
            nn.Conv2d(n_in, layer.n_out, layer.kernel_size, layer.stride, padding=min(layer.kernel_size // 2, 2))
            for n_in, layer in zip(n_inputs, stack, strict=True)
        )
        self.heads = nn.ParameterList(torch.rand(layer.n_out) for layer in stack if layer.is_feature)
        self.register_buffer("shift", torch.tensor(_SHIFT).reshape(3, 1, 1), persistent=False)
        self.register_buffer("scale", torch.tensor(_SCALE).reshape(3, 1, 1), persistent=False)
        self.eval().requires_grad_(requires_grad=False)

    @property
    def min_size_px(self) -> int:
        """Least height and width of images."""
        return _MIN_SIZE_PX[self.net]

    def forward(self, estimate: Tensor, truth: Tensor) -> Tensor:
        """Return the distances of images, in one pass; gradients reach the images.

        Parameters
        ----------
        estimate, truth : (B, 3, H, W) Tensor of float32
            RGB in [0, 1], on the network's device.

        Returns
        -------
        (B,) Tensor of float32
            0 where the images agree.
        """
        total = torch.zeros(len(estimate), device=estimate.device)
        features = self._features(torch.cat([estimate, truth]))
        for head, feature in zip(self.heads, features, strict=True):
            first, second = _normalize(feature).chunk(2)
            weighted = torch.einsum("bchw,c->bhw", (first - second).square(), head)
            total = total + weighted.mean(dim=(1, 2))
        return total

    def _features(self, images: Tensor) -> Iterator[Tensor]:
        x = (2.0 * images - 1.0 - self.shift) / self.scale
        for layer, convolution in zip(_STACKS[self.net], self.convolutions, strict=True):
            if layer.pool:
                x = functional.max_pool2d(x, layer.pool, stride=2)
            x = functional.relu_(convolution(x))
            if layer.is_feature:
                yield x

    @torch.inference_mode()
    def distance(
        self, estimate: Tensor | NDArray[np.generic], truth: Tensor | NDArray[np.generic]
    ) -> NDArray[np.float64]:
        """Return the distance of every image from its truth.

        Images go through the network a few at a time, so that memory does not grow with their number.

        Parameters
        ----------
        estimate, truth : (..., 3, H, W) Tensor or (..., H, W, 3) ndarray, of uint8 or float
            RGB images of one shape; floats are clipped to 0..1. At least 31 (alex) or 16 (vgg) px high and wide.

        Returns
        -------
        (...) ndarray of float64
            0 where the images agree; about 0.1 for what looks alike, and 0.7 for what does not.

        Raises
        ------
        InputError
            If the shapes differ, or are none of images that are large enough.
        """
        first, second = _channels_first(estimate, "estimate"), _channels_first(truth, "truth")
        if first.shape != second.shape:
            raise InputError("truth", f"is {tuple(second.shape)}", expected=f"{tuple(first.shape)}, as the estimate is")
        height, width = first.shape[-2:]
        least = self.min_size_px
        if min(height, width) < least:
            raise InputError("images", f"are {width}x{height} px", expected=f"at least {least}x{least} for {self.net}")
        n_pairs = max(1, _MAX_CHUNK_PX // (2 * height * width))
        chunks = (torch.split(images.reshape(-1, 3, height, width), n_pairs) for images in (first, second))
        pairs = zip(*chunks, strict=True)
        distances = [self(self._as_unit(ours), self._as_unit(theirs)).double().cpu() for ours, theirs in pairs]
        return torch.cat(distances).reshape(first.shape[:-3]).numpy()

    def _as_unit(self, images: Tensor) -> Tensor:
        on_device = images.to(self.shift.device, torch.float32)
        return (on_device if images.is_floating_point() else on_device / 255.0).clamp(0.0, 1.0)


def _normalize(feature: Tensor) -> Tensor:
    """Scale the channels of every pixel to a vector of length 1; what is 0 stays so."""
    # The tiny number keeps the gradient of the root finite where all channels are 0.
    norm = feature.square().sum(dim=1, keepdim=True).clamp(min=torch.finfo(feature.dtype).tiny).sqrt()
    return feature / (norm + _NORM_EPS)


def _channels_first(images: Tensor | NDArray[np.generic], name: str) -> Tensor:
    if isinstance(images, Tensor):
        tensor, wanted = images, "(..., 3, H, W) of uint8 or float"
    else:
        array = np.asarray(images)
        wanted = "(..., H, W, 3) of uint8 or float"
        if array.dtype.kind not in "uf" or array.ndim < 3:
            raise InputError(name, f"is {array.dtype} {array.shape}", expected=wanted)
        # torch has no arrays that step backward or may not be written to
        tensor = torch.from_numpy(np.array(np.moveaxis(array, -1, -3), order="C"))
    if tensor.ndim < 3 or tensor.shape[-3] != 3 or not (tensor.dtype == torch.uint8 or tensor.is_floating_point()):
        kind = str(tensor.dtype).removeprefix("torch.")
        raise InputError(name, f"is {kind} {tuple(images.shape)}", expected=wanted)
    return tensor
