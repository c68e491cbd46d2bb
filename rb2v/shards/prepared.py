"""Frames of a data set in the cache, decoded and shrunk once for all trainings at that size."""

from __future__ import annotations

import fcntl
import json
import logging
import math
import os
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from rb2v.artifacts import Split
from rb2v.errors import InputError
from rb2v.execution import ProcessExecutor, SerialExecutor
from rb2v.io.partial import PARTIAL, leftovers_in, remove_leftovers
from rb2v.io.store import parse_json, sha256_of, whole_file
from rb2v.models.cache import cache_folder
from rb2v.shards.manifest import manifest_path
from rb2v.shards.reader import ShardReader
from rb2v.shards.resizing import resize_frames, shrunk_size

VERSION = 1
"""Raised when the same shards would give other bytes: another resampling, or another form of the file."""
FOLDER_VARIABLE = "RB2V_FRAME_CACHE"
LIMIT_VARIABLE = "RB2V_FRAME_CACHE_GB"
DEFAULT_LIMIT_GB = 20.0
"""Four thousand decoded sequences of eight 448x448 frames, or 200,000 at 64x64."""

_SUFFIX = ".frames"
_MAGIC = "rb2v-frames"
_HEADER_BYTES = 4096  # a page, so that the frames behind it begin at one
_BYTES_PER_TASK = 2**27  # of decoded frames: about 28 sequences at 448x448, half a second of one core
_MIN_BYTES_PER_WORKER = 2**31  # below, 8 s of one core, the start of a process costs more than it saves
_MAX_CHECKED_BYTES = 2**26  # whose checksums are compared on opening, in 0.05 s

Frames = NDArray[np.uint8]
Progress = Callable[[int, int], None]

logger = logging.getLogger(__name__)


_CHECKSUM = np.dtype("<u4")
"""CRC-32 of each sample's frames, behind all of them."""


@dataclass(frozen=True)
class FramesKey:
    """What the bytes of a file depend on."""

    data_sha256: str
    split: Split | None
    size: int | None
    """Shorter side in pixels; None for frames as they are."""
    shape: tuple[int, ...]
    """(n, 1 + T, 3, h, w)."""

    @property
    def described(self) -> tuple[str, str, str]:
        """Split, size and number of samples, for a table."""
        return self.split or "all", "full" if self.size is None else f"{self.size} px", str(self.shape[0])

    @property
    def path(self) -> Path:
        """Place of the file."""
        size = "full" if self.size is None else f"{self.size}px"
        return frames_folder() / f"{self.data_sha256[:16]}-{self.split or 'all'}-{size}{_SUFFIX}"

    @property
    def header(self) -> dict[str, Any]:
        """What stands at the beginning of the file."""
        fields = {"data_sha256": self.data_sha256, "split": self.split, "size": self.size, "shape": list(self.shape)}
        return {"format": _MAGIC, "version": VERSION, **fields}

    @property
    def sample_bytes(self) -> int:
        """Size of a sample."""
        return math.prod(self.shape[1:])

    @property
    def file_bytes(self) -> int:
        """Size of the file."""
        return _HEADER_BYTES + self.shape[0] * (self.sample_bytes + _CHECKSUM.itemsize)


@dataclass(frozen=True)
class CachedFrames:
    """A file of the cache, for the list of them."""

    path: Path
    bytes: int
    last_used: float
    """Seconds since the epoch."""
    key: FramesKey | None
    """What it holds; None where it is damaged, or of another version."""


def frames_folder() -> Path:
    """Return the folder of the cached frames.

    Returns
    -------
    Path
        ``$RB2V_FRAME_CACHE`` where it is set, else ``frames`` in `rb2v.models.cache.cache_folder`; it need not exist.
    """
    chosen = os.environ.get(FOLDER_VARIABLE)
    return Path(chosen) if chosen else cache_folder() / "frames"


def limit_bytes() -> int:
    """Return how large the cached frames may grow together: ``$RB2V_FRAME_CACHE_GB`` in 10^9 bytes, or 20.

    Raises
    ------
    InputError
        If the variable is not a number of at least 0.
    """
    text = os.environ.get(LIMIT_VARIABLE) or str(DEFAULT_LIMIT_GB)
    try:
        limit = float(text)
    except ValueError:
        limit = math.nan
    if not 0 <= limit < math.inf:
        raise InputError(LIMIT_VARIABLE, f"is {text!r}", expected="gigabytes, at least 0; 0 to cache nothing")
    return int(limit * 1e9)


def load_frames(reader: ShardReader, size: int | None, progress: Progress | None = None) -> Frames:
    """Return all frames of a data set at a size, from the cache where they lie there.

    Parameters
    ----------
    reader : ShardReader
        The samples.
    size : int, optional
        Shorter side in pixels to which frames are area-resized; larger ones than the frames leave them as they are.
    progress : callable, optional
        Called with the samples read and their number, where they are not in the cache.

    Returns
    -------
    (n, 1 + T, 3, h, w) ndarray of uint8
        RGB, the blurry frame before the sharp ones. Mapped from the cache, or in memory where it cannot be written.

    Raises
    ------
    InputError
        If a sample is damaged.
    """
    frames = open_frames(reader, size, progress)
    if frames is not None:
        return frames
    key = _key_of(reader, size)
    frames = np.empty(key.shape, dtype=np.uint8)
    for index in range(len(reader)):
        _read_planes(reader, index, key.size, frames[index])
        if progress is not None:
            progress(index + 1, len(reader))
    return frames


def open_frames(reader: ShardReader, size: int | None, progress: Progress | None = None) -> Frames | None:
    """Map the frames of a data set at a size from the cache, and put them there before where they are not.

    A file that is damaged, or of another version or data set, is made anew. Processes that want the same file wait for
    the one that makes it.

    Returns
    -------
    (n, 1 + T, 3, h, w) ndarray of uint8, or None
        See `load_frames`; what is written to it changes neither the file nor what other processes see. None, with a
        warning, where the frames are larger than the whole cache may be or it cannot be written.
    """
    key = _key_of(reader, size)
    if not len(reader):
        return np.empty(key.shape, dtype=np.uint8)
    found = _map(key)
    if found is not None:
        return found
    limit = limit_bytes()
    if not limit:
        return None
    if key.file_bytes > limit:
        need = f"{key.file_bytes / 1e9:.1f} GB of frames, more than the {limit / 1e9:g} GB of the cache"
        logger.warning("%s: %s; set %s to cache them", reader.folder, need, LIMIT_VARIABLE)
        return None
    try:
        key.path.parent.mkdir(parents=True, exist_ok=True)
        with _one_maker(key.path):
            found = _map(key)
            if found is None:
                _make_room(key, limit)
                _make(key, reader, progress)
                found = _map(key)
    except OSError as error:
        problem = f"cannot be written ({error.strerror}); every run decodes its frames"
        logger.warning("%s: %s", error.filename or key.path, problem)
        return None
    if found is None:
        logger.warning("%s: was removed while it was made; every run decodes its frames", key.path)
    return found


def find_frames(reader: ShardReader, size: int | None) -> Frames | None:
    """Map the frames of a data set at a size from the cache; None where they are not there."""
    return _map(_key_of(reader, size))


def list_cached() -> list[CachedFrames]:
    """Return the files of the cache, the one that was used last first."""
    entries = []
    for path in frames_folder().glob(f"*{_SUFFIX}"):
        if path.name.startswith(PARTIAL):
            continue
        with suppress(OSError):
            status = path.stat()
            entries.append(CachedFrames(path, status.st_size, status.st_mtime, _read_key(path, status.st_size)))
    return sorted(entries, key=lambda entry: -entry.last_used)


def clear_cached() -> int:
    """Remove all files of the cache, and return how many bytes they had; who reads them now may finish."""
    entries = list_cached()
    for entry in entries:
        entry.path.unlink(missing_ok=True)
        _lock_path(entry.path).unlink(missing_ok=True)
    if frames_folder().is_dir():
        remove_leftovers(leftovers_in([frames_folder()]))
    return sum(entry.bytes for entry in entries)


def _key_of(reader: ShardReader, size: int | None) -> FramesKey:
    width, height = reader.manifest.output_size
    shrunk = shrunk_size(height, width, size)
    n_frames = 1 + reader.manifest.frames_per_sequence
    shape = (len(reader), n_frames, 3, *(shrunk or (height, width)))
    return FramesKey(_data_sha256(reader), reader.split, size if shrunk else None, shape)


def _data_sha256(reader: ShardReader) -> str:
    return sha256_of(manifest_path(reader.folder))


def _map(key: FramesKey) -> Frames | None:
    """Map a file if it is whole and holds what it should; use makes it the last to be removed."""
    try:
        if _read_key(key.path, key.path.stat().st_size) != key:
            return None
        # Copied on writing, because torch warns of memory that cannot be written.
        frames = np.memmap(key.path, np.uint8, "c", _HEADER_BYTES, key.shape)
        end = _HEADER_BYTES + frames.nbytes
        checksums = np.memmap(key.path, _CHECKSUM, "r", end, (len(frames),))
        n_checked = min(len(frames), max(1, _MAX_CHECKED_BYTES // key.sample_bytes))
        for index in np.linspace(0, len(frames) - 1, n_checked).astype(int):
            if zlib.crc32(frames[index]) != checksums[index]:
                return None
        with suppress(OSError):  # in a cache that others own
            os.utime(key.path)
    except OSError:
        return None
    return frames


def _read_key(path: Path, n_bytes: int) -> FramesKey | None:
    """Return what a file of so many bytes holds by its header; None where it is not what this version writes."""
    with path.open("rb") as file:
        text = file.read(_HEADER_BYTES)
    try:
        header = parse_json(text.decode())
        key = FramesKey(header["data_sha256"], header["split"], header["size"], tuple(header["shape"]))
        return key if (key.header, key.file_bytes) == (header, n_bytes) else None
    except (KeyError, TypeError, ValueError):
        return None


@contextmanager
def _one_maker(path: Path) -> Iterator[None]:
    """Wait until nobody else makes a file."""
    descriptor = os.open(_lock_path(path), os.O_RDWR | os.O_CREAT, 0o666)
    try:
        with suppress(OSError):  # without locks several make the same file, and the last one stays
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def _lock_path(path: Path) -> Path:
    return path.with_suffix(".lock")


def _make_room(key: FramesKey, limit: int) -> None:
    """Remove the files that were not used for the longest time, until another one fits."""
    entries = [entry for entry in list_cached() if entry.path != key.path]
    total = key.file_bytes + sum(entry.bytes for entry in entries)
    for entry in reversed(entries):
        if total <= limit:
            break
        entry.path.unlink(missing_ok=True)
        _lock_path(entry.path).unlink(missing_ok=True)
        logger.info("%s: removed from the cache to make room", entry.path)
        total -= entry.bytes


def _make(key: FramesKey, reader: ShardReader, progress: Progress | None) -> None:
    width, height = reader.manifest.output_size
    decoded_bytes = 3 * width * height * key.shape[1]
    per_task = max(1, _BYTES_PER_TASK // decoded_bytes)
    n = len(reader)
    tasks = [range(start, min(start + per_task, n)) for start in range(0, n, per_task)]
    n_workers = min(os.cpu_count() or 1, 1 + n * decoded_bytes // _MIN_BYTES_PER_WORKER)
    executor = SerialExecutor() if n_workers == 1 else ProcessExecutor(n_workers)
    with whole_file(key.path) as temporary, temporary.open("r+b") as file:
        # Not through a mapping: on a full disk that ends a process without a word.
        file.write(json.dumps(key.header).encode().ljust(_HEADER_BYTES))
        file.flush()
        write = partial(_write_samples, reader.folder, key, temporary)
        checksums = []
        for samples, of_samples in zip(tasks, executor.map(write, tasks), strict=True):
            checksums += of_samples
            if progress is not None:
                progress(samples.stop, n)
        file.seek(_HEADER_BYTES + n * key.sample_bytes)
        file.write(np.array(checksums, dtype=_CHECKSUM).tobytes())


def _write_samples(folder: Path, key: FramesKey, path: Path, samples: range) -> list[int]:
    """Write the frames of some samples to their place in a file, and return their checksums."""
    reader = _open_reader(folder, key.split, key.data_sha256)
    frames = np.empty(key.shape[1:], dtype=np.uint8)
    checksums = []
    with path.open("r+b") as file:
        file.seek(_HEADER_BYTES + samples.start * key.sample_bytes)
        for index in samples:
            _read_planes(reader, index, key.size, frames)
            checksums.append(zlib.crc32(frames.data))
            file.write(frames.data)
    return checksums


@lru_cache(maxsize=1)
def _open_reader(folder: Path, split: Split | None, data_sha256: str) -> ShardReader:
    # The digest tells a data set from one that was in the same folder before.
    return ShardReader(folder, split)


def _read_planes(reader: ShardReader, index: int, size: int | None, out: Frames) -> None:
    """Read the frames of a sample into (1 + T, 3, h, w)."""
    frames = np.concatenate([reader.read_blurry(index)[None], reader.read_sharp(index)])
    shrunk = frames if size is None else resize_frames(frames, size)
    for frame, planes in zip(shrunk, out, strict=True):
        cv2.split(frame, list(planes))
