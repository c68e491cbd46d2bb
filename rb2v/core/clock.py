"""The line that takes one camera's clock to the other's, through the estimates of single frames, and its jumps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import median_filter

MIN_FRAMES = 3  # two frames always lie on a line; a third can contradict them

_MAX_MEDIAN_FRAMES = 1000  # the repeated median makes a matrix of their square: 8 MB
_MAX_ROUNDS = 100  # only a bound: each round lowers a sum of squares, and the loop ends when the inliers stay the same
_JUMP_REACH = 9  # frames in each median, of which four may be wrong; takes of less than twice as many are never split
_MAX_WEIGHT_RATIO = 4.0  # over the median weight and under it, so that a few frames never decide alone
_MAX_DRIFT = 0.2  # s per s; quartz clocks part by 1e-4, so that a line beyond it was drawn through wrong peaks


@dataclass(frozen=True)
class Jump:
    """A place where one recording lacks time that the other has, so that the line goes on beside itself."""

    after_seconds: float
    """Blurry time of the last inlier before it."""
    before_seconds: float
    """Blurry time of the first inlier behind it."""
    shift_seconds: float
    """What the sharp camera's time gains there; negative where the sharp recording lost time."""
    center_seconds: float
    """Blurry time at which the piece behind it is known best."""
    center_error_seconds: float
    """Standard error of the sharp time there."""


@dataclass(frozen=True, eq=False)
class ClockFit:
    """The line ``sharp = offset + (1 + drift) blurry``, shifted at every jump, and who carries it."""

    offset_seconds: float
    """Sharp time at blurry time 0, before any jump."""
    drift: float
    """Relative difference of the rates."""
    drift_error: float
    """Standard error of the drift."""
    center_seconds: float
    """Blurry time at which the line, before any jump, is known best."""
    center_error_seconds: float
    """Standard error of the sharp time there."""
    residual_seconds: float
    """Robust standard deviation of the inliers about the line."""
    jumps: tuple[Jump, ...]
    inliers: NDArray[np.bool_]
    """(n,) frames that carry the line: weighted least squares through these, and no others, give it."""


def fit_clock(
    blurry_times: NDArray[np.float64],
    sharp_times: NDArray[np.float64],
    tolerance_seconds: float,
    weights: NDArray[np.float64] | None = None,
) -> ClockFit:
    """Fit ``sharp = offset + (1 + drift) blurry`` robustly, in pieces where time is missing from a recording.

    A repeated-median line finds the frames that agree, weighted least squares through those gives the answer. Where
    the estimates leave the line for another beside it, the line is split; all pieces share one drift.

    Parameters
    ----------
    blurry_times : (n,) ndarray of float64
        Presentation times of blurry frames in seconds, increasing.
    sharp_times : (n,) ndarray of float64
        The sharp camera's times of the same instants, each estimated from its frame alone, in seconds.
    tolerance_seconds : float
        A frame further off the line is an outlier; a jump is larger than that.
    weights : (n,) ndarray of float64, optional
        How well each estimate is known, in inverse variances up to a factor; equal by default.

    Raises
    ------
    ValueError
        If fewer than three frames, or fewer than half, agree on a line.

    References
    ----------
    .. [1] Siegel, "Robust regression using repeated medians", Biometrika 69 (1982).
    """
    n = len(blurry_times)
    if n < MIN_FRAMES:
        raise ValueError(f"a clock needs {MIN_FRAMES} frames, got {n}")
    lag = sharp_times - blurry_times
    known = _capped(np.ones(n) if weights is None else np.asarray(weights, dtype=np.float64))
    pieces = _split(blurry_times, lag, tolerance_seconds)
    while True:
        line = _fit_pieces(blurry_times, lag, known, pieces, tolerance_seconds)
        merged = _merge(pieces, line, tolerance_seconds)
        if merged is None:
            return _describe(blurry_times, lag, known, pieces, line)
        pieces = merged


def _merge(pieces: NDArray[np.int64], line: _Line, tolerance: float) -> NDArray[np.int64] | None:
    """Return the pieces without those that prove no jump; None where all do.

    A piece of which few frames agree is a spoilt stretch, and its frames are outliers of the piece before it. Pieces
    whose lines meet are one.
    """
    n_pieces = int(pieces[-1]) + 1
    if n_pieces == 1:
        return None
    needed = np.maximum(MIN_FRAMES, np.bincount(pieces, minlength=n_pieces) / 2)
    carried = np.bincount(pieces, weights=line.inliers, minlength=n_pieces) >= needed
    if not carried.any():
        return np.zeros_like(pieces)
    meets = np.append(False, np.abs(np.diff(line.levels)) <= tolerance)
    # Every other one of those that meet, because a piece that another has joined has a new level.
    meets[1:] &= ~meets[:-1]
    own = carried & ~(meets & np.append(False, carried[:-1]))
    if own.all():
        return None
    owners = np.maximum.accumulate(np.where(own, np.arange(n_pieces), -1))
    owners[owners < 0] = np.flatnonzero(own)[0]
    return np.asarray(np.unique(owners[pieces], return_inverse=True)[1], dtype=np.int64)


def _capped(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    # A few frames that seem to be known without error must not decide alone.
    positive = weights[weights > 0]
    typical = float(np.median(positive)) if len(positive) else 1.0
    return np.clip(weights / typical, 1 / _MAX_WEIGHT_RATIO, _MAX_WEIGHT_RATIO)


def _split(times: NDArray[np.float64], lag: NDArray[np.float64], tolerance: float) -> NDArray[np.int64]:
    """Return the piece that each frame seems to belong to, from medians of the frames before and after each place."""
    n, reach = len(times), _JUMP_REACH
    pieces = np.zeros(n, dtype=np.int64)
    if n < 2 * reach:
        return pieces
    # Over so few frames any drift that a clock has is small, but a wrong rate in the file may not be.
    span = np.maximum(times[reach:] - times[:-reach], 1e-9)
    level = lag - float(np.median((lag[reach:] - lag[:-reach]) / span)) * (times - times[0])
    smooth = median_filter(level, size=reach, mode="nearest")
    half = reach // 2
    places = np.arange(half + 1, n - half)
    steps = smooth[places + half] - smooth[places - half - 1]
    jumps: list[int] = []
    rest = np.abs(steps)
    while len(rest) and rest.max() > tolerance:
        best = int(np.argmax(rest))
        place = _sharpen(level, int(places[best]), reach)
        rest[np.abs(places - places[best]) <= reach] = 0
        if all(abs(place - other) >= MIN_FRAMES for other in jumps) and MIN_FRAMES <= place <= n - MIN_FRAMES:
            jumps.append(place)
    for place in jumps:
        pieces[place:] += 1
    return pieces


def _sharpen(level: NDArray[np.float64], place: int, reach: int) -> int:
    """Return the first frame behind a jump: the split that leaves the smallest absolute deviations nearby."""
    low, high = max(place - 2 * reach, 0), min(place + 2 * reach, len(level))
    before, after = np.median(level[low : place - reach // 2]), np.median(level[place + reach // 2 : high])
    nearby = level[low:high]
    gain = np.abs(nearby - after) - np.abs(nearby - before)
    # An estimate that fits neither side says nothing about the place.
    gain[np.minimum(np.abs(nearby - before), np.abs(nearby - after)) > abs(after - before) / 4] = 0.0
    return low + int(np.argmax(np.concatenate([[0.0], np.cumsum(gain)])))


@dataclass(frozen=True, eq=False)
class _Line:
    center: float
    slope: float
    levels: NDArray[np.float64]
    """Lag at the center, piece by piece."""
    residuals: NDArray[np.float64]
    inliers: NDArray[np.bool_]


def _fit_pieces(
    times: NDArray[np.float64],
    lag: NDArray[np.float64],
    weights: NDArray[np.float64],
    pieces: NDArray[np.int64],
    tolerance: float,
) -> _Line:
    n, n_pieces = len(times), int(pieces[-1]) + 1
    center = float(times.mean())
    t = times - center
    slope, levels = _repeated_medians(t, lag, pieces, n_pieces)
    near = np.abs(lag - levels[pieces] - slope * t) <= tolerance
    members = pieces[:, None] == np.arange(n_pieces)
    # Either half of a round lowers the sum of squares cut off at the tolerance, so that the set settles.
    for _ in range(_MAX_ROUNDS):
        inliers = near
        if inliers.sum() < max(MIN_FRAMES, n / 2):
            raise ValueError(f"only {int(inliers.sum())} of {n} frames agree on a clock")
        if abs(slope) > _MAX_DRIFT:
            raise ValueError(f"the frames agree on clocks that part by {abs(slope):.0%}, which no two cameras do")
        kept = members[inliers].any(axis=0)
        design = np.column_stack([t[inliers], members[inliers][:, kept]])
        root = np.sqrt(weights[inliers])
        solution = np.linalg.lstsq(design * root[:, None], lag[inliers] * root)[0]
        slope, levels[kept] = solution[0], solution[1:]
        residuals = lag - levels[pieces] - slope * t
        near = np.abs(residuals) <= tolerance
        if np.array_equal(near, inliers):
            break
    return _Line(center, float(slope), levels, residuals, inliers)


def _repeated_medians(
    t: NDArray[np.float64], lag: NDArray[np.float64], pieces: NDArray[np.int64], n_pieces: int
) -> tuple[float, NDArray[np.float64]]:
    from scipy.stats import siegelslopes  # 0.55 s, which few commands need

    # The median of medians takes memory by the square of its frames; evenly spread ones tell the line as well.
    slopes, sizes = [], []
    for piece in range(n_pieces):
        own = np.flatnonzero(pieces == piece)
        some = own[np.linspace(0, len(own) - 1, min(len(own), _MAX_MEDIAN_FRAMES)).round().astype(int)]
        slopes.append(float(siegelslopes(lag[some], t[some])[0]) if len(some) > 1 else 0.0)
        sizes.append(float(np.ptp(t[own])) * len(own))
    slope = slopes[int(np.argmax(sizes))]
    levels = np.array([np.median((lag - slope * t)[pieces == piece]) for piece in range(n_pieces)])
    return slope, levels


def _describe(
    times: NDArray[np.float64],
    lag: NDArray[np.float64],
    weights: NDArray[np.float64],
    pieces: NDArray[np.int64],
    line: _Line,
) -> ClockFit:
    inliers = line.inliers
    w, t, member = weights[inliers], times[inliers], pieces[inliers]
    n_pieces = int(pieces[-1]) + 1
    variance = float(np.sum(w * line.residuals[inliers] ** 2)) / max(int(inliers.sum()) - n_pieces - 1, 1)
    masses = np.bincount(member, weights=w, minlength=n_pieces)
    centers = np.bincount(member, weights=w * t, minlength=n_pieces) / masses
    errors = np.sqrt(variance / masses)
    spread = float(np.sum(w * (t - centers[member]) ** 2))
    jumps = []
    for piece in range(1, n_pieces):
        ends = float(t[member == piece - 1][-1]), float(t[member == piece][0])
        shift = float(line.levels[piece] - line.levels[piece - 1])
        jumps.append(Jump(*ends, shift, float(centers[piece]), float(errors[piece])))
    return ClockFit(
        offset_seconds=float(line.levels[0] - line.slope * line.center),
        drift=line.slope,
        drift_error=float(np.sqrt(variance / spread)) if spread > 0 else np.inf,
        center_seconds=float(centers[0]),
        center_error_seconds=float(errors[0]),
        residual_seconds=1.4826 * float(np.median(np.abs(line.residuals[inliers]))),
        jumps=tuple(jumps),
        inliers=inliers,
    )
