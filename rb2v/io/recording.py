"""What a camera's recording is, by its files and without decoding: pictures' times, format, clock and telemetry."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from rb2v.errors import InputError
from rb2v.io.container import open_container
from rb2v.io.gopro import Telemetry, read_telemetry, timecode_of

VIDEO_SUFFIXES = (".mp4", ".mov", ".m4v", ".mkv", ".avi", ".webm", ".gif")

_FULL_RANGE = 2  # AVCOL_RANGE_JPEG of FFmpeg
_LIMITED_RANGE = 1  # AVCOL_RANGE_MPEG of FFmpeg
_MAX_FRAMES = 10_000_000  # a day at 100 per second is 8.64 million
_FIRST_YEAR = 1990  # a clock that was never set states the container's epoch, 1904 or 1970


@dataclass(frozen=True, eq=False)
class Recording:
    """What the files of one recording state."""

    paths: tuple[Path, ...]
    """Its files in order: the chapters of one recording."""
    width: int
    height: int
    codec: str
    pixel_format: str
    full_range: bool | None
    """Whether values span 0..255; None where it is not stated."""
    frame_times: NDArray[np.float64]
    """(n,) presentation times in seconds, ascending, from the start of the first file."""
    nominal_fps: float
    """The frame rate that the container states, 0 where it states none."""
    tick_seconds: float
    """The container's unit of time, to which presentation times are rounded."""
    has_audio: bool
    created: datetime | None
    """When the recording began by the camera's clock, to a second."""
    timecode_seconds: float | None
    """Time of day of the first frame by the camera's clock."""
    telemetry: Telemetry | None
    problems: tuple[str, ...] = ()
    """What does not fit together, one line each."""

    @property
    def n_frames(self) -> int:
        """How many pictures the files hold."""
        return len(self.frame_times)

    @property
    def step_seconds(self) -> float:
        """Median time between neighboring frames, 0 for a single one."""
        return float(np.median(np.diff(self.frame_times))) if self.n_frames > 1 else 0.0

    @property
    def frame_rate(self) -> float:
        """Frames per second by the times of the frames; the stated rate for a single frame.

        The mean over all steps that are no gap, because times may be rounded to milliseconds.
        """
        if self.step_seconds <= 0:
            return self.nominal_fps
        steps = np.diff(self.frame_times)
        usual = steps[np.abs(steps - self.step_seconds) < self.step_seconds / 2]
        return float(1 / np.mean(usual)) if len(usual) else self.nominal_fps

    @property
    def duration_seconds(self) -> float:
        """From the first frame until the last one ends."""
        return float(self.frame_times[-1] - self.frame_times[0] + self.step_seconds) if self.n_frames else 0.0


def read_recording(paths: Sequence[Path]) -> Recording:
    """Read what the files of one recording state.

    Parameters
    ----------
    paths : sequence of Path
        The files in order; times go on from one to the next.

    Raises
    ------
    InputError
        If a file is missing, is no video or is cut short before its index, or holds no frame.
    """
    times: list[NDArray[np.float64]] = []
    problems: list[str] = []
    first: _File | None = None
    start_seconds = 0.0
    for path in paths:
        file = _read_file(path)
        problems += [f"{path.name}: {problem}" for problem in file.problems]
        if first is None:
            first = file
        elif (file.width, file.height) != (first.width, first.height):
            sizes = f"{file.width}x{file.height}, and {paths[0].name} of {first.width}x{first.height}"
            problems.append(f"{path.name}: its frames are of {sizes}")
        times.append(start_seconds + file.times)
        start_seconds += float(file.times[-1]) + file.last_seconds
    if first is None:
        raise ValueError("a recording has at least one file")
    return Recording(
        paths=tuple(paths),
        width=first.width,
        height=first.height,
        codec=first.codec,
        pixel_format=first.pixel_format,
        full_range=first.full_range,
        frame_times=np.concatenate(times),
        nominal_fps=first.nominal_fps,
        tick_seconds=first.tick_seconds,
        has_audio=first.has_audio,
        created=first.created,
        timecode_seconds=first.timecode_seconds,
        telemetry=read_telemetry(paths),
        problems=tuple(problems),
    )


@dataclass(frozen=True, eq=False)
class _File:
    width: int
    height: int
    codec: str
    pixel_format: str
    full_range: bool | None
    times: NDArray[np.float64]
    last_seconds: float
    """How long the last frame is shown."""
    nominal_fps: float
    tick_seconds: float
    has_audio: bool
    created: datetime | None
    timecode_seconds: float | None
    problems: tuple[str, ...]


def _read_file(path: Path) -> _File:
    with open_container(path) as container:
        if not container.streams.video or getattr(container.streams.video[0], "codec_context", None) is None:
            raise InputError(path, "holds no picture track that can be read", expected="a video")
        stream = container.streams.video[0]
        context = stream.codec_context
        if not (context.width and context.height):
            raise InputError(path, "does not state how large its pictures are", expected="a video")
        rate = stream.average_rate or stream.guessed_rate
        pixel_format = context.pix_fmt or ""
        full_range = {_FULL_RANGE: True, _LIMITED_RANGE: False}.get(int(context.color_range))
        ticks = _frame_ticks(container, stream, path)
        problems = []
        n_absent = _count_absent(stream, path)
        if n_absent:
            problems.append(f"{n_absent} of {stream.frames} frames lie beyond the end of the file; it is cut short")
        elif 0 < len(ticks) < stream.frames - 1:
            problems.append(f"holds {len(ticks)} of {stream.frames} frames; it is cut short")
        base = float(stream.time_base or Fraction(1, av.time_base))
        nominal_fps = float(rate or 0.0)
        unique = np.unique(ticks)
        if len(unique) < len(ticks):
            problems.append(f"{len(ticks) - len(unique)} frames have the time of another one")
        if not len(unique):
            raise InputError(path, "holds no frame", expected="a video")
        step = float(np.median(np.diff(unique))) * base if len(unique) > 1 else 0.0
        return _File(
            width=context.width,
            height=context.height,
            codec=context.name,
            pixel_format=pixel_format,
            full_range=True if pixel_format.startswith("yuvj") else full_range,
            times=np.asarray(unique * base, dtype=np.float64),
            last_seconds=step or (1 / nominal_fps if nominal_fps else 0.0),
            nominal_fps=nominal_fps,
            tick_seconds=base,
            has_audio=bool(container.streams.audio),
            created=_parse_created(container.metadata.get("creation_time")),
            timecode_seconds=timecode_of(container),
            problems=tuple(problems),
        )


def _frame_ticks(container: av.container.InputContainer, stream: av.VideoStream, path: Path) -> NDArray[np.int64]:
    """Return the presentation times of all frames that are shown, in units of the stream, in any order."""
    entries = stream.index_entries
    # Without frames that are coded ahead of others the index states when frames are shown, and nothing has to be read.
    if stream.frames and len(entries) == stream.frames and not stream.codec_context.has_b_frames:
        return np.array([entry.timestamp for entry in entries if not entry.is_discard], dtype=np.int64)
    for other in container.streams:
        if other.index != stream.index:
            other.discard = av.stream.Discard.all
    ticks: list[int] = []
    try:
        for packet in container.demux(stream):
            tick = packet.dts if packet.pts is None else packet.pts
            if tick is not None and packet.size and not packet.is_discard:
                ticks.append(tick)
            if len(ticks) > _MAX_FRAMES:
                raise InputError(path, f"holds more than {_MAX_FRAMES} frames", expected="a recording")
    except av.FFmpegError as error:
        raise InputError(path, f"cannot be read to its end ({error.strerror}); is it cut short?") from error
    return np.array(ticks, dtype=np.int64)


def _count_absent(stream: av.VideoStream, path: Path) -> int:
    """Return how many frames of the index are not in the file."""
    n_bytes = path.stat().st_size
    return sum(entry.pos + entry.size > n_bytes for entry in stream.index_entries) if stream.frames else 0


def _parse_created(text: str | None) -> datetime | None:
    """Return the time that a container states, None where it states none or its clock was never set."""
    try:
        created = datetime.fromisoformat(text or "")
    except ValueError:
        return None
    # Cameras state their own time of day, and containers call it UTC.
    return created.replace(tzinfo=UTC) if created.year >= _FIRST_YEAR else None


def count_missing(recording: Recording) -> int:
    """Return how many frames a recording lacks by the gaps between those that are there."""
    step = recording.step_seconds
    if step <= 0:
        return 0
    gaps = np.round(np.diff(recording.frame_times) / step) - 1
    total = float(gaps[gaps > 0].sum())
    return int(min(total, _MAX_FRAMES)) if math.isfinite(total) else _MAX_FRAMES
