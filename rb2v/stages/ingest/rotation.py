"""Pairing of recordings by rotation: the cameras are fixed to each other, and have gyroscopes."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

import numpy as np

from rb2v.core.sync import offset_from_gyro
from rb2v.io.recording import Recording

MIN_AGREEMENT = 0.4
"""Of the correlation's peak over its next best; alignment believes no less."""

_MAX_NEXT_BEST = 0.5  # of a pair's own agreement: any other recording has to agree half as well at most
_SECONDS = (60.0, 90.0)  # of the blurry and the sharp recording: enough to tell, and soon computed
_MAX_PAIRS = 400  # 40 s of one core, at 0.1 s for 60 s against 90 s of 200 values a second


def agreement(blurry: Recording, sharp: Recording) -> float:
    """Return from 0 to 1 how clearly two cameras were turned alike, 0 where nothing tells."""
    tracks = []
    for recording, seconds in zip((blurry, sharp), _SECONDS, strict=True):
        if recording.telemetry is None:
            return 0.0
        is_early = recording.telemetry.gyro_times < seconds
        tracks.append((recording.telemetry.gyro[is_early], recording.telemetry.gyro_times[is_early]))
    try:
        return offset_from_gyro(*tracks[0], *tracks[1]).confidence
    except ValueError:  # too short, full of gaps, or at rest
        return 0.0


def pair_by_rotation(blurry: Sequence[Recording], sharp: Sequence[Recording]) -> list[tuple[int, int]]:
    """Pair recordings that were turned alike, and unlike all others.

    Parameters
    ----------
    blurry, sharp : sequence of Recording
        Those for which clocks and lengths leave a doubt.

    Returns
    -------
    list of tuple of int
        (blurry, sharp) indices; empty where there are too many recordings to compare each with each.
    """
    if not 0 < len(blurry) * len(sharp) <= _MAX_PAIRS:
        return []
    table = np.array([[agreement(one, other) for other in sharp] for one in blurry])
    pairs = []
    for i, j in itertools.product(range(len(blurry)), range(len(sharp))):
        others = np.concatenate([np.delete(table[i], j), np.delete(table[:, j], i), [0.0]])
        if table[i, j] >= MIN_AGREEMENT and others.max() <= _MAX_NEXT_BEST * table[i, j]:
            pairs.append((i, j))
    return pairs
