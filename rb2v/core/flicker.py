"""The flicker of lamps on mains current: twice the mains frequency, as a camera's frames sample it."""

from __future__ import annotations

import cmath
import dataclasses
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

LAMPS_HZ = (100.0, 120.0)
"""Twice the mains frequencies of the world: lamps are bright at both ends of every wave."""

N_BANDS = 8
"""Bands of rows: a read-out of 16 ms is two waves at most, and four bands of a wave tell it."""

_DARK_LINEAR = 0.01  # of linear light: below it noise would be a change of light
_BRIGHT_LINEAR = 0.05  # a coded value of 63, whose noise is 2 % and less
_CLIPPED_LINEAR = 0.93  # a coded value of 247: above it light may be clipped
_MIN_BRIGHT_SHARE = 0.1  # of a band's pixels; fewer may be a lamp that moves
_MAINS_DEVIATION = 0.005  # relative; grids keep their frequency within half a percent
_LEAST_BEAT_HZ = 2.0  # slower beats cannot be told from light that changes, and disturb no window
_MIN_SECONDS = 0.5  # of a recording, to tell a beat
_WINDOW_SECONDS = 1.0  # over which phase and amplitude are constant: mains drift by less than a tenth of a turn
_N_FREQUENCIES = 41  # tried within the deviation; at 20 Hz 0.06 Hz apart, a fraction of what a second resolves
_MIN_EXPLAINED = 0.6  # of the variance of changes from frame to frame; a choice, not measured on real takes
_MIN_STANDING = 5  # means, so that what moves by one of them is not taken for lamps
_LEAST_TURN = np.pi  # half a wave: a shorter read-out shows a slope of the light, as a beam splitter may
_MOST_TURN = 4 * np.pi  # of a read-out of 16 ms
_TURN_STEP = 0.1  # of a radian: nothing of a wave is lost between
_MIN_STANDING_AMPLITUDE = 0.04  # relative; of twenty takes without lamps two seemed to have 2 and 3 %
_CREEP_SECONDS = 0.1  # over which bands are averaged: they creep by a tenth of a wave at most
_NEAREST_WEIGHT = 0.01  # of the mean that is nearest, and the only one where none is near
_MIN_AMPLITUDE = 0.004  # relative; less is a level of 255 at most


@dataclass(frozen=True, eq=False)
class Flicker:
    """Light of a recording that beats with the mains, row by row where a rolling shutter exposes rows in turn."""

    lamps_hz: float
    """100 or 120."""
    amplitude: float
    """Of the light, relative to its mean."""
    waves: NDArray[np.float64]
    """(n, k, 2) factors of the cosine and the sine of k multiples of a row's phase: the logarithm of its gain."""
    turn: float
    """Phase, in radians, by which the last row lags behind the first."""

    def part(self, some: slice) -> Flicker:
        """Return the flicker of some of the frames."""
        return dataclasses.replace(self, waves=self.waves[some])

    def row_gains(self, index: int, height: int) -> NDArray[np.float64]:
        """Return the light of a frame's rows over that of lamps that do not flicker, (height,)."""
        phases = self.turn * ((np.arange(height) + 0.5) / height - 0.5)
        orders = np.arange(1, self.waves.shape[1] + 1)[:, None] * phases
        cosines, sines = self.waves[index].T
        return np.asarray(np.exp(cosines @ np.cos(orders) + sines @ np.sin(orders)), dtype=np.float64)


def band_changes(before: NDArray[np.floating], after: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return by how much the light of bands of rows changes from one frame to the next, relative.

    A band's brighter pixels that are not clipped tell it, without what `light_change` adds for the dark, which makes
    changes too small.

    Parameters
    ----------
    before, after : (h, w, 3) ndarray
        Both frames, linear light, 1 for full light.

    Returns
    -------
    (N_BANDS,) ndarray of float64
        Or as many as there are rows; NaN where a band is dark.
    """
    pair = np.stack([before, after])
    gray = pair.mean(axis=3)
    seen = (gray.sum(axis=0) > 2 * _BRIGHT_LINEAR) & (pair.max(axis=(0, 3)) < _CLIPPED_LINEAR)
    ratios = np.where(seen, gray[1] / np.maximum(gray[0], _DARK_LINEAR), np.nan)
    bands = np.array_split(ratios, min(N_BANDS, len(ratios)))
    return np.array([_median_of_seen(band) - 1.0 for band in bands])


def _median_of_seen(ratios: NDArray[np.floating]) -> float:
    seen = ratios[np.isfinite(ratios)]
    return float(np.median(seen)) if len(seen) > _MIN_BRIGHT_SHARE * ratios.size else np.nan


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
    changes : (n - 1,) or (n - 1, b) ndarray of float64
        Relative change of the light from each frame to the next, of the whole frame or of b even bands of rows. Bands
        with NaN tell nothing.
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
    by_band = changes.reshape(n - 1, -1)
    told = np.asarray(np.isfinite(by_band).all(axis=0))
    rows = ((np.arange(len(told)) + 0.5) / len(told) - 0.5)[told]
    steps = np.log1p(np.clip(by_band[:, told], -0.9, None))
    steps = steps - steps.mean(axis=0)
    total = float(np.square(steps).sum())
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
            explained = float((steps * (waves @ np.linalg.lstsq(waves, steps)[0])).sum())
            if best is None or explained > best[0]:
                best = explained, lamps_hz, float(frequency)
    if best is None or total <= 0 or best[0] < _MIN_EXPLAINED * total:
        return None
    _, lamps_hz, frequency = best
    turn = _find_turn(steps, rows, frequency, fps)
    waves = _fit_waves(steps, turn * rows, frequency, fps)
    amplitude = float(np.sqrt(np.square(waves).sum(axis=(1, 2)).mean()))
    return Flicker(lamps_hz, amplitude, waves, turn) if amplitude >= _MIN_AMPLITUDE else None


def find_standing_flicker(
    row_light: NDArray[np.float64],
    times: NDArray[np.float64],
    frame_times: NDArray[np.float64],
    fps: float,
) -> Flicker | None:
    """Find flicker in step with the frames, which a rolling shutter shows as bands that stay or creep.

    Frames that are exposed for several waves do not have it; they are what the others are compared with.

    Parameters
    ----------
    row_light : (m, h) ndarray of float64
        Light of the rows of m means of frames over that of frames without flicker; NaN where it is not known.
    times : (m,) ndarray of float64
        Their times in seconds.
    frame_times : (n,) ndarray of float64
        Of the frames whose flicker it is, in the same seconds.
    fps : float
        Frames per second.

    Returns
    -------
    Flicker or None
        None where the lamps would not be in step, or no wave along the rows explains what differs.
    """
    lamps = [lamps_hz for lamps_hz in LAMPS_HZ if abs(lamps_hz - fps * round(lamps_hz / fps)) < _LEAST_BEAT_HZ]
    known = np.isfinite(row_light).all(axis=1)
    if not lamps or known.sum() < _MIN_STANDING:
        return None
    levels = np.log(np.maximum(row_light[known], _DARK_LINEAR))
    levels = levels - levels.mean(axis=1, keepdims=True)
    rows = (np.arange(levels.shape[1]) + 0.5) / levels.shape[1] - 0.5
    best: tuple[float, float, NDArray[np.float64]] | None = None
    for turn in np.arange(_LEAST_TURN, _MOST_TURN + _TURN_STEP / 2, _TURN_STEP):
        waves = np.stack([wave(order * turn * rows) for order in (1, 2) for wave in (np.cos, np.sin)])
        waves = waves - waves.mean(axis=1, keepdims=True)
        factors = levels @ np.linalg.pinv(waves)
        explained = float(np.sum(levels * (factors @ waves)))
        if best is None or explained > best[0]:
            best = explained, float(turn), factors
    assert best is not None
    explained, turn, factors = best
    amplitude = float(np.sqrt(np.square(factors).sum(axis=1).mean()))
    if explained < _MIN_EXPLAINED * float(np.square(levels).sum()) or amplitude < _MIN_STANDING_AMPLITUDE:
        return None
    near = np.exp(-0.5 * np.square((frame_times[:, None] - times[known]) / _CREEP_SECONDS))
    nearest = np.abs(frame_times[:, None] - times[known]).argmin(axis=1)
    near[np.arange(len(near)), nearest] += _NEAREST_WEIGHT
    smooth = near @ factors / near.sum(axis=1, keepdims=True)
    return Flicker(lamps[0], amplitude, smooth.reshape(-1, 2, 2), turn)


def _phases(n: int, frequency: float, fps: float) -> NDArray[np.float64]:
    """Return the phases of n frames in multiples, (k, n): of a frequency, and of twice that where it is sampled."""
    # Light is no pure sine where lamps follow the square of the current badly.
    orders = (1, 2) if 4 * frequency < fps * (1 - 2 * _MAINS_DEVIATION) else (1,)
    return np.asarray(np.array(orders)[:, None] * (2 * np.pi * frequency * np.arange(n) / fps), dtype=np.float64)


def _waves(n: int, frequency: float, fps: float, row_phase: float = 0.0) -> NDArray[np.float64]:
    """Return sine and cosine of every multiple, (n, 2 k), at a row that lags by a phase."""
    phases = _phases(n, frequency, fps)
    phases = phases + np.arange(1, len(phases) + 1)[:, None] * row_phase
    return np.column_stack([wave(some) for some in phases for wave in (np.sin, np.cos)])


def _windows(n: int, fps: float) -> tuple[list[int], int]:
    """Return where overlapping windows of n frames begin, and how many frames each has."""
    width = min(round(_WINDOW_SECONDS * fps), n)
    return sorted({*range(0, n - width + 1, max(width // 2, 1)), n - width}), width


def _find_turn(steps: NDArray[np.float64], rows: NDArray[np.float64], frequency: float, fps: float) -> float:
    """Return the phase by which the last row lags behind the first, from how bands at rows, in heights, follow."""
    if len(rows) < 2:
        return 0.0
    apart = np.diff(rows)
    next_ones = np.isclose(apart, apart.min())
    starts, width = _windows(len(steps) + 1, fps)
    waves = np.diff(_waves(width, frequency, fps), axis=0)
    # What a band lags behind the one above is alike for all bands and windows.
    follows = 0j
    for start in starts:
        sines, cosines = np.linalg.lstsq(waves, steps[start : start + width - 1])[0][:2]
        told = sines + 1j * cosines
        follows += complex(np.vdot(told[:-1][next_ones], told[1:][next_ones]))
    return float(cmath.phase(follows) / apart.min())


def _fit_waves(
    steps: NDArray[np.float64], row_phases: NDArray[np.float64], frequency: float, fps: float
) -> NDArray[np.float64]:
    """Return the waves of each frame, see `Flicker`, from those that are fitted to all bands in overlapping windows."""
    n = len(steps) + 1
    starts, width = _windows(n, fps)
    design = np.concatenate([np.diff(_waves(width, frequency, fps, phase), axis=0) for phase in row_phases])
    inverse = np.linalg.pinv(design)
    phases = _phases(width, frequency, fps)
    total, weights = np.zeros((n, len(phases), 2)), np.zeros(n)
    taper = np.hanning(width + 2)[1:-1]
    for start in starts:
        sines, cosines = (inverse @ steps[start : start + width - 1].T.ravel()).reshape(-1, 2).T[:, :, None]
        # sin(a + b) and cos(a + b), by the cosine and the sine of b, the row's phase.
        by_row = (
            sines * np.sin(phases) + cosines * np.cos(phases),
            sines * np.cos(phases) - cosines * np.sin(phases),
        )
        total[start : start + width] += taper[:, None, None] * np.stack(by_row, axis=-1).swapaxes(0, 1)
        weights[start : start + width] += taper
    return np.asarray(total / weights[:, None, None], dtype=np.float64)
