"""Shards as torch data: a map-style data set."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from os import PathLike
from pathlib import Path
from typing import Any, Literal, get_args

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, get_worker_info

from rb2v.artifacts import Split
from rb2v.errors import InputError, Rb2vError, check_member
from rb2v.shards import ShardReader
from rb2v.shards.epoch_order import CropPosition, CropSlices, check_crop, place_crop
from rb2v.shards.guidance_table import GuidanceReader
from rb2v.shards.labels import read_orders
from rb2v.shards.prepared import find_frames, open_frames
from rb2v.shards.resizing import resize_frames, shrunk_size
from rb2v.training.batches import Layout, empty_batch, share
from rb2v.training.transforms import Transform, draw_transform

PixelType = Literal["float32", "uint8"]


class ShardDataset(Dataset[dict[str, Tensor]]):
    """Samples of a folder of shards as tensors, for a ``DataLoader`` with any number of workers.

    A sample depends on its index, the seed and the epoch alone, and not on the process that reads it. Shards are
    opened by the process that reads them, when it does.

    Parameters
    ----------
    folder : str or path
        A folder that ``rb2v build-shards`` wrote.
    split : {"train", "test"}, optional
        The split to read; both where it is None, train first.
    size : int, optional
        Shorter side in pixels to which frames, or their crops, are area-resized; smaller ones stay as they are.
    frames : sequence of int, optional
        Which sharp frames to return, in any order; all where it is None.
    crop : int or (int, int), optional
        Side of a square, or height and width, of a part to cut from all frames of a sample alike, in pixels of the
        shards; no more is decoded than the tiles it touches.
    crop_position : {"random", "center"}
        Where the crop lies; random ones are drawn anew for every sample and epoch.
    seed : int
        What random crops, and the order of a ``ShardSampler``, depend on.
    dtype : {"float32", "uint8"}
        Pixels in [0, 1], or as they are stored: a quarter of the bytes to move, for ``pixels.float() / 255`` on the
        device.
    labels : str or path, optional
        A table of ``rb2v label-order``: orders in place of those of the shards.
    min_margin : float
        Least margin of an order in that table; samples below it have order 0.
    only_consistent : bool
        Whether samples whose pairs lie on different sides by that table have order 0.
    guidance : str or path, optional
        A table of ``rb2v guidance``: samples then have the classes of their pixels, cropped and resized like frames.
    augment : bool
        Whether to flip, turn and reverse every sample at random, anew for every epoch: frames, guidance and order
        together. The order of a mirrored or turned sample is 0.

    Raises
    ------
    Rb2vError
        If the shards cannot be read, there are no such frames, the crop does not fit into the frames, or the labels or
        the guidance are not of these samples.

    Examples
    --------
    >>> dataset = ShardDataset("shards", "train", crop=256)  # doctest: +SKIP
    >>> dataset[0]["sharp"].shape  # doctest: +SKIP
    torch.Size([7, 3, 256, 256])
    """

    def __init__(
        self,
        folder: str | PathLike[str],
        split: Split | None = None,
        *,
        size: int | None = None,
        frames: Sequence[int] | None = None,
        crop: int | tuple[int, int] | None = None,
        crop_position: CropPosition = "random",
        seed: int = 0,
        dtype: PixelType = "float32",
        labels: str | PathLike[str] | None = None,
        min_margin: float = 0.0,
        only_consistent: bool = False,
        guidance: str | PathLike[str] | None = None,
        augment: bool = False,
    ) -> None:
        self.reader = ShardReader(folder, split)
        n_frames = self.reader.manifest.frames_per_sequence
        for frame in frames or ():
            if not 0 <= frame < n_frames:
                raise InputError(folder, f"sequences have no frame {frame}", "frames", f"0 to {n_frames - 1}")
        check_member("dtype", dtype, get_args(PixelType))
        if seed < 0:
            raise Rb2vError(f"seed must not be negative, got {seed}")
        if labels is None and (min_margin or only_consistent):
            raise InputError("options", "is missing", "labels", "the table that min_margin and only_consistent ask")
        orders: Sequence[int] = self.reader.table["order"].tolist()
        if labels is not None:
            orders = read_orders(Path(labels), self.reader, min_margin=min_margin, only_consistent=only_consistent)
        self.orders = np.array(orders, dtype=np.int64)
        self.size = size
        self.frames = None if frames is None else tuple(frames)
        self.crop = check_crop(str(folder), crop, crop_position, self.reader.manifest.output_size)
        self.crop_position = crop_position
        self.seed = seed
        self.dtype = dtype
        if augment and frames is not None:
            raise InputError("options", "is given beside augment", "frames", "all frames, which reversal needs")
        self.augment = augment
        self._guidance = None if guidance is None else GuidanceReader(Path(guidance), self.reader)
        self._prepared: NDArray[np.uint8] | None = None
        # In shared memory, so that workers that live through several epochs see it change.
        self._epoch = share(torch.zeros((), dtype=torch.int64))

    def prepare(self, progress: Callable[[int, int], None] | None = None) -> None:
        """Let samples come from the cache of frames, where that spares decoding or shrinking; none of them changes.

        Frames that are shrunk whole are kept at their size, and those that crops are cut from before they are shrunk
        as they are. Where nothing is shrunk nothing is kept: a crop decodes the tiles that it touches.

        Parameters
        ----------
        progress : callable, optional
            Called with the samples read and their number, where they are not in the cache yet.

        Raises
        ------
        InputError
            If a sample is damaged.
        """
        if shrunk_size(*self._read_size(), self.size):
            self._prepared = open_frames(self.reader, None if self.crop else self.size, progress)

    def __getstate__(self) -> dict[str, Any]:
        # A mapping would be pickled with all it maps.
        return {**self.__dict__, "_prepared": self._prepared is not None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        is_prepared = bool(state["_prepared"])
        self.__dict__.update(state)
        self._prepared = find_frames(self.reader, None if self.crop else self.size) if is_prepared else None
        if not self._epoch.untyped_storage().is_shared():  # it was pickled to somewhere else than a worker
            self._epoch = share(self._epoch.clone())

    @property
    def epoch(self) -> int:
        """The epoch that random crops are drawn for."""
        return int(self._epoch)

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that random crops are drawn for, in this process and in all workers.

        Parameters
        ----------
        epoch : int
            Not negative.
        """
        if epoch < 0:
            raise Rb2vError(f"epoch must not be negative, got {epoch}")
        self._epoch.fill_(epoch)

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.reader)

    def __getitem__(self, index: int) -> dict[str, Tensor]:
        """Return a sample.

        Returns
        -------
        dict of str to tensor
            ``blurry``, (3, H, W) float32 in [0, 1], or uint8; ``sharp``, (k, 3, H, W) likewise; ``order``, +1, -1 or 0
            where none is assigned; ``index``, the sample's row in ``reader.table``; and where there is guidance
            ``guidance``, (H, W) uint8, the classes of `rb2v.core.motion_classes`.
        """
        batch = empty_batch(self.batch_layout(1))
        self.write_batch([index], batch)
        return {name: values[0] for name, values in batch.items()}

    def batch_layout(self, n_samples: int) -> Layout:
        """Return shape and type of the tensors of a batch, whose rows are its samples."""
        height, width = self._read_size()
        target = (3, *(shrunk_size(height, width, self.size) or (height, width)))
        n_frames = self.reader.manifest.frames_per_sequence if self.frames is None else len(self.frames)
        pixels = torch.uint8 if self.dtype == "uint8" else torch.float32
        guidance: Layout = {} if self._guidance is None else {"guidance": ((n_samples, *target[1:]), torch.uint8)}
        return {
            "blurry": ((n_samples, *target), pixels),
            "sharp": ((n_samples, n_frames, *target), pixels),
            "order": ((n_samples,), torch.int64),
            "index": ((n_samples,), torch.int64),
            **guidance,
        }

    def write_batch(self, indices: Sequence[int], batch: Mapping[str, Tensor]) -> None:
        """Read samples into the rows of a batch.

        Parameters
        ----------
        indices : sequence of int
            The samples.
        batch : mapping of str to tensor
            Tensors as `batch_layout` describes them for so many samples.
        """
        n_frames = self.reader.manifest.frames_per_sequence
        kept = range(n_frames) if self.frames is None else self.frames
        # The blurry frame first; the same memory for all samples, because fresh memory is slow to write to.
        frames = np.empty((1 + n_frames, *self._read_size(), 3), dtype=np.uint8)
        blurry, sharp = batch["blurry"].numpy(), batch["sharp"].numpy()
        for place, index in enumerate(map(int, indices)):
            batch["order"][place] = int(self.orders[index])
            batch["index"][place] = index
            self._write_frames(index, kept, frames, blurry[place], sharp[place])
            if self._guidance is not None:
                batch["guidance"][place] = torch.from_numpy(self._fit_guidance(index, blurry.shape[-2:]))
            if self.augment:
                is_square = blurry.shape[-1] == blurry.shape[-2]
                transform = draw_transform(self.seed, self.epoch, index, is_square=is_square)
                _apply(transform, {name: values[place] for name, values in batch.items()})

    def _write_frames(
        self,
        index: int,
        kept: Sequence[int],
        frames: NDArray[np.uint8],
        blurry: NDArray[Any],
        sharp: NDArray[Any],
    ) -> None:
        """Write the frames of a sample to their places in a batch; ``frames`` is memory to decode into."""
        if self._prepared is not None and self.crop is None:
            _write_pixels(self._prepared[index, 0], blurry)
            _write_pixels(self._prepared[index, [1 + frame for frame in kept]], sharp)
            return
        crop = self._place_crop(index)
        if self._prepared is not None:
            for cut, whole in zip(frames, self._prepared[index][..., *crop], strict=True):
                cv2.merge(list(np.ascontiguousarray(whole)), cut)
        else:
            self._decode(index, crop, frames)
        _write_planes(frames[0], self.size, blurry)
        for frame, planes in zip(kept, sharp, strict=True):
            _write_planes(frames[1 + frame], self.size, planes)

    def _place_crop(self, index: int) -> CropSlices:
        output_size = self.reader.manifest.output_size
        return place_crop(self.crop, self.crop_position, output_size, seed=self.seed, epoch=self.epoch, index=index)

    def _fit_guidance(self, index: int, size: tuple[int, ...]) -> NDArray[np.uint8]:
        assert self._guidance is not None
        try:
            classes = self._guidance.read(index)
        except InputError as error:
            raise (error if get_worker_info() is None else Rb2vError(str(error))) from error
        return self._guidance.fit(classes, (size[0], size[1]), self._place_crop(index))

    def _decode(self, index: int, crop: CropSlices, frames: NDArray[np.uint8]) -> None:
        try:
            self.reader.read_blurry(index, crop, out=frames[0])
            self.reader.read_sharp(index, crop=crop, out=frames[1:])
        except InputError as error:
            # Of one argument, because a loader makes its worker's errors again from their text alone.
            raise (error if get_worker_info() is None else Rb2vError(str(error))) from error

    def _read_size(self) -> tuple[int, int]:
        width, height = self.reader.manifest.output_size
        return self.crop or (height, width)


def _apply(transform: Transform, sample: Mapping[str, Tensor]) -> None:
    """Change a sample in its place in a batch."""
    changes: Mapping[str, Callable[[NDArray[np.uint8]], NDArray[np.uint8]]] = {
        "blurry": transform.images,
        "sharp": transform.sequence,
        "guidance": transform.guidance,
    }
    for name, change in changes.items():
        if name in sample:
            pixels = sample[name].numpy()
            pixels[...] = change(pixels.copy())
    sample["order"].fill_(transform.order(int(sample["order"])))


def _write_planes(frame: NDArray[np.uint8], size: int | None, planes: NDArray[Any]) -> None:
    """Write a frame (H, W, 3) to its place (3, h, w) in a batch, with the pixels of that type."""
    if size is not None:
        frame = resize_frames(frame[None], size)[0]
    if planes.dtype == np.uint8:
        cv2.split(frame, list(planes))
    else:
        stored = np.empty(planes.shape, dtype=np.uint8)
        cv2.split(frame, list(stored))
        _write_pixels(stored, planes)


def _write_pixels(stored: NDArray[np.uint8], pixels: NDArray[Any]) -> None:
    """Write 8-bit values as the pixels of a batch's type."""
    if pixels.dtype == np.uint8:
        pixels[...] = stored
    else:
        np.divide(stored, np.float32(255), out=pixels, dtype=np.float32)


def to_tensor(frames: NDArray[np.uint8]) -> Tensor:
    """Turn ``(T, H, W, 3)`` frames into a ``(T, 3, H, W)`` tensor of uint8."""
    return torch.from_numpy(np.ascontiguousarray(frames.transpose(0, 3, 1, 2)))


def to_float(frames: Tensor) -> Tensor:
    """Turn uint8 frames into float32 in [0, 1]."""
    return frames.float() / 255
