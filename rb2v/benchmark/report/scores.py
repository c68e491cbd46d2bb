"""Scores, the targets that some of them have, and the tables that they are written to."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from rb2v.io.store import whole_file

COLUMNS = ("suite", "stage", "take", "metric", "value", "unit", "target", "passed")

_DECIMALS = {
    "": 5,
    "0..1": 2,
    "dB": 2,
    "%": 1,
    "% of edges": 3,
    "px": 3,
    "times": 2,
    "fine frames": 3,
    "s": 4,
    "ms": 2,
    "ppm": 1,
    "CIEDE2000": 3,
}
_SIGNS = {"<=": "≤", ">=": "≥", "==": "="}


@dataclass(frozen=True)
class Target:
    """What a score has to reach."""

    label: str
    """What is checked, in words."""
    relation: Literal["<=", ">=", "=="]
    limit: float

    def is_met_by(self, value: float | None) -> bool:
        """Return whether a value reaches the target; none and NaN do not.

        Examples
        --------
        >>> target = Target("error", "<=", 0.5)
        >>> target.is_met_by(0.5), target.is_met_by(0.51), target.is_met_by(float("nan"))
        (True, False, False)
        """
        if value is None or math.isnan(value):
            return False
        if self.relation == "==":
            return value == self.limit
        return value <= self.limit if self.relation == "<=" else value >= self.limit

    def worst(self, values: Iterable[float]) -> int:
        """Return the index of the value that is furthest from meeting the target."""
        array = np.array(list(values), dtype=np.float64)
        distances = {"<=": array, ">=": -array, "==": np.abs(array - self.limit)}[self.relation]
        return int(np.argmax(np.where(np.isnan(distances), np.inf, distances)))


TARGETS: Mapping[str, Target] = {
    "homography_error_mean": Target("Homography: mean error over the crop", "<=", 0.5),
    "mirror_right": Target("Mirror: found as the rig has it", "==", 1),
    "offset_error.sound": Target("Coarse offset: error of the sound", "<=", 5.0),
    "drift_error": Target("Clock: error of the drift over long takes", "<=", 5.0),
    "acceptance": Target("Alignment: blurry frames accepted", ">=", 90.0),
    "position_fine_error_mean": Target("Alignment: mean error of the sub-frame position", "<=", 0.05),
    "position_error_max": Target("Alignment: largest error of the integer position", "<=", 0.55),
    "sharp_psnr_deficit": Target("Sharp frames of street takes: PSNR below the oracle's", "<=", 1.0),
    "sharp_psnr_deficit_mean": Target("Sharp frames: PSNR below the oracle's, mean over all takes", "<=", 0.5),
    "alpha_mad.sharp": Target("Mattes: mean absolute difference of alpha, sharp frames", "<=", 0.01),
    "alpha_mad.blurry": Target("Mattes: mean absolute difference of alpha, blurry frames", "<=", 0.01),
    "alpha_mad_mean.sharp": Target("Mattes: the same, mean over all takes, sharp frames", "<=", 0.005),
    "alpha_mad_mean.blurry": Target("Mattes: the same, mean over all takes, blurry frames", "<=", 0.005),
    "alpha_flicker": Target("Mattes: change along the motion, over the true alpha's", "<=", 1.2),
    "composite_gap_db.sharp": Target("Composites: PSNR below that of the true alpha, sharp frames", "<=", 3.0),
    "composite_gap_db.blurry": Target("Composites: PSNR below that of the true alpha, blurry frames", "<=", 3.0),
    "composite_gap_db_mean.sharp": Target("Composites: the same, mean over all takes, sharp frames", "<=", 1.5),
    "composite_gap_db_mean.blurry": Target("Composites: the same, mean over all takes, blurry frames", "<=", 1.0),
    "composite_psnr.median": Target("Composites: PSNR of eq. (1), median of the samples", ">=", 38.0),
    "green_fringe": Target("Composites: pixels near edges with the screen's hue", "<=", 0.1),
    "middlebury.flow.psnr": Target("Interpolation: flow on Middlebury-other", ">=", 35.0),
    "middlebury.rife.difference": Target("Interpolation: RIFE on Middlebury-other, off its known PSNR", "<=", 0.02),
    "middlebury.cdfi.psnr": Target("Interpolation: CDFI on Middlebury-other", ">=", 36.5),
    "ucf101.flow.psnr": Target("Interpolation: flow on UCF101", ">=", 35.9),
    "ucf101.rife.psnr": Target("Interpolation: RIFE on UCF101", ">=", 36.2),
    "ucf101.cdfi.psnr": Target("Interpolation: CDFI on UCF101", ">=", 36.2),
    "network.hit": Target("Order network: hit on the held-out split", ">=", 90.0),
    "network.labels_flipped": Target("Order network: labels flipped by reversing the input", ">=", 99.0),
}
"""Targets by metric."""


@dataclass(frozen=True)
class Score:
    """One figure."""

    suite: str
    """Part of the report."""
    stage: str
    """Command whose work is measured."""
    metric: str
    value: float | None
    """None where the figure is not defined."""
    unit: str
    take: str = ""
    """Empty where the figure is about more than one take."""
    checked: bool = False
    """Whether the metric's target counts here."""

    @property
    def target(self) -> Target | None:
        """What the score has to reach, if anything."""
        return TARGETS[self.metric] if self.checked else None

    @property
    def passed(self) -> bool | None:
        """Whether it does; None where it has no target."""
        return None if self.target is None else self.target.is_met_by(self.value)


@dataclass(frozen=True)
class Verdict:
    """One line of the summary: the worst of all scores with one target."""

    worst: Score
    n_passed: int
    n_scores: int

    @property
    def passed(self) -> bool:
        """Whether every score met the target."""
        return self.n_passed == self.n_scores


def summarize(scores: Sequence[Score]) -> list[Verdict]:
    """Return one verdict per checked metric, in the order of `TARGETS`."""
    verdicts = []
    for metric, target in TARGETS.items():
        checked = [score for score in scores if score.checked and score.metric == metric]
        if checked:
            values = [math.nan if score.value is None else score.value for score in checked]
            n_passed = sum(bool(score.passed) for score in checked)
            verdicts.append(Verdict(checked[target.worst(values)], n_passed, len(checked)))
    return verdicts


def format_target(target: Target, unit: str) -> str:
    """Return a target as it is read: ``≤ 0.5 px``.

    Examples
    --------
    >>> format_target(TARGETS["acceptance"], "%")
    '≥ 90 %'
    """
    if unit == "yes/no":
        return "yes" if target.limit else "no"
    return f"{_SIGNS[target.relation]} {target.limit:g} {unit}".rstrip()


def format_value(value: float | None, unit: str, *, with_unit: bool = True) -> str:
    """Return a value as it is read, with as many decimals as its unit deserves.

    Examples
    --------
    >>> format_value(31.4159, "dB"), format_value(0.0123456, ""), format_value(75, "samples"), format_value(1, "yes/no")
    ('31.42 dB', '0.01235', '75 samples', 'yes')
    >>> format_value(None, "dB"), format_value(99.5, "%", with_unit=False)
    ('none', '99.5')
    """
    if value is None or math.isnan(value):
        return "none"
    if unit == "yes/no":
        return "yes" if value else "no"
    text = f"{value:.{_DECIMALS.get(unit, 0)}f}"
    return f"{text} {unit}".rstrip() if with_unit else text


def to_document(score: Score) -> dict[str, Any]:
    """Return a score as a row of the tidy table."""
    return {
        "suite": score.suite,
        "stage": score.stage,
        "take": score.take,
        "metric": score.metric,
        "value": None if score.value is None or not math.isfinite(score.value) else float(f"{score.value:.6g}"),
        "unit": score.unit,
        "target": None if score.target is None else f"{score.target.relation} {score.target.limit:g}",
        "passed": score.passed,
    }


def write_scores(path: Path, scores: Iterable[Score]) -> Path:
    """Write the tidy table as CSV, whole or not at all, and return its path."""
    with whole_file(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, COLUMNS, lineterminator="\n")
        writer.writeheader()
        for row in map(to_document, scores):
            passed = "" if row["passed"] is None else int(row["passed"])
            writer.writerow({name: "" if value is None else value for name, value in row.items()} | {"passed": passed})
    return path
