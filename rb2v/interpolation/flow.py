"""Motion-compensated interpolation with dense optical flow (DIS), at any time between two frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from rb2v.core.color import Response

Effort = Literal["quick", "full"]

_REDUCTION = 2  # motions are compared at half the size, where flow has no finer detail, for a quarter of the work
_FIXED_POINT_ROUNDS = 2  # flow is smooth, so that each round takes a fraction of the error
_AGREEMENT_SIGMA_PX = 1.0  # at half the size: single pixels agree by chance
_AGREEMENT_SCALE = 0.005  # of coded light: motions that agree within about a level of 255 are blended

_Field = NDArray[np.float32]


class FlowInterpolator:
    """Sample both frames along one motion field of the time between them, and blend the two samples.

    The flow of each frame says where its own pixels go; the motion that passes a place *between* the frames has to be
    looked for. Several motions are tried at every place, and weighted by how well the two samples agree that
    each of them leads to: those that each frame's flow sends there, their mean, the flows found at the place itself,
    and standstill. Where a motion comes from beyond the rim of one frame, the other alone is sampled.

    Parameters
    ----------
    response : {"linear", "srgb"} or float
        ``"linear"`` where the frames that will be given hold coded values; otherwise motion is looked for in their
        square roots, because flow would find too little to hold on to in the dark tones of linear light.
    effort : {"full", "quick"}
        ``"quick"`` takes the flow of each frame at the place itself, and bilinear samples: about a fifth of the
        time, right where motion is smooth over its own length.

    References
    ----------
    .. [1] Kroeger et al., "Fast Optical Flow using Dense Inverse Search", ECCV 2016.
    .. [2] Baker et al., "A Database and Evaluation Methodology for Optical Flow", IJCV 2011, section 3.3.3.
    """

    def __init__(self, response: Response = "srgb", effort: Effort = "full") -> None:
        presets = {"quick": cv2.DISOPTICAL_FLOW_PRESET_FAST, "full": cv2.DISOPTICAL_FLOW_PRESET_MEDIUM}
        self._dis = cv2.DISOpticalFlow.create(presets[effort])
        self._is_coded, self._effort = response == "linear", effort
        self._grids: dict[tuple[int, int], _Field] = {}

    def between(
        self, frame_a: NDArray[np.float32], frame_b: NDArray[np.float32], times: Sequence[float]
    ) -> list[NDArray[np.float32]]:
        """Return the frames at times between two frames, see `rb2v.interpolation.Interpolator`."""
        if all(t in (0.0, 1.0) for t in times):
            return [frame_b if t else frame_a for t in times]
        gray_a, gray_b = self._gray8(frame_a), self._gray8(frame_b)
        flow_ab = np.asarray(self._dis.calc(gray_a, gray_b, None), dtype=np.float32)  # type: ignore[call-overload]
        flow_ba = np.asarray(self._dis.calc(gray_b, gray_a, None), dtype=np.float32)  # type: ignore[call-overload]
        pair = _Pair(frame_a, frame_b, flow_ab, flow_ba)
        reduced = self._reduce(pair) if self._effort == "full" else None
        frames = []
        for t in times:
            if t in (0.0, 1.0):
                frames.append(frame_b if t else frame_a)
            else:
                frames.append(self._quick(pair, t) if reduced is None else self._full(pair, reduced, t))
        return frames

    def _quick(self, pair: _Pair, t: float) -> NDArray[np.float32]:
        grid = self._grid(pair.frame_a.shape)
        from_a = _sample(pair.frame_a, grid - np.float32(t) * pair.flow_ab)
        from_b = _sample(pair.frame_b, grid - np.float32(1 - t) * pair.flow_ba)
        return np.asarray(cv2.addWeighted(from_a, 1 - t, from_b, t, 0.0), dtype=np.float32)

    def _full(self, pair: _Pair, reduced: _Pair, t: float) -> NDArray[np.float32]:
        reduced_grid = self._grid(reduced.frame_a.shape)
        motion = _motion_at(reduced, reduced_grid, t)
        share_b = _share_of_b(motion, reduced_grid, t)
        height, width = pair.frame_a.shape[:2]
        scale = np.divide((width, height), motion.shape[1::-1]).astype(np.float32)
        motion = np.asarray(cv2.resize(motion, (width, height), interpolation=cv2.INTER_LINEAR)) * scale
        grid = self._grid(pair.frame_a.shape)
        from_a = _sample(pair.frame_a, grid - np.float32(t) * motion, cv2.INTER_CUBIC)
        from_b = _sample(pair.frame_b, grid + np.float32(1 - t) * motion, cv2.INTER_CUBIC)
        if share_b is None:
            made = np.asarray(cv2.addWeighted(from_a, 1 - t, from_b, t, 0.0), dtype=np.float32)
        else:
            shares = np.asarray(cv2.resize(share_b, (width, height), interpolation=cv2.INTER_LINEAR))[..., None]
            made = np.asarray(from_a + shares * (from_b - from_a), dtype=np.float32)
        # Cubic samples overshoot at edges.
        return np.clip(made, 0, 1, out=made)

    def _reduce(self, pair: _Pair) -> _Pair:
        height, width = pair.frame_a.shape[:2]
        size = (-(-width // _REDUCTION), -(-height // _REDUCTION))
        scale = np.divide(size, (width, height)).astype(np.float32)
        frames = (cv2.resize(frame, size, interpolation=cv2.INTER_AREA) for frame in (pair.frame_a, pair.frame_b))
        coded_a, coded_b = (self._code(np.asarray(frame, dtype=np.float32)) for frame in frames)
        flows = (cv2.resize(flow, size, interpolation=cv2.INTER_AREA) for flow in (pair.flow_ab, pair.flow_ba))
        flow_ab, flow_ba = (np.asarray(flow * scale, dtype=np.float32) for flow in flows)
        return _Pair(coded_a, coded_b, flow_ab, flow_ba)

    def _code(self, frame: NDArray[np.float32]) -> NDArray[np.float32]:
        return frame if self._is_coded else np.sqrt(np.maximum(frame, 0))

    def _gray8(self, frame: NDArray[np.float32]) -> NDArray[np.uint8]:
        gray = np.asarray(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), dtype=np.float32)
        return np.rint(255 * self._code(np.clip(gray, 0, 1))).astype(np.uint8)

    def _grid(self, shape: tuple[int, ...]) -> _Field:
        height, width = shape[:2]
        if (height, width) not in self._grids:
            y, x = np.mgrid[:height, :width].astype(np.float32)
            self._grids[height, width] = np.dstack([x, y])
        return self._grids[height, width]


@dataclass(frozen=True, eq=False)
class _Pair:
    """Two frames (H, W, 3), and the flow (H, W, 2) in pixels from each to the other."""

    frame_a: NDArray[np.float32]
    frame_b: NDArray[np.float32]
    flow_ab: _Field
    flow_ba: _Field


def _motion_at(pair: _Pair, grid: _Field, t: float) -> _Field:
    """Return the (H, W, 2) motion from the first frame to the second of what is at each place at a time."""
    to_a, to_b = np.float32(t), np.float32(1 - t)
    sent_by_a, sent_by_b = pair.flow_ab, -pair.flow_ba
    backward = sent_by_b
    for _ in range(_FIXED_POINT_ROUNDS):
        sent_by_a = _sample(pair.flow_ab, grid - to_a * sent_by_a)
        sent_by_b = _sample(backward, grid + to_b * sent_by_b)
    found_here = to_b * pair.flow_ab - to_a * pair.flow_ba
    middle, still = np.float32(0.5) * (sent_by_a + sent_by_b), np.zeros_like(found_here)
    motions: list[_Field] = [sent_by_a, sent_by_b, middle, found_here, still]
    errors = [_disagreement(pair, grid, to_a, to_b, motion) for motion in motions]
    least = np.minimum.reduce(errors)
    weights = [np.exp((least - error) / np.float32(_AGREEMENT_SCALE)) for error in errors]
    total = sum(weights[1:], start=weights[0])
    motion = np.zeros_like(found_here)
    for weight, tried in zip(weights, motions, strict=True):
        motion += (weight / total)[..., None] * tried
    return motion


def _disagreement(pair: _Pair, grid: _Field, to_a: np.float32, to_b: np.float32, motion: _Field) -> NDArray[np.float32]:
    from_a, from_b = _sample(pair.frame_a, grid - to_a * motion), _sample(pair.frame_b, grid + to_b * motion)
    difference = cv2.transform(cv2.absdiff(from_a, from_b), np.full((1, 3), 1 / 3, dtype=np.float32))
    return np.asarray(cv2.GaussianBlur(difference, (0, 0), _AGREEMENT_SIGMA_PX), dtype=np.float32)


def _share_of_b(motion: _Field, grid: _Field, t: float) -> NDArray[np.float32] | None:
    """Return the second frame's (H, W) share in the blend, or None where it is the time everywhere."""
    sees_a = _is_inside(grid - np.float32(t) * motion)
    sees_b = _is_inside(grid + np.float32(1 - t) * motion)
    if np.array_equal(sees_a, sees_b):
        return None
    return np.where(sees_a == sees_b, np.float32(t), np.where(sees_b, np.float32(1), np.float32(0)))


def _is_inside(places: _Field) -> NDArray[np.bool_]:
    height, width = places.shape[:2]
    x, y = places[..., 0], places[..., 1]
    return np.asarray((x > -0.5) & (y > -0.5) & (x < width - 0.5) & (y < height - 0.5))


def _sample(
    image: NDArray[np.float32], places: NDArray[np.float32], method: int = cv2.INTER_LINEAR
) -> NDArray[np.float32]:
    sampled = cv2.remap(image, places, None, method, borderMode=cv2.BORDER_REPLICATE)  # type: ignore[call-overload]
    return np.asarray(sampled, dtype=np.float32)
