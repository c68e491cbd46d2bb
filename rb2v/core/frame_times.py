"""Times of a recording's frames: their rate, the rounding of containers, missing frames and repeated ones."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

MAX_FRAMES = 10_000_000
"""No recording is longer: 27 hours at 100 frames per second."""
GAP_FRAMES = 1.5
"""A longer step between two frames, in usual steps, holds a missing frame."""
MAX_REPEATED_SHARE = 0.15
"""Of a recording's frames; conversions between frame rates repeat more (25 to 30 fps repeats 17 %), and then the times
of the other frames are wrong, too."""
MAX_JITTER = 0.25
"""Of the usual step between frames, see `frame_jitter`: half a step of the fine track of a rig that doubles the rate.
Times that vary by more do not tell when frames were recorded."""

_MAX_ROUNDING_TICKS = 1.1  # rounding to the nearest tick spans one, and the line's own error is added
_TICKS_WORTH_EVENING = 1000  # a step of more ticks is known to 0.1 % of a frame anyway
_COMPARED_WIDTH_PX = 128  # of the longer side: motion of some pixels still shows, and the encoder's noise is averaged
_N_BLOCKS = 8  # along either side, so that a moving hand or face fills some blocks
_N_WORST_BLOCKS = 8  # of the 64 blocks: motion may fill a small part of the image
_MIN_MOTION_LEVELS = 1.0  # below, encoders repeat frames of their own accord
_REPEAT_SHARES = ((0.3, 0.6), (0.45, 0.85))
"""Of the usual difference: below the first a frame is a repeat where both neighbors keep the second. Where motion turns
round they keep 0.3 to 0.5, and coarse encoding makes repeats differ (docs/recordings.md)."""

_CLIPPED_LEVEL = 235  # white of limited range; that of full range lies above
_MAX_CLIPPED_SHARE = 0.5  # of the pixels; frames that are clipped further look alike whatever they show
_REACH = 5  # frames to either side that tell what is usual
_MAX_RUN = 4  # longer freezes have no time that is known


def frame_step(times: NDArray[np.float64]) -> float:
    """Return the usual step between neighboring frames, 0 for a single frame.

    The mean over all steps that are no gap, because containers may round times to milliseconds.
    """
    steps = np.diff(times)
    if not len(steps):
        return 0.0
    median = float(np.median(steps))
    usual = steps[np.abs(steps - median) < median / 2]
    return float(np.mean(usual)) if len(usual) else median


def frame_jitter(times: NDArray[np.float64], tick_seconds: float) -> float:
    """Return by how much steps between neighboring frames vary: the 95th percentile, relative to the usual step.

    Gaps are left out, and what the rounding to a container's ticks explains counts as 0.

    Examples
    --------
    >>> round(frame_jitter(np.array([0.0, 0.05, 0.08, 0.13, 0.16]), 1e-6), 3)
    0.25
    """
    step = frame_step(times)
    steps = np.diff(times)
    steps = steps[steps < GAP_FRAMES * step]
    if not len(steps):
        return 0.0
    jitter = float(np.percentile(np.abs(steps - step), 95))
    return jitter / step if jitter > _MAX_ROUNDING_TICKS * tick_seconds else 0.0


def even_times(times: NDArray[np.float64], tick_seconds: float) -> NDArray[np.float64]:
    """Undo the rounding of times to a container's ticks, where the frames are evenly spaced within it.

    Parameters
    ----------
    times : (n,) ndarray of float64
        Presentation times in seconds, ascending.
    tick_seconds : float
        The container's unit of time.

    Returns
    -------
    (n,) ndarray of float64
        Times on one line, gaps kept; the given ones where the ticks are fine, or no line explains them.

    Examples
    --------
    >>> even_times(np.array([0.0, 0.033, 0.067, 0.1]), 0.001).round(4).tolist()
    [-0.0001, 0.0333, 0.0667, 0.1001]
    """
    step = frame_step(times)
    if len(times) < 3 or step <= 0 or step > _TICKS_WORTH_EVENING * tick_seconds:
        return times
    # From frame to frame, because a rate that is slightly off adds up.
    places = np.concatenate([[0.0], np.cumsum(np.maximum(np.rint(np.diff(times) / step), 1.0))])
    slope, offset = np.polyfit(places, times, 1)
    even = np.asarray(offset + slope * places, dtype=np.float64)
    residuals = times - even
    if residuals.max() - residuals.min() > _MAX_ROUNDING_TICKS * tick_seconds:
        return times
    return even


def count_missing_frames(times: NDArray[np.float64]) -> int:
    """Return how many frames are missing by the gaps between those that are there."""
    step = frame_step(times)
    if step <= 0:
        return 0
    gaps = np.round(np.diff(times) / step) - 1
    total = float(gaps[gaps > 0].sum())
    return int(min(total, MAX_FRAMES)) if math.isfinite(total) else MAX_FRAMES


def thumbnail(luma: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return a small copy of an (H, W) image, for `difference_levels`."""
    height, width = luma.shape
    scale = min(_COMPARED_WIDTH_PX / max(width, height), 1.0)
    size = (max(round(scale * width), 1), max(round(scale * height), 1))
    return np.asarray(cv2.resize(luma, size, interpolation=cv2.INTER_AREA), dtype=np.float32)


def difference_levels(before: NDArray[np.float32], after: NDArray[np.float32]) -> float:
    """Return by how many levels two thumbnails differ where they differ most: the mean over an eighth of the area.

    NaN where one is mostly clipped: such images look alike, whatever moves.
    """
    if before.shape != after.shape:
        return math.inf
    most_clipped = max(np.count_nonzero(image >= _CLIPPED_LEVEL) for image in (before, after))
    if most_clipped > _MAX_CLIPPED_SHARE * before.size:
        return math.nan
    # Lamps that flicker make frames alike by chance; a repeat is alike under any gain.
    gain = np.float32(float(before.mean()) / max(float(after.mean()), 1.0))
    difference = cv2.absdiff(before, after * gain)
    size = (min(_N_BLOCKS, difference.shape[1]), min(_N_BLOCKS, difference.shape[0]))
    blocks = np.sort(cv2.resize(difference, size, interpolation=cv2.INTER_AREA), axis=None)
    return float(blocks[-_N_WORST_BLOCKS:].mean())


def find_repeats(differences: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Find frames that repeat the one before them while the frames around them move.

    Converters and capture cards fill lost frames so, and change frame rates so (2:3 pulldown). Where a motion turns
    round two frames are alike, too, but then their neighbors move less than usual.

    Parameters
    ----------
    differences : (n - 1,) ndarray of float64
        `difference_levels` from each frame to the next; NaN where it is not known.

    Returns
    -------
    (n,) ndarray of bool
        Whether a frame repeats its predecessor. Runs of more than four are a freeze, not repeats.

    Examples
    --------
    >>> find_repeats(np.array([5.0, 5, 5, 0.1, 9, 5, 5])).tolist()
    [False, False, False, False, True, False, False, False]
    """
    n = len(differences)
    repeated = np.zeros(n + 1, dtype=bool)
    if n < 3:
        return repeated
    padded = np.pad(differences, _REACH, constant_values=np.nan)
    around = np.lib.stride_tricks.sliding_window_view(padded, 2 * _REACH + 1)
    # A high percentile, because of 25 frames shown at 100 three of four are repeats.
    usual = np.percentile(np.where(np.isfinite(around), around, -1.0), 85, axis=1)
    is_moving = usual >= _MIN_MOTION_LEVELS
    for max_share, min_edge_share in _REPEAT_SHARES:
        is_small = is_moving & (differences < max_share * usual)
        starts = np.flatnonzero(np.diff(np.concatenate([[False], is_small])) & is_small)
        for start in starts:
            end = start + int(np.argmin(np.append(is_small[start:], False)))
            edges = differences[[index for index in (start - 1, end) if 0 <= index < n]]
            if end - start <= _MAX_RUN and np.all(edges >= min_edge_share * usual[start:end].min()):
                repeated[start + 1 : end + 1] = True
    return repeated
