"""The time of day of a recording's first frame."""

from __future__ import annotations

import re
from fractions import Fraction
from pathlib import Path

import av

from rb2v.io.container import open_container
from rb2v.io.picture_track import find_stream

_TIMECODE = re.compile(r"(\d\d):([0-5]\d):([0-5]\d)([:;.])(\d{2,3})", re.ASCII)


def read_timecode(path: Path) -> float | None:
    """Read the time of day of the first frame in seconds since midnight, or return None where it is not stated.

    Raises
    ------
    InputError
        If the file is missing, or is no container.
    """
    with open_container(path) as container:
        return timecode_of(container)


def timecode_of(container: av.container.InputContainer) -> float | None:
    """Return the time of day of the first frame of an open file, None where it is not stated."""
    texts = [stream.metadata.get("timecode") for stream in container.streams]
    texts.append(container.metadata.get("timecode"))
    stream = find_stream(container)
    rate = None if stream is None else stream.average_rate
    text = next((text for text in texts if text), None)
    return None if text is None or not rate else parse_timecode(text, rate)


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
