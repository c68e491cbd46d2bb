"""Descriptions of recordings by their files: frame times, format, clock and telemetry."""

from __future__ import annotations

import itertools
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from rb2v.artifacts import FormatOverride
from rb2v.core.frame_times import (
    count_missing_frames,
    difference_levels,
    even_times,
    find_repeats,
    frame_step,
    thumbnail,
)
from rb2v.core.planes import luma_of
from rb2v.errors import InputError
from rb2v.io.container import find_cuts, read_tag
from rb2v.io.gopro import Telemetry, read_telemetry, read_timecode
from rb2v.io.picture_track import NO_OVERRIDE, PictureFormat, PictureTrack, open_pictures
from rb2v.io.sound import read_sound

_INTRA_CODECS = (
    "mjpeg",
    "prores",
    "dnxhd",
    "dvvideo",
    "ffv1",
    "huffyuv",
    "ffvhuff",
    "utvideo",
    "rawvideo",
    "v210",
    "gif",
)
_MAX_COMPARED = 3000  # frames; half a minute of the sharp camera, so that long recordings are checked in seconds
_SAME_BYTES = 0.02  # relative; repeats encoded by themselves take the same bytes, or nearly where a rate is kept
_SMALL_PACKET = 0.35  # of the larger packets nearby; x264, x265, VP9 and AV1 spend below 0.2 on a repeat
_NEIGHBORS = 6  # packets to either side
_MAX_SHOWN_SECONDS = 0.5  # no frame of a recording is shown for as long
_DURATION = re.compile(r"(\d+):(\d\d):(\d\d(?:\.\d+)?)", re.ASCII)
_HEARD_SECONDS = 10.0  # no scene is silent for as long
_FIRST_YEAR = 1990  # a clock that was never set states the container's epoch, 1904 or 1970


@dataclass(frozen=True, eq=False)
class Recording:
    """What the files of one recording state."""

    paths: tuple[Path, ...]
    """Its files in order: the chapters of one recording."""
    format: PictureFormat
    """How the frames of the first file are stored."""
    frame_times: NDArray[np.float64]
    """(n,) presentation times in seconds, ascending, from the start of the first file."""
    repeated: NDArray[np.bool_]
    """(n,) whether a frame is known to repeat the one before it, see `find_repeats`; of each file's first minute or
    so, where the sizes of its packets give reason to look."""
    created: datetime | None
    """When the recording began by the camera's clock, to a second."""
    timecode_seconds: float | None
    """Time of day of the first frame by the camera's clock."""
    telemetry: Telemetry | None
    cuts: tuple[float, ...] = ()
    """Times in seconds at which an edit list goes on elsewhere, because a part was cut out; those behind are wrong."""
    is_silent: bool = False
    """Whether there is a sound track, and nothing is heard in its first seconds."""
    problems: tuple[str, ...] = ()
    """What does not fit together, one line each."""

    @property
    def width(self) -> int:
        """Of upright frames, in pixels."""
        return self.format.width

    @property
    def height(self) -> int:
        """Of upright frames, in pixels."""
        return self.format.height

    @property
    def full_range(self) -> bool | None:
        """Whether values span 0..255; None where it is not stated."""
        color = self.format.color
        return color.full_range if color.range_stated else None

    @property
    def has_audio(self) -> bool:
        """Whether the first file has a sound track."""
        return self.format.has_audio

    @property
    def n_frames(self) -> int:
        """How many images the files hold."""
        return len(self.frame_times)

    @property
    def step_seconds(self) -> float:
        """Usual time between neighboring frames, 0 for a single one."""
        return frame_step(self.frame_times)

    @property
    def frame_rate(self) -> float:
        """Frames per second by the times of the frames; the stated rate for a single frame."""
        step = self.step_seconds
        return 1 / step if step > 0 else self.format.nominal_fps / self.format.time_scale

    @property
    def duration_seconds(self) -> float:
        """From the first frame until the last one ends."""
        return float(self.frame_times[-1] - self.frame_times[0] + self.step_seconds) if self.n_frames else 0.0


def read_recording(paths: Sequence[Path], override: FormatOverride = NO_OVERRIDE) -> Recording:
    """Read what the files of one recording state; only the first frame of each is decoded.

    Parameters
    ----------
    paths : sequence of Path
        The files in order; times resume from one to the next.
    override : FormatOverride, optional
        What is known better than the files state it.

    Raises
    ------
    InputError
        If a file is missing, is not a video or is cut short before its index, or holds no frame.
    """
    times: list[NDArray[np.float64]] = []
    repeated: list[NDArray[np.bool_]] = []
    cuts: list[float] = []
    problems: list[str] = []
    first: _File | None = None
    start_seconds = 0.0
    for path in paths:
        file = _read_file(path, override)
        problems += [f"{path.name}: {problem}" for problem in file.problems]
        if first is None:
            first = file
        elif difference := _difference(file.format, first.format):
            problems.append(f"{path.name}: its frames are {difference[0]}, and {paths[0].name}'s {difference[1]}")
        times.append(start_seconds + file.times)
        cuts += [start_seconds + cut for cut in file.cuts]
        repeated.append(file.repeated)
        start_seconds += float(file.times[-1]) + (frame_step(file.times) or file.last_seconds)
    if first is None:
        raise ValueError("a recording has at least one file")
    return Recording(
        paths=tuple(paths),
        format=first.format,
        frame_times=np.concatenate(times),
        repeated=np.concatenate(repeated),
        created=first.created,
        timecode_seconds=first.timecode_seconds,
        telemetry=read_telemetry(paths, override),
        cuts=tuple(cuts),
        is_silent=first.format.has_audio and _is_silent(paths[0]),
        problems=tuple(problems),
    )


@dataclass(frozen=True, eq=False)
class _File:
    format: PictureFormat
    times: NDArray[np.float64]
    repeated: NDArray[np.bool_]
    last_seconds: float
    """How long the last frame is shown where it is the only one."""
    created: datetime | None
    timecode_seconds: float | None
    cuts: tuple[float, ...]
    problems: tuple[str, ...]


def _read_file(path: Path, override: FormatOverride) -> _File:
    with open_pictures(path, override) as track:
        n_stated = track.stream.frames
        times, sizes = track.read_packets()
        n_absent = _count_absent(track, path)
        problems = []
        if n_absent:
            problems.append(f"{n_absent} of {n_stated} frames lie beyond the end of the file; it is cut short")
        elif 0 < len(times) < track.count_shown() - 1:
            problems.append(f"holds {len(times)} of {track.count_shown()} frames; it is cut short")
        elif track.n_damaged:
            problems.append(f"{track.n_damaged} packets of its frames are damaged")
        unique = np.unique(times)
        if len(unique) < len(times):
            problems.append(f"{len(times) - len(unique)} frames have the time of another one")
        if not len(unique):
            raise InputError(path, "holds no frame", expected="a video")
        step_seconds = frame_step(unique)
        stated_seconds = _stated_seconds(track.stream) * track.time_scale
        if stated_seconds - (unique[-1] + step_seconds) > _MAX_SHOWN_SECONDS:
            problems.append(f"its frames end at {unique[-1]:.2f} s of {stated_seconds:.2f} s; it is cut short")
        cuts = find_cuts(path, track.stream.id, step_seconds / track.time_scale)
        nominal_fps = track.nominal_fps / track.time_scale
        created = _parse_created(read_tag(track.container.metadata, "creation_time"))
    with open_pictures(path, override) as track:
        stored = track.read_format()
    repeated = np.zeros(len(unique), dtype=bool)
    if not problems and may_repeat(sizes[np.argsort(times)], stored.codec):
        found = _find_repeated_frames(path, override)
        repeated[: len(found)] = found[: len(unique)]
    return _File(
        format=stored,
        times=even_times(unique, stored.tick_seconds),
        repeated=repeated,
        last_seconds=1 / nominal_fps if nominal_fps else 0.0,
        created=created,
        timecode_seconds=read_timecode(path),
        cuts=tuple(cut * track.time_scale for cut in cuts),
        problems=tuple(problems),
    )


def _stated_seconds(stream: av.VideoStream) -> float:
    """Return how long a track lasts as MKV and WebM files state it, 0 where nothing does."""
    match = _DURATION.fullmatch(read_tag(stream.metadata, "duration") or "")
    return 0.0 if match is None else 3600 * int(match[1]) + 60 * int(match[2]) + float(match[3])


def _is_silent(path: Path) -> bool:
    try:
        sound = read_sound([path], max_seconds=_HEARD_SECONDS)
    except InputError:
        return False  # damage is another matter
    return sound is not None and sound.is_silent


def may_repeat(sizes: NDArray[np.int64], codec: str) -> bool:
    """Return whether frames may repeat those before them, by the bytes that they take as they are shown.

    An encoder that predicts frames from others spends next to nothing on a repeat; one that does not spends as much
    as on the frame before.
    """
    sizes = sizes[:_MAX_COMPARED]
    if codec in _INTRA_CODECS:
        return bool(np.any(np.abs(np.diff(sizes)) <= _SAME_BYTES * sizes[1:]))
    if len(sizes) < 3:
        return False
    reach = min(len(sizes) - 1, _NEIGHBORS)
    around = np.lib.stride_tricks.sliding_window_view(np.pad(sizes, reach, mode="reflect"), 2 * reach + 1)
    return bool(np.any(sizes < _SMALL_PACKET * np.percentile(around, 85, axis=1)))


def _find_repeated_frames(path: Path, override: FormatOverride) -> NDArray[np.bool_]:
    differences, before = [], None
    with open_pictures(path, override) as track:
        for _, image in itertools.islice(track.frames(), _MAX_COMPARED):
            seen = thumbnail(luma_of(image))
            if before is not None:
                differences.append(difference_levels(before, seen))
            before = seen
    return find_repeats(np.array(differences))


def _difference(file: PictureFormat, first: PictureFormat) -> tuple[str, str] | None:
    """Return how the frames of two files differ, in words for each."""
    if (file.width, file.height) != (first.width, first.height):
        return f"of {file.width}x{file.height}", f"of {first.width}x{first.height}"
    if file.orientation != first.orientation:
        return f"turned by {file.orientation}", f"by {first.orientation}"
    if (file.color.matrix, file.color.full_range) != (first.color.matrix, first.color.full_range):
        return f"of {file.color}", str(first.color)
    return None


def _count_absent(track: PictureTrack, path: Path) -> int:
    """Return how many frames of the index are not in the file."""
    n_bytes = path.stat().st_size
    entries = track.stream.index_entries
    return sum(entry.pos + entry.size > n_bytes for entry in entries) if track.stream.frames else 0


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
    return count_missing_frames(recording.frame_times)
