"""The networks' points of pairs of frames, laid out in a plane by t-SNE: Figure 7 of the paper."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits

from rb2v.device import one_torch_thread
from rb2v.hypercut.checkpoint import load_order_network
from rb2v.hypercut.pair_order import sequence_pairs
from rb2v.hypercut.sequences import load_sequences
from rb2v.shards import ShardReader
from rb2v.training.data import to_float

_MAX_PERPLEXITY = 30.0  # scikit-learn's default, and the middle of what van der Maaten and Hinton (2008) advise
_POINTS_PER_NEIGHBOR = 4  # at least, or all points would be each other's neighbors


@dataclass(frozen=True, eq=False)
class PointMap:
    """Points of pairs in both orders, in a plane."""

    places: NDArray[np.float64]
    """(n, 2), NaN where all points are one."""
    sides: NDArray[np.int8]
    """(n,) side of the hyperplane: -1, 1, or 0 on it."""
    directions: NDArray[np.float64]
    """(n,) direction of the true motion of the whole sequence in degrees, 0 to the right and 90 downward: from x_0 to
    x_N for all of its pairs, and from x_N to x_0 where they are reversed; NaN where it is not known, or nothing
    moves."""


def map_points(
    checkpoint: Path, reader: ShardReader, n_sequences: int, motion: pd.DataFrame | None, seed: int = 0
) -> PointMap:
    """Lay out the points ``H(x_k, x_{N-k})`` and ``H(x_{N-k}, x_k)`` of test sequences.

    Parameters
    ----------
    checkpoint : Path
        A trained network.
    reader : ShardReader
        The sequences.
    n_sequences : int
        How many to show at most, evenly spaced among all.
    motion : DataFrame, optional
        ``motion_x_px`` and ``motion_y_px`` of every sequence of the reader, in its order.
    seed : int
        Seed of the layout.
    """
    network, config = load_order_network(checkpoint)
    chosen = np.unique(np.linspace(0, len(reader) - 1, min(n_sequences, len(reader))).astype(int))
    points, sides = [], []
    with one_torch_thread(), torch.inference_mode():
        sequences = load_sequences(reader, config.image_size)
        for index in chosen.tolist():
            frames = to_float(sequences[index])
            both = torch.stack(network.embed_both(*sequence_pairs(frames)))
            points.append(both.numpy().astype(np.float64))
            sides.append(torch.sign(network.project(both)).numpy().astype(np.int8))
    directions = np.full((len(chosen), 2, points[0].shape[1]), np.nan)
    if motion is not None:
        x, y = (motion[name].to_numpy(np.float64)[chosen] for name in ("motion_x_px", "motion_y_px"))
        angles = np.where((x == 0) & (y == 0), np.nan, np.degrees(np.arctan2(y, x)))
        directions[:] = angles[:, None, None] + np.array([0.0, 180.0])[:, None]
    return PointMap(
        places=_lay_out(np.concatenate([one.reshape(-1, one.shape[-1]) for one in points]), seed),
        sides=np.concatenate([one.ravel() for one in sides]),
        directions=directions.ravel() % 360,
    )


def _lay_out(points: NDArray[np.float64], seed: int) -> NDArray[np.float64]:
    if not np.isfinite(points).all() or np.ptp(points, axis=0).max() == 0:
        return np.full((len(points), 2), np.nan)
    perplexity = min(_MAX_PERPLEXITY, len(points) / _POINTS_PER_NEIGHBOR)
    # One thread here too: t-SNE makes much of little.
    with threadpool_limits(1):
        layout = TSNE(perplexity=perplexity, init="pca", random_state=seed, n_jobs=1)
        return np.asarray(layout.fit_transform(points / np.abs(points).max()), dtype=np.float64)
