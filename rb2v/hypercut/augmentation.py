"""Augmentation of sequences for the order network: nothing but a scene's motion may tell one end from the other."""

from __future__ import annotations

import itertools

import numpy as np
import torch
from torch import Tensor

from rb2v.hypercut.order import sequence_pairs
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
    rng = np.random.default_rng((seed, step))
    n, n_frames, _, height, width = sequences.shape
    crop_height, crop_width = _crop_side(height), _crop_side(width)
    rows = range(batch_size) if rows is None else rows
    batch = []
    for place, index in enumerate(rng.choice(n, batch_size, replace=n < batch_size)):
        top, left = rng.integers(0, (height - crop_height + 1, width - crop_width + 1))
        # Time, rows and columns: a mirrored scene moves just as well, and a reversed one must score the negative.
        flipped = [axis for axis in (0, 2, 3) if rng.random() < 0.5]
        gain = MAX_GAIN ** rng.uniform(-1, 1)
        offset = 0.5 + rng.uniform(-MAX_OFFSET, MAX_OFFSET)
        if place in rows:
            sequence = to_float(sequences[index, :, :, top : top + crop_height, left : left + crop_width])
            batch.append((sequence.flip(flipped) - 0.5) * gain + offset)
    contrast_reversed = rng.random((batch_size, n_frames // 2)) < 0.5
    return torch.stack(batch), torch.from_numpy(contrast_reversed[rows.start : rows.stop])


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
    """Draw the augmented pairs of one training step: `draw_sequences`, then `show_pairs`."""
    return show_pairs(*draw_sequences(sequences, batch_size, seed, step, rows))
