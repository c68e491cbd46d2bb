"""Figures of the runs, from their measurements per sample: each over the seeds of a backbone and method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from rb2v.benchmark.suites.figures import Figure, Interval
from rb2v.blur2vid.evaluate import figures_of_samples, score_samples
from rb2v.training.intervals import TakeBootstrap, interval_of

N_RESAMPLES = 1000  # 25 of which lie beyond either end of an interval of 95 %


@dataclass(frozen=True)
class Estimator:
    """A row of the tables."""

    name: str
    """Of its scores: ``<backbone>.<method>``, or that of a trivial estimate."""
    backbone: str
    label: str
    figures: Mapping[str, Figure]
    frames: tuple[float, ...]
    """PSNR of every frame, with the direction that the sequence chooses, mean over the seeds, in dB."""
    seconds: float | None = None
    """Of training, mean over the seeds; None where it is not known."""


def over_seeds(name: str, backbone: str, label: str, tables: Sequence[pd.DataFrame], estimator: str) -> Estimator:
    """Return an estimator's figures over runs that differ in nothing but their seed.

    The intervals are of the mean over the seeds: a take is drawn with its samples as all seeds estimate them.

    Parameters
    ----------
    name, backbone, label : str
        Of the row.
    tables : sequence of DataFrame
        What `measure_samples` returned, one a seed.
    estimator : str
        ``network`` or a trivial one.
    """
    chosen = [table[table["estimator"] == estimator] for table in tables]
    scores = [score_samples(rows, n_resamples=1)[estimator] for rows in chosen]
    pooled = score_samples(pd.concat(chosen, ignore_index=True), n_resamples=N_RESAMPLES)[estimator]["intervals"]
    names = [key for key, value in scores[0].items() if isinstance(value, float)]
    figures = {
        key: Figure(
            tuple(float(one[key]) for one in scores), None if (ends := pooled.get(key)) is None else tuple(ends)
        )
        for key in names
    }
    frames = np.mean([one["frames"]["psnr"] for one in scores], axis=0)
    return Estimator(name, backbone, label, figures, tuple(frames.tolist()))


def gain(
    tables: Sequence[pd.DataFrame], baseline: Sequence[pd.DataFrame], metric: str
) -> tuple[float, Interval | None]:
    """Return by how much runs are above others on the same samples, mean over the seeds, and its interval.

    Parameters
    ----------
    tables, baseline : sequence of DataFrame
        Measurements of as many seeds each.
    metric : str
        A figure of `figures_of_samples`.
    """
    ours, theirs = (
        np.mean([figures_of_samples(table[table["estimator"] == "network"])[metric] for table in group], axis=0)
        for group in (tables, baseline)
    )
    rows = tables[0][tables[0]["estimator"] == "network"]
    difference = ours - theirs
    bootstrap = TakeBootstrap(rows["take"].astype(str), N_RESAMPLES, 0)
    interval = interval_of(bootstrap.means(difference[:, None])[:, 0])
    return float(difference.mean()), None if interval is None else (interval[0], interval[1])
