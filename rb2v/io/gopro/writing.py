"""Telemetry as the cameras write it, for the simulator: payloads of a track, and the settings in the index."""

from __future__ import annotations

import math
import struct
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rb2v.io.container import Box, iter_boxes
from rb2v.io.gopro.elements import HEADER, NESTED
from rb2v.io.gopro.payload import MILLISECONDS
from rb2v.io.gopro.telemetry import Telemetry

_GYRO_SCALE = 939  # what the cameras use: steps of about 1 mrad/s, up to 34.9 rad/s

_Track = tuple[bytes, str, str, NDArray[np.float64], NDArray[np.float64]]


def encode_telemetry(telemetry: Telemetry) -> list[bytes]:
    """Write what the sensors measured as GPMF payloads, one per second from 0 on and at least one.

    The rotation is rounded to the cameras' steps of 1/939 rad/s, sensitivity and white balance to whole numbers.

    Raises
    ------
    ValueError
        If a time is negative, or there are not as many times as values.
    """
    tracks = _tracks(telemetry)
    n_payloads = 1
    for _, name, _, values, times in tracks:
        if len(values) != len(times):
            raise ValueError(f"{name} has {len(values)} values and {len(times)} times")
        if len(times):
            if not (times.min() >= 0 and times.max() < math.inf):
                raise ValueError(f"the times of {name} must be numbers of at least 0")
            n_payloads = max(n_payloads, int(_second_of(times).max()) + 1)
    payloads = []
    for second in range(n_payloads):
        device = _encode(b"DVID", b"L", 4, 1, struct.pack(">L", 1))
        if telemetry.model is not None:
            device += _encode_text(b"DVNM", telemetry.model)
        for key, name, unit, values, times in tracks:
            seconds = _second_of(times)
            inside = values[seconds == second]
            if len(inside):
                device += _encode_stream(key, name, unit, inside, int(np.sum(seconds <= second)))
        payloads.append(_encode_nested(b"DEVC", device))
    return payloads


def payload_seconds(telemetry: Telemetry, n_payloads: int) -> list[float]:
    """Return how long each payload of ``encode_telemetry`` lasts: 1 s, and the last as long as it has samples."""
    ends = [
        times[-1] + (times[-1] - times[0]) / (len(times) - 1)
        for times in (telemetry.gyro_times, telemetry.shutter_times)
        if len(times) > 1
    ]
    durations = [1.0] * n_payloads
    if ends and 0 < ends[0] - (n_payloads - 1) < 1:
        durations[-1] = float(ends[0] - (n_payloads - 1))
    return durations


def add_settings(path: Path, telemetry: Telemetry) -> None:
    """Add the camera's model and settings to the index of an MP4 file, which has to be its last box.

    Raises
    ------
    ValueError
        If the index is not at the end of the file.
    """
    device = _encode_text(b"DVNM", "Global Settings")
    if telemetry.model is not None:
        device += _encode_text(b"MINF", telemetry.model)
    for key, value in telemetry.settings.items():
        if isinstance(value, str):
            device += _encode_text(key.encode("ascii"), value)
        else:
            stored = value * 1000 if key in MILLISECONDS else value
            device += _encode(key.encode("ascii"), b"f", 4, 1, struct.pack(">f", stored))
    added = _encode_box(b"GPMF", _encode_nested(b"DEVC", device))
    with path.open("r+b") as file:
        end = file.seek(0, 2)
        parents: list[Box] = []
        for kind in (b"moov", b"udta"):
            start = parents[-1].content if parents else 0
            boxes = [box for box in iter_boxes(file, start, end) if box.end == end and box.kind == kind]
            if boxes:
                parents += boxes
            elif kind == b"moov":
                raise ValueError(f"{path} does not end with its index")
            else:
                added = _encode_box(kind, added)
        for box in parents:
            file.seek(box.start)
            file.write(struct.pack(">L", box.end - box.start + len(added)))
        file.seek(end)
        file.write(added)


def _second_of(times: NDArray[np.float64]) -> NDArray[np.int64]:
    # A time that is a hair below a whole second by rounding belongs to that second.
    return np.floor(times + 1e-6).astype(np.int64)


def _encode_nested(key: bytes, content: bytes) -> bytes:
    # A length is the product of one byte and two; elements are multiples of 4 long.
    return _encode(key, NESTED, 4, len(content) // 4, content)


def _encode(key: bytes, kind: bytes, size: int, repeat: int, content: bytes) -> bytes:
    if repeat > 0xFFFF:
        raise ValueError(f"{key.decode()} is too long for GPMF")
    return HEADER.pack(key, kind, size, repeat) + content + b"\0" * (-len(content) % 4)


def _encode_text(key: bytes, text: str) -> bytes:
    content = text.encode("latin-1", "replace")
    return _encode(key, b"c", 1, len(content), content)


def _tracks(telemetry: Telemetry) -> tuple[_Track, ...]:
    gains = telemetry.gains.reshape(-1, 3)
    return (
        (b"GYRO", "Gyroscope", "rad/s", telemetry.gyro.reshape(-1, 3), telemetry.gyro_times),
        (b"SHUT", "Exposure time (shutter speed)", "s", telemetry.shutter_seconds, telemetry.shutter_times),
        (b"ISOE", "Sensor ISO", "", telemetry.iso, telemetry.iso_times),
        (b"WBAL", "White Balance temperature (Kelvin)", "", telemetry.white_balance, telemetry.white_balance_times),
        (b"WRGB", "White Balance RGB gains", "", gains, telemetry.gains_times),
    )


def _encode_stream(key: bytes, name: str, unit: str, values: NDArray[np.float64], n_so_far: int) -> bytes:
    stream = _encode(b"TSMP", b"L", 4, 1, struct.pack(">L", n_so_far)) + _encode_text(b"STNM", name)
    if unit:
        stream += _encode_text(b"SIUN", unit)
    if key == b"GYRO":
        steps = np.clip(np.round(values * _GYRO_SCALE), -0x8000, 0x7FFF).astype(">i2")
        stream += _encode(b"SCAL", b"s", 2, 1, struct.pack(">h", _GYRO_SCALE))
        stream += _encode(key, b"s", 6, len(values), steps.tobytes())
    elif key in (b"ISOE", b"WBAL"):
        stream += _encode(key, b"S", 2, len(values), np.clip(np.round(values), 0, 0xFFFF).astype(">u2").tobytes())
    else:
        size = 4 if values.ndim == 1 else 4 * values.shape[1]
        stream += _encode(key, b"f", size, len(values), values.astype(">f4").tobytes())
    return _encode_nested(b"STRM", stream)


def _encode_box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">L", 8 + len(content)) + kind + content
