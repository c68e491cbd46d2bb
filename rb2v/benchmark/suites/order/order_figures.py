"""Figures of the runs, from their predictions: each over the seeds of a network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from rb2v.benchmark.suites.figures import Figure, read_seconds
from rb2v.benchmark.suites.order.order_grid import OrderCell
from rb2v.benchmark.suites.suite import RUNS_NAME
from rb2v.errors import InputError
from rb2v.hypercut.evaluate import keep_pairs, read_predictions, score_predictions
from rb2v.hypercut.train import METRICS_NAME, PREDICTIONS_NAME
from rb2v.io.store import read_json

KEYS = ["take", "blurry_index"]
_EXPECTED = "what 'rb2v benchmark order' wrote; remove the run's folder to train it again"

Scores = Mapping[str, Any]
"""What ``score_predictions`` says of one scorer."""


@dataclass(frozen=True, eq=False)
class RunResult:
    """What a finished run left."""

    cell: OrderCell
    predictions: pd.DataFrame
    scores: Mapping[str, Scores]
    """By scorer."""
    collapsed: bool
    seconds: float | None
    """Of training; None where it was killed and nothing was left to do."""


def read_result(
    out_dir: Path, cell: OrderCell, motion: pd.DataFrame | None, pairs: Sequence[int] | None = None
) -> RunResult:
    """Read a finished run, and score its predictions, of some pairs alone where they are given.

    Raises
    ------
    InputError
        If its files are not what training writes.
    """
    folder = out_dir / RUNS_NAME / cell.name
    predictions = read_predictions(folder / PREDICTIONS_NAME)
    if pairs is not None:
        predictions = keep_pairs(predictions, pairs)
    scores = score_predictions(predictions, motion)
    if "network" not in scores:
        raise InputError(folder / PREDICTIONS_NAME, "has no row of the network", "scorer", _EXPECTED)
    return RunResult(
        cell=cell,
        predictions=predictions,
        scores=scores,
        collapsed=bool(read_json(folder / METRICS_NAME).get("collapsed", False)),
        seconds=read_seconds(out_dir, [cell]),
    )


def over_seeds(results: Sequence[RunResult], scorer: str) -> dict[str, Figure]:
    """Return a scorer's figures over the runs of one network, by name.

    The intervals are of the mean over the seeds: a take is drawn with its sequences as all seeds score them. Agreement
    with the motion has that of the first seed, because each has a best direction of its own.

    Parameters
    ----------
    results : sequence of RunResult
        Runs that differ in nothing but their seed.
    scorer : str
        ``network`` or a control.
    """
    scores = [result.scores[scorer] for result in results]
    tables = [result.predictions[result.predictions["scorer"] == scorer] for result in results]
    return _pool(scores, tables, scorer)


def _pool(scores: Sequence[Scores], tables: Sequence[pd.DataFrame], scorer: str) -> dict[str, Figure]:
    """Return the figures of a scorer over seeds, from the scores and the predictions of each."""
    pooled = score_predictions(pd.concat(tables, ignore_index=True))[scorer]["intervals"]
    intervals = {**pooled, "agreement": scores[0]["intervals"].get("agreement")}
    shares = [_shares(one) for one in scores]
    return {name: _figure([one[name] for one in shares], intervals.get(name)) for name in shares[0]}


def _shares(scores: Scores) -> dict[str, float]:
    """Return a scorer's shares by name: con@k and hit_pair_k depend on how many pairs a sequence has."""
    left_out = ("agreement_chance", "agreement_n")
    shares = {name: value for name, value in scores.items() if isinstance(value, float) and name not in left_out}
    return shares | {f"hit_pair_{k}": float(hit) for k, hit in enumerate(scores["hit_pairs"])}


def _figure(shares: Sequence[float], interval: Sequence[float] | None) -> Figure:
    return Figure(
        tuple(100 * share for share in shares),
        None if interval is None else (100 * float(interval[0]), 100 * float(interval[1])),
    )


def by_category(results: Sequence[RunResult], table: pd.DataFrame) -> dict[str, tuple[int, dict[str, Figure]]]:
    """Return, per category, how many test sequences it has and the networks' figures on them.

    Parameters
    ----------
    results : sequence of RunResult
        Runs that differ in nothing but their seed.
    table : DataFrame
        ``take``, ``blurry_index`` and ``category`` of the test sequences.
    """
    figures = {}
    for category, keys in table.groupby("category", sort=False):
        tables = [
            result.predictions[result.predictions["scorer"] == "network"].merge(keys[KEYS], on=KEYS)
            for result in results
        ]
        # One resample: the intervals are those of all seeds together.
        scores = [score_predictions(rows, n_resamples=1)["network"] for rows in tables]
        figures[str(category)] = len(keys), _pool(scores, tables, "network")
    return figures
