"""Selection of samples to look at: by split, take and category, or at random."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from rb2v.artifacts import CATEGORIES, SPLITS
from rb2v.errors import InputError
from rb2v.shards import ShardReader

_MOST_NAMES = 8  # as many as a message of two lines holds


def sample_splits(reader: ShardReader) -> NDArray[np.object_]:
    """Return the split of every sample, in the order of ``reader.table``."""
    split_of = {shard.file: split for split, entry in reader.manifest.splits.items() for shard in entry.shards}
    return np.array([split_of[name] for name in reader.table["shard"]], dtype=object)


def select_samples(
    reader: ShardReader, *, split: str | None = None, take: str | None = None, category: str | None = None
) -> NDArray[np.int64]:
    """Return the indices of the samples of a split, a take and a category.

    Parameters
    ----------
    reader : ShardReader
        The data set.
    split, take, category : str, optional
        What a sample has to belong to; anything where one is None.

    Returns
    -------
    (n,) ndarray of int64
        Rows of ``reader.table``, rising; at least one.

    Raises
    ------
    InputError
        If a name is unknown, or no sample belongs to all that is asked for.
    """
    table = reader.table
    asked: dict[str, tuple[str | None, Collection[str], ArrayLike]] = {
        "split": (split, SPLITS, sample_splits(reader)),
        "take": (take, set(table["take"]), table["take"]),
        "category": (category, CATEGORIES, table["category"]),
    }
    chosen = np.ones(len(table), dtype=bool)
    for kind, (name, known, of_sample) in asked.items():
        if name is not None:
            if name not in known:
                raise InputError(reader.folder, f"{name!r} is no {kind} of it", expected=_list_names(known))
            chosen &= np.asarray(of_sample) == name
    if not chosen.any():
        wanted = " and ".join(name for name, _, _ in asked.values() if name is not None)
        raise InputError(reader.folder, f"no sample is of {wanted}" if wanted else "holds no sample")
    return np.flatnonzero(chosen)


def _list_names(names: Collection[str]) -> str:
    shown = sorted(names)[:_MOST_NAMES]
    ending = f" or one of {len(names) - len(shown)} others" if len(names) > len(shown) else ""
    return ", ".join(shown) + ending


def draw_samples(table: pd.DataFrame, n_samples: int, seed: int = 0) -> list[int]:
    """Draw samples that show as many categories and takes as there is room for.

    Categories take turns, in each of them its takes, in each of those its samples; all in random order.

    Parameters
    ----------
    table : DataFrame
        Rows of ``ShardReader.table`` to draw from.
    n_samples : int
        How many to draw; all where there are fewer.
    seed : int
        Seed of the choice.

    Returns
    -------
    list of int
        Labels of rows, sorted by category, take and label.
    """
    rng = np.random.default_rng(seed)
    shuffled = table.iloc[rng.permutation(len(table))]
    turn = shuffled.groupby(["category", "take"]).cumcount()
    # The rank within its category among what has the same turn: the take's place in the round.
    order = shuffled.assign(turn=turn).sort_values("turn", kind="stable")
    round_ = order.groupby("category").cumcount()
    drawn = order.assign(round=round_).sort_values("round", kind="stable").head(n_samples)
    return [int(index) for index in drawn.assign(index=drawn.index).sort_values(["category", "take", "index"]).index]
