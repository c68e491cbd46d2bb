"""How many samples one shard may hold."""

from __future__ import annotations

MAX_SHARD_BYTES = 2**30
"""Of frames before compression."""


def samples_per_shard(size: tuple[int, int], frames_per_sequence: int, most: int) -> int:
    """Return how many samples a shard takes, at least 1.

    Parameters
    ----------
    size : (int, int)
        Width and height of the frames in pixels.
    frames_per_sequence : int
        Sharp frames of one sample.
    most : int
        The number wanted, if the frames are small enough for it.
    """
    sample_bytes = 3 * size[0] * size[1] * (1 + frames_per_sequence)
    return max(1, min(most, MAX_SHARD_BYTES // sample_bytes))
