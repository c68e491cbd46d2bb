"""What GoPro cameras write beside pictures and sound: GPMF telemetry and the timecode.

GPMF is a tree of elements, each a key of four letters, a type, the size of a value, how many of them, and the values,
padded to four bytes [1]_. A video holds it twice: one payload per second in a track of its own, with what the sensors
measured, and once in the index (``moov/udta/GPMF``), with the settings of the camera.

References
----------
.. [1] https://gopro.github.io/gpmf-parser
"""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from av.stream import Discard
from numpy.typing import NDArray

from rb2v.errors import InputError
from rb2v.io.container import Box, iter_boxes, open_container

SETTINGS = (
    *("EISA", "EISE", "EXPT", "PIMN", "PIMX", "PRTN", "PTCL", "PTEV"),
    *("PTSH", "PTWB", "RATE", "SROT", "VFOV", "ZFOV"),
)
"""The settings that are kept; others, such as serial numbers, are nobody's business."""

_HEADER = struct.Struct(">4scBH")
_NUMBERS = {
    **{b"b": ">i1", b"B": ">u1", b"s": ">i2", b"S": ">u2", b"l": ">i4", b"L": ">u4", b"j": ">i8", b"J": ">u8"},
    **{b"f": ">f4", b"d": ">f8", b"q": ">i4", b"Q": ">i8"},
}
_FIXED_POINT = {b"q": 2.0**16, b"Q": 2.0**32}
_TEXTS = (b"c", b"F", b"U")
_NESTED = b"\0"
_MAX_DEPTH = 8
_MAX_SETTINGS_BYTES = 1 << 20
_MILLISECONDS = {"SROT"}
_GYRO_SCALE = 939  # what the cameras use: steps of about 1 mrad/s, up to 34.9 rad/s
_TIMECODE = re.compile(r"(\d\d):([0-5]\d):([0-5]\d)([:;.])(\d{2,3})", re.ASCII)


@dataclass(frozen=True, eq=False)
class Telemetry:
    """What a camera recorded of itself during a recording."""

    model: str | None
    """Name of the camera, None where it is not stated."""
    gyro: NDArray[np.float64]
    """(n, 3) speeds of rotation in rad/s, about the sensor's axes in the order in which they are stored."""
    gyro_times: NDArray[np.float64]
    """(n,) in seconds, on the video's clock."""
    shutter_seconds: NDArray[np.float64]
    """(m,) times of exposure; HERO8 logs them at 24 to 30 Hz, whatever the frame rate."""
    shutter_times: NDArray[np.float64]
    """(m,) in seconds, on the video's clock."""
    settings: Mapping[str, str | float] = field(default_factory=dict)
    """By their GPMF keys, those of ``SETTINGS`` that are stated; ``SROT``, the sensor's read-out, is in seconds."""


@dataclass(frozen=True, eq=False)
class Payload:
    """What one piece of GPMF states, without times."""

    model: str | None
    gyro: NDArray[np.float64]
    """(n, 3) in rad/s."""
    shutter_seconds: NDArray[np.float64]
    """(m,)."""
    settings: Mapping[str, str | float]


def parse_payload(data: bytes) -> Payload:
    """Read what one piece of GPMF states of the camera, its rotation and its exposure.

    Parameters
    ----------
    data : bytes
        Any bytes. A damaged element ends the reading of the element that holds it, and nothing is said of the damage:
        telemetry is an extra, which may be absent.
    """
    name = model = None
    samples: dict[bytes, list[NDArray[np.float64]]] = {b"GYRO": [], b"SHUT": []}
    n_axes = {b"GYRO": 3, b"SHUT": 1}
    settings: dict[str, str | float] = {}
    scale = np.ones(1)
    for element in _elements(data):
        if element.key == b"STRM":
            scale = np.ones(1)
        elif element.key == b"SCAL":
            scale = element.numbers().ravel()
        elif element.key in samples:
            rows = _scaled(element.numbers(), scale, n_axes[element.key])
            samples[element.key].append(rows)
        elif element.key == b"DVNM":
            name = element.text() or name
        elif element.key == b"MINF":
            model = element.text() or model
        elif (key := element.key.decode("latin-1")) in SETTINGS and (value := element.scalar()) is not None:
            settings[key] = value / 1000 if key in _MILLISECONDS and isinstance(value, float) else value
    return Payload(
        model=model or (name if name != "Global Settings" else None),
        gyro=np.concatenate([np.zeros((0, 3)), *samples[b"GYRO"]]),
        shutter_seconds=np.concatenate([np.zeros((0, 1)), *samples[b"SHUT"]])[:, 0],
        settings=settings,
    )


def read_telemetry(paths: Sequence[Path]) -> Telemetry | None:
    """Read the telemetry of a recording, or return None where no file of it has a GPMF track.

    A payload does not state when its samples were taken; they are spread evenly over the time of its packet, the first
    at its beginning. With sensors whose rate is no whole number of samples per packet they are off by up to one period.

    Parameters
    ----------
    paths : sequence of Path
        The files of one recording in order; times go on from one to the next.

    Raises
    ------
    InputError
        If a file is missing, or is no container.
    """
    start_seconds, is_found = 0.0, False
    model: str | None = None
    settings: dict[str, str | float] = {}
    gyro, gyro_times = [np.zeros((0, 3))], [np.zeros(0)]
    shutter, shutter_times = [np.zeros(0)], [np.zeros(0)]
    for path in paths:
        stated = parse_payload(_read_settings(path))
        model, settings = model or stated.model, {**stated.settings, **settings}
        for time_seconds, duration_seconds, data in _read_packets(path):
            is_found = True
            payload = parse_payload(data)
            model, settings = model or payload.model, {**payload.settings, **settings}
            for values, all_values, all_times in (
                (payload.gyro, gyro, gyro_times),
                (payload.shutter_seconds, shutter, shutter_times),
            ):
                times = start_seconds + time_seconds + duration_seconds * np.arange(len(values)) / max(len(values), 1)
                is_usable = np.isfinite(values) if values.ndim == 1 else np.isfinite(values).all(axis=1)
                all_values.append(values[is_usable])
                all_times.append(times[is_usable])
        start_seconds += _picture_seconds(path)
    if not is_found:
        return None
    return Telemetry(
        model=model,
        gyro=np.concatenate(gyro),
        gyro_times=np.concatenate(gyro_times),
        shutter_seconds=np.concatenate(shutter),
        shutter_times=np.concatenate(shutter_times),
        settings=settings,
    )


def read_timecode(path: Path) -> float | None:
    """Read the time of day of the first frame in seconds since midnight, or return None where it is not stated.

    Raises
    ------
    InputError
        If the file is missing, or is no container.
    """
    with open_container(path) as container:
        texts = [stream.metadata.get("timecode") for stream in container.streams]
        texts.append(container.metadata.get("timecode"))
        rate = container.streams.video[0].average_rate if container.streams.video else None
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
    return total_seconds + frames / n_per_second


def encode_telemetry(telemetry: Telemetry) -> list[bytes]:
    """Write rotation and exposure as GPMF payloads, one per second from 0 on and at least one.

    The rotation is rounded to the cameras' steps of 1/939 rad/s.

    Raises
    ------
    ValueError
        If a time is negative, or there are not as many times as values.
    """
    tracks = (
        (b"GYRO", "Gyroscope", "rad/s", telemetry.gyro.reshape(-1, 3), telemetry.gyro_times),
        (b"SHUT", "Exposure time (shutter speed)", "s", telemetry.shutter_seconds, telemetry.shutter_times),
    )
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
            stored = value * 1000 if key in _MILLISECONDS else value
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


@dataclass(frozen=True)
class _Element:
    key: bytes
    kind: bytes
    size: int
    """Bytes of one value, which may be several numbers."""
    content: bytes

    def numbers(self) -> NDArray[np.float64]:
        """Return the values as (repeat, numbers per value), empty where they are no numbers."""
        dtype = np.dtype(_NUMBERS.get(self.kind, ">u1"))
        if self.kind not in _NUMBERS or self.size == 0 or self.size % dtype.itemsize:
            return np.zeros((0, 1))
        with np.errstate(all="ignore"):
            values = np.frombuffer(self.content, dtype=dtype).astype(np.float64)
        return values.reshape(-1, self.size // dtype.itemsize) / _FIXED_POINT.get(self.kind, 1.0)

    def text(self) -> str:
        if self.kind not in _TEXTS:
            return ""
        return self.content.split(b"\0")[0].decode("latin-1").strip()

    def scalar(self) -> str | float | None:
        """Return a value that is one text or one number, else None."""
        if self.kind in _TEXTS:
            return self.text()
        numbers = self.numbers()
        return float(numbers[0, 0]) if numbers.size == 1 and np.isfinite(numbers[0, 0]) else None


def _elements(data: bytes, depth: int = 0) -> Iterator[_Element]:
    """Walk over the elements of a piece of GPMF, each before those that are in it."""
    position = 0
    while position + _HEADER.size <= len(data):
        key, kind, size, repeat = _HEADER.unpack_from(data, position)
        start = position + _HEADER.size
        end = start + size * repeat
        if end > len(data) or not key.replace(b" ", b"0").isalnum():
            return
        element = _Element(key, kind, size, data[start:end])
        if kind == _NESTED and depth < _MAX_DEPTH:
            yield _Element(key, kind, 0, b"")
            yield from _elements(element.content, depth + 1)
        else:
            yield element
        position = end + -end % 4


def _scaled(values: NDArray[np.float64], scale: NDArray[np.float64], n_axes: int) -> NDArray[np.float64]:
    """Return (n, n_axes) values in their unit, or none where values or scale make no sense."""
    if values.shape[1] != n_axes or len(scale) not in (1, n_axes) or not np.all(np.abs(scale) > 0):
        return np.zeros((0, n_axes))
    with np.errstate(all="ignore"):
        return np.asarray(values / scale, dtype=np.float64)


def _read_packets(path: Path) -> Iterator[tuple[float, float, bytes]]:
    """Yield time, duration and payload of each packet of a file's GPMF track."""
    with open_container(path) as container:
        tracks = container.streams.data
        if not tracks:
            return
        for stream in container.streams:
            if stream.type != "data":
                stream.discard = Discard.all
        gpmf_index = None
        try:
            for packet in container.demux(*tracks):
                data = bytes(packet)
                # PyAV does not tell a data track's tag, and a handler's name may be changed: GPMF tells itself.
                if gpmf_index is None and data.startswith(b"DEVC"):
                    gpmf_index = packet.stream.index
                if packet.stream.index == gpmf_index and packet.pts is not None and data:
                    base = float(packet.time_base)
                    yield packet.pts * base, packet.duration * base if packet.duration else 1.0, data
        except av.FFmpegError as error:
            raise InputError(path, f"its telemetry cannot be read ({error.strerror}); is it cut short?") from error


def _read_settings(path: Path) -> bytes:
    """Return the GPMF of an MP4 file's index, which is empty where there is none."""
    if not path.is_file():
        raise InputError(path, "there is no such file", expected="a video")
    with path.open("rb") as file:
        start, end = 0, file.seek(0, 2)
        for kind in (b"moov", b"udta", b"GPMF"):
            box = next((box for box in iter_boxes(file, start, end) if box.kind == kind), None)
            if box is None:
                return b""
            start, end = box.content, box.end
        file.seek(start)
        return file.read(min(end - start, _MAX_SETTINGS_BYTES))


def _picture_seconds(path: Path) -> float:
    """Return how long a file's pictures last by its index, from time 0 on."""
    with open_container(path) as container:
        stream = container.streams.video[0] if container.streams.video else None
        if stream is not None and stream.duration is not None and stream.time_base is not None:
            return float(((stream.start_time or 0) + stream.duration) * stream.time_base)
        return float((container.duration or 0) / av.time_base)


def _second_of(times: NDArray[np.float64]) -> NDArray[np.int64]:
    # A time that is a hair below a whole second by rounding belongs to that second.
    return np.floor(times + 1e-6).astype(np.int64)


def _encode_nested(key: bytes, content: bytes) -> bytes:
    # A length is the product of one byte and two; elements are multiples of 4 long.
    return _encode(key, _NESTED, 4, len(content) // 4, content)


def _encode(key: bytes, kind: bytes, size: int, repeat: int, content: bytes) -> bytes:
    if repeat > 0xFFFF:
        raise ValueError(f"{key.decode()} is too long for GPMF")
    return _HEADER.pack(key, kind, size, repeat) + content + b"\0" * (-len(content) % 4)


def _encode_text(key: bytes, text: str) -> bytes:
    content = text.encode("latin-1", "replace")
    return _encode(key, b"c", 1, len(content), content)


def _encode_stream(key: bytes, name: str, unit: str, values: NDArray[np.float64], n_so_far: int) -> bytes:
    stream = _encode(b"TSMP", b"L", 4, 1, struct.pack(">L", n_so_far))
    stream += _encode_text(b"STNM", name) + _encode_text(b"SIUN", unit)
    if key == b"GYRO":
        steps = np.clip(np.round(values * _GYRO_SCALE), -0x8000, 0x7FFF).astype(">i2")
        stream += _encode(b"SCAL", b"s", 2, 1, struct.pack(">h", _GYRO_SCALE))
        stream += _encode(key, b"s", 6, len(values), steps.tobytes())
    else:
        stream += _encode(key, b"f", 4, len(values), values.astype(">f4").tobytes())
    return _encode_nested(b"STRM", stream)


def _encode_box(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">L", 8 + len(content)) + kind + content
