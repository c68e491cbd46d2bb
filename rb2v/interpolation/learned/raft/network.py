"""The network of RAFT in plain PyTorch, with the names and shapes of the published weights.

References
----------
.. [1] Teed and Deng, "RAFT: Recurrent all-pairs field transforms for optical flow", ECCV 2020.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

STRIDE = 8  # pixels of the frame per pixel of the features
MIN_SIDE_PX = 128  # so that the coarsest correlation has two places, between which to sample
_LEVELS, _RADIUS = 4, 4  # of the correlation pyramid and of the window that is looked up in it, as in [1]
_HIDDEN, _CONTEXT = 128, 128  # channels of the recurrent state and of the context, as in [1]


class Raft(nn.Module):
    """Estimate flow by looking up correlations where the flow so far leads to, again and again."""

    def __init__(self) -> None:
        super().__init__()
        self.fnet = Encoder(256, "instance")
        self.cnet = Encoder(_HIDDEN + _CONTEXT, "batch")
        self.update_block = Update()

    def forward(self, first: Tensor, second: Tensor, iterations: int = 30) -> Tensor:
        """Estimate the flow from one frame to another.

        Parameters
        ----------
        first, second : (B, 3, H, W) tensor of float
            RGB in [0, 1]; sides are multiples of 8, at least 128.
        iterations : int
            Rounds of refinement.

        Returns
        -------
        (B, 2, H, W) tensor of float
            x and y in pixels.
        """
        first, second = 2 * first - 1, 2 * second - 1
        pyramid = correlate(self.fnet(first), self.fnet(second))
        hidden, context = self.cnet(first).split([_HIDDEN, _CONTEXT], dim=1)
        hidden, context = torch.tanh(hidden), torch.relu(context)
        start = _grid(hidden)
        places = start
        for _ in range(iterations):
            seen = look_up(pyramid, places)
            hidden, step = self.update_block(hidden, context, seen, places - start)
            places = places + step
        return upsample(places - start, 0.25 * self.update_block.mask(hidden))


class ResidualBlock(nn.Module):
    """Two convolutions beside a shortcut, which is strided where they are."""

    def __init__(self, inputs: int, outputs: int, norm: str, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(inputs, outputs, 3, padding=1, stride=stride)
        self.conv2 = nn.Conv2d(outputs, outputs, 3, padding=1)
        self.norm1, self.norm2 = _norm(norm, outputs), _norm(norm, outputs)
        self.downsample: nn.Sequential | None = None
        if stride > 1:
            # Published weights name the shortcut's norm twice.
            self.norm3 = _norm(norm, outputs)
            self.downsample = nn.Sequential(nn.Conv2d(inputs, outputs, 1, stride=stride), self.norm3)

    def forward(self, features: Tensor) -> Tensor:
        """Return features, (B, outputs, h / stride, w / stride)."""
        made = torch.relu(self.norm1(self.conv1(features)))
        made = torch.relu(self.norm2(self.conv2(made)))
        if self.downsample is not None:
            features = self.downsample(features)
        return torch.relu(features + made)


class Encoder(nn.Module):
    """Features of frames at an eighth of their size."""

    def __init__(self, outputs: int, norm: str) -> None:
        super().__init__()
        self.norm1 = _norm(norm, 64)
        self.conv1 = nn.Conv2d(3, 64, 7, stride=2, padding=3)
        self.layer1 = _layer(64, 64, norm, 1)
        self.layer2 = _layer(64, 96, norm, 2)
        self.layer3 = _layer(96, 128, norm, 2)
        self.conv2 = nn.Conv2d(128, outputs, 1)

    def forward(self, frames: Tensor) -> Tensor:
        """Return features, (B, outputs, H / 8, W / 8)."""
        features = torch.relu(self.norm1(self.conv1(frames)))
        made: Tensor = self.conv2(self.layer3(self.layer2(self.layer1(features))))
        return made


class MotionEncoder(nn.Module):
    """Features of the correlations that were looked up, and of the flow so far."""

    def __init__(self) -> None:
        super().__init__()
        self.convc1 = nn.Conv2d(_LEVELS * (2 * _RADIUS + 1) ** 2, 256, 1)
        self.convc2 = nn.Conv2d(256, 192, 3, padding=1)
        self.convf1 = nn.Conv2d(2, 128, 7, padding=3)
        self.convf2 = nn.Conv2d(128, 64, 3, padding=1)
        self.conv = nn.Conv2d(64 + 192, 126, 3, padding=1)

    def forward(self, seen: Tensor, flow: Tensor) -> Tensor:
        """Return features, (B, 128, h, w)."""
        correlations = torch.relu(self.convc2(torch.relu(self.convc1(seen))))
        motion = torch.relu(self.convf2(torch.relu(self.convf1(flow))))
        return torch.cat([torch.relu(self.conv(torch.cat([correlations, motion], dim=1))), flow], dim=1)


class SeparableGru(nn.Module):
    """A gated recurrent unit of convolutions along rows, then along columns."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        for place, (kernel, padding) in enumerate((((1, 5), (0, 2)), ((5, 1), (2, 0))), start=1):
            for gate in "zrq":
                self.add_module(f"conv{gate}{place}", nn.Conv2d(_HIDDEN + inputs, _HIDDEN, kernel, padding=padding))

    def forward(self, hidden: Tensor, given: Tensor) -> Tensor:
        """Return the new state, (B, 128, h, w)."""
        for place in (1, 2):
            update, reset, new = (self.get_submodule(f"conv{gate}{place}") for gate in "zrq")
            both = torch.cat([hidden, given], dim=1)
            share = torch.sigmoid(update(both))
            kept = torch.sigmoid(reset(both)) * hidden
            hidden = (1 - share) * hidden + share * torch.tanh(new(torch.cat([kept, given], dim=1)))
        return hidden


class FlowHead(nn.Module):
    """The change of the flow from the state."""

    def __init__(self) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(_HIDDEN, 256, 3, padding=1)
        self.conv2 = nn.Conv2d(256, 2, 3, padding=1)

    def forward(self, hidden: Tensor) -> Tensor:
        """Return the change, (B, 2, h, w), in pixels of the features."""
        change: Tensor = self.conv2(torch.relu(self.conv1(hidden)))
        return change


class Update(nn.Module):
    """One round of refinement."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = MotionEncoder()
        self.gru = SeparableGru(_CONTEXT + 128)
        self.flow_head = FlowHead()
        self.mask = nn.Sequential(nn.Conv2d(_HIDDEN, 256, 3, padding=1), nn.ReLU(), nn.Conv2d(256, 9 * STRIDE**2, 1))

    def forward(self, hidden: Tensor, context: Tensor, seen: Tensor, flow: Tensor) -> tuple[Tensor, Tensor]:
        """Return the new state and the change of the flow."""
        hidden = self.gru(hidden, torch.cat([context, self.encoder(seen, flow)], dim=1))
        return hidden, self.flow_head(hidden)


def correlate(first: Tensor, second: Tensor) -> list[Tensor]:
    """Return the correlations of every place with every other, (B h w, 1, h, w), and coarser ones."""
    n, channels, height, width = first.shape
    product = torch.einsum("bcp,bcq->bpq", first.flatten(2), second.flatten(2)) / channels**0.5
    levels = [product.reshape(n * height * width, 1, height, width)]
    for _ in range(_LEVELS - 1):
        levels.append(F.avg_pool2d(levels[-1], 2))
    return levels


def look_up(pyramid: list[Tensor], places: Tensor) -> Tensor:
    """Return the correlations around places, (B, 4 * 81, h, w); offsets in x vary slowest, as in the weights."""
    n, _, height, width = places.shape
    steps = torch.arange(-_RADIUS, _RADIUS + 1, device=places.device, dtype=places.dtype)
    offsets = torch.stack(torch.meshgrid(steps, steps, indexing="ij"), dim=-1)
    centers = places.permute(0, 2, 3, 1).reshape(n * height * width, 1, 1, 2)
    found = []
    for level, correlations in enumerate(pyramid):
        at = centers / 2**level + offsets
        sides = torch.tensor(correlations.shape[:-3:-1], device=at.device, dtype=at.dtype)
        sampled = F.grid_sample(correlations, 2 * at / (sides - 1) - 1, align_corners=True)
        found.append(sampled.reshape(n, height, width, -1))
    return torch.cat(found, dim=-1).permute(0, 3, 1, 2)


def upsample(flow: Tensor, weights: Tensor) -> Tensor:
    """Return flow at the frame's size: convex combinations of the nine coarse neighbors of every pixel."""
    n, _, height, width = flow.shape
    shares = torch.softmax(weights.view(n, 1, 9, STRIDE, STRIDE, height, width), dim=2)
    around = F.unfold(STRIDE * flow, 3, padding=1).view(n, 2, 9, 1, 1, height, width)
    fine = (shares * around).sum(dim=2)
    return fine.permute(0, 1, 4, 2, 5, 3).reshape(n, 2, STRIDE * height, STRIDE * width)


def _grid(like: Tensor) -> Tensor:
    n, _, height, width = like.shape
    y, x = torch.meshgrid(
        torch.arange(height, device=like.device, dtype=like.dtype),
        torch.arange(width, device=like.device, dtype=like.dtype),
        indexing="ij",
    )
    return torch.stack([x, y]).expand(n, 2, height, width)


def _norm(kind: str, channels: int) -> nn.Module:
    return nn.BatchNorm2d(channels) if kind == "batch" else nn.InstanceNorm2d(channels)


def _layer(inputs: int, outputs: int, norm: str, stride: int) -> nn.Sequential:
    return nn.Sequential(ResidualBlock(inputs, outputs, norm, stride), ResidualBlock(outputs, outputs, norm, 1))
