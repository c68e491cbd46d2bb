"""Quality gates: sequences rejected for cuts, repeats, no motion, blur, black bars and uneven times."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from rb2v.choices import RejectionName
from rb2v.core.frame_quality import Bars, find_bars, sharpness
from rb2v.core.frame_times import difference_levels, even_times, frame_step, thumbnail
from rb2v.interpolation.guarded import is_scene_cut
from rb2v.stages.synthesize.config import SynthesizeConfig

REJECTIONS: Mapping[RejectionName, str] = MappingProxyType(
    {
        "bars": "black bars are burnt into the frames",
        "slow-motion": "the frames are shown at another rate than the rest of the clip: a stretch of slow motion",
        "variable-rate": "the times between the frames vary: the rate is variable, or frames are missing",
        "cut": "the scene changes inside the sequence",
        "static": "nothing moves",
        "repeat": "a frame repeats the one before it, as rate conversion leaves it",
        "blurred": "a frame is blurred itself, compared with its scene",
    }
)
"""Why a sequence was rejected, by the code in the table's ``reason`` column; the first that applies counts."""

_CUT_RISE = 1.5  # of the difference to the frame before; of 4200 cuts between recorded clips none rose by less than 2.5
REACH = 5
"""Frames to either side of a step that tell the usual difference."""
_REPEAT_SHARE = 0.3  # of the median difference; docs/synthesize.md, measured on repeats in recorded clips
_REPEAT_SHARE_OF_LARGE = 0.15  # of the 85th percentile, where every second frame or more is a repeat
_MIN_USUAL_LEVELS = 1.5  # below, what an encoder leaves of a repeat is no smaller than motion
_MIN_BAR_PX = 3  # cameras leave a dark line or two at a border; letterboxes are wider
_NO_BARS = Bars(0, 0, 0, 0)
_ROUNDING_TICKS = 1.1  # by which steps vary where a container rounds times to its ticks


@dataclass(frozen=True, eq=False)
class ClipMeasures:
    """Measures of a clip's n frames, of which the sequences have r each."""

    times: NDArray[np.float64] | None
    """(n,) in seconds, as decoded; None where frames have none."""
    tick_seconds: float
    differences: NDArray[np.float64]
    """(n - 1,) levels by which each frame differs from the one before it."""
    spans: NDArray[np.float64]
    """(n - r + 1,) levels by which the last frame of a sequence differs from the first."""
    cuts: NDArray[np.bool_]
    """(n - 1,) whether the scene changes from one frame to the next."""
    sharpness: NDArray[np.float64]
    """(n,) see `rb2v.core.frame_quality.sharpness`."""
    bars: NDArray[np.int64]
    """(n, 4) see `rb2v.core.frame_quality.find_bars`."""

    @property
    def n_frames(self) -> int:
        """Frames of the clip."""
        return len(self.sharpness)

    @property
    def fps(self) -> float:
        """Frames a second by their times; NaN where there are none."""
        step = 0.0 if self.times is None else frame_step(even_times(self.times, self.tick_seconds))
        return 1 / step if step > 0 else math.nan


class ClipMeter:
    """Measures the frames of a clip one by one.

    Parameters
    ----------
    n_recorded : int
        Frames of a sequence.
    tick_seconds : float
        The unit of the times.
    has_times : bool
        Whether the times are known.
    """

    def __init__(self, n_recorded: int, *, tick_seconds: float, has_times: bool) -> None:
        self._n_recorded, self._tick_seconds, self._has_times = n_recorded, tick_seconds, has_times
        self._times: list[float] = []
        self._differences: list[float] = []
        self._spans: list[float] = []
        self._cuts: list[bool] = []
        self._sharp: list[float] = []
        self._bars: list[Bars] = []
        self._uncut = 0.0  # the latest difference that is no cut
        self._recent: deque[NDArray[np.float32]] = deque(maxlen=n_recorded)

    @property
    def n_frames(self) -> int:
        """Frames measured so far."""
        return len(self._times)

    def add(self, time_seconds: float, luma: NDArray[np.uint8]) -> None:
        """Measure the next frame: its time, and its (H, W) luma."""
        seen = thumbnail(luma)
        if self._recent:
            difference = difference_levels(self._recent[-1], seen)
            # A cut stands out of the motion before it; looking closer takes longer than all else.
            stands_out = not difference <= _CUT_RISE * self._uncut
            is_cut = stands_out and is_scene_cut(_as_image(self._recent[-1]), _as_image(seen), coded=True)
            self._uncut = self._uncut if is_cut else difference
            self._differences.append(difference)
            self._cuts.append(is_cut)
        self._recent.append(seen)
        if len(self._recent) == self._n_recorded:
            self._spans.append(difference_levels(self._recent[0], seen))
        self._times.append(time_seconds)
        self._sharp.append(sharpness(luma))
        self._bars.append(find_bars(luma))

    def pass_over(self, time_seconds: float) -> None:
        """Count the next frame without a look at it."""
        if self._times:
            self._differences.append(math.nan)
            self._cuts.append(False)
        self._times.append(time_seconds)
        if len(self._times) >= self._n_recorded:
            self._spans.append(math.nan)
        self._sharp.append(math.nan)
        self._bars.append(_NO_BARS)

    def measures(self, start: int = 0) -> ClipMeasures:
        """Return the measures so far, of the frames from one on."""
        return ClipMeasures(
            times=np.array(self._times[start:]) if self._has_times else None,
            tick_seconds=self._tick_seconds,
            differences=np.array(self._differences[start:], dtype=np.float64),
            spans=np.array(self._spans[start:], dtype=np.float64),
            cuts=np.array(self._cuts[start:], dtype=bool),
            sharpness=np.array(self._sharp[start:], dtype=np.float64),
            bars=np.array(self._bars[start:], dtype=np.int64).reshape(-1, 4),
        )


def _as_image(seen: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.repeat(seen[..., None] / np.float32(255), 3, axis=2)


@dataclass(frozen=True)
class Judgment:
    """A sequence of a clip, and whether it is taken."""

    index: int
    """Of the sequence within its clip."""
    start: int
    """Index of its first recorded frame."""
    time: float
    """Presentation time of that frame in seconds; NaN where frames have none."""
    reason: str
    """A key of `REJECTIONS`, or empty."""
    motion_levels: float
    """Levels by which the frames differ most."""
    sharpness: float
    """Of its least sharp frame, relative to the median of its scene."""


def judge_sequences(measures: ClipMeasures, config: SynthesizeConfig) -> list[Judgment]:
    """Return a judgment on every sequence of a clip."""
    n_recorded = config.recorded_per_sequence
    if measures.n_frames < n_recorded:
        return []
    scenes = np.concatenate([[0], np.cumsum(measures.cuts)])
    relative = _relative_sharpness(measures.sharpness, scenes)
    has_bars = _find_barred(measures.bars, scenes)
    repeats = find_small_steps(measures.differences)
    slow, uneven = _judge_steps(measures, config)
    judged = []
    for index, start in enumerate(range(0, measures.n_frames - n_recorded + 1, config.frames_per_stride)):
        frames, steps = slice(start, start + n_recorded), slice(start, start + n_recorded - 1)
        motion_levels = float(np.fmax.reduce([*measures.differences[steps], measures.spans[start]]))
        sharpest = relative[frames]
        least = float(np.nanmin(sharpest)) if np.isfinite(sharpest).any() else math.nan
        found: dict[RejectionName, bool] = {
            "bars": bool(has_bars[frames].any()),
            "slow-motion": bool(slow[start]),
            "variable-rate": bool(uneven[start]),
            "cut": bool(measures.cuts[steps].any()),
            "static": motion_levels < config.min_motion_levels,
            "repeat": bool(repeats[steps].any()),
            "blurred": least < config.min_sharpness,
        }
        wanted = (name for name, applies in found.items() if applies and name not in config.keep)
        reason = next(wanted, "") if config.reject else ""
        seconds = math.nan if measures.times is None else float(measures.times[start])
        judged.append(Judgment(index, start, seconds, reason, motion_levels, least))
    return judged


def find_small_steps(differences: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Find the steps from one frame to the next that are so small that the second frame repeats the first.

    `rb2v.core.frame_times.find_repeats` keeps to what is certain, because times depend on it: it leaves out a repeat
    next to a slow frame. Here a good sequence may be lost, and a repeat must not be averaged.

    Parameters
    ----------
    differences : (n,) ndarray of float64
        `difference_levels` of every step; NaN where it is not known.

    Returns
    -------
    (n,) ndarray of bool

    Examples
    --------
    >>> find_small_steps(np.array([5.0, 5, 4, 0.4, 6, 5, 5])).tolist()
    [False, False, False, True, False, False, False]
    """
    if not len(differences):
        return np.zeros(0, dtype=bool)
    padded = np.pad(differences, REACH, constant_values=np.nan)
    around = np.lib.stride_tricks.sliding_window_view(padded, 2 * REACH + 1)
    # Rows without any value are of frames that are clipped throughout.
    known = np.where(np.asarray(np.isfinite(around).any(axis=1))[:, None], around, 0.0)
    median, large = np.nanpercentile(known, [50, 85], axis=1)
    is_small = (differences < _REPEAT_SHARE * median) | (differences < _REPEAT_SHARE_OF_LARGE * large)
    return np.asarray(is_small & (large >= _MIN_USUAL_LEVELS))


def _relative_sharpness(sharp: NDArray[np.float64], scenes: NDArray[np.int64]) -> NDArray[np.float64]:
    relative = np.full(len(sharp), np.nan)
    for scene in range(int(scenes[-1]) + 1):
        frames = scenes == scene
        known = sharp[frames][np.isfinite(sharp[frames])]
        if len(known) and np.median(known) > 0:
            relative[frames] = sharp[frames] / np.median(known)
    return relative


def _find_barred(bars: NDArray[np.int64], scenes: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return whether the scene of each frame has a bar: what is dark in one frame alone is none."""
    barred = np.zeros(len(bars), dtype=bool)
    for scene in range(int(scenes[-1]) + 1):
        frames = scenes == scene
        barred[frames] = bool((bars[frames].min(axis=0) >= _MIN_BAR_PX).any())
    return barred


def _judge_steps(measures: ClipMeasures, config: SynthesizeConfig) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return of every start whether the frames run at another rate than usual, and whether their steps vary."""
    n_steps = config.recorded_per_sequence - 1
    n_starts = measures.n_frames - n_steps
    usual = 0.0
    if measures.times is not None:
        times = even_times(measures.times, measures.tick_seconds)
        usual = frame_step(times)
    if usual <= 0 or measures.times is None:
        return np.zeros(n_starts, dtype=bool), np.zeros(n_starts, dtype=bool)
    limit = max(config.max_jitter * usual, _ROUNDING_TICKS * measures.tick_seconds)
    steps = np.lib.stride_tricks.sliding_window_view(np.diff(times), n_steps)
    means = steps.mean(axis=1)
    uneven = np.abs(steps - means[:, None]).max(axis=1) > limit * np.maximum(means / usual, 1)
    return (np.abs(means - usual) > limit) & ~uneven, uneven
