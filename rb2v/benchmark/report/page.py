"""The report: sections of tables, plots and images, rendered as one HTML file that needs no other."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import cv2
import numpy as np
from jinja2 import Environment, StrictUndefined
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from rb2v.benchmark.report.scores import Score, Verdict, format_target, format_value

CATEGORY_COLORS: Mapping[str, str] = {"street": "#2f6db3", "face": "#c8641e", "hand": "#3c8d5a"}
ACCENT, MUTED, WARNING = "#2f6db3", "#8a8f98", "#b3261e"

_TEMPLATE_NAME = "report.html"
_JPEG_QUALITY = 88  # few artifacts that could pass for a result, at a fraction of PNG's size
_WIDTH_INCHES = 12.0  # of a figure, at which letters of 10 points are right in the page
FULL_ERROR = 64.0
"""Mean absolute error, in gray levels, that a map of errors shows in full."""
_LEGEND_ROW_INCHES = 0.17  # a row of small letters with what parts it from the next
_DOTS_PER_INCH = 150  # 1800 px across: sharp on a fine screen, too


@dataclass(frozen=True)
class Cell:
    """A table's cell, colored by whether a target is met, or where something is to be noticed."""

    text: str
    passed: bool | None = None
    noticed: bool = False


@dataclass(frozen=True)
class Table:
    """A table; the first columns are text, the others numbers."""

    kind: ClassVar[str] = "table"
    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    n_text_columns: int = 1


@dataclass(frozen=True)
class Plot:
    """A diagram."""

    kind: ClassVar[str] = "plot"
    caption: str
    uri: str


@dataclass(frozen=True)
class Picture:
    """An image and what it shows."""

    label: str
    uri: str


@dataclass(frozen=True)
class Gallery:
    """Images side by side."""

    kind: ClassVar[str] = "gallery"
    caption: str
    pictures: tuple[Picture, ...]
    columns: int = 4


@dataclass(frozen=True)
class Section:
    """A part of the report, and the scores that it tells of."""

    title: str
    lead: str
    blocks: tuple[Table | Plot | Gallery, ...]
    scores: tuple[Score, ...]
    leads: bool = False
    """Whether it stands before the summary of targets."""


def make_table(
    caption: str,
    header: Sequence[str],
    rows: Sequence[Sequence[str | Score | Cell]],
    n_text_columns: int = 1,
    *,
    grouped: bool = False,
) -> Table:
    """Return a table; scores are written without their unit, which belongs in the header.

    Where it is grouped, a first cell that is the same as the one above is left blank.
    """
    cells = tuple(tuple(_to_cell(value) for value in row) for row in rows)
    if grouped:
        above = (None, *(row[0] for row in cells))
        cells = tuple(
            (Cell("") if row[0] == last else row[0], *row[1:]) for row, last in zip(cells, above, strict=False)
        )
    return Table(caption, tuple(header), cells, n_text_columns)


def _to_cell(value: str | Score | Cell) -> Cell:
    if isinstance(value, Score):
        text = format_value(value.value, value.unit, with_unit=False)
        return Cell(f"{text} missed" if value.passed is False else text, value.passed)
    return Cell(value) if isinstance(value, str) else value


def make_picture(label: str, image: NDArray[np.uint8]) -> Picture:
    """Return an image from an (H, W, 3) RGB or (H, W) gray image."""
    code = cv2.COLOR_RGB2BGR if image.ndim == 3 else cv2.COLOR_GRAY2BGR
    _, data = cv2.imencode(".jpg", cv2.cvtColor(image, code), [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])
    return Picture(label, _data_uri(data.tobytes(), "image/jpeg"))


def error_map(estimate: NDArray[np.uint8], truth: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return an (H, W, 3) map of the mean absolute error of two (H, W, 3) images, brightest from `FULL_ERROR` on."""
    error = np.abs(estimate.astype(np.int16) - truth).mean(axis=-1) / FULL_ERROR
    return np.asarray(255 * colormaps["inferno"](error.clip(0, 1))[..., :3], dtype=np.uint8)


def new_figure(
    n_axes: int, height_inches: float = 3.0, *, widths: Sequence[float] | None = None, left_inches: float = 0.75
) -> tuple[Figure, list[Axes]]:
    """Return a figure as wide as the page and its axes, side by side.

    Parameters
    ----------
    n_axes : int
        Number of axes.
    height_inches : float
        Height of the figure.
    widths : sequence of float, optional
        Widths of the axes relative to each other; equal by default.
    left_inches : float
        Room on the left, for the first axis's labels.
    """
    figure = Figure(figsize=(_WIDTH_INCHES, height_inches), dpi=_DOTS_PER_INCH)
    FigureCanvasAgg(figure)
    # Fixed margins: a layout engine draws everything twice.
    figure.subplots_adjust(
        left=left_inches / _WIDTH_INCHES,
        right=1 - 0.15 / _WIDTH_INCHES,
        bottom=0.55 / height_inches,
        top=1 - 0.3 / height_inches,
        wspace=0.38,
    )
    grid = figure.add_gridspec(1, n_axes, width_ratios=widths)
    axes = [figure.add_subplot(grid[0, index]) for index in range(n_axes)]
    for axis in axes:
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(alpha=0.25, linewidth=0.6)
    return figure, axes


def add_legend(axis: Axes) -> None:
    """Add a legend in the upper right corner, with room for it above what is drawn."""
    legend = axis.legend(loc="upper right", frameon=False, fontsize="small")
    low, high = axis.get_ylim()
    rows_inches = _LEGEND_ROW_INCHES * (len(legend.get_texts()) + 0.5)
    share = min(rows_inches * _DOTS_PER_INCH / axis.bbox.height, 0.5)
    axis.set_yticks([tick for tick in axis.get_yticks() if min(low, high) <= tick <= max(low, high)])
    axis.set_ylim(low, low + (high - low) / (1 - share))


def make_plot(caption: str, figure: Figure) -> Plot:
    """Return a diagram from a figure; the same figure gives the same bytes."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", metadata={"Software": None})
    return Plot(caption, _data_uri(buffer.getvalue(), "image/png"))


def _data_uri(data: bytes, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode('ascii')}"


def render(facts: Mapping[str, str], verdicts: Sequence[Verdict], sections: Sequence[Section]) -> str:
    """Return the report's HTML.

    Parameters
    ----------
    facts : mapping of str to str
        What the report is about, shown under its title.
    verdicts : sequence of Verdict
        The summary.
    sections : sequence of Section
        The parts, in order.
    """
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    template = environment.from_string(Path(__file__).with_name(_TEMPLATE_NAME).read_text(encoding="utf-8"))
    return template.render(
        facts=facts, verdicts=verdicts, sections=sections, format_target=format_target, format_value=format_value
    )
