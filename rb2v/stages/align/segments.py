"""Long takes cut in time: any worker warps a piece of a recording, or makes the samples of a range of frames.

A take's windows are found in one piece, because one clock runs through it. What comes before and after takes most of
the time and knows of few other frames. What a worker makes lies in files of its own in the take's scratch folder. The
joined file is that of an uncut take, byte by byte, so that it does not matter which takes are cut.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from rb2v.artifacts import CAMERAS, AlignedFrame, Camera, Take, Timing
from rb2v.errors import InputError
from rb2v.execution import Executor, count_workers, keep_workers
from rb2v.io.aligned import (
    AlignedTake,
    AlignedTakeReader,
    AlignedTakeWriter,
    FrameChecks,
    ScoreCurves,
    aligned_take_path,
    create_aligned_take,
)
from rb2v.io.frame_file import Frames
from rb2v.io.partial import scratch_folder
from rb2v.profiling import count_bytes, stage
from rb2v.stages.align.context import RunContext, TakeContext
from rb2v.stages.align.photometry import TakeLight
from rb2v.stages.align.profile import TakeProfile, add_profiles, record_profile
from rb2v.stages.align.records import TakeRecord, check_plates, digest_inputs, is_made_from, read_record
from rb2v.stages.align.take import (
    EarlySamples,
    SamplePlan,
    Samples,
    TakeWindows,
    find_windows,
    make_frames,
    make_plate,
    plan_samples,
    reject_mattes,
    spool_of,
    warn_of_light,
)
from rb2v.stages.align.track import Piece, SharpPart, SharpSource
from rb2v.stages.align.warping import read_pieces, recording_of, write_piece

RANGE_FRAMES = 50
"""Blurry frames of a range: two seconds, so that a minute keeps a dozen workers busy, and none waits long."""

PIECE_FRAMES = 400
"""Frames of a piece of a recording, at least: four seconds of a sharp one. One in ten is decoded twice."""

MIN_CUT_FRAMES = 250
"""Blurry frames of a take that is worth cutting: ten seconds, in which starts of workers are soon made up for."""

_TAKES_PER_WORKER = 2  # from which on whole takes keep all workers busy, and ranges would only wait for each other


@dataclass(frozen=True)
class CutTake:
    """A take that is cut, and the folder for what lies between."""

    take: Take
    scratch: Path

    @property
    def head_path(self) -> Path:
        """File of all that is known of the take before its samples are made."""
        return self.scratch / "head.h5"

    def part_path(self, number: int) -> Path:
        """File of a range's samples."""
        return self.scratch / f"part_{number}.h5"


@dataclass(frozen=True, eq=False)
class FrameRange:
    """A range of a take's blurry frames, and what their samples are made of."""

    cut: CutTake
    number: int
    plan: SamplePlan
    early: EarlySamples
    blurry: Frames[np.uint8]
    sharp: SharpPart


@dataclass(frozen=True, eq=False)
class _Plan:
    cut: CutTake
    inputs_sha256: str
    pieces: dict[Camera, list[Piece]]
    """None of either recording where one cannot be decoded piece by piece."""
    profile: TakeProfile | None


@dataclass(frozen=True)
class _Warping:
    cut: CutTake
    camera: Camera
    piece: Piece


@dataclass(frozen=True, eq=False)
class _Warped:
    folder: Path
    profile: TakeProfile | None


@dataclass(frozen=True, eq=False)
class _Finding:
    cut: CutTake
    inputs_sha256: str
    pieces: dict[Camera, list[tuple[Piece, Path]]]
    """With the folders that they lie in."""


@dataclass(frozen=True, eq=False)
class _Prepared:
    ranges: Sequence[FrameRange]
    profile: TakeProfile | None


@dataclass(frozen=True, eq=False)
class _Made:
    light: TakeLight
    profile: TakeProfile | None


@dataclass(frozen=True)
class _Join:
    cut: CutTake
    n_ranges: int


def is_worth_cutting(takes: Sequence[Take], context: RunContext, executor: Executor) -> bool:
    """Return whether workers would be idle while the longest takes are aligned."""
    n_workers = count_workers(executor)
    if n_workers == 1 or (n_workers is not None and len(takes) >= _TAKES_PER_WORKER * n_workers):
        return False
    return any(TakeContext(take, context, context.out_dir).n_blurry_frames >= MIN_CUT_FRAMES for take in takes)


def align_in_ranges(
    takes: Sequence[Take], context: RunContext, executor: Executor
) -> Iterator[TakeRecord | InputError]:
    """Align takes as `rb2v.stages.align.stage.align_take` does, the samples of each by any worker.

    Yields
    ------
    TakeRecord or InputError
        Of each take, in order.
    """
    with keep_workers(executor), ExitStack() as folders:
        cuts = [
            CutTake(take, folders.enter_context(scratch_folder(aligned_take_path(context.out_dir, take.name))))
            for take in takes
        ]
        planned = list(executor.map(partial(_plan, context=context), cuts))
        plans = [plan for plan in planned if isinstance(plan, _Plan)]
        costs = {plan.cut.take.name: [plan.profile] for plan in plans}
        # The longest first, so that none is begun when the other workers have nothing left to do.
        warpings = sorted(
            (
                _Warping(plan.cut, camera, piece)
                for plan in plans
                for camera, pieces in plan.pieces.items()
                for piece in pieces
            ),
            key=lambda one: -one.piece.span.n_frames,
        )
        folders_of: dict[tuple[str, Camera, int], Path] = {}
        for one, warped in zip(warpings, executor.map(partial(_warp_piece, context=context), warpings), strict=True):
            if isinstance(warped, _Warped):
                costs[one.cut.take.name].append(warped.profile)
                folders_of[one.cut.take.name, one.camera, one.piece.frames.start] = warped.folder
        findings = [_Finding(plan.cut, plan.inputs_sha256, _warped_pieces(plan, folders_of)) for plan in plans]
        finding = executor.map(partial(_prepare, context=context), findings)
        found = [next(finding) if isinstance(plan, _Plan) else plan for plan in planned]
        ranges = [one for prepared in found if isinstance(prepared, _Prepared) for one in prepared.ranges]
        made: dict[str, list[_Made]] = defaultdict(list)
        for part_range, part in zip(ranges, executor.map(partial(_make_range, context=context), ranges), strict=True):
            made[part_range.cut.take.name].append(part)
        joins = [
            _Join(cut, len(prepared.ranges))
            for cut, prepared in zip(cuts, found, strict=True)
            if isinstance(prepared, _Prepared)
        ]
        joined = executor.map(partial(_join, context=context), joins)
        for cut, prepared in zip(cuts, found, strict=True):
            if not isinstance(prepared, _Prepared):
                yield prepared
                continue
            name = cut.take.name
            warn_of_light(TakeContext(cut.take, context, cut.scratch), _add_light(made[name]))
            record = next(joined)
            if isinstance(record, TakeRecord) and context.is_profiled:
                costs[name] += [prepared.profile, *(part.profile for part in made[name]), record.profile]
                record = dataclasses.replace(record, profile=add_profiles([one for one in costs[name] if one]))
            yield record


def _add_light(parts: Sequence[_Made]) -> TakeLight:
    light = TakeLight()
    for part in parts:
        light.add_all(part.light)
    return light


def _plan(cut: CutTake, context: RunContext) -> _Plan | TakeRecord | InputError:
    """Cut a take's recordings into pieces; return the take's record where it is finished."""
    take = cut.take
    try:
        check_plates(take, context.calibration)
        with record_profile(is_on=context.is_profiled) as recorded:
            with stage("inputs"):
                inputs_sha256 = digest_inputs(take)
            if is_made_from(aligned_take_path(context.out_dir, take.name), inputs_sha256):
                return read_record(take, context.out_dir, None)
            shared = TakeContext(take, context, cut.scratch)
            with stage("decode"):
                pieces = {camera: recording_of(shared, camera).cut(PIECE_FRAMES) for camera in CAMERAS}
        return _Plan(cut, inputs_sha256, pieces if all(pieces.values()) else {}, recorded.profile)
    except InputError as error:
        return error


def _warp_piece(one: _Warping, context: RunContext) -> _Warped | InputError:
    """Warp a piece of a recording; what is wrong with it is said again once the whole recording is decoded."""
    shared = TakeContext(one.cut.take, context, one.cut.scratch)
    try:
        with record_profile(is_on=context.is_profiled) as recorded, threadpool_limits(1, "blas"):
            folder = write_piece(shared, one.camera, one.piece)
        return _Warped(folder, recorded.profile)
    except InputError as error:
        return error


def _warped_pieces(
    plan: _Plan, folders: Mapping[tuple[str, Camera, int], Path]
) -> dict[Camera, list[tuple[Piece, Path]]]:
    """Return a take's pieces and their folders; none where one could not be warped."""
    name = plan.cut.take.name
    try:
        return {
            camera: [(piece, folders[name, camera, piece.frames.start]) for piece in pieces]
            for camera, pieces in plan.pieces.items()
        }
    except KeyError:
        return {}


def _prepare(finding: _Finding, context: RunContext) -> _Prepared | InputError:
    """Find a take's windows, and return what each range needs."""
    cut, take = finding.cut, finding.cut.take
    try:
        with record_profile(is_on=context.is_profiled) as recorded:
            shared = TakeContext(take, context, cut.scratch)
            with threadpool_limits(1, "blas"):
                pieces = finding.pieces
                warped = read_pieces(pieces["blurry"], pieces["sharp"]) if pieces else None
                windows, registration = find_windows(shared, warped)
                plan = plan_samples(shared, windows)
                with stage("write"), create_aligned_take(cut.head_path, is_part=True) as writer:
                    writer.finish(
                        AlignedTake(
                            take,
                            [_unmade(take, planned.index) for planned in plan.frames],
                            windows.search.curves,
                            windows.checks,
                            windows.timing,
                            make_plate(shared, windows.used.homographies[0], windows.samples.photometry.fallback),
                            finding.inputs_sha256,
                            registration,
                        )
                    )
                ranges = _cut(cut, windows, plan)
        return _Prepared(ranges, recorded.profile)
    except InputError as error:
        return error


def _unmade(take: Take, index: int) -> AlignedFrame:
    """Return a frame that stands in for one of which no sample is made yet."""
    return AlignedFrame(take.name, index, 0.0, 0, 0.0, 0.0, 0.0, False, "no-clock", np.eye(3, 4))


def _cut(cut: CutTake, windows: TakeWindows, plan: SamplePlan) -> list[FrameRange]:
    ranges = []
    for number, start in enumerate(range(0, len(plan.frames), RANGE_FRAMES)):
        some = range(start, min(start + RANGE_FRAMES, len(plan.frames)))
        frames = plan.frames[some.start : some.stop]
        positions = [planned.place.position for planned in frames if planned.can_be_made]
        sharp = windows.tracks.sharp.part(range(min(positions, default=0), max(positions, default=0) + 1))
        early, blurry = windows.samples.early(some), windows.tracks.blurry.part(some)
        ranges.append(FrameRange(cut, number, dataclasses.replace(plan, frames=frames), early, blurry, sharp))
    return ranges


class _RangeViews:
    """The recordings of a range; see `rb2v.stages.align.take.Views`."""

    def __init__(self, context: TakeContext, one: FrameRange) -> None:
        self._blurry, self._first_frame = one.blurry, one.plan.frames[0].index
        self._first_position = one.sharp.first_position
        self._source = SharpSource(
            one.sharp.track,
            context.rig,
            context.interpolator,
            context.response,
            flicker=one.sharp.flicker,
            to_light=context.sharp_light,
        )

    def image(self, index: int) -> NDArray[np.uint8]:
        """Return a blurry frame."""
        return np.asarray(self._blurry[index - self._first_frame])

    def window(
        self, position: int, row_shifts: NDArray[np.float64] | None = None, *, stride: int = 1
    ) -> tuple[NDArray[np.float32], list[NDArray[np.float32]]]:
        """Return the synthetic blur of a window, and its sharp sequence."""
        return self._source.window(position - self._first_position, row_shifts, stride=stride)


def _make_range(one: FrameRange, context: RunContext) -> _Made:
    """Make the samples of a range, and write those that are accepted with all frames' verdicts."""
    take = one.cut.take
    shared = TakeContext(take, context, one.cut.scratch)
    with record_profile(is_on=context.is_profiled) as recorded, threadpool_limits(1, "blas"):
        samples = Samples(shared, _RangeViews(shared, one), one.early)
        with create_aligned_take(one.cut.part_path(one.number), is_part=True) as writer:
            frames, light = make_frames(shared, samples, one.plan, writer)
            n = len(frames)
            nothing = np.full(n, np.nan)
            curves = ScoreCurves(np.zeros(n, np.int64), np.full((n, 1), np.nan, np.float32), nothing)
            checks = FrameChecks(*(nothing for _ in dataclasses.fields(FrameChecks)))
            with stage("write"):
                writer.finish(AlignedTake(take, frames, curves, checks, Timing()))
    return _Made(light, recorded.profile)


def _join(join: _Join, context: RunContext) -> TakeRecord | InputError:
    """Join the ranges of a take in its file."""
    cut, path = join.cut, aligned_take_path(context.out_dir, join.cut.take.name)
    try:
        with record_profile(is_on=context.is_profiled) as recorded, threadpool_limits(1, "blas"):
            with create_aligned_take(path) as writer:
                _write_joined(TakeContext(cut.take, context, cut.scratch), join, writer)
            record = read_record(cut.take, context.out_dir, None)
            recorded.n_frames = record.n_frames
            with stage("write"):
                count_bytes(written=path.stat().st_size)
    except InputError as error:
        return error
    return dataclasses.replace(record, profile=recorded.profile)


def _write_joined(context: TakeContext, join: _Join, writer: AlignedTakeWriter) -> None:
    frames: list[AlignedFrame] = []
    with stage("write"):
        for number in range(join.n_ranges):
            with AlignedTakeReader(join.cut.part_path(number)) as part:
                writer.append_from(part)
                frames += part.read_frames()
        with AlignedTakeReader(join.cut.head_path) as head:
            curves, checks, timing, plate = head.read_curves(), head.read_checks(), head.timing, head.plate
            inputs_sha256, registration = head.inputs_sha256, head.registration
    kept, samples = reject_mattes(context, frames, spool_of(context, writer, plate))
    with stage("write"):
        writer.finish(
            AlignedTake(context.take, kept, curves, checks, timing, plate, inputs_sha256, registration),
            samples.indices,
        )
