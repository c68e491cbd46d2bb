"""Tables of the timing of aligned takes: coarse offsets, clocks, exposures and rolling shutters."""

from __future__ import annotations

from collections.abc import Sequence

from rb2v.artifacts import ClockModel, ExposureEstimate, Rig, RollingShutter, SourceOffset
from rb2v.benchmark.report.page import Cell, Table, make_table
from rb2v.benchmark.report.scores import TARGETS, Score
from rb2v.benchmark.session.aligned_take import AlignedTake
from rb2v.stages.align.offset import ACCURACY_SECONDS, MIN_CONFIDENCE
from rb2v.stages.align.timing import MAX_CRYSTAL_DRIFT, MIN_SIGNIFICANCE, find_contradictions

MIN_DRIFT_SECONDS = 20.0
"""The drift of a shorter take has no target."""

Line = list[str | Score | Cell]


def report(takes: Sequence[AlignedTake]) -> tuple[list[Table], list[Score]]:
    """Return one table for each subject, and the scores in them."""
    has_truth = any(take.truth is not None for take in takes)
    made = [make(takes, has_truth=has_truth) for make in (_offsets, _clocks, _exposures, _rolling_shutters)]
    scores = [cell for _, lines in made for line in lines for cell in line if isinstance(cell, Score)]
    return [table for table, _ in made], scores


def _offsets(takes: Sequence[AlignedTake], *, has_truth: bool) -> tuple[Table, list[Line]]:
    lines: list[Line] = []
    for take in takes:
        used = next((one for one in take.timing.offsets if one.source == take.timing.offset_source), None)
        for one in take.timing.offsets:
            is_clear = one.confidence >= MIN_CONFIDENCE[one.source]
            line: Line = [
                take.name,
                one.source,
                _judge_offset(one, used),
                take.score(f"offset.{one.source}", one.seconds, "s"),
                take.score(f"offset_confidence.{one.source}", one.confidence, "0..1"),
                f"{MIN_CONFIDENCE[one.source]:.2f}",
            ]
            if take.truth is not None:
                error = 1e3 * abs(one.seconds - take.truth.offset_seconds)
                checked = is_clear and one.source == "sound"
                line.append(take.score(f"offset_error.{one.source}", error, "ms", checked=checked))
            lines.append(line)
        if not take.timing.offsets:
            blank = ["none"] * (4 if has_truth else 3)
            lines.append([take.name, "none", Cell("nothing tells the offset", noticed=True), *blank])
    header = ["Take", "Source", "Verdict", "offset [s]", "confidence", "least confidence"]
    caption = (
        "The coarse offset: when the blurry recording began, in the sharp camera's time, by every source. The search "
        "starts from the most exact source that is clear."
    )
    if has_truth:
        header.append("error [ms]")
        caption += " A sound that is clear has a target."
    return make_table(caption, header, lines, n_text_columns=3, grouped=True), lines


def _judge_offset(one: SourceOffset, used: SourceOffset | None) -> Cell:
    if one.confidence < MIN_CONFIDENCE[one.source]:
        return Cell("not clear")
    if used is None:
        return Cell("clear, but was not to be used")
    if one is used:
        return Cell("used")
    apart = abs(one.seconds - used.seconds)
    if apart > ACCURACY_SECONDS[one.source] + ACCURACY_SECONDS[used.source]:
        return Cell(f"disagrees with the {used.source} by {1e3 * apart:.0f} ms", noticed=True)
    return Cell("agrees")


def _clocks(takes: Sequence[AlignedTake], *, has_truth: bool) -> tuple[Table, list[Line]]:
    lines: list[Line] = []
    for take in takes:
        clock = take.timing.clock
        line: Line = [
            take.name,
            _format_jumps(take, clock),
            _judge_drift(clock),
            take.score("clock_frames", None if clock is None else clock.n_inliers, "frames"),
            take.score("clock_offset", None if clock is None else clock.offset_seconds, "s"),
            take.score("drift", None if clock is None else 1e6 * clock.drift, "ppm"),
            take.score("drift_standard_error", None if clock is None else 1e6 * clock.drift_error, "ppm"),
            take.score("clock_residual", None if clock is None else 1e3 * clock.residual_seconds, "ms"),
        ]
        if take.truth is not None:
            offset = None if clock is None else 1e3 * abs(clock.offset_seconds - take.truth.offset_seconds)
            drift = None if clock is None else 1e6 * abs(clock.drift - take.truth.drift)
            is_long = _length_seconds(take) >= MIN_DRIFT_SECONDS
            line += [
                take.score("clock_offset_error", offset, "ms"),
                take.score("drift_error", drift, "ppm", checked=is_long),
            ]
        lines.append(line)
    header = [
        "Take",
        "Jumps",
        "Verdict",
        "frames on the line",
        "offset [s]",
        "drift [ppm]",
        "drift, standard error [ppm]",
        "residual [ms]",
    ]
    caption = (
        "The clock line that all frames of a take share, and where one recording lacks a piece. Two crystals part by "
        f"tens of ppm, and by less than {1e6 * MAX_CRYSTAL_DRIFT:.0f}."
    )
    if has_truth:
        limit = TARGETS["drift_error"].limit
        header += ["offset, error [ms]", "drift, error [ppm]"]
        caption += (
            " Drift is told by how the clocks part over a take: the shorter it is, the less it matters, and the less "
            f"surely it is known. It has a target for takes of at least {MIN_DRIFT_SECONDS:g} s, over which "
            f"{limit:g} ppm are {1e-3 * limit * MIN_DRIFT_SECONDS:.1f} ms; over shorter ones they are less than the "
            "positions of single frames can tell."
        )
    return make_table(caption, header, lines, n_text_columns=3), lines


def _judge_drift(clock: ClockModel | None) -> Cell:
    if clock is None:
        return Cell("-")
    if abs(clock.drift) > MAX_CRYSTAL_DRIFT:
        return Cell("more than crystals do: frames may be missing, or a rate is wrong", noticed=True)
    return Cell("usual")


def _length_seconds(take: AlignedTake) -> float:
    # Whole recordings: the last frame lasts as long as the others.
    times = take.times
    return round(float(times[-1] - times[0]) + 1 / take.rig.blurry_fps, 6) if len(times) else 0.0


def _format_jumps(take: AlignedTake, clock: ClockModel | None) -> Cell:
    if clock is None:
        told = "no clock: frames stand by themselves" if take.config.positions == "independent" else "no clock found"
        return Cell(told, noticed=take.config.positions != "independent")
    if not clock.jumps:
        return Cell("none")
    places = [
        f"{1e3 * jump.shift_seconds:+.1f} ms between {jump.after_seconds:.2f} s and {jump.before_seconds:.2f} s"
        for jump in clock.jumps
    ]
    return Cell("; ".join(places), noticed=True)


def _exposures(takes: Sequence[AlignedTake], *, has_truth: bool) -> tuple[Table, list[Line]]:
    lines: list[Line] = []
    for take in takes:
        found, shutter = take.timing.exposure, None
        if found is not None and found.shutter_seconds is not None:
            shutter = 1e3 * found.shutter_seconds
        line: Line = [
            take.name,
            _judge_exposure(found, take.rig),
            take.score("exposure", None if found is None else 1e3 * found.seconds, "ms"),
            take.score("exposure_standard_error", None if found is None else 1e3 * found.error_seconds, "ms"),
            take.score("exposure_assumed", None if found is None else 1e3 * found.assumed_seconds, "ms"),
            take.score("exposure_telemetry", shutter, "ms"),
        ]
        if take.truth is not None:
            true = take.truth.exposure_seconds
            line += [
                take.score("exposure_true", 1e3 * true, "ms"),
                take.score("exposure_error", None if found is None else 1e3 * abs(found.seconds - true), "ms"),
            ]
        lines.append(line)
    header = ["Take", "Verdict", "from the blur [ms]", "standard error [ms]", "the rig's [ms]", "the telemetry's [ms]"]
    if has_truth:
        header += ["true [ms]", "error [ms]"]
    caption = (
        "The blurry camera's exposure: the one that explains the blur best, and the stated ones. The synthetic blur "
        "spans the rig's."
    )
    return make_table(caption, header, lines, n_text_columns=2), lines


def _judge_exposure(found: ExposureEstimate | None, rig: Rig) -> Cell:
    if found is None:
        return Cell("not known: too little moves")
    if contradicted := find_contradictions(found, rig):
        return Cell(f"not the {' nor the '.join(contradicted)}: set the shutter, or name another rig", noticed=True)
    return Cell("as stated")


def _rolling_shutters(takes: Sequence[AlignedTake], *, has_truth: bool) -> tuple[Table, list[Line]]:
    lines: list[Line] = []
    for take in takes:
        found = take.timing.rolling_shutter
        line: Line = [
            take.name,
            _judge_skew(found),
            take.score("skew", None if found is None else 1e3 * found.skew_seconds, "ms"),
            take.score("skew_standard_error", None if found is None else 1e3 * found.error_seconds, "ms"),
        ]
        if take.truth is not None:
            true = take.truth.skew_seconds
            line += [
                take.score("skew_true", 1e3 * true, "ms"),
                take.score("skew_error", None if found is None else 1e3 * abs(found.skew_seconds - true), "ms"),
            ]
        lines.append(line)
    header = ["Take", "Verdict", "skew [ms]", "standard error [ms]"]
    if has_truth:
        header += ["true [ms]", "error [ms]"]
    caption = (
        "Rolling shutters: how much later than its first row the blurry camera's last output row is exposed, less the "
        "same of the sharp camera."
    )
    return make_table(caption, header, lines, n_text_columns=2), lines


def _judge_skew(found: RollingShutter | None) -> Cell:
    if found is None:
        return Cell("not known: too little moves")
    if found.compensated:
        return Cell("compensated")
    if abs(found.skew_seconds) > MIN_SIGNIFICANCE * found.error_seconds:
        return Cell("left as it is", noticed=True)
    return Cell("none told: nothing to compensate")
