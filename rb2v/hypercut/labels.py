"""The order of every sample as one table: ``rb2v label-order``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
import torch

from rb2v.artifacts import SPLITS, Split
from rb2v.device import check_torch_device, torch_device_of
from rb2v.errors import InputError
from rb2v.hypercut.checkpoint import load_order_network
from rb2v.hypercut.networks import OrderNetwork
from rb2v.hypercut.pair_order import orders_of
from rb2v.hypercut.scoring import batch_size_of, score_sequences
from rb2v.hypercut.sequences import check_frame_size, load_sequences
from rb2v.io.store import sha256_of, whole_file
from rb2v.progress import Progress, label_count
from rb2v.shards import ShardReader, manifest_path
from rb2v.shards.labels import DATA_COLUMN

COLUMNS = ("split", "take", "blurry_index", "order", "side", "margin", "consistent")
"""Columns of the table, before the pairs' scores ``s_0 ...``."""


def run(
    shards_dir: Path,
    network_path: Path,
    out: Path,
    *,
    splits: Sequence[Split] = SPLITS,
    device: str = "auto",
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Write the order of every sample by a network in a file.

    Parameters
    ----------
    shards_dir : Path
        A folder that ``rb2v build-shards`` wrote.
    network_path : Path
        What `load_order_network` takes: the folder of a run, a checkpoint, or the authors' weights.
    out : Path
        The table to write.
    splits : sequence of {"train", "test"}
        Splits to label.
    device : {"auto", "cpu", "cuda"}
        Where to score; "auto" takes CUDA where there is one.
    progress : callable, optional
        As for `write_labels`.

    Returns
    -------
    DataFrame
        What `write_labels` wrote.

    Raises
    ------
    InputError
        As `load_order_network` and `write_labels`, or if there is no such device.
    """
    check_torch_device(device)
    network, config = load_order_network(network_path)
    network.to(torch_device_of(device))
    return write_labels(out, network, shards_dir, config.image_size, splits=splits, progress=progress)


def write_labels(
    path: Path,
    network: OrderNetwork,
    shards_dir: Path,
    image_size: int,
    *,
    splits: Sequence[Split] = SPLITS,
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Write the order of every sample, whole or not at all; the same network and shards give the same bytes.

    Frames are whole and not augmented. A few sequences are in memory at a time.

    Parameters
    ----------
    path : Path
        The table to write; a table of labels that is there is written anew.
    network : OrderNetwork
        In evaluation mode, on the device that is to score.
    shards_dir : Path
        A folder that ``rb2v build-shards`` wrote.
    image_size : int
        Shorter side in pixels to which larger frames are area-resized: that of the network's training.
    splits : sequence of {"train", "test"}
        Splits to label.
    progress : callable, optional
        Called with the sequences labeled, those of the split, and what it is.

    Returns
    -------
    DataFrame
        What was written, one row per sample: ``split``, ``take``, ``blurry_index``; ``order``, +1 keep, -1 reverse, 0;
        ``side`` of the plane on which the sum of the pairs' scores lies, so ``-order``; ``margin``, its distance from
        zero; ``consistent``, 1 where there is an order and all pairs lie on its side; ``s_0 ...``, the scores, outer
        pair first; ``data_sha256``, digest of the manifest, by which the labels are known as this data set's.

    Raises
    ------
    InputError
        If the shards cannot be read, their frames are too small for the network, or ``path`` holds something else than
        labels.
    """
    _check_path(path)
    with torch.backends.cudnn.flags(enabled=True, benchmark=False, deterministic=True):
        tables = [_label_split(network, ShardReader(shards_dir, split), image_size, progress) for split in splits]
    table = pd.concat(tables, ignore_index=True)
    table[DATA_COLUMN] = sha256_of(manifest_path(shards_dir))
    with whole_file(path) as temporary:
        table.to_csv(temporary, index=False, lineterminator="\n", float_format="%.9g")
    return table


def _check_path(path: Path) -> None:
    expected = "a new file, or a table of labels to write anew"
    if path.is_dir():
        raise InputError(path, "is a folder", expected=expected)
    if path.exists():
        start = ",".join((*COLUMNS, "")).encode()
        with path.open("rb") as file:
            if file.read(len(start)) != start:
                raise InputError(path, "is there already and holds no labels", expected=expected)


def _label_split(
    network: OrderNetwork, reader: ShardReader, image_size: int, progress: Progress | None
) -> pd.DataFrame:
    check_frame_size(reader, image_size, network.min_size_px)
    sequences = load_sequences(reader, image_size, label_count(progress, f"reading {reader.split} sequences"))
    scores = np.empty((len(reader), reader.manifest.frames_per_sequence // 2), dtype=np.float32)
    step = batch_size_of(sequences.shape[1:])
    for start in range(0, len(reader), step):
        batch = sequences[start : start + step]
        scores[start : start + step] = score_sequences(network.score, batch, network.normal.device)
        if progress is not None:
            progress(start + len(batch), len(reader), f"labeling {reader.split} sequences")
    table = reader.table[["take", "blurry_index"]].reset_index(drop=True)
    table.insert(0, "split", str(reader.split))
    sums = np.nan_to_num(scores.sum(axis=1), posinf=0, neginf=0)
    table["order"] = orders_of(sums)
    table["side"] = -table["order"]
    table["margin"] = np.abs(sums)
    one_sided = (scores < 0).all(axis=1) | (scores > 0).all(axis=1)
    table["consistent"] = np.where(table["order"] != 0, one_sided, 0).astype(np.int8)
    table[[f"s_{k}" for k in range(scores.shape[1])]] = scores
    return table
