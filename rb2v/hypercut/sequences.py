"""Small sequences in memory, for the order network."""

from __future__ import annotations

import torch
from torch import Tensor

from rb2v.errors import InputError
from rb2v.hypercut.config import MIN_IMAGE_SIZE_PX
from rb2v.progress import Count
from rb2v.shards import ShardReader
from rb2v.shards.prepared import load_frames


def check_frame_size(reader: ShardReader, image_size: int, min_size_px: int) -> None:
    """Check that frames are large enough for a network, as they are and as they are shown to it.

    Parameters
    ----------
    reader : ShardReader
        The samples.
    image_size : int
        Shorter side in pixels to which larger frames are resized.
    min_size_px : int
        Least height and width that the network takes.

    Raises
    ------
    InputError
        If they are too small.
    """
    expected = f"at least {min_size_px} pixels a side"
    width, height = reader.manifest.output_size
    if min(width, height) < min_size_px:
        raise InputError(reader.folder, f"frames are {width}x{height}", "output_size", expected)
    if image_size < min_size_px:
        raise InputError("options", f"is {image_size}", "image_size", f"{expected} for this network")


def load_sequences(reader: ShardReader, image_size: int, progress: Count | None = None) -> Tensor:
    """Return all sharp sequences, small: mapped from the cache of frames, or in memory where there is none.

    Parameters
    ----------
    reader : ShardReader
        The samples to read.
    image_size : int
        Shorter side in pixels.
    progress : callable, optional
        Called with the sequences read and their number, where they are not in the cache yet.

    Returns
    -------
    (n, N + 1, 3, h, w) tensor of uint8
        84 KiB a sequence at 7 frames of 64 x 64.

    Raises
    ------
    InputError
        If the frames are too small for the network.
    """
    check_frame_size(reader, image_size, MIN_IMAGE_SIZE_PX)
    return torch.from_numpy(load_frames(reader, image_size, progress))[:, 1:]
