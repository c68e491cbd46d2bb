"""Alignment: for every blurry frame the window of sharp frames that it integrated, in its geometry and colours."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
import logging
import math
import shutil
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from rb2v import __version__
from rb2v.artifacts import AlignedFrame, Calibration, ClockModel, Rig, Take
from rb2v.core.blur import mean_frame, window_means, window_steps
from rb2v.core.clock import fit_clock
from rb2v.core.color import Response, apply_color_map, encode, fit_color_map, to_linear
from rb2v.core.homography import FrameWarp
from rb2v.core.metrics import psnr
from rb2v.core.sync import offset_from_motion, offset_from_sound
from rb2v.core.temporal import errors_to_psnr, find_peak, window_errors
from rb2v.errors import InputError
from rb2v.execution import Executor, SerialExecutor
from rb2v.interpolation import INTERPOLATORS, Interpolator, make_interpolator
from rb2v.io.aligned import (
    AlignedManifest,
    AlignedSample,
    AlignedTakeReader,
    ScoreCurves,
    aligned_take_path,
    write_aligned_manifest,
    write_aligned_take,
)
from rb2v.io.config import read_raw_directory, read_takes
from rb2v.io.store import output_folder, read_calibration, write_alignment
from rb2v.io.video import iter_frames, probe_video, read_image, read_sound

logger = logging.getLogger(__name__)

ALIGNMENT_NAME = "alignment.csv"

_MIN_TRACK_SIZE_PX = 64
_MAX_TRACK_SCALE = 4
_MOTION_SIZE_PX = 16
_MIN_SOUND_CONFIDENCE = 1 / 3
_MIN_MOTION_CONFIDENCE = 0.09
_CLIPPED_LINEAR = 0.95
_COLOR_FIT_STRIDE = 3


@dataclass(frozen=True)
class AlignConfig:
    """How windows are looked for and when a frame is accepted."""

    interpolator: str = "flow"
    """Name of the interpolation method."""
    sync: Literal["auto", "sound", "motion"] = "auto"
    """Where the coarse offset comes from; auto takes the sound where it is clear, else the pictures."""
    min_psnr_db: float = 24.0
    """Lower PSNR of the colour-mapped synthetic blur means ``low-psnr``."""
    min_margin_db: float = 0.05
    """A score curve whose peak stands out less than this is ``static``."""
    tolerance_frames: float = 1.0
    """A frame whose own peak lies further off the clock line, in fine frames, is ``inconsistent``."""

    def __post_init__(self) -> None:
        if self.interpolator not in INTERPOLATORS:
            raise ValueError(f"interpolator must be one of {', '.join(INTERPOLATORS)}, got {self.interpolator!r}")
        if self.sync not in ("auto", "sound", "motion"):
            raise ValueError(f"sync must be auto, sound or motion, got {self.sync!r}")
        for name in ("min_psnr_db", "min_margin_db", "tolerance_frames"):
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be a number above 0, got {getattr(self, name)}")


@dataclass(frozen=True)
class TakeRecord:
    """What came of a take."""

    name: str
    n_frames: int
    n_accepted: int


def run(
    raw_dir: Path,
    calibration_path: Path,
    out_dir: Path,
    config: AlignConfig | None = None,
    *,
    executor: Executor | None = None,
    on_take: Callable[[TakeRecord, int], None] | None = None,
) -> Path:
    """Align every take of a raw directory; takes that are finished are skipped.

    Parameters
    ----------
    raw_dir : Path
        The raw directory.
    calibration_path : Path
        The rig's ``calibration.json``.
    out_dir : Path
        Where the takes' frames and ``alignment.csv`` are written.
    config : AlignConfig, optional
        How windows are looked for.
    executor : Executor, optional
        Where takes are aligned; serial by default.
    on_take : callable, optional
        Called with the record of each take that is done, and the number of takes.

    Returns
    -------
    Path
        The table, ``out_dir/alignment.csv``.

    Raises
    ------
    InputError
        If a take cannot be read, or does not fit the calibration.
    ConfigMismatchError
        If the folder was made with another configuration.
    """
    config = config or AlignConfig()
    executor = executor or SerialExecutor()
    raw = read_raw_directory(raw_dir)
    calibration = read_calibration(calibration_path)
    takes = read_takes(raw_dir)
    for take in takes:
        _check_files(take, calibration)
    manifest = AlignedManifest(
        rig=raw.rig.name,
        response=raw.rig.response,
        output_size=raw.rig.output_size,
        crop=calibration.crop,
        calibration_sha256=hashlib.sha256(calibration_path.read_bytes()).hexdigest(),
        config=dataclasses.asdict(config),
        takes=tuple(take.name for take in takes),
    )
    # Takes may be added to a session later; everything else decides what a finished take looks like.
    settings = {"stage": "align", "version": __version__, "rig_settings": dataclasses.asdict(raw.rig)}
    settings |= {name: value for name, value in dataclasses.asdict(manifest).items() if name != "takes"}
    with output_folder(out_dir, settings):
        align = partial(align_take, rig=raw.rig, calibration=calibration, out_dir=out_dir, config=config)
        for record in executor.map(align, takes):
            logger.info("%s: %d of %d frames accepted", record.name, record.n_accepted, record.n_frames)
            if on_take is not None:
                on_take(record, len(takes))
        frames: list[AlignedFrame] = []
        for take in takes:
            with AlignedTakeReader(aligned_take_path(out_dir, take.name)) as reader:
                frames += reader.read_frames()
        table = write_alignment(out_dir / ALIGNMENT_NAME, frames)
        # Last, because its presence says that the folder is finished.
        write_aligned_manifest(out_dir, manifest)
        return table


def _check_files(take: Take, calibration: Calibration) -> None:
    """Check, before anything is computed, that a take's files are of the sizes that the calibration was made for."""
    plates = (take.plate_blurry, take.plate_sharp)
    sizes = (calibration.size_blurry, calibration.size_sharp)
    for paths, plate, size in zip((take.blurry, take.sharp), plates, sizes, strict=True):
        expected = f"{size[0]}x{size[1]} as in the calibration"
        for path in paths:
            info = probe_video(path)
            if (info.width, info.height) != size:
                raise InputError(path, f"its frames are {info.width}x{info.height}", expected=expected)
        if plate is not None:
            height, width = read_image(plate).shape[:2]
            if (width, height) != size:
                raise InputError(plate, f"is {width}x{height}", expected=expected)


def _digest_inputs(take: Take) -> str:
    """Return a digest of all that a take's result depends on, but for the folder's configuration."""
    digest = hashlib.sha256(repr((take.category, take.subject, take.green_screen, take.split)).encode())
    for path in (*take.blurry, *take.sharp, take.plate_blurry, take.plate_sharp):
        digest.update(b"|")
        if path is not None:
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
    return digest.hexdigest()


def align_take(take: Take, rig: Rig, calibration: Calibration, out_dir: Path, config: AlignConfig) -> TakeRecord:
    """Align one take and write its file, unless it is there already and was made from the same inputs.

    Raises
    ------
    InputError
        If a video cannot be decoded or has another size than the calibration.
    """
    path = aligned_take_path(out_dir, take.name)
    inputs_sha256 = _digest_inputs(take)
    if not _is_made_from(path, inputs_sha256):
        scratch = path.with_name(f".partial-{take.name}")
        shutil.rmtree(scratch, ignore_errors=True)
        scratch.mkdir(parents=True)
        try:
            _Alignment(take, rig, calibration, config, scratch).write(path, inputs_sha256)
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    with AlignedTakeReader(path) as reader:
        return TakeRecord(take.name, len(reader.read_frames()), len(reader))


def _is_made_from(path: Path, inputs_sha256: str) -> bool:
    if not path.exists():
        return False
    with AlignedTakeReader(path) as reader:
        return reader.inputs_sha256 == inputs_sha256


@dataclass(frozen=True, eq=False)
class Track:
    """A recording in the output's geometry, on disk."""

    frames: NDArray[np.uint8]
    """(n, H, W, 3), a memory map."""
    times: NDArray[np.float64]
    """(n,) presentation times in seconds."""


def load_track(paths: Sequence[Path], warp: FrameWarp, size: tuple[int, int], scratch: Path) -> Track:
    """Decode a recording once and warp every frame once.

    Parameters
    ----------
    paths : sequence of Path
        The recording's files.
    warp : FrameWarp
        Into the output's geometry.
    size : tuple of int
        Width and height that the calibration was made for, in pixels.
    scratch : Path
        A file for the frames.

    Raises
    ------
    InputError
        If a file cannot be decoded, or its frames are of another size.
    """
    times = []
    shape: tuple[int, ...] = ()
    with scratch.open("wb") as file:
        for frame in iter_frames(paths):
            height, width = frame.image.shape[:2]
            if (width, height) != size:
                expected = f"{size[0]}x{size[1]} as in the calibration"
                raise InputError(paths[0], f"its frames are {width}x{height}", expected=expected)
            warped = warp(frame.image)
            shape = warped.shape
            file.write(warped.tobytes())
            times.append(frame.time_seconds)
    frames = np.memmap(scratch, dtype=np.uint8, mode="r", shape=(len(times), *shape))
    return Track(frames, np.array(times, dtype=np.float64))


class SharpSource:
    """The fine and the blur track of a sharp recording, in linear light, made on demand.

    Parameters
    ----------
    track : Track
        The original track.
    rig : Rig
        Upsampling, blur samples and camera response.
    interpolator : Interpolator
        Makes the frames between.
    """

    def __init__(self, track: Track, rig: Rig, interpolator: Interpolator) -> None:
        self._track = track
        self._rig = rig
        self._interpolator = interpolator

    @property
    def n_positions(self) -> int:
        """Number of windows that lie inside the recording."""
        n_fine = (len(self._track.times) - 1) * self._rig.upsampling + 1
        return max(n_fine - self._rig.frames_per_sequence + 1, 0)

    def center_time(self, position: float) -> float:
        """Return the time, in seconds, of the middle of the window at a position."""
        index = (position + (self._rig.frames_per_sequence - 1) / 2) / self._rig.upsampling
        n = len(self._track.times)
        if 0 <= index <= n - 1:
            return float(np.interp(index, np.arange(n), self._track.times))
        edge = 0 if index < 0 else n - 1
        return float(self._track.times[edge] + (index - edge) / self._rig.sharp_fps)

    def position_at(self, time_seconds: float) -> float:
        """Return the position, to a fraction, of the window whose middle is at a time."""
        times = self._track.times
        if times[0] <= time_seconds <= times[-1]:
            index = float(np.interp(time_seconds, times, np.arange(len(times))))
        else:
            edge = 0 if time_seconds < times[0] else len(times) - 1
            index = edge + (time_seconds - float(times[edge])) * self._rig.sharp_fps
        return index * self._rig.upsampling - (self._rig.frames_per_sequence - 1) / 2

    def blur_frames(self, steps: range) -> list[NDArray[np.float32]]:
        """Return the blur-track frames of a range of blur-track indices."""
        per_frame = self._rig.blur_steps_per_frame
        frames: list[NDArray[np.float32]] = []
        for index, group in itertools.groupby(steps, key=lambda step: step // per_frame):
            times = [step % per_frame / per_frame for step in group]
            frame_a = self._linear(index)
            if times == [0.0]:
                frames.append(frame_a)
            else:
                frames += self._interpolator.between(frame_a, self._linear(index + 1), times)
        return frames

    def window(self, position: int) -> tuple[NDArray[np.float32], list[NDArray[np.float32]]]:
        """Return the synthetic blur of the window at a position, and its sharp sequence."""
        rig = self._rig
        frames = self.blur_frames(window_steps(position, rig.frames_per_sequence, rig.blur_factor))
        return mean_frame(frames), frames[:: rig.blur_factor]

    def search_windows(self, track_size: tuple[int, int], size: tuple[int, int], scratch: Path) -> NDArray[np.float32]:
        """Return the synthetic blur of every window as a (P, h * w, 3) memory map.

        The blur track is made at ``track_size``, where flow still has something to hold on to, and its means are kept
        at ``size``.
        """
        rig, per_frame = self._rig, self._rig.blur_steps_per_frame
        times = [step / per_frame for step in range(per_frame)]

        def blur_track() -> Iterator[NDArray[np.float32]]:
            frame = _shrink(self._linear(0), track_size)
            for index in range(1, len(self._track.times)):
                following = _shrink(self._linear(index), track_size)
                yield from self._interpolator.between(frame, following, times)
                frame = following
            yield frame

        shape = (self.n_positions, size[0] * size[1], 3)
        windows = np.memmap(scratch, dtype=np.float32, mode="w+", shape=shape)
        for position, mean in enumerate(window_means(blur_track(), rig.frames_per_sequence, rig.blur_factor)):
            windows[position] = _shrink(mean, size).reshape(-1, 3)
        return windows

    def _linear(self, index: int) -> NDArray[np.float32]:
        return to_linear(np.asarray(self._track.frames[index]), self._rig.response)


def _shrink(image: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.float32)


class _Alignment:
    """The alignment of one take, step by step."""

    def __init__(self, take: Take, rig: Rig, calibration: Calibration, config: AlignConfig, scratch: Path) -> None:
        self._take, self._rig, self._config, self._scratch = take, rig, config, scratch
        crop = dataclasses.astuple(calibration.crop)
        self._warp_blurry = FrameWarp(np.eye(3), crop, rig.output_size, rig.response)
        self._warp_sharp = FrameWarp(calibration.homography, crop, rig.output_size, rig.response)
        self._fallback_color = np.eye(3, 4) if calibration.color is None else calibration.color
        self._blurry = load_track(take.blurry, self._warp_blurry, calibration.size_blurry, scratch / "blurry")
        sharp = load_track(take.sharp, self._warp_sharp, calibration.size_sharp, scratch / "sharp")
        self._sharp = SharpSource(sharp, rig, make_interpolator(config.interpolator))
        if self._sharp.n_positions < 1:
            raise InputError(take.sharp[0], f"holds {len(sharp.times)} frames", expected="at least one whole window")

    def write(self, path: Path, inputs_sha256: str) -> None:
        """Align the take and write its file, with the digest of what it was made from."""
        n = len(self._blurry.times)
        curves, margins_db, confident = self._search()
        clock = self._fit_clock(curves.peak, confident)
        frames: list[AlignedFrame] = []
        kept = self._scratch / "samples"
        with kept.open("wb") as file:
            for index in range(n):
                frame, sample = self._align_frame(index, curves, margins_db[index], confident[index], clock)
                frames.append(frame)
                if frame.accepted and sample is not None:
                    file.write(sample.blurry.tobytes())
                    file.write(sample.sharp.tobytes())
        samples = self._read_samples(kept)
        write_aligned_take(path, self._take, frames, samples, curves, clock, self._plate(), inputs_sha256)

    def _plate(self) -> NDArray[np.uint8] | None:
        """Return the clean plate as the blurry camera sees it; the sharp camera's stands in where it is missing."""
        if self._take.green_screen and self._take.plate_blurry is not None:
            return self._warp_blurry(read_image(self._take.plate_blurry))
        if self._take.green_screen and self._take.plate_sharp is not None:
            linear = to_linear(self._warp_sharp(read_image(self._take.plate_sharp)), self._rig.response)
            return encode(apply_color_map(self._fallback_color, linear), self._rig.response)
        return None

    def _read_samples(self, path: Path) -> Iterator[AlignedSample]:
        width, height = self._rig.output_size
        shape = (1 + self._rig.frames_per_sequence, height, width, 3)
        n_bytes = math.prod(shape)
        with path.open("rb") as file:
            while data := file.read(n_bytes):
                pictures = np.frombuffer(data, dtype=np.uint8).reshape(shape)
                yield AlignedSample(pictures[0], pictures[1:])

    def _search(self) -> tuple[ScoreCurves, NDArray[np.float64], NDArray[np.bool_]]:
        """Score every window in range of the coarse offset.

        Return the curves, how far each frame's peak stands out in dB, and whose peaks may tell the clock.
        """
        rig, times = self._rig, self._blurry.times
        scale = max(1, min(_MAX_TRACK_SCALE, min(rig.output_size) // _MIN_TRACK_SIZE_PX))
        track_size = (rig.output_size[0] // scale, rig.output_size[1] // scale)
        size = (max(track_size[0] // 2, 1), max(track_size[1] // 2, 1))
        windows = self._sharp.search_windows(track_size, size, self._scratch / "windows")
        small = np.stack([_shrink(to_linear(np.asarray(f), rig.response), size) for f in self._blurry.frames])
        offset_seconds = self._coarse_offset(small, windows, size)
        radius = math.ceil(rig.search_range_seconds * rig.fine_fps)
        n, n_windows = len(times), 2 * radius + 1
        curves = ScoreCurves(np.zeros(n, np.int64), np.full((n, n_windows), np.nan, np.float32), np.full(n, np.nan))
        margins_db, confident = np.zeros(n), np.zeros(n, dtype=bool)
        if offset_seconds is None:
            return curves, margins_db, confident
        for index in range(n):
            first = round(self._sharp.position_at(offset_seconds + times[index])) - radius
            curves.first_position[index] = first
            low, high = max(first, 0), min(first + n_windows, len(windows))
            pixels = small[index].reshape(-1, 3)
            unclipped = pixels.max(axis=1) < _CLIPPED_LINEAR
            if high <= low or not unclipped.any():
                continue
            errors = np.full(n_windows, np.nan)
            errors[low - first : high - first] = window_errors(windows[low:high], pixels, unclipped)
            curves.psnr[index] = errors_to_psnr(errors)
            peak = find_peak(errors)
            margins_db[index] = peak.margin_db
            if peak.margin_db >= self._config.min_margin_db:
                curves.peak[index] = first + peak.index + peak.offset
                confident[index] = not peak.at_edge and curves.psnr[index, peak.index] >= self._config.min_psnr_db
        return curves, margins_db, confident

    def _coarse_offset(
        self, small: NDArray[np.float32], windows: NDArray[np.float32], size: tuple[int, int]
    ) -> float | None:
        """Return the sharp camera's time at the blurry camera's time 0, or None where nothing tells it."""
        if self._config.sync in ("auto", "sound"):
            offset_seconds = self._offset_from_sound()
            if offset_seconds is not None:
                return offset_seconds
            logger.info("%s: the sound does not tell the offset", self._take.name)
        if self._config.sync in ("auto", "motion"):
            pictures = [_tiny(picture) for picture in small]
            candidates = [_tiny(window.reshape(size[1], size[0], 3)) for window in windows]
            stride = round(self._rig.fine_fps / self._rig.blurry_fps)
            try:
                position, confidence = offset_from_motion(np.stack(pictures), np.stack(candidates), stride)
            except ValueError as error:
                logger.warning("%s: the pictures do not tell the offset: %s", self._take.name, error)
                return None
            if confidence >= _MIN_MOTION_CONFIDENCE:
                return self._sharp.center_time(position) - float(self._blurry.times[0])
            logger.warning("%s: the pictures do not tell the offset", self._take.name)
        return None

    def _offset_from_sound(self) -> float | None:
        blurry, sharp = read_sound(self._take.blurry), read_sound(self._take.sharp)
        if blurry is None or sharp is None or blurry.rate != sharp.rate:
            return None
        try:
            offset = offset_from_sound(blurry.samples, sharp.samples, blurry.rate)
        except ValueError as error:
            logger.info("%s: %s", self._take.name, error)
            return None
        if offset.confidence < _MIN_SOUND_CONFIDENCE:
            return None
        return offset.seconds + sharp.start_seconds - blurry.start_seconds

    def _fit_clock(self, peaks: NDArray[np.float64], confident: NDArray[np.bool_]) -> ClockModel | None:
        sharp_times = np.array([self._sharp.center_time(peak) for peak in peaks[confident]])
        tolerance_seconds = self._config.tolerance_frames / self._rig.fine_fps
        try:
            offset, drift, residual, inliers = fit_clock(self._blurry.times[confident], sharp_times, tolerance_seconds)
        except ValueError as error:
            logger.warning("%s: %s", self._take.name, error)
            return None
        return ClockModel(offset, drift, residual, int(inliers.sum()))

    def _align_frame(
        self, index: int, curves: ScoreCurves, margin_db: float, confident: bool, clock: ClockModel | None
    ) -> tuple[AlignedFrame, AlignedSample | None]:
        time_seconds = float(self._blurry.times[index])
        scores, first = curves.psnr[index], int(curves.first_position[index])
        has_scores = not np.all(np.isnan(scores))
        best = int(np.nanargmax(scores)) if has_scores else 0
        if clock is None:
            position_fine = float(first + best)
        else:
            position_fine = self._sharp.position_at(clock.sharp_time(time_seconds))
        position = round(position_fine)
        in_range = 0 <= position < self._sharp.n_positions
        color, psnr_db, sample = self._fallback_color, math.nan, None
        if in_range:
            color, psnr_db, sample = self._make_sample(index, position)
        off_line = abs(curves.peak[index] - position_fine) > self._config.tolerance_frames
        reason = ""
        if clock is None:
            reason = "no-clock"
        elif not in_range:
            reason = "out-of-range"
        elif not has_scores:
            reason = "clipped"
        elif confident and off_line:
            reason = "inconsistent"
        elif psnr_db < self._config.min_psnr_db:
            reason = "low-psnr"
        elif margin_db < self._config.min_margin_db:
            reason = "static"
        elif off_line:
            reason = "inconsistent"
        frame = AlignedFrame(
            take=self._take.name,
            blurry_index=index,
            blurry_time=time_seconds,
            position=position,
            position_fine=position_fine,
            psnr=psnr_db,
            margin_db=float(margin_db),
            accepted=not reason,
            reason=reason,
            color=color,
        )
        return frame, sample

    def _make_sample(self, index: int, position: int) -> tuple[NDArray[np.float64], float, AlignedSample]:
        response: Response = self._rig.response
        image = np.asarray(self._blurry.frames[index])
        blur, sequence = self._sharp.window(position)
        color = self._fit_color(blur, to_linear(image, response))
        synthetic = encode(apply_color_map(color, blur), response)
        sharp = np.stack([encode(apply_color_map(color, frame), response) for frame in sequence])
        return color, psnr(synthetic, image), AlignedSample(image, sharp)

    def _fit_color(self, blur: NDArray[np.float32], target: NDArray[np.float32]) -> NDArray[np.float64]:
        source_colors = blur[::_COLOR_FIT_STRIDE, ::_COLOR_FIT_STRIDE].reshape(-1, 3)
        target_colors = target[::_COLOR_FIT_STRIDE, ::_COLOR_FIT_STRIDE].reshape(-1, 3)
        unclipped = np.maximum(source_colors, target_colors).max(axis=1) < _CLIPPED_LINEAR
        try:
            return fit_color_map(source_colors[unclipped], target_colors[unclipped])
        except ValueError:
            # A picture of one colour says nothing about the others; the checker does.
            return self._fallback_color


def _tiny(image: NDArray[np.float32]) -> NDArray[np.float32]:
    gray = cv2.resize(np.asarray(image).mean(axis=2), (_MOTION_SIZE_PX, _MOTION_SIZE_PX), interpolation=cv2.INTER_AREA)
    return np.asarray(gray, dtype=np.float32).ravel()
