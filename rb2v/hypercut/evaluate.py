"""Evaluation of order networks: predictions first, then scores with their uncertainty.

References
----------
.. [1] Pham et al., "HyperCUT", CVPR 2023, section 5.3 (hit and con).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from numpy.typing import NDArray
from torch import Tensor

from rb2v.errors import InputError
from rb2v.hypercut.controls import CONTROLS
from rb2v.hypercut.networks import OrderNetwork, make_order_network
from rb2v.hypercut.networks.base import score_alike
from rb2v.hypercut.scoring import score_sequences
from rb2v.training.intervals import TakeBootstrap, interval_of
from rb2v.training.tables import read_table

__all__ = [
    "VARIANTS",
    "consistency",
    "has_collapsed",
    "keep_pairs",
    "predict",
    "read_predictions",
    "score_predictions",
]

BRIGHTNESS_SHIFT = 0.1  # as large as `augmentation.MAX_OFFSET`
CONTRAST_GAIN = 0.8  # as strong as the inverse of `augmentation.MAX_GAIN`

N_ANGLES = 180  # a degree apart; lines, so that half a turn is all
N_CHANCE_DRAWS = 200  # whose mean's error is a 14th of one draw's spread

MIN_SCORE_RMS = 1e-3  # an untrained network's scores are far larger; smaller ones are rounding
MIN_HIT = 0.6  # scores that are the same in both orders hit half of the pairs or fewer

VARIANTS: Mapping[str, Callable[[Tensor], Tensor]] = {
    "plain": lambda frames: frames,
    "contrast_reversed": lambda frames: 1 - frames,
    "contrast_scaled": lambda frames: 0.5 + CONTRAST_GAIN * (frames - 0.5),
    "brightness_shifted": lambda frames: frames + BRIGHTNESS_SHIFT,
}
"""What is done to all frames alike before they are scored; none of it changes the motion."""

_KEYS = ("scorer", "variant", "take", "blurry_index")
_EXPECTED = "predictions that 'rb2v train-hypercut' wrote"


def predict(
    network: OrderNetwork, arch: str, n_dimensions: int, seed: int, sequences: Tensor, keys: pd.DataFrame
) -> pd.DataFrame:
    """Score sequences under every variant, and reversed, by the network and by the controls.

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
        and, in the rows of the plain variant, those of the reversed sequence ``r_0 ...``.
    """
    device = network.normal.device
    untrained = make_order_network(arch, n_dimensions, seed).to(device).eval()
    n_pairs = sequences.shape[1] // 2
    scorers = ("network", "untrained", *CONTROLS)
    # By variant, reversed or not, and scorer. All scorers look at the same frames, and both networks at the same cues.
    scores = np.full((len(VARIANTS), 2, len(sequences), n_pairs, len(scorers)), np.nan, np.float32)

    def score_by_all(first: Tensor, second: Tensor) -> Tensor:
        of_controls = [control(first, second) for control in CONTROLS.values()]
        return torch.stack([*score_alike([network, untrained], first, second), *of_controls], dim=-1)

    for place, (variant, change) in enumerate(VARIANTS.items() if len(sequences) else ()):
        scores[place, 0] = score_sequences(score_by_all, sequences, device, change)
        if variant == "plain":
            scores[place, 1] = score_sequences(score_by_all, sequences.flip(1), device, change)
    names = [f"{prefix}_{k}" for prefix in "sr" for k in range(n_pairs)]
    tables = []
    for of_scorer, scorer in enumerate(scorers):
        for place, variant in enumerate(VARIANTS):
            table = keys[["take", "blurry_index"]].reset_index(drop=True)
            table.insert(0, "scorer", scorer)
            table.insert(1, "variant", variant)
            table[names] = np.hstack(list(scores[place, ..., of_scorer]))
            tables.append(table)
    return pd.concat(tables, ignore_index=True)


def read_predictions(path: Path) -> pd.DataFrame:
    """Read the table that `predict` made.

    Raises
    ------
    InputError
        If the file is missing, no table, or lacks a column.
    """
    table = read_table(path, _KEYS, texts=_KEYS[:3], expected=_EXPECTED)
    n_pairs = sum(str(name).startswith("s_") for name in table)
    for name in (f"{prefix}_{k}" for prefix in "sr" for k in range(max(n_pairs, 1))):
        if name not in table:
            raise InputError(path, "column is missing", name, _EXPECTED)
        try:
            table[name] = table[name].astype("float64")
        except ValueError as error:
            raise InputError(path, "holds a value that is not a number", name, _EXPECTED) from error
    return table


def keep_pairs(predictions: pd.DataFrame, pairs: Sequence[int]) -> pd.DataFrame:
    """Return predictions of some pairs of frames alone, counted from 0; the outermost pair is pair 0.

    Parameters
    ----------
    predictions : DataFrame
        What `predict` returned.
    pairs : sequence of int
        The pairs to keep, ascending.
    """
    columns = {name: name for name in predictions if not str(name).startswith(("s_", "r_"))}
    columns |= {f"{prefix}_{pair}": f"{prefix}_{place}" for prefix in "sr" for place, pair in enumerate(pairs)}
    return predictions[list(columns)].rename(columns=columns)


def score_predictions(
    predictions: pd.DataFrame, motion: pd.DataFrame | None = None, *, n_resamples: int = 1000, seed: int = 0
) -> dict[str, dict[str, Any]]:
    """Score what `predict` returned, and say how far the figures may be off.

    Parameters
    ----------
    predictions : DataFrame
        Of the test split.
    motion : DataFrame, optional
        True mean motion of the image from ``x_0`` to ``x_N``: ``split, take, blurry_index, motion_x_px,
        motion_y_px``; NaN where it is not known.
    n_resamples : int
        Resamples of the takes that an interval comes from.
    seed : int
        Seed of the resamples, and of random labels.

    Returns
    -------
    dict
        Per scorer: ``hit``, the share of pairs whose reversal lies on the other side, and ``hit_pairs`` of each pair;
        ``con@k``, the share of sequences with k pairs on one side, mean over the choices of k pairs, and
        ``con@2_outer`` of the two outer pairs; named after the variant, the share of sequences whose order it
        leaves as it was, where an order of 0 on either side is not kept; and ``labels_flipped``, the share whose
        order turns with the sequence. An antisymmetric scorer has a hit of 1 by construction.

        Where there is ``motion``: ``agreement``, the share of sequences whose order tells on which side of a line
        their motion lies, for the best of 180 directions of the line; ``agreement_chance``, the same for random
        orders; ``agreement_n``, the number of sequences whose motion is known. None where that is 0.

        ``intervals`` holds ``[low, high]`` of each share by name, 95 % of the bootstrap over takes, with ``hit_pair_k``
        for each pair; None with fewer than 3 takes. That of ``agreement`` is at the line that is best for all
        sequences: it does not tell what the choice of the line adds, ``agreement_chance`` does.
    """
    names = [name for name in predictions.columns if name.startswith("s_")]
    result: dict[str, dict[str, Any]] = {}
    for scorer, rows in predictions.groupby("scorer", sort=False):
        tables = {str(variant): table for variant, table in rows.groupby("variant", sort=False)}
        plain = tables["plain"]
        scores = {variant: _numbers(table, names) for variant, table in tables.items()}
        reversed_scores = _numbers(plain, [name.replace("s_", "r_") for name in names])
        figures = _figures_of_sequences(scores, reversed_scores)
        values = np.stack(list(figures.values()), axis=1).astype(np.float64)
        bootstrap = TakeBootstrap(plain["take"].astype(str), n_resamples, seed)
        means = dict(zip(figures, values.mean(axis=0).tolist(), strict=True))
        intervals = dict(zip(figures, map(interval_of, bootstrap.means(values).T), strict=True))
        hit_pairs = [means.pop(f"hit_pair_{k}") for k in range(len(names))]
        scored: dict[str, Any] = {"hit": means.pop("hit"), "hit_pairs": hit_pairs, **means}
        if motion is not None:
            sides = np.sign(scores["plain"].sum(axis=1))
            agreement, intervals["agreement"] = _follow_motion(sides, _motion_of(plain, motion), bootstrap, seed)
            scored |= agreement
        result[str(scorer)] = {**scored, "intervals": intervals}
    return result


def _numbers(table: pd.DataFrame, names: list[str]) -> NDArray[np.float64]:
    # By way of float32, which a table of text gives back to the bit.
    return table[names].to_numpy(np.float32).astype(np.float64)


def _figures_of_sequences(
    scores: Mapping[str, NDArray[np.float64]], reversed_scores: NDArray[np.float64]
) -> dict[str, NDArray[Any]]:
    """Return what every sequence, (n,), adds to each figure's mean."""
    plain = scores["plain"]
    hits = np.sign(plain) * np.sign(reversed_scores) < 0
    orders = {variant: np.sign(values.sum(axis=1)) for variant, values in scores.items()}
    # Above 0 alone: a collapsed network, whose orders are all 0, keeps nothing.
    kept = {variant: order * orders["plain"] > 0 for variant, order in orders.items() if variant != "plain"}
    return {
        "hit": hits.mean(axis=1),
        **{f"hit_pair_{k}": hit for k, hit in enumerate(hits.T)},
        **_consistency_of_sequences(plain),
        **kept,
        "labels_flipped": orders["plain"] * np.sign(reversed_scores.sum(axis=1)) < 0,
    }


def _motion_of(plain: pd.DataFrame, motion: pd.DataFrame) -> NDArray[np.float64]:
    """Return the true motion of sequences, (n, 2) in pixels, NaN where it is not known."""
    known = motion[motion["split"] == "test"]
    places = pd.MultiIndex.from_arrays([known["take"].astype(str), known["blurry_index"]])
    wanted = pd.MultiIndex.from_arrays([plain["take"].astype(str), plain["blurry_index"]])
    found = known[["motion_x_px", "motion_y_px"]].set_axis(places).reindex(wanted)
    return found.to_numpy(np.float64)


def _follow_motion(
    sides: NDArray[np.float64], motion_px: NDArray[np.float64], bootstrap: TakeBootstrap, seed: int
) -> tuple[dict[str, Any], list[float] | None]:
    """Return how well sides tell the direction of motion by the best half-plane, and the interval at that one."""
    kept = np.isfinite(motion_px).all(axis=1) & (motion_px != 0).any(axis=1)
    n = int(kept.sum())
    if not n:
        return {"agreement": None, "agreement_chance": None, "agreement_n": 0}, None
    angles = np.pi * np.arange(N_ANGLES) / N_ANGLES
    true_sides = np.sign(np.where(kept[:, None], motion_px, 0) @ np.stack([np.cos(angles), np.sin(angles)]))
    told = np.where(kept, sides, 0)[:, None] * true_sides
    told_right = np.hstack([told > 0, told < 0])  # by every line, with its sides named either way
    shares = told_right[kept].mean(axis=0)
    best = int(shares.argmax())
    draws = np.random.default_rng(seed).choice([-1.0, 1.0], (N_CHANCE_DRAWS, n))
    # Right and wrong of random sides differ by the product, and together are all that lie off the line.
    drawn = (np.abs(draws @ true_sides[kept]) + np.abs(true_sides[kept]).sum(axis=0)) / (2 * n)
    # The best line of every resample anew would be better than the best of all sequences nearly always.
    resampled = bootstrap.means(told_right[:, [best]], kept)[:, 0]
    agreement = {
        "agreement": float(shares[best]),
        "agreement_chance": float(drawn.max(axis=1).mean()),
        "agreement_n": n,
    }
    return agreement, interval_of(resampled)


def has_collapsed(score_rms: float, hit: float) -> bool:
    """Tell whether a network gives every pair about the same score: too small ones, or the same for both orders."""
    return not (score_rms >= MIN_SCORE_RMS and hit >= MIN_HIT)


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
    return {name: float(values.mean()) for name, values in _consistency_of_sequences(scores).items()}


def _consistency_of_sequences(scores: NDArray[np.floating]) -> dict[str, NDArray[Any]]:
    n_pairs = scores.shape[1]
    shares = {
        f"con@{k}": np.mean([_on_one_side(scores[:, choice]) for choice in combinations(range(n_pairs), k)], axis=0)
        for k in range(2, n_pairs + 1)
    }
    return shares | ({"con@2_outer": _on_one_side(scores[:, :2])} if n_pairs > 1 else {})


def _on_one_side(scores: NDArray[np.floating]) -> NDArray[np.bool_]:
    return np.asarray((scores > 0).all(axis=1) | (scores < 0).all(axis=1))
