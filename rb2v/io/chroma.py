"""The siting of chroma that a stream states."""

from __future__ import annotations

from pathlib import Path

import av

from rb2v.core.planes import CENTER_SITING, LEFT_SITING, TOP_LEFT_SITING
from rb2v.io.container import find_stream, open_container
from rb2v.io.parameter_sets import find_chroma_location

_SITINGS = {0: LEFT_SITING, 1: CENTER_SITING, 2: TOP_LEFT_SITING}  # ITU-T H.273, chroma420SampleLocType


def read_stated_siting(path: Path) -> tuple[float, float] | None:
    """Read where an H.264 or HEVC stream says that its chroma lies, column and row in luma pixels; None where nowhere.

    Raises
    ------
    InputError
        If the file is missing or not a video.
    """
    with open_container(path) as container:
        stream = find_stream(container)
        if stream is None:
            return None
        codec = stream.codec_context.name
        headers = stream.codec_context.extradata
        if headers is None:  # in the stream alone
            try:
                headers = bytes(next(container.demux(stream)))
            except av.FFmpegError:
                return None  # decoding will name the damage
    location = find_chroma_location(codec, headers)
    return None if location is None else _SITINGS.get(location)
