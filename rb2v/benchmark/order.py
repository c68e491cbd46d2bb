"""The order network: what a run says of itself on held-out sequences, beside scorers that know nothing of motion."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rb2v.benchmark.page import ACCENT, MUTED, Plot, Section, Table, make_plot, make_table, new_figure
from rb2v.benchmark.scores import Score
from rb2v.errors import InputError
from rb2v.hypercut.train import LABELS_NAME, METRICS_NAME, PREDICTIONS_NAME, TRAINING_NAME
from rb2v.io.store import check_schema, read_json

_SUITE, _STAGE = "order", "train-hypercut"
_EXPECTED = "a run that 'rb2v train-hypercut' finished"


def report(run_dir: Path) -> Section:
    """Return the section on a run of the order network.

    Raises
    ------
    InputError
        If the run is not finished, or its files are not what training writes.
    """
    metrics_path = run_dir / METRICS_NAME
    if not metrics_path.is_file():
        raise InputError(metrics_path, "there is no such file", expected=_EXPECTED)
    metrics = read_json(metrics_path)
    check_schema(metrics_path, metrics)
    curves = _read_table(run_dir / TRAINING_NAME, ("step", "loss", "con@2"))
    labels = _read_table(run_dir / LABELS_NAME, ("split", "take", "order", "consistent"))
    blocks: list[Table | Plot] = []
    scores: list[Score] = []
    tested = metrics.get("test")
    if tested:
        flipped = _labels_flipped(run_dir / PREDICTIONS_NAME)
        try:
            lines = [_score_line(name, tested_by, flipped) for name, tested_by in _scorers(metrics)]
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(metrics_path, f"lacks or mistakes a figure ({error})", expected=_EXPECTED) from error
        n_pairs = len(tested["hit_pairs"])
        header = ("Scorer", "hit, mean", *(f"hit, pair {k}" for k in range(n_pairs)), *_shares(tested).values())
        caption = (
            f"In %, over {metrics['test_sequences']} held-out sequences. Below the network: the same one "
            "untrained, and scorers that know nothing of motion. Hit and con mean little unless they stand above "
            "these; an antisymmetric scorer has a hit of 100 by construction."
        )
        blocks.append(make_table(caption, (*header, "labels flipped by reversal"), lines))
        scores += [cell for line in lines for cell in line if isinstance(cell, Score)]
    takes = _take_lines(labels)
    blocks.append(
        make_table(
            "The labels by take, of the side that the network names +1.",
            ("Take", "Split", "sequences", "all pairs agree [%]", "labelled +1 [%]"),
            takes,
            n_text_columns=2,
        )
    )
    scores += [cell for line in takes for cell in line if isinstance(cell, Score)]
    blocks.append(_plot_training(curves))
    lead = (
        "Which of its two directions a sequence is shown in: the network's answer on sequences of subjects that it was "
        "not trained on. "
    ) + ("" if tested else "The data set has no test split, so that nothing is held out and only training is shown.")
    return Section("Order network", lead, tuple(blocks), tuple(scores))


def _read_table(path: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    if not path.is_file():
        raise InputError(path, "there is no such file", expected=_EXPECTED)
    try:
        table = pd.read_csv(path)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise InputError(path, f"is no table ({error})", expected=_EXPECTED) from error
    for name in columns:
        if name not in table:
            raise InputError(path, "column is missing", name, expected=", ".join(columns))
    return table


def _scorers(metrics: dict[str, Any]) -> list[tuple[str, dict[str, Any]]]:
    return [("network", metrics["test"]), *(metrics.get("controls") or {}).items()]


def _shares(tested: dict[str, Any]) -> dict[str, str]:
    """Return the headers of the shares that a scorer's figures hold, by name: how many con@k depends on its pairs."""
    headers = {
        "con@2": "con@2, mean over choices",
        "con@2_outer": "con@2, outer pairs",
        **{name: name for name in (f"con@{k}" for k in range(3, len(tested["hit_pairs"]) + 1))},
        "contrast_reversed": "kept under reversed contrast",
        "brightness_shifted": "kept under shifted brightness",
    }
    return {name: header for name, header in headers.items() if name in tested}


def _score_line(scorer: str, tested: dict[str, Any], flipped: dict[str, float]) -> list[str | Score]:
    def share(metric: str, value: float) -> Score:
        checked = scorer == "network" and metric in ("hit", "labels_flipped")
        return Score(_SUITE, _STAGE, f"{scorer}.{metric}", 100 * float(value), "%", checked=checked)

    return [
        scorer.replace("_", " "),
        share("hit", tested["hit"]),
        *(share(f"hit_pair_{index}", value) for index, value in enumerate(tested["hit_pairs"])),
        *(share(name, tested[name]) for name in _shares(tested)),
        share("labels_flipped", flipped[scorer]),
    ]


def _labels_flipped(path: Path) -> dict[str, float]:
    """Return, per scorer, the share of sequences whose label changes sides when the sequence is reversed."""
    table = _read_table(path, ("scorer", "variant", "s_0", "r_0"))
    plain = table[table["variant"] == "plain"]
    ahead = plain[[name for name in plain.columns if name.startswith("s_")]].sum(axis=1)
    back = plain[[name for name in plain.columns if name.startswith("r_")]].sum(axis=1)
    flipped = (np.sign(ahead) * np.sign(back) < 0).groupby(plain["scorer"]).mean()
    return {str(name): float(value) for name, value in flipped.items()}


def _take_lines(labels: pd.DataFrame) -> list[list[str | Score]]:
    lines: list[list[str | Score]] = []
    for (split, take), rows in labels.groupby(["split", "take"], sort=False):
        name = str(take)
        lines.append(
            [
                name,
                str(split),
                Score(_SUITE, _STAGE, "sequences", len(rows), "samples", name),
                Score(_SUITE, _STAGE, "consistent", 100 * float(rows["consistent"].mean()), "%", name),
                Score(_SUITE, _STAGE, "labelled_keep", 100 * float((rows["order"] > 0).mean()), "%", name),
            ]
        )
    return lines


def _plot_training(curves: pd.DataFrame) -> Plot:
    figure, (left, right) = new_figure(2, 2.8)
    left.plot(curves["step"], curves["loss"], color=ACCENT)
    left.set(xlabel="step", ylabel="loss")
    all_pairs = [name for name in map(str, curves) if re.fullmatch(r"con@\d+", name)][-1]
    for name, color in {"con@2": MUTED, all_pairs: ACCENT}.items():
        right.plot(curves["step"], 100 * curves[name], color=color, label=name)
    right.set(xlabel="step", ylabel="sequences [%]")
    right.legend(frameon=False)
    return make_plot("Training: the loss, and how many sequences of a batch have all their pairs on one side.", figure)
