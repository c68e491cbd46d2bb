"""Opening of container files, and the boxes of an MP4 file that FFmpeg keeps to itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import av
from av.stream import Disposition

from rb2v.errors import InputError, require_file

_CONTAINERS = "mov,mp4,m4a,3gp,3g2,mj2,matroska,webm,avi,gif,mpegts,mpeg,mxf,asf,flv,ogg,wav"
VIDEO_SUFFIXES = (
    *(".mp4", ".mov", ".m4v", ".mkv", ".avi", ".webm", ".gif", ".3gp"),
    *(".ts", ".mts", ".m2ts", ".mpg", ".mpeg", ".mxf", ".wmv", ".flv"),
)
"""Of files that may be videos, in lower case; camcorders write AVCHD as .mts, and MXF."""

_MAX_BOXES = 1000  # a recording has a dozen at each level


def open_container(path: Path) -> av.container.InputContainer:
    """Open a recording for reading.

    Raises
    ------
    InputError
        If the file is missing, or is no container of pictures or sound.
    """
    require_file(path, "a video")
    try:
        # Containers only: a playlist or a script would name further files.
        return av.open(f"file:{path}", "r", options={"format_whitelist": _CONTAINERS, "protocol_whitelist": "file"})
    except (av.FFmpegError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        if isinstance(error, PermissionError):
            raise InputError(path, f"cannot be read ({reason})") from error
        raise InputError(path, f"is no video, or is cut short ({reason})", expected="a video such as MP4") from error


def find_stream(container: av.container.InputContainer) -> av.VideoStream | None:
    """Return the image track of an open file: no cover or thumbnail; of several the default one, then the largest."""
    known = [stream for stream in container.streams.video if getattr(stream, "codec_context", None) is not None]
    return max(known, key=_rank, default=None)


def _rank(stream: av.VideoStream) -> tuple[bool, bool, bool, int]:
    disposition = Disposition(stream.disposition)
    is_cover = bool(disposition & (Disposition.attached_pic | Disposition.timed_thumbnails | Disposition.still_image))
    context = stream.codec_context
    # Previews are stored as tracks of one frame, too.
    return not is_cover, stream.frames != 1, bool(disposition & Disposition.default), context.width * context.height


def read_tag(metadata: Mapping[str, str], key: str) -> str | None:
    """Return a tag of a file or a track; MKV and WebM write their keys in capital letters."""
    return metadata.get(key) or metadata.get(key.upper())


@dataclass(frozen=True)
class Box:
    """Where a box of an MP4 file lies."""

    kind: bytes
    start: int
    """Offset of its header in the file."""
    content: int
    """Offset of what is in it."""
    end: int


def iter_boxes(file: BinaryIO, start: int, end: int) -> Iterator[Box]:
    """Walk over the boxes that lie side by side in a part of an MP4 file; damage ends the walk.

    Parameters
    ----------
    file : binary file
        Opened for reading.
    start, end : int
        The part, as offsets in the file.

    Yields
    ------
    Box
        At most 1000 of them, so that a file of nothing but headers takes no time.
    """
    for _ in range(_MAX_BOXES):
        file.seek(start)
        header = file.read(8)
        if len(header) < 8 or start + 8 > end:
            return
        size, content = int.from_bytes(header[:4], "big"), start + 8
        if size == 1:
            size, content = int.from_bytes(file.read(8), "big"), start + 16
        elif size == 0:
            size = end - start
        if start + size < content or start + size > end:
            return
        yield Box(header[4:], start, content, start + size)
        start += size
