"""Aligned takes as the builder of shards reads them."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rb2v.artifacts import CameraResponse, Category, Split
from rb2v.errors import InputError
from rb2v.io.aligned import AlignedSample, AlignedTakeReader, aligned_take_path
from rb2v.stages.build_shards.compositing import Window


@dataclass(frozen=True)
class TakeRecord:
    """What the plan needs to know of an aligned take."""

    name: str
    category: Category
    subject: str
    green_screen: bool
    split: Split | None
    samples: int
    frames_per_sequence: int
    digest: str
    """Of everything but the frames, for which the digest of what they were made from stands."""
    is_judged: bool
    """Whether every accepted frame's composites were measured, where its screen is to be replaced."""


def read_take(folder: Path, name: str) -> TakeRecord:
    """Return what an aligned folder says of a take.

    Raises
    ------
    InputError
        If its file cannot be read, or holds another.
    """
    path = aligned_take_path(folder, name)
    with AlignedTakeReader(path) as reader:
        if reader.name != name:
            raise InputError(path, f"holds the take {reader.name!r}", expected=name)
        said = (reader.category, reader.subject, reader.green_screen, reader.split, reader.inputs_sha256)
        digest = hashlib.sha256(repr(said).encode())
        plate = np.empty(0, dtype=np.uint8) if reader.plate is None else reader.plate
        for column in (reader.blurry_index, reader.position, reader.psnr, reader.color, plate):
            digest.update(np.ascontiguousarray(column).tobytes())
        return TakeRecord(
            name=name,
            category=reader.category,
            subject=reader.subject,
            green_screen=reader.green_screen,
            split=reader.split,
            samples=len(reader),
            frames_per_sequence=len(reader.read(0).sharp) if len(reader) else 0,
            digest=digest.hexdigest(),
            is_judged=not reader.green_screen
            or not any(frame.accepted and math.isnan(frame.composite_psnr) for frame in reader.read_frames()),
        )


@dataclass(frozen=True)
class Source:
    """Where samples are read from, and what is kept of their frames."""

    folder: Path
    """The aligned folder."""
    response: CameraResponse
    window: Window

    def open(self, name: str) -> AlignedTakeReader:
        """Return the reader of a take."""
        return AlignedTakeReader(aligned_take_path(self.folder, name))

    def read(self, reader: AlignedTakeReader, index: int) -> AlignedSample:
        """Return what is kept of a sample.

        Raises
        ------
        InputError
            If its frames are not of the size that the folder's manifest says.
        """
        sample = reader.read(index)
        width, height = self.window.size
        for frame in (sample.blurry, sample.sharp[0]):
            if frame.shape != (height, width, 3):
                found = f"{frame.shape[1]}x{frame.shape[0]}"
                raise InputError(reader.path, f"its frames are {found}", expected=f"{width}x{height} by the manifest")
        return AlignedSample(self.window.cut(sample.blurry), self.window.cut(sample.sharp))
