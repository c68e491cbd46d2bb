"""The order network: what a run says of itself on held-out sequences, beside scorers that nobody trained."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pandas as pd

from rb2v.benchmark.report.page import (
    ACCENT,
    CATEGORY_COLORS,
    MUTED,
    Cell,
    Gallery,
    Plot,
    Section,
    Table,
    add_legend,
    make_picture,
    make_plot,
    make_table,
    new_figure,
)
from rb2v.benchmark.report.scores import Score, format_value
from rb2v.errors import InputError, require_file
from rb2v.hypercut.evaluate import read_predictions, score_predictions
from rb2v.hypercut.losses import LOSSES
from rb2v.hypercut.train import LABELS_NAME, METRICS_NAME, PREDICTIONS_NAME, SAMPLES_NAME
from rb2v.io.store import check_schema, read_json
from rb2v.training.state import TRAINING_NAME
from rb2v.training.tables import read_table

_SUITE, _STAGE = "order", "train-hypercut"
_EXPECTED = "a run that 'rb2v train-hypercut' finished"
_MAX_SAMPLES_BYTES = 2**26  # 64 MB, far more than six rows of frames of 144 px take
_MAX_TAKES_SHOWN = 24  # lines of a table that is still read

_Line = list[str | Score | Cell]


def report(run_dir: Path, motion: pd.DataFrame | None = None) -> Section:
    """Return the section on a run of the order network.

    Parameters
    ----------
    run_dir : Path
        A finished run.
    motion : DataFrame, optional
        True motion of the data set's samples, as `rb2v.benchmark.truth.motion_truth.read_motion` returns it.

    Raises
    ------
    InputError
        If the run is not finished, or its files are not what training writes.
    """
    metrics_path = run_dir / METRICS_NAME
    for path in (metrics_path, run_dir / PREDICTIONS_NAME):
        require_file(path, _EXPECTED)
    metrics = read_json(metrics_path)
    check_schema(metrics_path, metrics)
    curves = read_table(
        run_dir / TRAINING_NAME, ("step", "loss", "gradient_norm", "hit", "con@2"), texts=(), expected=_EXPECTED
    )
    labels = read_table(
        run_dir / LABELS_NAME, ("split", "take", "order", "consistent"), texts=("split", "take"), expected=_EXPECTED
    )
    blocks: list[Table | Plot | Gallery] = []
    scores: list[Score] = []
    tested = metrics.get("test")
    if tested:
        try:
            if motion is not None:
                _add_agreement(metrics, score_predictions(read_predictions(run_dir / PREDICTIONS_NAME), motion))
            tables = _score_tables(metrics, scores)
        except (KeyError, TypeError, ValueError) as error:
            raise InputError(metrics_path, f"lacks or mistakes a figure ({error})", expected=_EXPECTED) from error
        blocks += tables
    takes = _take_lines(labels)
    left_out = f" {len(takes) - _MAX_TAKES_SHOWN} more are in results.csv." if len(takes) > _MAX_TAKES_SHOWN else ""
    blocks.append(
        make_table(
            f"The labels by take: a sequence is kept as it is, order +1, or reversed, order -1.{left_out}",
            ("Take", "Split", "sequences", "all pairs agree [%]", "labeled keep (order +1) [%]"),
            takes[-_MAX_TAKES_SHOWN:],
            n_text_columns=2,
        )
    )
    scores += [cell for line in takes for cell in line if isinstance(cell, Score)]
    blocks += [_plot_training(curves), _show_samples(run_dir / SAMPLES_NAME)]
    collapsed = bool(metrics.get("collapsed"))
    scores.append(Score(_SUITE, _STAGE, "network.collapsed", float(collapsed), "yes/no"))
    lead = (
        "Which of its two directions a sequence is shown in: the network's answer on sequences of subjects that it was "
        "not trained on. "
    ) + ("" if tested else "The data set has no test split, so that nothing is held out and only training is shown. ")
    if collapsed:
        lead += "The network COLLAPSED: it gives all pairs about the same score, or the same for both of their orders."
    return Section("Order network", lead, tuple(blocks), tuple(scores))


def _scorers(metrics: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {"network": metrics["test"], **(metrics.get("controls") or {})}


def _add_agreement(metrics: dict[str, Any], scored: dict[str, dict[str, Any]]) -> None:
    """Add to every scorer's figures how well its labels follow the true motion, where that is known."""
    for name, found in _scorers(metrics).items():
        if scored[name]["agreement_n"]:
            found |= {key: value for key, value in scored[name].items() if key.startswith("agreement")}
            found["intervals"]["agreement"] = scored[name]["intervals"]["agreement"]


def _score_tables(metrics: dict[str, Any], scores: list[Score]) -> list[Table]:
    """Return what the order is worth, and what it withstands; add the figures to ``scores``."""
    tested = metrics["test"]
    n_pairs = len(tested["hit_pairs"])
    order = {
        "hit": "hit, all pairs",
        "con@2": "con@2, mean over choices",
        "con@2_outer": "con@2, outer pairs",
        **{name: name for name in (f"con@{k}" for k in range(3, n_pairs + 1))},
        **({"agreement": "follows the motion"} if "agreement" in tested else {}),
    }
    kept = {
        "labels_flipped": "flipped when reversed",
        "contrast_reversed": "kept: contrast reversed",
        "contrast_scaled": "kept: contrast times 0.8",
        "brightness_shifted": "kept: brightness shifted by 0.1",
    }
    hits = {f"hit_pair_{k}": f"pair {k}" for k in range(n_pairs)}
    order_caption = (
        f"In %, over {metrics['test_sequences']} held-out sequences; in brackets 95 % intervals, by bootstrap over "
        "takes. Below the network: the same one untrained, and scorers that nobody trained, of which normal flow alone "
        "sees motion. Hit and con mean little unless they stand above these; an antisymmetric scorer has a hit of 100 "
        "by construction."
    )
    if "agreement" in tested:
        order_caption += (
            f" Follows the motion: of the {tested['agreement_n']} sequences whose true motion is known, those whose "
            "labels tell on which side of a line it points, for the best line; with random labels "
            f"{100 * tested['agreement_chance']:.1f} %."
        )
    kept_caption = (
        "In %: labels that turn when the sequence is reversed; and labels that stay when all its frames are changed "
        "alike, because its motion is what it was."
    )
    scorers = _scorers(metrics)
    return [
        make_table(
            caption,
            ("Scorer", *headers.values()),
            [[name.replace("_", " "), *_cells(name, found, headers, scores)] for name, found in scorers.items()],
        )
        for caption, headers in ((order_caption, order), (kept_caption, kept), ("Hit of every pair, in %.", hits))
    ]


def _cells(scorer: str, found: dict[str, Any], metrics: dict[str, str], scores: list[Score]) -> list[Cell]:
    cells = []
    values = {**found, **{f"hit_pair_{k}": value for k, value in enumerate(found["hit_pairs"])}}
    for metric in metrics:
        checked = scorer == "network" and metric in ("hit", "labels_flipped")
        name = f"{scorer}.{metric}"
        score = Score(_SUITE, _STAGE, name, 100 * float(values[metric]), "%", checked=checked)
        scores.append(score)
        text = format_value(score.value, "%", with_unit=False)
        interval = found["intervals"][metric]
        if interval is not None:
            low, high = (100 * float(end) for end in interval)
            scores += [
                Score(_SUITE, _STAGE, f"{name}.{end}", value, "%") for end, value in (("low", low), ("high", high))
            ]
            text += f" ({low:.1f}, {high:.1f})"
        cells.append(Cell(text, score.passed))
    return cells


def _take_lines(labels: pd.DataFrame) -> list[_Line]:
    lines: list[_Line] = []
    for (split, take), rows in labels.groupby(["split", "take"], sort=False):
        name = str(take)
        lines.append(
            [
                name,
                str(split),
                Score(_SUITE, _STAGE, "sequences", len(rows), "samples", name),
                Score(_SUITE, _STAGE, "consistent", 100 * float(rows["consistent"].mean()), "%", name),
                Score(_SUITE, _STAGE, "labeled_keep", 100 * float((rows["order"] > 0).mean()), "%", name),
            ]
        )
    return lines


def _plot_training(curves: pd.DataFrame) -> Plot:
    figure, (losses, gradient, shares) = new_figure(3, 2.8)
    names = [name for name in sorted(set().union(*LOSSES.values())) if name in curves]
    losses.plot(curves["step"], curves["loss"], color=ACCENT, label="loss")
    for name, color in zip(names, [*list(CATEGORY_COLORS.values())[1:], MUTED], strict=False):
        losses.plot(curves["step"], curves[name], color=color, linestyle="--", label=name)
    losses.set(xlabel="step", ylabel="loss")
    add_legend(losses)
    gradient.plot(curves["step"], curves["gradient_norm"], color=ACCENT)
    gradient.set(xlabel="step", ylabel="gradient norm")
    all_pairs = [name for name in map(str, curves) if re.fullmatch(r"con@\d+", name)][-1]
    for name, color in {"hit": CATEGORY_COLORS["face"], "con@2": MUTED, all_pairs: ACCENT}.items():
        shares.plot(curves["step"], 100 * curves[name], color=color, label=name)
    shares.set(xlabel="step", ylabel="of the batch [%]", ylim=(-3, 103))
    add_legend(shares)
    caption = (
        "Training: the loss, and its terms before they are weighted; the norm of its gradient before it is bounded; "
        "how many pairs of a batch hit, and how many of its sequences have two pairs, or all, on one side."
    )
    return make_plot(caption, figure)


def _show_samples(path: Path) -> Gallery:
    require_file(path, _EXPECTED)
    if path.stat().st_size > _MAX_SAMPLES_BYTES:
        raise InputError(path, "is larger than what training writes", expected=_EXPECTED)
    image = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise InputError(path, "is not an image", expected=_EXPECTED)
    picture = make_picture(
        "Framed pairs were shown with inverted colors; s_k is the score that the untrained network gave the pair.",
        np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), dtype=np.uint8),
    )
    return Gallery("Sequences of the first step as the network saw them, augmented.", (picture,), columns=1)
