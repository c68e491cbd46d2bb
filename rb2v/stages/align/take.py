"""One take, step by step: tracks, coarse offset, search, timing, colours, verdicts, the file."""

from __future__ import annotations

import dataclasses
import functools
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from rb2v.artifacts import (
    AlignedFrame,
    Calibration,
    ChromaChoice,
    ChromaSiting,
    ClockModel,
    Rig,
    Take,
    TakeRegistration,
    Timing,
)
from rb2v.core.color import Response, apply_color_map, encode, to_linear
from rb2v.core.homography import Homography
from rb2v.core.planes import SITINGS
from rb2v.core.resampling import FrameWarp
from rb2v.device import Device, make_matrix_product
from rb2v.errors import InputError
from rb2v.interpolation import make_interpolator
from rb2v.io.aligned import FrameChecks, write_aligned_take
from rb2v.io.frame_file import FrameFile
from rb2v.io.gopro import read_telemetry
from rb2v.io.partial import scratch_folder
from rb2v.io.video import read_image
from rb2v.matting import make_matter
from rb2v.stages.align.config import AlignConfig
from rb2v.stages.align.joint import MAX_TIME_ERROR_FRAMES, HiddenShift, find_hidden_shift
from rb2v.stages.align.matte import CompositeLimits, LaidAside, reject_broken_composites
from rb2v.stages.align.offset import choose_offset, estimate_offsets
from rb2v.stages.align.photometry import ColorMap, Photometry, known_color_map
from rb2v.stages.align.quality import Judge, Place, check_frames, place_frames
from rb2v.stages.align.registration import (
    MAX_FRAMES,
    MatchedFrame,
    contradicts,
    find_coarse_shift,
    is_still,
    measure_registration,
    registration_of,
)
from rb2v.stages.align.search import Search, no_search, search_windows
from rb2v.stages.align.timing import (
    Neighbourhoods,
    estimate_exposure,
    estimate_rolling_shutter,
    fit_take_clock,
    replace_flicker,
    row_shifts,
)
from rb2v.stages.align.track import BlurTrack, SharpSource, load_track, measure_flicker, quantize, shrink

logger = logging.getLogger(__name__)

_MAX_ROUNDS = 5  # two for a shift that bends the clock, three for the rest of the homography (docs/calibration.md)
_MIN_TRACK_SIZE_PX = 64  # of the shorter side, below which little is left to tell windows apart
_MAX_TRACK_SCALE = 4  # by which frames are made smaller at most; motion of a frame's step is to stay visible
_MAX_SHARED_COLOR_FRAMES = 24  # enough for one map of twelve numbers (docs/alignment.md)
_MAX_SHUTTER_SECONDS = 1.0  # telemetry that states longer ones is broken


@dataclass(frozen=True, eq=False)
class _Windows:
    """What was found of a take's frames, before any sample is made."""

    search: Search
    timing: Timing
    places: list[Place]
    checks: FrameChecks
    judge: Judge
    registration: TakeRegistration | None
    homography: Homography | None
    """Under which the views would lie on each other; None where the present one is as good."""
    hidden: HiddenShift | None
    """What the frames' own windows hide; None where they tell too little."""

    def is_misregistered(self, max_shift_px: float) -> bool:
        """Return whether the views lie so far off each other that windows may be wrong."""
        if self.registration is not None and self.registration.shift_px > max_shift_px:
            return True
        hidden = self.hidden
        return hidden is not None and hidden.homography is not None and hidden.time_error_frames > MAX_TIME_ERROR_FRAMES


@dataclass(frozen=True, eq=False)
class _MadeSample:
    """A frame's sample before it is judged."""

    color: ColorMap
    psnr_db: float
    """Of its synthetic blur at full size."""
    slot: int
    """Where it is stored."""


@dataclass(frozen=True)
class Equipment:
    """What a take is aligned with, beside the configuration."""

    device: Device = "auto"
    """Where windows are scored, and where an interpolating network computes."""
    matter_weights: Path | None = None
    interpolator_weights: Path | None = None
    """In place of the interpolator's usual ones."""


class TakeAlignment:
    """The alignment of one take.

    Parameters
    ----------
    take : Take
        The take.
    rig : Rig
        The rig that recorded it.
    calibration : Calibration
        Of that rig.
    config : AlignConfig
        How it is aligned.
    scratch : Path
        A folder for what does not fit in memory.
    equipment : Equipment
        What it is aligned with.

    Raises
    ------
    InputError
        If a recording cannot be decoded, is of another size or rate than expected, or shorter than a window.
    """

    def __init__(
        self,
        take: Take,
        rig: Rig,
        calibration: Calibration,
        config: AlignConfig,
        scratch: Path,
        equipment: Equipment,
    ) -> None:
        self._take, self._rig, self._config, self._scratch = take, rig, config, scratch
        self._calibration, self._equipment = calibration, equipment
        self._shared, self._round = calibration, 0
        self._product = make_matrix_product(equipment.device)
        # The gyro and the shutter stand in the same track, and reading it means reading the whole file.
        self._read_telemetry = functools.cache(read_telemetry)
        self._response: Response = rig.response if config.response is None else config.response
        crop = dataclasses.astuple(calibration.crop)
        of_blurry = (crop, rig.output_size, self._response, calibration.lens_blurry)
        of_sharp = (crop, rig.output_size, self._response, calibration.lens_sharp)
        sitings = [
            _chroma_siting(choice, known)
            for choice, known in (
                (rig.blurry_chroma, calibration.chroma_blurry),
                (rig.sharp_chroma, calibration.chroma_sharp),
            )
        ]
        self._warp_blurry = FrameWarp(np.eye(3), *of_blurry, siting=sitings[0])
        self._warp_sharp = FrameWarp(calibration.homography, *of_sharp, siting=sitings[1])
        fallback = known_color_map(calibration, rig, self._response)
        self._photometry = Photometry(config, self._response, fallback)
        self._blurry = load_track(
            take.blurry,
            self._warp_blurry,
            calibration.size_blurry,
            rig.blurry_fps,
            scratch / "blurry",
            override=take.blurry_format,
        )
        sharp = load_track(
            take.sharp,
            self._warp_sharp,
            calibration.size_sharp,
            rig.sharp_fps,
            scratch / "sharp",
            override=take.sharp_format,
        )
        # A network is shown what was recorded, whatever of it is undone for averaging.
        interpolator = make_interpolator(
            config.interpolator,
            response=self._response,
            device=equipment.device,
            weights=equipment.interpolator_weights,
        )
        # The paper's way takes the light as it is.
        self._flicker = measure_flicker(sharp, self._response) if config.positions == "clock" else None
        gains = None if self._flicker is None else self._flicker.gains
        self._sharp = SharpSource(sharp, rig, interpolator, self._response, gains=gains)
        self._blur_track: BlurTrack | None = None
        self._samples = FrameFile(scratch / "samples", np.uint8)
        self._made: dict[int, _MadeSample] = {}
        if self._sharp.n_positions < 1:
            raise InputError(take.sharp[0], f"holds {len(sharp.times)} frames", expected="at least one whole window")

    def write(self, path: Path, inputs_sha256: str) -> None:
        """Align the take and write its file, with the digest of what it was made from."""
        config = self._config
        found = self._find_windows()
        own = found.homography if isinstance(found, _Windows) else found
        if own is not None and self._may_start_again:
            self._start_again(own).write(path, inputs_sha256)
            return
        assert isinstance(found, _Windows)
        registration = found.registration
        is_far = registration is not None and registration.shift_px > config.max_shift_px
        if found.homography is not None and is_far and not self._round:
            # Windows that were found under a wrong homography hide a part of how wrong it is.
            registration = self._start_again(found.homography).settle()
        self._warn_of_shift(registration)
        if found.hidden is not None and not np.isinf(found.hidden.span_seconds).all():
            place = next(edge for edge in found.hidden.span_seconds if math.isfinite(edge))
            logger.warning("%s: the views shift against each other %.2f s after its start", self._take.name, place)
        if self._round:
            registration = registration_of(self._shared.homography, self._calibration, registration)
        frames, samples = self._make_samples(found)
        if self._take.green_screen:
            matter = make_matter(config.matter, self._equipment.matter_weights)
            limits = CompositeLimits(config.min_composite_psnr_db, config.min_explained_psnr_db)
            frames, samples = reject_broken_composites(frames, samples, matter, self._response, limits)
        write_aligned_take(
            path,
            self._take,
            frames,
            samples,
            found.search.curves,
            found.checks,
            found.timing,
            samples.plate,
            inputs_sha256,
            registration,
        )

    def settle(self) -> TakeRegistration:
        """Return how far the homography of all takes is off, followed to where the frames find no more."""
        found = self._find_windows()
        own = found.homography if isinstance(found, _Windows) else found
        if own is not None and self._may_start_again:
            return self._start_again(own).settle()
        assert isinstance(found, _Windows)
        total = registration_of(self._shared.homography, self._calibration, found.registration)
        return dataclasses.replace(total, homography=None)

    @property
    def _may_start_again(self) -> bool:
        return self._round < _MAX_ROUNDS and (self._round > 0 or self._config.registration == "per-take")

    def _find_windows(self) -> _Windows | Homography:
        """Find every frame's window, the timing, and how far the views lie off each other.

        Where the frames' own windows hide a shift of the views, it returns a homography without that shift instead.
        """
        rig, config, times = self._rig, self._config, self._blurry.times
        track_size, size = self._reduced_sizes()
        track = self._sharp.reduce(track_size, size, self._scratch / "reduced")
        windows = track.windows(rig)
        small = self._reduce_blurry(track_size, size, "small")
        scored, candidates = small, windows
        if config.search == "full":
            self._blur_track = self._sharp.make_blur_track(self._scratch / "blur")
            scored, candidates = (
                self._reduce_blurry(rig.output_size, rig.output_size, "linear"),
                self._blur_track.windows(),
            )
        offsets = estimate_offsets(self._take, self._read_telemetry, small, times, windows, self._sharp, size, rig)
        offset = choose_offset(offsets, config.sync, self._take.name)
        search, timing = no_search(len(times)), Timing(offsets)
        if self._flicker is not None:
            timing = replace_flicker(timing, self._flicker, self._take.name)
        if offset is not None:
            search = search_windows(scored, times, candidates, self._sharp, offset.seconds, rig, config, self._product)
            # What a repeat shows is the frame before it, at another time.
            search = dataclasses.replace(search, confident=search.confident & ~self._blurry.repeated)
            timing = dataclasses.replace(timing, offset_source=offset.source)
        hidden: HiddenShift | None = None
        if config.positions == "clock" and offset is not None:
            hidden = find_hidden_shift(search, small, times, windows, self._sharp, size, rig, self._calibration, config)
        if hidden is not None:
            if hidden.homography is not None and self._may_start_again:
                return hidden.homography
            search = dataclasses.replace(search, confident=search.confident & hidden.holds(times))
        clock = None
        if config.positions == "clock":
            clock = fit_take_clock(search, times, self._sharp, rig, config, self._take.name)
        if clock is not None:
            nearby = Neighbourhoods(small, times, search, track, self._sharp, clock, rig, config)
            compensate = config.rolling_shutter == "compensate"
            timing = dataclasses.replace(
                timing,
                clock=clock,
                exposure=estimate_exposure(nearby, rig, size, self._shutter_seconds(), self._take.name),
                rolling_shutter=estimate_rolling_shutter(nearby, rig, size, compensate=compensate),
            )
        places = place_frames(search, times, self._sharp, clock, rig)
        checks = check_frames(places, small, windows, track, self._sharp, search.confident)
        judge = Judge(search, checks, clock, self._sharp, track, self._blurry.repeated, config)
        registration, own = self._measure_registration(places, search, judge, clock)
        if offset is not None:
            expected = [round(self._sharp.position_at(offset.seconds + time)) for time in times]
            coarse = find_coarse_shift(small, windows, expected, size, rig, self._calibration)
            # Under a large shift frames may seem to find windows that are not theirs.
            if registration is None or (coarse[0] is not None and contradicts(registration, coarse[0])):
                registration, own = coarse
        if hidden is not None and hidden.homography is not None:
            # Matched frames, too, would take their windows from a clock that the shift has bent.
            registration, own = hidden.registration, hidden.homography
        return _Windows(search, timing, places, checks, judge, registration, own, hidden)

    def _measure_registration(
        self, places: Sequence[Place], search: Search, judge: Judge, clock: ClockModel | None
    ) -> tuple[TakeRegistration | None, Homography | None]:
        """Measure how far the views lie off each other, and find a homography under which they do not."""
        possible = [index for index, place in enumerate(places) if judge.can_be_made(place)]
        trusted = clock is not None or self._config.positions == "independent"
        told = [index for index in possible if trusted and search.confident[index]]
        # Of what stands still any window is the right one.
        chosen = told or [index for index in possible if is_still(search.curves.psnr[index])]
        matched = []
        for index in chosen[:: max(-(-len(chosen) // MAX_FRAMES), 1)]:
            blur, sequence = self._window(places[index].position, None)
            matched.append(MatchedFrame(np.asarray(self._blurry.frames[index]), blur))
            # Here, because the window is made; unless sharp frames or colors depend on what is not known yet.
            if self._config.color == "per-frame" and self._config.rolling_shutter == "report":
                self._made[index] = self._make_sample(index, blur, sequence, None)
        return measure_registration(matched, self._calibration, self._response, self._take.name)

    def _warn_of_shift(self, registration: TakeRegistration | None) -> None:
        limit_px = self._config.max_shift_px
        if registration is not None and registration.shift_px > limit_px:
            per_take = self._config.registration == "per-take"
            logger.warning(
                "%s: the views lie %.2f px off each other (limit %g px): %s",
                self._take.name,
                registration.shift_px,
                limit_px,
                "no homography of its own helps" if per_take else "was the rig moved? --per-take refines it",
            )

    def _start_again(self, homography: Homography) -> TakeAlignment:
        """Return the alignment of the same take under a homography of its own."""
        scratch = self._scratch / "registered"
        scratch.mkdir()
        mirrored = bool(np.linalg.det(homography) < 0)
        own = dataclasses.replace(self._calibration, homography=homography, mirrored=mirrored)
        again = TakeAlignment(self._take, self._rig, own, self._config, scratch, self._equipment)
        again._shared, again._round = self._shared, self._round + 1
        return again

    def _reduced_sizes(self) -> tuple[tuple[int, int], tuple[int, int]]:
        """Return the sizes at which frames are interpolated, and compared, where they need not be whole."""
        output_size = self._rig.output_size
        scale = max(1, min(_MAX_TRACK_SCALE, min(output_size) // _MIN_TRACK_SIZE_PX))
        track_size = (output_size[0] // scale, output_size[1] // scale)
        return track_size, (max(track_size[0] // 2, 1), max(track_size[1] // 2, 1))

    def _window(
        self, position: int, row_shifts: NDArray[np.float64] | None
    ) -> tuple[NDArray[np.float32], list[NDArray[np.float32]]]:
        """Return the synthetic blur of a window and its sharp sequence, as `SharpSource.window`."""
        if self._blur_track is not None and row_shifts is None:
            return self._blur_track.window(position)
        return self._sharp.window(position, row_shifts)

    def _reduce_blurry(self, track_size: tuple[int, int], size: tuple[int, int], name: str) -> FrameFile[np.uint16]:
        small = FrameFile(self._scratch / name, np.uint16)
        for frame in self._blurry.frames:
            # By way of the track's size, as the sharp frames go.
            linear = shrink(to_linear(np.asarray(frame), self._response), track_size)
            small.append(quantize(shrink(linear, size)))
        return small

    def _shutter_seconds(self) -> float | None:
        try:
            telemetry = self._read_telemetry(self._take.blurry, self._take.blurry_format)
        except InputError:
            return None  # said where the sources of the offset were asked
        if telemetry is None:
            return None
        stated = telemetry.shutter_seconds
        possible = stated[(stated > 0) & (stated <= _MAX_SHUTTER_SECONDS)]
        return float(np.median(possible)) if len(possible) else None

    def _make_samples(self, found: _Windows) -> tuple[list[AlignedFrame], LaidAside]:
        """Judge every frame, and lay the samples of those that are accepted aside."""
        places, search, judge, timing = found.places, found.search, found.judge, found.timing
        shifts = None
        if timing.rolling_shutter is not None and timing.rolling_shutter.compensated:
            shifts = row_shifts(timing.rolling_shutter, self._rig)
        shared = self._shared_color(places, search, judge, shifts) if self._config.color == "per-take" else None
        frames, kept = [], []
        holds = np.ones(len(places), bool) if found.hidden is None else found.hidden.holds(self._blurry.times)
        is_misregistered = self._config.positions == "clock" and found.is_misregistered(self._config.max_shift_px)
        for index, place in enumerate(places):
            made = self._made.get(index)
            if made is None and judge.can_be_made(place):
                made = self._make_sample(index, *self._window(place.position, shifts), shared)
            color, psnr_db = (self._photometry.fallback, math.nan) if made is None else (made.color, made.psnr_db)
            reason = judge.reason(index, place, psnr_db)
            if not reason and (is_misregistered or not holds[index]):
                reason = "registration"
            if not reason and made is not None:
                kept.append(made.slot)
            frames.append(
                AlignedFrame(
                    take=self._take.name,
                    blurry_index=index,
                    blurry_time=float(self._blurry.times[index]),
                    position=place.position,
                    position_fine=place.position_fine,
                    psnr=psnr_db,
                    margin_db=float(search.margins_db[index]),
                    accepted=not reason,
                    reason=reason,
                    color=color,
                )
            )
        description = self._take.blurry[0].with_name("take.yaml")
        return frames, LaidAside(description, self._plate(), self._samples, kept)

    def _make_sample(
        self,
        index: int,
        blur: NDArray[np.float32],
        sequence: Sequence[NDArray[np.float32]],
        color: ColorMap | None,
    ) -> _MadeSample:
        """Map a window to a frame's colors, by the map that fits it best where none is given, and store the sample."""
        image = np.asarray(self._blurry.frames[index])
        if color is None:
            color = self._photometry.fit([self._photometry.pairs(blur, image)])
        psnr_db, sample = self._photometry.make_sample(blur, sequence, image, color)
        self._samples.append(np.concatenate([sample.blurry[None], sample.sharp]))
        return _MadeSample(color, psnr_db, len(self._samples) - 1)

    def _shared_color(
        self,
        places: Sequence[Place],
        search: Search,
        judge: Judge,
        shifts: NDArray[np.float64] | None,
    ) -> ColorMap:
        """Return the colour map that fits the take: through frames spread over those that are clear."""
        clear = [index for index in np.flatnonzero(search.confident).tolist() if judge.can_be_made(places[index])]
        chosen = clear[:: max(-(-len(clear) // _MAX_SHARED_COLOR_FRAMES), 1)]
        if not chosen:
            return self._photometry.fallback
        pairs = []
        for index in chosen:
            blur, _ = self._window(places[index].position, shifts)
            pairs.append(self._photometry.pairs(blur, np.asarray(self._blurry.frames[index])))
        return self._photometry.fit(pairs)

    def _plate(self) -> NDArray[np.uint8] | None:
        """Return the clean plate as the blurry camera sees it; the sharp camera's stands in where it is missing."""
        if self._take.green_screen and self._take.plate_blurry is not None:
            return self._warp_blurry(read_image(self._take.plate_blurry))
        if self._take.green_screen and self._take.plate_sharp is not None:
            linear = to_linear(self._warp_sharp(read_image(self._take.plate_sharp)), self._response)
            return encode(apply_color_map(self._photometry.fallback, linear), self._response)
        return None


def _chroma_siting(choice: ChromaChoice, known: ChromaSiting | None) -> tuple[float, float] | None:
    """Return where a camera's chroma lies; None where only its frames may say so."""
    if choice != "auto":
        return SITINGS[choice]
    return (known.x, known.y) if known is not None and known.source == "measured" else None


def write_take(
    path: Path,
    take: Take,
    rig: Rig,
    calibration: Calibration,
    config: AlignConfig,
    equipment: Equipment,
    inputs_sha256: str,
) -> None:
    """Align one take and write its file whole or not at all; what is laid aside on the way goes beside it.

    The BLAS has one thread, because the last bits of its sums depend on their number, and so would the file.

    Raises
    ------
    InputError
        If a recording cannot be decoded, is of another size or rate than expected, or shorter than a window; or if no
        screen is seen in a green-screen take.
    """
    with scratch_folder(path) as scratch, threadpool_limits(1, "blas"):
        TakeAlignment(take, rig, calibration, config, scratch, equipment).write(path, inputs_sha256)
