"""Opening of container files, and the boxes of an MP4 file that FFmpeg keeps to itself."""

from __future__ import annotations

import itertools
import struct
from collections.abc import Iterator, Mapping, Sequence
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
_HEAD_BYTES = 4096  # a block of most disks and cards, which is written whole or not at all
_IMAGE_HEADS = (b"\xff\xd8\xff", b"\x89PNG", b"II*\0", b"MM\0*", b"BM")  # JPEG, PNG, TIFF and BMP


def open_container(path: Path) -> av.container.InputContainer:
    """Open a recording for reading.

    Raises
    ------
    InputError
        If the file is missing, or is no container of images or sound.
    """
    require_file(path, "a video")
    try:
        # Containers only: a playlist or a script would name further files.
        return av.open(f"file:{path}", "r", options={"format_whitelist": _CONTAINERS, "protocol_whitelist": "file"})
    except (av.FFmpegError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        if isinstance(error, PermissionError):
            raise InputError(path, f"cannot be read ({reason})") from error
        if (problem := _explain(path)) is not None:
            raise InputError(path, problem, expected="a video such as MP4") from error
        raise InputError(path, f"is not a video, or is cut short ({reason})", expected="a video such as MP4") from error


def _explain(path: Path) -> str | None:
    """Return what a file is that cannot be opened, None where nothing tells."""
    with path.open("rb") as file:
        head, n_bytes = file.read(_HEAD_BYTES), file.seek(0, 2)
        kinds = [box.kind for box in iter_boxes(file, 0, n_bytes)]
    if not head.strip(b"\0"):
        return f"is not a video: it {'holds zeros, as what was not copied to its end' if head else 'is empty'}"
    if head.startswith(_IMAGE_HEADS):
        return "is not a video but an image, whatever its name says"
    if head[4:8] == b"ftyp" and b"moov" not in kinds:
        return "lacks its index: it is cut short, or its camera was switched off, which may mend it from its own card"
    return None


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


def find_boxes(file: BinaryIO, within: Sequence[Box], *kinds: bytes) -> list[Box]:
    """Return the boxes that lie in others by a path of kinds, such as ``mdia``, ``mdhd``."""
    found = list(within)
    for kind in kinds:
        found = [box for outer in found for box in iter_boxes(file, outer.content, outer.end) if box.kind == kind]
    return found


def unpack_box(file: BinaryIO, box: Box, layout: str, offset: int = 0) -> tuple[int, ...] | None:
    """Return numbers of a box, laid out as for `struct`; None where it is too short."""
    file.seek(box.content + offset)
    n_bytes = struct.calcsize(layout)
    data = file.read(max(min(n_bytes, box.end - box.content - offset), 0))
    return struct.unpack(layout, data) if len(data) == n_bytes else None


@dataclass(frozen=True)
class Edit:
    """A part of a track that an MP4 or MOV file shows."""

    start_seconds: float
    """On the track's own clock."""
    duration_seconds: float


def read_edits(file: BinaryIO, whole: Box, track: Box) -> list[Edit]:
    """Read which parts of a track are shown, one after the other; empty where its edit list says nothing.

    Parameters
    ----------
    file : binary file
        Opened for reading.
    whole, track : Box
        The ``moov`` box, and a ``trak`` box in it.
    """
    lists = find_boxes(file, [track], b"edts", b"elst")
    movie, media = find_boxes(file, [whole], b"mvhd"), find_boxes(file, [track], b"mdia", b"mdhd")
    scales = [_time_scale(file, box) for box in (*movie[:1], *media[:1])]
    if not lists or len(scales) < 2 or not all(scales):
        return []
    version, n_entries = unpack_box(file, lists[0], ">B3xI") or (0, 0)
    layout = ">Qq4x" if version else ">Ii4x"
    edits = []
    for index in range(min(n_entries, _MAX_BOXES)):
        entry = unpack_box(file, lists[0], layout, 8 + index * struct.calcsize(layout))
        if entry is not None and entry[1] >= 0:  # others are empty: nothing is shown yet
            edits.append(Edit(entry[1] / scales[1], entry[0] / scales[0]))
    return edits


def _time_scale(file: BinaryIO, header: Box) -> int:
    version = (unpack_box(file, header, ">B") or (0,))[0]
    return (unpack_box(file, header, ">I", 20 if version else 12) or (0,))[0]


def find_cuts(path: Path, track_id: int, step_seconds: float) -> list[float]:
    """Return when, in seconds of what is shown, a track goes on elsewhere because a part of it was cut out.

    Parameters
    ----------
    path : Path
        The file; only MP4 and MOV files have edit lists.
    track_id : int
        The track.
    step_seconds : float
        Between two of its frames, of which half is no cut.
    """
    cuts: list[float] = []
    with path.open("rb") as file:
        for movie in find_boxes(file, [Box(b"", 0, 0, file.seek(0, 2))], b"moov"):
            for track in find_boxes(file, [movie], b"trak"):
                headers = find_boxes(file, [track], b"tkhd")
                version = unpack_box(file, headers[0], ">B") if headers else None
                if version is None or unpack_box(file, headers[0], ">I", 20 if version[0] else 12) != (track_id,):
                    continue
                shown_seconds = 0.0
                for edit, following in itertools.pairwise(read_edits(file, movie, track)):
                    shown_seconds += edit.duration_seconds
                    jump_seconds = following.start_seconds - edit.start_seconds - edit.duration_seconds
                    if abs(jump_seconds) > step_seconds / 2:
                        cuts.append(shown_seconds)
    return cuts
