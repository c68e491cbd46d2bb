"""Telemetry of a camera: settings in the index of a file, and measurements of the sensors in a track.

A payload of the track lasts about a second. It states when its first sample arrived (``STMP``, microseconds), if the
camera is a HERO8 or later; the exposure times (``SHUT``) are synchronous with the images, so that the first of their
stamps is time 0 of the images [1]_.

References
----------
.. [1] https://github.com/gopro/gpmf-parser, issues 80 and 189, and ``GetGPMFSampleRate``
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import av
import numpy as np
from av.stream import Discard
from numpy.typing import NDArray

from rb2v.artifacts import FormatOverride
from rb2v.errors import require_file
from rb2v.io.container import find_stream, iter_boxes, open_container
from rb2v.io.gopro.payload import ISO_OF_UNIT_GAIN, MAX_PROBLEMS, N_AXES, parse_payload
from rb2v.io.picture_track import NO_OVERRIDE, time_scale_of

_PICTURE_STREAMS = ("SHUT", "ISOE", "ISOG")  # one sample per image, the first with the first image
_MAX_SETTINGS_BYTES = 1 << 20  # settings are some kilobytes
_MAX_PAYLOAD_BYTES = 1 << 23  # a packet of a second is some kilobytes
_MAX_TRACK_BYTES = 1 << 29  # of a file: a day of such packets
_MAX_PACKETS = 100_000  # one a second: 28 hours
_MAX_STAMP_ERROR_SECONDS = 0.25  # a quarter of a packet: stamps farther off belong to another one
_MAX_LACK_SECONDS = 1.5  # the last packet, of a second, may be missing


def _no_samples() -> NDArray[np.float64]:
    return np.zeros(0)


def _no_gains() -> NDArray[np.float64]:
    return np.zeros((0, 3))


@dataclass(frozen=True, eq=False)
class Telemetry:
    """What a camera recorded of itself during a recording; all times are in seconds, on the video's clock."""

    model: str | None
    """Name of the camera, None where it is not stated."""
    gyro: NDArray[np.float64]
    """(n, 3) speeds of rotation in rad/s, about the sensor's axes in the order in which they are stored."""
    gyro_times: NDArray[np.float64]
    """(n,)."""
    shutter_seconds: NDArray[np.float64]
    """(m,) times of exposure; HERO8 logs them at 24 to 30 Hz, whatever the frame rate."""
    shutter_times: NDArray[np.float64]
    """(m,)."""
    settings: Mapping[str, str | float] = field(default_factory=dict)
    """By their GPMF keys, those of `SETTINGS` that are stated; ``SROT``, the sensor's read-out, is in seconds."""
    iso: NDArray[np.float64] = field(default_factory=_no_samples)
    """(k,) sensitivities; of a HERO5, which states the gain, a hundred times the gain."""
    iso_times: NDArray[np.float64] = field(default_factory=_no_samples)
    """(k,)."""
    white_balance: NDArray[np.float64] = field(default_factory=_no_samples)
    """(l,) color temperatures in kelvin."""
    white_balance_times: NDArray[np.float64] = field(default_factory=_no_samples)
    """(l,)."""
    gains: NDArray[np.float64] = field(default_factory=_no_gains)
    """(l, 3) white-balance gains of red, green and blue."""
    gains_times: NDArray[np.float64] = field(default_factory=_no_samples)
    """(l,)."""
    has_stamps: bool = False
    """Whether times are those that the camera stated; without, samples lie on a line through those of their packets."""
    problems: tuple[str, ...] = ()
    """What of the telemetry is damaged or missing, one line each; what is there is read all the same."""


@dataclass(frozen=True)
class _Packet:
    time_seconds: float
    duration_seconds: float
    values: NDArray[np.float64]
    stamp_seconds: float | None
    total: int | None
    """Samples of the stream until the end of this packet, as the camera counts them."""


def read_telemetry(paths: Sequence[Path], override: FormatOverride = NO_OVERRIDE) -> Telemetry | None:
    """Read the telemetry of a recording, or return None where no file of it has a GPMF track.

    Samples lie between the stamps of their packets, where the camera states stamps that agree with its packets. Where
    it does not, as HERO5 to HERO7 do not, they lie on one line through the camera's running count of samples (``TSMP``)
    and the times of the packets.

    Parameters
    ----------
    paths : sequence of Path
        The files of one recording in order; times resume from one to the next.
    override : FormatOverride, optional
        What is known better than the files state it: the times of packets are stretched with those of the frames.

    Raises
    ------
    InputError
        If a file is missing, or is no container.
    """
    start_seconds, is_found, has_stamps = 0.0, False, False
    model: str | None = None
    settings: dict[str, str | float] = {}
    values: dict[str, list[NDArray[np.float64]]] = {key: [] for key in N_AXES}
    times: dict[str, list[NDArray[np.float64]]] = {key: [] for key in N_AXES}
    problems: list[str] = []
    for path in paths:
        time_scale, picture_seconds = _read_picture_times(path, override)
        track = _read_track(path, time_scale)
        model, settings = model or track.model, {**track.settings, **settings}
        problems += [f"{path.name}: {problem}" for problem in track.problems]
        is_found = is_found or track.n_packets > 0
        base_seconds = _base_of_stamps(track.packets)
        for key, packets in track.packets.items():
            key_times, is_stamped = _times_of(packets, base_seconds)
            has_stamps = has_stamps or is_stamped
            rows = np.concatenate([packet.values for packet in packets])
            is_usable = np.isfinite(rows).all(axis=1)
            if not is_usable.all():
                problems.append(f"{path.name}: {int((~is_usable).sum())} samples of {key} are no numbers")
            values[key].append(rows[is_usable])
            times[key].append(start_seconds + key_times[is_usable])
        if track.n_packets and picture_seconds - track.end_seconds > _MAX_LACK_SECONDS:
            end = f"ends at {track.end_seconds:.1f} s of {picture_seconds:.1f} s"
            problems.append(f"{path.name}: the telemetry {end}")
        if is_found and not track.n_packets:
            problems.append(f"{path.name}: has no telemetry, unlike the files before it")
        start_seconds += picture_seconds
    if not is_found:
        return None
    series = {
        key: (np.concatenate([np.zeros((0, n_axes)), *values[key]]), np.concatenate([np.zeros(0), *times[key]]))
        for key, n_axes in N_AXES.items()
    }
    if not len(series["ISOE"][0]):
        series["ISOE"] = ISO_OF_UNIT_GAIN * series["ISOG"][0], series["ISOG"][1]
    return Telemetry(
        model=model,
        gyro=series["GYRO"][0],
        gyro_times=series["GYRO"][1],
        shutter_seconds=series["SHUT"][0][:, 0],
        shutter_times=series["SHUT"][1],
        settings=settings,
        iso=series["ISOE"][0][:, 0],
        iso_times=series["ISOE"][1],
        white_balance=series["WBAL"][0][:, 0],
        white_balance_times=series["WBAL"][1],
        gains=series["WRGB"][0],
        gains_times=series["WRGB"][1],
        has_stamps=has_stamps,
        problems=tuple(problems[:MAX_PROBLEMS]),
    )


@dataclass(frozen=True, eq=False)
class _Track:
    """What one file states."""

    model: str | None
    settings: Mapping[str, str | float]
    packets: Mapping[str, list[_Packet]]
    """By key, in order, of the first GPMF track that holds the key; none is empty."""
    n_packets: int
    end_seconds: float
    problems: tuple[str, ...]


def _read_track(path: Path, time_scale: float) -> _Track:
    stated = parse_payload(_read_settings(path))
    model, settings = stated.model, dict(stated.settings)
    problems = [f"the settings: {problem}" for problem in stated.problems]
    packets: dict[str, list[_Packet]] = {}
    track_of: dict[str, int] = {}
    n_packets, end_seconds, n_bytes = 0, 0.0, 0
    ends: dict[int, float] = {}
    try:
        for track, time_seconds, duration_seconds, data in _read_packets(path, time_scale):
            n_packets, n_bytes = n_packets + 1, n_bytes + len(data)
            if n_packets > _MAX_PACKETS or n_bytes > _MAX_TRACK_BYTES or len(data) > _MAX_PAYLOAD_BYTES:
                problems.append(f"more is there than a camera writes; reading ended at {time_seconds:.1f} s")
                break
            payload = parse_payload(data)
            model, settings = model or payload.model, {**payload.settings, **settings}
            problems += [f"at {time_seconds:.1f} s: {problem}" for problem in payload.problems]
            if (lack_seconds := time_seconds - ends.get(track, 0.0)) > duration_seconds / 2:
                problems.append(f"the telemetry lacks {lack_seconds:.1f} s before {time_seconds:.1f} s")
            ends[track] = time_seconds + duration_seconds
            end_seconds = max(end_seconds, ends[track])
            for key, rows in payload.samples.items():
                if track_of.setdefault(key, track) == track and len(rows):
                    stamp_seconds, total = payload.stamps_seconds.get(key), payload.totals.get(key)
                    packets.setdefault(key, []).append(
                        _Packet(time_seconds, duration_seconds, rows, stamp_seconds, total)
                    )
    except _TrackError as error:
        problems.append(str(error))
    return _Track(model, settings, packets, n_packets, end_seconds, tuple(problems[:MAX_PROBLEMS]))


def _base_of_stamps(packets: Mapping[str, Sequence[_Packet]]) -> float | None:
    """Return the stamp of time 0 of the images, None where it is not stated."""
    for key in _PICTURE_STREAMS:
        for first in packets.get(key, ())[:1]:
            if first.stamp_seconds is not None:
                return first.stamp_seconds - first.time_seconds
    return None


def _times_of(packets: Sequence[_Packet], base_seconds: float | None) -> tuple[NDArray[np.float64], bool]:
    """Return the times of all samples of a stream, and whether they are the camera's own."""
    counts = np.array([len(packet.values) for packet in packets])
    starts = np.array([packet.time_seconds for packet in packets])
    ends = starts + [packet.duration_seconds for packet in packets]
    stamps = [packet.stamp_seconds for packet in packets if packet.stamp_seconds is not None]
    stamped = np.array(stamps) - (base_seconds or 0.0)
    is_stamped = (
        base_seconds is not None
        and len(stamped) == len(packets)
        and bool(np.all(np.abs(stamped - starts) < _MAX_STAMP_ERROR_SECONDS) and np.all(np.diff(stamped) > 0))
    )
    if is_stamped:
        # Where a packet is missing its successor's stamp is not an end of what is there.
        follows = np.append(np.abs(starts[1:] - ends[:-1]) < _MAX_STAMP_ERROR_SECONDS, [False])
        durations = ends - starts
        starts = stamped
        next_starts = np.append(starts[1:], [0.0])
        periods = np.where(follows, (next_starts - starts) / counts, durations / counts)
        if follows.any():
            usual = np.sum((next_starts - starts)[follows]) / np.sum(counts[follows])
            periods = np.where(follows, periods, usual)
    elif len(packets) > 1:
        starts, periods = _on_one_line(packets, counts, starts)
    else:
        periods = (ends - starts) / counts
    times = [start + period * np.arange(count) for start, period, count in zip(starts, periods, counts, strict=True)]
    return np.concatenate(times), is_stamped


def _on_one_line(
    packets: Sequence[_Packet], counts: NDArray[np.int64], starts: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return when each packet begins, and its samples' period, by one line through the running counts.

    A packet holds the samples that happened to be ready, the last one as few as were left, so that its own length says
    little.
    """
    totals = [packet.total for packet in packets if packet.total is not None]
    places = np.cumsum(counts) - counts
    if len(totals) == len(packets):
        stated = np.array(totals, dtype=np.float64) - counts
        # Damaged counts are none: they grow by what each packet holds, or by more where one is missing.
        if np.all(np.diff(stated) >= counts[:-1]):
            places = stated - stated[0]
    period, offset = np.polyfit(places, starts, 1)
    if not period > 0:
        return starts, np.diff(np.append(starts, 2 * starts[-1] - starts[-2])) / counts
    return offset + period * places, np.full(len(packets), period)


class _TrackError(Exception):
    """The container ends, or is damaged, within its telemetry."""


def _read_packets(path: Path, time_scale: float) -> Iterator[tuple[int, float, float, bytes]]:
    """Yield track, time, duration and payload of each packet of a file's GPMF tracks."""
    with open_container(path) as container:
        tracks = container.streams.data
        if not tracks:
            return
        for stream in container.streams:
            if stream.type != "data":
                stream.discard = Discard.all
        gpmf_indices: set[int] = set()
        try:
            for packet in container.demux(*tracks):
                data, index = bytes(packet), packet.stream.index
                # PyAV does not tell a data track's tag, and a handler's name may be changed: GPMF tells itself.
                if data.startswith(b"DEVC"):
                    gpmf_indices.add(index)
                if index in gpmf_indices and packet.pts is not None and data:
                    base = float(packet.time_base) * time_scale
                    yield index, packet.pts * base, packet.duration * base if packet.duration else 1.0, data
        except av.FFmpegError as error:
            raise _TrackError(f"the telemetry cannot be read to its end ({error.strerror})") from error


def _read_settings(path: Path) -> bytes:
    """Return the GPMF of an MP4 file's index, which is empty where there is none."""
    require_file(path, "a video")
    with path.open("rb") as file:
        start, end = 0, file.seek(0, 2)
        for kind in (b"moov", b"udta", b"GPMF"):
            box = next((box for box in iter_boxes(file, start, end) if box.kind == kind), None)
            if box is None:
                return b""
            start, end = box.content, box.end
        file.seek(start)
        return file.read(min(end - start, _MAX_SETTINGS_BYTES))


def _read_picture_times(path: Path, override: FormatOverride) -> tuple[float, float]:
    """Return by what a file's times are multiplied, and how long its images last by its index, from time 0 on."""
    with open_container(path) as container:
        scale, stream = time_scale_of(path, container, override), find_stream(container)
        if stream is not None and stream.duration is not None and stream.time_base is not None:
            return scale, scale * float(((stream.start_time or 0) + stream.duration) * stream.time_base)
        return scale, scale * float((container.duration or 0) / av.time_base)
