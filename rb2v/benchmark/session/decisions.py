"""Why the blurry frames of a take were accepted or not: score curves, the clock line, bands of rows, and checks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import NDArray

from rb2v.artifacts import REASONS
from rb2v.benchmark.report.page import (
    CATEGORY_COLORS,
    MUTED,
    WARNING,
    Plot,
    Table,
    add_legend,
    make_plot,
    make_table,
    new_figure,
)
from rb2v.benchmark.report.scores import Score
from rb2v.benchmark.session.aligned_take import AlignedTake
from rb2v.benchmark.truth.reference import spread_indices

_N_REJECTED = 6  # curves side by side that can still be read
_MOST_OF_LIMIT = 2.0  # times a limit: where the axis ends
_SMALL = 8  # points, of letters in curves


def report_checks(takes: Sequence[AlignedTake]) -> tuple[Table, list[Score]]:
    """Return the table of what the frames of all takes were judged by, and the scores in it."""
    lines = [_check_line(take) for take in takes]
    header = [
        "Take",
        *("clipped, median [%]", "clipped, largest [%]"),
        *("flash, median [%]", "flash, largest [%]"),
        *("gain off the take's, median [%]", "gain off the take's, largest [%]"),
        *("interpolation, median [dB]", "interpolation, least [dB]"),
    ]
    configs = {take.config for take in takes}
    limits = "; ".join(
        f"at most {100 * config.max_clipped_share:g} % clipped, {100 * config.max_flash:g} % flash, "
        f"{100 * config.max_gain_change:g} % gain, at least {config.min_interpolation_psnr_db:g} dB interpolation"
        for config in configs
    )
    caption = (
        f"What all frames were judged by, beside their scores; the limits are {limits}. Flash is the largest change of "
        "the light from one sharp frame of a window to the next, interpolation the PSNR of the worst part of a frame "
        "that was made again from frames between."
    )
    return make_table(caption, header, lines), [cell for line in lines for cell in line if isinstance(cell, Score)]


def _check_line(take: AlignedTake) -> list[str | Score]:
    line: list[str | Score] = [take.name]
    for name, values, unit in (
        ("clipped", 100 * take.checks.clipped_share, "%"),
        ("flash", 100 * take.checks.flash, "%"),
        ("gain_change", 100 * np.abs(take.checks.gain_change), "%"),
        ("interpolation", take.checks.interpolation_psnr, "dB"),
    ):
        known = values[np.isfinite(values)]
        worst, which = (np.min, "min") if unit == "dB" else (np.max, "max")
        line += [
            take.score(f"{name}_median", float(np.median(known)) if len(known) else None, unit),
            take.score(f"{name}_{which}", float(worst(known)) if len(known) else None, unit),
        ]
    return line


def show_take(take: AlignedTake) -> list[Plot]:
    """Return a take's diagrams: its clock line, its bands and checks, and where there are any its rejected frames."""
    plots = [_plot_clock(take), _plot_checks(take)]
    return [*plots, _plot_rejected(take)] if take.rejected else plots


def _plot_clock(take: AlignedTake) -> Plot:
    figure, (left, middle, right) = new_figure(3)
    color, frames, peak = CATEGORY_COLORS[take.category], take.frames, take.curves.peak
    accepted = take.accepted
    shown = accepted[len(accepted) // 2] if accepted else len(frames) // 2
    _draw_curve(left, take, shown, color)
    left.set(xlabel="position [fine frames]", ylabel="PSNR of the window [dB]", title=f"blurry frame {shown}")
    if left.lines:
        add_legend(left)

    # Without the nominal rate, under which nothing of the line could be seen.
    times = take.times
    line = np.array([frame.position_fine for frame in frames])
    used = np.array([frame.accepted for frame in frames], dtype=bool)
    nominal = take.rig.fine_fps * times
    for chosen, marker, shade, label in ((used, "o", color, "accepted"), (~used, "x", WARNING, "not accepted")):
        if chosen.any():
            middle.plot(times[chosen], (peak - nominal)[chosen], marker, color=shade, ms=3.5, label=label)
            right.plot(times[chosen], (peak - line)[chosen], marker, color=shade, ms=3.5)
    if take.timing.clock is not None:
        middle.plot(times, line - nominal, color="black", linewidth=1, label="clock line")
        right.axhline(0, color="black", linewidth=1)
    if take.truth is not None:
        middle.plot(times, take.truth.positions - nominal, color=MUTED, linestyle=":", linewidth=1.6, label="truth")
    middle.set(xlabel="blurry time [s]", ylabel="position less nominal [fine frames]", title="peaks and clock line")
    add_legend(middle)
    right.set(xlabel="blurry time [s]", ylabel="peak less clock line [fine frames]", title="residuals")
    caption = (
        f"{take.name}: scores of the windows tried for one blurry frame, on reduced frames, whose PSNR is higher than "
        "at full size; each frame's own peak and the clock line; what is left between the two."
    )
    return make_plot(caption, figure)


def _draw_curve(axis: Axes, take: AlignedTake, index: int, color: str) -> None:
    curve = take.curves.psnr[index]
    positions = take.curves.first_position[index] + np.arange(len(curve))
    if np.all(np.isnan(curve)):
        told = "no offset to search from" if take.timing.offset_source is None else "no window in range"
        axis.text(0.5, 0.5, told, transform=axis.transAxes, ha="center", color=MUTED, fontsize=_SMALL)
        axis.set(xticks=[], yticks=[])
        return
    axis.plot(positions, curve, color=color, linewidth=1.2)
    axis.axvline(take.frames[index].position, color=WARNING, linewidth=1, linestyle="--", label="position used")
    if np.isfinite(take.curves.peak[index]):
        axis.axvline(take.curves.peak[index], color=MUTED, linewidth=1, linestyle=":", label="its own peak")


def _plot_checks(take: AlignedTake) -> Plot:
    figure, (left, right) = new_figure(2, widths=(1, 2.1))
    _draw_bands(left, take)
    _draw_checks(right, take)
    caption = (
        f"{take.name}: how much later than the clock line each band of rows is exposed; every frame's checks as shares "
        f"of their limits, the first frame at the top of each strip. At the line a limit is reached; what is over "
        f"{_MOST_OF_LIMIT:g} times a limit is drawn there."
    )
    return make_plot(caption, figure)


def _draw_bands(axis: Axes, take: AlignedTake) -> None:
    found, color = take.timing.rolling_shutter, CATEGORY_COLORS[take.category]
    height = take.rig.output_size[1]
    axis.set(xlabel="later than the clock line [ms]", ylabel="output row", title="bands of rows")
    axis.set_ylim(height - 0.5, -0.5)
    if found is None:
        told = "too little moves" if take.timing.clock else "no clock"
        axis.text(0.5, 0.5, told, transform=axis.transAxes, ha="center", color=MUTED)
        axis.set_xticks([])
        return
    rows, shifts = np.array(found.band_rows), 1e3 * np.array(found.band_shifts_seconds)
    axis.plot(shifts, rows, "o", color=color, ms=4, label="bands")
    ends = np.array([0.0, height - 1.0])
    lines = [(found.skew_seconds, "black", "-", "line")]
    if take.truth is not None:
        lines.append((take.truth.skew_seconds, MUTED, ":", "truth"))
    for skew_seconds, shade, style, label in lines:
        slope = 1e3 * skew_seconds / (height - 1)
        axis.plot(shifts.mean() + slope * (ends - rows.mean()), ends, style, color=shade, linewidth=1.2, label=label)
    # Less than a tenth of a millisecond is not worth being magnified.
    low, high = axis.get_xlim()
    axis.set_xlim(min(low, -0.1), max(high, 0.1))
    add_legend(axis)


def _draw_checks(axis: Axes, take: AlignedTake) -> None:
    strips = list(_shares_of_limits(take))
    color, n = CATEGORY_COLORS[take.category], len(take.frames)
    spread = 0.7 * ((np.arange(n) + 0.5) / max(n, 1) - 0.5)
    for strip, (_, shares) in enumerate(strips):
        for chosen, marker, shade in ((shares <= 1, "o", color), (shares > 1, "x", WARNING)):
            axis.plot(
                *(np.minimum(shares[chosen], _MOST_OF_LIMIT), strip + spread[chosen]),
                *(marker,),
                color=shade,
                ms=2.8,
                alpha=0.7,
                clip_on=False,
            )
    axis.axvline(1, color="black", linewidth=1)
    axis.set_yticks(range(len(strips)), [label for label, _ in strips], fontsize="small")
    axis.set(xlim=(0, _MOST_OF_LIMIT), ylim=(len(strips) - 0.5, -0.5))
    axis.grid(axis="y", visible=False)
    applied = "" if take.config.positions == "clock" else " (not applied: positions are independent)"
    axis.set(xlabel="share of the limit", title=f"checks{applied}")


def _shares_of_limits(take: AlignedTake) -> Iterator[tuple[str, NDArray[np.float64]]]:
    """Yield each check's name with its limit, and how near the frames come to it: 1 where they reach it."""
    config, checks = take.config, take.checks
    psnrs = np.array([frame.psnr for frame in take.frames])
    off_line = np.abs(take.curves.peak - [frame.position_fine for frame in take.frames])
    yield f"clipped ≤ {100 * config.max_clipped_share:g} %", checks.clipped_share / config.max_clipped_share
    yield f"flash ≤ {100 * config.max_flash:g} %", checks.flash / config.max_flash
    yield f"gain ± {100 * config.max_gain_change:g} %", np.abs(take.checks.gain_change) / config.max_gain_change
    yield f"off the line ≤ {config.tolerance_frames:g}", off_line / config.tolerance_frames
    with np.errstate(divide="ignore"):
        yield f"PSNR ≥ {config.min_psnr_db:g} dB", config.min_psnr_db / psnrs
        limit = config.min_interpolation_psnr_db
        yield f"interpolation ≥ {limit:g} dB", limit / checks.interpolation_psnr


def _plot_rejected(take: AlignedTake) -> Plot:
    shown = choose_rejected(take)
    figure, axes = new_figure(_N_REJECTED, 1.9, left_inches=0.55)
    for index, axis in zip(shown, axes, strict=False):
        _draw_curve(axis, take, index, CATEGORY_COLORS[take.category])
        axis.set_title(f"{index}: {take.frames[index].reason}\n{_format_measure(take, index)}", fontsize=_SMALL)
        axis.tick_params(labelsize=_SMALL - 1)
        axis.locator_params(axis="both", nbins=4)
    for axis in axes[len(shown) :]:
        axis.set_visible(False)
    figure.subplots_adjust(top=0.78, bottom=0.14)
    n = len(take.rejected)
    reasons = {take.frames[index].reason for index in shown}
    told = "; ".join(f"{code}: {words}" for code, words in REASONS.items() if code in reasons)
    many = f"{len(shown)} of the {n} frames" if n > len(shown) else "the frame" if n == 1 else f"the {n} frames"
    caption = (
        f"{take.name}: PSNR [dB] of the windows tried, by position [fine frames], for {many} that "
        f"{'was' if n == 1 else 'were'} not accepted. {told}."
    )
    return make_plot(caption, figure)


def choose_rejected(take: AlignedTake) -> list[int]:
    """Return the indices of up to six rejected frames: of every reason some, evenly spread over the take."""
    by_reason = {
        reason: [index for index in take.rejected if take.frames[index].reason == reason]
        for reason in REASONS
        if any(take.frames[index].reason == reason for index in take.rejected)
    }
    counts = dict.fromkeys(by_reason, 0)
    for _ in range(min(_N_REJECTED, len(take.rejected))):
        open_reasons = [reason for reason, indices in by_reason.items() if counts[reason] < len(indices)]
        counts[min(open_reasons, key=lambda reason: counts[reason])] += 1
    return sorted(
        indices[place]
        for reason, indices in by_reason.items()
        for place in spread_indices(len(indices), max(counts[reason], 1))
        if counts[reason]
    )


def _format_measure(take: AlignedTake, index: int) -> str:
    """Return the figure that a frame was rejected for, where there is one."""
    frame, checks = take.frames[index], take.checks
    off_line = take.curves.peak[index] - frame.position_fine
    measures = {
        "clipped": f"{100 * checks.clipped_share[index]:.0f} % clipped",
        "flash": f"light changes by {100 * checks.flash[index]:.1f} %",
        "exposure": f"gain {100 * checks.gain_change[index]:+.1f} % off",
        "interpolation": f"{checks.interpolation_psnr[index]:.1f} dB between",
        "low-psnr": f"{frame.psnr:.1f} dB at full size",
        "inconsistent": f"{off_line:+.1f} fine frames off",
        "static": f"clock known to {checks.clock_error_frames[index]:.2f} fine frames",
        "no-clock": f"stands out by {frame.margin_db:.2f} dB",
    }
    return measures.get(frame.reason, f"position {frame.position}")
