"""Figures of the runs, from their measurements per sample: each over the seeds of a backbone and method."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from rb2v.benchmark.deblur_suite.grid import RUNS_NAME, TIMES_NAME, Cell
from rb2v.blur2vid.evaluate import SAMPLES_NAME, figures_of_samples, read_samples, score_samples
from rb2v.io.store import read_json
from rb2v.training.intervals import TakeBootstrap, interval_of

N_RESAMPLES = 1000  # 25 of which lie beyond either end of an interval of 95 %


@dataclass(frozen=True)
class Figure:
    """One figure of an estimator."""

    values: tuple[float, ...]
    """One a seed."""
    interval: tuple[float, float] | None
    """95 % bootstrap interval of the mean over the seeds, over takes."""

    @property
    def mean(self) -> float:
        """Mean over the seeds."""
        return sum(self.values) / len(self.values)


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


def read_run(out_dir: Path, cell: Cell) -> pd.DataFrame:
    """Read the measurements of a finished run."""
    return read_samples(out_dir / RUNS_NAME / cell.name / SAMPLES_NAME)


def read_seconds(out_dir: Path, cells: Sequence[Cell]) -> float | None:
    """Return how long the training of runs took, on the mean; None where none was timed."""
    paths = [out_dir / TIMES_NAME / f"{cell.name}.json" for cell in cells]
    seconds = [float(read_json(path)["seconds"]) for path in paths if path.exists()]
    return sum(seconds) / len(seconds) if seconds else None


def over_seeds(
    name: str, backbone: str, label: str, tables: Sequence[pd.DataFrame], estimator: str, seconds: float | None = None
) -> Estimator:
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
    seconds : float, optional
        Of training.
    """
    chosen = [table[table["estimator"] == estimator] for table in tables]
    scores = [score_samples(rows, n_resamples=1)[estimator] for rows in chosen]
    pooled = score_samples(pd.concat(chosen, ignore_index=True), n_resamples=N_RESAMPLES)[estimator]["intervals"]
    names = [key for key, value in scores[0].items() if isinstance(value, float)]
    figures = {
        key: Figure(tuple(float(one[key]) for one in scores), None if pooled[key] is None else tuple(pooled[key]))
        for key in names
    }
    frames = np.mean([one["frames"]["psnr"] for one in scores], axis=0)
    return Estimator(name, backbone, label, figures, tuple(frames.tolist()), seconds)


def gain(
    tables: Sequence[pd.DataFrame], baseline: Sequence[pd.DataFrame], metric: str
) -> tuple[float, tuple[float, float] | None]:
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
