"""The alignment: what was accepted and why not, how the recordings lie in time, and the positions against the truth."""

from __future__ import annotations

from collections import Counter

import numpy as np

from rb2v.artifacts import REASONS
from rb2v.benchmark.report.page import Section, make_table
from rb2v.benchmark.report.scores import Score
from rb2v.benchmark.session import decisions, timing_tables
from rb2v.benchmark.session.aligned_take import AlignedTake, position_errors, read_take
from rb2v.benchmark.session.inputs import Aligned
from rb2v.simulator.truth import Truth


def report(aligned: Aligned, truth: Truth | None) -> Section:
    """Return the section on aligned takes."""
    takes = [read_take(aligned, name, truth) for name in aligned.take_names]
    own = [_own_line(take) for take in takes]
    header = ("Take", "Not accepted because", "frames", "accepted [%]", "PSNR, median [dB]")
    blocks = [make_table("What became of the blurry frames.", header, own, n_text_columns=2)]
    lines = list(own)
    if truth is not None:
        against = [_truth_line(take) for take in takes if take.accepted]
        header = (
            "Take",
            "sub-frame position, mean error [fine frames]",
            "sub-frame position, largest error [fine frames]",
            "integer position, mean error [fine frames]",
            "integer position, largest error [fine frames]",
        )
        caption = "Accepted frames against the truth. An integer position that is rightly rounded is up to 0.5 off."
        blocks.append(make_table(caption, header, against))
        lines += against
    clock_tables, timing_scores = timing_tables.report(takes)
    check_table, check_scores = decisions.report_checks(takes)
    scores = [cell for line in lines for cell in line if isinstance(cell, Score)] + timing_scores + check_scores
    lead = (
        "For every blurry frame the seven frames of the fine track "
        f"({aligned.rig.fine_fps:g} fps) that it integrated, and the clock line that all frames of a take share."
    )
    plots = [plot for take in takes for plot in decisions.show_take(take)]
    return Section("Alignment", lead, (*blocks, *clock_tables, check_table, *plots), tuple(scores))


def _own_line(take: AlignedTake) -> list[str | Score]:
    accepted = take.accepted
    reasons = Counter(take.frames[index].reason for index in take.rejected)
    told = ", ".join(f"{name}: {reasons[name]}" for name in REASONS if reasons[name]) or "all accepted"
    psnrs = [take.frames[index].psnr for index in accepted]
    share = 100 * len(accepted) / max(len(take.frames), 1)
    return [
        take.name,
        told,
        take.score("frames", len(take.frames), "frames"),
        take.score("acceptance", share, "%", checked=take.truth is not None),
        take.score("psnr_median", float(np.median(psnrs)) if psnrs else None, "dB"),
    ]


def _truth_line(take: AlignedTake) -> list[str | Score]:
    positions = np.zeros(len(take.frames)) if take.truth is None else take.truth.positions
    fine, whole = position_errors(take.frames, positions)
    return [
        take.name,
        take.score("position_fine_error_mean", float(fine.mean()), "fine frames", checked=True),
        take.score("position_fine_error_max", float(fine.max()), "fine frames"),
        take.score("position_error_mean", float(whole.mean()), "fine frames"),
        take.score("position_error_max", float(whole.max()), "fine frames", checked=True),
    ]
