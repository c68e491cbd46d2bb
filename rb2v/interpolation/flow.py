"""Motion-compensated interpolation with dense optical flow (DIS), at any time between two frames."""

from __future__ import annotations

import math
import threading
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from rb2v.core.color import Response

Effort = Literal["quick", "full"]
_Field = NDArray[np.float32]
_Frame = NDArray[np.float32]
_Mask = NDArray[np.uint8]

_REDUCTION = 2  # motions are compared at half the size, where flow has no finer detail, for a quarter of the work
_FIXED_POINT_ROUNDS = 2  # flow is smooth, so that each round takes a fraction of the error
_AGREEMENT_SIGMA_PX = 1.0  # at half the size: single pixels agree by chance
_AGREEMENT_SCALE = 0.005  # of coded light: motions that agree within about a level of 255 are blended
_OVERSAMPLING = 2  # linear samples of frames twice as large lose 0.01 dB, of frames as they are 0.16
_STATIC_BLOCK_PX = 16  # large enough that noise averages out, small enough to follow what moves
_STATIC_RMS_LEVELS = 1.0  # of 255; the blend of frames that differ by less is within 0.1 of what is between them
_STATIC_MARGIN_PX = 24  # a block, and what flow looks at beyond the edge of what moves
_MIN_PART_PX = 64  # a side on which flow still has scales to begin at
_WHOLE_SHARE = 0.8  # of the frame: cutting out more of it saves nothing
_GRID_BLOCK_PX = 256  # in steps of which grids are made
_N_GRIDS = 4  # kept; of the frame, its half and parts of it


class FlowInterpolator:
    """Sample both frames along one motion field of the time between them, and blend the two samples.

    The flow of each frame says where its own pixels go; the motion that passes a place *between* the frames has to be
    looked for. Several motions are tried at every place, and weighted by how well the two samples agree that
    each of them leads to: those that each frame's flow sends there, their mean, the flows found at the place itself,
    and standstill. Where a motion comes from beyond the rim of one frame, the other alone is sampled.

    Flow is estimated once each way, whatever times are asked for, and only in the part of the frames in which
    anything moves; the rest is blended.

    Parameters
    ----------
    response : {"linear", "srgb"} or float
        ``"linear"`` where the frames that will be given hold coded values; otherwise motion is looked for in their
        square roots, because flow would find too little to hold on to in the dark tones of linear light.
    effort : {"full", "quick"}
        ``"quick"`` takes the flow of each frame at the place itself, and bilinear samples: about a third of the
        time, right where motion is smooth over its own length.

    References
    ----------
    .. [1] Kroeger et al., "Fast Optical Flow using Dense Inverse Search", ECCV 2016.
    .. [2] Baker et al., "A Database and Evaluation Methodology for Optical Flow", IJCV 2011, section 3.3.3.
    """

    def __init__(self, response: Response = "srgb", effort: Effort = "full") -> None:
        self._is_coded, self._effort = response == "linear", effort

    def between(
        self,
        frame_a: NDArray[np.float32],
        frame_b: NDArray[np.float32],
        times: Sequence[float],
        *,
        averaged: Collection[float] = (),
    ) -> list[NDArray[np.float32]]:
        """Return the frames at times between two frames, see `rb2v.interpolation.Interpolator`."""
        made: dict[float, _Frame] = {0.0: frame_a, 1.0: frame_b}
        wanted = [t for t in dict.fromkeys(times) if t not in made]
        if wanted:
            gray_a, gray_b = self._gray8(frame_a), self._gray8(frame_b)
            part = _find_moving_part(gray_a, gray_b)
            moving = None if part is None else self._pair(frame_a, frame_b, gray_a, gray_b, part)
            is_whole = moving is not None and moving.frame_a.shape == frame_a.shape
            for t in wanted:
                if moving is not None and is_whole:
                    made[t] = moving.at(t, is_averaged=t in averaged)
                    continue
                made[t] = _blend(frame_a, frame_b, t)
                if moving is not None:
                    made[t][part] = moving.at(t, is_averaged=t in averaged)
        return [made[t] for t in times]

    def trace(
        self, frame_a: NDArray[np.float32], frame_b: NDArray[np.float32], times: Sequence[float]
    ) -> list[NDArray[np.float32]]:
        """Return the motion along which `between` samples both frames at each time; effort ``"full"`` alone has it.

        Parameters
        ----------
        frame_a, frame_b : (H, W, 3) ndarray of float32
            As for `between`.
        times : sequence of float
            Within 0..1, exclusively.

        Returns
        -------
        list of (H, W, 2) ndarray of float32
            x and y in pixels from the first frame to the second, of what is at each place at the time.
        """
        gray_a, gray_b = self._gray8(frame_a), self._gray8(frame_b)
        part = _find_moving_part(gray_a, gray_b)
        fields = [np.zeros((*frame_a.shape[:2], 2), dtype=np.float32) for _ in times]
        if part is None:
            return fields
        moving = self._pair(frame_a, frame_b, gray_a, gray_b, part)
        assert isinstance(moving, _Pair)
        for field, t in zip(fields, times, strict=True):
            field[part] = moving.enlarge(moving.motion.at(t))
        return fields

    def _pair(
        self, frame_a: _Frame, frame_b: _Frame, gray_a: _Mask, gray_b: _Mask, part: tuple[slice, slice]
    ) -> _Pair | _QuickPair:
        a, b = np.ascontiguousarray(frame_a[part]), np.ascontiguousarray(frame_b[part])
        gray_a, gray_b = np.ascontiguousarray(gray_a[part]), np.ascontiguousarray(gray_b[part])
        # A new object for each pair: one that has seen a small frame keeps its coarsest scale.
        dis = _make_flow(self._effort)
        flow_ab = np.asarray(dis.calc(gray_a, gray_b, None), dtype=np.float32)  # type: ignore[call-overload]
        flow_ba = np.asarray(dis.calc(gray_b, gray_a, None), dtype=np.float32)  # type: ignore[call-overload]
        if self._effort == "quick":
            return _QuickPair(a, b, flow_ab, flow_ba)
        return self._reduce(a, b, flow_ab, flow_ba)

    def _reduce(self, frame_a: _Frame, frame_b: _Frame, flow_ab: _Field, flow_ba: _Field) -> _Pair:
        height, width = frame_a.shape[:2]
        size = (-(-width // _REDUCTION), -(-height // _REDUCTION))
        scale = np.divide(size, (width, height)).astype(np.float32)
        gray_a, gray_b = (
            self._code(
                np.asarray(cv2.resize(cv2.cvtColor(one, cv2.COLOR_RGB2GRAY), size, interpolation=cv2.INTER_AREA))
            )
            for one in (frame_a, frame_b)
        )
        ahead, back = (cv2.resize(flow, size, interpolation=cv2.INTER_AREA) for flow in (flow_ab, flow_ba))
        small = _Motion(gray_a, gray_b, np.asarray(ahead * scale), np.asarray(back * -scale))
        return _Pair(frame_a, frame_b, small)

    def _code(self, frame: NDArray[np.float32]) -> NDArray[np.float32]:
        return frame if self._is_coded else np.sqrt(np.maximum(frame, 0))

    def _gray8(self, frame: NDArray[np.float32]) -> NDArray[np.uint8]:
        gray = np.asarray(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), dtype=np.float32)
        return np.rint(255 * self._code(np.clip(gray, 0, 1))).astype(np.uint8)


def _make_flow(effort: Effort) -> cv2.DISOpticalFlow:
    if effort == "quick":
        return cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    # The preset's stride of 3 and 5 refinements take three times as long, and bring interpolated frames of simulated
    # street takes 0.005 dB nearer to the truth; the fast preset's scale takes them 0.1 dB away.
    dis.setPatchStride(4)
    dis.setVariationalRefinementIterations(0)
    return dis


def _find_moving_part(gray_a: _Mask, gray_b: _Mask) -> tuple[slice, slice] | None:
    """Return the rows and columns about all that moves; None where nothing does."""
    height, width = gray_a.shape
    blocks = (-(-width // _STATIC_BLOCK_PX), -(-height // _STATIC_BLOCK_PX))
    difference = np.square(cv2.absdiff(gray_a, gray_b), dtype=np.float32)
    moves = np.asarray(cv2.resize(difference, blocks, interpolation=cv2.INTER_AREA)) > _STATIC_RMS_LEVELS**2
    if not moves.any():
        return None
    ends = []
    for axis, extent in ((1, height), (0, width)):
        along = np.flatnonzero(moves.any(axis=axis))
        size_px = extent / moves.shape[1 - axis]
        first = max(int(along[0] * size_px) - _STATIC_MARGIN_PX, 0)
        last = min(int(np.ceil((along[-1] + 1) * size_px)) + _STATIC_MARGIN_PX, extent)
        lacking = max(min(_MIN_PART_PX, extent) - (last - first), 0)
        first = min(max(first - lacking // 2, 0), extent - (last - first) - lacking)
        ends.append((first, max(last, first + min(_MIN_PART_PX, extent))))
    (top, bottom), (left, right) = ends
    if (bottom - top) * (right - left) > _WHOLE_SHARE * height * width:
        return slice(0, height), slice(0, width)
    return slice(top, bottom), slice(left, right)


class _Scratch(threading.local):
    """Arrays that are written anew for each frame: fresh memory costs as much as what is computed into it."""

    def __init__(self) -> None:
        self._arrays: dict[str, NDArray[np.float32]] = {}

    def array(self, name: str, *shape: int) -> NDArray[np.float32]:
        """Return the array of a name, of a shape; what was in it is lost."""
        n_values = math.prod(shape)
        if self._arrays.get(name, np.empty(0)).size < n_values:
            self._arrays[name] = np.empty(n_values, dtype=np.float32)
        return self._arrays[name][:n_values].reshape(shape)


_scratch = _Scratch()


@dataclass(frozen=True, eq=False)
class _QuickPair:
    """Two frames (H, W, 3), and the flow (H, W, 2) in pixels from each to the other."""

    frame_a: _Frame
    frame_b: _Frame
    flow_ab: _Field
    flow_ba: _Field

    def at(self, t: float, *, is_averaged: bool) -> _Frame:
        """Return the frame at a time; its samples are as quick as they can be, averaged or not."""
        grid = _grid(*self.frame_a.shape[:2])
        from_a = _sample(self.frame_a, _move(grid, self.flow_ab, -t))
        from_b = _sample(self.frame_b, _move(grid, self.flow_ba, t - 1))
        return _blend(from_a, from_b, t)


@dataclass(frozen=True, eq=False)
class _Pair:
    """Two frames (H, W, 3), and what moves between them."""

    frame_a: _Frame
    frame_b: _Frame
    motion: _Motion

    def at(self, t: float, *, is_averaged: bool) -> _Frame:
        """Return the frame at a time, sampled by cubics, or linearly where it is only ever averaged."""
        height, width = self.frame_a.shape[:2]
        small = self.motion.carried_to(t) if is_averaged else self.motion.at(t)
        motion = self.enlarge(small)
        sampled = [
            _sample_into(f"sampled {name}", source, motion, by, is_larger=is_averaged)
            for name, source, by in zip("ab", self._larger if is_averaged else self._frames, (-t, 1 - t), strict=True)
        ]
        made = _blend(sampled[0], sampled[1], t)
        # Where only one of the frames sees what is there, it is taken alone.
        sees_a, sees_b = (_is_inside(_move(_grid(*small.shape[:2]), small, by)) for by in (-t, 1 - t))
        for frame, sees, other in ((sampled[0], sees_a, sees_b), (sampled[1], sees_b, sees_a)):
            alone = cv2.bitwise_and(sees, cv2.bitwise_not(other))
            if alone.any():
                cv2.copyTo(frame, cv2.resize(alone, (width, height), interpolation=cv2.INTER_NEAREST), made)
        if is_averaged:
            return np.asarray(cv2.cvtColor(made, cv2.COLOR_RGBA2RGB), dtype=np.float32)
        # Cubic samples overshoot at edges.
        return np.clip(made, 0, 1, out=made, dtype=np.float32)

    def enlarge(self, small: _Field) -> _Field:
        """Return motion of the reduced size in that of the frames; the result is scratch."""
        height, width = self.frame_a.shape[:2]
        enlarged = np.divide((width, height), small.shape[1::-1]).astype(np.float32)
        field = _scratch.array("motion", height, width, 2)
        resized = cv2.resize(small * enlarged, (width, height), field, interpolation=cv2.INTER_LINEAR)
        return np.asarray(resized, dtype=np.float32)

    @property
    def _frames(self) -> tuple[_Frame, _Frame]:
        return self.frame_a, self.frame_b

    @cached_property
    def _larger(self) -> list[_Frame]:
        # Of four channels, because OpenCV samples these twice as fast as three.
        height, width = (_OVERSAMPLING * side for side in self.frame_a.shape[:2])
        made = []
        for name, frame in zip("ab", self._frames, strict=True):
            larger = _scratch.array(f"larger {name}", height, width, 4)
            four = cv2.cvtColor(frame, cv2.COLOR_RGB2RGBA, _scratch.array("four", *frame.shape[:2], 4))
            cv2.resize(four, (width, height), larger, interpolation=cv2.INTER_CUBIC)
            made.append(larger)
        return made


@dataclass(frozen=True, eq=False)
class _Motion:
    """What moves between two reduced coded gray frames (h, w)."""

    gray_a: _Frame
    gray_b: _Frame
    by_a: _Field
    """(h, w, 2) motion, in pixels from the first frame to the second, of what the first shows at each place."""
    by_b: _Field
    """The same of what the second shows there."""

    def carried_to(self, t: float) -> _Field:
        """Return the motion half-way carried along itself to another time."""
        return _sample(self._half_way, _move(_grid(*self.gray_a.shape), self._half_way, 0.5 - t))

    def at(self, t: float) -> _Field:
        """Return the (h, w, 2) motion of what is at each place at a time."""
        return self._half_way if t == 0.5 else self._find(t)

    @cached_property
    def _half_way(self) -> _Field:
        return self._find(0.5)

    def _find(self, t: float) -> _Field:
        grid = _grid(*self.gray_a.shape)
        sent_by_a, sent_by_b = self.by_a, self.by_b
        for _ in range(_FIXED_POINT_ROUNDS):
            sent_by_a = _sample(self.by_a, _move(grid, sent_by_a, -t))
            sent_by_b = _sample(self.by_b, _move(grid, sent_by_b, 1 - t))
        motions = [sent_by_a, sent_by_b, _blend(sent_by_a, sent_by_b, 0.5), _blend(self.by_a, self.by_b, t)]
        errors = [_disagreement(*self._samples(grid, motion, t)) for motion in motions]
        still = _disagreement(self.gray_a, self.gray_b)
        least = np.minimum.reduce([*errors, still])
        weights = [_weight(error, least) for error in errors]
        total = sum(weights, start=_weight(still, least))
        motion = np.zeros_like(grid)
        for weight, tried in zip(weights, motions, strict=True):
            motion += (weight / total)[..., None] * tried
        return motion

    def _samples(self, grid: _Field, motion: _Field, t: float) -> tuple[_Frame, _Frame]:
        return _sample(self.gray_a, _move(grid, motion, -t)), _sample(self.gray_b, _move(grid, motion, 1 - t))


def _disagreement(gray_a: _Frame, gray_b: _Frame) -> _Frame:
    difference = cv2.absdiff(gray_a, gray_b)
    return np.asarray(cv2.GaussianBlur(difference, (0, 0), _AGREEMENT_SIGMA_PX), dtype=np.float32)


def _weight(error: _Frame, least: _Frame) -> _Frame:
    return np.asarray(np.exp((least - error) / np.float32(_AGREEMENT_SCALE)), dtype=np.float32)


def _grid(height: int, width: int) -> _Field:
    """Return the (height, width, 2) places of a frame's pixels, x before y."""
    return _grid_of_block(*_whole_blocks(height, width))[:height, :width]


def _grid_of_larger(height: int, width: int) -> _Field:
    """Return where a frame's pixels lie in the enlarged frame, whose first one is as far from the rim as its own."""
    return _grid_of_larger_block(*_whole_blocks(height, width))[:height, :width]


def _whole_blocks(height: int, width: int) -> tuple[int, int]:
    # Parts of frames come in many sizes; they share a few grids.
    return -(-height // _GRID_BLOCK_PX) * _GRID_BLOCK_PX, -(-width // _GRID_BLOCK_PX) * _GRID_BLOCK_PX


@lru_cache(maxsize=_N_GRIDS)
def _grid_of_block(height: int, width: int) -> _Field:
    y, x = np.mgrid[:height, :width].astype(np.float32)
    return np.dstack([x, y])


@lru_cache(maxsize=_N_GRIDS)
def _grid_of_larger_block(height: int, width: int) -> _Field:
    return np.float32(_OVERSAMPLING) * _grid_of_block(height, width) + np.float32((_OVERSAMPLING - 1) / 2)


def _move(places: _Field, motion: _Field, by: float) -> _Field:
    """Return places moved by a part of the motion there."""
    return np.asarray(cv2.scaleAdd(motion, by, places), dtype=np.float32)


def _blend(first: _Frame, second: _Frame, t: float) -> _Frame:
    return np.asarray(cv2.addWeighted(first, 1 - t, second, t, 0.0), dtype=np.float32)


def _is_inside(places: _Field) -> _Mask:
    height, width = places.shape[:2]
    return np.asarray(cv2.inRange(places, (-0.5, -0.5), (width - 0.5, height - 0.5)), dtype=np.uint8)


def _sample(image: _Frame, places: _Field) -> _Frame:
    sampled = cv2.remap(image, places, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)  # type: ignore[call-overload]
    return np.asarray(sampled, dtype=np.float32)


def _sample_into(name: str, source: _Frame, motion: _Field, by: float, *, is_larger: bool) -> _Frame:
    """Sample a frame, an enlarged one linearly, where a part of the motion leads to; the result is scratch."""
    height, width = motion.shape[:2]
    grid, method = (_grid_of_larger, cv2.INTER_LINEAR) if is_larger else (_grid, cv2.INTER_CUBIC)
    by *= _OVERSAMPLING if is_larger else 1
    places = cv2.scaleAdd(motion, by, grid(height, width), _scratch.array("places", height, width, 2))
    sampled = _scratch.array(name, height, width, source.shape[2])
    cv2.remap(source, places, None, method, sampled, cv2.BORDER_REPLICATE)  # type: ignore[call-overload]
    return sampled
