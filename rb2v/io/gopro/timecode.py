"""The time of day of a recording's first frame."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

from rb2v.io.container import Box, find_boxes, find_stream, open_container, read_edits, read_tag, unpack_box

_TIMECODE = re.compile(r"(\d\d):([0-5]\d):([0-5]\d)([:;.])(\d{2,3})", re.ASCII)
_DAY_SECONDS = 86_400.0  # timecodes begin again at midnight
_TABLE_HEAD_BYTES = 8  # version, flags and count, before the entries of a sample description


def read_timecode(path: Path) -> float | None:
    """Read the time of day of the first frame in seconds since midnight, or return None where it is not stated.

    Frames are counted as the timecode track says, which may count 25 a second for 100 that are stored. Where there is
    no such track, as outside of MP4 and MOV, they are counted as the file plays them, whatever they were recorded at.

    Raises
    ------
    InputError
        If the file is missing, or is no container.
    """
    with open_container(path) as container:
        texts = [read_tag(source.metadata, "timecode") for source in (*container.streams, container)]
        stream = find_stream(container)
        # The mean rate of a file that lacks frames is too low, by minutes for a time in the afternoon.
        rate = None if stream is None else stream.guessed_rate or stream.average_rate
    text = next((text for text in texts if text), None)
    if text is None:
        return None
    counted = _read_track(path)
    if counted is None:
        return None if not rate else parse_timecode(text, rate)
    seconds = parse_timecode(text, counted.rate)
    return None if seconds is None else (seconds + counted.hidden_seconds) % _DAY_SECONDS


@dataclass(frozen=True)
class _TimecodeTrack:
    rate: Fraction
    """Frames per second, of which the timecode counts."""
    hidden_seconds: float
    """What an edit list hides at its beginning."""


def _read_track(path: Path) -> _TimecodeTrack | None:
    """Return the timecode track of an MP4 or MOV file, None where there is none."""
    with path.open("rb") as file:
        for movie in find_boxes(file, [Box(b"", 0, 0, file.seek(0, 2))], b"moov"):
            for track in find_boxes(file, [movie], b"trak"):
                tables = find_boxes(file, [track], b"mdia", b"minf", b"stbl", b"stsd")
                entries = [replace(table, content=table.content + _TABLE_HEAD_BYTES) for table in tables]
                for entry in find_boxes(file, entries, b"tmcd"):
                    # Of QuickTime File Format, "Timecode sample description": time scale and frame duration.
                    scale, duration = unpack_box(file, entry, ">II", 16) or (0, 0)
                    if scale and duration:
                        edits = read_edits(file, movie, track)
                        return _TimecodeTrack(Fraction(scale, duration), edits[0].start_seconds if edits else 0.0)
    return None


def parse_timecode(text: str, rate: Fraction) -> float | None:
    """Return the seconds since midnight that a timecode states, or None where it is malformed.

    Parameters
    ----------
    text : str
        ``HH:MM:SS:FF``, or ``HH:MM:SS;FF`` where frame numbers are dropped so that it keeps to the time of day.
    rate : Fraction
        Frames per second of the video.

    Examples
    --------
    >>> parse_timecode("01:00:00:50", Fraction(100))
    3600.5
    """
    match = _TIMECODE.fullmatch(text)
    if match is None or rate <= 0:
        return None
    hours, minutes, seconds, frames = (int(match[group]) for group in (1, 2, 3, 5))
    n_per_second = max(round(rate), 1)
    if hours > 23 or frames >= n_per_second:
        return None
    total_seconds = 3600 * hours + 60 * minutes + seconds
    if match[4] != ":" and n_per_second % 30 == 0:
        # Two numbers in 30 are left out at each minute but every tenth (SMPTE ST 12-1).
        n_minutes = 60 * hours + minutes
        n_dropped = n_per_second // 15 * (n_minutes - n_minutes // 10)
        return float((total_seconds * n_per_second + frames - n_dropped) / rate)
    # Where no number is dropped the timecode counts frames, and runs behind the clock at 29.97 of them.
    return float((total_seconds * n_per_second + frames) / rate)
