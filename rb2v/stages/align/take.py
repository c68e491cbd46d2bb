"""One take, step by step: tracks, coarse offset, search, timing, colors, verdicts, the file."""

from __future__ import annotations

import dataclasses
import math
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from rb2v.artifacts import AlignedFrame, Camera, ClockModel, TakeRegistration, Timing
from rb2v.core.color import apply_color_map, encode, to_linear
from rb2v.core.homography import Homography
from rb2v.core.resampling import FrameWarp
from rb2v.errors import InputError
from rb2v.io.aligned import write_aligned_take
from rb2v.io.frame_file import FrameFile
from rb2v.io.video import read_image
from rb2v.matting import make_matter
from rb2v.stages.align.context import TakeContext
from rb2v.stages.align.matte import CompositeLimits, LaidAside, reject_broken_composites
from rb2v.stages.align.offset import choose_offset, estimate_offsets
from rb2v.stages.align.photometry import ColorMap, Photometry, known_color_map
from rb2v.stages.align.quality import Judge, check_frames, place_frames
from rb2v.stages.align.registration import (
    MAX_FRAMES,
    MatchedFrame,
    contradicts,
    find_coarse_shift,
    is_still,
    measure_registration,
    registration_of,
)
from rb2v.stages.align.search import no_search, search_windows
from rb2v.stages.align.timing import (
    Neighbourhoods,
    estimate_exposure,
    estimate_rolling_shutter,
    fit_take_clock,
    row_shifts,
)
from rb2v.stages.align.track import BlurryTrack, Recording, SharpSource, Tracks, reduce_frames

_MAX_ROUNDS = 3  # windows found under a wrong homography hide a part of how wrong it is (docs/calibration.md)
_MAX_SHARED_COLOR_FRAMES = 24  # enough for one map of twelve numbers (docs/alignment.md)


def write_take(context: TakeContext, path: Path, inputs_sha256: str) -> None:
    """Align one take and write its file, atomically.

    The BLAS has one thread, because the last bits of its sums depend on their number, and so would the file.

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
        If a recording cannot be decoded, is of another size or rate than expected, or shorter than a window; or if no
        screen is seen in a green-screen take.
    """
    with threadpool_limits(1, "blas"):
        chosen, registration = _register(context)
        frames, samples = chosen.make_samples()
        if context.take.green_screen:
            config = context.config
            matter = make_matter(config.matter, context.run.resources.matter_weights)
            limits = CompositeLimits(config.min_composite_psnr_db, config.min_explained_psnr_db)
            frames, samples = reject_broken_composites(frames, samples, matter, context.response, limits)
        write_aligned_take(
            path,
            context.take,
            frames,
            samples,
            chosen.search.curves,
            chosen.checks,
            chosen.timing,
            samples.plate,
            inputs_sha256,
            registration,
        )


def _register(context: TakeContext) -> tuple[_Round, TakeRegistration | None]:
    """Return the round whose windows are taken, and how far the views of the take lie off each other."""
    config, rounds = context.config, _Rounds(context)
    first = last = rounds.begin(context.calibration.homography)
    is_far = first.registration is not None and first.registration.shift_px > config.max_shift_px
    is_refined = config.registration == "per-take"
    # Windows that were found under a wrong homography hide a part of how wrong it is.
    if is_refined or is_far:
        for _ in range(_MAX_ROUNDS):
            if last.better_homography is None:
                break
            if is_refined or last is not first:
                last.discard()
            last = rounds.begin(last.better_homography)
    registration = last.registration
    if last is not first:
        total = registration_of(context, last.homography, registration)
        registration = registration if is_refined else dataclasses.replace(total, homography=None)
    _warn_of_shift(context, registration)
    if is_refined and last is not first:
        registration = total
    return last if is_refined else first, registration


def _warn_of_shift(context: TakeContext, registration: TakeRegistration | None) -> None:
    limit_px = context.config.max_shift_px
    if registration is not None and registration.shift_px > limit_px:
        is_refined = context.config.registration == "per-take"
        context.logger.warning(
            "the views lie %.2f px off each other (limit %g px): %s",
            registration.shift_px,
            limit_px,
            "no homography of its own helps" if is_refined else "was the rig moved? --per-take refines it",
        )


class _Rounds:
    """What rounds under different homographies share: the blurry track, and where the sharp frames come from.

    Parameters
    ----------
    context : TakeContext
        The take.

    Raises
    ------
    InputError
        If the blurry recording cannot be decoded, or is of another size or rate than expected.
    """

    def __init__(self, context: TakeContext) -> None:
        take, rig, calibration = context.take, context.rig, context.calibration
        self._context, self._n_rounds = context, 0
        warp = _make_warp(context, np.eye(3), "blurry")
        blurry = Recording(take.blurry, calibration.size_blurry, rig.blurry_fps, override=take.blurry_format)
        track = blurry.warp(warp, context.scratch / "blurry")
        sizes = (context.track_size, context.reduced_size)  # by way of the track's size, as the sharp frames go
        reduced = reduce_frames(track, context.response, sizes, context.scratch / "small")
        whole = None
        if context.config.search == "full":
            whole = reduce_frames(track, context.response, (rig.output_size,), context.scratch / "linear")
        self._blurry = BlurryTrack(track, reduced, whole)
        # Other rounds are the rule only where every take is refined; elsewhere their decoding costs less than room.
        decoded = context.scratch / "decoded" if context.config.registration == "per-take" else None
        self._sharp = Recording(
            take.sharp, calibration.size_sharp, rig.sharp_fps, override=take.sharp_format, decoded=decoded
        )

    def begin(self, homography: Homography) -> _Round:
        """Find the windows of the take's frames under a homography.

        Raises
        ------
        InputError
            If the sharp recording cannot be decoded, is of another size or rate than expected, or shorter than a
            window.
        """
        context = self._context
        folder = context.scratch / f"round_{self._n_rounds}"
        folder.mkdir()
        self._n_rounds += 1
        track = self._sharp.warp(_make_warp(context, homography, "sharp"), folder / "sharp")
        sharp = SharpSource(track, context.rig, context.interpolator, context.response)
        if sharp.n_positions < 1:
            problem = f"holds {len(track.times)} frames"
            raise InputError(context.take.sharp[0], problem, expected="at least one whole window")
        reduced = sharp.reduce(context.track_size, context.reduced_size, folder / "reduced")
        blur_track = sharp.make_blur_track(folder / "blur") if context.config.search == "full" else None
        tracks = Tracks(self._blurry, sharp, reduced, reduced.windows(context.rig), blur_track)
        return _Round(context, tracks, homography, folder)


def _make_warp(context: TakeContext, homography: Homography, camera: Camera) -> FrameWarp:
    calibration = context.calibration
    lens = calibration.lens_blurry if camera == "blurry" else calibration.lens_sharp
    return FrameWarp(homography, dataclasses.astuple(calibration.crop), context.rig.output_size, context.response, lens)


@dataclass(frozen=True, eq=False)
class _MadeSample:
    """A frame's sample before it is judged."""

    color: ColorMap
    psnr_db: float
    """Of its synthetic blur at full size."""
    slot: int
    """Where it is stored."""


class _Round:
    """A take's windows under one homography: search, timing, places, checks, and what is wrong with the homography.

    Parameters
    ----------
    context : TakeContext
        The take.
    tracks : Tracks
        Its recordings under the homography.
    homography : (3, 3) ndarray
        From sharp-camera pixels to blurry-camera pixels.
    folder : Path
        For what does not fit in memory; deleted with the round.
    """

    def __init__(self, context: TakeContext, tracks: Tracks, homography: Homography, folder: Path) -> None:
        self._context, self._tracks, self._folder = context, tracks, folder
        self.homography = homography
        fallback = known_color_map(context.calibration, context.rig, context.response)
        self._photometry = Photometry(context.config, context.response, fallback)
        self._samples = FrameFile(folder / "samples", np.uint8)
        self._made: dict[int, _MadeSample] = {}
        offsets = estimate_offsets(context, tracks)
        offset = choose_offset(context, offsets)
        search, timing = no_search(len(tracks.blurry.times)), Timing(offsets)
        if offset is not None:
            search = search_windows(context, tracks, offset.seconds)
            # What a repeat shows is the frame before it, at another time.
            search = dataclasses.replace(search, confident=search.confident & ~tracks.blurry.track.repeated)
            timing = dataclasses.replace(timing, offset_source=offset.source)
        clock = None
        if context.config.positions == "clock":
            clock = fit_take_clock(context, tracks, search)
        if clock is not None:
            nearby = Neighbourhoods(context, tracks, search, clock)
            timing = dataclasses.replace(
                timing,
                clock=clock,
                exposure=estimate_exposure(context, nearby),
                rolling_shutter=estimate_rolling_shutter(context, nearby),
            )
        self.search, self.timing = search, timing
        self._places = place_frames(context, tracks, search, clock)
        self.checks = check_frames(tracks, self._places, search.confident)
        self._judge = Judge(context.config, tracks, search, self.checks, clock)
        registration, better = measure_registration(context, list(self._match_frames(clock)), homography)
        if offset is not None:
            coarse = find_coarse_shift(context, tracks, offset.seconds, homography)
            # Under a large shift frames may seem to find windows that are not theirs.
            if registration is None or (coarse[0] is not None and contradicts(registration, coarse[0])):
                registration, better = coarse
        self.registration: TakeRegistration | None = registration
        self.better_homography: Homography | None = better
        """Under which the views would lie on each other; None where this one is as good."""

    def discard(self) -> None:
        """Delete what does not fit in memory; nothing more can be made of the round."""
        shutil.rmtree(self._folder)

    def make_samples(self) -> tuple[list[AlignedFrame], LaidAside]:
        """Judge every frame, and store the samples of those that are accepted."""
        context, search, timing = self._context, self.search, self.timing
        shifts = None
        if timing.rolling_shutter is not None and timing.rolling_shutter.compensated:
            shifts = row_shifts(timing.rolling_shutter, context.rig)
        shared = self._shared_color(shifts) if context.config.color == "per-take" else None
        frames, kept = [], []
        for index, place in enumerate(self._places):
            made = self._made.get(index)
            if made is None and self._judge.can_be_made(place):
                made = self._make_sample(index, *self._tracks.window(place.position, shifts), shared)
            color, psnr_db = (self._photometry.fallback, math.nan) if made is None else (made.color, made.psnr_db)
            reason = self._judge.reason(index, place, psnr_db)
            if not reason and made is not None:
                kept.append(made.slot)
            frames.append(
                AlignedFrame(
                    take=context.take.name,
                    blurry_index=index,
                    blurry_time=float(self._tracks.blurry.times[index]),
                    position=place.position,
                    position_fine=place.position_fine,
                    psnr=psnr_db,
                    margin_db=float(search.margins_db[index]),
                    accepted=not reason,
                    reason=reason,
                    color=color,
                )
            )
        description = context.take.blurry[0].with_name("take.yaml")
        return frames, LaidAside(description, self._plate(), self._samples, kept)

    def _match_frames(self, clock: ClockModel | None) -> Iterator[MatchedFrame]:
        """Yield a few frames with the synthetic blur of their windows, for the registration."""
        config = self._context.config
        possible = [index for index, place in enumerate(self._places) if self._judge.can_be_made(place)]
        trusted = clock is not None or config.positions == "independent"
        told = [index for index in possible if trusted and self.search.confident[index]]
        # Of what stands still any window is the right one.
        chosen = told or [index for index in possible if is_still(self.search.curves.psnr[index])]
        for index in chosen[:: max(-(-len(chosen) // MAX_FRAMES), 1)]:
            blur, sequence = self._tracks.window(self._places[index].position)
            # The window is made once, unless sharp frames or colors depend on what is not known yet.
            if config.color == "per-frame" and config.rolling_shutter == "report":
                self._made[index] = self._make_sample(index, blur, sequence, None)
            yield MatchedFrame(self._tracks.blurry.image(index), blur)

    def _make_sample(
        self, index: int, blur: NDArray[np.float32], sequence: Sequence[NDArray[np.float32]], color: ColorMap | None
    ) -> _MadeSample:
        """Map a window to a frame's colors, by the map that fits it best where none is given, and store the sample."""
        image = self._tracks.blurry.image(index)
        if color is None:
            color = self._photometry.fit([self._photometry.pairs(blur, image)])
        psnr_db, sample = self._photometry.make_sample(blur, sequence, image, color)
        self._samples.append(np.concatenate([sample.blurry[None], sample.sharp]))
        return _MadeSample(color, psnr_db, len(self._samples) - 1)

    def _shared_color(self, shifts: NDArray[np.float64] | None) -> ColorMap:
        """Return the color map that fits the take: through frames spread over those that are clear."""
        places, confident = self._places, np.flatnonzero(self.search.confident).tolist()
        clear = [index for index in confident if self._judge.can_be_made(places[index])]
        chosen = clear[:: max(-(-len(clear) // _MAX_SHARED_COLOR_FRAMES), 1)]
        if not chosen:
            return self._photometry.fallback
        pairs = []
        for index in chosen:
            blur, _ = self._tracks.window(places[index].position, shifts)
            pairs.append(self._photometry.pairs(blur, self._tracks.blurry.image(index)))
        return self._photometry.fit(pairs)

    def _plate(self) -> NDArray[np.uint8] | None:
        """Return the clean plate as the blurry camera sees it; the sharp camera's stands in where it is missing."""
        context, take = self._context, self._context.take
        if take.green_screen and take.plate_blurry is not None:
            return _make_warp(context, np.eye(3), "blurry")(read_image(take.plate_blurry))
        if take.green_screen and take.plate_sharp is not None:
            warped = _make_warp(context, self.homography, "sharp")(read_image(take.plate_sharp))
            return encode(
                apply_color_map(self._photometry.fallback, to_linear(warped, context.response)), context.response
            )
        return None
