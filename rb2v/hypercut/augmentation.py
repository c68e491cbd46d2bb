"""Augmentation of sequences for the order network: nothing but a scene's motion may tell one end from the other."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rb2v.hypercut.pair_order import sequence_pairs
from rb2v.training.data import to_float

CROP_SHARE = 7 / 8  # of either side: an eighth of the frame to move about in
MAX_GAIN = 1.25  # of contrast, about mid-gray, and its inverse
MAX_OFFSET = 0.1  # of coded values, either way


def min_frame_side(crop_px: int) -> int:
    """Return the least side, in pixels, of frames whose crops have sides of at least ``crop_px`` pixels.

    Examples
    --------
    >>> min_frame_side(33)
    38
    """
    return next(side for side in itertools.count(crop_px) if _crop_side(side) >= crop_px)


def _crop_side(side: int) -> int:
    return round(side * CROP_SHARE)


@dataclass(frozen=True)
class _View:
    """One augmented sequence: which it is, and what is done to all of its frames alike."""

    index: int
    rows: slice
    columns: slice
    flipped: tuple[int, ...]
    """Axes of (T, 3, h, w) that run backward."""
    levels: Tensor
    """(256,) float32, the value that each 8-bit value is shown as."""

    def frames_of(self, sequences: Tensor) -> NDArray[np.uint8]:
        """Return the frames as a view, (T, 3, h, w)."""
        frames = sequences[self.index, :, :, self.rows, self.columns].numpy()
        steps = tuple(slice(None, None, -1 if axis in self.flipped else 1) for axis in range(frames.ndim))
        return np.asarray(frames[steps])


def _draw_views(
    sequences: Tensor, batch_size: int, seed: int, step: int, rows: range | None
) -> tuple[list[_View], Tensor]:
    """Draw what is done to the sequences of a step, and which pairs are shown as negatives."""
    rng = np.random.default_rng((seed, step))
    n, n_frames, _, height, width = sequences.shape
    crop_height, crop_width = _crop_side(height), _crop_side(width)
    rows = range(batch_size) if rows is None else rows
    levels = to_float(torch.arange(256, dtype=torch.uint8))
    views = []
    for place, index in enumerate(rng.choice(n, batch_size, replace=n < batch_size)):
        top, left = rng.integers(0, (height - crop_height + 1, width - crop_width + 1))
        # Time, rows and columns: a mirrored scene moves just as well, and a reversed one must score the negative.
        flipped = tuple(axis for axis in (0, 2, 3) if rng.random() < 0.5)
        gain = MAX_GAIN ** rng.uniform(-1, 1)
        offset = 0.5 + rng.uniform(-MAX_OFFSET, MAX_OFFSET)
        if place in rows:
            crop = slice(top, top + crop_height), slice(left, left + crop_width)
            views.append(_View(int(index), *crop, flipped, (levels - 0.5) * gain + offset))
    contrast_reversed = rng.random((batch_size, n_frames // 2)) < 0.5
    return views, torch.from_numpy(contrast_reversed[rows.start : rows.stop])


def _show(frame: NDArray[np.uint8], levels: Tensor, out: Tensor) -> None:
    """Write a frame, (3, h, w), with each of its values as the level that stands for it."""
    flat = -1, frame.shape[-1]
    cv2.LUT(np.ascontiguousarray(frame).reshape(flat), levels.numpy(), out.numpy().reshape(flat))


def draw_sequences(
    sequences: Tensor, batch_size: int, seed: int, step: int, rows: range | None = None
) -> tuple[Tensor, Tensor]:
    """Draw the augmented sequences of one training step; depends on nothing but its arguments.

    Crop, mirroring, direction, brightness and contrast are drawn once per sequence and act alike on all its frames.

    Parameters
    ----------
    sequences : (n, N + 1, 3, h, w) tensor of uint8
        Sharp sequences.
    batch_size : int
        Sequences to draw, without repetition where there are enough.
    seed, step : int
        What the draw depends on.
    rows : range, optional
        Rows of the batch to return, as they are in the whole; all where it is None.

    Returns
    -------
    drawn : (batch_size or len(rows), N + 1, 3, h', w') tensor of float32
        Augmented sequences; values may leave [0, 1] a little.
    contrast_reversed : (batch_size or len(rows), N / 2) tensor of bool
        The pairs that are to be shown as their negatives.
    """
    views, contrast_reversed = _draw_views(sequences, batch_size, seed, step, rows)
    height, width = (_crop_side(side) for side in sequences.shape[-2:])
    drawn = torch.empty(len(views), *sequences.shape[1:3], height, width)
    for view, shown in zip(views, drawn, strict=True):
        for frame, out in zip(view.frames_of(sequences), shown, strict=True):
            _show(frame, view.levels, out)
    return drawn, contrast_reversed


def show_pairs(drawn: Tensor, contrast_reversed: Tensor) -> tuple[Tensor, Tensor]:
    """Return the pairs of augmented sequences as the network sees them.

    The contrast of either pair is reversed or not by itself, so that pairs cannot agree by what is bright.

    Parameters
    ----------
    drawn, contrast_reversed
        What `draw_sequences` returned.

    Returns
    -------
    first, second : (B, N / 2, 3, h, w) tensor of float32
        Pairs ``(x_k, x_{N-k})``, outer pair first.
    """
    first, second = sequence_pairs(drawn)
    negative = contrast_reversed[..., None, None, None]
    return torch.where(negative, 1 - first, first), torch.where(negative, 1 - second, second)


def draw_batch(
    sequences: Tensor, batch_size: int, seed: int, step: int, rows: range | None = None
) -> tuple[Tensor, Tensor]:
    """Draw the augmented pairs of one training step: what `show_pairs` returns of `draw_sequences`, in one pass."""
    views, contrast_reversed = _draw_views(sequences, batch_size, seed, step, rows)
    height, width = (_crop_side(side) for side in sequences.shape[-2:])
    pairs = torch.empty(2, *contrast_reversed.shape, 3, height, width)
    for place, view in enumerate(views):
        frames, negative_levels = view.frames_of(sequences), 1 - view.levels
        for k, negative in enumerate(contrast_reversed[place].tolist()):
            levels = negative_levels if negative else view.levels
            _show(frames[k], levels, pairs[0, place, k])
            _show(frames[-1 - k], levels, pairs[1, place, k])
    return pairs[0], pairs[1]
