"""The frames of a clip: from a video or a folder, from any frame on, with their times."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rb2v.artifacts import FormatOverride
from rb2v.core.planes import Planes
from rb2v.errors import InputError
from rb2v.io.picture_track import NO_OVERRIDE, PictureFormat
from rb2v.io.video import iter_images, iter_images_from, probe_video, read_image, read_image_size
from rb2v.stages.synthesize.layouts import Clip

Image = NDArray[np.uint8] | Planes

_SAME_RATE = 0.05  # as far as a stated capture rate and that of the times may differ and be the same


@dataclass(frozen=True)
class Footage:
    """The frames of a clip, each decoded when it is asked for.

    Parameters
    ----------
    clip : Clip
        The clip.
    fps : float, optional
        The capture rate, where it is known better than the file states it; for folders the only source of it.
    """

    clip: Clip
    fps: float | None = None

    def read_format(self) -> PictureFormat | None:
        """Return how a video's frames are stored and how fast they were recorded; None for a folder.

        Raises
        ------
        InputError
            If the video cannot be read, or the capture rate contradicts it.
        """
        if not self.clip.is_video:
            return None
        if self.fps is not None:
            _check_rate(self.clip.source, self.fps)
        return probe_video(self.clip.source, self._override)

    def frames(self, start: int = 0, seconds: float | None = None) -> Iterator[tuple[int, float, Image]]:
        """Yield index, time in seconds and image of the frames from one on.

        Parameters
        ----------
        start : int
            Index of the first frame.
        seconds : float, optional
            Its time, as this method has yielded it before; for videos, to begin there.

        Raises
        ------
        InputError
            If a frame cannot be read, or is of another size than the first.
        """
        if not self.clip.is_video:
            yield from self._folder_frames(start)
            return
        path = self.clip.source
        if start == 0 or seconds is None:
            images, first = iter_images([path], self._override), 0
        else:
            images, first = iter_images_from(path, seconds, self._override), start
        for index, (time_seconds, image) in enumerate(images, start=first):
            if index >= start:
                yield index, time_seconds, image

    def read_sizes(self) -> tuple[tuple[int, ...], int]:
        """Return the shape (H, W, 3) of a folder's frames, and how many there are; only their headers are read.

        Raises
        ------
        InputError
            If a frame cannot be read, or is of another size than the first.
        """
        paths = self.clip.list_frames()
        sizes = [read_image_size(path) for path in paths]
        for path, (width, height) in zip(paths, sizes, strict=True):
            if (width, height) != sizes[0]:
                expected = "{}x{}, as the frames before it".format(*sizes[0])
                raise InputError(path, f"is {width}x{height}", expected=expected)
        return (*sizes[0][::-1], 3), len(paths)

    def _folder_frames(self, start: int) -> Iterator[tuple[int, float, Image]]:
        paths = self.clip.list_frames()
        size: tuple[int, ...] | None = None
        for index, path in enumerate(paths[start:], start=start):
            image = read_image(path)
            if size is not None and image.shape != size:
                found = f"is {image.shape[1]}x{image.shape[0]}"
                raise InputError(path, found, expected=f"{size[1]}x{size[0]}, as the frames before it")
            size = image.shape
            yield index, self.time_of(index), image

    def time_of(self, index: int) -> float:
        """Return the time of a folder's frame in seconds, or its index where the capture rate is not known."""
        return index / self.fps if self.fps else float(index)

    @property
    def _override(self) -> FormatOverride:
        return NO_OVERRIDE if self.fps is None else FormatOverride(capture_fps=self.fps)


def release_decoders() -> None:
    """Free the decoders of videos that were not read to their end.

    Closing their generators leaves them in reference cycles, each with its frames: 25 MB at 448x448.
    """
    gc.collect()


def _check_rate(path: Path, fps: float) -> None:
    """Check that a capture rate does not contradict what the file states, or the times of its frames."""
    stated = probe_video(path)
    file_fps = stated.nominal_fps / stated.time_scale
    if stated.time_scale != 1 and abs(fps / file_fps - 1) > _SAME_RATE:
        problem = f"{fps:g} contradicts the file, which states that it was captured at {file_fps:g}"
        raise InputError(path, problem, "fps", f"{file_fps:g}, or no rate")
    if fps < (1 - _SAME_RATE) * file_fps:
        problem = f"{fps:g} contradicts the file, which shows {file_fps:g} frames a second: a time lapse has no blur"
        raise InputError(path, problem, "fps", f"at least {file_fps:g}")
