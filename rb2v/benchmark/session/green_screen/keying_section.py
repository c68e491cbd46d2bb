"""The section on green-screen takes: tables, scores and contact sheets of what `keying` measured."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from rb2v.benchmark.report.page import Gallery, Section, Table, make_table
from rb2v.benchmark.report.scores import Score
from rb2v.benchmark.session.green_screen.keying import (
    BAND_PX,
    ERRORS,
    PLAIN,
    REGION_ALPHA,
    REGION_MARGIN_PX,
    SOFT,
    Keying,
    TakeKeying,
)

_SUITE, _STAGE = "mattes", "build-shards"
_UNITS = {"sad": "pixels", "gradient": "sum", "connectivity": "pixels"}
_HEADER = (
    "mean absolute difference",
    "mean squared difference",
    "sum of absolute differences [pixels]",
    "gradient error",
    "connectivity error [pixels]",
    "mean absolute difference on soft edges",
)
_KINDS = ("sharp", "blurry")


def report(results: Sequence[TakeKeying], keying: Keying) -> Section:
    """Return the section on the data set's green-screen takes."""
    blocks: list[Table | Gallery] = []
    errors = [line for result in results for line in _error_lines(result, keying)]
    if errors:
        caption = (
            f"Alpha of the matting method '{keying.matter}', 0..1, against the rendered one, beside a plain key: "
            "foreground is where green less the greater of red and blue (coded values) is below half of what it is on "
            "the screen. Sums and gradient errors are of a whole frame. Soft edges are pixels whose true alpha is "
            "between "
            f"{SOFT[0]:g} and {SOFT[1]:g}."
        )
        blocks.append(make_table(caption, ("Take", "Frames", "Key", *_HEADER), errors, n_text_columns=3, grouped=True))
    fidelities = [line for result in results for line in _fidelity_lines(result)]
    if fidelities:
        caption = (
            "PSNR in the foreground, in dB: coded values where the true alpha is above "
            f"{REGION_ALPHA:g}, and {REGION_MARGIN_PX} pixels around. Composites are compared with the true "
            "foreground over the same background; 'as aligned' are the frames before they are keyed, screen and all, "
            "against the true frames, which tells what noise, coding and interpolation leave to lose. The gap is the "
            "PSNR of the composite in the shards below the one that the same frames give with the true alpha, and with "
            f"the true screen's and spill's light taken off; also within {BAND_PX} pixels of where the true alpha is "
            "neither 0 nor 1."
        )
        header = (
            *("Take", "Frames", "as aligned", "composite in the shards", "composite of the plain key"),
            *("gap", "gap at edges"),
        )
        blocks.append(make_table(caption, header, fidelities, n_text_columns=2, grouped=True))
    residuals = [_residual_line(result) for result in results]
    caption = (
        "How well the mean of the sharp frames explains the blurry frame (eq. 1), as PSNR in linear light, in dB: as "
        "aligned, and after the screen was replaced. The blurry camera also sees the time between the sharp frames, "
        "so that even perfect ones leave a residual. Samples are those that were kept; beside them the share of frames "
        "that were rejected for their mattes alone, and of all that were keyed the median of what 'rb2v align' judged "
        "them by, the least PSNR over any background. Flicker: mean absolute change of alpha along the motion "
        "between neighboring sharp frames, as a multiple of the true alpha's. "
        "Green fringe: share of pixels within 3 pixels of an edge (the "
        "true one where it is known, or else the matting method's) that have the screen's hue, in composites over "
        "neutral gray, in percent; 'none' where there is no edge, which is a failure."
    )
    columns = (
        "aligned",
        "in the shards",
        "change",
        "median of all samples",
        "worst sample",
        "flicker",
        "rejected [%]",
        "median bound of all keyed",
        "fringe [%]",
        "of the plain key [%]",
    )
    blocks.append(make_table(caption, ("Take", *columns), residuals))
    lines = (*errors, *fidelities, *residuals)
    scores = tuple(cell for line in lines for cell in line if isinstance(cell, Score))
    scores += _mean_scores(results)
    lead = " ".join(
        ["Mattes of green-screen takes, and the composites that the data set holds.", *_format_lacks(results, keying)]
    )
    galleries = [gallery for result in results for gallery in result.sheet]
    return Section("Green-screen takes", lead, (*blocks, *galleries), scores)


def _format_lacks(results: Sequence[TakeKeying], keying: Keying) -> list[str]:
    told = []
    if not keying.is_known:
        told.append(
            f"Mattes, fringes and composites are not measured: the weights that the matting method '{keying.matter}' "
            "keyed with are not given (--weights)."
        )
    elif not all(result.has_backgrounds for result in results):
        told.append(
            "Composites are not compared with the true foreground: the images that stand behind them are not given "
            "(--backgrounds)."
        )
    without = [result.take for result in results if keying.is_known and not result.has_screen]
    if without:
        told.append(f"No green screen is seen behind {', '.join(without)}, and no fringe is measured there.")
    return told


def _error_lines(result: TakeKeying, keying: Keying) -> list[list[str | Score]]:
    lines: list[list[str | Score]] = []
    for (key, kind), errors in result.errors.items():
        is_plain = key == PLAIN
        prefix = "plain_key." if is_plain else ""
        scores = [
            Score(
                *(_SUITE, _STAGE, f"{prefix}alpha_{name}.{kind}", errors[name], _UNITS.get(name, ""), result.take),
                checked=name == "mad" and not is_plain and keying.is_known,
            )
            for name in ERRORS
        ]
        lines.append([result.take, kind, key, *scores])
    return lines


def _fidelity_lines(result: TakeKeying) -> list[list[str | Score]]:
    metrics = {
        "aligned": "aligned_fidelity",
        "composite": "composite_fidelity",
        PLAIN: "plain_key.composite_fidelity",
        "gap": "composite_gap_db",
        "gap at edges": "composite_gap_db_edges",
    }
    lines: list[list[str | Score]] = []
    for kind in _KINDS:
        if ("composite", kind) in result.fidelity:
            values = {what: result.fidelity.get((what, kind)) for what in metrics}
            scores = [
                Score(
                    *(_SUITE, _STAGE, f"{metric}.{kind}", values[what], "dB", result.take),
                    checked=what == "gap" and values[what] is not None,
                )
                for what, metric in metrics.items()
            ]
            lines.append([result.take, kind, *scores])
    return lines


def _mean_scores(results: Sequence[TakeKeying]) -> tuple[Score, ...]:
    """Return the means over the takes, where they have a truth."""
    scores = []
    for kind in _KINDS:
        for metric, values in (
            ("composite_gap_db_mean", [result.fidelity.get(("gap", kind)) for result in results]),
            (
                "alpha_mad_mean",
                [errors["mad"] for r in results for (key, k), errors in r.errors.items() if key != PLAIN and k == kind],
            ),
        ):
            known = [value for value in values if value is not None]
            if known:
                unit = "dB" if metric.startswith("composite") else ""
                scores.append(Score(_SUITE, _STAGE, f"{metric}.{kind}", float(np.mean(known)), unit, checked=True))
    return tuple(scores)


def _residual_line(result: TakeKeying) -> list[str | Score]:
    known = [value for value in result.all_residuals_db if not math.isnan(value)]
    ours, plain = result.fringe_percents
    figures = {
        "blur_residual.aligned": (result.aligned_residual_db, "dB"),
        "blur_residual.composite": (result.residual_db, "dB"),
        "blur_residual.change": (result.residual_db - result.aligned_residual_db, "dB"),
        "composite_psnr.median": (float(np.median(known)) if known else None, "dB"),
        "composite_psnr.worst": (min(known) if known else None, "dB"),
        "alpha_flicker": (result.flicker, "times"),
        "composite_psnr.rejected": (result.rejected_percent, "%"),
        "composite_psnr.bound_median": (float(np.median(result.all_bounds_db)) if result.all_bounds_db else None, "dB"),
        "green_fringe": (ours, "% of edges"),
        "plain_key.green_fringe": (plain, "% of edges"),
    }
    checked = {
        "composite_psnr.median": bool(known),
        "green_fringe": result.has_screen,
        "alpha_flicker": result.flicker is not None,
    }
    return [
        result.take,
        *(
            "none"  # without a truth there is nothing to compare with
            if name == "alpha_flicker" and value is None
            else Score(_SUITE, _STAGE, name, value, unit, result.take, checked.get(name, False))
            for name, (value, unit) in figures.items()
        ),
    ]
