"""In which order samples are read and where crops lie, drawn alike for torch and for numpy."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from rb2v.errors import InputError, Rb2vError, check_member

CropPosition = Literal["random", "center"]
CropSlices = tuple[slice, slice]

# One seed feeds two kinds of draws, which must not follow each other.
_ORDER_STREAM, _CROP_STREAM = 0, 1


def draw_order(
    shard_sizes: Sequence[int], *, seed: int, epoch: int, shuffle: bool = True, window: int | None = None
) -> NDArray[np.int64]:
    """Draw the order in which an epoch visits the samples; depends on nothing but its arguments.

    Parameters
    ----------
    shard_sizes : sequence of int
        Samples of each shard, in the order of their indices.
    seed, epoch : int
        What the draw depends on, neither negative.
    shuffle : bool
        Whether to mix the samples; in the order of their indices otherwise.
    window : int, optional
        Shards that are open at a time: shards come in random order, and samples are mixed among so many of them. All
        samples are mixed where it is None.

    Returns
    -------
    (n,) ndarray of int64
        Every index once.

    Raises
    ------
    Rb2vError
        If the seed, epoch or window is out of range.
    """
    rng = _generator(_ORDER_STREAM, seed, epoch)
    if window is not None and window < 1:
        raise Rb2vError(f"window must be at least 1 shard, got {window}")
    order = np.arange(sum(shard_sizes), dtype=np.int64)
    if not shuffle:
        return order
    if window is None:
        return rng.permutation(order)
    shards = np.split(order, np.cumsum(shard_sizes)[:-1])
    visited = rng.permutation(len(shards))
    groups = [visited[start : start + window] for start in range(0, len(shards), window)]
    mixed = [rng.permutation(np.concatenate([shards[shard] for shard in group])) for group in groups]
    return np.concatenate([order[:0], *mixed])


def check_crop(
    source: str, crop: int | tuple[int, int] | None, position: CropPosition, frame_size: tuple[int, int]
) -> tuple[int, int] | None:
    """Check a crop against the frames it is cut from.

    Parameters
    ----------
    source : str
        Where the frames lie, for the message.
    crop : int or (int, int), optional
        Side of a square, or height and width, in pixels.
    position : {"random", "center"}
        Where it lies.
    frame_size : (int, int)
        Width and height of the frames in pixels.

    Returns
    -------
    (int, int) or None
        Height and width of the crop.

    Raises
    ------
    InputError
        If the crop is larger than the frames or empty, or there is no such position.
    """
    check_member("crop_position", position, get_args(CropPosition))
    if crop is None:
        return None
    height, width = (crop, crop) if isinstance(crop, int) else crop
    if not (1 <= height <= frame_size[1] and 1 <= width <= frame_size[0]):
        expected = f"at least 1x1, and at most the frames' {frame_size[0]}x{frame_size[1]}"
        raise InputError(source, f"a crop of {width}x{height} pixels cannot be cut from its frames", "crop", expected)
    return height, width


def place_crop(
    crop: tuple[int, int] | None,
    position: CropPosition,
    frame_size: tuple[int, int],
    *,
    seed: int,
    epoch: int,
    index: int,
) -> CropSlices:
    """Return the rows and columns of a sample's crop; depends on nothing but the arguments.

    Parameters
    ----------
    crop : (int, int) or None
        What `check_crop` returned; the whole frame where it is None.
    position : {"random", "center"}
        Where it lies.
    frame_size : (int, int)
        Width and height of the frames in pixels.
    seed, epoch, index : int
        What a random place depends on; the index is the sample's.
    """
    width, height = frame_size
    if crop is None:
        return slice(0, height), slice(0, width)
    room = (height - crop[0], width - crop[1])
    if position == "center":
        top, left = room[0] // 2, room[1] // 2
    else:
        top, left = _generator(_CROP_STREAM, seed, epoch, index).integers(0, (room[0] + 1, room[1] + 1)).tolist()
    return slice(top, top + crop[0]), slice(left, left + crop[1])


def _generator(*key: int) -> np.random.Generator:
    if min(key) < 0:
        raise Rb2vError(f"seed and epoch must not be negative, got {key[1]} and {key[2]}")
    return np.random.default_rng(key)
