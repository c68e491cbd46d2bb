"""The image track of a video file: which track it is, how its frames are stored, and when they are shown.

All that reads recordings asks here, so that a check, a decoder and an alignment agree on every file.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from fractions import Fraction
from functools import cache, cached_property
from pathlib import Path
from typing import Any, cast

import av
import cv2
import numpy as np
from av.sidedata.sidedata import SideDataContainer
from av.stream import Discard
from numpy.typing import NDArray

from rb2v.artifacts import ColorMatrix, FormatOverride
from rb2v.core.frame_times import MAX_FRAMES, frame_step
from rb2v.core.planes import CENTER_SITING, LEFT_SITING, Orientation, Planes, upsample_chroma
from rb2v.errors import InputError
from rb2v.io.chroma import read_stated_siting
from rb2v.io.container import find_stream, open_container, read_tag

NO_OVERRIDE = FormatOverride()

_PLANAR_420 = ("yuv420p", "yuvj420p")
_SEMI_PLANAR = ("nv12", "nv16", "nv24", "p010le", "p012le", "p016le", "p210le", "p212le", "p216le", "p410le", "p416le")
_PACKED_422 = ("yuyv422", "uyvy422", "yvyu422")
_CENTERED_CODECS = ("mjpeg", "mjpegb", "mpeg1video")  # by JPEG File Interchange Format 1.02 and ISO/IEC 11172-2
_MATRICES: dict[int, ColorMatrix] = {1: "bt709", 4: "bt601", 5: "bt601", 6: "bt601", 9: "bt2020", 10: "bt2020"}
"""By code point of ITU-T H.273, table 4; FCC's (4) differs from BT.601 by less than a level."""
_LUMA_WEIGHTS: dict[ColorMatrix, tuple[float, float]] = {
    "bt601": (0.299, 0.114),
    "bt709": (0.2126, 0.0722),
    "bt2020": (0.2627, 0.0593),
}
"""Of red and of blue, ITU-T H.273 table 4."""
MATRIX_NAMES: dict[ColorMatrix, str] = {"bt601": "BT.601", "bt709": "BT.709", "bt2020": "BT.2020"}

_TRANSFERS = {8: "linear light", 9: "logarithmic", 10: "logarithmic", 16: "PQ", 17: "DCI", 18: "HLG"}
"""By code point of ITU-T H.273, table 3; the others differ little from BT.709."""

_HD_LINES = 720  # without a stated matrix players take BT.601 below and BT.709 from here on
_FULL_RANGE, _LIMITED_RANGE = 2, 1  # AVCOL_RANGE_JPEG and AVCOL_RANGE_MPEG of FFmpeg
_CAPTURE_RATE_KEY = "com.android.capture.fps"
_SAME_RATE = 0.05  # phones state a capture rate of 30 for files whose own rate is 29.2
_MAX_CAPTURE_FPS = 100_000.0  # beyond the fastest cameras that people use; a higher tag is damaged
_STARTS_ANYWHERE = ("mpegts", "mpeg")  # their clocks run on from one recording to the next
_MAX_REORDERED = 32  # frames; H.264 and HEVC reorder at most 16, and fields count twice
_STRAIGHT = 1e-3  # of a matrix's largest entry; GoPro and phones write exact zeros
_MAX_SIDE_PX = 32_766  # OpenCV's remap takes no more


@dataclass(frozen=True)
class ColorCoding:
    """How a file's numbers stand for colors."""

    matrix: ColorMatrix
    full_range: bool
    """Whether values span 0..255."""
    matrix_stated: bool
    """Whether the file, or take.yaml, states the matrix."""
    range_stated: bool

    def __str__(self) -> str:
        return f"{MATRIX_NAMES[self.matrix]}, {'full' if self.full_range else 'limited'} range"


@dataclass(frozen=True)
class PictureFormat:
    """How the frames of a file are stored, and how fast they were recorded."""

    width: int
    """Of upright frames, in pixels."""
    height: int
    orientation: Orientation
    codec: str
    pixel_format: str
    depth: int
    """Bits of a sample."""
    color: ColorCoding
    transfer: str
    """How levels stand for light where it is neither sRGB nor the usual video's, such as ``HLG``; else empty."""
    is_interlaced: bool
    """Whether a frame's rows are stored as two fields, which many cameras record one after the other."""
    siting: tuple[float, float]
    """Where the first chroma sample of a stored frame lies, in luma pixels: column and row."""
    nominal_fps: float
    """The frame rate that the container states, 0 where it states none."""
    time_scale: float
    """By which the container's times are multiplied; not 1 where a file plays slower than it was recorded."""
    tick_seconds: float
    """The unit of frame times, to which the container rounds them."""
    n_stated: int
    """Frames by the container's count; 0 where it states none."""
    duration_seconds: float | None
    """Of all tracks, by the container's own times."""
    has_audio: bool


class PictureTrack:
    """The image track of an open file.

    Parameters
    ----------
    path : Path
        The file.
    container : av.container.InputContainer
        It, open.
    override : FormatOverride or None
        What is known better than the file states it; None to take its times as they are, whatever it was recorded at.

    Attributes
    ----------
    container : av.container.InputContainer
    stream : av.VideoStream
    nominal_fps : float
        The frame rate that the container states, 0 where it states none.
    time_scale : float
        By which the container's times are multiplied.
    tick_seconds : float
        The unit of frame times.
    start_seconds : float
        The container's time that counts as 0, before scaling.
    n_hidden : int
        Packets met so far that the container holds but does not show, as a trimmed clip does.
    n_damaged : int
        Packets met so far of which the container says that they are damaged.
    orientation : Orientation
        How frames are turned, as far as they are decoded.
    """

    def __init__(self, path: Path, container: av.container.InputContainer, override: FormatOverride | None) -> None:
        self.path, self.container = path, container
        if not container.streams.video:
            raise InputError(path, "holds no image track", expected="a video")
        stream = find_stream(container)
        if stream is None:
            raise InputError(path, "its images are of an unknown codec, or it is cut short", expected="a video")
        self.stream = stream
        width, height = stream.codec_context.width, stream.codec_context.height
        if max(width, height) > _MAX_SIDE_PX:
            raise InputError(path, f"its frames are {width}x{height}", expected=f"at most {_MAX_SIDE_PX} pixels a side")
        self.nominal_fps = float(stream.average_rate or stream.guessed_rate or 0.0)
        capture_fps = None if override is None else _capture_fps(container, override)
        self.time_scale = 1.0 if capture_fps is None else _time_scale(path, capture_fps)
        self.tick_seconds = float(stream.time_base or Fraction(1, av.time_base)) * self.time_scale
        self.start_seconds = start_seconds_of(container)
        self.n_hidden = self.n_damaged = 0
        self.orientation = Orientation()
        self._override = override or NO_OVERRIDE

    def frames(self) -> Iterator[tuple[float, NDArray[np.uint8] | Planes]]:
        """Yield the time, in seconds, and the upright image of every frame that is shown.

        Raises
        ------
        InputError
            If a frame cannot be decoded, has no time, is not later than the one before it, or is turned otherwise.
        """
        last_seconds = -np.inf
        self.stream.thread_type = "AUTO"
        damaged: int | None = None
        for index, picture in enumerate(self._decode()):
            if damaged is not None:
                raise InputError(self.path, f"frame {damaged} is damaged", expected="a whole file")
            if picture.is_corrupt:
                damaged = index  # where it is the last one the file ends within it
                continue
            if picture.time is None:
                raise InputError(self.path, f"frame {index} has no presentation time")
            seconds = (picture.time - self.start_seconds) * self.time_scale
            if seconds <= last_seconds:
                raise InputError(self.path, f"frame {index} is not later than the one before it")
            last_seconds = seconds
            orientation = _orientation_of(picture, self.path)
            if index and orientation != self.orientation:
                raise InputError(self.path, f"frame {index} is turned otherwise than the one before it")
            self.orientation = orientation
            image = to_image(picture, _color_coding_of(picture, self._override), self._siting_of(picture))
            yield seconds, image.turned(orientation) if isinstance(image, Planes) else orientation.apply(image)

    def seek(self, seconds: float) -> bool:
        """Go to a key frame well before a time, from which `frames` then starts; return whether that is possible.

        Parameters
        ----------
        seconds : float
            Time of a frame, as `frames` yields it.
        """
        step_seconds = self.time_scale / self.nominal_fps if self.nominal_fps else 0.0
        # Key frames are found by when they are decoded, which is earlier than they are shown.
        before = (seconds - _MAX_REORDERED * step_seconds) / self.time_scale + self.start_seconds
        if not step_seconds or before <= self.start_seconds:
            return False
        try:
            tick = int(before / float(self.stream.time_base or Fraction(1, av.time_base)))
            self.container.seek(tick, stream=self.stream)
        except (av.FFmpegError, OverflowError):
            return False
        return True

    def read_packets(self) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        """Read when each frame is shown, and how many bytes it takes, without decoding; hidden frames are left out.

        Returns
        -------
        times : (n,) ndarray of float64
            In seconds, in any order.
        sizes : (n,) ndarray of int64
            In bytes.

        Raises
        ------
        InputError
            If the file cannot be read to its end, or holds more frames than any recording.
        """
        times, packets = self._read_times()
        return times, packets[:, 1]

    def read_index(self) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Read when frames are shown, as `frames` yields it, and which of them are key frames, without decoding.

        Returns
        -------
        times : (n,) ndarray of float64
            In seconds, ascending.
        is_key : (n,) ndarray of bool

        Raises
        ------
        InputError
            As `read_packets`.
        """
        times, packets = self._read_times()
        order = np.argsort(times, kind="stable")
        return times[order], packets[order, 2].astype(np.bool_)

    def _read_times(self) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        packets = np.array(self._shown_packets(), dtype=np.int64).reshape(-1, 3)
        tick = self.stream.time_base or Fraction(1, av.time_base)
        seconds = packets[:, 0].astype(np.float64) * tick.numerator / tick.denominator  # rounded as those of frames are
        return np.asarray((seconds - self.start_seconds) * self.time_scale, dtype=np.float64), packets

    def count_shown(self) -> int:
        """Return how many frames the container's count promises, without those met so far that it hides."""
        if self.stream.frames and "mov" in self.container.format.name.split(","):
            # Of what an edit list hides, the index keeps only what has to be decoded for what is shown.
            return sum(not entry.is_discard for entry in self.stream.index_entries)
        return max(self.stream.frames - self.n_hidden, 0)

    def read_format(self) -> PictureFormat:
        """Decode the first frame and return how frames are stored.

        Raises
        ------
        InputError
            If no frame can be decoded, or it is turned by anything but quarter turns.
        """
        picture = next(iter(self._decode()), None)
        if picture is None:
            raise InputError(self.path, "holds no frame that can be decoded", expected="a video")
        orientation = _orientation_of(picture, self.path)
        width, height = orientation.apply_size((picture.width, picture.height))
        duration = self.container.duration
        return PictureFormat(
            width=width,
            height=height,
            orientation=orientation,
            codec=self.stream.codec_context.name,
            pixel_format=picture.format.name,
            depth=max(component.bits for component in picture.format.components),
            color=_color_coding_of(picture, self._override),
            transfer=_TRANSFERS.get(int(picture.color_trc), ""),
            is_interlaced=picture.interlaced_frame,
            siting=self._siting_of(picture),
            nominal_fps=self.nominal_fps,
            time_scale=self.time_scale,
            tick_seconds=self.tick_seconds,
            n_stated=self.stream.frames,
            duration_seconds=None if duration is None else duration / av.time_base,
            has_audio=bool(self.container.streams.audio),
        )

    def _shown_packets(self) -> list[tuple[int, int, bool]]:
        """Return time, bytes, and whether it is a key frame, of every packet that is shown."""
        stream, entries = self.stream, self.stream.index_entries
        # Without frames that are coded ahead of others the index states when frames are shown, and nothing is read.
        if stream.frames and len(entries) == stream.frames and not stream.codec_context.has_b_frames:
            self.n_hidden = sum(entry.is_discard for entry in entries)
            return [(entry.timestamp, entry.size, entry.is_keyframe) for entry in entries if not entry.is_discard]
        for other in self.container.streams:
            if other.index != stream.index:
                other.discard = Discard.all
        packets: list[tuple[int, int, bool]] = []
        try:
            for packet in self.container.demux(stream):
                tick = packet.dts if packet.pts is None else packet.pts
                self.n_hidden += packet.is_discard
                self.n_damaged += packet.is_corrupt
                if tick is not None and packet.size and not packet.is_discard:
                    packets.append((tick, packet.size, packet.is_keyframe))
                if len(packets) > MAX_FRAMES:
                    raise InputError(self.path, f"holds more than {MAX_FRAMES} frames", expected="a recording")
        except av.FFmpegError as error:
            raise InputError(self.path, f"cannot be read to its end ({error.strerror}); is it cut short?") from error
        return packets

    def _decode(self) -> Iterator[av.VideoFrame]:
        try:
            for packet in self.container.demux(self.stream):
                self.n_hidden += packet.is_discard
                yield from packet.decode()
        except av.FFmpegError as error:
            raise InputError(self.path, f"cannot be decoded to its end ({error.strerror}); is it cut short?") from error

    @cached_property
    def _stated_siting(self) -> tuple[float, float] | None:
        return read_stated_siting(self.path)

    def _siting_of(self, picture: av.VideoFrame) -> tuple[float, float]:
        chroma = [component for component in picture.format.components if component.is_chroma]
        if not chroma:
            return 0.0, 0.0
        halved = [
            -(-full // part) > 1
            for full, part in ((picture.width, chroma[0].width), (picture.height, chroma[0].height))
        ]
        usual = CENTER_SITING if self.stream.codec_context.name in _CENTERED_CODECS else LEFT_SITING
        x, y = self._stated_siting or usual
        return x * halved[0], y * halved[1]


@contextmanager
def open_pictures(path: Path, override: FormatOverride = NO_OVERRIDE) -> Iterator[PictureTrack]:
    """Open the image track of a file.

    Parameters
    ----------
    path : Path
        The file.
    override : FormatOverride, optional
        What is known better than the file states it.

    Raises
    ------
    InputError
        If the file is missing, is not a video, or holds no image track that can be read.
    """
    with open_container(path) as container:
        yield PictureTrack(path, container, override)


def time_scale_of(path: Path, container: av.container.InputContainer, override: FormatOverride) -> float:
    """Return by what the times of an open file are multiplied, 1 where it has no image track; see `PictureTrack`."""
    return 1.0 if find_stream(container) is None else PictureTrack(path, container, override).time_scale


def start_seconds_of(container: av.container.InputContainer) -> float:
    """Return the time of an open file, on its own clock, that counts as 0 for its images and its sound."""
    if not any(name in _STARTS_ANYWHERE for name in container.format.name.split(",")):
        return 0.0
    return float((container.start_time or 0) / av.time_base)


def _capture_fps(container: av.container.InputContainer, override: FormatOverride) -> float | None:
    """Return the rate at which the frames were recorded, None where only the frames' times tell it."""
    if override.capture_fps is not None:
        return override.capture_fps
    try:
        stated = float(read_tag(container.metadata, _CAPTURE_RATE_KEY) or "")
    except ValueError:
        return None
    return stated if 0 < stated <= _MAX_CAPTURE_FPS else None


def _time_scale(path: Path, capture_fps: float) -> float:
    """Return by what times are multiplied: a file of slow motion plays slower than it was recorded."""
    with open_container(path) as container:
        times, _ = PictureTrack(path, container, None).read_packets()
    # The container's own average counts the last frame for as long as it is shown.
    step = frame_step(np.unique(times))
    return 1.0 if step <= 0 or abs(step * capture_fps - 1) <= _SAME_RATE else 1 / (step * capture_fps)


def _orientation_of(picture: av.VideoFrame, path: Path) -> Orientation:
    """Return how a frame has to be turned, by its display matrix.

    FFmpeg's angle does not tell a mirrored frame from one that is turned by half, so the matrix itself is read.
    """
    # The frame keeps the container of its own property, which keeps the frame: hundreds of them, until Python looks for
    # such circles.
    side_data = SideDataContainer(picture).get("DISPLAYMATRIX")  # type: ignore[call-arg]
    if side_data is None:
        return Orientation()
    a, b, _, c, d, *_ = np.frombuffer(bytes(cast(Any, side_data)), dtype=np.int32).astype(np.float64) / 65536
    size = max(abs(a), abs(b), abs(c), abs(d))
    if size == 0:
        return Orientation()
    is_straight = max(abs(b), abs(c)) < _STRAIGHT * size and min(abs(a), abs(d)) > 0
    is_transposed = max(abs(a), abs(d)) < _STRAIGHT * size and min(abs(b), abs(c)) > 0
    if not (is_straight or is_transposed):
        raise InputError(path, "its display matrix turns frames askew", expected="quarter turns and mirroring alone")
    return Orientation(False, a < 0, d < 0) if is_straight else Orientation(True, c < 0, b < 0)


def _color_coding_of(picture: av.VideoFrame, override: FormatOverride) -> ColorCoding:
    stated = _MATRICES.get(int(picture.colorspace))
    matrix = override.color_matrix or stated or ("bt601" if picture.height < _HD_LINES else "bt709")
    full_range = {_FULL_RANGE: True, _LIMITED_RANGE: False}.get(int(picture.color_range))
    if picture.format.name.startswith("yuvj"):
        full_range = True
    is_range_stated = full_range is not None or override.color_range is not None
    if override.color_range is not None:
        full_range = override.color_range == "full"
    is_rgb = picture.format.is_rgb or picture.format.has_palette
    if full_range is None and len(picture.format.components) == 1:
        full_range = True  # monochrome cameras, and players, span all levels
    return ColorCoding(
        matrix=matrix,
        full_range=is_rgb or bool(full_range),
        matrix_stated=is_rgb or override.color_matrix is not None or stated is not None,
        range_stated=is_rgb or is_range_stated,
    )


def to_image(picture: av.VideoFrame, color: ColorCoding, siting: tuple[float, float]) -> NDArray[np.uint8] | Planes:
    """Convert a decoded frame of any pixel format.

    Parameters
    ----------
    image : av.VideoFrame
        The frame as it is stored.
    color : ColorCoding
        How its numbers stand for colors.
    siting : tuple of float
        Where its first chroma sample lies, in luma pixels: column and row.

    Returns
    -------
    Planes or (H, W, 3) ndarray of uint8
        The decoder's planes, not copied, of 8-bit 4:2:0; RGB of all others.
    """
    width, height, name = picture.width, picture.height, picture.format.name
    if name in _PLANAR_420 and not (width % 2 or height % 2):
        luma, *chroma = (_rows(plane, np.dtype(np.uint8))[:, : plane.width] for plane in picture.planes)
        return Planes(luma, (chroma[0], chroma[1]), rgb_from_yuv(color.matrix, full_range=color.full_range), siting)
    if name in _PACKED_422:
        picture = picture.reformat(format="yuv422p")
    samples = _samples(picture)
    if samples is None:
        # Palettes and packed RGB, which no matrix and no subsampling concerns.
        return np.asarray(picture.to_ndarray(format="rgb24"), dtype=np.uint8)
    bits = picture.format.components[0].bits
    scale = 255 / (2**bits - 1) if color.full_range else 2.0 ** (8 - bits)
    if picture.format.is_rgb:
        red, green, blue = (plane.astype(np.float32) * np.float32(255 / (2**bits - 1)) for plane in samples[:3])
        return np.asarray(np.rint(np.dstack([red, green, blue])), dtype=np.uint8)
    channels = [samples[0].astype(np.float32) * np.float32(scale)]
    for plane in samples[1:3]:
        centered = (plane.astype(np.float32) - np.float32(2 ** (bits - 1))) * np.float32(scale) + np.float32(128)
        is_full_size = plane.shape == (height, width)
        channels.append(centered if is_full_size else upsample_chroma(centered, (width, height), siting))
    if len(channels) == 1:
        channels += [np.full((height, width), 128, dtype=np.float32)] * 2
    rgb = cv2.transform(cv2.merge(channels), rgb_from_yuv(color.matrix, full_range=color.full_range))
    return np.asarray(np.rint(rgb).clip(0, 255), dtype=np.uint8)


def _samples(picture: av.VideoFrame) -> list[NDArray[Any]] | None:
    """Return the samples of each component but alpha; None where they are not stored plane by plane."""
    stored = picture.format
    components = [component for component in stored.components if not component.is_alpha]
    bits = components[0].bits
    is_gray = len(components) == 1 and not stored.has_palette
    is_usable = (stored.is_planar or is_gray) and not (stored.is_bit_stream or stored.is_bayer or stored.has_palette)
    if not is_usable or not 8 <= bits <= 16 or any(component.bits != bits for component in components):
        return None
    is_semi_planar = stored.name in _SEMI_PLANAR
    n_planes = len({component.plane for component in components})
    if n_planes != len(components) and not is_semi_planar:
        return None
    kind = np.dtype(np.uint8) if bits == 8 else np.dtype(">u2" if stored.is_big_endian else "<u2")
    samples: list[NDArray[Any]] = []
    for index, component in enumerate(components):
        view = _rows(picture.planes[component.plane], kind)
        if is_semi_planar and index:
            view = view[:, index - 1 : 2 * component.width : 2]
        if is_semi_planar and bits > 8:
            # Their values stand in the upper bits.
            view = view >> (16 - bits)
        samples.append(np.ascontiguousarray(view[: component.height, : component.width]))
    return samples


def _rows(plane: av.video.plane.VideoPlane, kind: np.dtype[Any]) -> NDArray[Any]:
    """Return the rows of a plane as they lie in memory, padding included, without copying them."""
    buffer = np.frombuffer(memoryview(plane), dtype=np.uint8, count=plane.height * plane.line_size)
    rows = buffer.reshape(plane.height, plane.line_size)
    return rows[:, : plane.line_size // kind.itemsize * kind.itemsize].view(kind)


@cache
def rgb_from_yuv(matrix: ColorMatrix, *, full_range: bool) -> NDArray[np.float64]:
    """Return the (3, 4) matrix from 8-bit Y'CbCr to 8-bit R'G'B' (ITU-T H.273, equations of section 8.3)."""
    kr, kb = _LUMA_WEIGHTS[matrix]
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
