"""The flicker of lamps on mains current: twice the mains frequency, as a camera's frames sample it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LAMPS_HZ = (100.0, 120.0)
"""Twice the mains frequencies of the world: lamps are bright at both ends of every wave."""

_DARK_LINEAR = 0.01  # of linear light, added to both frames, so that noise in the dark is no change of light
_MAINS_DEVIATION = 0.005  # relative; grids keep their frequency within half a percent
_LEAST_BEAT_HZ = 2.0  # slower beats cannot be told from light that changes, and disturb no window
_MIN_SECONDS = 0.5  # of a recording, to tell a beat
_WINDOW_SECONDS = 1.0  # over which phase and amplitude are constant: mains drift by less than a tenth of a turn
_N_FREQUENCIES = 41  # tried within the deviation; at 20 Hz 0.06 Hz apart, a fraction of what a second resolves
_MIN_EXPLAINED = 0.6  # of the variance of changes from frame to frame; a choice, not measured on real takes
_MIN_AMPLITUDE = 0.004  # relative; less is a level of 255 at most


@dataclass(frozen=True, eq=False)
class Flicker:
    """Light of a recording that beats with the mains."""

    lamps_hz: float
    """100 or 120."""
    amplitude: float
    """Of the light, relative to its mean."""
    gains: NDArray[np.float64]
    """(n,) light of each frame over that of lamps that do not flicker."""


def light_change(
    before: NDArray[np.floating] | NDArray[np.unsignedinteger],
    after: NDArray[np.floating] | NDArray[np.unsignedinteger],
    full: float = 1.0,
) -> float:
    """Return by how much the light of a scene changes from one frame to the next, relative.

    The median over pixels tells it apart from what moves, as long as that covers less than half of the image.

    Parameters
    ----------
    before, after : (n, 3) ndarray
        Pixels of both frames, linear light.
    full : float, optional
        What stands for full light.
    """
    floor = _DARK_LINEAR * full
    ratios = (after.mean(axis=1) + floor) / (before.mean(axis=1) + floor)
    return float(np.median(ratios)) - 1.0


def find_flicker(changes: NDArray[np.float64], fps: float) -> Flicker | None:
    """Find the flicker of lamps in the light of frames; None where none explains how it changes.

    Parameters
    ----------
    changes : (n - 1,) ndarray of float64
        Relative change of the light from each frame to the next.
    fps : float
        Frames per second.

    Examples
    --------
    >>> light = 1 + 0.1 * np.sin(2 * np.pi * 120 * np.arange(200) / 100)
    >>> found = find_flicker(light[1:] / light[:-1] - 1, 100.0)
    >>> found.lamps_hz, round(found.amplitude, 2)
    (120.0, 0.1)
    """
    n = len(changes) + 1
    if n < _MIN_SECONDS * fps:
        return None
    steps = np.log1p(np.clip(changes, -0.9, None))
    steps = steps - steps.mean()
    total = float(steps @ steps)
    best: tuple[float, float, float] | None = None
    for lamps_hz in LAMPS_HZ:
        beat = abs(lamps_hz - fps * round(lamps_hz / fps))
        if beat < _LEAST_BEAT_HZ:
            continue
        for share in np.linspace(-_MAINS_DEVIATION, _MAINS_DEVIATION, _N_FREQUENCIES):
            frequency = beat + share * lamps_hz
            if frequency < _LEAST_BEAT_HZ / 2:
                continue
            waves = np.diff(_waves(n, frequency, fps), axis=0)
            explained = steps @ (waves @ np.linalg.lstsq(waves, steps)[0])
            if best is None or explained > best[0]:
                best = float(explained), lamps_hz, float(frequency)
    if best is None or total <= 0 or best[0] < _MIN_EXPLAINED * total:
        return None
    levels = _levels(steps, best[2], fps)
    amplitude = float(np.sqrt(2) * levels.std())
    if amplitude < _MIN_AMPLITUDE:
        return None
    return Flicker(best[1], amplitude, np.exp(levels))


def _waves(n: int, frequency: float, fps: float) -> NDArray[np.float64]:
    """Return sine and cosine of a frequency and of twice that, (n, 4), or (n, 2) where twice that is not sampled."""
    phases = 2 * np.pi * frequency * np.arange(n) / fps
    # Light is no pure sine where lamps follow the square of the current badly.
    orders = (1, 2) if 4 * frequency < fps * (1 - 2 * _MAINS_DEVIATION) else (1,)
    return np.column_stack([wave(order * phases) for order in orders for wave in (np.sin, np.cos)])


def _levels(steps: NDArray[np.float64], frequency: float, fps: float) -> NDArray[np.float64]:
    """Return the logarithm of each frame's gain, from waves that are fitted in overlapping windows."""
    n = len(steps) + 1
    width = min(round(_WINDOW_SECONDS * fps), n)
    starts = sorted({*range(0, n - width + 1, max(width // 2, 1)), n - width})
    total, weights = np.zeros(n), np.zeros(n)
    taper = np.hanning(width + 2)[1:-1]
    for start in starts:
        waves = _waves(width, frequency, fps)
        solution = np.linalg.lstsq(np.diff(waves, axis=0), steps[start : start + width - 1])[0]
        total[start : start + width] += taper * (waves @ solution)
        weights[start : start + width] += taper
    return np.asarray(total / weights, dtype=np.float64)
