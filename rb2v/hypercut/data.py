"""Shards as torch data: a map-style data set, and small sequences in memory for the order network."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from os import PathLike

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from rb2v.artifacts import Split
from rb2v.errors import InputError
from rb2v.hypercut.config import MIN_IMAGE_SIZE_PX
from rb2v.hypercut.order import sequence_pairs
from rb2v.shards import ShardReader

CROP_SHARE = 7 / 8
MAX_GAIN = 1.25
MAX_OFFSET = 0.1


class ShardDataset(Dataset[dict[str, Tensor]]):
    """Samples of a folder of shards as tensors, for a ``DataLoader`` with any number of workers.

    Parameters
    ----------
    folder : str or path
        A folder that ``rb2v build-shards`` wrote.
    split : {"train", "test"}, optional
        The split to read; both where it is None, train first.
    size : int, optional
        Shorter side in pixels to which frames are area-resized; smaller frames stay as they are.
    frames : sequence of int, optional
        Which sharp frames to return, in any order; all where it is None.

    Raises
    ------
    InputError
        If the shards cannot be read, or there are no such frames.

    Examples
    --------
    >>> dataset = ShardDataset("shards", "train", size=128)  # doctest: +SKIP
    >>> dataset[0]["sharp"].shape  # doctest: +SKIP
    torch.Size([7, 3, 128, 128])
    """

    def __init__(
        self,
        folder: str | PathLike[str],
        split: Split | None = None,
        *,
        size: int | None = None,
        frames: Sequence[int] | None = None,
    ) -> None:
        self.reader = ShardReader(folder, split)
        n_frames = self.reader.manifest.frames_per_sequence
        for frame in frames or ():
            if not 0 <= frame < n_frames:
                raise InputError(folder, f"sequences have no frame {frame}", "frames", f"0 to {n_frames - 1}")
        self.orders = self.reader.table["order"].to_numpy(np.int64)
        self.size = size
        self.frames = None if frames is None else tuple(frames)

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.reader)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """Return a sample.

        Returns
        -------
        dict of str to tensor
            ``blurry``, (3, H, W) float32 in [0, 1]; ``sharp``, (k, 3, H, W) likewise; ``order``, +1, -1 or 0 where
            none is assigned; ``index``, the sample's row in ``reader.table``.
        """
        blurry = self.reader.read_blurry(index)[None]
        sharp = self.reader.read_sharp(index, self.frames)
        if self.size is not None:
            blurry, sharp = resize_frames(blurry, self.size), resize_frames(sharp, self.size)
        return {
            "blurry": to_float(to_tensor(blurry)[0]),
            "sharp": to_float(to_tensor(sharp)),
            "order": torch.tensor(self.orders[index]),
            "index": torch.tensor(index),
        }


def resize_frames(frames: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Shrink frames so that their shorter side is ``size`` pixels, by the mean over each pixel's area.

    Parameters
    ----------
    frames : (T, H, W, 3) ndarray of uint8
        Frames.
    size : int
        Shorter side in pixels; frames that are no larger are returned as they are.

    Returns
    -------
    (T, h, w, 3) ndarray of uint8
        The same aspect, to a pixel.
    """
    height, width = frames.shape[1:3]
    scale = size / min(height, width)
    if scale >= 1:
        return frames
    target = (round(width * scale), round(height * scale))
    return np.stack([cv2.resize(frame, target, interpolation=cv2.INTER_AREA) for frame in frames]).astype(np.uint8)


def to_tensor(frames: NDArray[np.uint8]) -> Tensor:
    """Turn ``(T, H, W, 3)`` frames into a ``(T, 3, H, W)`` tensor of uint8."""
    return torch.from_numpy(np.ascontiguousarray(frames.transpose(0, 3, 1, 2)))


def to_float(frames: Tensor) -> Tensor:
    """Turn uint8 frames into float32 in [0, 1]."""
    return frames.float() / 255


def load_sequences(reader: ShardReader, image_size: int, progress: Callable[[int, int], None] | None = None) -> Tensor:
    """Read all sharp sequences into memory, small.

    Parameters
    ----------
    reader : ShardReader
        The samples to read.
    image_size : int
        Shorter side in pixels.
    progress : callable, optional
        Called with the sequences read and their number.

    Returns
    -------
    (n, N + 1, 3, h, w) tensor of uint8
        84 KiB a sequence at 7 frames of 64 x 64.

    Raises
    ------
    InputError
        If the frames are too small for the network.
    """
    if min(reader.manifest.output_size) < MIN_IMAGE_SIZE_PX:
        width, height = reader.manifest.output_size
        raise InputError(
            reader.folder, f"frames are {width}x{height}", "output_size", f"at least {MIN_IMAGE_SIZE_PX} pixels a side"
        )
    sequences: list[Tensor] = []
    for index in range(len(reader)):
        sequences.append(to_tensor(resize_frames(reader.read_sharp(index), image_size)))
        if progress is not None:
            progress(index + 1, len(reader))
    if not sequences:
        width, height = reader.manifest.output_size
        return torch.empty(0, reader.manifest.frames_per_sequence, 3, height, width, dtype=torch.uint8)
    return torch.stack(sequences)


def draw_batch(sequences: Tensor, batch_size: int, seed: int, step: int) -> tuple[Tensor, Tensor]:
    """Draw the augmented pairs of one training step; depends on nothing but its arguments.

    Crop, mirroring, direction, brightness and contrast are drawn once per sequence and act alike on all its frames,
    so that nothing but the scene's motion tells one end from the other. The contrast of either pair is reversed or not
    by itself, so that pairs cannot agree by what is bright.

    Parameters
    ----------
    sequences : (n, N + 1, 3, h, w) tensor of uint8
        Sharp sequences.
    batch_size : int
        Sequences to draw, without repetition where there are enough.
    seed, step : int
        What the draw depends on.

    Returns
    -------
    first, second : (batch_size, N / 2, 3, h', w') tensor of float32
        Pairs ``(x_k, x_{N-k})``; values may leave [0, 1] a little.
    """
    rng = np.random.default_rng((seed, step))
    n, _, _, height, width = sequences.shape
    crop_height, crop_width = round(height * CROP_SHARE), round(width * CROP_SHARE)
    batch = []
    for row in rng.choice(n, batch_size, replace=n < batch_size):
        top, left = rng.integers(0, (height - crop_height + 1, width - crop_width + 1))
        sequence = to_float(sequences[row, :, :, top : top + crop_height, left : left + crop_width])
        # Time, rows and columns: a mirrored scene moves just as well, and a reversed one must score the negative.
        sequence = sequence.flip([axis for axis in (0, 2, 3) if rng.random() < 0.5])
        gain = MAX_GAIN ** rng.uniform(-1, 1)
        batch.append((sequence - 0.5) * gain + (0.5 + rng.uniform(-MAX_OFFSET, MAX_OFFSET)))
    first, second = sequence_pairs(torch.stack(batch))
    reversed_contrast = torch.from_numpy(rng.random(first.shape[:2]) < 0.5)[..., None, None, None]
    return torch.where(reversed_contrast, 1 - first, first), torch.where(reversed_contrast, 1 - second, second)
