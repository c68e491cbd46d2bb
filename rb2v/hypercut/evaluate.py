"""What an order network says about sequences, and how much of it to believe: predictions first, then scores.

References
----------
.. [1] Pham et al., "HyperCUT", CVPR 2023, section 5.3 (hit and con).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import combinations
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from rb2v.hypercut.checkpoint import load_order_network
from rb2v.hypercut.data import to_float
from rb2v.hypercut.networks import OrderNetwork, make_order_network
from rb2v.hypercut.order import orders_of, sequence_pairs

__all__ = [
    "CONTROLS",
    "VARIANTS",
    "consistency",
    "label_orders",
    "load_order_network",
    "predict",
    "score_predictions",
]

Scorer = Callable[[Tensor, Tensor], Tensor]

BATCH_SIZE = 32
BRIGHTNESS_SHIFT = 0.1


def _mean_brightness(first: Tensor, second: Tensor) -> Tensor:
    return second.mean(dim=(-3, -2, -1)) - first.mean(dim=(-3, -2, -1))


def _brightness_center(first: Tensor, second: Tensor) -> Tensor:
    return _center_x(second) - _center_x(first)


def _center_x(frames: Tensor) -> Tensor:
    columns = frames.sum(dim=(-3, -2))
    x = torch.linspace(-1, 1, columns.shape[-1], device=columns.device)
    return columns @ x / columns.sum(dim=-1).clamp(min=1e-6)


def _random_projection(first: Tensor, second: Tensor) -> Tensor:
    weights = torch.randn(first.shape[-3:], generator=torch.Generator().manual_seed(0)).to(first.device)
    return ((second - first) * weights).sum(dim=(-3, -2, -1))


CONTROLS: Mapping[str, Scorer] = {
    "mean_brightness": _mean_brightness,
    "brightness_center": _brightness_center,
    "random_projection": _random_projection,
}
"""Antisymmetric scores that know nothing of motion: hit and con mean little unless they stand above these."""

VARIANTS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "plain": lambda frames: frames,
    "contrast_reversed": lambda frames: 1 - frames,
    "brightness_shifted": lambda frames: frames + BRIGHTNESS_SHIFT,
}
"""What is done to all frames alike before they are scored; none of it changes the motion."""


def label_orders(
    network: OrderNetwork, sequences: Tensor
) -> tuple[NDArray[np.int8], NDArray[np.float32], NDArray[np.float32]]:
    """Tell which sequences to keep and which to reverse.

    Under the agreement loss the sum of a sequence's scores is the log odds of *keep* against *reverse*, so the order is
    the sign of the sum even where the pairs disagree; whether they do stands in the scores.

    Parameters
    ----------
    network : OrderNetwork
        A trained network.
    sequences : (n, N + 1, 3, h, w) tensor of uint8
        Whole frames of the size that the network was trained at.

    Returns
    -------
    orders : (n,) ndarray of int8
        +1 keep, -1 reverse, 0 where the sum is exactly zero or not finite.
    margins : (n,) ndarray of float32
        Absolute value of the sum.
    scores : (n, N / 2) ndarray of float32
        Score of every pair, outer pair first.
    """
    scores = _score(network.score, sequences, _device_of(network))
    sums = scores.sum(axis=1)
    return orders_of(sums), np.abs(sums), scores


def predict(
    network: OrderNetwork, arch: str, n_dimensions: int, seed: int, sequences: Tensor, keys: pd.DataFrame
) -> pd.DataFrame:
    """Score sequences, as they are and reversed, by the network and by the controls, under every variant.

    Parameters
    ----------
    network : OrderNetwork
        The network to evaluate.
    arch, n_dimensions, seed
        What it was built from; the same network before its first step is a control.
    sequences : (n, N + 1, 3, h, w) tensor of uint8
        Test sequences.
    keys : DataFrame
        ``take`` and ``blurry_index`` of every sequence.

    Returns
    -------
    DataFrame
        One row per scorer, variant and sequence: ``scorer, variant, take, blurry_index``, the pairs' scores ``s_0 ...``
        and those of the reversed sequence ``r_0 ...``.
    """
    device = _device_of(network)
    untrained = make_order_network(arch, n_dimensions, seed).to(device).eval()
    scorers: dict[str, Scorer] = {"network": network.score, "untrained": untrained.score, **CONTROLS}
    tables = []
    for name, scorer in scorers.items():
        for variant, change in VARIANTS.items():
            table = keys[["take", "blurry_index"]].reset_index(drop=True)
            table.insert(0, "scorer", name)
            table.insert(1, "variant", variant)
            for prefix, shown in (("s", sequences), ("r", sequences.flip(1))):
                scores = _score(scorer, shown, device, change)
                table[[f"{prefix}_{k}" for k in range(scores.shape[1])]] = scores
            tables.append(table)
    return pd.concat(tables, ignore_index=True)


def _device_of(network: OrderNetwork) -> torch.device:
    return network.normal.device


def _score(
    scorer: Scorer, sequences: Tensor, device: torch.device, change: Callable[[Tensor], Tensor] = VARIANTS["plain"]
) -> NDArray[np.float32]:
    batches = [np.empty((0, sequences.shape[1] // 2), np.float32)]
    with torch.inference_mode():
        for start in range(0, len(sequences), BATCH_SIZE):
            batch = sequences[start : start + BATCH_SIZE].to(device)
            first, second = sequence_pairs(change(to_float(batch)))
            batches.append(scorer(first, second).float().cpu().numpy())
    return np.concatenate(batches)


def score_predictions(predictions: pd.DataFrame) -> dict[str, dict[str, Any]]:
    """Score what ``predict`` returned.

    Returns
    -------
    dict
        Per scorer: ``hit``, the share of pairs whose reversal lies on the other side, and ``hit_pairs`` of each pair;
        ``con@k``, the share of sequences with k pairs on one side, mean over the choices of k pairs, and
        ``con@2_outer`` of the two outer pairs; and, named after the variant, the share of sequences whose order it
        leaves as it was. An antisymmetric scorer has a hit of 1 by construction.
    """
    names = [name for name in predictions.columns if name.startswith("s_")]
    result: dict[str, dict[str, Any]] = {}
    for scorer, rows in predictions.groupby("scorer", sort=False):
        variants = {str(variant): table for variant, table in rows.groupby("variant", sort=False)}
        sides = {variant: np.sign(table[names].to_numpy()) for variant, table in variants.items()}
        reversed_sides = np.sign(variants["plain"][[name.replace("s_", "r_") for name in names]].to_numpy())
        hits = (sides["plain"] * reversed_sides < 0).mean(axis=0)
        orders = {variant: np.sign(table[names].sum(axis=1).to_numpy()) for variant, table in variants.items()}
        result[str(scorer)] = {
            "hit": float(hits.mean()),
            "hit_pairs": hits.tolist(),
            **consistency(sides["plain"]),
            **{
                variant: float((order == orders["plain"]).mean())
                for variant, order in orders.items()
                if variant != "plain"
            },
        }
    return result


def consistency(scores: NDArray[np.floating]) -> dict[str, float]:
    """Return con@2 to con@P of scores, and con@2 of the two outer pairs.

    Parameters
    ----------
    scores : (n, P) ndarray of float
        Scores of the pairs, or their signs; zero lies on no side.

    Returns
    -------
    dict of str to float
        In [0, 1], by the metric's name.

    Examples
    --------
    >>> consistency(np.array([[1.0, 2.0, 3.0], [-1.0, -2.0, 3.0]]))
    {'con@2': 0.6666666666666666, 'con@3': 0.5, 'con@2_outer': 1.0}
    """
    n_pairs = scores.shape[1]
    shares = {
        f"con@{k}": float(np.mean([_agree(scores[:, choice]) for choice in combinations(range(n_pairs), k)]))
        for k in range(2, n_pairs + 1)
    }
    return shares | ({"con@2_outer": _agree(scores[:, :2])} if n_pairs > 1 else {})


def _agree(scores: NDArray[np.floating]) -> float:
    return float(np.mean((scores > 0).all(axis=1) | (scores < 0).all(axis=1)))
