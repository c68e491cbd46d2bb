"""Common rules of the interpolation methods: the frames that they are given, and those that they never see."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from rb2v.core.color import Response, encode, to_linear
from rb2v.errors import InputError

if TYPE_CHECKING:
    from rb2v.interpolation import Interpolator

_SumMaker = Callable[
    [NDArray[np.float32], NDArray[np.float32], Sequence[float], Sequence[float], int],
    tuple[list[NDArray[np.float32]], NDArray[np.float32]],
]

logger = logging.getLogger(__name__)

_MIN_SIDE_PX = 64  # smaller frames leave the coarse levels of a flow or a network nothing
_JUDGED_SIZE_PX = 64  # for which the limits below were found (docs/interpolation.md, scene cuts)
_MIN_JUDGED_SIZE_PX = 32  # smaller frames hold too little to be told apart
_MAX_RETURN_ERROR_PX = 1.0  # measured in docs/interpolation.md, scene cuts
_MIN_RETURNING_SHARE = 0.6  # measured in docs/interpolation.md, scene cuts
_N_SEEN = 3  # frames; where frames follow each other the second of a pair is the first of the next
_MIN_CORRELATION = 0.7  # measured in docs/interpolation.md, scene cuts
_ALIKE_CORRELATION = 0.95  # 6,216 pairs of different scenes reached 0.91 as they are


class GuardedInterpolator:
    """An interpolation method that is given only frames that it can work with.

    Frames of 8 bits hold coded values, and frames of 8 bits are returned for them. Across a scene cut the nearer frame
    is returned, and a warning logged: what lies between two scenes is neither.

    Parameters
    ----------
    method : Interpolator
        The method itself.
    response : {"linear", "srgb"} or float
        What the frames are, or would be, encoded with; ``"linear"`` where floats are coded already.
    """

    def __init__(self, method: Interpolator, response: Response = "srgb") -> None:
        self._method = method
        self._response: Response = response
        self._seen = _Seen()

    def between(
        self,
        frame_a: NDArray[np.float32],
        frame_b: NDArray[np.float32],
        times: Sequence[float],
        *,
        averaged: Collection[float] = (),
    ) -> list[NDArray[np.float32]]:
        """Return the frames at times between two frames, see `rb2v.interpolation.Interpolator`.

        Parameters
        ----------
        frame_a, frame_b : (H, W, 3) ndarray of float or uint8
            Neighboring frames of one size and kind: in linear light in 0..1, or 8-bit coded values.
        times : sequence of float
            Times in 0..1.
        averaged : collection of float
            Those of the times whose frames are only ever averaged with others.

        Returns
        -------
        list of (H, W, 3) ndarray of float32 or uint8
            One frame per time, of the frames' kind; at 0 and 1 the given frames themselves.

        Raises
        ------
        InputError
            If a frame is of another form, holds values that are not finite, or differs from the other in size or kind,
            or if a time lies outside 0..1.
        """
        self._check(frame_a, frame_b, times)
        if all(time in (0, 1) for time in times):
            return [frame_b if time else frame_a for time in times]
        if frame_a.dtype == np.uint8:
            linear_a, linear_b = to_linear(frame_a, self._response), to_linear(frame_b, self._response)
        else:
            linear_a, linear_b = (np.ascontiguousarray(frame, dtype=np.float32) for frame in (frame_a, frame_b))
        if self._is_cut(linear_a, linear_b):
            return [frame_a if time <= 0.5 else frame_b for time in times]
        made = _between_tiny(self._method, linear_a, linear_b, times, averaged)
        if frame_a.dtype != np.uint8:
            return made
        ends: dict[float, NDArray[np.float32]] = {0.0: frame_a, 1.0: frame_b}
        return [
            ends[time] if time in ends else encode(frame, self._response)  # type: ignore[misc]
            for time, frame in zip(times, made, strict=True)
        ]

    def between_and_sum(
        self,
        frame_a: NDArray[np.float32],
        frame_b: NDArray[np.float32],
        times: Sequence[float],
        summed: Sequence[float],
        stride: int = 1,
    ) -> tuple[list[NDArray[np.float32]], NDArray[np.float32]]:
        """Return the frames at times between two frames, and the sum of those at others.

        Methods that have a ``between_and_sum`` of their own make the sum without the frames.

        Parameters
        ----------
        frame_a, frame_b : (H, W, 3) ndarray of float32
            Neighboring frames of one size, in linear light in 0..1.
        times : sequence of float
            Times in 0..1.
        summed : sequence of float
            Times between 0 and 1 of the frames that are only summed, which may be sampled more cheaply.
        stride : int
            Rows and columns of which one is summed, from the first on; all by default.

        Returns
        -------
        frames : list of (H, W, 3) ndarray of float32
            One per time of ``times``; at 0 and 1 the given frames themselves.
        total : (H', W', 3) ndarray of float32
            The sum, in every ``stride``-th row and column; all 0 where ``summed`` is empty.

        Raises
        ------
        InputError
            As `between`.
        """
        summing: _SumMaker | None = getattr(self._method, "between_and_sum", None)
        is_large = min(frame_a.shape[:2]) >= _MIN_SIDE_PX and frame_a.dtype == np.float32
        if summing is None or not is_large or not summed:
            # Once for all, so that motion is estimated once.
            order = list(dict.fromkeys((*times, *summed)))
            made = self.between(frame_a, frame_b, order, averaged=set(summed) - set(times))
            frames = dict(zip(order, made, strict=True))
        else:
            self._check(frame_a, frame_b, (*times, *summed))
            if not self._is_cut(frame_a, frame_b):
                return summing(frame_a, frame_b, times, summed, stride)
            frames = {time: frame_a if time <= 0.5 else frame_b for time in (*times, *summed)}
        total = np.zeros(frame_a[::stride, ::stride].shape, dtype=np.float32)
        for time in summed:
            total += frames[time][::stride, ::stride]
        return [frames[time] for time in times], total

    def is_scene_cut(self, frame_a: NDArray[np.float32], frame_b: NDArray[np.float32]) -> bool:
        """Return whether two frames show different scenes, see the function `is_scene_cut`."""
        small_a, small_b = self._judged(frame_a), self._judged(frame_b)
        return small_a is not None and small_b is not None and _is_cut_between(small_a, small_b)

    def _judged(self, frame: NDArray[np.float32]) -> NDArray[np.uint8] | None:
        for known, small in self._seen.frames:
            if known is frame:
                return small
        small = _judged(frame, coded=self._response == "linear")
        if not frame.flags.writeable:
            self._seen.frames = [*self._seen.frames[-_N_SEEN + 1 :], (frame, small)]
        return small

    def _check(self, frame_a: NDArray[np.generic], frame_b: NDArray[np.generic], times: Sequence[float]) -> None:
        for name, frame in (("frame_a", frame_a), ("frame_b", frame_b)):
            if not any(known is frame for known, _ in self._seen.frames):
                _check_frame(name, frame)
        for what, first, second in (("shape", frame_a.shape, frame_b.shape), ("type", frame_a.dtype, frame_b.dtype)):
            if first != second:
                raise InputError("frame_b", f"is of {what} {second}", expected=f"{first}, as frame_a is")
        for time in times:
            if not 0 <= time <= 1:
                raise InputError("times", f"{time} lies outside of the two frames", expected="0 to 1")

    def _is_cut(self, frame_a: NDArray[np.float32], frame_b: NDArray[np.float32]) -> bool:
        if not self.is_scene_cut(frame_a, frame_b):
            return False
        logger.warning("the scene changes between two frames: the nearer one is taken for those between")
        return True


class _Seen(threading.local):
    """Frames of the last pairs that nobody may write, and by what they are judged."""

    def __init__(self) -> None:
        self.frames: list[tuple[NDArray[np.float32], NDArray[np.uint8] | None]] = []


def is_scene_cut(frame_a: NDArray[np.float32], frame_b: NDArray[np.float32], *, coded: bool = False) -> bool:
    """Return whether two frames show different scenes: nearly nothing of either is found in the other.

    Between small versions of the frames flow is sought both ways. It is a cut where most places do not come back to
    themselves by both flows, and where either frame, brought to the other by its flow, still correlates little with
    it. Neither fast motion, nor noise, nor a flash of light does both. Frames with a side of less than 32 pixels are
    never told to be cut.

    Parameters
    ----------
    frame_a, frame_b : (H, W, 3) ndarray of float32
        Frames of one size, in 0..1.
    coded : bool
        Whether they hold coded values; otherwise they are in linear light.
    """
    small_a, small_b = (_judged(frame, coded=coded) for frame in (frame_a, frame_b))
    return small_a is not None and small_b is not None and _is_cut_between(small_a, small_b)


def _judged(frame: NDArray[np.float32], *, coded: bool) -> NDArray[np.uint8] | None:
    """Return a small gray version of a frame by which scene cuts are told; None of a frame that is too small."""
    height, width = frame.shape[:2]
    shorter = min(height, width)
    if shorter < _MIN_JUDGED_SIZE_PX:
        return None
    scale = min(_JUDGED_SIZE_PX / shorter, 1.0)
    return _small_gray(frame, (round(width * scale), round(height * scale)), coded=coded)


def _is_cut_between(gray_a: NDArray[np.uint8], gray_b: NDArray[np.uint8]) -> bool:
    size = gray_a.shape[1::-1]
    first, second = gray_a.astype(np.float32), gray_b.astype(np.float32)
    # As most neighbors are: no flow is needed to find one in the other.
    if _correlation(first, second) > _ALIKE_CORRELATION:
        return False
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    flow_ab = np.asarray(dis.calc(gray_a, gray_b, None), dtype=np.float32)  # type: ignore[call-overload]
    flow_ba = np.asarray(dis.calc(gray_b, gray_a, None), dtype=np.float32)  # type: ignore[call-overload]
    y, x = np.mgrid[: size[1], : size[0]].astype(np.float32)
    to_b, to_a = np.dstack([x, y]) + flow_ab, np.dstack([x, y]) + flow_ba
    returning = min(
        _returning_share(flow_ab, _sample(flow_ba, to_b)), _returning_share(flow_ba, _sample(flow_ab, to_a))
    )
    if returning >= _MIN_RETURNING_SHARE:
        return False
    correlation = min(_correlation(first, _sample(second, to_b)), _correlation(second, _sample(first, to_a)))
    return correlation < _MIN_CORRELATION


def _check_frame(name: str, frame: NDArray[np.generic]) -> None:
    if frame.ndim != 3 or frame.shape[2] != 3 or 0 in frame.shape:
        raise InputError(name, f"is of shape {frame.shape}", expected="(H, W, 3)")
    if frame.dtype != np.uint8 and frame.dtype.kind != "f":
        raise InputError(name, f"is of type {frame.dtype}", expected="float or uint8")
    # The sum of values is finite where all of them are, and much faster to ask.
    if frame.dtype.kind == "f" and not _is_finite(frame):
        raise InputError(name, "holds values that are not finite", expected="0..1")


def _is_finite(frame: NDArray[np.generic]) -> bool:
    """Return whether all values of a frame of floats are finite."""
    if frame.dtype == np.float32 and frame.flags.c_contiguous:
        return bool(np.isfinite(cv2.sumElems(np.asarray(frame, dtype=np.float32))).all())
    return bool(np.isfinite(np.sum(frame, dtype=np.float64)))


def _between_tiny(
    method: Interpolator,
    frame_a: NDArray[np.float32],
    frame_b: NDArray[np.float32],
    times: Sequence[float],
    averaged: Collection[float],
) -> list[NDArray[np.float32]]:
    """Let a method see frames with their last row and column repeated, where they are too small to be made smaller."""
    height, width = frame_a.shape[:2]
    below, right = (max(_MIN_SIDE_PX - side, 0) for side in (height, width))
    if not below and not right:
        return method.between(frame_a, frame_b, times, averaged=averaged)
    wide_a, wide_b = (
        np.asarray(cv2.copyMakeBorder(frame, 0, below, 0, right, cv2.BORDER_REPLICATE), dtype=np.float32)
        for frame in (frame_a, frame_b)
    )
    made = method.between(wide_a, wide_b, times, averaged=averaged)
    return [np.ascontiguousarray(frame[:height, :width]) for frame in made]


def _small_gray(frame: NDArray[np.float32], size: tuple[int, int], *, coded: bool) -> NDArray[np.uint8]:
    # Gray first: of one channel less is averaged.
    gray = cv2.cvtColor(np.ascontiguousarray(frame, dtype=np.float32), cv2.COLOR_RGB2GRAY)
    gray = np.clip(cv2.resize(gray, size, interpolation=cv2.INTER_AREA), 0, 1)
    return np.rint(255 * (gray if coded else np.sqrt(gray))).astype(np.uint8)


def _returning_share(flow: NDArray[np.float32], back: NDArray[np.float32]) -> float:
    return float(np.mean(np.linalg.norm(flow + back, axis=2) < _MAX_RETURN_ERROR_PX))


def _correlation(first: NDArray[np.float32], second: NDArray[np.float32]) -> float:
    first, second = first - first.mean(), second - second.mean()
    # One level of contrast is none.
    variances = max(float(np.square(first).mean()), 1.0) * max(float(np.square(second).mean()), 1.0)
    return float((first * second).mean()) / float(np.sqrt(variances))


def _sample(image: NDArray[np.float32], places: NDArray[np.float32]) -> NDArray[np.float32]:
    sampled = cv2.remap(image, places, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)  # type: ignore[call-overload]
    return np.asarray(sampled, dtype=np.float32)
