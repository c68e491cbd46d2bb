"""One take, step by step: tracks, coarse offset, search, timing, colors, verdicts, the file."""

from __future__ import annotations

import dataclasses
import math
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from rb2v.artifacts import AlignedFrame, ClockModel, TakeRegistration, Timing
from rb2v.core.color import apply_color_map, encode
from rb2v.core.flicker import Flicker
from rb2v.core.homography import Homography
from rb2v.errors import InputError
from rb2v.io.aligned import AlignedSample, AlignedTake, FrameChecks, create_aligned_take
from rb2v.io.video import read_image
from rb2v.matting import make_matting_method
from rb2v.profiling import count_bytes, stage
from rb2v.stages.align.context import TakeContext, give_memory_back
from rb2v.stages.align.joint import MAX_TIME_ERROR_FRAMES, HiddenShift, find_hidden_shift
from rb2v.stages.align.matte import (
    CompositeLimits,
    SampleFile,
    SampleSpool,
    StoredSamples,
    reject_broken_composites,
)
from rb2v.stages.align.offset import choose_offset, estimate_offsets
from rb2v.stages.align.photometry import (
    MAX_TONE_DIFFERENCE,
    MAX_UNEVENNESS,
    ColorMap,
    FrameLight,
    LinearColorPairs,
    Photometry,
    TakeLight,
    known_color_map,
)
from rb2v.stages.align.placement import Placement, translation
from rb2v.stages.align.quality import AssignedPosition, QualityGate, assign_positions, check_frames
from rb2v.stages.align.registration import (
    MAX_FRAMES,
    MatchedFrame,
    contradicts,
    find_coarse_shift,
    is_still,
    measure_registration,
    placed_registration,
    registration_of,
)
from rb2v.stages.align.search import Search, no_search, search_windows
from rb2v.stages.align.timing import (
    Neighborhoods,
    estimate_exposure,
    estimate_rolling_shutter,
    find_standing_lamps,
    fit_take_clock,
    replace_flicker,
    row_shifts,
)
from rb2v.stages.align.track import (
    BlurryTrack,
    ReducedTrack,
    SharpSource,
    Track,
    Tracks,
    find_track_flicker,
)
from rb2v.stages.align.warping import (
    WarpedTake,
    make_reducer,
    make_warp,
    recording_of,
    sure_db,
    warp_blurry,
    warp_sharp,
)

_MAX_ROUNDS = 5  # two for a shift that bends the clock, three for the rest of the homography (docs/calibration.md)
_MAX_SHIFTS = 4  # steps on reduced frames; each leaves less than a third of a shift
_MAX_SHARED_COLOR_FRAMES = 24  # enough for one map of twelve numbers (docs/alignment.md)


@dataclass(frozen=True, eq=False)
class MadeTake:
    """A take that is aligned and not written yet; its frames lie in the scratch folder."""

    aligned: AlignedTake
    samples: SampleSpool
    """One for each accepted frame, in order."""
    blurry: BlurryTrack
    """All blurry frames."""


def write_take(context: TakeContext, path: Path, inputs_sha256: str) -> None:
    """Align one take and write its file, atomically.

    Parameters
    ----------
    context : TakeContext
        The take, and all that it is aligned with.
    path : Path
        The file.
    inputs_sha256 : str
        The digest of what it is made from.

    Raises
    ------
    InputError
        As `make_take`.
    """
    with create_aligned_take(path) as writer:
        made = make_take(context, inputs_sha256, writer)
        with stage("write"), threadpool_limits(1, "blas"):
            writer.finish(made.aligned, made.samples.indices)
    with stage("write"):
        count_bytes(written=path.stat().st_size)


def make_take(context: TakeContext, inputs_sha256: str, stored: StoredSamples) -> MadeTake:
    """Align one take.

    The BLAS has one thread, because the last bits of its sums depend on their number, and so would the result.

    Parameters
    ----------
    context : TakeContext
        The take, and all that it is aligned with.
    inputs_sha256 : str
        The digest of what it is made from.
    stored : StoredSamples
        Where samples go, each once; empty.

    Raises
    ------
    InputError
        If a recording cannot be decoded, is of another size or rate than expected, or shorter than a window; or if no
        screen is seen in a green-screen take.
    """
    with threadpool_limits(1, "blas"):
        windows, registration = find_windows(context)
        frames, samples = reject_mattes(context, *_make_samples(context, windows, stored))
        aligned = AlignedTake(
            context.take,
            frames,
            windows.search.curves,
            windows.checks,
            windows.timing,
            samples.plate,
            inputs_sha256,
            registration,
        )
        return MadeTake(aligned, samples, windows.tracks.blurry)


def reject_mattes(
    context: TakeContext, frames: Sequence[AlignedFrame], samples: SampleSpool
) -> tuple[list[AlignedFrame], SampleSpool]:
    """Leave out the samples of a green-screen take that are none with the screen replaced; as `make_take`."""
    if not context.take.green_screen:
        return list(frames), samples
    config = context.config
    matting = make_matting_method(config.matter, context.run.resources.matting_weights)
    limits = CompositeLimits(config.min_composite_psnr_db, config.min_explained_psnr_db)
    with stage("matte"):
        return reject_broken_composites(frames, samples, matting, context.response, limits)


def find_windows(context: TakeContext, warped: WarpedTake | None = None) -> tuple[TakeWindows, TakeRegistration | None]:
    """Find the windows of a take, under a homography of its own where it needs one, and how far its views lie off.

    Parameters
    ----------
    context : TakeContext
        The take.
    warped : WarpedTake, optional
        Its recordings as the calibration registers them, where they were warped before.

    Raises
    ------
    InputError
        As `make_take`, but of the screen.
    """
    config, rounds = context.config, _Rounds(context, warped)
    is_refined = config.registration == "per-take"
    placement = Placement((context.calibration.homography,))
    under_shared: TakeWindows | None = None
    for n_rounds in range(_MAX_ROUNDS + 1):
        may_go_on = n_rounds < _MAX_ROUNDS and (is_refined or n_rounds > 0)
        found = rounds.find_windows(placement, may_go_on=may_go_on)
        better = found.better if isinstance(found, TakeWindows) else found
        if isinstance(found, TakeWindows):
            is_far = any(one is not None and one.shift_px > config.max_shift_px for one in found.registrations)
            if better is not None and is_far and not is_refined and n_rounds == 0:
                # Windows that were found under a wrong homography hide a part of how wrong it is.
                under_shared = found
            elif better is None or not may_go_on:
                break
        if found is not under_shared:
            rounds.discard()
        assert better is not None
        placement = better
    assert isinstance(found, TakeWindows)
    registration, windows = found.registrations[0], under_shared or found
    if under_shared is not None:
        total = registration_of(context, placement.homographies[0], registration)
        registration = dataclasses.replace(total, homography=None)
    _warn_of_shift(context, windows, registration)
    give_memory_back()
    if n_rounds and under_shared is None:
        registration = placed_registration(context, found.used, found.registrations)
    return windows, registration


def _warn_of_shift(context: TakeContext, windows: TakeWindows, registration: TakeRegistration | None) -> None:
    limit_px = context.config.max_shift_px
    if registration is not None and registration.shift_px > limit_px:
        is_refined = context.config.registration == "per-take"
        context.logger.warning(
            "the views lie %.2f px off each other (limit %g px): %s",
            registration.shift_px,
            limit_px,
            "no homography of its own helps" if is_refined else "was the rig moved? --per-take refines it",
        )
    steps = windows.used.steps if windows.hidden is None else windows.hidden.placement.steps
    for step in steps:
        context.logger.warning("the views shift against each other %.2f s after its start", step.middle_seconds)


class _Rounds:
    """What rounds under different homographies share: the blurry track, and where the sharp frames come from.

    Parameters
    ----------
    context : TakeContext
        The take.
    warped : WarpedTake, optional
        Its recordings, where they were warped before.

    Raises
    ------
    InputError
        If the blurry recording cannot be decoded, or is of another size or rate than expected.
    """

    def __init__(self, context: TakeContext, warped: WarpedTake | None) -> None:
        self._context = context
        self._folder = context.scratch
        self._n_rounds = 0
        self._warped = warped
        self._flicker: Flicker | None = None
        made = warp_blurry(context, context.scratch) if warped is None else warped.blurry
        blurry, every = recording_of(context, "blurry"), context.blurry_stride
        self._blurry = BlurryTrack(blurry.finish(made.warped, every=every), made.reduced, made.whole)

    def find_windows(self, placement: Placement, *, may_go_on: bool) -> TakeWindows | Placement:
        """Find every frame's window under one homography or more; see `_find_windows`.

        Raises
        ------
        InputError
            If the sharp recording cannot be decoded, is of another size or rate than expected, or shorter than a
            window.
        """
        context = self._context
        self._folder = context.scratch / f"round_{self._n_rounds}"
        self._folder.mkdir()
        self._n_rounds += 1
        # Lamps that one round has found flicker in the next ones, too.
        is_known = self._flicker is not None
        # What was warped before is under the first placement.
        warped, self._warped = self._warped, None
        sharp = warp_sharp(context, placement, self._folder, measures=not is_known) if warped is None else warped.sharp
        track = recording_of(context, "sharp").finish(sharp.warped)
        give_memory_back()
        # The paper's way takes the light as it is.
        if context.config.positions == "clock" and not is_known:
            self._flicker = find_track_flicker(sharp.light_changes, track.times)
        # Light is evened out once all of it is known.
        reduced = sharp.reduced.leave_out_gaps(track, context.rig) if self._flicker is None else None
        made = self._make_samples(track, self._flicker, reduced)
        found = _find_windows(context, *made, placement, may_go_on=may_go_on)
        if isinstance(found, Flicker):
            self._flicker = found
            made = self._make_samples(track, found, None)
            found = _find_windows(context, *made, placement, may_go_on=may_go_on)
        assert not isinstance(found, Flicker)
        return found

    def _make_samples(
        self, track: Track, flicker: Flicker | None, reduced: ReducedTrack | None
    ) -> tuple[Tracks, Samples]:
        """Return the recordings with a warped sharp one, which is reduced here where it was not, and their samples."""
        context = self._context
        sharp = SharpSource(
            track, context.rig, context.interpolator, context.response, flicker=flicker, to_light=context.sharp_light
        )
        if sharp.n_positions < 1:
            problem = f"holds {len(track.times)} frames"
            raise InputError(context.take.sharp[0], problem, expected="at least one whole window")
        small = sharp.reduce(make_reducer(context, self._folder)) if reduced is None else reduced
        blur_track = sharp.make_blur_track(self._folder / "blur") if context.config.search == "full" else None
        tracks = Tracks(self._blurry, sharp, small, small.windows(context.rig), blur_track, flicker)
        return tracks, Samples(context, tracks, EarlySamples(SampleFile(self._folder / "samples")))

    def discard(self) -> None:
        """Delete what the last round has on disk; nothing more can be made of its windows."""
        shutil.rmtree(self._folder)


class Views(Protocol):
    """A take's recordings in the output's geometry."""

    def image(self, index: int, /) -> NDArray[np.uint8]:
        """Return a blurry frame, (H, W, 3) coded."""
        ...

    def window(
        self, position: int, row_shifts: NDArray[np.float64] | None = None, /, *, stride: int = 1
    ) -> tuple[NDArray[np.float32], list[NDArray[np.float32]]]:
        """Return the synthetic blur of a window, and its sharp sequence; see `SharpSource.window`."""
        ...


@dataclass(frozen=True, eq=False)
class _Sample:
    """A frame's sample before it is judged."""

    color: ColorMap
    psnr_db: float
    """Of its synthetic blur at full size."""
    light: FrameLight
    """Of both cameras, see `Photometry.make_sample`."""
    images: AlignedSample


@dataclass(frozen=True, eq=False)
class EarlySamples:
    """Samples that were made before all frames were judged."""

    stored: StoredSamples
    made: Mapping[int, tuple[_Sample, int]] = field(default_factory=dict)
    """By frame: what is known of each, and where its images are stored."""


class Samples:
    """The samples of a take under one homography, each made once.

    Parameters
    ----------
    context : TakeContext
        The take.
    views : Views
        Its recordings, or those of a part of it.
    early : EarlySamples
        Samples that are made before all frames are judged.
    """

    def __init__(self, context: TakeContext, views: Views, early: EarlySamples) -> None:
        self._views, self._early = views, early.stored
        fallback = known_color_map(context.calibration, context.rig, context.response)
        self.photometry = Photometry(context.config, context.response, fallback, context.rig.output_size)
        self._made = dict(early.made)

    def match(self, index: int, position: int, *, is_final: bool) -> MatchedFrame:
        """Return a frame with the synthetic blur of its window, and make its sample of the same window if it is final.

        Parameters
        ----------
        index : int
            The frame.
        position : int
            Its window.
        is_final : bool
            Whether its sharp frames and its colors depend on nothing that is not known yet.
        """
        blur, sequence = self._views.window(position)
        if is_final:
            stride = self.photometry.stride
            made = self._make(index, np.ascontiguousarray(blur[::stride, ::stride]), sequence, None)
            with stage("write"):
                self._early.append(made.images)
            nothing = AlignedSample(np.empty(0, np.uint8), np.empty(0, np.uint8))  # its images are on disk
            self._made[index] = dataclasses.replace(made, images=nothing), len(self._early) - 1
        return MatchedFrame(self._views.image(index), blur)

    def make(
        self, index: int, position: int, row_shifts: NDArray[np.float64] | None, color: ColorMap | None
    ) -> _Sample:
        """Return a frame's sample, made now where it was not.

        Parameters
        ----------
        index : int
            The frame.
        position : int
            Its window.
        row_shifts : (H,) ndarray of float64, optional
            See `SharpSource.window`.
        color : (3, 4) ndarray, optional
            The color map; by default the one that fits the frame best.
        """
        if index in self._made:
            known, slot = self._made[index]
            with stage("write"):
                return dataclasses.replace(known, images=self._early.read(slot))
        window = self._views.window(position, row_shifts, stride=self.photometry.stride)
        return self._make(index, *window, color)

    def color_pairs(self, index: int, position: int, row_shifts: NDArray[np.float64] | None) -> LinearColorPairs:
        """Return the colors of a frame and of its window that a color map is fitted to; as `make`."""
        blur, _ = self._views.window(position, row_shifts, stride=self.photometry.stride)
        return self.photometry.pairs(blur, self._views.image(index))

    def early(self, indices: range) -> EarlySamples:
        """Return those of some frames that are made, to be read elsewhere."""
        return EarlySamples(self._early, {index: one for index, one in self._made.items() if index in indices})

    def _make(
        self, index: int, blur: NDArray[np.float32], sequence: Sequence[NDArray[np.float32]], color: ColorMap | None
    ) -> _Sample:
        image = self._views.image(index)
        if color is None:
            with stage("color fit"):
                color = self.photometry.fit([self.photometry.pairs(blur, image)])
        with stage("color conversion"):
            return _Sample(color, *self.photometry.make_sample(blur, sequence, image, color))


@dataclass(frozen=True, eq=False)
class TakeWindows:
    """What was found of a take's frames under one homography, or one for each of its parts."""

    tracks: Tracks
    samples: Samples
    used: Placement
    search: Search
    timing: Timing
    places: list[AssignedPosition]
    checks: FrameChecks
    gate: QualityGate
    registrations: list[TakeRegistration | None]
    """Of the parts."""
    better: Placement | None
    """Under which the views would lie on each other; None where the present one is as good."""
    hidden: HiddenShift | None
    """What the frames' own windows hide; None where they tell too little."""

    def are_misregistered(self, max_shift_px: float) -> NDArray[np.bool_]:
        """Return which frames' views lie so far off each other that windows may be wrong, (J,)."""
        is_far = np.array([one is not None and one.shift_px > max_shift_px for one in self.registrations])
        times, hidden = self.tracks.blurry.times, self.hidden
        if hidden is None:
            return np.asarray(is_far[self.used.parts(times)])
        for one in hidden.undone():
            is_far[one.part] |= one.time_error_frames > MAX_TIME_ERROR_FRAMES
        return np.asarray(is_far[self.used.parts(times)] | ~hidden.holds(times))


def _find_windows(
    context: TakeContext, tracks: Tracks, samples: Samples, used: Placement, *, may_go_on: bool
) -> TakeWindows | Placement | Flicker:
    """Find every frame's window, the timing, and how far the views lie off each other.

    Where another round may follow and the frames' own windows hide a shift of the views, it returns a placement
    without that shift instead; where lamps flicker in step with the sharp frames and are not evened out yet, their
    flicker.
    """
    config, times = context.config, tracks.blurry.times
    offsets = estimate_offsets(context, tracks)
    offset = choose_offset(context, offsets)
    search, timing = no_search(len(times)), Timing(offsets)
    if tracks.flicker is not None:
        timing = replace_flicker(context, timing, tracks.flicker)
    if offset is not None:
        search = _search(context, tracks, offset.seconds)
        timing = dataclasses.replace(timing, offset_source=offset.source)
        if config.positions == "clock" and tracks.flicker is None:
            standing = find_standing_lamps(context, tracks, search)
            if standing is not None:
                return standing
    hidden: HiddenShift | None = None
    if config.positions == "clock" and offset is not None:
        hidden = find_hidden_shift(context, tracks, search, used)
    if hidden is not None:
        if hidden.is_better and may_go_on and offset is not None:
            return _follow_shift(context, tracks, samples, offset.seconds, (hidden.placement, used))
        search = dataclasses.replace(search, confident=search.confident & hidden.holds(times))
    clock = fit_take_clock(context, tracks, search) if config.positions == "clock" else None
    if clock is not None:
        nearby = Neighborhoods(context, tracks, search, clock)
        with stage("timing"):
            exposure = estimate_exposure(context, nearby)
            rolling_shutter = estimate_rolling_shutter(context, nearby)
        timing = dataclasses.replace(timing, clock=clock, exposure=exposure, rolling_shutter=rolling_shutter)
    places, checks, gate = _judge_positions(context, tracks, search, clock)
    is_final = config.color == "per-frame" and config.rolling_shutter == "report"
    give_memory_back()
    registrations, better = [], []
    for part, homography in enumerate(used.homographies):
        chosen = _choose_frames(context, places, gate, search, clock, used.parts(times) == part)
        # One after the other, because each is large.
        matched = (samples.match(index, places[index].position, is_final=is_final) for index in chosen)
        registration, own = measure_registration(context, matched, homography, None if hidden is None else np.zeros(2))
        if offset is not None and not used.steps:
            coarse = find_coarse_shift(context, tracks, offset.seconds, homography)
            # Under a large shift frames may seem to find windows that are not theirs.
            if registration is None or (coarse[0] is not None and contradicts(registration, coarse[0])):
                registration, own = coarse
        registrations.append(registration)
        better.append(own)
    told = used.replaced(better)
    if hidden is not None and hidden.is_better:
        # Matched frames, too, would take their windows from a clock that the shift has bent.
        told = hidden.placement
        for one in hidden.undone():
            registrations[one.part] = one.registration
    return TakeWindows(tracks, samples, used, search, timing, places, checks, gate, registrations, told, hidden)


def _search(context: TakeContext, tracks: Tracks, offset_seconds: float) -> Search:
    """Score windows; as `search_windows`."""
    search = search_windows(context, tracks, offset_seconds)
    # What a repeat shows is the frame before it, at another time.
    return dataclasses.replace(search, confident=search.confident & ~tracks.blurry.track.repeated)


def _judge_positions(
    context: TakeContext, tracks: Tracks, search: Search, clock: ClockModel | None
) -> tuple[list[AssignedPosition], FrameChecks, QualityGate]:
    """Assign a position to every frame, and measure what decides whether it is good."""
    places = assign_positions(context, tracks, search, clock)
    if context.blurry_stride > 1:
        tracks.measure_near([place.position for place in places], context.track_size, sure_db(context))
    checks = check_frames(tracks, places, search.confident)
    return places, checks, QualityGate(context.config, tracks, search, checks, clock)


def _follow_shift(
    context: TakeContext,
    tracks: Tracks,
    samples: Samples,
    offset_seconds: float,
    placements: tuple[Placement, Placement],
) -> Placement:
    """Return the placement that frames tell once the shift that their windows hide is taken off the reduced frames.

    A large shift is told step by step, and reduced frames are translated much sooner than a recording is warped anew.

    Parameters
    ----------
    context : TakeContext
        The take.
    tracks : Tracks
        Its recordings under the placement that was used.
    samples : Samples
        Its samples.
    offset_seconds : float
        Sharp-camera time at blurry-camera time 0, roughly.
    placements : tuple of Placement
        Without the first part of the shift, and what was used, with it.
    """
    (own, used), crop, size = placements, context.calibration.crop, context.reduced_size
    times = tracks.blurry.times
    if tracks.blur_track is not None or context.blurry_stride > 1:
        return own  # windows are scored on other frames, or few frames are looked at
    for _ in range(_MAX_SHIFTS):
        shifts = own.moves_from(used, times)
        path = context.scratch / "translated"
        moved = dataclasses.replace(
            tracks, blurry=tracks.blurry.translated(-shifts * (size[0] / crop.width), size, path)
        )
        search = _search(context, moved, offset_seconds)
        found = find_hidden_shift(context, moved, search, own)
        if found is None:
            return own
        if not found.is_better:
            break
        own = found.placement
    search = dataclasses.replace(search, confident=search.confident & own.holds(times) & used.holds(times))
    clock = fit_take_clock(context, moved, search)
    places, _, gate = _judge_positions(context, moved, search, clock)
    told: list[Homography | None] = []
    for part, homography in enumerate(own.homographies):
        chosen = _choose_frames(context, places, gate, search, clock, own.parts(times) == part)
        matched = (samples.match(index, places[index].position, is_final=False) for index in chosen)
        base = used.at(times[chosen[0]]) if chosen else homography
        told.append(measure_registration(context, matched, base, translation(homography, base))[1])
    return own.replaced(told) or own


def _choose_frames(
    context: TakeContext,
    places: Sequence[AssignedPosition],
    gate: QualityGate,
    search: Search,
    clock: ClockModel | None,
    is_in_part: NDArray[np.bool_],
) -> list[int]:
    """Return the few frames that tell the registration of a part of a take."""
    possible = [index for index, place in enumerate(places) if is_in_part[index] and gate.can_be_made(place)]
    trusted = clock is not None or context.config.positions == "independent"
    told = [index for index in possible if trusted and search.confident[index]]
    # Of what is static any window is the right one.
    chosen = told or [index for index in possible if is_still(search.curves.psnr[index])]
    return chosen[:: max(-(-len(chosen) // MAX_FRAMES), 1)]


@dataclass(frozen=True)
class PlannedFrame:
    """What is known of a blurry frame before its sample is made."""

    index: int
    time_seconds: float
    place: AssignedPosition
    margin_db: float
    can_be_made: bool
    reason: str
    """Why it is not accepted, if its synthetic blur is good enough."""
    reason_if_unlike: str
    """Why it is not accepted, if it is not."""


@dataclass(frozen=True, eq=False)
class SamplePlan:
    """What samples are made by."""

    frames: Sequence[PlannedFrame]
    row_shifts: NDArray[np.float64] | None
    """See `SharpSource.window`."""
    color: ColorMap | None
    """The take's color map, where frames have none of their own."""


def plan_samples(context: TakeContext, windows: TakeWindows) -> SamplePlan:
    """Return what the samples of all frames are made by."""
    config, timing, gate, times = context.config, windows.timing, windows.gate, windows.tracks.blurry.times
    shifts = None
    if timing.rolling_shutter is not None and timing.rolling_shutter.compensated:
        shifts = row_shifts(timing.rolling_shutter, context.rig)
    misregistered = windows.are_misregistered(config.max_shift_px) & (config.positions == "clock")
    frames = []
    for index, place in enumerate(windows.places):
        reason, if_unlike = gate.reasons(index, place)
        if not reason and misregistered[index]:
            reason = "registration"
        margin_db = float(windows.search.margins_db[index])
        can_be_made = gate.can_be_made(place)
        frames.append(PlannedFrame(index, float(times[index]), place, margin_db, can_be_made, reason, if_unlike))
    return SamplePlan(frames, shifts, _shared_color(windows, shifts) if config.color == "per-take" else None)


def make_frames(
    context: TakeContext, samples: Samples, plan: SamplePlan, stored: StoredSamples
) -> tuple[list[AlignedFrame], TakeLight]:
    """Make the samples of planned frames, and store those that are accepted.

    Parameters
    ----------
    context : TakeContext
        The take.
    samples : Samples
        Makes them, of the take or of a part of it.
    plan : SamplePlan
        The frames.
    stored : StoredSamples
        Where samples go.

    Returns
    -------
    frames : list of AlignedFrame
        All of them.
    light : TakeLight
        Of those that are accepted.
    """
    frames, light = [], TakeLight()
    for planned in plan.frames:
        index, position = planned.index, planned.place.position
        made = samples.make(index, position, plan.row_shifts, plan.color) if planned.can_be_made else None
        color, psnr_db = (samples.photometry.fallback, math.nan) if made is None else (made.color, made.psnr_db)
        reason = planned.reason_if_unlike if psnr_db < context.config.min_psnr_db else planned.reason
        if not reason and made is not None:
            light.add(made.light)
            with stage("write"):
                stored.append(made.images)
        frames.append(
            AlignedFrame(
                take=context.take.name,
                blurry_index=index,
                blurry_time=planned.time_seconds,
                position=position,
                position_fine=planned.place.position_fine,
                psnr=psnr_db,
                margin_db=planned.margin_db,
                accepted=not reason,
                reason=reason,
                color=color,
            )
        )
    return frames, light


def _make_samples(
    context: TakeContext, windows: TakeWindows, stored: StoredSamples
) -> tuple[list[AlignedFrame], SampleSpool]:
    """Check every frame, and store the samples of those that are accepted."""
    frames, light = make_frames(context, windows.samples, plan_samples(context, windows), stored)
    warn_of_light(context, light)
    plate = make_plate(context, windows.used.homographies[0], windows.samples.photometry.fallback)
    return frames, spool_of(context, stored, plate)


def spool_of(context: TakeContext, stored: StoredSamples, plate: NDArray[np.uint8] | None) -> SampleSpool:
    """Return all stored samples of a take, with its clean plate."""
    description = context.take.blurry[0].with_name("take.yaml")
    return SampleSpool(description, plate, stored, range(len(stored)), context.take.screen)


def warn_of_light(context: TakeContext, light: TakeLight) -> None:
    """Say where the cameras' light differs, by place or by brightness."""
    if context.config.positions != "clock":
        return
    # Another tone curve makes light seem uneven, too, where bright and dark things have their places.
    if (difference := light.tone_difference()) > MAX_TONE_DIFFERENCE:
        context.logger.warning(
            "light differs between the cameras by up to %.0f %% with its brightness (limit %.0f %%): do both record "
            "with the same picture profile, and is %s their response?",
            100 * difference,
            100 * MAX_TONE_DIFFERENCE,
            context.response,
        )
    elif (unevenness := light.unevenness()) > MAX_UNEVENNESS:
        context.logger.warning(
            "light differs between the cameras by up to %.0f %% from place to place (limit %.0f %%): does the beam "
            "splitter share it unevenly? two geometry captures or more tell the calibration, which evens it out",
            100 * unevenness,
            100 * MAX_UNEVENNESS,
        )


def _shared_color(windows: TakeWindows, shifts: NDArray[np.float64] | None) -> ColorMap:
    """Return the color map that fits the take: through frames spread over those that are clear."""
    places, samples = windows.places, windows.samples
    confident = np.flatnonzero(windows.search.confident).tolist()
    clear = [index for index in confident if windows.gate.can_be_made(places[index])]
    chosen = clear[:: max(-(-len(clear) // _MAX_SHARED_COLOR_FRAMES), 1)]
    if not chosen:
        return samples.photometry.fallback
    pairs = [samples.color_pairs(index, places[index].position, shifts) for index in chosen]
    with stage("color fit"):
        return samples.photometry.fit(pairs)


def make_plate(context: TakeContext, homography: Homography, fallback: ColorMap) -> NDArray[np.uint8] | None:
    """Return the clean plate as the blurry camera sees it; the sharp camera's stands in where it is missing."""
    take = context.take
    if take.green_screen and take.plate_blurry is not None:
        return make_warp(context, np.eye(3), "blurry")(read_image(take.plate_blurry))
    if take.green_screen and take.plate_sharp is not None:
        linear = context.sharp_light(make_warp(context, homography, "sharp")(read_image(take.plate_sharp)))
        return encode(apply_color_map(fallback, linear), context.response)
    return None
