"""Video files: frames with their presentation times, sound, and an encoder for what the project writes.

Colours are converted here and not by the decoder: planes to RGB by the matrix and range that the stream states, so
that a full-range BT.709 recording keeps its values.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import math
import warnings
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from functools import cache
from pathlib import Path

import av
import cv2
import numpy as np
import PIL.ExifTags
import PIL.Image
from numpy.typing import NDArray

from rb2v.core.planes import Planes
from rb2v.errors import InputError, require_file
from rb2v.io.container import open_container
from rb2v.io.gopro import Telemetry, add_settings, encode_telemetry, parse_timecode, payload_seconds

_PLANAR_420 = ("yuv420p", "yuvj420p")
_BT601_COLORSPACES = (5, 6)  # BT.470BG and SMPTE 170M, ITU-T H.273 table 4
_TELEMETRY_TIME_BASE = Fraction(1, 90_000)
_MAX_WAITING = 4  # pictures that the decoder may be ahead: enough for it never to wait long, and little memory
_QUARTER_TURNS = (5, 6, 7, 8)  # of EXIF's orientations
_JPEG_SCAN, _JPEG_END = b"\xff\xda", b"\xff\xd9"
_BT709 = (0.2126, 0.0722)  # red's and blue's shares of luma, ITU-R BT.709
_BT601 = (0.299, 0.114)  # red's and blue's shares of luma, ITU-R BT.601


@dataclass(frozen=True)
class VideoInfo:
    """What the container says of a video's picture and sound."""

    width: int
    height: int
    frame_rate: float
    """Average frames per second."""
    n_frames: int
    """Frames by the container's count; 0 where it states none."""
    duration_seconds: float | None
    has_audio: bool


@dataclass(frozen=True, eq=False)
class Frame:
    """A decoded picture and when it is shown."""

    time_seconds: float
    """Presentation time, from the start of the recording's first file."""
    image: NDArray[np.uint8]
    """(H, W, 3) RGB."""


@dataclass(frozen=True, eq=False)
class Sound:
    """The sound track of a recording, mixed to one channel."""

    samples: NDArray[np.float32]
    """(n,) in -1..1."""
    rate: int
    """Samples per second."""
    start_seconds: float
    """Presentation time of the first sample."""


def probe_video(path: Path) -> VideoInfo:
    """Read what the container says, without decoding.

    Raises
    ------
    InputError
        If the file is missing, is no video, or is cut short before its index.
    """
    with open_container(path) as container:
        stream = _video_stream(container, path)
        duration = container.duration
        return VideoInfo(
            width=stream.codec_context.width,
            height=stream.codec_context.height,
            frame_rate=float(stream.average_rate or stream.guessed_rate or 0),
            n_frames=stream.frames,
            duration_seconds=None if duration is None else duration / av.time_base,
            has_audio=bool(container.streams.audio),
        )


def iter_frames(paths: Sequence[Path]) -> Iterator[Frame]:
    """Decode a recording, chapter after chapter, one frame at a time.

    Parameters
    ----------
    paths : sequence of Path
        The files of one recording in order; times go on from one to the next.

    Yields
    ------
    Frame
        In the order of presentation.

    Raises
    ------
    InputError
        If a file cannot be decoded, holds fewer frames than its index says, changes the picture's size, or has
        times that do not increase.
    """
    for time_seconds, picture in _iter_pictures(paths):
        yield Frame(time_seconds, picture.rgb() if isinstance(picture, Planes) else picture)


def iter_images(paths: Sequence[Path]) -> Iterator[tuple[float, NDArray[np.uint8] | Planes]]:
    """Decode a recording as `iter_frames` does; yield times in seconds, and frames as the decoder gives them.

    Raises
    ------
    InputError
        As `iter_frames`.
    """
    yield from _iter_pictures(paths)


def map_frames(
    paths: Sequence[Path], function: Callable[[NDArray[np.uint8] | Planes], NDArray[np.uint8]]
) -> Iterator[Frame]:
    """Decode a recording and make something else of every frame, in a thread of its own while the next are decoded.

    Parameters
    ----------
    paths : sequence of Path
        The files of one recording in order; times go on from one to the next.
    function : callable
        Takes a frame as the decoder gives it, planes or (H, W, 3) RGB, and returns an RGB picture.

    Yields
    ------
    Frame
        In the order of presentation.

    Raises
    ------
    InputError
        As `iter_frames`.
    """
    waiting: deque[tuple[float, Future[NDArray[np.uint8]]]] = deque()
    with ThreadPoolExecutor(1) as worker:
        for time_seconds, picture in _iter_pictures(paths):
            waiting.append((time_seconds, worker.submit(function, picture)))
            # A decoder's pictures are large, and few are kept.
            if len(waiting) > _MAX_WAITING:
                done_seconds, made = waiting.popleft()
                yield Frame(done_seconds, made.result())
        for done_seconds, made in waiting:
            yield Frame(done_seconds, made.result())


def _iter_pictures(paths: Sequence[Path]) -> Iterator[tuple[float, NDArray[np.uint8] | Planes]]:
    start_seconds = 0.0
    size: tuple[int, ...] | None = None
    for path in paths:
        last_seconds, n_decoded = -np.inf, 0
        with open_container(path) as container:
            stream = _video_stream(container, path)
            stream.thread_type = "AUTO"
            n_stated = stream.frames
            rate = stream.average_rate or stream.guessed_rate
            step_seconds = float(1 / rate) if rate else 0.0
            packets = _Packets()
            for picture in _decode(container, stream, path, packets):
                if picture.time is None:
                    raise InputError(path, f"frame {n_decoded} has no presentation time")
                if picture.time <= last_seconds:
                    raise InputError(path, f"frame {n_decoded} is not later than the one before it")
                if n_decoded:
                    step_seconds = picture.time - last_seconds
                last_seconds = picture.time
                n_decoded += 1
                image = _to_planes(picture)
                if size is not None and image.shape != size:
                    raise InputError(
                        path, f"frames are {image.shape[1]}x{image.shape[0]}", None, f"{size[1]}x{size[0]}"
                    )
                size = image.shape
                yield start_seconds + picture.time, image
        if n_decoded == 0:
            raise InputError(path, "holds no frame that can be decoded", expected="a video")
        # An index that counts one frame more than can be shown is common; more than that is a cut recording.
        n_shown = n_stated - packets.n_hidden
        if n_decoded < n_shown - 1:
            raise InputError(path, f"is cut short: {n_decoded} of {n_shown} frames could be decoded")
        start_seconds += last_seconds + step_seconds


def read_sound(paths: Sequence[Path], *, max_seconds: float = math.inf) -> Sound | None:
    """Decode the sound of a recording, or return None where its first file has none.

    Parameters
    ----------
    paths : sequence of Path
        The files of one recording in order.
    max_seconds : float, optional
        Reading ends about there; all is read by default.

    Raises
    ------
    InputError
        If a file cannot be decoded.
    """
    chunks: list[NDArray[np.float32]] = []
    rate, start_seconds, n_samples = 0, 0.0, 0
    for path in paths:
        with open_container(path) as container:
            stream = container.streams.audio[0] if container.streams.audio else None
            if stream is None or getattr(stream, "codec_context", None) is None:
                break
            resampler = av.AudioResampler(format="fltp", layout="mono")
            try:
                for packet in container.decode(stream):
                    if n_samples > max_seconds * rate > 0:
                        break
                    for block in resampler.resample(packet):
                        if not chunks:
                            rate, start_seconds = block.sample_rate, float(block.time or 0.0)
                        chunks.append(block.to_ndarray()[0])
                        n_samples += len(chunks[-1])
            except av.FFmpegError as error:
                raise InputError(path, f"its sound cannot be decoded ({error.strerror})") from error
    if not chunks:
        return None
    return Sound(np.concatenate(chunks), rate, start_seconds)


def read_image(path: Path) -> NDArray[np.uint8]:
    """Read a picture as (H, W, 3) RGB uint8.

    Raises
    ------
    InputError
        If the file is missing, no picture, cut short or larger than 89 megapixels.
    """
    # The header first: a small file may declare a picture that fills the memory.
    kind, _ = _read_header(path)
    data = path.read_bytes()
    if _is_damaged(data, kind):
        raise InputError(path, "is cut short or damaged", expected="a whole picture")
    image = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise InputError(path, "cannot be read as a picture", expected="PNG, JPEG or TIFF")
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def read_image_size(path: Path) -> tuple[int, int]:
    """Read width and height of a picture as `read_image` returns it, from the file's header.

    Raises
    ------
    InputError
        If the file is missing, no picture, or larger than 89 megapixels.
    """
    _, (width, height) = _read_header(path)
    # Metadata are as odd as programs write them, and decoders then raise anything.
    with contextlib.suppress(Exception), PIL.Image.open(path) as opened:
        if opened.getexif().get(PIL.ExifTags.Base.Orientation) in _QUARTER_TURNS:
            return height, width
    return width, height


def _read_header(path: Path) -> tuple[str | None, tuple[int, int]]:
    """Return a picture's format, and the width and height that it is stored with."""
    require_file(path, "a picture")
    try:
        with (
            warnings.catch_warnings(action="error", category=PIL.Image.DecompressionBombWarning),
            PIL.Image.open(path) as opened,
        ):
            return opened.format, opened.size
    except (PIL.Image.DecompressionBombWarning, PIL.Image.DecompressionBombError) as error:
        raise InputError(path, "is too large", expected="at most 89 megapixels") from error
    except (OSError, SyntaxError, ValueError) as error:
        raise InputError(path, "cannot be read as a picture", expected="PNG, JPEG or TIFF") from error


def _is_damaged(data: bytes, kind: str | None) -> bool:
    """Return whether a PNG or JPEG lacks what it should hold: OpenCV makes a picture of what is there all the same."""
    # No end behind the last scan, unless other bytes lie behind the end: only decoding tells.
    is_doubtful = kind in ("JPEG", "MPO") and data.rfind(_JPEG_END) < data.rfind(_JPEG_SCAN)
    if kind != "PNG" and not is_doubtful:
        return False
    try:
        with PIL.Image.open(io.BytesIO(data)) as opened:
            if is_doubtful:
                opened.load()
            else:
                opened.verify()
    except (OSError, SyntaxError, ValueError):
        return True
    return False


def write_image(path: Path, image: NDArray[np.uint8]) -> Path:
    """Write (H, W, 3) RGB or (H, W) grey uint8 as PNG or JPEG, by the suffix, and return the path."""
    ordered = cv2.cvtColor(image, cv2.COLOR_RGB2BGR) if image.ndim == 3 else image
    ok, data = cv2.imencode(path.suffix, ordered)
    if not ok:
        raise ValueError(f"OpenCV cannot write {path.suffix} pictures")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data.tobytes())
    return path


def write_gif(path: Path, frames: Sequence[NDArray[np.uint8]], durations_ms: Sequence[int]) -> Path:
    """Write a GIF that starts anew when it ends.

    Parameters
    ----------
    path : Path
        The file to write.
    frames : sequence of (H, W, 3) ndarray of uint8
        RGB.
    durations_ms : sequence of int
        How long each is shown, in milliseconds; GIF counts hundredths of a second.
    """
    # One palette for all frames: their own would make still places flicker.
    stacked = PIL.Image.fromarray(np.concatenate([frame[::2, ::2] for frame in frames]))
    palette = stacked.quantize(256, method=PIL.Image.Quantize.MEDIANCUT)
    first, *others = (PIL.Image.fromarray(frame).quantize(palette=palette) for frame in frames)
    first.save(path, format="GIF", save_all=True, append_images=others, duration=list(durations_ms), loop=0)
    return path


def write_video(
    path: Path,
    frames: Iterable[NDArray[np.uint8]],
    frame_rate: float,
    *,
    sound: Sound | None = None,
    telemetry: Telemetry | None = None,
    timecode: str | None = None,
    created: datetime | None = None,
    lost: Collection[int] = (),
    crf: int = 18,
) -> Path:
    """Encode an H.264 MP4 as the cameras do: 4:2:0, BT.709, full range, AAC sound.

    Parameters
    ----------
    path : Path
        The file to write; the same frames give the same bytes.
    frames : iterable of (H, W, 3) ndarray of uint8
        RGB, H and W even.
    frame_rate : float
        Frames per second.
    sound : Sound, optional
        The sound track; its ``start_seconds`` is taken as 0.
    telemetry : Telemetry, optional
        Written as GPMF: samples as a track of their own, model and settings in the index.
    timecode : str, optional
        Time of day of the first frame, ``HH:MM:SS:FF``.
    created : datetime, optional
        When the recording began by the camera's clock; containers call it UTC.
    lost : collection of int, optional
        Frames that the camera did not get written, counted from 0 with those that it did: ``frames`` are the others.
    crf : int
        Constant rate factor of x264; lower is better and larger.

    Raises
    ------
    ValueError
        If a size is odd, the timecode is malformed for this frame rate, or the telemetry's times are not in order.
    """
    rate = Fraction(frame_rate).limit_denominator(100_000)
    if timecode is not None and parse_timecode(timecode, rate) is None:
        raise ValueError(f"timecode must be HH:MM:SS:FF with FF below the frame rate, got {timecode!r}")
    payloads = [] if telemetry is None else encode_telemetry(telemetry)
    options = {"fflags": "+bitexact"}
    if telemetry is None:
        # With telemetry the index stays at the end, as the cameras leave it: the settings are added there.
        options["movflags"] = "+faststart"
    # As a URL, because a colon in a plain path would name a protocol.
    with av.open(f"file:{path}", "w", format="mp4", options=options) as container:
        if created is not None:
            container.metadata["creation_time"] = created.strftime("%Y-%m-%dT%H:%M:%SZ")
        # One encoder thread: the bytes must not depend on the machine's cores.
        encoding = {"crf": str(crf), "preset": "veryfast", "threads": "1", "flags": "+bitexact"}
        stream = container.add_stream("libx264", rate=rate, options=encoding | _instruction_sets())
        stream.pix_fmt = "yuvj420p"
        context = stream.codec_context
        context.color_range = 2  # full
        context.colorspace = context.color_primaries = context.color_trc = 1  # BT.709
        context.thread_count = 1
        if timecode is not None:
            stream.metadata["timecode"] = timecode
        audio_stream = None
        if sound is not None:
            audio_stream = container.add_stream("aac", rate=sound.rate, layout="mono", options={"flags": "+bitexact"})
        # FFmpeg's MP4 muxer writes this codec, and no other, under the cameras' tag: gpmd.
        data_stream = container.add_data_stream("bin_data") if payloads else None
        if data_stream is not None:
            data_stream.time_base = _TELEMETRY_TIME_BASE
            data_stream.metadata["handler_name"] = "GoPro MET"
        kept = (index for index in itertools.count() if index not in lost)
        for position, (index, image) in enumerate(zip(kept, frames, strict=False)):
            if position == 0:
                stream.height, stream.width = image.shape[:2]
            picture = av.VideoFrame.from_ndarray(_to_i420(image), format="yuvj420p")
            picture.color_range, picture.colorspace = 2, 1
            picture.pts, picture.time_base = index, 1 / rate
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
        if sound is not None and audio_stream is not None:
            block = av.AudioFrame.from_ndarray(sound.samples[None].astype(np.float32), format="fltp", layout="mono")
            block.sample_rate, block.pts, block.time_base = sound.rate, 0, Fraction(1, sound.rate)
            container.mux(audio_stream.encode(block))
            container.mux(audio_stream.encode(None))
        if telemetry is not None and data_stream is not None:
            durations = payload_seconds(telemetry, len(payloads))
            for second, (payload, duration_seconds) in enumerate(zip(payloads, durations, strict=True)):
                packet = av.Packet(payload)
                packet.stream, packet.time_base = data_stream, _TELEMETRY_TIME_BASE
                packet.pts = packet.dts = second * _TELEMETRY_TIME_BASE.denominator
                packet.duration = round(duration_seconds * _TELEMETRY_TIME_BASE.denominator)
                container.mux(packet)
    if telemetry is not None:
        add_settings(path, telemetry)
    return path


@cache
def _instruction_sets() -> dict[str, str]:
    # With those of AVX-512 x264 spends its bits differently from one run to the next (its "mbtree").
    available = cv2.getCPUFeaturesLine().replace("*", "").split()
    return {"x264-params": "asm=avx2"} if "AVX2" in available else {}


def _video_stream(container: av.container.InputContainer, path: Path) -> av.VideoStream:
    if not container.streams.video:
        raise InputError(path, "holds no picture track", expected="a video")
    stream = container.streams.video[0]
    if getattr(stream, "codec_context", None) is None:
        raise InputError(path, "its pictures are of an unknown codec, or it is cut short", expected="a video")
    return stream


@dataclass
class _Packets:
    n_hidden: int = 0
    """Packets that the container holds but does not show: a trimmed clip keeps what was before its first frame."""


def _decode(
    container: av.container.InputContainer, stream: av.VideoStream, path: Path, packets: _Packets
) -> Iterator[av.VideoFrame]:
    try:
        for packet in container.demux(stream):
            packets.n_hidden += packet.is_discard
            yield from packet.decode()
    except av.FFmpegError as error:
        raise InputError(path, f"cannot be decoded to its end ({error.strerror}); is it cut short?") from error


@cache
def _rgb_from_yuv(*, full_range: bool, bt601: bool) -> NDArray[np.float64]:
    """Return the (3, 4) matrix from 8-bit Y'CbCr to 8-bit R'G'B' (ITU-T H.273, equations of section 8.3)."""
    kr, kb = _BT601 if bt601 else _BT709
    kg = 1.0 - kr - kb
    y_scale, c_scale, y_offset = (1.0, 1.0, 0.0) if full_range else (255 / 219, 255 / 224, 16.0)
    to_rgb = np.array(
        [
            [1.0, 0.0, 2 * (1 - kr)],
            [1.0, -2 * (1 - kb) * kb / kg, -2 * (1 - kr) * kr / kg],
            [1.0, 2 * (1 - kb), 0.0],
        ]
    ) * np.array([y_scale, c_scale, c_scale])
    offset = -to_rgb @ np.array([y_offset, 128.0, 128.0])
    return np.column_stack([to_rgb, offset])


@cache
def _yuv_from_rgb() -> NDArray[np.float64]:
    forward = _rgb_from_yuv(full_range=True, bt601=False)
    inverse = np.linalg.inv(forward[:, :3])
    return np.column_stack([inverse, -inverse @ forward[:, 3]])


def _to_planes(picture: av.VideoFrame) -> NDArray[np.uint8] | Planes:
    """Return the decoder's planes without copying them; RGB where they are not those of 8-bit 4:2:0."""
    width, height = picture.width, picture.height
    if picture.format.name not in _PLANAR_420 or width % 2 or height % 2:
        return np.asarray(picture.to_ndarray(format="rgb24"), dtype=np.uint8)
    luma, *chroma = (_view(plane) for plane in picture.planes)
    matrix = _rgb_from_yuv(
        full_range=picture.format.name == "yuvj420p" or int(picture.color_range) == 2,
        bt601=int(picture.colorspace) in _BT601_COLORSPACES,
    )
    return Planes(luma, (chroma[0], chroma[1]), matrix)


def _view(plane: av.video.plane.VideoPlane) -> NDArray[np.uint8]:
    buffer = np.frombuffer(memoryview(plane), dtype=np.uint8, count=plane.height * plane.line_size)
    return np.asarray(buffer.reshape(plane.height, plane.line_size)[:, : plane.width])


_CHROMA_FILTER = np.array([0.25, 0.5, 0.25])


def _to_i420(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = image.shape[:2]
    if height % 2 or width % 2:
        raise ValueError(f"H.264 4:2:0 needs even sizes, got {width}x{height}")
    yuv = cv2.transform(image, _yuv_from_rgb())
    planes = [yuv[..., 0].ravel()]
    for index in (1, 2):
        pairs = cv2.resize(yuv[..., index], (width, height // 2), interpolation=cv2.INTER_AREA)
        smooth = cv2.sepFilter2D(pairs, -1, _CHROMA_FILTER, np.ones(1), borderType=cv2.BORDER_REPLICATE)
        planes.append(smooth[:, ::2].ravel())
    return np.asarray(np.concatenate(planes).reshape(height * 3 // 2, width), dtype=np.uint8)
