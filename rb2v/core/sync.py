"""Coarse synchronization of two recordings: by their sound, or by what moves in their images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import NDArray

from rb2v.core.temporal import parabola_vertex

_SOUND_BAND_HZ = (200.0, 8000.0)  # below it lie wind, hum and handling; above it compressed sound keeps little
_SOUND_RATES = (1000, 400_000)  # per second; a file that states another is broken, and would ask for a huge filter
_MAX_COMMON_RATE = 20_000  # per second: holds the band, at 0.05 ms a sample, where sound is believed to 5 ms
_SOUND_SMEAR_SECONDS = 2e-3  # a drift of 100 ppm spreads the peak by as much over 20 s
_GYRO_BAND_HZ = (0.5, 20.0)  # below it lie the gyros' biases, above it vibration that each camera has for itself
_MIN_GYRO_HZ, _MAX_GYRO_HZ = 50.0, 400.0  # the first holds a band of 20 Hz; more than the second adds cost alone
_GYRO_SMOOTHING_HZ = 0.3  # deviation along the spectrum: less than lies between the tones of steps (about 2 Hz)
_GYRO_FLOOR = 1e-3  # of the power of the strongest frequency; what is weaker may be noise
_GYRO_EDGE_SECONDS = 0.3  # over which either end is faded
_MIN_TURNING = 2e-3  # rad/s; a camera's noise at rest, in this band
_MIN_OVERLAP_SECONDS = 1.0  # a period of 1 Hz, as a hand moves
_MIN_OVERLAP_SHARE = 0.2  # of the shorter recording; shorter overlaps correlate by chance
_GYRO_PEAK_SECONDS = 0.25  # a quarter of a period of 1 Hz, as a hand moves
_MAX_PAIR_STEPS = 4.0  # blurry frames; what has changed after more is another image


@dataclass(frozen=True)
class OffsetEstimate:
    """An estimate of the sharp camera's time at the blurry camera's time 0."""

    seconds: float
    confidence: float
    """Share by which the correlation's peak exceeds its next best: 0 nothing stands out, 1 nothing else comes near."""


def offset_from_sound(
    blurry: NDArray[np.floating],
    sharp: NDArray[np.floating],
    rate: int,
    max_offset_seconds: float = 60.0,
    *,
    sharp_rate: int | None = None,
) -> OffsetEstimate:
    """Estimate the offset by cross-correlating the phases of the two sound tracks.

    Where the clocks drift apart, it is the offset in the middle of what both have heard.

    Parameters
    ----------
    blurry, sharp : (n,) ndarray of float
        One channel each, both starting at their recording's time 0.
    rate : int
        Samples per second of the blurry camera's track.
    max_offset_seconds : float
        Offsets beyond it are not looked at.
    sharp_rate : int, optional
        Samples per second of the sharp camera's track; the same by default.

    Raises
    ------
    ValueError
        If a track is silent or shorter than a tenth of a second, or a rate is none of sound.

    References
    ----------
    .. [1] Knapp and Carter, "The generalized correlation method for estimation of time delay", 1976 (PHAT).
    """
    sharp_rate = rate if sharp_rate is None else sharp_rate
    for track_rate in (rate, sharp_rate):
        if not _SOUND_RATES[0] <= track_rate <= _SOUND_RATES[1]:
            raise ValueError(f"a sound track has {track_rate} samples per second")
    if len(blurry) < rate // 10 or len(sharp) < sharp_rate // 10:
        raise ValueError("a sound track is shorter than 0.1 s")
    common_rate = min(rate, sharp_rate, _MAX_COMMON_RATE)
    tracks = [np.asarray(track, dtype=np.float64) for track in (blurry, sharp)]
    tracks = [
        track if own_rate == common_rate else scipy.signal.resample_poly(track - track.mean(), common_rate, own_rate)
        for track, own_rate in zip(tracks, (rate, sharp_rate), strict=True)
    ]
    low_hz, high_hz = _SOUND_BAND_HZ
    band = scipy.signal.butter(2, (low_hz, min(high_hz, 0.45 * common_rate)), "band", fs=common_rate, output="sos")
    a, b = (scipy.signal.sosfiltfilt(band, track) for track in tracks)
    if min(np.abs(a).max(), np.abs(b).max()) < 1e-6:
        raise ValueError("a sound track is silent")
    n = scipy.fft.next_fast_len(len(a) + len(b) - 1, real=True)
    cross = scipy.fft.rfft(b, n) * np.conj(scipy.fft.rfft(a, n))
    frequencies = np.fft.rfftfreq(n, 1 / common_rate)
    in_band = (frequencies >= low_hz) & (frequencies <= min(high_hz, 0.45 * common_rate))
    # Phases alone: neither a tone, nor a housing that muffles one track, widens the peak.
    cross = np.divide(cross, np.abs(cross), out=np.zeros_like(cross), where=in_band & (np.abs(cross) > 0))
    correlation = scipy.fft.irfft(cross, n)
    # Lags below 0 are at the end.
    correlation = np.concatenate([correlation[n - len(a) + 1 :], correlation[: len(b)]])
    lags = np.arange(1 - len(a), len(b))
    # Clocks that drift apart spread the peak over some milliseconds, with any sign: its power is gathered.
    width = 2 * round(_SOUND_SMEAR_SECONDS * common_rate) + 1
    power = scipy.signal.fftconvolve(correlation**2, np.hanning(width + 2)[1:-1], mode="same")
    allowed = np.abs(lags) <= max_offset_seconds * common_rate
    height, lags = np.sqrt(np.maximum(power[allowed], 0.0)), lags[allowed]
    best = int(np.argmax(height))
    apart = np.abs(lags - lags[best]) > common_rate // 50
    runner_up = float(height[apart].max()) if apart.any() else 0.0
    return OffsetEstimate(
        float(lags[best] + _vertex(height, best)) / common_rate, _confidence(float(height[best]), runner_up)
    )


def offset_from_gyro(
    blurry: NDArray[np.floating],
    blurry_times: NDArray[np.floating],
    sharp: NDArray[np.floating],
    sharp_times: NDArray[np.floating],
    max_offset_seconds: float = 60.0,
) -> OffsetEstimate:
    """Estimate the offset from how the two cameras, which are fixed to each other, were turned.

    How they are mounted does not matter: at each lag the rotations are compared under the orthogonal map that fits
    them best. Where the clocks drift apart, it is the offset in the middle of what both have recorded.

    Parameters
    ----------
    blurry, sharp : (n, 3) ndarray of float
        Speeds of rotation in rad/s about any three perpendicular axes of each camera; biases do not matter.
    blurry_times, sharp_times : (n,) ndarray of float
        When they were measured, in seconds on each recording's clock.
    max_offset_seconds : float
        Offsets beyond it are not looked at.

    Raises
    ------
    ValueError
        If a recording is too short or full of gaps, or a camera was not turned.

    References
    ----------
    .. [1] Schönemann, "A generalized solution of the orthogonal Procrustes problem", 1966: the best fit's inner product
       is the sum of the cross-correlation's singular values.
    """
    rates = [_rate_of(times) for times in (blurry_times, sharp_times)]
    rate = min(rates)
    (a, a_start), (b, b_start) = (
        _resampled_rotation(values, times, rate) for values, times in ((blurry, blurry_times), (sharp, sharp_times))
    )
    lags = np.arange(1 - len(a), len(b))
    n = scipy.fft.next_fast_len(len(a) + len(b) - 1, real=True)
    spectra_a, spectra_b = scipy.fft.rfft(a, n, axis=0).conj(), scipy.fft.rfft(b, n, axis=0)
    cross = scipy.fft.irfft(spectra_a[:, :, None] * spectra_b[:, None, :], n, axis=0)
    # Both overlap in blurry samples [first, last), which are the sharp ones [first + lag, last + lag).
    first, last = np.maximum(0, -lags), np.minimum(len(a), len(b) - lags)
    energy_a, energy_b = (np.concatenate([[0.0], np.cumsum((track**2).sum(axis=1))]) for track in (a, b))
    energies = (energy_a[last] - energy_a[first]) * (energy_b[last + lags] - energy_b[first + lags])
    offsets = b_start - a_start + lags / rate
    min_overlap = max(_MIN_OVERLAP_SECONDS * rate, _MIN_OVERLAP_SHARE * min(len(a), len(b)))
    allowed = (last - first >= min_overlap) & (np.abs(offsets) <= max_offset_seconds)
    if not allowed.any():
        raise ValueError("the recordings do not overlap within the limit")
    # Lags below 0 are at the end.
    products = np.linalg.svd(cross[lags[allowed]], compute_uv=False).sum(axis=1)
    scores, offsets = products / np.sqrt(np.maximum(energies[allowed], 1e-12)), offsets[allowed]
    best = int(np.argmax(scores))
    apart = np.abs(offsets - offsets[best]) > _GYRO_PEAK_SECONDS
    runner_up = float(scores[apart].max()) if apart.any() else 0.0
    return OffsetEstimate(
        float(offsets[best] + _vertex(scores, best) / rate), _confidence(float(scores[best]), runner_up)
    )


def _rate_of(times: NDArray[np.floating]) -> float:
    """Return how many different times there are per second."""
    distinct = np.unique(np.asarray(times, dtype=np.float64))
    span = float(distinct[-1] - distinct[0]) if len(distinct) else 0.0
    if not span >= _MIN_OVERLAP_SECONDS:
        raise ValueError(f"a recording's rotation is shorter than {_MIN_OVERLAP_SECONDS:g} s")
    rate = (len(distinct) - 1) / span
    if rate < _MIN_GYRO_HZ:
        raise ValueError(f"a recording's rotation has gaps, or fewer than {_MIN_GYRO_HZ:g} values per second")
    return min(rate, _MAX_GYRO_HZ)


def _resampled_rotation(
    values: NDArray[np.floating], times: NDArray[np.floating], rate: float
) -> tuple[NDArray[np.float64], float]:
    """Return a rotation at even times, without bias and slow trend, all frequencies alike; and its start."""
    distinct, index = np.unique(np.asarray(times, dtype=np.float64), return_index=True)
    rows = np.asarray(values, dtype=np.float64)[index]
    grid = np.arange(distinct[0], distinct[-1], 1 / rate)
    even = np.column_stack([np.interp(grid, distinct, column) for column in rows.T])
    band = scipy.signal.butter(2, _GYRO_BAND_HZ, "band", fs=rate, output="sos")
    turning = np.asarray(scipy.signal.sosfiltfilt(band, even - even.mean(axis=0), axis=0), dtype=np.float64)
    if np.sqrt((turning**2).sum(axis=1).mean()) < _MIN_TURNING:
        raise ValueError("a camera was not turned")
    # What the band does at the ends is alike in all recordings, and would match them start to start.
    turning *= scipy.signal.windows.tukey(len(turning), min(2 * _GYRO_EDGE_SECONDS * rate / len(turning), 1.0))[:, None]
    # Steps repeat themselves and slow turns are alike at many lags: all frequencies that stand out count the same.
    n = scipy.fft.next_fast_len(2 * len(turning), real=True)
    spectrum = scipy.fft.rfft(turning, n, axis=0)
    power = scipy.ndimage.gaussian_filter1d((np.abs(spectrum) ** 2).sum(axis=1), _GYRO_SMOOTHING_HZ * n / rate)
    spectrum /= np.sqrt(power + _GYRO_FLOOR * power.max())[:, None]
    return np.asarray(scipy.fft.irfft(spectrum, n, axis=0)[: len(turning)], dtype=np.float64), float(distinct[0])


def offset_from_motion(
    blurry: NDArray[np.floating], windows: NDArray[np.floating], steps: NDArray[np.floating]
) -> tuple[int, float]:
    """Estimate the position of the first blurry frame by comparing what changes from frame to frame.

    Parameters
    ----------
    blurry : (n, k) ndarray of float
        Small gray images of the blurry frames, flattened.
    windows : (P, k) ndarray of float
        The same of the synthetic blur at every fine-track position.
    steps : (n,) ndarray of float
        When the blurry frames were taken, in fine-track frames after the first one; increasing, with any gaps.

    Returns
    -------
    position : int
        Position of blurry frame 0; negative where it lies before the sharp recording.
    confidence : float
        Share by which the correlation at the peak exceeds the best one that is further than one blurry frame away.

    Raises
    ------
    ValueError
        If a recording is too short, nothing changes in it, or there are not as many steps as blurry frames.
    """
    if len(steps) != len(blurry):
        raise ValueError(f"there are {len(blurry)} blurry frames and {len(steps)} steps")
    spacing = np.diff(np.asarray(steps, dtype=np.float64))
    nominal = float(np.median(spacing)) if len(blurry) >= 3 else np.inf
    if len(windows) < nominal + 2:
        raise ValueError("a recording is too short")
    at = np.rint(np.asarray(steps, dtype=np.float64) - steps[0]).astype(np.int64)
    distances = np.diff(at)
    compared = (distances > 0) & (spacing <= _MAX_PAIR_STEPS * nominal)
    # One brightness gain cannot make up a match: each change is compared in shape.
    changes = _unit_rows(np.diff(np.asarray(blurry, dtype=np.float32), axis=0))
    pictures = np.asarray(windows, dtype=np.float32)
    positions = np.arange(-at[-1], len(windows))
    sums, counts = np.zeros(len(positions)), np.zeros(len(positions), dtype=np.int64)
    windows_change = False
    for distance in np.unique(distances[compared]):
        pairs = np.flatnonzero(compared & (distances == distance))
        window_changes = _unit_rows(pictures[distance:] - pictures[:-distance])
        windows_change |= bool(window_changes.any())
        for pair, products in zip(pairs, changes[pairs] @ window_changes.T, strict=True):
            first = at[-1] - at[pair]
            sums[first : first + len(products)] += products
            counts[first : first + len(products)] += 1
    enough = counts >= max(2, int(compared.sum()) // 2)
    if not enough.any():
        raise ValueError("a recording is too short")
    if not changes[compared].any() or not windows_change:
        raise ValueError("nothing changes in a recording")
    scores, positions = sums[enough] / counts[enough], positions[enough]
    best = int(np.argmax(scores))
    apart = np.abs(positions - positions[best]) > nominal
    runner_up = float(scores[apart].max()) if apart.any() else 0.0
    return int(positions[best]), _confidence(float(scores[best]), runner_up)


def _confidence(peak: float, runner_up: float) -> float:
    return min(max(1.0 - runner_up / peak, 0.0), 1.0) if peak > 0 else 0.0


def _unit_rows(rows: NDArray[np.float32]) -> NDArray[np.float32]:
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(np.divide(rows, norms, out=np.zeros_like(rows), where=norms > 1e-9), dtype=np.float32)


def _vertex(values: NDArray[np.float64], index: int) -> float:
    """Return where, to a fraction of a sample, the parabola through a maximum and its neighbors peaks."""
    if index in (0, len(values) - 1):
        return 0.0
    return parabola_vertex(*values[index - 1 : index + 2])
