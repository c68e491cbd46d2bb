"""Triplets of images: the first frame, the true one between, the last."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rb2v.core.metrics import SSIM_WINDOW_PX
from rb2v.errors import InputError
from rb2v.io.photo import PHOTO_SUFFIXES
from rb2v.io.store import sha256_of
from rb2v.io.video import read_image

_EXPECTED = "folders of three images: first, true middle and last frame by the order of their names"


@dataclass(frozen=True)
class Triplet:
    """Three images in a folder of their own."""

    set_name: str
    """Name of the folder that it lies in with others."""
    name: str
    paths: tuple[Path, Path, Path]

    def read(self, min_size_px: int = SSIM_WINDOW_PX) -> tuple[NDArray[np.uint8], ...]:
        """Return the (H, W, 3) frames: first, middle, last.

        Raises
        ------
        InputError
            If an image cannot be read, differs from the first in size, or is smaller than the metrics can judge.
        """
        frames = tuple(read_image(path) for path in self.paths)
        for path, frame in zip(self.paths, frames, strict=True):
            (height, width), (first_height, first_width) = frame.shape[:2], frames[0].shape[:2]
            if frame.shape != frames[0].shape:
                expected = f"{first_width}x{first_height}, as {self.paths[0].name} is"
                raise InputError(path, f"is {width}x{height} px", expected=expected)
            if min(height, width) < min_size_px:
                raise InputError(path, f"is {width}x{height} px", expected=f"at least {min_size_px}x{min_size_px}")
        return frames


def find_triplets(data_dir: Path) -> list[Triplet]:
    """Return all triplets below a folder, by set and name.

    A folder without folders, that holds exactly three images, is a triplet; the folder around it is its set.

    Raises
    ------
    InputError
        If there is no such folder, it holds no triplet, or a folder holds another number of images.
    """
    if not data_dir.is_dir():
        raise InputError(data_dir, "there is no such folder", expected=_EXPECTED)
    triplets = []
    for root, folders, files in os.walk(data_dir):
        folder = Path(root)
        folders.sort()
        pictures = sorted(name for name in files if Path(name).suffix.lower() in PHOTO_SUFFIXES)
        if folders or not pictures:
            continue
        if len(pictures) != 3:
            raise InputError(folder, f"holds {len(pictures)} images", expected=_EXPECTED)
        around = folder.parent.relative_to(data_dir) if folder != data_dir else Path()
        set_name = around.as_posix() if around.parts else data_dir.resolve().name
        first, middle, last = (folder / name for name in pictures)
        triplets.append(Triplet(set_name, folder.name, (first, middle, last)))
    if not triplets:
        raise InputError(data_dir, "holds no triplet", expected=_EXPECTED)
    return sorted(triplets, key=lambda one: (one.set_name, one.name))


def digest(triplets: Sequence[Triplet]) -> str:
    """Return the SHA-256 of all images and their places."""
    total = hashlib.sha256()
    for one in triplets:
        for path in one.paths:
            total.update(f"{one.set_name}/{one.name}/{path.name} {sha256_of(path)}\n".encode())
    return total.hexdigest()
