"""The sections of the trajectory suite's report, and the scores they tell of."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rb2v.benchmark.report.page import Gallery, Plot, Section, Table, make_plot, make_table, new_figure
from rb2v.benchmark.suites.figures import Figure, Interval, Scorer, plot_seeds
from rb2v.benchmark.suites.trajectories.trajectory_figures import PENALIZED, Estimator
from rb2v.choices import LandmarkTarget
from rb2v.landmarks.trajectories import PENALTY

SUITE, STAGE = "trajectories", "train-blur2vid"
_scorer = Scorer(SUITE, STAGE)

_TITLES: Mapping[LandmarkTarget, str] = {"face": "Faces: 68 landmarks", "hand": "Hands: tip of the index finger"}
_ERRORS: Mapping[LandmarkTarget, tuple[str, str]] = {"face": ("mean squared error", "px²"), "hand": ("distance", "px")}
_SIZES: Mapping[LandmarkTarget, str] = {"face": "inter-ocular distance", "hand": "hand's size"}
COLUMNS: Mapping[str, tuple[str, int]] = {
    "error": ("error", 2),
    "error_fixed": ("fixed direction", 2),
    "error_penalized": ("with failures", 2),
    "normalized": ("normalized", 4),
    "normalized_fixed": ("normalized, fixed", 4),
    PENALIZED: ("normalized, with failures", 4),
    "found": ("found", 3),
    "path_ratio": ("path", 2),
    "cosine": ("direction", 2),
}
"""Header and decimals of the figures in the tables."""


@dataclass(frozen=True)
class Gain:
    """By how much a method's error is below the baseline's."""

    name: str
    label: str
    value: float
    interval: Interval | None


@dataclass(frozen=True)
class CategoryResult:
    """What was measured of one category."""

    target: LandmarkTarget
    n_samples: int
    n_takes: int
    found_share: float
    """Share of the true frames in which landmarks were found."""
    estimators: Sequence[Estimator]
    gains: Sequence[Gain]
    baseline: str
    """Label of the method that gains are above."""


def report_category(result: CategoryResult, galleries: Sequence[Gallery]) -> Section:
    """Return the section of one category: its column of Table 5, and trajectories over blurry images."""
    target = result.target
    error, unit = _ERRORS[target]
    header = ("Method", *(_header(name, unit) for name in COLUMNS), "95 % of normalized, with failures")
    rows = [
        [
            one.label,
            *(_cell(one.figures[name], COLUMNS[name][1]) for name in COLUMNS),
            _interval(one.figures[PENALIZED]),
        ]
        for one in result.estimators
    ]
    caption = (
        f"error: {error} in px of the frame, over frames found on both sides, in the better direction; fixed: in the "
        f"direction that came out. normalized: distances over the {_SIZES[target]}. with failures: a frame without "
        f"landmarks, or with landmarks further off, counts as {PENALTY:g} of it. found: share of the frames in which "
        f"the truth has landmarks. path: length over the true one. direction: cosine between first-to-last "
        f"displacements. Means over samples and seeds (least..largest)."
    )
    blocks: list[Table | Plot | Gallery] = [make_table(caption, header, rows), _plot(result.estimators)]
    if result.gains:
        gained = [[one.label, f"{one.value:+.4f}", _ends(one.interval)] for one in result.gains]
        caption = (
            f"Normalized error with failures below that of {result.baseline}, on the same samples; 95 % bootstrap."
        )
        blocks.append(make_table(caption, ("Method", "below by", "95 %"), gained))
    blocks += galleries
    lead = (
        f"{result.n_samples} held-out samples of {result.n_takes} takes. In the true frames landmarks were found in "
        f"{100 * result.found_share:.1f} % of all; the others are not scored."
    )
    scores = [_scorer.score(f"{target}.truth.found", result.found_share, "")]
    for one in result.estimators:
        for name in COLUMNS:
            figure = one.figures[name]
            if figure is not None:
                scores += _scorer.spread(
                    f"{target}.{one.name}.{name}", figure, unit if name.startswith("error") else ""
                )
    for gained_one in result.gains:
        metric = f"{target}.{gained_one.name}.gain"
        scores += [_scorer.score(metric, gained_one.value, ""), *_scorer.ends(metric, gained_one.interval, "")]
    return Section(_TITLES[target], lead, tuple(blocks), tuple(scores))


def report_times(seconds: Mapping[str, float]) -> Section:
    """Return the section of the time that the suite took, in s by what it was for."""
    labels = {"training": "training", "landmarks": "finding landmarks", "sequences": "recovering sequences"}
    total = sum(seconds.values()) or 1.0
    rows = [[labels[name], f"{value:.0f}", f"{100 * value / total:.0f}"] for name, value in seconds.items()]
    caption = "All runs together; reading and the scores of trainings are not counted."
    return Section("Time", "", (make_table(caption, ("Work", "s", "%"), rows),), ())


def _header(name: str, unit: str) -> str:
    return f"{COLUMNS[name][0]} [{unit}]" if name.startswith("error") else COLUMNS[name][0]


def _cell(figure: Figure | None, decimals: int) -> str:
    return "" if figure is None else figure.show(decimals)


def _interval(figure: Figure | None) -> str:
    return "" if figure is None else _ends(figure.interval)


def _ends(interval: Interval | None) -> str:
    return "" if interval is None else f"{interval[0]:.4f}..{interval[1]:.4f}"


def _plot(estimators: Sequence[Estimator]) -> Plot:
    figure, (axis,) = new_figure(1, 0.9 + 0.26 * len(estimators), left_inches=3.4)
    plot_seeds(axis, [one.figures[PENALIZED] for one in estimators], [one.trained for one in estimators])
    axis.set(yticks=range(len(estimators)), yticklabels=[one.label for one in estimators])
    axis.set_xlabel("normalized error, with failures")
    axis.invert_yaxis()
    return make_plot("A dot is a seed; a band the 95 % bootstrap interval of the mean over the seeds.", figure)
