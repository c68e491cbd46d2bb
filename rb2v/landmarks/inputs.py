"""Clips in which landmarks are looked for: images, videos and samples of data sets."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rb2v.errors import InputError
from rb2v.io.container import VIDEO_SUFFIXES
from rb2v.io.photo import PHOTO_SUFFIXES, natural_key
from rb2v.io.video import iter_frames, probe_video, read_image
from rb2v.shards import ShardReader, manifest_path

_FINE_SECONDS = 1 / 200  # from one sharp frame of a sample to the next, by the contract of shards


@dataclass(frozen=True, eq=False)
class ClipFrame:
    """A frame of a clip."""

    index: int
    time_seconds: float
    image: NDArray[np.uint8]
    """(H, W, 3) RGB."""


@dataclass(frozen=True, eq=False)
class Clip:
    """Frames that follow one another."""

    name: str
    n_frames: int
    """As the file states it; 0 where it says nothing."""
    fps: float
    """Frames per second; 0 for a single image."""
    frames: Callable[[], Iterator[ClipFrame]]
    """Yields them, each time anew."""


def open_clips(source: Path) -> list[Clip]:
    """Return the clips of an image, a folder of images, a video, or a data set.

    Parameters
    ----------
    source : Path
        Of a data set the folder with its manifest: every sample is a clip of its sharp frames.

    Raises
    ------
    InputError
        If there is nothing, a folder holds neither images nor a data set, or a video or manifest cannot be read.
    """
    if not source.exists():
        raise InputError(source, "there is no such file", expected="an image, a folder of images, a video, or shards")
    if not source.is_dir():
        return [_open_video(source) if source.suffix.lower() in VIDEO_SUFFIXES else _open_image(source)]
    if manifest_path(source).is_file():
        return _open_samples(source)
    paths = [
        path
        for path in source.iterdir()
        if path.suffix.lower() in PHOTO_SUFFIXES and not path.name.startswith(".") and path.is_file()
    ]
    if not paths:
        raise InputError(source, "holds neither images nor a data set", expected=", ".join(PHOTO_SUFFIXES))
    return [_open_image(path) for path in sorted(paths, key=natural_key)]


def _open_image(path: Path) -> Clip:
    def frames() -> Iterator[ClipFrame]:
        yield ClipFrame(0, 0.0, read_image(path))

    return Clip(path.name, 1, 0.0, frames)


def _open_video(path: Path) -> Clip:
    info = probe_video(path)

    def frames() -> Iterator[ClipFrame]:
        for index, frame in enumerate(iter_frames([path])):
            yield ClipFrame(index, frame.time_seconds, frame.image)

    return Clip(path.name, info.n_stated, info.nominal_fps or 25.0, frames)


def _open_samples(folder: Path) -> list[Clip]:
    reader = ShardReader(folder)

    def open_sample(index: int, name: str) -> Clip:
        def frames() -> Iterator[ClipFrame]:
            for k, image in enumerate(reader.read_sharp(index)):
                yield ClipFrame(k, k * _FINE_SECONDS, image)

        return Clip(name, reader.manifest.frames_per_sequence, 1 / _FINE_SECONDS, frames)

    keys = enumerate(reader.keys)
    return [open_sample(index, f"{split}/{take}/{blurry_index}") for index, (split, take, blurry_index) in keys]
