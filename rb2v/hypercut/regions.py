"""Order of every region of a sequence, by the order network ``signs``, in a table like one of motion guidance."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from rb2v.artifacts import SPLITS, Split
from rb2v.core.motion_classes import STATIC, class_of_direction, half_size
from rb2v.device import check_torch_device, torch_device_of
from rb2v.errors import InputError
from rb2v.hypercut.checkpoint import load_order_network
from rb2v.hypercut.networks.signs import SignNetwork
from rb2v.hypercut.pair_order import sequence_pairs
from rb2v.hypercut.sequences import load_sequences
from rb2v.progress import Progress
from rb2v.shards import ShardReader
from rb2v.shards.guidance_table import GuidanceSource, Key, check_guidance_path, write_guidance
from rb2v.training.data import to_float

KEEP, REVERSE = class_of_direction(1, 1), class_of_direction(-1, -1)
"""Classes that stand for regions in canonical order, which the table takes to move right, and for reversed ones."""
_REGION_PX = 9  # side of the squares, in pixels of the network's frames, that vote: single values are often unsure
_STILL = 0.01  # of RGB in 0..1, mean difference: five times what the noise of simulated frames makes
_BATCH = 32  # sequences at once: 0.2 GB at 48 px


def write_regions(
    path: Path,
    network_path: Path,
    shards_dir: Path,
    *,
    splits: Sequence[Split] = SPLITS,
    device: str = "auto",
    progress: Progress | None = None,
) -> Path:
    """Write for every sequence which of its regions are in canonical order.

    Parameters
    ----------
    path : Path
        The table to write, which ``rb2v train-blur2vid --guidance`` reads for the loss ``region_label``; a table of
        guidance that is there is replaced.
    network_path : Path
        What `load_order_network` takes; a network of arch ``signs``.
    shards_dir : Path
        The data set.
    splits : sequence of {"train", "test"}
        Splits to write.
    device : {"auto", "cpu", "cuda"}
        Where to score.
    progress : callable, optional
        Called with the sequences done, those of the split, and what it is.

    Raises
    ------
    InputError
        If the network or the shards cannot be used, or ``path`` holds something else.
    """
    check_guidance_path(path)
    check_torch_device(device)
    network, config = load_order_network(network_path)
    if not isinstance(network, SignNetwork):
        raise InputError(network_path, f"is a network {config.arch!r}", expected="'signs', which scores every value")
    network.to(torch_device_of(device))

    def rows() -> Iterator[tuple[Key, NDArray[np.uint8]]]:
        for split in splits:
            reader = ShardReader(shards_dir, split)
            if not len(reader):
                continue
            width, height = reader.manifest.output_size
            sequences = load_sequences(reader, config.image_size)
            for start in range(0, len(reader), _BATCH):
                sides = find_sides(network, to_float(sequences[start : start + _BATCH]).to(torch_device_of(device)))
                for key, side in zip(reader.keys[start:], sides.cpu().numpy(), strict=False):
                    yield key, _classes(side, half_size(height, width))
                if progress is not None:
                    progress(min(start + _BATCH, len(reader)), len(reader), f"turning regions of {split} sequences")

    return write_guidance(path, shards_dir, GuidanceSource("order", float("nan")), rows())


def find_sides(network: SignNetwork, sequences: Tensor) -> Tensor:
    """Return which regions of sequences are in canonical order.

    Parameters
    ----------
    network : SignNetwork
        In evaluation mode.
    sequences : (B, N + 1, 3, H, W) tensor of float
        RGB in [0, 1].

    Returns
    -------
    (B, H, W) tensor of float32
        +1 in canonical order, -1 reversed, 0 where nothing moves; all pairs decide together.
    """
    first, second = sequence_pairs(sequences)
    with torch.no_grad():  # and not inference mode: a regularizer's gradients pass by what is returned
        maps = torch.stack(network.score_maps(first.flatten(0, 1), second.flatten(0, 1)))
        backward, size = maps.reshape(2, *first.shape[:2], *maps.shape[-2:]).mean(dim=2)
        voted, moved = (
            F.avg_pool2d(values[:, None], _REGION_PX, 1, _REGION_PX // 2, count_include_pad=False)[:, 0]
            for values in (backward, size / first.shape[2])
        )
        return torch.where(moved > _STILL, -voted.sign(), 0.0)


def _classes(sides: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.uint8]:
    fitted = cv2.resize(sides, size[::-1], interpolation=cv2.INTER_NEAREST)
    return np.select([fitted > 0, fitted < 0], [KEEP, REVERSE], STATIC).astype(np.uint8)
