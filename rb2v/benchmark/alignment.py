"""The alignment: what was accepted and why not, the score curves, the clock, and the positions against the truth."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rb2v.artifacts import REASONS, AlignedFrame, Category, ClockModel, Rig
from rb2v.benchmark.inputs import Aligned
from rb2v.benchmark.page import (
    CATEGORY_COLORS,
    MUTED,
    WARNING,
    Plot,
    Section,
    make_plot,
    make_table,
    new_figure,
)
from rb2v.benchmark.scores import Score
from rb2v.io.aligned import ScoreCurves
from rb2v.simulator.rig import Truth

_SUITE, _STAGE = "alignment", "align"


@dataclass(frozen=True, eq=False)
class _AlignedTake:
    """What the section tells of a take."""

    name: str
    category: Category
    frames: list[AlignedFrame]
    curves: ScoreCurves
    clock: ClockModel | None
    true_positions: NDArray[np.float64] | None
    """(n_frames,) fine-track positions, to a fraction; None without a truth."""


def report(aligned: Aligned, truth: Truth | None) -> Section:
    """Return the section on aligned takes."""
    takes = [_read_take(aligned, name, truth) for name in aligned.take_names]
    own = [_own_line(take, checked=truth is not None) for take in takes]
    blocks = [
        make_table(
            "What became of the blurry frames.",
            (
                "Take",
                "Not accepted because",
                "frames",
                "accepted [%]",
                "PSNR, median [dB]",
                "clock drift [ppm]",
                "clock residual [ms]",
            ),
            own,
            n_text_columns=2,
        )
    ]
    scores = [cell for line in own for cell in line if isinstance(cell, Score)]
    if truth is not None:
        against = [_truth_line(take, truth) for take in takes if _accepted(take)]
        header = (
            "Take",
            "sub-frame position, mean error [fine frames]",
            "sub-frame position, largest error [fine frames]",
            "integer position, largest error [fine frames]",
            "clock drift, error [ppm]",
        )
        caption = (
            "Accepted frames against the truth. An integer position that is rightly rounded is up to 0.5 off. "
            "Drift is told by how the clocks part over a take: the shorter it is, the less it matters, and the less "
            "surely it is known."
        )
        blocks.append(make_table(caption, header, against))
        scores += [cell for line in against for cell in line if isinstance(cell, Score)]
    lead = (
        "For every blurry frame the seven frames of the fine track "
        f"({aligned.rig.fine_fps:g} fps) that it integrated, and the clock line that all frames of a take share."
    )
    return Section("Alignment", lead, (*blocks, *(_plot(take, aligned.rig) for take in takes)), tuple(scores))


def _read_take(aligned: Aligned, name: str, truth: Truth | None) -> _AlignedTake:
    with aligned.open_take(name) as reader:
        frames = reader.read_frames()
        true_positions = None
        if truth is not None:
            plan = truth.take(name)
            true_positions = np.array([truth.rig.true_position(plan, frame.blurry_time) for frame in frames])
        return _AlignedTake(name, reader.category, frames, reader.read_curves(), reader.timing.clock, true_positions)


def _accepted(take: _AlignedTake) -> list[int]:
    return [index for index, frame in enumerate(take.frames) if frame.accepted]


def _own_line(take: _AlignedTake, *, checked: bool) -> list[str | Score]:
    accepted = _accepted(take)
    reasons = Counter(frame.reason for frame in take.frames if not frame.accepted)
    told = ", ".join(f"{name}: {reasons[name]}" for name in REASONS if reasons[name]) or "all accepted"
    psnrs = [take.frames[index].psnr for index in accepted]
    return [
        take.name,
        told,
        _score(take, "frames", len(take.frames), "frames"),
        _score(take, "acceptance", 100 * len(accepted) / max(len(take.frames), 1), "%", checked=checked),
        _score(take, "psnr_median", float(np.median(psnrs)) if psnrs else None, "dB"),
        _score(take, "drift", None if take.clock is None else 1e6 * take.clock.drift, "ppm"),
        _score(take, "clock_residual", None if take.clock is None else 1e3 * take.clock.residual_seconds, "ms"),
    ]


def _truth_line(take: _AlignedTake, truth: Truth) -> list[str | Score]:
    fine, whole = position_errors(take.frames, take.true_positions)
    drift = None if take.clock is None else abs(1e6 * take.clock.drift - truth.rig.config.drift_ppm)
    return [
        take.name,
        _score(take, "position_fine_error_mean", float(fine.mean()), "fine frames"),
        _score(take, "position_fine_error_max", float(fine.max()), "fine frames"),
        _score(take, "position_error_max", float(whole.max()), "fine frames", checked=True),
        _score(take, "drift_error", drift, "ppm"),
    ]


def _score(take: _AlignedTake, metric: str, value: float | None, unit: str, *, checked: bool = False) -> Score:
    return Score(_SUITE, _STAGE, metric, value, unit, take.name, checked)


def position_errors(
    frames: list[AlignedFrame], true_positions: NDArray[np.float64] | None
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return how far the accepted frames' sub-frame and integer positions lie from the truth, in fine frames."""
    true = np.zeros(len(frames)) if true_positions is None else true_positions
    pairs = [(frame, float(position)) for frame, position in zip(frames, true, strict=True) if frame.accepted]
    fine = np.array([abs(frame.position_fine - position) for frame, position in pairs])
    whole = np.array([abs(frame.position - position) for frame, position in pairs])
    return fine, whole


def _plot(take: _AlignedTake, rig: Rig) -> Plot:
    figure, (left, middle, right) = new_figure(3)
    color = CATEGORY_COLORS[take.category]
    accepted = _accepted(take)
    shown = accepted[len(accepted) // 2] if accepted else len(take.frames) // 2
    curve = take.curves.psnr[shown]
    positions = take.curves.first_position[shown] + np.arange(len(curve))
    left.plot(positions, curve, color=color, linewidth=1.2)
    left.axvline(take.frames[shown].position, color=WARNING, linewidth=1, linestyle="--", label="position used")
    left.set(xlabel="position [fine frames]", ylabel="PSNR of the window [dB]", title=f"blurry frame {shown}")
    left.legend(frameon=False, fontsize="small")

    # Without the nominal rate, under which nothing of the line could be seen.
    times = np.array([frame.blurry_time for frame in take.frames])
    line = np.array([frame.position_fine for frame in take.frames])
    used = np.array([frame.accepted for frame in take.frames], dtype=bool)
    nominal = rig.fine_fps * times
    for chosen, marker, shade, label in ((used, "o", color, "accepted"), (~used, "x", WARNING, "not accepted")):
        if chosen.any():
            middle.plot(times[chosen], (take.curves.peak - nominal)[chosen], marker, color=shade, ms=3.5, label=label)
            right.plot(times[chosen], (take.curves.peak - line)[chosen], marker, color=shade, ms=3.5)
    if take.clock is not None:
        middle.plot(times, line - nominal, color="black", linewidth=1, label="clock line")
        right.axhline(0, color="black", linewidth=1)
    if take.true_positions is not None:
        middle.plot(times, take.true_positions - nominal, color=MUTED, linestyle=":", linewidth=1.6, label="truth")
    middle.set(xlabel="blurry time [s]", ylabel="position less nominal [fine frames]", title="peaks and clock line")
    middle.legend(frameon=False, fontsize="small")
    right.set(xlabel="blurry time [s]", ylabel="peak less clock line [fine frames]", title="residuals")
    caption = (
        f"{take.name}: scores of the windows tried for one blurry frame; each frame's own peak and the clock line; "
        "what is left between the two."
    )
    return make_plot(caption, figure)
