"""Samples as a shard stores them: checked, and their frames compressed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rb2v.shards.layout import FRAME_NAMES, NUMBER_TYPES, TEXT_NAMES, ShardSample, check_sample, sample_checksum
from rb2v.shards.tiles import pack_frames


@dataclass(frozen=True, eq=False)
class PackedSample:
    """A sample whose frames are compressed, ready to be written to a shard; a third of its size."""

    shapes: Mapping[str, tuple[int, ...]]
    """Shapes of the frames, by data set."""
    tiles: Mapping[str, tuple[bytes, ...]]
    """The frames' tiles, see `rb2v.shards.tiles.pack_frames`, by data set."""
    values: Mapping[str, Any]
    """Texts and numbers, by data set."""
    is_interpolated: NDArray[np.bool_] | None
    """As of `ShardSample`."""
    checksum: int
    """See `rb2v.shards.layout.sample_checksum`."""


def pack_sample(sample: ShardSample) -> PackedSample:
    """Check and compress a sample.

    Raises
    ------
    ValueError
        If it is not what a shard holds.
    """
    check_sample(sample)
    frames = {name: getattr(sample, name) for name in FRAME_NAMES}
    return PackedSample(
        shapes={name: image.shape for name, image in frames.items()},
        tiles={name: pack_frames(image) for name, image in frames.items()},
        values={name: getattr(sample, name) for name in (*TEXT_NAMES, *NUMBER_TYPES)},
        is_interpolated=sample.is_interpolated,
        checksum=sample_checksum(sample),
    )
