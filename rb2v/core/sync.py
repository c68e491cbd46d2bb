"""Coarse synchronisation of two recordings: by their sound, or by what moves in their pictures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.signal import butter, correlate, correlation_lags, sosfiltfilt

_SOUND_BAND_HZ = (200.0, 8000.0)


@dataclass(frozen=True)
class OffsetEstimate:
    """An estimate of the sharp camera's time at the blurry camera's time 0."""

    seconds: float
    confidence: float
    """Share by which the correlation's peak exceeds its next best: 0 nothing stands out, 1 nothing else comes near."""


def offset_from_sound(
    blurry: NDArray[np.floating], sharp: NDArray[np.floating], rate: int, max_offset_seconds: float = 60.0
) -> OffsetEstimate:
    """Estimate the offset by cross-correlating the two sound tracks.

    Parameters
    ----------
    blurry, sharp : (n,) ndarray of float
        One channel each, both starting at their recording's time 0.
    rate : int
        Samples per second of both.
    max_offset_seconds : float
        Offsets beyond it are not looked at.

    Raises
    ------
    ValueError
        If a track is silent or shorter than a tenth of a second.
    """
    if min(len(blurry), len(sharp)) < rate // 10:
        raise ValueError("a sound track is shorter than 0.1 s")
    low_hz, high_hz = _SOUND_BAND_HZ
    band = butter(2, (low_hz, min(high_hz, 0.45 * rate)), "band", fs=rate, output="sos")
    a, b = (sosfiltfilt(band, np.asarray(track, dtype=np.float64)) for track in (blurry, sharp))
    if min(np.abs(a).max(), np.abs(b).max()) < 1e-6:
        raise ValueError("a sound track is silent")
    correlation = correlate(b, a, mode="full", method="fft")
    lags = correlation_lags(len(b), len(a), mode="full")
    allowed = np.abs(lags) <= max_offset_seconds * rate
    correlation, lags = correlation[allowed], lags[allowed]
    best = int(np.argmax(correlation))
    apart = np.abs(lags - lags[best]) > rate // 50
    runner_up = float(np.abs(correlation[apart]).max()) if apart.any() else 0.0
    return OffsetEstimate(
        (lags[best] + _vertex(correlation, best)) / rate, _confidence(float(correlation[best]), runner_up)
    )


def offset_from_motion(blurry: NDArray[np.floating], windows: NDArray[np.floating], stride: int) -> tuple[int, float]:
    """Estimate the position of the first blurry frame by comparing what changes from frame to frame.

    Parameters
    ----------
    blurry : (n, k) ndarray of float
        Small grey pictures of the blurry frames, flattened.
    windows : (P, k) ndarray of float
        The same of the synthetic blur at every fine-track position.
    stride : int
        Fine-track frames between two blurry frames.

    Returns
    -------
    position : int
        Position of blurry frame 0; negative where it lies before the sharp recording.
    confidence : float
        Share by which the correlation at the peak exceeds the best one that is further than one blurry frame away.

    Raises
    ------
    ValueError
        If a recording is too short, or nothing changes in it.
    """
    if len(blurry) < 3 or len(windows) < stride + 2:
        raise ValueError("a recording is too short")
    changes = np.diff(np.asarray(blurry, dtype=np.float64), axis=0)
    window_changes = np.asarray(windows, dtype=np.float64)
    window_changes = window_changes[stride:] - window_changes[:-stride]
    # One brightness gain cannot make up a match: each change is compared in shape.
    changes, window_changes = _unit_rows(changes), _unit_rows(window_changes)
    if not changes.any() or not window_changes.any():
        raise ValueError("nothing changes in a recording")
    products = changes @ window_changes.T
    n, n_positions = products.shape
    positions = np.arange(-(n * stride) // 2, n_positions - (n * stride) // 2)
    scores = np.full(len(positions), -np.inf)
    index = np.arange(n)
    for i, position in enumerate(positions):
        at = position + stride * index
        inside = (at >= 0) & (at < n_positions)
        if inside.sum() >= max(2, n // 2):
            scores[i] = products[index[inside], at[inside]].mean()
    best = int(np.argmax(scores))
    apart = (np.abs(positions - positions[best]) > stride) & np.isfinite(scores)
    runner_up = float(scores[apart].max()) if apart.any() else 0.0
    return int(positions[best]), _confidence(float(scores[best]), runner_up)


def _confidence(peak: float, runner_up: float) -> float:
    return min(max(1.0 - runner_up / peak, 0.0), 1.0) if peak > 0 else 0.0


def _unit_rows(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    return np.asarray(np.divide(rows, norms, out=np.zeros_like(rows), where=norms > 1e-9), dtype=np.float64)


def _vertex(values: NDArray[np.float64], index: int) -> float:
    """Return where, to a fraction of a sample, the parabola through a maximum and its neighbours peaks."""
    if index in (0, len(values) - 1):
        return 0.0
    before, here, after = values[index - 1 : index + 2]
    curvature = before - 2 * here + after
    return float(0.5 * (before - after) / curvature) if curvature < 0 else 0.0
