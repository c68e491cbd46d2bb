"""Spool of packed samples: made while their clip is judged, so that it is decoded once.

Which sequences are taken is known for certain at the end of a clip alone. A sequence is rendered as soon as the frames
around it are measured, where these give no reason to reject it, and kept compressed. What the spool lacks after all is
decoded again.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from rb2v.core.planes import Planes
from rb2v.io.store import whole_file
from rb2v.shards.layout import FRAME_NAMES
from rb2v.shards.packing import PackedSample, pack_sample
from rb2v.stages.synthesize.config import SynthesizeConfig
from rb2v.stages.synthesize.gates import REACH, ClipMeter, judge_sequences
from rb2v.stages.synthesize.rendering import group_sequences
from rb2v.stages.synthesize.samples import SampleMaker

SPOOL_SUFFIX = ".samples"

_HELD_BYTES = 2**26  # of RGB frames between two judgments: 111 of 448x448, two of 4K
_MAX_HELD = 256  # frames between two judgments; more would save no time
_CONTEXT = 128  # frames before a sequence that tell what is usual: half a second at 240 fps
_COUNT = struct.Struct("<I")
_TRAILER = struct.Struct("<Q")
_ENTRY = np.dtype(
    [
        *(("clip", "<i4"), ("start", "<i8"), ("width", "<i4"), ("height", "<i4")),
        *(("offset", "<i8"), ("length", "<i8"), ("psnr", "<f8"), ("checksum", "<u4")),
    ]
)


@dataclass(frozen=True)
class SpooledClip:
    """Where the samples of a clip are; can be sent to workers."""

    path: Path
    clip: int
    """Of the clips whose samples the file holds."""


class SpoolWriter:
    """Writes a spool; see `create_spool`."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._entries: list[tuple[float, ...]] = []

    def add(self, clip: int, start: int, sample: PackedSample) -> None:
        """Write a sample of a clip, whose sequence begins at a recorded frame."""
        offset = self._file.tell()
        for name in FRAME_NAMES:
            tiles = sample.tiles[name]
            self._file.write(_COUNT.pack(len(tiles)))
            self._file.write(np.array([len(tile) for tile in tiles], dtype="<u4").tobytes())
            self._file.writelines(tiles)
        height, width, _ = sample.shapes["blurry"]
        length = self._file.tell() - offset
        self._entries.append((clip, start, width, height, offset, length, sample.values["psnr"], sample.checksum))

    def finish(self) -> None:
        """Write the table of the samples."""
        self._file.write(np.array(self._entries, dtype=_ENTRY).tobytes())
        self._file.write(_TRAILER.pack(len(self._entries)))


@contextmanager
def create_spool(path: Path) -> Iterator[SpoolWriter]:
    """Yield the writer of a new spool, which is written atomically."""
    with whole_file(path) as temporary, temporary.open("wb") as file:
        writer = SpoolWriter(file)
        yield writer
        writer.finish()


class Spool:
    """Reads the samples of one clip; a file that is missing or cut short holds none.

    Parameters
    ----------
    spooled : SpooledClip or None
        Where they are.
    """

    def __init__(self, spooled: SpooledClip | None) -> None:
        self._path = None if spooled is None else spooled.path
        self._entries: dict[int, NDArray[np.void]] = {}
        if spooled is not None:
            entries = _read_entries(spooled.path)
            self._entries = {int(one["start"]): one for one in entries[entries["clip"] == spooled.clip]}

    def __contains__(self, start: int) -> bool:
        return start in self._entries

    def read(self, start: int, maker: SampleMaker) -> PackedSample | None:
        """Return the sample of a sequence, or None where it is not there."""
        entry = self._entries.get(start)
        if entry is None or self._path is None:
            return None
        with self._path.open("rb") as file:
            file.seek(int(entry["offset"]))
            tiles = _split_tiles(file.read(int(entry["length"])))
        size = (int(entry["width"]), int(entry["height"]))
        return maker.restore(start, float(entry["psnr"]), size, tiles, int(entry["checksum"]))


def _read_entries(path: Path) -> NDArray[np.void]:
    none = np.zeros(0, dtype=_ENTRY)
    if not path.is_file():
        return none
    with path.open("rb") as file:
        size = file.seek(0, 2)
        if size < _TRAILER.size:
            return none
        file.seek(size - _TRAILER.size)
        (count,) = _TRAILER.unpack(file.read(_TRAILER.size))
        begin = size - _TRAILER.size - count * _ENTRY.itemsize
        if begin < 0:
            return none
        file.seek(begin)
        entries = np.frombuffer(file.read(count * _ENTRY.itemsize), dtype=_ENTRY)
    ends = entries["offset"] + entries["length"]
    return entries if count == 0 or int(ends[-1]) == begin else none


def _split_tiles(data: bytes) -> Mapping[str, tuple[bytes, ...]]:
    split: dict[str, tuple[bytes, ...]] = {}
    place = 0
    for name in FRAME_NAMES:
        (count,) = _COUNT.unpack_from(data, place)
        sizes = np.frombuffer(data, dtype="<u4", count=count, offset=place + _COUNT.size)
        ends = place + _COUNT.size + sizes.nbytes + np.cumsum(sizes, dtype=np.int64)
        split[name] = tuple(data[int(end - size) : int(end)] for end, size in zip(ends, sizes, strict=True))
        place = int(ends[-1])
    return split


class EarlyRenderer:
    """Renders the sequences of a clip that is being judged, as soon as the frames around them are measured.

    Parameters
    ----------
    maker : SampleMaker
        Makes the samples.
    config : SynthesizeConfig
        How to judge.
    meter : ClipMeter
        Measures the frames; each before it is added here.
    spool : SpoolWriter
        Takes the samples.
    clip : int
        Of the clips that the spool holds.
    """

    def __init__(
        self, maker: SampleMaker, config: SynthesizeConfig, meter: ClipMeter, spool: SpoolWriter, clip: int
    ) -> None:
        self._maker, self._config, self._meter, self._spool, self._clip = maker, config, meter, spool, clip
        self._held: deque[tuple[int, NDArray[np.uint8] | Planes]] = deque()
        self._next = 0  # first frame of the first sequence that is not judged

    def add(self, index: int, image: NDArray[np.uint8] | Planes) -> None:
        """Take the next frame of the clip."""
        if index < self._next:
            return
        self._held.append((index, image))
        height, width, _ = image.shape
        window = min(max(_HELD_BYTES // (3 * height * width), 1), _MAX_HELD)
        if len(self._held) >= self._config.recorded_per_sequence + REACH + window:
            self._render(self._meter.n_frames - REACH)

    def finish(self) -> None:
        """Render what is left, at the end of the clip."""
        self._render(self._meter.n_frames)
        self._held.clear()

    def _render(self, end: int) -> None:
        """Render the sequences of the frames before ``end``."""
        config, stride = self._config, self._config.frames_per_stride
        last = end - config.recorded_per_sequence
        if last < self._next:
            return
        context = max(self._next - _CONTEXT, 0) // stride * stride
        judged = judge_sequences(self._meter.measures(context), config)
        places = [context + one.start for one in judged if not one.reason]
        starts = [start for start in places if self._next <= start <= last]
        for start, frames in group_sequences(self._held, starts, config.recorded_per_sequence, self._maker.framing):
            self._spool.add(self._clip, start, pack_sample(self._maker.make(frames, start)))
        self._next += (last - self._next) // stride * stride + stride
        while self._held and self._held[0][0] < self._next:
            self._held.popleft()
