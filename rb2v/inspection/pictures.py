"""Images of samples: their frames, the mean of the sharp ones, differences, strips and contact sheets."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from pathlib import Path

import cv2
import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from rb2v.artifacts import CATEGORIES, CameraResponse
from rb2v.core.color import encode, to_linear
from rb2v.errors import InputError
from rb2v.inspection.selection import draw_samples
from rb2v.inspection.summary import Histogram, Summary
from rb2v.shards import ShardReader, ShardSample

SHEET_ROWS = 12  # enough to see what a data set is like, few enough to look at each

_CATEGORY_COLORS = {"street": "#2f6db3", "face": "#c8641e", "hand": "#3c8d5a"}
_ACCENT = "#2f6db3"
_PAPER, _INK, _SOFT = (255, 255, 255), (28, 32, 38), (91, 98, 109)  # RGB of the ground, titles and notes
_MISSING = 222  # the gray of a frame that cannot be read
_THUMBNAIL_PX = 224  # of the longer side
_GAP_PX = 8  # between frames, and around all
_FONT_PX = 15  # small beside a thumbnail, and legible
_LINE_PX = 22  # of letters of that size, with room below
_MOST_TITLE_PX = 1200  # names come from files: one may be of any length


def mean_of_sharp(sharp: NDArray[np.uint8], response: CameraResponse) -> NDArray[np.uint8]:
    """Return the mean of sharp frames as a camera would record it: averaged in linear light.

    Parameters
    ----------
    sharp : (T, H, W, 3) ndarray of uint8
        RGB.
    response : {"linear", "srgb"} or float
        The camera response.

    Returns
    -------
    (H, W, 3) ndarray of uint8
        RGB.

    Examples
    --------
    >>> frames = np.array([0, 255], np.uint8).reshape(2, 1, 1, 1)
    >>> int(mean_of_sharp(frames, "linear").item()), int(mean_of_sharp(frames, "srgb").item())
    (128, 188)
    """
    total = np.zeros(sharp.shape[1:], dtype=np.float32)
    for frame in sharp:
        total += to_linear(frame, response)
    return encode(total / np.float32(len(sharp)), response)


def difference_picture(blurry: NDArray[np.uint8], mean: NDArray[np.uint8], gain: float) -> NDArray[np.uint8]:
    """Return ``blurry - mean`` of coded values about mid-gray, multiplied by a gain.

    Parameters
    ----------
    blurry, mean : (H, W, 3) ndarray of uint8
        RGB.
    gain : float
        Levels of the image per level of difference.

    Returns
    -------
    (H, W, 3) ndarray of uint8
        128 where both are equal.
    """
    difference = blurry.astype(np.float32) - mean.astype(np.float32)
    return np.asarray(np.clip(np.rint(128 + gain * difference), 0, 255), dtype=np.uint8)


def describe_sample(index: int, sample: ShardSample) -> str:
    """Return a line that says which sample an image shows."""
    return f"sample {index} · {sample.take} #{sample.blurry_index} · {sample.psnr:.1f} dB"


def strip(index: int, sample: ShardSample) -> NDArray[np.uint8]:
    """Return the blurry frame and all sharp frames side by side, at full size, labeled.

    Parameters
    ----------
    index : int
        Index of the sample, for its label.
    sample : ShardSample
        The sample.

    Returns
    -------
    (h, w, 3) ndarray of uint8
        RGB.
    """
    heads = ["blurry", *(f"x_{k}" for k in range(len(sample.sharp)))]
    return _place_rows(heads, [(describe_sample(index, sample), [sample.blurry, *sample.sharp])])


def captioned(frame: NDArray[np.uint8], left: str, right: str = "") -> NDArray[np.uint8]:
    """Return a frame with a line of text below it.

    Parameters
    ----------
    frame : (H, W, 3) ndarray of uint8
        RGB.
    left, right : str
        Text at either side; the left one gives way.

    Returns
    -------
    (h, w, 3) ndarray of uint8
        RGB; h and w even, as video encoders want them.
    """
    height, width = frame.shape[:2]
    sheet = Image.new("RGB", (width + width % 2, height + _LINE_PX + height % 2), _PAPER)
    sheet.paste(Image.fromarray(frame), (0, 0))
    reserved = round(_font().getlength(right)) + _GAP_PX if right else 0
    _write(sheet, left, 2, height + 1, width - reserved - 2, _SOFT)
    if right:
        _write(sheet, right, max(width - reserved + _GAP_PX - 2, 0), height + 1, width, _INK)
    return np.asarray(sheet, dtype=np.uint8)


def contact_sheet(
    reader: ShardReader,
    indices: Sequence[int] | NDArray[np.int64] | None = None,
    *,
    n_rows: int = SHEET_ROWS,
    seed: int = 0,
) -> NDArray[np.uint8]:
    """Return an image of samples drawn from all categories and takes, one a row.

    A row holds the blurry frame, the mean of the sharp frames, and the first, middle and last sharp frame; they are
    gray where a sample is damaged.

    Parameters
    ----------
    reader : ShardReader
        The data set.
    indices : sequence of int, optional
        Rows of ``reader.table`` to draw from; all by default.
    n_rows : int
        How many samples are shown; all where there are fewer.
    seed : int
        Seed of the choice.

    Returns
    -------
    (h, w, 3) ndarray of uint8
        RGB.
    """
    width, height = reader.manifest.output_size
    last = reader.manifest.frames_per_sequence - 1
    table = reader.table if indices is None else reader.table.iloc[np.asarray(indices, dtype=np.int64)]
    rows = []
    for index in draw_samples(table, n_rows, seed):
        try:
            sample = reader.read(index)
        except InputError:
            frames = [np.full((height, width, 3), _MISSING, dtype=np.uint8)] * 5
            title = f"sample {index} · damaged"
        else:
            mean = mean_of_sharp(sample.sharp, reader.manifest.provenance.response)
            frames = [sample.blurry, mean, *(sample.sharp[k] for k in (0, last // 2, last))]
            title = describe_sample(index, sample)
        rows.append((title, [_reduce(frame) for frame in frames]))
    return _place_rows(["blurry", "mean of sharp", "x_0", f"x_{last // 2}", f"x_{last}"], rows)


def _reduce(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = frame.shape[:2]
    scale = min(1.0, _THUMBNAIL_PX / max(height, width))
    size = (max(round(scale * width), 1), max(round(scale * height), 1))
    return np.asarray(cv2.resize(frame, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)


def _place_rows(heads: Sequence[str], rows: Sequence[tuple[str, Sequence[NDArray[np.uint8]]]]) -> NDArray[np.uint8]:
    """Return rows of frames of one size, each below its title, under the heads of their columns."""
    height, width = rows[0][1][0].shape[:2]
    frames_width = len(heads) * (width + _GAP_PX) + _GAP_PX
    # So wide that a title fits, however small the frames are.
    title_width = max(round(_font().getlength(title)) for title, _ in rows) + 2 * _GAP_PX
    row_height = _LINE_PX + height + _GAP_PX
    size = (max(frames_width, min(title_width, _MOST_TITLE_PX)), _GAP_PX + _LINE_PX + len(rows) * row_height)
    sheet = Image.new("RGB", size, _PAPER)
    lefts = [_GAP_PX + column * (width + _GAP_PX) for column in range(len(heads))]
    for left, head in zip(lefts, heads, strict=True):
        _write(sheet, head, left, _GAP_PX, left + width, _INK)
    for row, (title, frames) in enumerate(rows):
        top = _GAP_PX + _LINE_PX + row * row_height
        _write(sheet, title, _GAP_PX, top, size[0], _SOFT)
        for left, frame in zip(lefts, frames, strict=True):
            sheet.paste(Image.fromarray(frame), (left, top + _LINE_PX))
    return np.asarray(sheet, dtype=np.uint8)


def _write(sheet: Image.Image, text: str, left: int, top: int, right: int, color: tuple[int, int, int]) -> None:
    """Write one line, cut off where its room ends."""
    if right > left:
        # A line break in a name would write over the frames.
        line = "".join(letter if letter.isprintable() else "\ufffd" for letter in text)
        label = Image.new("RGB", (right - left, _LINE_PX), _PAPER)
        ImageDraw.Draw(label).text((0, 0), line, color, _font())
        sheet.paste(label, (left, top))


@cache
def _font() -> ImageFont.FreeTypeFont:
    # Comes with matplotlib, has the letters of most European languages, and draws the same pixels on every machine.
    # The simple layout engine does not look for letters in the machine's own fonts.
    path = Path(mpl.get_data_path()) / "fonts" / "ttf" / "DejaVuSans.ttf"
    return ImageFont.truetype(str(path), _FONT_PX, layout_engine=ImageFont.Layout.BASIC)


def plot_histograms(summary: Summary) -> Figure:
    """Return a figure of the distributions in a summary: PSNR, position phase and motion."""
    figure = Figure(figsize=(12.0, 6.4), dpi=110, layout="constrained")
    FigureCanvasAgg(figure)
    categories, psnr, phase, motion = figure.subplots(2, 2).ravel()
    _plot_categories(categories, summary)
    _plot_bins(psnr, summary.psnr, _ACCENT, "of the synthetic blur")
    psnr.set(xlabel="PSNR of the synthetic blur [dB]", ylabel="samples")
    if summary.composite_psnr.counts:
        _plot_bins(psnr, summary.composite_psnr, _CATEGORY_COLORS["face"], "of eq. (1) in composites")
        psnr.legend(frameon=False)
        psnr.set(xlabel="PSNR [dB]")
    if summary.phases is None:
        phase.text(0.5, 0.5, "no take has two samples", ha="center", transform=phase.transAxes)
    else:
        phase.bar(range(len(summary.phases)), summary.phases, color=_ACCENT)
        phase.set_xticks(range(len(summary.phases)))
    phase.set(xlabel=f"position modulo {len(summary.phases or ()) or 'the period'} [fine frames]", ylabel="samples")
    for histogram, color, label in (
        (summary.motion.median, _CATEGORY_COLORS["hand"], "median"),
        (summary.motion.p95, _CATEGORY_COLORS["face"], "95th percentile"),
    ):
        _plot_bins(motion, histogram, color, label)
    motion.legend(frameon=False)
    motion.set(xlabel=f"motion from x_0 to x_{summary.frames_per_sequence - 1} [px]", ylabel="samples measured")
    for axis in (categories, psnr, phase, motion):
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(axis="y", alpha=0.25, linewidth=0.6)
        axis.set_axisbelow(True)
    return figure


def _plot_categories(axis: Axes, summary: Summary) -> None:
    names = [split.split for split in summary.splits]
    bottom = np.zeros(len(names))
    for category in CATEGORIES:
        counts = np.array([split.categories[category] for split in summary.splits])
        if counts.any():
            axis.bar(names, counts, bottom=bottom, label=category, color=_CATEGORY_COLORS[category], width=0.5)
            bottom += counts
    axis.legend(frameon=False)
    axis.set(ylabel="samples")


def _plot_bins(axis: Axes, histogram: Histogram, color: str, label: str = "") -> None:
    if histogram.counts:
        edges = np.array(histogram.edges)
        axis.bar(edges[:-1], histogram.counts, np.diff(edges), align="edge", color=color, alpha=0.75, label=label)
