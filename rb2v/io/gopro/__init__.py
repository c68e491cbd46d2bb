"""Data of GoPro cameras apart from images and sound: GPMF telemetry and the timecode.

`elements` walks over the tree of a piece of GPMF, `payload` reads what one piece states, `telemetry` a recording,
`timecode` the time of day of its first frame, and `writing` writes both as the cameras do, for the simulator.

The reader is the project's own. What the package index offers reads the samples of intact files, but neither the
settings in the index nor, of a damaged file, what is damaged.
"""

from rb2v.io.gopro.payload import SETTINGS, Payload, parse_payload
from rb2v.io.gopro.telemetry import Telemetry, read_telemetry
from rb2v.io.gopro.timecode import parse_timecode, read_timecode
from rb2v.io.gopro.writing import add_settings, encode_telemetry, payload_seconds

__all__ = [
    "SETTINGS",
    "Payload",
    "Telemetry",
    "add_settings",
    "encode_telemetry",
    "parse_payload",
    "parse_timecode",
    "payload_seconds",
    "read_telemetry",
    "read_timecode",
]
