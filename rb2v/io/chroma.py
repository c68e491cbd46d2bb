"""The siting of chroma that a stream states."""

from __future__ import annotations

import re
from pathlib import Path

import av
import av.logging
from av.bitstream import BitStreamFilterContext

from rb2v.core.planes import CENTER_SITING, LEFT_SITING, TOP_LEFT_SITING
from rb2v.io.container import find_stream, open_container

_SITINGS = {0: LEFT_SITING, 1: CENTER_SITING, 2: TOP_LEFT_SITING}  # ITU-T H.273, chroma420SampleLocType
_STATED = re.compile(r"chroma_sample_loc_type_top_field\s+[01]+ = (\d)")


def read_stated_siting(path: Path) -> tuple[float, float] | None:
    """Read where an H.264 or HEVC stream says that its chroma lies, column and row in luma pixels; None where nowhere.

    FFmpeg parses the headers of the first packet and logs them; no other interface of PyAV tells.

    Raises
    ------
    InputError
        If the file is missing or not a video.
    """
    with open_container(path) as container:
        stream = find_stream(container)
        if stream is None:
            return None
        level = av.logging.get_level()
        av.logging.set_level(av.logging.INFO)
        try:
            with av.logging.Capture() as lines:
                headers = BitStreamFilterContext("trace_headers", stream)
                for packet in container.demux(stream):
                    headers.filter(packet)
                    break
        except (av.FFmpegError, ValueError):
            return None  # another codec, or headers that only decoding will find damaged
        finally:
            av.logging.set_level(level)
    found = next((match for _, _, text in lines if (match := _STATED.search(text))), None)
    return None if found is None else _SITINGS.get(int(found.group(1)))
