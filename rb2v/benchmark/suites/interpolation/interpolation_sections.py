"""The sections of the interpolation suite's report, and the scores that they tell of."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from rb2v.benchmark.report.page import (
    ACCENT,
    FULL_ERROR,
    Cell,
    Gallery,
    Picture,
    Plot,
    Section,
    Table,
    error_map,
    make_picture,
    make_plot,
    make_table,
    new_figure,
)
from rb2v.benchmark.report.scores import TARGETS, Score, format_target
from rb2v.benchmark.suites.interpolation.config import REFERENCE_DB, USUAL_SETS, Published, UsualSet
from rb2v.benchmark.suites.interpolation.measurements import Measurement
from rb2v.core.metrics import psnr
from rb2v.interpolation.methods import WEIGHTS
from rb2v.models import CATALOGUE, list_shipped

SUITE, STAGE = "interpolation", "interpolator"

_COLUMNS = ("Method", "PSNR [dB]", "SSIM", "LPIPS", "target [dB]", "difference", "frames/s", "s/frame")


def usual_set(set_name: str, n_triplets: int) -> tuple[UsualSet | None, bool]:
    """Return what is known of a set by its folder's name, and whether it is so whole that its targets count."""
    known = USUAL_SETS.get(set_name.rsplit("/", 1)[-1])
    return known, known is not None and n_triplets >= known.n_triplets


def score_set(set_name: str, measured: Mapping[str, Sequence[Measurement] | None]) -> dict[str, dict[str, Score]]:
    """Return the scores of every method that was measured on a set, by what they tell of.

    Parameters
    ----------
    set_name : str
        Name of its folder.
    measured : mapping of str to sequence of Measurement or None
        By method; None where its weights are not there.
    """
    known = {method: rows for method, rows in measured.items() if rows is not None}
    usual, is_whole = usual_set(set_name, max(len(rows) for rows in known.values()))
    return {method: _scores(set_name, method, rows, usual if is_whole else None) for method, rows in known.items()}


def report_weights(methods: Sequence[str]) -> Section:
    """Return the section that tells where the weights of methods come from, and under which license they are.

    Parameters
    ----------
    methods : sequence of str
        Keys of `rb2v.interpolation.INTERPOLATORS`.
    """
    shipped = {model.name: model for model in list_shipped()}
    lines: list[list[str | Score | Cell]] = []
    for method in methods:
        for name in WEIGHTS.get(method, ()):
            if name in shipped:
                lines.append([method, f"{name}, shipped", shipped[name].source, shipped[name].license])
            else:
                model = CATALOGUE[name]
                packages = ", ".join(package.requirement for package in model.packages)
                lines.append([method, packages, model.source, model.license])
        if method not in WEIGHTS:
            lines.append([method, "none", "", ""])
    caption = "Weights that are given by hand take their place."
    table = make_table(caption, ("Method", "Weights", "From", "License"), lines)
    return Section("Weights", "What each method was trained by, and what may be done with it.", (table,), ())


def report_set(
    set_name: str, measured: Mapping[str, Sequence[Measurement] | None], galleries: Sequence[Gallery]
) -> Section:
    """Return the section of one set: all methods, beside what is published.

    Parameters
    ----------
    set_name : str
        Name of its folder.
    measured : mapping of str to sequence of Measurement or None
        By method; None where its weights are not there.
    galleries : sequence of Gallery
        The triplets that are shown.
    """
    n_triplets = max(len(rows) for rows in measured.values() if rows is not None)
    known, _ = usual_set(set_name, n_triplets)
    told = score_set(set_name, measured)
    lines: list[list[str | Score | Cell]] = []
    for method in measured:
        absent: list[str | Score | Cell] = [f"{method}: no weights", *[""] * (len(_COLUMNS) - 1)]
        lines.append(_line(method, told[method]) if method in told else absent)
    if known is not None:
        lines += [_published_line(one, known.note) for one in known.published]
    caption = (
        f"Means over {n_triplets} triplets, of frames rounded to 8 bits: PSNR over the whole image, SSIM by an 11x11 "
        "Gaussian window of sigma 1.5 over RGB, LPIPS v0.1 by AlexNet. frames/s and s/frame: of the middle frame "
        "alone, at the triplets' own sizes, on the machine above."
    )
    table = make_table(caption, _COLUMNS, lines)
    plot = _plot(set_name, {method: rows for method, rows in measured.items() if rows is not None}, known)
    lead = "The frame half-way between two frames, compared with the one that was recorded there."
    blocks: list[Table | Plot | Gallery] = [table, plot, *galleries]
    scores = tuple(score for of_method in told.values() for score in of_method.values())
    return Section(f"Triplets: {set_name}", lead, tuple(blocks), scores)


def _scores(set_name: str, method: str, rows: Sequence[Measurement], known: UsualSet | None) -> dict[str, Score]:
    means = {
        "psnr": ("dB", float(np.mean([row.psnr_db for row in rows]))),
        "ssim": ("", float(np.mean([row.ssim for row in rows]))),
        "lpips": ("", float(np.mean([row.lpips for row in rows]))),
        "seconds": ("s", float(np.mean([row.seconds for row in rows]))),
    }
    key = "" if known is None else f"{known.key}.{method}"
    told = {}
    for name, (unit, value) in means.items():
        if math.isnan(value):
            continue
        checked = known is not None and name == "psnr" and f"{key}.psnr" in TARGETS
        metric = f"{key}.psnr" if checked else f"{method}.{name}"
        told[name] = Score(SUITE, STAGE, metric, value, unit, set_name, checked=checked)
    if key in REFERENCE_DB:
        difference = abs(means["psnr"][1] - REFERENCE_DB[key])
        told["difference"] = Score(SUITE, STAGE, f"{key}.difference", difference, "dB", set_name, checked=True)
    return told


def _line(method: str, told: Mapping[str, Score]) -> list[str | Score | Cell]:
    quality, difference = told["psnr"], told.get("difference")
    target = quality.target
    verdict: str | Cell = ""
    if difference is not None and difference.target is not None:
        text = f"{_number(difference, 3)} ({format_target(difference.target, 'dB')})"
        verdict = Cell(text, difference.passed)
    seconds = told["seconds"].value or math.nan
    return [
        method,
        Cell(_number(quality, 2), quality.passed),
        _number(told["ssim"], 3),
        _number(told.get("lpips"), 4),
        "" if target is None else format_target(target, ""),
        verdict,
        f"{1 / seconds:.2f}" if seconds else "",
        f"{seconds:.3f}",
    ]


def _number(score: Score | None, decimals: int) -> str:
    return "" if score is None or score.value is None else f"{score.value:.{decimals}f}"


def _published_line(one: Published, note: str) -> list[str | Score | Cell]:
    ssim, lpips = ("" if value is None else f"{value:.3f}" for value in (one.ssim, one.lpips))
    return [f"{one.method}, {note}", f"{one.psnr_db:.2f}", ssim, lpips, "", "", "", ""]


def _plot(set_name: str, measured: Mapping[str, Sequence[Measurement]], known: UsualSet | None) -> Plot:
    figure, (axis, spread) = new_figure(2, 3.2, widths=(1, 1.4))
    for method, rows in measured.items():
        seconds, quality = (np.mean([getattr(row, name) for row in rows]) for name in ("seconds", "psnr_db"))
        axis.plot(seconds, quality, "o", color=ACCENT)
        axis.annotate(method, (seconds, quality), textcoords="offset points", xytext=(5, 4), fontsize=8)
        spread.plot(sorted(row.psnr_db for row in rows), label=method, linewidth=1.2)
    for one in known.published if known is not None else ():
        axis.axhline(one.psnr_db, color="0.6", linewidth=0.8, linestyle="--")
        axis.annotate(f"{one.method}, published", (0.02, one.psnr_db), xycoords=("axes fraction", "data"), fontsize=7)
    axis.set(xscale="log", xlabel="seconds per frame", ylabel="mean PSNR [dB]", title="quality and time")
    axis.margins(0.25, 0.15)
    spread.set(xlabel="triplets, from each method's worst to its best", ylabel="PSNR [dB]", title="spread")
    spread.legend(fontsize=8, frameon=False)
    return make_plot(f"{set_name}: what a method's quality costs, and how its triplets differ.", figure)


def show_triplet(label: str, frames: Sequence[NDArray[np.uint8]], made: Mapping[str, NDArray[np.uint8]]) -> Gallery:
    """Return what methods made of a triplet, above maps of their errors.

    Parameters
    ----------
    label : str
        Its set and name.
    frames : sequence of (H, W, 3) ndarray of uint8
        First, true middle and last frame.
    made : mapping of str to (H, W, 3) ndarray of uint8
        The middle frame by method.
    """
    first, truth, last = frames
    both = np.rint((first.astype(np.float32) + last) / 2).astype(np.uint8)
    shown = [make_picture("truth", truth)]
    errors: list[Picture] = [make_picture("first and last frame, one over the other", both)]
    for method, frame in made.items():
        shown.append(make_picture(f"{method}, {psnr(frame, truth):.2f} dB", frame))
        errors.append(make_picture(f"{method}: error", error_map(frame, truth)))
    caption = f"{label}. Below, mean absolute errors, brightest from {FULL_ERROR:g} of 255 levels on."
    return Gallery(caption, (*shown, *errors), columns=len(shown))
