"""Figures of the trajectories: each over the seeds of a method, with bootstrap intervals."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rb2v.benchmark.suites.figures import Figure, Interval
from rb2v.benchmark.suites.trajectories.sequence_points import Points
from rb2v.choices import LandmarkTarget
from rb2v.landmarks.trajectories import SequenceScore, score_sequence
from rb2v.training.intervals import MIN_TAKES, TakeBootstrap, interval_of

N_RESAMPLES = 1000  # 25 of which lie beyond either end of an interval of 95 %

PENALIZED = "normalized_penalized"
"""Figure by which methods are compared: it has no frames that only one of them was spared."""
_MEANS = (
    *("error", "error_fixed", "error_penalized", "normalized", "normalized_fixed", "normalized_penalized"),
    "cosine",
)
_RATIOS: Mapping[str, tuple[str, str]] = {
    "found": ("found", "true_found"),
    "path_ratio": ("path_px", "true_path_px"),
}
"""Figures that are a ratio of two sums over the samples."""


@dataclass(frozen=True)
class Estimator:
    """A row of a category's table."""

    name: str
    label: str
    figures: Mapping[str, Figure | None]
    """None where a figure is not defined, as the direction of what is static."""
    trained: bool


def score_samples(target: LandmarkTarget, true: Points, recovered: Points) -> pd.DataFrame:
    """Score the landmarks of every sample.

    Parameters
    ----------
    target : {"face", "hand"}
        Kind of landmarks.
    true, recovered : (samples, frames, n, 2) ndarray of float64
        x and y in px, NaN where they were not found.

    Returns
    -------
    DataFrame
        One row a sample: the fields of `rb2v.landmarks.trajectories.SequenceScore`.
    """
    names = [field.name for field in dataclasses.fields(SequenceScore)]
    rows = [dataclasses.asdict(score_sequence(target, *pair)) for pair in zip(true, recovered, strict=True)]
    return pd.DataFrame(rows, columns=names)


def over_seeds(
    name: str, label: str, tables: Sequence[pd.DataFrame], takes: Sequence[str], *, trained: bool
) -> Estimator:
    """Return an estimator's figures over runs that differ in nothing but their seed.

    Parameters
    ----------
    name, label : str
        Of the row.
    tables : sequence of DataFrame
        What `score_samples` returned, one a seed.
    takes : sequence of str
        The take of every sample.
    trained : bool
        Whether it is a method that the suite trained.
    """
    bootstrap = TakeBootstrap(group_samples(takes), N_RESAMPLES, 0)
    figures: dict[str, Figure | None] = {}
    for key in (*_MEANS, *_RATIOS):
        parts = [_parts(table, key) for table in tables]
        values = tuple(_ratio(*(part.sum() for part in pair)) for pair in parts)
        pooled = [np.mean([pair[k] for pair in parts], axis=0) for k in range(2)]
        sums = [bootstrap.means(part[:, None])[:, 0] for part in pooled]
        with np.errstate(divide="ignore", invalid="ignore"):
            interval = interval_of(sums[0] / sums[1])
        is_known = all(np.isfinite(values))
        figures[key] = Figure(values, None if interval is None else (interval[0], interval[1])) if is_known else None
    return Estimator(name, label, figures, trained)


def gain(
    tables: Sequence[pd.DataFrame], baseline: Sequence[pd.DataFrame], takes: Sequence[str]
) -> tuple[float, Interval | None]:
    """Return by how much the error of runs is below that of others on the same samples, and its interval.

    The error is normalized and has failures counted; it is the mean over the seeds.
    """
    ours, theirs = (np.mean([table[PENALIZED].to_numpy() for table in group], axis=0) for group in (tables, baseline))
    difference = theirs - ours
    known = np.isfinite(difference)
    bootstrap = TakeBootstrap(group_samples(takes), N_RESAMPLES, 0)
    resampled = bootstrap.means(np.where(known, difference, 0.0)[:, None], known)
    interval = interval_of(resampled[:, 0])
    mean = float(difference[known].mean()) if known.any() else float("nan")
    return mean, None if interval is None else (interval[0], interval[1])


def group_samples(takes: Sequence[str]) -> list[str]:
    """Return the groups that the bootstrap draws: takes, or single samples where there are too few takes.

    Examples
    --------
    >>> group_samples(["a", "a", "b"])
    ['0', '1', '2']
    """
    if len(set(takes)) >= MIN_TAKES:
        return list(takes)
    return [str(index) for index in range(len(takes))]


def _parts(table: pd.DataFrame, key: str) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return what every sample adds to a figure's numerator and denominator."""
    above, below = _RATIOS.get(key, (key, key))
    numerator, denominator = (table[name].to_numpy(np.float64) for name in (above, below))
    known = np.isfinite(numerator) & np.isfinite(denominator)
    if key not in _RATIOS:
        denominator = np.ones_like(numerator)
    return np.where(known, numerator, 0.0), np.where(known, denominator, 0.0)


def _ratio(above: float, below: float) -> float:
    return float(above / below) if below else float("nan")
