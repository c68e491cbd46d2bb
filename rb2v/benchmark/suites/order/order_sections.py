"""The sections of the order suite's report, and the scores they tell of."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from rb2v.benchmark.report.page import (
    ACCENT,
    MUTED,
    WARNING,
    Cell,
    Plot,
    Section,
    Table,
    make_plot,
    make_table,
    new_figure,
)
from rb2v.benchmark.report.scores import Score
from rb2v.benchmark.suites.figures import Figure, Scorer, plot_seeds
from rb2v.benchmark.suites.order.order_figures import RunResult, by_category, over_seeds
from rb2v.benchmark.suites.order.point_map import PointMap
from rb2v.hypercut.networks import make_order_network

SUITE = "order"
_scorer = Scorer(SUITE, "train-hypercut")

_HEADERS = {
    "hit": "hit",
    "con@2": "con@2",
    "con@2_outer": "con@2, outer pairs",
    "agreement": "follows the motion",
    "contrast_reversed": "kept under reversed contrast",
    "contrast_scaled": "kept under scaled contrast",
    "brightness_shifted": "kept under shifted brightness",
    "labels_flipped": "flipped by reversal",
}
_ORDER_METRICS = ("hit", "con@2", "con@2_outer", "con", "agreement")
_INVARIANCES = ("contrast_reversed", "contrast_scaled", "brightness_shifted", "labels_flipped")


@dataclass(frozen=True, eq=False)
class Row:
    """A scorer of the main table."""

    name: str
    """Beginning of its metrics' names."""
    figures: Mapping[str, Figure]
    trained: bool

    @property
    def label(self) -> str:
        """The name as it is read."""
        return readable(self.name)


def readable(name: str) -> str:
    """Return the name of a scorer as it is read."""
    return name.replace(".", " ").replace("_", " ")


def main_rows(results: Mapping[str, Sequence[RunResult]]) -> list[Row]:
    """Return the rows of the main table: the networks, the same untrained, and what learns nothing.

    Parameters
    ----------
    results : mapping of str to sequence of RunResult
        Runs of every network, one a seed.
    """
    rows = [Row(arch, over_seeds(runs, "network"), True) for arch, runs in results.items()]
    rows += [Row(f"untrained.{arch}", over_seeds(runs, "untrained"), False) for arch, runs in results.items()]
    first = next(iter(results.values()))[0]
    # No network and no seed is in the other controls: one run tells of them for all.
    controls = [name for name in first.scores if name not in ("network", "untrained")]
    return [*rows, *(Row(name, over_seeds([first], name), False) for name in controls)]


def report_networks(results: Mapping[str, Sequence[RunResult]], rows: Sequence[Row]) -> Section:
    """Return the section of all networks, all seeds."""
    first = next(iter(results.values()))[0].scores["network"]
    chance = first.get("agreement_chance")
    chance = None if chance is None else 100 * float(chance)
    caption = (
        "In % of the held-out sequences, mean over the seeds (least..largest, where they differ). con@2 is the mean "
        "over the choices of two pairs. Below the networks: the same untrained, and scorers that learn nothing, of "
        "which normal flow alone sees motion."
    )
    invariances = (
        "In % of the held-out sequences, mean over the seeds (least..largest): orders that stay as they were when "
        "all frames are changed alike, and orders that turn with the sequence."
    )
    if chance is not None:
        caption += (
            " The motion is followed where the order tells on which side of a line through the origin the true mean "
            "motion lies, for the best of all lines; with random orders the best comes to the figure in the last row."
        )
    trained = [row for row in rows if row.trained]
    if len(next(iter(results.values()))) > 1:
        con = last_con(rows[0].figures)
        spreads = ", ".join(f"{row.label} {row.figures[con].spread:.1f}" for row in trained)
        caption += f" Largest less least {con} over the seeds, in points: {spreads}."
    pairs = "The hit of each pair x_k, x_N-k, in %, mean over the seeds (least..largest); pair 0 is the outermost."
    shown = _known(rows, _ORDER_METRICS)
    order_table = _table(caption, rows, shown)
    if chance is not None:
        random_orders = ["random orders", *(f"{chance:.1f}" if name == "agreement" else "" for name in shown)]
        order_table = dataclasses.replace(order_table, rows=(*order_table.rows, tuple(map(Cell, random_orders))))
    blocks: list[Table | Plot] = [
        order_table,
        _plot_rows(rows, chance),
        _table(pairs, trained, [name for name in rows[0].figures if name.startswith("hit_pair_")]),
        _table(invariances, rows, _known(rows, _INVARIANCES)),
    ]
    lead = (
        "hit: reversing the input changes the side of the plane. con@k: k pairs of a sequence lie on one side. Neither "
        "is evidence of motion: what orders by brightness reaches them as well, so that a network is to be held "
        "against the controls below it. One that gives all pairs the same score has a con of 100, and a hit of 0."
    )
    scores = [
        score
        for row in rows
        for name, figure in row.figures.items()
        for score in _scorer.spread(f"{row.name}.{name}", figure, "%")
    ]
    if chance is not None:
        scores.append(_scorer.score("random.agreement.mean", chance, "%"))
        scores.append(_scorer.score("sequences.with_motion", float(first["agreement_n"]), "samples"))
    return Section("All networks", lead, tuple(blocks), tuple(scores))


def _known(rows: Sequence[Row], wanted: Sequence[str]) -> list[str]:
    """Return the metrics that are there, of those wanted; ``con`` stands for con@3 and above."""
    names = []
    for name in wanted:
        if name == "con":
            names += [found for found in rows[0].figures if _is_con(found) and found != "con@2"]
        elif name in rows[0].figures:
            names.append(name)
    return names


def _is_con(metric: str) -> bool:
    return metric.startswith("con@") and "_" not in metric


def _table(caption: str, rows: Sequence[Row], metrics: Sequence[str]) -> Table:
    header = ("Scorer", *(_header(name) for name in metrics))
    return make_table(
        caption, header, [[row.label, *(_cell(row.figures.get(name)) for name in metrics)] for row in rows]
    )


def _header(metric: str) -> str:
    return _HEADERS.get(metric, metric.replace("_", " "))


def _cell(figure: Figure | None) -> str:
    return "" if figure is None else figure.show(1)


def _cell_with_interval(figure: Figure) -> str:
    if figure.interval is None:
        return _cell(figure)
    low, high = figure.interval
    return f"{_cell(figure)} [{low:.1f}, {high:.1f}]"


def last_con(metrics: Sequence[str] | Mapping[str, Figure]) -> str:
    """Return the name of con@k of all pairs of a sequence: con@3 where it has seven frames."""
    return [name for name in metrics if _is_con(name)][-1]


def _plot_rows(rows: Sequence[Row], chance: float | None) -> Plot:
    con = last_con(rows[0].figures)
    shown = [con, *(["agreement"] if "agreement" in rows[0].figures else [])]
    figure, axes = new_figure(len(shown), 0.9 + 0.24 * len(rows), left_inches=1.9)
    for axis, metric in zip(axes, shown, strict=True):
        plot_seeds(axis, [row.figures.get(metric) for row in rows], [row.trained for row in rows])
        axis.set(
            yticks=range(len(rows)),
            yticklabels=[row.label for row in rows],
            xlabel=f"{_header(metric)} [%]",
        )
        axis.invert_yaxis()
    for axis in axes[1:]:
        axis.set_yticklabels([])
        if chance is not None:
            axis.axvline(chance, color=WARNING, linewidth=1, linestyle="--", label="random orders")
            axis.legend(frameon=False, loc="center right")
    caption = (
        f"{con}"
        + (" beside what it is not: agreement with the true motion." if len(shown) > 1 else ".")
        + " A dot is a "
        "seed; a band the 95 % bootstrap interval over takes, of the mean over the seeds"
        + (", and of the first seed for the agreement." if len(shown) > 1 else ".")
    )
    return make_plot(caption, figure)


def report_categories(results: Mapping[str, Sequence[RunResult]], table: pd.DataFrame) -> Section:
    """Return the section of the paper's Table 3.

    Parameters
    ----------
    results : mapping of str to sequence of RunResult
        Runs of every network, one a seed.
    table : DataFrame
        ``take``, ``blurry_index`` and ``category`` of the test sequences.
    """
    lines: list[list[str | Score]] = []
    scores = []
    metrics: list[str] = []
    for arch, runs in results.items():
        for category, (n, figures) in by_category(runs, table).items():
            metrics = [name for name in figures if name == "hit" or _is_con(name)]
            lines.append([arch, category, str(n), *(_cell_with_interval(figures[name]) for name in metrics)])
            for name in metrics:
                scores += _scorer.mean(f"{arch}.{name}.{category}", figures[name], "%")
    caption = (
        "In % of the held-out sequences of a category, mean over the seeds (least..largest) and, where there are "
        "takes enough, its 95 % bootstrap interval over takes in brackets. One network is trained "
        "on all categories. On its own recordings the paper states a con@2 of 98.3 for street in this table, and of "
        "98.5 in its Table 7."
    )
    header = ("Network", "Category", "sequences", *metrics)
    block = make_table(caption, header, lines, n_text_columns=2, grouped=True)
    return Section("By category: Table 3", "hit and con of the paper's Table 3, on this data.", (block,), tuple(scores))


def report_dimensions(results: Mapping[str, Mapping[int, Sequence[RunResult]]]) -> Section:
    """Return the section of the paper's Table 7.

    Parameters
    ----------
    results : mapping of str to mapping of int to sequence of RunResult
        Runs by network and dimension, one a seed.
    """
    lines: list[list[str | Score]] = []
    scores = []
    metrics: list[str] = []
    for arch, by_dimension in results.items():
        for n, runs in by_dimension.items():
            figures = over_seeds(runs, "network")
            if "agreement" in figures:  # its interval is of one seed
                figures["agreement"] = dataclasses.replace(figures["agreement"], interval=None)
            metrics = [name for name in figures if name in ("hit", "agreement") or _is_con(name)]
            numbers = sum(one.numel() for one in make_order_network(arch, n, 0).state_dict().values())
            lines.append([arch, str(n), f"{numbers:,}", *(_cell_with_interval(figures[name]) for name in metrics)])
            for name in metrics:
                scores += _scorer.mean(f"{arch}.{name}.n{n}", figures[name], "%")
            scores.append(_scorer.score(f"{arch}.numbers.n{n}", float(numbers), "numbers"))
    header = ("Network", "n", "numbers", *(_header(name) for name in metrics))
    caption = (
        "In % of the held-out sequences, mean over the seeds (least..largest) and, where there are takes enough, its "
        "95 % bootstrap interval over takes in brackets. Numbers are all of a checkpoint, the plane's normal too."
    )
    lead = "The dimension n of the space that the plane divides. "
    if any(arch != "upstream" for arch in results):
        lead += "The trunk stays as it is and a linear layer leads to n, so that n alone is compared. "
    if "upstream" in results:
        lead += (
            "The released network (upstream) has no such layer: none of its layers is wider than n, so that its "
            "rows, like the paper's table, compare capacity."
        )
    block = make_table(caption, header, lines, n_text_columns=1, grouped=True)
    return Section("By dimension: Table 7", lead, (block,), tuple(scores))


def report_seeds(results: Mapping[str, Sequence[RunResult]], rows: Sequence[Row]) -> Section:
    """Return the section of what the seed decides, and of the time that training took."""
    lines: list[list[str | Score]] = []
    scores = []
    by_name = {row.name: row.figures for row in rows}
    con = last_con(by_name[next(iter(results))])
    for arch, runs in results.items():
        figure = by_name[arch][con]
        n_collapsed = sum(run.collapsed for run in runs)
        seconds = [run.seconds for run in runs if run.seconds is not None]
        lines.append(
            [
                arch,
                str(len(runs)),
                f"{figure.least:.1f}",
                f"{figure.largest:.1f}",
                f"{figure.spread:.1f}",
                str(n_collapsed),
                f"{sum(seconds) / len(seconds):.0f}" if seconds else "none",
            ]
        )
        scores.append(_scorer.score(f"{arch}.{con}.spread", figure.spread, "points"))
        scores.append(_scorer.score(f"{arch}.collapsed", n_collapsed, "runs"))
    header = (
        *("Network", "seeds", f"{con}, least [%]", f"{con}, largest [%]", "largest minus least [points]"),
        *("collapsed runs", "training, mean [s]"),
    )
    caption = (
        "Training is timed without the reading of data and the scoring, on one thread where it ran on a CPU; a time is "
        "missing where a run was killed between its last step and its scoring."
    )
    block = make_table(caption, header, lines)
    return Section("Seeds and times", "What changes where nothing but the seed does.", (block,), tuple(scores))


def report_points(maps: Mapping[str, PointMap]) -> Section:
    """Return the section of the paper's Figure 7."""
    lead = (
        "Points H(x_k, x_N-k) of pairs of held-out sequences and of the same pairs reversed, laid out in a plane by "
        "t-SNE. A side of the hyperplane may be in one piece or in many; distances between far groups mean nothing."
    )
    return Section("Points: Figure 7", lead, tuple(_plot_points(arch, one) for arch, one in maps.items()), ())


def _plot_points(arch: str, points: PointMap) -> Plot:
    known = bool(np.isfinite(points.directions).any())
    figure, axes = new_figure(2 if known else 1, 5.6, widths=(1, 1.12) if known else None)
    if np.isnan(points.places).all():
        for axis in axes:
            axis.text(0.5, 0.5, "all points are one", ha="center", va="center", transform=axis.transAxes)
    x, y = points.places.T
    for side, color in ((-1, ACCENT), (1, WARNING)):
        chosen = points.sides == side
        axes[0].scatter(x[chosen], y[chosen], s=7, color=color, linewidths=0, label=f"side {side:+d}")
    axes[0].legend(frameon=False, markerscale=2)
    axes[0].set_title("side of the hyperplane", fontsize=10)
    if known:
        moving = np.isfinite(points.directions)
        axes[1].scatter(x[~moving], y[~moving], s=7, color=MUTED, linewidths=0)
        angles = points.directions[moving]
        dots = axes[1].scatter(x[moving], y[moving], c=angles, s=7, cmap="hsv", vmin=0, vmax=360, linewidths=0)
        axes[1].set_title("direction of the true motion", fontsize=10)
        bar = figure.colorbar(dots, ax=axes[1], ticks=range(0, 361, 90))
        bar.ax.set_yticklabels(["right", "down", "left", "up", "right"])
    for axis in axes:
        axis.set(xticks=[], yticks=[])
    ending = (
        " Right: the same points by where the image moves over the whole sequence, from x_0 to x_N, or back where "
        "the pairs are reversed."
        if known
        else ""
    )
    return make_plot(f"{arch}, first seed.{ending}", figure)
