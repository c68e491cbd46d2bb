"""A take's recordings in the output's geometry, and the fine and the blur track made from the sharp one."""

from __future__ import annotations

import dataclasses
import itertools
import math
from collections import OrderedDict
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import cv2
import numpy as np
from numpy.typing import NDArray

from rb2v.artifacts import FormatOverride, Rig
from rb2v.core.blur import STORED_LEVELS, CubicWindows, StepWindows, Windows, window_steps
from rb2v.core.color import Response, from_linear, to_linear
from rb2v.core.flicker import Flicker, find_flicker
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
from rb2v.interpolation import GuardedInterpolator, is_scene_cut
from rb2v.io.frame_file import FrameFile
from rb2v.io.picture_track import NO_OVERRIDE
from rb2v.io.video import map_frames, probe_video
from rb2v.profiling import count_bytes, stage, staged

_N_BLOCKS = 8  # across and down, in which interpolation is judged
_N_WORST_BLOCKS = 8  # the worst eighth of 64
_DARK_LINEAR = 0.01  # of linear light, added to both, so that noise in the dark is no change of light
_LIGHT_STRIDE = 8  # pixels, of which one tells the light of lamps: 3,000 of 448 x 448
_N_RECENT = 2  # frames: those of the pair that is interpolated
_NODE_STEP_FRAMES = 0.25  # of fine frames: rows between two such times are a blend of both
_NOTHING: NDArray[np.uint8] = np.empty(0, dtype=np.uint8)  # stands in for a frame that is not warped
_MAX_RATE_DIFFERENCE = 0.02  # relative; 59.94 for 60 is 0.001, and 120 for 100 is another rig


@dataclass(frozen=True, eq=False)
class Track:
    """A recording in the output's geometry, on disk."""

    frames: NDArray[np.uint8] | FrameFile[np.uint8]
    """(n, H, W, 3)."""
    times: NDArray[np.float64]
    """(n,) presentation times in seconds."""
    repeated: NDArray[np.bool_]
    """(n,) whether a frame repeats the one before it, and so stands for one that is missing."""


class Recording:
    """A recording that is warped once, or again for every homography that is tried.

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
    decoded : Path, optional
        A file for the decoded frames, so that they are decoded once; by default each time.
    """

    def __init__(
        self,
        paths: Sequence[Path],
        size: tuple[int, int],
        fps: float,
        *,
        override: FormatOverride = NO_OVERRIDE,
        decoded: Path | None = None,
    ) -> None:
        self._paths, self._size, self._fps, self._override = paths, size, fps, override
        self._decoded_path = decoded
        self._decoded: tuple[DecodedFrames, Track] | None = None

    def warp(self, warp: FrameWarp, scratch: Path, *, every: int = 1) -> Track:
        """Warp every frame once, into a file; or one of ``every`` frames, whatever is decoded.

        Raises
        ------
        InputError
            If a file cannot be decoded, its frames are of another size or rate or come at uneven times, or so many of
            them repeat others that they were converted from another rate.
        """
        if self._decoded is not None:
            decoded, track = self._decoded
            frames = FrameFile(scratch, np.uint8)
            for image in decoded:
                with stage("warp"):
                    frames.append(warp(image))
            return dataclasses.replace(track, frames=frames)
        stored = None if self._decoded_path is None else DecodedFrames(self._decoded_path)
        track = self._decode(warp, scratch, stored, every)
        self._decoded = None if stored is None else (stored, track)
        return track

    @staged("decode")
    def _decode(self, warp: FrameWarp, scratch: Path, stored: DecodedFrames | None, every: int) -> Track:
        frames = FrameFile(scratch, np.uint8)
        times: list[float] = []
        differences: list[float] = []
        before: list[NDArray[np.float32]] = []
        is_wanted = (index % every == 0 for index in itertools.count())

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
                warped = warp(image) if next(is_wanted) else _NOTHING
            if stored is not None:
                with stage("decode"):
                    stored.append(image)
            return warped

        count_bytes(read=sum(path.stat().st_size for path in self._paths))
        for frame in map_frames(self._paths, check_and_warp, self._override):
            if frame.image is not _NOTHING:
                with stage("warp"):
                    frames.append(frame.image)
            times.append(frame.time_seconds)
        tick_seconds = probe_video(self._paths[0], self._override).tick_seconds
        known_times = even_times(np.array(times, dtype=np.float64), tick_seconds)
        if (step := frame_step(known_times)) > 0 and abs(1 / step / self._fps - 1) > _MAX_RATE_DIFFERENCE:
            expected = f"{self._fps:g} as in the rig, or capture_fps in take.yaml where the file plays slow motion"
            raise InputError(self._paths[0], f"has {1 / step:.4g} frames per second", expected=expected)
        if (jitter := frame_jitter(known_times, tick_seconds)) > MAX_JITTER:
            problem = f"the frame rate varies: steps between frames differ by {100 * jitter:.0f} %"
            expected = f"at most {100 * MAX_JITTER:.0f} %, as in the camera's own file"
            raise InputError(self._paths[0], problem, expected=expected)
        repeated = find_repeats(np.array(differences, dtype=np.float64))
        if repeated.mean() > MAX_REPEATED_SHARE:
            counts = f"{repeated.sum()} of {len(repeated)}"
            problem = f"{counts} frames repeat the one before: it was converted from another rate"
            raise InputError(self._paths[0], problem, expected="the camera's own file")
        return Track(frames, known_times[::every], repeated[::every])


class DecodedFrames:
    """Frames as the decoder gives them, on disk.

    Parameters
    ----------
    path : Path
        The file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        path.write_bytes(b"")
        self._kinds: list[Planes | tuple[int, ...]] = []

    def append(self, image: NDArray[np.uint8] | Planes) -> None:
        """Add a frame behind the others."""
        planes = [image.luma, *image.chroma] if isinstance(image, Planes) else [image]
        with self._path.open("ab") as file:
            for plane in planes:
                count_bytes(written=file.write(np.ascontiguousarray(plane).data))
        self._kinds.append(_without_pixels(image) if isinstance(image, Planes) else image.shape)

    def __iter__(self) -> Iterator[NDArray[np.uint8] | Planes]:
        with self._path.open("rb") as file:
            for kind in self._kinds:
                if isinstance(kind, Planes):
                    luma, *chroma = (_read(file, plane.shape) for plane in (kind.luma, *kind.chroma))
                    yield dataclasses.replace(kind, luma=luma, chroma=(chroma[0], chroma[1]))
                else:
                    yield _read(file, kind)


def _without_pixels(image: Planes) -> Planes:
    """Return planes of the same shapes that hold no memory."""
    luma, *chroma = (np.broadcast_to(np.uint8(0), plane.shape) for plane in (image.luma, *image.chroma))
    return dataclasses.replace(image, luma=luma, chroma=(chroma[0], chroma[1]))


def _read(file: BinaryIO, shape: tuple[int, ...]) -> NDArray[np.uint8]:
    count_bytes(read=math.prod(shape))
    return np.frombuffer(file.read(math.prod(shape)), dtype=np.uint8).reshape(shape)


@staged("timing")
def measure_flicker(track: Track, response: Response) -> Flicker | None:
    """Find the flicker of lamps in a recording; None where its light does not beat with the mains."""
    if len(track.times) < 2:
        return None
    stride = np.s_[_LIGHT_STRIDE // 2 :: _LIGHT_STRIDE, _LIGHT_STRIDE // 2 :: _LIGHT_STRIDE]
    changes = np.zeros(len(track.times) - 1)
    before: NDArray[np.uint16] | None = None
    for index in range(len(track.times)):
        seen = quantize(to_linear(np.ascontiguousarray(track.frames[index][stride]), response))
        if before is not None:
            changes[index - 1] = _light_change(before, seen)
        before = seen
    return find_flicker(changes, 1 / frame_step(track.times))


@dataclass(frozen=True, eq=False)
class ReducedTrack:
    """The sharp recording on reduced frames, on disk, and what was measured while they were made."""

    frames: FrameFile[np.uint16]
    """(n, h * w, 3) linear light, 0..65535 for 0..1."""
    light_changes: NDArray[np.float64]
    """(n - 1,) relative change of the light from each original frame to the next."""
    interpolation_psnr: NDArray[np.float64]
    """(n,) PSNR, in dB, of the worst eighth of each original frame made again from the frames half-way to its
    neighbors; NaN at the ends."""
    is_cut: NDArray[np.bool_]
    """(n - 1,) whether the scene changes from each original frame to the next."""

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
    gains : (n,) ndarray of float64, optional
        Light of every frame over that of lamps that do not flicker, which is evened out; all alike by default.
    """

    def __init__(
        self,
        track: Track,
        rig: Rig,
        interpolator: GuardedInterpolator,
        response: Response | None = None,
        *,
        gains: NDArray[np.float64] | None = None,
    ) -> None:
        self._track, self._gains = track, gains
        self._rig = rig
        self._interpolator = interpolator
        self._response: Response = rig.response if response is None else response
        self._indices = np.arange(len(track.times), dtype=np.float64)
        self._recent: OrderedDict[int, NDArray[np.float32]] = OrderedDict()

    @property
    def n_positions(self) -> int:
        """Number of windows that lie inside the recording."""
        n_fine = (len(self._track.times) - 1) * self._rig.upsampling + 1
        return max(n_fine - self._rig.frames_per_sequence + 1, 0)

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
        self, position: int, row_shifts: NDArray[np.float64] | None = None
    ) -> tuple[NDArray[np.float32], list[NDArray[np.float32]]]:
        """Return the synthetic blur of the window at a position, and its sharp sequence.

        Parameters
        ----------
        position : int
            Fine-track index of ``x_0``.
        row_shifts : (H,) ndarray of float64, optional
            How much later each row is taken, in fine frames; not at all by default. Each row is blended from frames
            at a few shifts; at the recording's ends its first or last frame stands in.
        """
        if row_shifts is None:
            return self._window(position)
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
        return blur / np.float32(len(steps)), sequence

    def _window(self, position: int) -> tuple[NDArray[np.float32], list[NDArray[np.float32]]]:
        rig, per_frame = self._rig, self._rig.blur_steps_per_frame
        steps = window_steps(position, rig.frames_per_sequence, rig.blur_factor)
        blur = np.zeros(self._track.frames.shape[1:], dtype=np.float32)
        sequence: list[NDArray[np.float32]] = []
        for index, group in itertools.groupby(steps, key=lambda step: step // per_frame):
            places = [step - index * per_frame for step in group]
            times = [place / per_frame for place in places if place % rig.blur_factor == 0]
            summed = [place / per_frame for place in places if place % rig.blur_factor]
            if max(places) == 0:
                made = [self._linear(index)]
            else:
                ends = self._linear(index), self._linear(index + 1)
                made, total = self._interpolator.between_and_sum(*ends, times, summed)
                cv2.accumulate(total, blur)
            for frame in made:
                cv2.accumulate(frame, blur)
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

    @staged("reduce")
    def reduce(
        self, track_size: tuple[int, int], size: tuple[int, int], scratch: Path, *, measures: bool = True
    ) -> ReducedTrack:
        """Make the whole recording small, and measure it.

        Parameters
        ----------
        track_size : tuple of int
            Width and height at which frames are interpolated, so large that flow still has something to hold on to.
        size : tuple of int
            Width and height of what is kept.
        scratch : Path
            A file for the frames.
        measures : bool
            Whether interpolation and scene cuts are measured everywhere; `measure_near` does it where it is left out.
        """
        n = len(self._track.times)
        light_changes, psnrs, is_cut = np.zeros(n - 1), np.full(n, np.nan), np.zeros(n - 1, dtype=np.bool_)
        reduced = ReducedTrack(FrameFile(scratch, np.uint16), light_changes, psnrs, is_cut)
        frame = self._reduced(0, track_size)
        kept = _keep(frame, size)
        reduced.frames.append(kept)
        middle: NDArray[np.float32] | None = None
        for index in range(n - 1):
            following = self._reduced(index + 1, track_size)
            if measures:
                middle = self._measure(reduced, index, middle, (frame, following))
            kept_following = _keep(following, size)
            light_changes[index] = _light_change(kept, kept_following)
            reduced.frames.append(kept_following)
            frame, kept = following, kept_following
        # Across a gap nothing was interpolated that a frame's own window needs.
        psnrs[self._beside_gaps()] = np.nan
        return reduced

    @staged("reduce")
    def measure_near(self, reduced: ReducedTrack, positions: Sequence[int], track_size: tuple[int, int]) -> None:
        """Measure interpolation and scene cuts for the windows at some positions, in place.

        Parameters
        ----------
        reduced : ReducedTrack
            What `reduce` made without measuring.
        positions : sequence of int
            Of the windows; those outside the recording are passed over.
        track_size : tuple of int
            As for `reduce`.
        """
        for position in positions:
            if not 0 <= position < self.n_positions:
                continue
            originals = self.originals(position)
            first, stop = max(originals.start - 1, 0), min(originals.stop, self.last_original)
            frame, middle = self._reduced(first, track_size), None
            for index in range(first, stop):
                following = self._reduced(index + 1, track_size)
                middle = self._measure(reduced, index, middle, (frame, following))
                frame = following
        reduced.interpolation_psnr[self._beside_gaps()] = np.nan

    def _measure(
        self,
        reduced: ReducedTrack,
        index: int,
        middle: NDArray[np.float32] | None,
        pair: tuple[NDArray[np.float32], NDArray[np.float32]],
    ) -> NDArray[np.float32]:
        """Measure from an original frame to the next, given the frame half-way before it, and return the one after."""
        reduced.is_cut[index] = is_scene_cut(*pair, coded=self._response == "linear")
        with stage("interpolation"):
            (half,) = self._interpolator.between(*pair, [0.5])
        if middle is not None:
            with stage("interpolation"):
                (again,) = self._interpolator.between(middle, half, [0.5])
            reduced.interpolation_psnr[index] = _worst_part_psnr(again, pair[0], self._response)
        return half

    def _beside_gaps(self) -> NDArray[np.bool_]:
        gaps = np.diff(self._track.times) > GAP_FRAMES / self._rig.sharp_fps
        return np.asarray(np.append(gaps, False) | np.append(False, gaps), dtype=np.bool_)

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
                linear = to_linear(coded, self._response)
                if self._gains is not None:
                    linear /= np.float32(self._gains[index])
            # What is made of it alone is kept, too.
            linear.flags.writeable = False
            while len(self._recent) >= _N_RECENT:
                self._recent.popitem(last=False)
            self._recent[index] = linear
        return self._recent[index]


def shrink(image: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """Return a picture's means over areas, (h, w, 3) float32; the picture itself where it has that size."""
    if (image.shape[1], image.shape[0]) == size:
        return image
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.float32)


def quantize(image: NDArray[np.float32]) -> NDArray[np.uint16]:
    """Return linear light as the (h * w, 3) 16-bit integers in which reduced frames are kept."""
    levels = np.clip(image, 0, 1) * np.float32(STORED_LEVELS) + np.float32(0.5)
    return levels.astype(np.uint16).reshape(-1, 3)


def _keep(image: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.uint16]:
    return quantize(shrink(image, size))


def _light_change(before: NDArray[np.uint16], after: NDArray[np.uint16]) -> float:
    # The median tells the light apart from what moves, as long as that covers less than half of the picture.
    floor = _DARK_LINEAR * STORED_LEVELS
    ratios = (after.mean(axis=1) + floor) / (before.mean(axis=1) + floor)
    return float(np.median(ratios)) - 1.0


def _worst_part_psnr(made: NDArray[np.float32], frame: NDArray[np.float32], response: Response) -> float:
    difference = np.square(from_linear(made, response) - from_linear(frame, response)).mean(axis=2)
    blocks = np.sort(cv2.resize(difference, (_N_BLOCKS, _N_BLOCKS), interpolation=cv2.INTER_AREA), axis=None)
    return float(errors_to_psnr(np.array(blocks[-_N_WORST_BLOCKS:].mean(), dtype=np.float64)))


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
def reduce_frames(
    track: Track, response: Response, sizes: Sequence[tuple[int, int]], scratch: Path
) -> FrameFile[np.uint16]:
    """Make a track's frames small by way of one size or more, (h * w, 3) of the last, into a file.

    Parameters
    ----------
    track : Track
        The frames.
    response : {"linear", "srgb"} or float
        In which they are coded.
    sizes : sequence of tuple of int
        Widths and heights, each the next one's source.
    scratch : Path
        The file.
    """
    reduced = FrameFile(scratch, np.uint16)
    for frame in track.frames:
        with stage("color conversion"):
            linear = to_linear(np.asarray(frame), response)
        for size in sizes:
            linear = shrink(linear, size)
        reduced.append(quantize(linear))
    return reduced


@dataclass(frozen=True, eq=False)
class BlurryTrack:
    """The blurry recording, which no homography of a take changes."""

    track: Track
    reduced: FrameFile[np.uint16]
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

    def scored(self) -> tuple[FrameFile[np.uint16], Windows]:
        """Return the blurry frames and the windows that are scored against each other."""
        if self.blur_track is None or self.blurry.whole is None:
            return self.blurry.reduced, self.windows
        return self.blurry.whole, self.blur_track.windows()

    def window(
        self, position: int, row_shifts: NDArray[np.float64] | None = None
    ) -> tuple[NDArray[np.float32], list[NDArray[np.float32]]]:
        """Return the synthetic blur of a window at the output's size, and its sequence; as `SharpSource.window`."""
        if self.blur_track is not None and row_shifts is None:
            return self.blur_track.window(position)
        return self.sharp.window(position, row_shifts)

    def measure_near(self, positions: Sequence[int], track_size: tuple[int, int]) -> None:
        """Measure interpolation and scene cuts where that was left out; as `SharpSource.measure_near`."""
        self.sharp.measure_near(self.reduced, positions, track_size)

    def has_cut(self, position: int) -> bool:
        """Return whether the scene changes inside the window at a position."""
        originals = self.sharp.originals(position)
        return bool(self.reduced.is_cut[originals.start : originals.stop - 1].any())
