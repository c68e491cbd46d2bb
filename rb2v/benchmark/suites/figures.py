"""Figures over the seeds of a method: their table cells, scores and plots."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from matplotlib.axes import Axes

from rb2v.benchmark.report.page import ACCENT, MUTED
from rb2v.benchmark.report.scores import Score
from rb2v.benchmark.suites.suite import TIMES_NAME, Cell
from rb2v.errors import InputError
from rb2v.io.store import check_schema, read_json

Interval = tuple[float, float]


@dataclass(frozen=True)
class Figure:
    """One figure of a method."""

    values: tuple[float, ...]
    """One a seed; what has no seed has one value."""
    interval: Interval | None = None
    """95 % bootstrap interval of the mean, over takes."""

    @property
    def mean(self) -> float:
        """Mean over the seeds."""
        return sum(self.values) / len(self.values)

    @property
    def least(self) -> float:
        """Least over the seeds."""
        return min(self.values)

    @property
    def largest(self) -> float:
        """Largest over the seeds."""
        return max(self.values)

    @property
    def spread(self) -> float:
        """Largest less least over the seeds."""
        return self.largest - self.least

    def show(self, decimals: int) -> str:
        """Return the mean, and the least and the largest where they differ.

        Examples
        --------
        >>> Figure((1.0, 2.0)).show(1), Figure((1.0, 1.01)).show(1)
        ('1.5 (1.0..2.0)', '1.0')
        """
        least, largest = f"{self.least:.{decimals}f}", f"{self.largest:.{decimals}f}"
        return least if least == largest else f"{self.mean:.{decimals}f} ({least}..{largest})"


@dataclass(frozen=True)
class Scorer:
    """Makes the scores of a suite."""

    suite: str
    stage: str
    """The command whose work is measured."""

    def score(self, metric: str, value: float, unit: str) -> Score:
        """Return a score of all takes."""
        return Score(self.suite, self.stage, metric, value, unit)

    def ends(self, metric: str, interval: Interval | None, unit: str) -> list[Score]:
        """Return the ends of an interval, if there is one."""
        ends = zip(("interval_low", "interval_high"), interval or (), strict=False)
        return [self.score(f"{metric}.{end}", value, unit) for end, value in ends]

    def mean(self, metric: str, figure: Figure, unit: str) -> list[Score]:
        """Return the mean of a figure, and its interval."""
        return [self.score(f"{metric}.mean", figure.mean, unit), *self.ends(metric, figure.interval, unit)]

    def spread(self, metric: str, figure: Figure, unit: str) -> list[Score]:
        """Return mean, least and largest of a figure, and the interval of the mean."""
        mean, *ends = self.mean(metric, figure, unit)
        if len(figure.values) == 1:
            return [mean, *ends]
        least = self.score(f"{metric}.least", figure.least, unit)
        return [mean, least, self.score(f"{metric}.largest", figure.largest, unit), *ends]


def plot_seeds(axis: Axes, figures: Sequence[Figure | None], emphasized: Sequence[bool]) -> None:
    """Draw a row for each figure, from the top: a dot a seed, and a band for the interval."""
    for place, (figure, is_emphasized) in enumerate(zip(figures, emphasized, strict=True)):
        color = ACCENT if is_emphasized else MUTED
        if figure is None:
            continue
        if figure.interval is not None:
            axis.plot(figure.interval, (place, place), color=color, linewidth=6, alpha=0.25, solid_capstyle="butt")
        axis.plot(figure.values, [place] * len(figure.values), "o", color=color, markersize=4, alpha=0.8)


def read_seconds(out_dir: Path, cells: Sequence[Cell]) -> float | None:
    """Return how long the training of runs took, on the mean; None where none was timed.

    Raises
    ------
    InputError
        If a file of times holds something else.
    """
    paths = [out_dir / TIMES_NAME / f"{cell.name}.json" for cell in cells]
    seconds = [_read_time(path) for path in paths if path.exists()]
    return sum(seconds) / len(seconds) if seconds else None


def _read_time(path: Path) -> float:
    document = read_json(path)
    check_schema(path, document)
    seconds = document.get("seconds")
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise InputError(path, f"is {seconds!r}", "seconds", "a number")
    return float(seconds)
