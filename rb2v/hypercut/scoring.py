"""Score many sequences, of which a few are on the device at a time."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rb2v.hypercut.controls import Scorer
from rb2v.hypercut.pair_order import sequence_pairs
from rb2v.training.data import to_float

MAX_BATCH_PIXELS = 2**19
"""Pixels of the pairs that are scored at once; the widest maps take 128 bytes for each."""


def batch_size_of(shape: torch.Size) -> int:
    """Return how many sequences of a shape, (N + 1, 3, h, w), are scored at once; at least one."""
    n_frames, _, height, width = shape
    return max(1, MAX_BATCH_PIXELS // (n_frames // 2 * height * width))


def score_sequences(
    scorer: Scorer, sequences: Tensor, device: torch.device, change: Callable[[Tensor], Tensor] | None = None
) -> NDArray[np.float32]:
    """Return the scores of the pairs of every sequence, (n, N / 2, ...), outer pair first.

    Parameters
    ----------
    scorer : callable
        Takes the first and the second frames of pairs, (B, N / 2, 3, h, w) in [0, 1], to (B, N / 2, ...) scores:
        one of each pair, or several.
    sequences : (n, N + 1, 3, h, w) tensor of uint8
        Sequences, anywhere.
    device : torch.device
        Where to score them.
    change : callable, optional
        What is done to all frames, in [0, 1], before they are scored.
    """
    batch_size = batch_size_of(sequences.shape[1:])
    batches = []
    with torch.inference_mode():
        for start in range(0, len(sequences), batch_size):
            frames = to_float(sequences[start : start + batch_size].to(device))
            first, second = sequence_pairs(frames if change is None else change(frames))
            batches.append(scorer(first, second).float().cpu().numpy())
    return np.concatenate(batches) if batches else np.empty((0, sequences.shape[1] // 2), np.float32)
