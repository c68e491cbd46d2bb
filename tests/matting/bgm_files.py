"""Files of weights as the authors of BackgroundMattingV2 published them, written here with random numbers."""

import math
import warnings
from itertools import pairwise

import torch
from torch import nn

BACKBONES = ("mobilenetv2", "resnet50", "resnet101")


def conv(name, n_out, n_in, side, *, bias=False):
    shapes = {f"{name}.weight": (n_out, n_in, side, side)}
    return shapes | ({f"{name}.bias": (n_out,)} if bias else {})


def norm(name, n):
    names = ("weight", "bias", "running_mean", "running_var")
    return {f"{name}.{part}": (n,) for part in names} | {f"{name}.num_batches_tracked": ()}


def mobilenet_shapes():
    shapes = conv("backbone.features.0.0", 32, 6, 3) | norm("backbone.features.0.1", 32)
    shapes |= conv("backbone.features.1.conv.0.0", 32, 1, 3) | norm("backbone.features.1.conv.0.1", 32)
    shapes |= conv("backbone.features.1.conv.1", 16, 32, 1) | norm("backbone.features.1.conv.2", 16)
    channels = [16, 24, 24, 32, 32, 32, 64, 64, 64, 64, 96, 96, 96, 160, 160, 160, 320]
    for index, (n_in, n_out) in enumerate(pairwise(channels), start=2):
        name, wide = f"backbone.features.{index}.conv", 6 * n_in
        shapes |= conv(f"{name}.0.0", wide, n_in, 1) | norm(f"{name}.0.1", wide)
        shapes |= conv(f"{name}.1.0", wide, 1, 3) | norm(f"{name}.1.1", wide)
        shapes |= conv(f"{name}.2", n_out, wide, 1) | norm(f"{name}.3", n_out)
    return shapes


def resnet_shapes(n_blocks):
    shapes = conv("backbone.conv1", 64, 6, 7) | norm("backbone.bn1", 64)
    n_in = 64
    for layer, n in enumerate(n_blocks, start=1):
        narrow = 32 * 2**layer
        for block in range(n):
            name = f"backbone.layer{layer}.{block}"
            shapes |= conv(f"{name}.conv1", narrow, n_in, 1) | norm(f"{name}.bn1", narrow)
            shapes |= conv(f"{name}.conv2", narrow, narrow, 3) | norm(f"{name}.bn2", narrow)
            shapes |= conv(f"{name}.conv3", 4 * narrow, narrow, 1) | norm(f"{name}.bn3", 4 * narrow)
            if block == 0:
                shapes |= conv(f"{name}.downsample.0", 4 * narrow, n_in, 1) | norm(f"{name}.downsample.1", 4 * narrow)
            n_in = 4 * narrow
    return shapes


def published_shapes(backbone, *, kernel_size=3):
    """Return the names and shapes of a checkpoint."""
    if backbone == "mobilenetv2":
        shapes, (eighth, quarter, half, deep) = mobilenet_shapes(), (32, 24, 16, 320)
    else:
        shapes, (eighth, quarter, half, deep) = (
            resnet_shapes((3, 4, {"resnet50": 6, "resnet101": 23}[backbone], 3)),
            (512, 256, 64, 2048),
        )
    for branch, (first, side) in enumerate([(0, 1), (0, 3), (0, 3), (0, 3), (1, 1)]):
        name = f"aspp.convs.{branch}"
        shapes |= conv(f"{name}.{first}", 256, deep, side) | norm(f"{name}.{first + 1}", 256)
    shapes |= conv("aspp.project.0", 256, 1280, 1) | norm("aspp.project.1", 256)
    for index, (n_in, n_out) in enumerate([(256 + eighth, 128), (128 + quarter, 64), (64 + half, 48)], start=1):
        shapes |= conv(f"decoder.conv{index}", n_out, n_in, 3) | norm(f"decoder.bn{index}", n_out)
    shapes |= conv("decoder.conv4", 37, 48 + 6, 3, bias=True)
    for index, (n_in, n_out) in enumerate([(42, 24), (24, 16), (22, 12)], start=1):
        shapes |= conv(f"refiner.conv{index}", n_out, n_in, kernel_size) | norm(f"refiner.bn{index}", n_out)
    return shapes | conv("refiner.conv4", 4, 12, kernel_size, bias=True)


def random_state(backbone="mobilenetv2", seed=0, **options):
    """Return a state dict whose network gives finite images that are not flat."""
    generator = torch.Generator().manual_seed(seed)

    def draw(name, shape):
        if name.endswith("num_batches_tracked"):
            return torch.tensor(7)
        if len(shape) == 4:
            return torch.randn(shape, generator=generator) * math.sqrt(2 / math.prod(shape[1:]))
        spread = 0.2 * torch.randn(shape, generator=generator)
        return spread.abs() + 0.8 if name.endswith(("bn.weight", "1.weight", "var")) else spread

    return {name: draw(name, shape) for name, shape in published_shapes(backbone, **options).items()}


class Wrapper(nn.Module):
    """The network one level down, and settings beside it, as in the authors' archives."""

    backbone_scale: float
    refine_mode: str

    def __init__(self):
        super().__init__()
        self.model = nn.Module()
        self.backbone_scale = 0.25
        self.refine_mode = "sampling"

    def forward(self, src):
        return src


def write_torchscript(path, state, *, half=False):
    wrapper = Wrapper()
    for name, tensor in state.items():
        *folders, leaf = name.split(".")
        module = wrapper.model
        for folder in folders:
            if folder not in module._modules:
                module.add_module(folder, nn.Module())
            module = module._modules[folder]
        if leaf in ("weight", "bias"):
            module.register_parameter(leaf, nn.Parameter(tensor.clone(), requires_grad=False))
        else:
            module.register_buffer(leaf, tensor.clone())
    wrapper = wrapper.half() if half else wrapper
    with warnings.catch_warnings(action="ignore"):
        torch.jit.script(wrapper.eval()).save(str(path))
    return path
