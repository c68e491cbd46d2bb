"""A take's recordings in the output's geometry, and the fine and the blur track made from the sharp one."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from rb2v.artifacts import FormatOverride, Rig
from rb2v.core.blur import STORED_LEVELS, CubicWindows, StepWindows, Windows, window_steps
from rb2v.core.color import Response, code_levels, to_linear
from rb2v.core.flicker import N_BANDS, Flicker, band_changes, find_flicker, light_change
from rb2v.core.frame_times import (
    GAP_FRAMES,
    MAX_JITTER,
    MAX_REPEATED_SHARE,
    difference_levels,
    even_times,
    find_repeats,
    frame_jitter,
    frame_step,
    thumbnail,
)
from rb2v.core.planes import Planes, luma_of
from rb2v.core.resampling import FrameWarp
from rb2v.core.temporal import errors_to_psnr
from rb2v.errors import InputError
from rb2v.interpolation import GuardedInterpolator
from rb2v.io.frame_file import FrameFile, Frames
from rb2v.io.picture_track import NO_OVERRIDE
from rb2v.io.video import FrameSpan, map_frames, probe_video, read_frame_index
from rb2v.profiling import count_bytes, stage, staged

_N_BLOCKS = 8  # across and down, in which interpolation is judged
_N_WORST_BLOCKS = 8  # the worst eighth of 64
_WHITE_LEVEL = 255.0  # of coded values
_LIGHT_STRIDE = 8  # pixels, of which one tells the light of lamps: 3,000 of 448 x 448
_MARGIN_FRAMES = 4  # of a part, to either side; rows are shifted by less (`timing._MAX_SHIFT_FRAMES`)
_N_RECENT = 2  # frames: those of the pair that is interpolated
_NODE_STEP_FRAMES = 0.25  # of fine frames: rows between two such times are a blend of both
_NOTHING: NDArray[np.uint8] = np.empty(0, dtype=np.uint8)  # stands in for a frame that is not warped
_MAX_RATE_DIFFERENCE = 0.02  # relative; 59.94 for 60 is 0.001, and 120 for 100 is another rig


@dataclass(frozen=True, eq=False)
class Track:
    """A recording in the output's geometry, on disk."""

    frames: NDArray[np.uint8] | Frames[np.uint8]
    """(n, H, W, 3)."""
    times: NDArray[np.float64]
    """(n,) presentation times in seconds."""
    repeated: NDArray[np.bool_]
    """(n,) whether a frame repeats the one before it, and so stands for one that is missing."""


@dataclass(frozen=True)
class Piece:
    """Consecutive frames of a recording, which are warped by themselves, with a neighbor to either side.

    Pieces overlap by two frames, so that nothing that is measured between neighbors is lost between pieces.
    """

    frames: range
    """Its own, without neighbors."""
    span: FrameSpan
    """All that are decoded."""
    lead: int
    """Neighbors before its own frames: 0 or 1."""

    @property
    def own(self) -> range:
        """Its own frames among those that are decoded."""
        return range(self.lead, self.lead + len(self.frames))

    @property
    def steps(self) -> slice:
        """The steps to its own frames from those before them, among the steps between those that are decoded."""
        return slice(len(self.frames) - 1 + self.lead)


@dataclass(frozen=True, eq=False)
class Warped:
    """Consecutive frames of a recording in the output's geometry."""

    frames: Frames[np.uint8]
    times: NDArray[np.float64]
    """(n,) seconds."""
    differences: NDArray[np.float64]
    """(n - 1,) see `difference_levels`."""


class Recording:
    """A recording that is decoded and warped, again for every homography that is tried.

    Other homographies are rare, and decoding again costs less than the room for decoded frames.

    Parameters
    ----------
    paths : sequence of Path
        The recording's files.
    size : tuple of int
        Width and height that the calibration was made for, in pixels.
    fps : float
        Frames per second of the rig's camera.
    override : FormatOverride, optional
        What is known better than the files state it.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        size: tuple[int, int],
        fps: float,
        *,
        override: FormatOverride = NO_OVERRIDE,
    ) -> None:
        self._paths, self._size, self._fps, self._override = paths, size, fps, override

    def cut(self, n_frames: int) -> list[Piece]:
        """Return pieces of at least so many frames each, or one; none where files do not say when frames are shown.

        Raises
        ------
        InputError
            If a file cannot be read to its end.
        """
        index = read_frame_index(self._paths, self._override)
        if index is None:
            return []
        n, starts = len(index.seconds), [0]
        for start in index.cheap_starts().tolist():
            if n - n_frames >= start >= starts[-1] + n_frames:
                starts.append(start)
        pieces = []
        for start, stop in itertools.pairwise([*starts, n]):
            lead = min(start, 1)
            pieces.append(Piece(range(start, stop), index.span(range(start - lead, min(stop + 1, n))), lead))
        return pieces

    @staged("decode")
    def warp(
        self,
        warp: FrameWarp,
        scratch: Path,
        *,
        later: Sequence[tuple[int, FrameWarp]] = (),
        every: int = 1,
        piece: Piece | None = None,
        visit: Callable[[NDArray[np.uint8]], None] | None = None,
    ) -> Warped:
        """Warp every frame once, into a file; or one of ``every`` frames, whatever is decoded.

        Decoding runs in this thread and those of the decoder, and warping in another.

        Parameters
        ----------
        warp : FrameWarp
            Makes an output frame.
        scratch : Path
            The file.
        later : sequence of tuple of int and FrameWarp
            What makes output frames from a frame on, in the order of time.
        every : int
            How many frames are decoded for each that is warped.
        piece : Piece, optional
            The frames; all by default.
        visit : callable, optional
            Called with every warped frame, in order.

        Raises
        ------
        InputError
            If a file cannot be decoded, or its frames are of another size.
        """
        frames = FrameFile(scratch, np.uint8, is_compressed=True)
        times: list[float] = []
        differences: list[float] = []
        before: list[NDArray[np.float32]] = []
        indices = itertools.count()

        def check_and_warp(image: NDArray[np.uint8] | Planes) -> NDArray[np.uint8]:
            height, width = image.shape[:2]
            if (width, height) != self._size:
                expected = f"{self._size[0]}x{self._size[1]} as in the calibration"
                raise InputError(self._paths[0], f"its frames are {width}x{height}", expected=expected)
            with stage("warp"):
                seen = thumbnail(luma_of(image))
                if before:
                    differences.append(difference_levels(before.pop(), seen))
                before.append(seen)
                index = next(indices)
                own = next((one for start, one in reversed(later) if start <= index), warp)
                return own(image) if index % every == 0 else _NOTHING

        if piece is None:
            count_bytes(read=sum(path.stat().st_size for path in self._paths))
        span = None if piece is None else piece.span
        for frame in map_frames(self._paths, check_and_warp, self._override, span=span):
            if frame.image is not _NOTHING:
                with stage("warp"):
                    frames.append(frame.image)
                if visit is not None:
                    visit(frame.image)
            times.append(frame.time_seconds)
        return Warped(frames, np.array(times, dtype=np.float64), np.array(differences, dtype=np.float64))

    def finish(self, warped: Warped, *, every: int = 1) -> Track:
        """Return the track of all frames, of which one of ``every`` was warped.

        Raises
        ------
        InputError
            If its frames are of another rate or come at uneven times, or so many of them repeat others that they were
            converted from another rate.
        """
        tick_seconds = probe_video(self._paths[0], self._override).tick_seconds
        known_times = even_times(warped.times, tick_seconds)
        if (step := frame_step(known_times)) > 0 and abs(1 / step / self._fps - 1) > _MAX_RATE_DIFFERENCE:
            expected = f"{self._fps:g} as in the rig, or capture_fps in take.yaml where the file plays slow motion"
            raise InputError(self._paths[0], f"has {1 / step:.4g} frames per second", expected=expected)
        if (jitter := frame_jitter(known_times, tick_seconds)) > MAX_JITTER:
            problem = f"the frame rate varies: steps between frames differ by {100 * jitter:.0f} %"
            expected = f"at most {100 * MAX_JITTER:.0f} %, as in the camera's own file"
            raise InputError(self._paths[0], problem, expected=expected)
        repeated = find_repeats(warped.differences)
        if repeated.mean() > MAX_REPEATED_SHARE:
            counts = f"{repeated.sum()} of {len(repeated)}"
            problem = f"{counts} frames repeat the one before: it was converted from another rate"
            raise InputError(self._paths[0], problem, expected="the camera's own file")
        return Track(warped.frames, known_times[::every], repeated[::every])


class LightMeter:
    """The light of a recording's frames, one after the other, as the flicker of lamps shows in it."""

    def __init__(self) -> None:
        self.changes: list[NDArray[np.float64]] = []
        """From each frame to the next, see `find_flicker`."""
        self._before: NDArray[np.float32] | None = None

    @staged("timing")
    def add(self, linear: NDArray[np.float32]) -> None:
        """Look at the next frame, (H, W, 3) in linear light."""
        # As many rows as make even bands: the phase of a band is that of its middle.
        n_rows = N_BANDS * math.ceil(len(linear) / (N_BANDS * _LIGHT_STRIDE))
        rows = ((np.arange(n_rows) + 0.5) * len(linear) / n_rows).astype(np.intp)
        seen = linear[rows, _LIGHT_STRIDE // 2 :: _LIGHT_STRIDE]
        if self._before is not None:
            self.changes.append(band_changes(self._before, seen))
        self._before = seen


def find_track_flicker(changes: Sequence[NDArray[np.float64]], times: NDArray[np.float64]) -> Flicker | None:
    """Find the flicker in what a `LightMeter` saw of frames at some times; None without a beat with the mains."""
    return find_flicker(np.array(changes), 1 / frame_step(times)) if len(times) > 1 else None


@dataclass(frozen=True, eq=False)
class ReducedTrack:
    """The sharp recording on reduced frames, on disk, and what was measured while they were made."""

    frames: Frames[np.uint16]
    """(n, h * w, 3) linear light, 0..65535 for 0..1."""
    light_changes: NDArray[np.float64]
    """(n - 1,) relative change of the light from each original frame to the next."""
    interpolation_psnr: NDArray[np.float64]
    """(n,) PSNR, in dB, of the worst eighth of each original frame made again from its neighbors, see
    `InterpolationCheck`; NaN at the ends."""
    is_cut: NDArray[np.bool_]
    """(n - 1,) whether the scene changes from each original frame to the next."""

    def leave_out_gaps(self, track: Track, rig: Rig) -> ReducedTrack:
        """Return it with nothing known of interpolation across gaps, where no frame's own window needs it."""
        psnrs = np.where(_beside_gaps(track, rig), np.nan, self.interpolation_psnr)
        return dataclasses.replace(self, interpolation_psnr=psnrs)

    def windows(self, rig: Rig) -> CubicWindows:
        """Return the synthetic blur of all windows."""
        return CubicWindows(self.frames, rig.upsampling, rig.frames_per_sequence, rig.blur_factor)


@dataclass(frozen=True, eq=False)
class BlurTrack:
    """The whole blur track at the output's size, on disk."""

    frames: FrameFile[np.uint16]
    """(K, H * W, 3) linear light, 0..65535 for 0..1."""
    size: tuple[int, int]
    """Width and height."""
    rig: Rig
    """Length of the windows."""

    def windows(self) -> Windows:
        """Return the synthetic blur of all windows."""
        return StepWindows(self.frames, self.rig.frames_per_sequence, self.rig.blur_factor)

    def window(self, position: int) -> tuple[NDArray[np.float32], list[NDArray[np.float32]]]:
        """Return the synthetic blur of the window at a position, and its sharp sequence; as `SharpSource.window`."""
        width, height = self.size
        steps = window_steps(position, self.rig.frames_per_sequence, self.rig.blur_factor)
        stored = self.frames[steps.start : steps.stop].reshape(-1, height, width, 3)
        blur = stored.sum(axis=0, dtype=np.uint32) / np.float32(len(steps) * STORED_LEVELS)
        sequence = stored[:: self.rig.blur_factor] / np.float32(STORED_LEVELS)
        return blur.astype(np.float32), list(sequence)


@dataclass(frozen=True, eq=False)
class SharpPart:
    """A part of a sharp recording, that can be pickled."""

    track: Track
    flicker: Flicker | None
    """Of its lamps, see `SharpSource`."""
    first_position: int
    """Position, in the whole recording, of the first window."""


class SharpSource:
    """The fine and the blur track of a sharp recording, in linear light, made on demand.

    Parameters
    ----------
    track : Track
        The original track.
    rig : Rig
        Upsampling and blur samples.
    interpolator : GuardedInterpolator
        Makes the frames between.
    response : {"linear", "srgb"} or float, optional
        Response that is undone; the rig's by default.
    flicker : Flicker, optional
        Of the recording's lamps, which is evened out; none by default.
    to_light : callable, optional
        Makes linear light of a coded frame; by default the response is undone.
    """

    def __init__(
        self,
        track: Track,
        rig: Rig,
        interpolator: GuardedInterpolator,
        response: Response | None = None,
        *,
        flicker: Flicker | None = None,
        to_light: Callable[[NDArray[np.uint8]], NDArray[np.float32]] | None = None,
    ) -> None:
        self._track, self._flicker = track, flicker
        self._rig = rig
        self._interpolator = interpolator
        self._response: Response = rig.response if response is None else response
        self._to_light = to_light or (lambda coded: to_linear(coded, self._response))
        self._indices = np.arange(len(track.times), dtype=np.float64)
        self._recent: OrderedDict[int, NDArray[np.float32]] = OrderedDict()

    @property
    def n_positions(self) -> int:
        """Number of windows that lie inside the recording."""
        n_fine = (len(self._track.times) - 1) * self._rig.upsampling + 1
        return max(n_fine - self._rig.frames_per_sequence + 1, 0)

    @property
    def times(self) -> NDArray[np.float64]:
        """(n,) times of the recording's frames in seconds."""
        return self._track.times

    @property
    def last_original(self) -> int:
        """Index of the last original frame."""
        return len(self._track.times) - 1

    def center_time(self, position: float) -> float:
        """Return the time, in seconds, of the middle of the window at a position."""
        index = (position + (self._rig.frames_per_sequence - 1) / 2) / self._rig.upsampling
        n = len(self._track.times)
        if 0 <= index <= n - 1:
            return float(np.interp(index, self._indices, self._track.times))
        edge = 0 if index < 0 else n - 1
        return float(self._track.times[edge] + (index - edge) / self._rig.sharp_fps)

    def position_at(self, time_seconds: float) -> float:
        """Return the position, to a fraction, of the window whose middle is at a time."""
        times = self._track.times
        if times[0] <= time_seconds <= times[-1]:
            index = float(np.interp(time_seconds, times, self._indices))
        else:
            edge = 0 if time_seconds < times[0] else len(times) - 1
            index = edge + (time_seconds - float(times[edge])) * self._rig.sharp_fps
        return index * self._rig.upsampling - (self._rig.frames_per_sequence - 1) / 2

    def originals(self, position: int) -> range:
        """Return the original frames that the window at a position lies between, both ends included."""
        rig = self._rig
        last = -(-(position + rig.frames_per_sequence - 1) // rig.upsampling)
        return range(position // rig.upsampling, min(last, len(self._track.times) - 1) + 1)

    def has_gap(self, position: int) -> bool:
        """Return whether the recording lacks frames inside the window at a position, or repeats others instead."""
        originals = self.originals(position)
        if self._track.repeated[originals.start : originals.stop].any():
            return True
        steps = np.diff(self._track.times[originals.start : originals.stop])
        return bool(np.any(steps > GAP_FRAMES / self._rig.sharp_fps))

    @staged("interpolation")
    def window(
        self, position: int, row_shifts: NDArray[np.float64] | None = None, *, stride: int = 1
    ) -> tuple[NDArray[np.float32], list[NDArray[np.float32]]]:
        """Return the synthetic blur of the window at a position, and its sharp sequence.

        Parameters
        ----------
        position : int
            Fine-track index of ``x_0``.
        row_shifts : (H,) ndarray of float64, optional
            How much later each row is taken, in fine frames; not at all by default. Each row is blended from frames
            at a few shifts; at the recording's ends its first or last frame stands in.
        stride : int
            Rows and columns of which one is blurred, from the first on; all by default.
        """
        if row_shifts is None:
            return self._window(position, stride)
        rig = self._rig
        steps = window_steps(position, rig.frames_per_sequence, rig.blur_factor)
        shifts, shares = _shift_nodes(row_shifts)
        wanted = sorted(
            (step + shift * rig.blur_factor, index, node)
            for index, step in enumerate(steps)
            for node, shift in enumerate(shifts)
        )
        shape = self._track.frames.shape[1:]
        blur = np.zeros(shape, dtype=np.float32)
        sequence = [np.zeros(shape, dtype=np.float32) for _ in range(rig.frames_per_sequence)]
        in_sequence = {place for place, index, _ in wanted if index % rig.blur_factor == 0}
        averaged = {place for place, _, _ in wanted} - in_sequence
        frames = self.blur_frames([place for place, _, _ in wanted], averaged)
        for (_, index, node), frame in zip(wanted, frames, strict=True):
            part = frame if row_shifts is None else frame * shares[node][:, None, None]
            cv2.accumulate(part, blur)
            if index % rig.blur_factor == 0:
                cv2.accumulate(part, sequence[index // rig.blur_factor])
        return blur[::stride, ::stride] / np.float32(len(steps)), sequence

    def _window(self, position: int, stride: int) -> tuple[NDArray[np.float32], list[NDArray[np.float32]]]:
        rig, per_frame = self._rig, self._rig.blur_steps_per_frame
        steps = window_steps(position, rig.frames_per_sequence, rig.blur_factor)
        _, height, width, _ = self._track.frames.shape
        blur = np.zeros((-(-height // stride), -(-width // stride), 3), dtype=np.float32)
        sequence: list[NDArray[np.float32]] = []
        for index, group in itertools.groupby(steps, key=lambda step: step // per_frame):
            places = [step - index * per_frame for step in group]
            times = [place / per_frame for place in places if place % rig.blur_factor == 0]
            summed = [place / per_frame for place in places if place % rig.blur_factor]
            if max(places) == 0:
                made = [self._linear(index)]
            else:
                ends = self._linear(index), self._linear(index + 1)
                made, total = self._interpolator.between_and_sum(*ends, times, summed, stride)
                cv2.accumulate(total, blur)
            for frame in made:
                cv2.accumulate(np.ascontiguousarray(frame[::stride, ::stride]), blur)
            sequence += made
        blur *= np.float32(1 / len(steps))
        return blur, sequence

    def blur_frames(self, places: Sequence[float], averaged: Collection[float] = ()) -> Iterator[NDArray[np.float32]]:
        """Yield the blur track at increasing places, in blur-track steps, whole or not.

        Parameters
        ----------
        places : sequence of float
            In blur-track steps; at the recording's ends its first or last frame stands in.
        averaged : collection of float
            Those of the places whose frames are only ever averaged.
        """
        per_frame = self._rig.blur_steps_per_frame
        last = len(self._track.times) - 1
        inside = np.clip(places, 0, last * per_frame)
        cheap = set(averaged)
        for index, group in itertools.groupby(inside, key=lambda place: min(int(place // per_frame), last)):
            some = list(group)
            times = [float(place - index * per_frame) / per_frame for place in some]
            frame_a = self._linear(index)
            if max(times) == 0.0:
                yield from [frame_a] * len(times)
            else:
                rough = {time for place, time in zip(some, times, strict=True) if place in cheap}
                yield from self._interpolator.between(frame_a, self._linear(index + 1), times, averaged=rough)

    def part(self, positions: range) -> SharpPart:
        """Return what the windows at some positions are made of, to be read elsewhere."""
        first = max(self.originals(positions.start).start - _MARGIN_FRAMES, 0)
        stop = min(self.originals(positions.stop - 1).stop + _MARGIN_FRAMES, len(self._track.times))
        track, some = self._track, slice(first, stop)
        frames = track.frames.part(range(first, stop)) if isinstance(track.frames, Frames) else track.frames[some]
        flicker = None if self._flicker is None else self._flicker.part(some)
        return SharpPart(Track(frames, track.times[some], track.repeated[some]), flicker, first * self._rig.upsampling)

    def reduce(self, reducer: Reducer) -> ReducedTrack:
        """Make the whole recording small, its lamps' flicker evened out, and measure it."""
        for index in range(len(self._track.times)):
            reducer.add(self._linear(index))
        return reducer.finish().leave_out_gaps(self._track, self._rig)

    @staged("reduce")
    def measure_near(
        self, reduced: ReducedTrack, positions: Sequence[int], track_size: tuple[int, int], sure_db: float
    ) -> None:
        """Measure interpolation and scene cuts for the windows at some positions, in place.

        Parameters
        ----------
        reduced : ReducedTrack
            What was made without measuring.
        positions : sequence of int
            Of the windows; those outside the recording are passed over.
        track_size : tuple of int
            Width and height at which frames are interpolated.
        sure_db : float
            See `InterpolationCheck`.
        """
        for position in positions:
            if not 0 <= position < self.n_positions:
                continue
            originals = self.originals(position)
            first, stop = max(originals.start - 1, 0), min(originals.stop, self.last_original)
            check = InterpolationCheck(self._interpolator, self._response, sure_db)
            check.add(self._reduced(first, track_size))
            for index in range(first, stop):
                is_cut, psnr = check.add(self._reduced(index + 1, track_size))
                reduced.is_cut[index] = is_cut
                if not math.isnan(psnr):
                    reduced.interpolation_psnr[index] = psnr
        reduced.interpolation_psnr[_beside_gaps(self._track, self._rig)] = np.nan

    @staged("interpolation")
    def make_blur_track(self, scratch: Path) -> BlurTrack:
        """Interpolate the whole blur track at the output's size, into a file."""
        frames, fine = FrameFile(scratch, np.uint16), self._rig.blur_factor
        places = range(self.last_original * self._rig.blur_steps_per_frame + 1)
        for frame in self.blur_frames(places, [place for place in places if place % fine]):
            frames.append(quantize(frame))
        return BlurTrack(frames, self._rig.output_size, self._rig)

    def _reduced(self, index: int, size: tuple[int, int]) -> NDArray[np.float32]:
        return shrink(self._linear(index), size)

    def _linear(self, index: int) -> NDArray[np.float32]:
        """Return an original frame, which nobody may write; the last ones are kept for whoever asks for them next."""
        if index not in self._recent:
            coded = np.asarray(self._track.frames[index])
            with stage("color conversion"):
                linear = self._to_light(coded)
                if self._flicker is not None:
                    linear /= self._flicker.row_gains(index, len(linear)).astype(np.float32)[:, None, None]
            # What is made of it alone is kept, too.
            linear.flags.writeable = False
            while len(self._recent) >= _N_RECENT:
                self._recent.popitem(last=False)
            self._recent[index] = linear
        return self._recent[index]


class InterpolationCheck:
    """Compares frames with what their neighbors tell of them.

    That is the mean of the neighbors where it is good enough, without any motion. Otherwise it is what is interpolated
    half-way between the frames half-way to the neighbors.

    Parameters
    ----------
    interpolator : GuardedInterpolator
        Makes the frames between.
    response : {"linear", "srgb"} or float
        In which errors are measured.
    sure_db : float
        PSNR from which the mean of the neighbors is good enough.
    """

    def __init__(self, interpolator: GuardedInterpolator, response: Response, sure_db: float) -> None:
        self._interpolator, self._response, self._sure_db = interpolator, response, sure_db
        self._before: NDArray[np.float32] | None = None
        self._frame: NDArray[np.float32] | None = None
        self._half_way: NDArray[np.float32] | None = None
        """Between those two, where it was asked for."""

    def add(self, following: NDArray[np.float32]) -> tuple[bool, float]:
        """Take the next frame.

        Returns
        -------
        is_cut : bool
            Whether the scene changes before it.
        psnr : float
            Of the worst eighth, in dB, of the frame before it; NaN of the first one.
        """
        following.flags.writeable = False
        before, frame, half_before = self._before, self._frame, self._half_way
        self._before, self._frame, self._half_way = frame, following, None
        if frame is None:
            return False, math.nan
        is_cut = self._interpolator.is_scene_cut(frame, following)
        if before is None:
            return is_cut, math.nan
        mean = np.asarray(cv2.addWeighted(before, 0.5, following, 0.5, 0.0), dtype=np.float32)
        psnr = _worst_part_psnr(mean, frame, self._response)
        if psnr >= self._sure_db:
            return is_cut, psnr
        with stage("interpolation"):
            if half_before is None:
                half_before = self._between(before, frame)
            self._half_way = self._between(frame, following)
            again = self._between(half_before, self._half_way)
        return is_cut, _worst_part_psnr(again, frame, self._response)

    def _between(self, first: NDArray[np.float32], second: NDArray[np.float32]) -> NDArray[np.float32]:
        (half_way,) = self._interpolator.between(first, second, [0.5])
        half_way.flags.writeable = False
        return half_way


class Reducer:
    """Makes the frames of a sharp recording small, one after the other, and measures them.

    Parameters
    ----------
    sizes : tuple of tuple of int
        Width and height at which frames are interpolated, so large that flow still has something to hold on to, and
        of what is kept.
    scratch : Path
        A file for the frames.
    check : InterpolationCheck, optional
        Measures interpolation and scene cuts everywhere; `SharpSource.measure_near` does it where it is left out.
    """

    def __init__(
        self,
        sizes: tuple[tuple[int, int], tuple[int, int]],
        scratch: Path,
        check: InterpolationCheck | None,
    ) -> None:
        self._track_size, self._size = sizes
        self._check = check
        self._frames = FrameFile(scratch, np.uint16)
        self._kept: NDArray[np.uint16] | None = None
        self._light_changes: list[float] = []
        self._psnrs: list[float] = []
        self._cuts: list[bool] = []

    @staged("reduce")
    def add(self, linear: NDArray[np.float32]) -> None:
        """Take the next frame, (H, W, 3) in linear light."""
        small = shrink(linear, self._track_size)
        is_cut, psnr = (False, math.nan) if self._check is None else self._check.add(small)
        kept = _keep(small, self._size)
        self._frames.append(kept)
        if self._kept is not None:
            self._light_changes.append(light_change(self._kept, kept, STORED_LEVELS))
            self._psnrs.append(psnr)
            self._cuts.append(is_cut)
        self._kept = kept

    def finish(self) -> ReducedTrack:
        """Return all frames and their measures."""
        psnrs = np.array([*self._psnrs, math.nan], dtype=np.float64)
        changes = np.array(self._light_changes, dtype=np.float64)
        return ReducedTrack(self._frames, changes, psnrs, np.array(self._cuts, dtype=np.bool_))


def _beside_gaps(track: Track, rig: Rig) -> NDArray[np.bool_]:
    gaps = np.diff(track.times) > GAP_FRAMES / rig.sharp_fps
    return np.asarray(np.append(gaps, False) | np.append(False, gaps), dtype=np.bool_)


def shrink(image: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """Return an image's means over areas, (h, w, 3) float32; the image itself where it has that size."""
    if (image.shape[1], image.shape[0]) == size:
        return image
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.float32)


def quantize(image: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Return linear light as the (h * w, 3) 16-bit integers in which reduced frames are kept."""
    levels = np.clip(image, 0, 1) * np.float32(STORED_LEVELS) + np.float32(0.5)
    return levels.astype(np.uint16).reshape(-1, 3)


def _keep(image: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.uint16]:
    return quantize(shrink(image, size))


def _worst_part_psnr(made: NDArray[np.float32], frame: NDArray[np.float32], response: Response) -> float:
    difference = np.square(code_levels(made, response) - code_levels(frame, response)).mean(axis=2)
    blocks = np.sort(cv2.resize(difference, (_N_BLOCKS, _N_BLOCKS), interpolation=cv2.INTER_AREA), axis=None)
    return float(errors_to_psnr(np.array(blocks[-_N_WORST_BLOCKS:].mean() / _WHITE_LEVEL**2, dtype=np.float64)))


def _shift_nodes(
    row_shifts: NDArray[np.float64] | None,
) -> tuple[list[float], NDArray[np.float32]]:
    """Return a few shifts, and the share that each has in every row, as (nodes, H)."""
    if row_shifts is None:
        return [0.0], np.ones((1, 1), dtype=np.float32)
    low, high = float(row_shifts.min()), float(row_shifts.max())
    n_nodes = max(int(np.ceil((high - low) / _NODE_STEP_FRAMES)) + 1, 2)
    nodes = np.linspace(low, max(high, low + 1e-6), n_nodes)
    places = (row_shifts - low) / (nodes[1] - nodes[0])
    shares = np.maximum(1 - np.abs(places - np.arange(n_nodes)[:, None]), 0)
    return nodes.tolist(), shares.astype(np.float32)


@staged("reduce")
def append_reduced(
    reduced: FrameFile[np.uint16], linear: NDArray[np.float32], sizes: Sequence[tuple[int, int]]
) -> None:
    """Append a frame, (H, W, 3) in linear light, made small by way of one size or more, as (h * w, 3) of the last."""
    for size in sizes:
        linear = shrink(linear, size)
    reduced.append(quantize(linear))


@dataclass(frozen=True, eq=False)
class BlurryTrack:
    """The blurry recording, which no homography of a take changes."""

    track: Track
    reduced: Frames[np.uint16]
    """(J, h * w, 3) linear light, reduced as the sharp frames are."""
    whole: FrameFile[np.uint16] | None
    """(J, H * W, 3) linear light where windows are scored at the output's size."""

    @property
    def times(self) -> NDArray[np.float64]:
        """(J,) presentation times in seconds."""
        return self.track.times

    def image(self, index: int) -> NDArray[np.uint8]:
        """Return a blurry frame, (H, W, 3) coded."""
        return np.asarray(self.track.frames[index])

    def part(self, frames: range) -> Frames[np.uint8]:
        """Return some blurry frames, coded, to be read elsewhere."""
        assert isinstance(self.track.frames, Frames)  # as recordings are warped
        return self.track.frames.part(frames)

    def translated(self, shifts: NDArray[np.float64], size: tuple[int, int], path: Path) -> BlurryTrack:
        """Return the track with its reduced frames translated; what comes in at an edge repeats the edge.

        Parameters
        ----------
        shifts : (J, 2) ndarray of float64
            Of each frame, to the right and down, in pixels of the reduced frames.
        size : tuple of int
            Their width and height.
        path : Path
            The scratch file to write.
        """
        width, height = size
        reduced = FrameFile(path, np.uint16)
        for frame, shift in zip(self.reduced, shifts, strict=True):
            matrix = np.column_stack([np.eye(2), shift])
            image = frame.reshape(height, width, 3).astype(np.float32)
            moved = cv2.warpAffine(image, matrix, size, flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
            reduced.append(np.clip(np.rint(moved), 0, STORED_LEVELS).astype(np.uint16).reshape(frame.shape))
        return dataclasses.replace(self, reduced=reduced)


@dataclass(frozen=True, eq=False)
class Tracks:
    """A take's recordings under one homography, whole and reduced."""

    blurry: BlurryTrack
    sharp: SharpSource
    reduced: ReducedTrack
    windows: CubicWindows
    """The synthetic blur of all windows, reduced."""
    blur_track: BlurTrack | None
    """Where windows are scored at the output's size."""
    flicker: Flicker | None
    """Of the lamps, which is evened out."""

    def scored(self) -> tuple[Frames[np.uint16], Windows]:
        """Return the blurry frames and the windows that are scored against each other."""
        if self.blur_track is None or self.blurry.whole is None:
            return self.blurry.reduced, self.windows
        return self.blurry.whole, self.blur_track.windows()

    def window(
        self, position: int, row_shifts: NDArray[np.float64] | None = None, *, stride: int = 1
    ) -> tuple[NDArray[np.float32], list[NDArray[np.float32]]]:
        """Return the synthetic blur of a window at the output's size, and its sequence; as `SharpSource.window`."""
        if self.blur_track is not None and row_shifts is None:
            blur, sequence = self.blur_track.window(position)
            return blur[::stride, ::stride], sequence
        return self.sharp.window(position, row_shifts, stride=stride)

    def image(self, index: int) -> NDArray[np.uint8]:
        """Return a blurry frame, (H, W, 3) coded."""
        return self.blurry.image(index)

    def measure_near(self, positions: Sequence[int], track_size: tuple[int, int], sure_db: float) -> None:
        """Measure interpolation and scene cuts where that was left out; as `SharpSource.measure_near`."""
        self.sharp.measure_near(self.reduced, positions, track_size, sure_db)

    def has_cut(self, position: int) -> bool:
        """Return whether the scene changes inside the window at a position."""
        originals = self.sharp.originals(position)
        return bool(self.reduced.is_cut[originals.start : originals.stop - 1].any())
