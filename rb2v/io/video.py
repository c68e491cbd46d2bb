"""Video files: frames with their presentation times; images."""

from __future__ import annotations

import contextlib
import io
import itertools
import warnings
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import PIL.ExifTags
import PIL.Image
from numpy.typing import NDArray

from rb2v.artifacts import FormatOverride
from rb2v.core.frame_times import frame_step
from rb2v.core.planes import Planes
from rb2v.errors import InputError, require_file
from rb2v.io.picture_track import NO_OVERRIDE, PictureFormat, PictureTrack, open_pictures

_MAX_WAITING = 2  # images that the decoder may be ahead: one being made, one waiting; large ones take 3 MB and more
_SEEK_FRAMES = 40  # behind a key frame: `PictureTrack.seek` goes back by 32, and by more where frames are missing
_QUARTER_TURNS = (5, 6, 7, 8)  # of EXIF's orientations
_JPEG_SCAN, _JPEG_END = b"\xff\xda", b"\xff\xd9"


@dataclass(frozen=True, eq=False)
class Frame:
    """A decoded image and when it is shown."""

    time_seconds: float
    """Presentation time, from the start of the recording's first file."""
    image: NDArray[np.uint8]
    """(H, W, 3) RGB."""


def probe_video(path: Path, override: FormatOverride = NO_OVERRIDE) -> PictureFormat:
    """Read how the frames of a file are stored; the first one is decoded.

    Raises
    ------
    InputError
        If the file is missing, is not a video, or is cut short before its index or within its first frame.
    """
    with open_pictures(path, override) as track:
        return track.read_format()


def iter_frames(paths: Sequence[Path], override: FormatOverride = NO_OVERRIDE) -> Iterator[Frame]:
    """Decode a recording, chapter after chapter, one frame at a time.

    Parameters
    ----------
    paths : sequence of Path
        The files of one recording in order; times resume from one to the next.
    override : FormatOverride, optional
        What is known better than the files state it.

    Yields
    ------
    Frame
        In the order of presentation.

    Raises
    ------
    InputError
        If a file cannot be decoded, holds fewer frames than its index says, changes the image's size, or has
        times that do not increase.
    """
    for time_seconds, picture in _iter_pictures(paths, override):
        yield Frame(time_seconds, picture.rgb() if isinstance(picture, Planes) else picture)


def iter_images(
    paths: Sequence[Path], override: FormatOverride = NO_OVERRIDE
) -> Iterator[tuple[float, NDArray[np.uint8] | Planes]]:
    """Decode a recording as `iter_frames` does; yield times in seconds, and frames as the decoder gives them.

    Raises
    ------
    InputError
        As `iter_frames`.
    """
    yield from _iter_pictures(paths, override)


def iter_images_from(
    path: Path, seconds: float, override: FormatOverride = NO_OVERRIDE
) -> Iterator[tuple[float, NDArray[np.uint8] | Planes]]:
    """Decode one file from a frame on that `iter_images` has yielded before, with its time and those after it.

    Decoding begins at a key frame well before, so that no frame depends on one that was left out. Where a container
    cannot find its way there, it begins at the start.

    Parameters
    ----------
    path : Path
        The file.
    seconds : float
        Time of the frame, exactly.
    override : FormatOverride, optional
        What is known better than the file states it.

    Raises
    ------
    InputError
        If the file cannot be decoded, or shows no frame at that time.
    """
    for seeks in (True, False):
        with open_pictures(path, override) as track:
            frames = track.frames()
            try:
                if seeks and not track.seek(seconds):
                    continue
                before, found = False, None
                for time_seconds, image in frames:
                    if time_seconds >= seconds:
                        found = time_seconds, image
                        break
                    before = True
            except InputError:
                if seeks:
                    continue
                raise
            # The first frame after a seek may lack what it is predicted from.
            if found is None or found[0] != seconds or (seeks and not before):
                continue
            yield found
            yield from frames
            return
    raise InputError(path, f"shows no frame at {seconds:.6f} s", expected="the file as it was read before")


def map_frames(
    paths: Sequence[Path],
    function: Callable[[NDArray[np.uint8] | Planes], NDArray[np.uint8]],
    override: FormatOverride = NO_OVERRIDE,
    *,
    span: FrameSpan | None = None,
) -> Iterator[Frame]:
    """Decode a recording and make something else of every frame, in a thread of its own while the next are decoded.

    Parameters
    ----------
    paths : sequence of Path
        The files of one recording in order; times resume from one to the next.
    function : callable
        Takes a frame as the decoder gives it, planes or (H, W, 3) RGB, and returns an RGB image.
    override : FormatOverride, optional
        What is known better than the files state it.
    span : FrameSpan, optional
        The frames; all by default.

    Yields
    ------
    Frame
        In the order of presentation.

    Raises
    ------
    InputError
        As `iter_frames`, or if the span's frames are not found.
    """
    waiting: deque[tuple[float, Future[NDArray[np.uint8]]]] = deque()
    pictures = _iter_pictures(paths, override) if span is None else _iter_span(paths, span, override)
    with ThreadPoolExecutor(1) as worker:
        for time_seconds, picture in pictures:
            waiting.append((time_seconds, worker.submit(function, picture)))
            # A decoder's images are large, and few are kept.
            if len(waiting) > _MAX_WAITING:
                done_seconds, made = waiting.popleft()
                yield Frame(done_seconds, made.result())
        for done_seconds, made in waiting:
            yield Frame(done_seconds, made.result())


@dataclass(frozen=True)
class FrameSpan:
    """Consecutive frames of a recording, that can be decoded without all those before them."""

    chapter: int
    """File in which the first one lies."""
    seconds: float
    """Its time in that file."""
    n_frames: int
    start_seconds: tuple[float, ...]
    """Time at which each file of the recording begins."""


@dataclass(frozen=True, eq=False)
class FrameIndex:
    """The frames of a recording, as its files list them; nothing is decoded."""

    chapters: NDArray[np.intp]
    """(n,) file of each frame."""
    seconds: NDArray[np.float64]
    """(n,) its time in that file."""
    is_key: NDArray[np.bool_]
    """(n,) whether decoding may start with it."""
    start_seconds: tuple[float, ...]
    """Time at which each file begins."""

    def cheap_starts(self) -> NDArray[np.intp]:
        """Return the frames from which a span is decoded with few others before it."""
        return np.flatnonzero(self.is_key) + _SEEK_FRAMES

    def span(self, frames: range) -> FrameSpan:
        """Return some frames, for `map_frames`."""
        first = frames.start
        return FrameSpan(int(self.chapters[first]), float(self.seconds[first]), len(frames), self.start_seconds)


def read_frame_index(paths: Sequence[Path], override: FormatOverride = NO_OVERRIDE) -> FrameIndex | None:
    """List the frames of a recording; None where its files do not say when each is shown.

    Raises
    ------
    InputError
        If a file is missing, is not a video, or cannot be read to its end.
    """
    if len({probe_video(path, override).orientation for path in paths}) > 1:
        return None  # `iter_frames` says which
    chapters, seconds, keys, starts, start_seconds = [], [], [], [], 0.0
    for chapter, path in enumerate(paths):
        with open_pictures(path, override) as track:
            times, is_key = track.read_index()
            n_stated = track.count_shown()
            lone_seconds = _lone_seconds(track)
        if not len(times) or len(times) < n_stated - 1 or np.any(np.diff(times) <= 0):
            return None
        chapters.append(np.full(len(times), chapter))
        seconds.append(times)
        keys.append(is_key)
        starts.append(start_seconds)
        start_seconds += _length_seconds(times, lone_seconds)
    return FrameIndex(np.concatenate(chapters), np.concatenate(seconds), np.concatenate(keys), tuple(starts))


def _iter_span(
    paths: Sequence[Path], span: FrameSpan, override: FormatOverride
) -> Iterator[tuple[float, NDArray[np.uint8] | Planes]]:
    n_left, found = span.n_frames, iter_images_from(paths[span.chapter], span.seconds, override)
    for chapter in range(span.chapter, len(paths)):
        start_seconds = span.start_seconds[chapter]
        for seconds, image in itertools.islice(found, n_left):
            yield start_seconds + seconds, image
            n_left -= 1
        if n_left == 0:
            return
        found = iter_images(paths[chapter + 1 : chapter + 2], override)
    raise InputError(paths[-1], f"ends {n_left} frames early", expected="the frames that it lists")


def _iter_pictures(
    paths: Sequence[Path], override: FormatOverride
) -> Iterator[tuple[float, NDArray[np.uint8] | Planes]]:
    start_seconds = 0.0
    first: PictureTrack | None = None
    size: tuple[int, ...] | None = None
    for path in paths:
        times: list[float] = []
        with open_pictures(path, override) as track:
            for seconds, image in track.frames():
                times.append(seconds)
                if size is not None and image.shape != size:
                    raise InputError(
                        path, f"frames are {image.shape[1]}x{image.shape[0]}", None, f"{size[1]}x{size[0]}"
                    )
                size = image.shape
                yield start_seconds + seconds, image
            if not times:
                raise InputError(path, "holds no frame that can be decoded", expected="a video")
            # An index that counts one frame more than can be shown is common; more than that is a cut recording.
            if len(times) < track.count_shown() - 1:
                raise InputError(path, f"is cut short: {len(times)} of {track.count_shown()} frames could be decoded")
            first = first or track
            if track.orientation != first.orientation:
                raise InputError(path, f"is turned by {track.orientation}", expected=f"{first.orientation} as before")
            lone_seconds = _lone_seconds(track)
        start_seconds += _length_seconds(np.array(times), lone_seconds)


def _lone_seconds(track: PictureTrack) -> float:
    """Return how long the only frame of a file lasts."""
    return track.time_scale / track.nominal_fps if track.nominal_fps else 0.0


def _length_seconds(times: NDArray[np.float64], lone_seconds: float) -> float:
    return float(times[-1]) + (frame_step(times) or lone_seconds)


def read_image(path: Path) -> NDArray[np.uint8]:
    """Read an image as (H, W, 3) RGB uint8.

    Raises
    ------
    InputError
        If the file is missing, no image, cut short or larger than 89 megapixels.
    """
    # The header first: a small file may declare an image that fills the memory.
    kind, _ = _read_header(path)
    data = path.read_bytes()
    if _is_damaged(data, kind):
        raise InputError(path, "is cut short or damaged", expected="a whole image")
    image = cv2.imdecode(np.frombuffer(data, dtype=np.uint8), cv2.IMREAD_COLOR)
    if image is None:
        raise InputError(path, "cannot be read as an image", expected="PNG, JPEG or TIFF")
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), dtype=np.uint8)


def read_image_size(path: Path) -> tuple[int, int]:
    """Read width and height of an image as `read_image` returns it, from the file's header.

    Raises
    ------
    InputError
        If the file is missing, no image, or larger than 89 megapixels.
    """
    _, (width, height) = _read_header(path)
    # Metadata are as odd as programs write them, and decoders then raise anything.
    with contextlib.suppress(Exception), PIL.Image.open(path) as opened:
        if opened.getexif().get(PIL.ExifTags.Base.Orientation) in _QUARTER_TURNS:
            return height, width
    return width, height


def _read_header(path: Path) -> tuple[str | None, tuple[int, int]]:
    """Return an image's format, and the width and height that it is stored with."""
    require_file(path, "an image")
    try:
        with (
            warnings.catch_warnings(action="error", category=PIL.Image.DecompressionBombWarning),
            PIL.Image.open(path) as opened,
        ):
            return opened.format, opened.size
    except (PIL.Image.DecompressionBombWarning, PIL.Image.DecompressionBombError) as error:
        raise InputError(path, "is too large", expected="at most 89 megapixels") from error
    except (OSError, SyntaxError, ValueError) as error:
        raise InputError(path, "cannot be read as an image", expected="PNG, JPEG or TIFF") from error


def _is_damaged(data: bytes, kind: str | None) -> bool:
    """Return whether a PNG or JPEG lacks what it should hold: OpenCV makes an image of what is there all the same."""
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
    """Write (H, W, 3) RGB or (H, W) gray uint8 as PNG or JPEG, by the suffix, and return the path."""
    ordered = cv2.cvtColor(image, cv2.COLOR_RGB2BGR) if image.ndim == 3 else image
    ok, data = cv2.imencode(path.suffix, ordered)
    if not ok:
        raise ValueError(f"OpenCV cannot write {path.suffix} images")
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
