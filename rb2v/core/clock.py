"""The line that takes one camera's clock to the other's, through the estimates of single frames, and its jumps."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Protocol, TypeVar

import numpy as np
import scipy
from numpy.typing import NDArray

CRYSTAL_DRIFT = 50e-6
"""Standard deviation of the drift between two cameras: 43 and 50 ppm are on record, and quartz is sold to 20 or 50."""

MIN_FRAMES = 3  # two frames always lie on a line; a third can contradict them

_MAX_MEDIAN_FRAMES = 1000  # the repeated median makes a matrix of their square: 8 MB
_MAX_ROUNDS = 100  # only a bound: each round lowers a sum of squares, and the loop ends when the inliers stay the same
_JUMP_REACH = 9  # frames in each median, of which four may be wrong; takes of less than twice as many are never split
_MAX_WEIGHT_RATIO = 4.0  # over the median weight and under it, so that a few frames never decide alone
_MAX_DRIFT = 0.2  # s per s; quartz clocks part by 1e-4, so that a line beyond it was drawn through wrong peaks
_SURELY = 5.0  # standard errors: errors follow the motion, so that 4 occur by chance
_LEAST_SIGMA = 1e-9  # keeps weights finite
_LAG_SHARE, _MAX_LAGS = 4, 25  # of the frames; a second, longer than what a motion of hands or heads keeps its sign
_FITTED_PARAMETERS = 2.0  # of a line
_LEAST_FREE = 1 / 3  # of the frames: as if three were worth one; more correlation is not told in a short take
_MAX_CORRELATION = 0.95  # of neighbors; beyond it no take is long enough to tell


@dataclass(frozen=True)
class DriftPrior:
    """What is known of a drift before any frame is seen: a normal distribution."""

    drift: float = 0.0
    """Relative difference of the rates."""
    sigma: float = CRYSTAL_DRIFT
    """Standard deviation of that."""

    def is_contradicted(self, drift: float, error: float) -> bool:
        """Return whether an estimate cannot be of a drift that the prior allows."""
        return abs(drift - self.drift) > _SURELY * math.hypot(error, self.sigma)

    def combine(self, drift: float, error: float) -> DriftPrior:
        """Return what is known once an estimate, with its standard error, has been seen, too."""
        if not error < math.inf:
            return self
        shares = np.array([self.sigma, max(error, _LEAST_SIGMA)]) ** -2.0
        return DriftPrior(float(shares @ [self.drift, drift] / shares.sum()), float(shares.sum() ** -0.5))


def combine_drifts(estimates: Sequence[tuple[float, float]], prior: DriftPrior) -> tuple[DriftPrior, list[int]]:
    """Combine what several takes say of the drift of one pair of cameras.

    Parameters
    ----------
    estimates : sequence of tuple of float
        Drift and standard error, take by take, each from its frames alone.
    prior : DriftPrior
        What crystals do.

    Returns
    -------
    known : DriftPrior
        The drift of the session.
    contradicting : list of int
        Takes that do not fit in: they do not count.
    """
    contradicting: list[int] = []
    while True:
        known = prior
        for index, estimate in enumerate(estimates):
            if index not in contradicting:
                known = known.combine(*estimate)
        apart = [
            abs(drift - known.drift) / math.hypot(error, known.sigma) if index not in contradicting else 0.0
            for index, (drift, error) in enumerate(estimates)
        ]
        if not apart or max(apart) <= _SURELY:
            return known, sorted(contradicting)
        contradicting.append(int(np.argmax(apart)))


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
    own_drift: float
    """The drift by the frames alone, without a prior."""
    own_drift_error: float
    """Standard error of that."""
    n_effective: float
    """Independent estimates that the inliers are worth: the errors of neighboring frames follow one motion."""


def fit_clock(
    blurry_times: NDArray[np.float64],
    sharp_times: NDArray[np.float64],
    tolerance_seconds: float,
    weights: NDArray[np.float64] | None = None,
    *,
    prior: DriftPrior | None = None,
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
    prior : DriftPrior, optional
        What is known of the drift; nothing by default. Frames that contradict it beyond doubt are believed.

    Raises
    ------
    ValueError
        If fewer than three frames, or fewer than half, agree on a line.

    References
    ----------
    .. [1] Siegel, "Robust regression using repeated medians", Biometrika 69 (1982).
    .. [2] Newey and West, "A simple, positive semi-definite, heteroskedasticity and autocorrelation consistent
       covariance matrix", Econometrica 55 (1987).
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
            fit = _describe(blurry_times, lag, known, pieces, line)
            return fit if prior is None else with_drift_prior(fit, prior)
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
    smooth = scipy.ndimage.median_filter(level, size=reach, mode="nearest")
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
    # The median of medians takes memory by the square of its frames; evenly spread ones tell the line as well.
    slopes, sizes = [], []
    for piece in range(n_pieces):
        own = np.flatnonzero(pieces == piece)
        some = own[np.linspace(0, len(own) - 1, min(len(own), _MAX_MEDIAN_FRAMES)).round().astype(int)]
        slopes.append(float(scipy.stats.siegelslopes(lag[some], t[some])[0]) if len(some) > 1 else 0.0)
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
    masses = np.bincount(member, weights=w, minlength=n_pieces)
    centers = np.bincount(member, weights=w * t, minlength=n_pieces) / masses
    inflation = _inflation(np.sqrt(w) * line.residuals[inliers])
    n = int(inliers.sum())
    # The line takes as many independent estimates as it has parameters.
    n_free = max(n - inflation * (n_pieces + 1), _LEAST_FREE * n, 1)
    variance = inflation * float(np.sum(w * line.residuals[inliers] ** 2)) / n_free
    errors = np.sqrt(variance / masses)
    spread = float(np.sum(w * (t - centers[member]) ** 2))
    jumps = []
    for piece in range(1, n_pieces):
        ends = float(t[member == piece - 1][-1]), float(t[member == piece][0])
        shift = float(line.levels[piece] - line.levels[piece - 1])
        jumps.append(Jump(*ends, shift, float(centers[piece]), float(errors[piece])))
    drift_error = float(np.sqrt(variance / spread)) if spread > 0 else np.inf
    return ClockFit(
        offset_seconds=float(line.levels[0] - line.slope * line.center),
        drift=line.slope,
        drift_error=drift_error,
        center_seconds=float(centers[0]),
        center_error_seconds=float(errors[0]),
        residual_seconds=1.4826 * float(np.median(np.abs(line.residuals[inliers]))),
        jumps=tuple(jumps),
        inliers=inliers,
        own_drift=line.slope,
        own_drift_error=drift_error,
        n_effective=n / inflation,
    )


def _inflation(residuals: NDArray[np.float64]) -> float:
    """Return by how much correlation between neighbors enlarges the variance of a mean; at least 1.

    The larger of what the correlations themselves say, tapered, and of what a first-order process has that correlates
    like direct neighbors do: the former alone misses a part of correlations as long as a short take.
    """
    n = len(residuals)
    n_lags = min(n // _LAG_SHARE, _MAX_LAGS)
    centered = residuals - residuals.mean()
    energy = float(centered @ centered)
    if n_lags < 1 or energy <= 0:
        return 1.0
    lags = np.arange(1, n_lags + 1)
    correlations = np.array([float(centered[lag:] @ centered[:-lag]) for lag in lags]) / energy
    # A line that is fitted to them takes a part of the correlation away.
    unbiased = correlations + _FITTED_PARAMETERS / n
    tapered = 1.0 + 2.0 * float((1 - lags / (n_lags + 1)) @ unbiased)
    neighbors = min(float(unbiased[0]), _MAX_CORRELATION)
    return max(tapered, (1 + neighbors) / (1 - neighbors), 1.0)


def with_drift_prior(fit: ClockFit, prior: DriftPrior) -> ClockFit:
    """Return a line under a prior of its drift; as it is where its frames contradict the prior beyond doubt."""
    if prior.is_contradicted(fit.own_drift, fit.own_drift_error):
        return fit
    return turned_to(fit, prior.combine(fit.own_drift, fit.own_drift_error))


class ClockLine(Protocol):
    """A dataclass with the fields of `ClockFit` that say where a line lies."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def offset_seconds(self) -> float:
        """Sharp time at blurry time 0, before any jump."""

    @property
    def drift(self) -> float:
        """Relative difference of the rates."""

    @property
    def center_seconds(self) -> float:
        """Blurry time at which the line, before any jump, is known best."""

    @property
    def jumps(self) -> tuple[Any, ...]:
        """Jumps with the fields of `Jump`, in the order of time."""


Line = TypeVar("Line", bound=ClockLine)


def turned_to(line: Line, drift: DriftPrior) -> Line:
    """Return a line of another drift.

    Every piece keeps its place where it is known best, because there its level does not depend on the drift.

    Parameters
    ----------
    line : ClockLine
        The line, with its jumps if it has some.
    drift : DriftPrior
        What is known of the drift.
    """
    turn = drift.drift - line.drift
    centers = [line.center_seconds, *(jump.center_seconds for jump in line.jumps)]
    jumps = tuple(
        replace(jump, shift_seconds=jump.shift_seconds - turn * (after - before))
        for jump, before, after in zip(line.jumps, centers[:-1], centers[1:], strict=True)
    )
    changes: dict[str, Any] = {"drift": drift.drift, "drift_error": drift.sigma, "jumps": jumps}
    return replace(line, offset_seconds=line.offset_seconds - turn * centers[0], **changes)
