"""Two views of a photograph, a known motion apart: from them kernels learn where to look, before they make frames."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from rb2v.io.video import read_image

SIDE = 32
"""Of the views, in pixels."""

_REACHES_PX = (1.5, 6.0)
"""Largest motion from the middle to either view, along an axis, at the first step and at the last."""
_MARGIN_PX = 8  # more than the longest motion, and a pixel for interpolation
_SHRINKING = 0.6
"""From one size of a photograph to the next."""
_LEAST_CONTRAST = 12.0
"""Standard deviation of the 8-bit values of a view; less shows no motion."""
_N_TRIES = 20  # only a bound, for photographs of hardly more than sky

Pan = tuple[NDArray[np.uint8], NDArray[np.float32]]
"""(2, 3, 32, 32) coded RGB, and the (2,) motion down and right, in pixels, from the middle to the first view, which is
that from the second view to the middle."""


class PanBatches(Dataset[tuple[Tensor, Tensor]]):
    """Pans by step and row of a batch; what each is depends on nothing but the seed and these two.

    Small motions come first, larger ones step by step: those of many pixels can only be recognized by what was learned
    of the others.

    Parameters
    ----------
    photos : sequence of Path
        What is shown.
    rows : range
        Rows of every batch that are wanted.
    steps : range
        Steps that are wanted.
    n_steps : int
        All steps there are; motion grows over them.
    seed : int
        Decides everything else.
    """

    def __init__(self, photos: Sequence[Path], rows: range, steps: range, n_steps: int, seed: int) -> None:
        self._photos, self._rows, self._steps, self._n_steps, self._seed = tuple(photos), rows, steps, n_steps, seed

    def __len__(self) -> int:
        return len(self._steps)

    def __getitem__(self, place: int) -> tuple[Tensor, Tensor]:
        """Return the (B, 2, 3, 32, 32) uint8 views of a step, and their (B, 2) motion."""
        views, motions = zip(*(self._draw(self._steps[place], row) for row in self._rows), strict=True)
        return torch.from_numpy(np.stack(views)), torch.from_numpy(np.stack(motions))

    def _draw(self, step: int, row: int) -> Pan:
        rng = np.random.default_rng((self._seed, 3, step, row))
        first, last = _REACHES_PX
        reach = first + (last - first) * step / self._n_steps
        pictures = _all_sizes(self._photos)
        for _ in range(_N_TRIES):
            motion = (reach * rng.random() * rng.uniform(-1, 1, 2)).astype(np.float32)
            views = _look_twice(pictures[int(rng.integers(len(pictures)))], rng.random(2), motion)
            if views[0].std() >= _LEAST_CONTRAST:
                break
        views = views[..., rng.permutation(3)]
        return np.ascontiguousarray(np.moveaxis(views, -1, 1)), motion


@lru_cache(maxsize=1)
def _all_sizes(photos: tuple[Path, ...]) -> list[NDArray[np.uint8]]:
    least = SIDE + 2 * _MARGIN_PX
    pictures = []
    for path in photos:
        picture = read_image(path)
        while min(picture.shape[:2]) > least:
            pictures.append(picture)
            smaller = cv2.resize(picture, None, fx=_SHRINKING, fy=_SHRINKING, interpolation=cv2.INTER_AREA)
            picture = np.asarray(smaller, dtype=np.uint8)
    return pictures


def _look_twice(
    picture: NDArray[np.uint8], where: NDArray[np.float64], motion: NDArray[np.float32]
) -> NDArray[np.uint8]:
    free = np.array(picture.shape[:2]) - SIDE - 2 * _MARGIN_PX
    corner = _MARGIN_PX + np.floor(where * free)
    size = (SIDE, SIDE)
    views = []
    for place in (corner - motion, corner + motion):
        (top, left), part = np.floor(place).astype(int), place - np.floor(place)
        # One pixel more than is seen, for samples between the last two.
        seen = picture[top : top + SIDE + 1, left : left + SIDE + 1]
        shift = np.array([[1, 0, part[1]], [0, 1, part[0]]])
        views.append(cv2.warpAffine(seen, shift, size, flags=cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP))
    return np.stack(views).astype(np.uint8)
