"""Intervals of the figures of a split: bootstrap over takes, because the sequences of a take are alike."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

MIN_TAKES = 3
"""Fewer takes say nothing of how takes differ."""
TAIL_PERCENT = 2.5  # on either side of an interval of 95 %


class TakeBootstrap:
    """Takes drawn again and again, with repetition, as many as there are.

    Parameters
    ----------
    takes : (n,) array_like
        The take of every sequence.
    n_resamples : int
        How often to draw.
    seed : int
        What the draws depend on.
    """

    def __init__(self, takes: ArrayLike, n_resamples: int, seed: int) -> None:
        self._codes, names = pd.factorize(np.asarray(takes))
        self._n_takes = len(names)
        self._weights = np.empty((0, self._n_takes))
        if self._n_takes >= MIN_TAKES:
            shares = np.full(self._n_takes, 1 / self._n_takes)
            self._weights = np.random.default_rng(seed).multinomial(self._n_takes, shares, n_resamples).astype(float)

    def means(
        self, values: NDArray[np.floating | np.bool_], kept: NDArray[np.bool_] | None = None
    ) -> NDArray[np.float64]:
        """Return the mean over the sequences of every resample.

        Parameters
        ----------
        values : (n, m) ndarray of float or bool
            Figures of the sequences.
        kept : (n,) ndarray of bool, optional
            Sequences that count; all where it is None.

        Returns
        -------
        (n_resamples, m) ndarray of float64
            NaN where a resample holds no sequence that counts; no row where there are too few takes.
        """
        weight = np.ones(len(values)) if kept is None else kept.astype(float)
        sums = np.stack([self._sum(column * weight) for column in values.T], axis=1)
        with np.errstate(invalid="ignore"):
            means: NDArray[np.float64] = (self._weights @ sums) / (self._weights @ self._sum(weight))[:, None]
        return means

    def _sum(self, values: NDArray[np.floating]) -> NDArray[np.float64]:
        return np.asarray(np.bincount(self._codes, weights=values, minlength=self._n_takes), dtype=np.float64)


def interval_of(resampled: NDArray[np.floating]) -> list[float] | None:
    """Return the middle 95 % of a figure's resamples as ``[low, high]``; None where there is none.

    Parameters
    ----------
    resampled : (n_resamples,) ndarray of float
        The figure in every resample.

    Examples
    --------
    >>> interval_of(np.arange(81) / 8)
    [0.25, 9.75]
    """
    finite = resampled[np.isfinite(resampled)]
    if not len(finite):
        return None
    return [float(value) for value in np.percentile(finite, (TAIL_PERCENT, 100 - TAIL_PERCENT))]
