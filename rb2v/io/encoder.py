"""The encoder of the videos that the project writes: frames, sound, and what cameras state beside them."""

from __future__ import annotations

import itertools
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from rb2v.io.gopro import Telemetry, add_settings, encode_telemetry, parse_timecode, payload_seconds
from rb2v.io.picture_track import rgb_from_yuv
from rb2v.io.sound import Sound

if TYPE_CHECKING:
    from av.container import OutputContainer
    from av.video.stream import VideoStream

_PRESET = "veryfast"  # of x264: simulated recordings are many, and kept for a while only
_TELEMETRY_TIME_BASE = Fraction(1, 90_000)
_CHROMA_FILTER = np.array([0.25, 0.5, 0.25])


@dataclass(frozen=True)
class CameraNotes:
    """What a camera states in a file beside frames and sound."""

    telemetry: Telemetry | None = None
    """Written as GPMF: samples as a track of their own, model and settings in the index."""
    timecode: str | None = None
    """Time of day of the first frame, ``HH:MM:SS:FF``."""
    created: datetime | None = None
    """When the recording began by the camera's clock; containers call it UTC."""
    lost: Collection[int] = ()
    """Frames that the camera did not get written, counted from 0 with those that it did."""


def write_video(
    path: Path,
    frames: Iterable[NDArray[np.uint8]],
    frame_rate: float,
    *,
    sound: Sound | None = None,
    notes: CameraNotes | None = None,
    crf: int = 18,
) -> Path:
    """Encode an H.264 MP4 as the cameras do: 4:2:0, BT.709, full range, AAC sound.

    Parameters
    ----------
    path : Path
        The file to write; the same frames give the same bytes.
    frames : iterable of (H, W, 3) ndarray of uint8
        RGB, H and W even; those that the camera did not lose.
    frame_rate : float
        Frames per second.
    sound : Sound, optional
        The sound track; its ``start_seconds`` is taken as 0.
    notes : CameraNotes, optional
        What a camera states beside.
    crf : int
        Constant rate factor of x264; lower is better and larger.

    Raises
    ------
    ValueError
        If a size is odd, the timecode is malformed for this frame rate, or the telemetry's times are not in order.
    """
    notes = notes or CameraNotes()
    rate = Fraction(frame_rate).limit_denominator(100_000)
    _check_timecode(notes.timecode, rate)
    telemetry = None if notes.telemetry is None else _TelemetryMuxer(notes.telemetry)
    options = {"fflags": "+bitexact"}
    if telemetry is None:
        # With telemetry the index stays at the end, as the cameras leave it: the settings are added there.
        options["movflags"] = "+faststart"
    # As a URL, because a colon in a plain path would name a protocol.
    with av.open(f"file:{path}", "w", format="mp4", options=options) as container:
        if notes.created is not None:
            container.metadata["creation_time"] = notes.created.strftime("%Y-%m-%dT%H:%M:%SZ")
        stream = _add_frames(container, rate, crf)
        if notes.timecode is not None:
            stream.metadata["timecode"] = notes.timecode  # of which the muxer makes a track
        encode_sound = None if sound is None else _SoundEncoder(container, sound)
        if telemetry is not None:
            telemetry.add_to(container)
        kept = (index for index in itertools.count() if index not in notes.lost)
        for index, image in zip(kept, frames, strict=False):
            _encode_frame(container, stream, image, index)
        container.mux(stream.encode(None))
        if encode_sound is not None:
            encode_sound()
        if telemetry is not None:
            telemetry.mux(container)
    if telemetry is not None:
        telemetry.finish(path)
    return path


def make_even(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return an image with even sides, as H.264 asks for: its last row and column twice where they are odd."""
    height, width = image.shape[:2]
    return np.pad(image, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")


def _check_timecode(timecode: str | None, rate: Fraction) -> None:
    if timecode is not None and parse_timecode(timecode, rate) is None:
        raise ValueError(f"timecode must be HH:MM:SS:FF with FF below the frame rate, got {timecode!r}")


def _add_frames(container: OutputContainer, rate: Fraction, crf: int) -> VideoStream:
    # One encoder thread: the bytes must not depend on the machine's cores.
    stream = container.add_stream("libx264", rate=rate, options=encoder_options(crf))
    stream.pix_fmt = "yuvj420p"
    context = stream.codec_context
    context.color_range = 2  # full
    context.colorspace = context.color_primaries = context.color_trc = 1  # BT.709
    context.thread_count = 1
    return stream


def _encode_frame(container: OutputContainer, stream: VideoStream, image: NDArray[np.uint8], index: int) -> None:
    if not stream.codec_context.is_open:
        stream.height, stream.width = image.shape[:2]
    frame = av.VideoFrame.from_ndarray(to_i420(image), format="yuvj420p")
    frame.color_range, frame.colorspace = 2, 1
    frame.pts, frame.time_base = index, 1 / stream.codec_context.framerate
    container.mux(stream.encode(frame))


class _SoundEncoder:
    """A mono sound track in AAC; the call writes it."""

    def __init__(self, container: OutputContainer, sound: Sound) -> None:
        self._container, self._sound = container, sound
        self._stream = container.add_stream("aac", rate=sound.rate, layout="mono", options={"flags": "+bitexact"})

    def __call__(self) -> None:
        sound = self._sound
        block = av.AudioFrame.from_ndarray(sound.samples[None].astype(np.float32), format="fltp", layout="mono")
        block.sample_rate, block.pts, block.time_base = sound.rate, 0, Fraction(1, sound.rate)
        self._container.mux(self._stream.encode(block))
        self._container.mux(self._stream.encode(None))


class _TelemetryMuxer:
    """Telemetry as GPMF: a track of samples, one payload a second, and the settings in the index."""

    def __init__(self, telemetry: Telemetry) -> None:
        self._telemetry = telemetry
        self._payloads = encode_telemetry(telemetry)

    def add_to(self, container: OutputContainer) -> None:
        """Add the track to a file whose header is not written yet."""
        if not self._payloads:
            return
        # FFmpeg's MP4 muxer writes this codec, and no other, under the cameras' tag: gpmd.
        self._stream = container.add_data_stream("bin_data")
        self._stream.time_base = _TELEMETRY_TIME_BASE
        self._stream.metadata["handler_name"] = "GoPro MET"

    def mux(self, container: OutputContainer) -> None:
        """Write the samples."""
        durations = payload_seconds(self._telemetry, len(self._payloads))
        for second, (payload, duration_seconds) in enumerate(zip(self._payloads, durations, strict=True)):
            packet = av.Packet(payload)
            packet.stream, packet.time_base = self._stream, _TELEMETRY_TIME_BASE
            packet.pts = packet.dts = second * _TELEMETRY_TIME_BASE.denominator
            packet.duration = round(duration_seconds * _TELEMETRY_TIME_BASE.denominator)
            container.mux(packet)

    def finish(self, path: Path) -> None:
        """Write model and settings into the index of the finished file."""
        add_settings(path, self._telemetry)


def encoder_options(crf: int) -> dict[str, str]:
    """Return the options of x264 with which the same frames give the same bytes on any machine."""
    return {"crf": str(crf), "preset": _PRESET, "threads": "1", "flags": "+bitexact"} | _instruction_sets()


@cache
def _instruction_sets() -> dict[str, str]:
    # With those of AVX-512 x264 spends its bits differently from one run to the next (its "mbtree").
    available = cv2.getCPUFeaturesLine().replace("*", "").split()
    return {"x264-params": "asm=avx2"} if "AVX2" in available else {}


@cache
def _yuv_from_rgb() -> NDArray[np.float64]:
    forward = rgb_from_yuv("bt709", full_range=True)
    inverse = np.linalg.inv(forward[:, :3])
    return np.column_stack([inverse, -inverse @ forward[:, 3]])


def to_i420(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return an (H, W, 3) RGB image, H and W even, as (3 H / 2, W) planes of full-range BT.709, chroma sited left."""
    height, width = image.shape[:2]
    if height % 2 or width % 2:
        raise ValueError(f"H.264 4:2:0 needs even sizes, got {width}x{height}")
    luma, *chroma = cv2.split(cv2.transform(image, _yuv_from_rgb()))
    planes = [luma.ravel()]
    for plane in chroma:
        pairs = cv2.resize(plane, (width, height // 2), interpolation=cv2.INTER_AREA)
        smooth = cv2.sepFilter2D(pairs, -1, _CHROMA_FILTER, np.ones(1), borderType=cv2.BORDER_REPLICATE)
        planes.append(smooth[:, ::2].ravel())
    return np.asarray(np.concatenate(planes).reshape(height * 3 // 2, width), dtype=np.uint8)
