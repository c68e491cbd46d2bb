"""Motion-compensated interpolation with dense optical flow (DIS), at any time between two frames."""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Collection, Sequence
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
_Image = NDArray[np.float32] | NDArray[np.uint16]

_REDUCTION = 2  # motions are compared at half the size, where flow has no finer detail, for a quarter of the work
_FIXED_POINT_ROUNDS = 2  # flow is smooth, so that each round takes a fraction of the error
_AGREEMENT_SIGMA_PX = 1.0  # at half the size: single pixels agree by chance
_AGREEMENT_SCALE = 0.005  # of coded light: motions that agree within about a level of 255 are blended
_UNLIKE_ERROR = 0.04  # of coded light, 10 levels of 255: more than noise, and what small errors of flow leave
_UNLIKE_SHARE = 0.004  # of the places: most pairs of most takes have less, and what one flow gets wrong has more
_OVERSAMPLING = 2  # linear samples of frames twice as large lose 0.01 dB, of frames as they are 0.16
_STATIC_BLOCK_PX = 16  # large enough that noise averages out, small enough to follow what moves
_STATIC_RMS_LEVELS = 1.0  # of 255; the blend of frames that differ by less is within 0.1 of what is between them
_STATIC_MARGIN_PX = 24  # a block, and what flow looks at beyond the edge of what moves
_MIN_PART_PX = 64  # a side on which flow still has scales to begin at
_WHOLE_SHARE = 0.8  # of the frame: cutting out more of it saves nothing
_STORED_ONE = 32768  # level of light 1.0 in enlarged frames: cubics and lamps that are evened out go beyond it
_N_SIDES = 2  # frames kept; where frames follow each other the second of a pair is the first of the next
_GRID_BLOCK_PX = 256  # in steps of which grids are made
_N_GRIDS = 4  # kept; of the frame, its half and parts of it


class FlowInterpolator:
    """Sample both frames along one motion field of the time between them, and blend the two samples.

    The flow of a frame says where its own pixels go; the motion that passes a place *between* the frames has to be
    looked for. Several motions are tried at every place, and weighted by how well the two samples agree that
    each of them leads to: the one that the first frame's flow sends there, the one found at the place itself, and
    nothing that moves. Where too many places agree on none, the second frame's flow is asked, too, and the means of
    what both say. Where a motion comes from beyond the rim of one frame, the other alone is sampled.

    Flow is estimated once, whatever times are asked for, and only in the part of the frames in which anything moves;
    the rest is blended. What was computed of the last frame alone is kept for the next pair, if nobody may write to
    that frame.

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
        self._last = _LastSides()

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
            moving, part = self._moving(frame_a, frame_b)
            for t in wanted:
                made[t] = _make_frame(frame_a, frame_b, moving, part, t, is_averaged=t in averaged)
        return [made[t] for t in times]

    def between_and_sum(
        self,
        frame_a: NDArray[np.float32],
        frame_b: NDArray[np.float32],
        times: Sequence[float],
        summed: Sequence[float],
        stride: int = 1,
    ) -> tuple[list[NDArray[np.float32]], NDArray[np.float32]]:
        """Return frames at times, and the sum of those at others, see `rb2v.interpolation.GuardedInterpolator`."""
        moving, part = self._moving(frame_a, frame_b)
        made = {0.0: frame_a, 1.0: frame_b}
        for t in times:
            if t not in made:
                made[t] = _make_frame(frame_a, frame_b, moving, part, t, is_averaged=False)
        if moving is not None and part is None:
            total = moving.sum(summed, stride)
        else:
            share_b = float(np.sum(summed))
            some_a, some_b = (np.ascontiguousarray(frame[::stride, ::stride]) for frame in (frame_a, frame_b))
            total = np.asarray(cv2.addWeighted(some_a, len(summed) - share_b, some_b, share_b, 0.0), np.float32)
            if moving is not None and part is not None:
                rows, columns = part
                inside = (slice(-(-cut.start // stride), -(-cut.stop // stride)) for cut in part)
                total[tuple(inside)] = moving.sum(summed, stride, (-rows.start % stride, -columns.start % stride))
        return [made[t] for t in times], total

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
        fields = [np.zeros((*frame_a.shape[:2], 2), dtype=np.float32) for _ in times]
        moving, part = self._moving(frame_a, frame_b)
        if moving is None:
            return fields
        assert isinstance(moving, _Pair)
        for field, t in zip(fields, times, strict=True):
            field[... if part is None else part] = moving.enlarge(moving.motion.at(t), 1)
        return fields

    def _moving(self, frame_a: _Frame, frame_b: _Frame) -> tuple[_Pair | _QuickPair | None, tuple[slice, slice] | None]:
        """Return what moves, and in which part of the frames; None for the part where that is all of them."""
        side_a, side_b = self._side(frame_a), self._side(frame_b)
        part = _find_moving_part(side_a.gray, side_b.gray)
        if part is None:
            return None, None
        is_whole = part == (slice(0, frame_a.shape[0]), slice(0, frame_a.shape[1]))
        a, b = (side_a, side_b) if is_whole else (side_a.cut(part), side_b.cut(part))
        return self._pair(a, b), None if is_whole else part

    def _side(self, frame: _Frame) -> _Side:
        for known in self._last.sides:
            if known.frame is frame:
                return known
        side = _Side(frame, self._gray8(frame))
        if not frame.flags.writeable:
            self._last.sides = [*self._last.sides[-_N_SIDES + 1 :], side]
        return side

    def _pair(self, a: _Side, b: _Side) -> _Pair | _QuickPair:
        # A new object for each pair: one that has seen a small frame keeps its coarsest scale.
        dis = _make_flow(self._effort)
        if self._effort == "quick":
            return _QuickPair(a.frame, b.frame, _estimate(dis, a.gray, b.gray), _estimate(dis, b.gray, a.gray))
        gray_a, gray_b = (self._code(one.small_gray) for one in (a, b))
        ahead = _estimate(dis, a.small_gray8, b.small_gray8)
        return _Pair(a, b, _Motion(gray_a, gray_b, ahead, lambda: -_estimate(dis, b.small_gray8, a.small_gray8)))

    def _code(self, frame: NDArray[np.float32]) -> NDArray[np.float32]:
        return frame if self._is_coded else np.sqrt(np.maximum(frame, 0))

    def _gray8(self, frame: NDArray[np.float32]) -> NDArray[np.uint8]:
        gray = np.asarray(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), dtype=np.float32)
        return np.rint(255 * self._code(np.clip(gray, 0, 1))).astype(np.uint8)


def _make_frame(
    frame_a: _Frame,
    frame_b: _Frame,
    moving: _Pair | _QuickPair | None,
    part: tuple[slice, slice] | None,
    t: float,
    *,
    is_averaged: bool,
) -> _Frame:
    """Return the frame at a time: what moves from the pair, and a blend around the part in which it does."""
    if moving is not None and part is None:
        return moving.at(t, is_averaged=is_averaged)
    made = _blend(frame_a, frame_b, t)
    if moving is not None:
        made[part] = moving.at(t, is_averaged=is_averaged)
    return made


def _make_flow(effort: Effort) -> cv2.DISOpticalFlow:
    if effort == "quick":
        return cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    # Measured on interpolated frames of a simulated street take: without refinement they are 0.06 dB farther from the
    # truth, with the preset's 5 in place of 2 they are 0.014 dB nearer, and with its stride of 3 in place of 4 0.03.
    # A stride of 5 takes 0.1 dB from some streets and 2 from what is fast, and the fast preset's scale 0.15. Fewer
    # steps of descent lose what is small and fast.
    dis.setPatchStride(4)
    dis.setVariationalRefinementIterations(2)
    # Frames come at half the size, which is the preset's finest scale.
    dis.setFinestScale(0)
    return dis


def _estimate(dis: cv2.DISOpticalFlow, first: _Mask, second: _Mask) -> _Field:
    return np.asarray(dis.calc(first, second, None), dtype=np.float32)  # type: ignore[call-overload]


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

    def levels(self, name: str, *shape: int) -> NDArray[np.uint16]:
        """Return the array of a name, of 16-bit levels."""
        n_floats = -(-math.prod(shape) // 2)
        return self.array(f"levels {name}", n_floats).view(np.uint16)[: math.prod(shape)].reshape(shape)


_scratch = _Scratch()


class _Side:
    """One of two frames, and what is made of it alone.

    Parameters
    ----------
    frame : (H, W, 3) ndarray of float32
        The frame.
    gray : (H, W) ndarray of uint8
        It, gray and coded.
    """

    def __init__(self, frame: _Frame, gray: _Mask) -> None:
        self.frame, self.gray = frame, gray

    def cut(self, part: tuple[slice, slice]) -> _Side:
        """Return a part of the frame."""
        return _Side(np.ascontiguousarray(self.frame[part]), np.ascontiguousarray(self.gray[part]))

    @cached_property
    def _small_size(self) -> tuple[int, int]:
        height, width = self.frame.shape[:2]
        return -(-width // _REDUCTION), -(-height // _REDUCTION)

    @cached_property
    def small_gray8(self) -> _Mask:
        """Coded, of 8 bits, at half the size."""
        return np.asarray(cv2.resize(self.gray, self._small_size, interpolation=cv2.INTER_AREA), dtype=np.uint8)

    @cached_property
    def small_gray(self) -> _Frame:
        """Of the frame's own light, at half the size."""
        gray = cv2.cvtColor(self.frame, cv2.COLOR_RGB2GRAY)
        return np.asarray(cv2.resize(gray, self._small_size, interpolation=cv2.INTER_AREA), dtype=np.float32)

    @cached_property
    def larger(self) -> NDArray[np.uint16]:
        """Twice as large, in levels of which `_STORED_ONE` stands for 1."""
        # Of four channels, because OpenCV samples these twice as fast as three; of 16 bits for half the memory.
        height, width = self.frame.shape[:2]
        four = cv2.cvtColor(self.frame, cv2.COLOR_RGB2RGBA, _scratch.array("four", height, width, 4))
        levels = cv2.addWeighted(four, _STORED_ONE, four, 0.0, 0.0, dtype=cv2.CV_16U)
        size = (_OVERSAMPLING * width, _OVERSAMPLING * height)
        return np.asarray(cv2.resize(levels, size, interpolation=cv2.INTER_CUBIC), dtype=np.uint16)


class _LastSides(threading.local):
    """Frames of the last pairs that nobody may write."""

    def __init__(self) -> None:
        self.sides: list[_Side] = []


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

    def sum(self, times: Sequence[float], stride: int = 1, first: tuple[int, int] = (0, 0)) -> _Frame:
        """Return the sum of the frames at times, see `_Pair.sum`."""
        rows, columns = (slice(start, None, stride) for start in first)
        grid = np.ascontiguousarray(_grid(*self.frame_a.shape[:2])[rows, columns])
        flow_ab, flow_ba = (np.ascontiguousarray(flow[rows, columns]) for flow in (self.flow_ab, self.flow_ba))
        total = np.zeros((*grid.shape[:2], 3), dtype=np.float32)
        for t in times:
            from_a = _sample(self.frame_a, _move(grid, flow_ab, -t))
            from_b = _sample(self.frame_b, _move(grid, flow_ba, t - 1))
            cv2.accumulate(_blend(from_a, from_b, t), total)
        return total


@dataclass(frozen=True, eq=False)
class _Pair:
    """Two frames, and what moves between them."""

    a: _Side
    b: _Side
    motion: _Motion

    def at(self, t: float, *, is_averaged: bool) -> _Frame:
        """Return the frame at a time, sampled by cubics, or linearly where it is only ever averaged."""
        if is_averaged:
            return self.sum([t])
        small = self.motion.at(t)
        height, width = self.a.frame.shape[:2]
        motion = self.enlarge(small, 1)
        sampled = []
        for name, source, by in (("a", self.a.frame, -t), ("b", self.b.frame, 1 - t)):
            places = cv2.scaleAdd(motion, by, _grid(height, width), _scratch.array("places", height, width, 2))
            one = _scratch.array(f"sampled {name}", height, width, 3)
            sampled.append(cv2.remap(source, places, None, cv2.INTER_CUBIC, one, cv2.BORDER_REPLICATE))  # type: ignore[call-overload]
        made = _blend(sampled[0], sampled[1], t)
        self._take_alone(small, t, sampled, made)
        # Cubic samples overshoot at edges.
        return np.clip(made, 0, 1, out=made, dtype=np.float32)

    def sum(self, times: Sequence[float], stride: int = 1, first: tuple[int, int] = (0, 0)) -> _Frame:
        """Return the sum of the frames at times, each sampled from the frame that is nearer in time.

        Sampling both frames brings the mean of a window 0.01 dB nearer to the truth, for twice the time.

        Parameters
        ----------
        times : sequence of float
            Between 0 and 1.
        stride : int
            Rows and columns of which one is summed.
        first : tuple of int
            The first of those rows, and of those columns.
        """
        if stride > 1:
            return self._sum_at(np.ascontiguousarray(self._places(stride, first)), times)
        height, width = self.a.frame.shape[:2]
        total = _scratch.array("sum", height, width, 4)
        total[...] = 0
        for t in times:
            small = self.motion.carried_to(t)
            motion = self.enlarge(small, _OVERSAMPLING)
            sides = [(self.a, -t), (self.b, 1 - t)]
            (near, by), (far, by_far) = sides if t <= 0.5 else sides[::-1]
            made = _sample_larger("near", near, motion, by)
            small_grid = _grid(*small.shape[:2])
            sees = _is_inside(_move(small_grid, small, by), small.shape[:2])
            if cv2.countNonZero(sees) < sees.size:
                alone = cv2.bitwise_and(
                    _is_inside(_move(small_grid, small, by_far), small.shape[:2]), cv2.bitwise_not(sees)
                )
                if cv2.hasNonZero(alone):
                    mask = cv2.resize(alone, (width, height), interpolation=cv2.INTER_NEAREST)
                    cv2.copyTo(_sample_larger("far", far, motion, by_far), mask, made)
            cv2.accumulate(made, total)
        rgb = np.asarray(cv2.cvtColor(total, cv2.COLOR_RGBA2RGB), dtype=np.float32)
        rgb *= np.float32(1 / _STORED_ONE)
        return rgb

    def _places(self, stride: int, first: tuple[int, int]) -> _Field:
        rows, columns = (slice(start, None, stride) for start in first)
        return _grid(*self.a.frame.shape[:2])[rows, columns]

    def _sum_at(self, places: _Field, times: Sequence[float]) -> _Frame:
        """Return the sum at some places, by cubic samples: the fewer they are, the less an enlarged frame is worth."""
        height, width = self.a.frame.shape[:2]
        half_way = self.motion.at(0.5)
        enlarged = np.divide((width, height), half_way.shape[1::-1]).astype(np.float32)
        small = (places + np.float32(0.5)) / enlarged - np.float32(0.5)
        at_half_way = _sample(half_way, small)
        total = np.zeros((*places.shape[:2], 3), dtype=np.float32)
        for t in times:
            motion = _sample(half_way, _move(small, at_half_way, 0.5 - t)) * enlarged
            sides = [(self.a, -t), (self.b, 1 - t)]
            (near, by), (far, by_far) = sides if t <= 0.5 else sides[::-1]
            moved = _move(places, motion, by)
            made = _sample(near.frame, moved, cv2.INTER_CUBIC)
            sees = _is_inside(moved, (height, width))
            if cv2.countNonZero(sees) < sees.size:
                moved = _move(places, motion, by_far)
                alone = cv2.bitwise_and(_is_inside(moved, (height, width)), cv2.bitwise_not(sees))
                cv2.copyTo(_sample(far.frame, moved, cv2.INTER_CUBIC), alone, made)
            cv2.accumulate(made, total)
        return total

    def enlarge(self, small: _Field, scale: int) -> _Field:
        """Return motion at the frames' size, in pixels of frames that are larger by a scale."""
        height, width = self.a.frame.shape[:2]
        enlarged = np.divide((scale * width, scale * height), small.shape[1::-1]).astype(np.float32)
        field = _scratch.array("motion", height, width, 2)
        return np.asarray(cv2.resize(small * enlarged, (width, height), field, interpolation=cv2.INTER_LINEAR))

    def _take_alone(self, small: _Field, t: float, sampled: Sequence[_Image], made: _Image) -> None:
        """Where only one of the frames sees what is there, take it alone."""
        height, width = made.shape[:2]
        size = small.shape[:2]
        sees_a, sees_b = (_is_inside(_move(_grid(*size), small, by), size) for by in (-t, 1 - t))
        for image, sees, other in ((sampled[0], sees_a, sees_b), (sampled[1], sees_b, sees_a)):
            alone = cv2.bitwise_and(sees, cv2.bitwise_not(other))
            if cv2.hasNonZero(alone):
                cv2.copyTo(image, cv2.resize(alone, (width, height), interpolation=cv2.INTER_NEAREST), made)


@dataclass(frozen=True, eq=False)
class _Motion:
    """What moves between two reduced coded gray frames (h, w)."""

    gray_a: _Frame
    gray_b: _Frame
    by_a: _Field
    """(h, w, 2) motion, in pixels from the first frame to the second, of what the first shows at each place."""
    estimate_by_b: Callable[[], _Field]
    """Returns the same of what the second shows there."""

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
        if self._by_b is None:
            tried = self._one_way if t == 0.5 else self._try([_send(self.by_a, -t), self.by_a], t)
        else:
            sent_by_a, sent_by_b = _send(self.by_a, -t), _send(self._by_b, 1 - t)
            blends = _blend(sent_by_a, sent_by_b, 0.5), _blend(self.by_a, self._by_b, t)
            tried = self._try([sent_by_a, sent_by_b, *blends], t)
        return tried.blend()

    @cached_property
    def _one_way(self) -> _Tried:
        return self._try([_send(self.by_a, -0.5), self.by_a], 0.5)

    @cached_property
    def _by_b(self) -> _Field | None:
        """What the second frame's flow says, where the first one's leads to many places that do not look alike."""
        n_unlike = cv2.countNonZero(cv2.inRange(self._one_way.least, _UNLIKE_ERROR, math.inf))
        return self.estimate_by_b() if n_unlike > _UNLIKE_SHARE * self.gray_a.size else None

    def _try(self, motions: Sequence[_Field], t: float) -> _Tried:
        grid = _grid(*self.gray_a.shape)
        errors = [_disagreement(*self._samples(grid, motion, t)) for motion in motions]
        return _Tried(motions, errors, _disagreement(self.gray_a, self.gray_b))

    def _samples(self, grid: _Field, motion: _Field, t: float) -> tuple[_Frame, _Frame]:
        return _sample(self.gray_a, _move(grid, motion, -t)), _sample(self.gray_b, _move(grid, motion, 1 - t))


@dataclass(frozen=True, eq=False)
class _Tried:
    """Motions that were tried, how much the samples disagree that each leads to, and those of nothing that moves."""

    motions: Sequence[_Field]
    errors: Sequence[_Frame]
    still: _Frame

    @cached_property
    def least(self) -> _Frame:
        """(h, w) disagreement of the best motion at each place."""
        return np.asarray(np.minimum.reduce([*self.errors, self.still]), dtype=np.float32)

    def blend(self) -> _Field:
        """Return the mean of the motions, weighted by how well their samples agree."""
        weights = [_weight(error, self.least) for error in self.errors]
        total = sum(weights, start=_weight(self.still, self.least))
        motion = np.zeros_like(self.motions[0])
        for weight, tried in zip(weights, self.motions, strict=True):
            share = cv2.divide(weight, total)
            motion += cv2.multiply(cv2.merge([share, share]), tried)
        return motion


def _send(flow: _Field, by: float) -> _Field:
    """Return the motion, in pixels from one frame to the other, that a frame's flow sends to each place of a time."""
    grid, sent = _grid(*flow.shape[:2]), flow
    for _ in range(_FIXED_POINT_ROUNDS):
        sent = _sample(flow, _move(grid, sent, by))
    return sent


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


def _is_inside(places: _Field, size: tuple[int, int]) -> _Mask:
    height, width = size
    return np.asarray(cv2.inRange(places, (-0.5, -0.5), (width - 0.5, height - 0.5)), dtype=np.uint8)


def _sample(image: _Frame, places: _Field, method: int = cv2.INTER_LINEAR) -> _Frame:
    sampled = cv2.remap(image, places, None, method, borderMode=cv2.BORDER_REPLICATE)  # type: ignore[call-overload]
    return np.asarray(sampled, dtype=np.float32)


def _sample_larger(name: str, side: _Side, motion: _Field, by: float) -> NDArray[np.uint16]:
    """Sample an enlarged frame where a part of the motion, in its pixels, leads to; the result is scratch."""
    height, width = motion.shape[:2]
    places = cv2.scaleAdd(motion, by, _grid_of_larger(height, width), _scratch.array("places", height, width, 2))
    sampled = _scratch.levels(name, height, width, 4)
    cv2.remap(side.larger, places, None, cv2.INTER_LINEAR, sampled, cv2.BORDER_REPLICATE)  # type: ignore[call-overload]
    return sampled
