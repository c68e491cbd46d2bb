"""The tone curve of one camera against the other's: an exponent of its coded values, as picture profiles differ."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
import scipy
from numpy.typing import NDArray

from rb2v.core.color import Response, look_up, to_linear

MIN_EXPONENT, MAX_EXPONENT = 0.6, 1.7
"""From a log profile against a usual one to the reverse; found at an end, it is no exponent."""

_N_TRIED = 15  # over the range; 7 % from one to the next, and errors have one minimum
_TOLERANCE = 1e-3  # of the exponent; a tenth of a level of 8 bits
_MAX_LEFT = 0.8  # of the error in scenes that were left out; less gained may be the color map's


@dataclass(frozen=True)
class ExponentFit:
    """An exponent that explains scenes that it was not fitted to."""

    exponent: float
    error_before: float
    """Median difference between the views of scenes that are left out, without it."""
    error_after: float
    """The same with the exponent of the others."""


def undo_tone(image: NDArray[np.uint8], response: Response, exponent: float) -> NDArray[np.float32]:
    """Return the light of a coded image, (..., 3) float32, whose values are ``coded ** exponent`` of a response's."""
    if exponent == 1:
        return to_linear(image, response)
    return look_up(image, _light_table(response, exponent))


@cache
def _light_table(response: Response, exponent: float) -> NDArray[np.float32]:
    return to_linear(np.power(np.arange(256) / 255, 1 / exponent).astype(np.float32), response)


def fit_exponent(errors: Callable[[float], NDArray[np.float64]]) -> ExponentFit | None:
    """Find the exponent under which the views of static scenes differ least.

    Parameters
    ----------
    errors : callable
        Returns the difference between the views of every scene, (n,), under an exponent.

    Returns
    -------
    ExponentFit or None
        None with fewer than two scenes, or where no exponent makes scenes better that it was not chosen for.
    """
    before = np.log(errors(1.0))
    if len(before) < 2:
        return None
    tried = np.geomspace(MIN_EXPONENT, MAX_EXPONENT, _N_TRIED)
    coarse = np.arange(0, _N_TRIED, 2)
    rows = {int(place): np.log(errors(float(tried[place]))) for place in coarse}
    # With one minimum, the least of all lies at the least of every other one or beside it.
    totals = _totals(np.stack(list(rows.values())))
    beside = coarse[totals.argmin(axis=0)][:, None] + np.array([-1, 1])
    for place in np.unique(beside[(beside >= 0) & (beside < _N_TRIED)]):
        rows[int(place)] = np.log(errors(float(tried[place])))
    places = sorted(rows)
    table = np.stack([rows[place] for place in places])
    best, *best_of_others = _totals(table).argmin(axis=0)
    after = table[best_of_others, np.arange(len(before))]
    if np.exp((after - before).mean()) > _MAX_LEFT or places[best] in (0, _N_TRIED - 1):
        return None
    bounds = float(tried[places[best] - 1]), float(tried[places[best] + 1])
    found = scipy.optimize.minimize_scalar(
        lambda exponent: float(np.log(errors(float(exponent))).sum()),
        bounds=bounds,
        method="bounded",
        options={"xatol": _TOLERANCE},
    )
    return ExponentFit(float(found.x), float(np.exp(np.median(before))), float(np.exp(np.median(after))))


def confirm_exponent(errors: Callable[[float], NDArray[np.float64]], exponent: float) -> ExponentFit | None:
    """Return an exponent that something else told where scenes, one at least, confirm it, as for `fit_exponent`."""
    before, after = np.log(errors(1.0)), np.log(errors(exponent))
    if not len(before) or np.exp((after - before).mean()) > _MAX_LEFT:
        return None
    return ExponentFit(exponent, float(np.exp(np.median(before))), float(np.exp(np.median(after))))


def _totals(table: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the sums over all scenes, and over all but each, of a (n_exponents, n_scenes) table."""
    whole = table.sum(axis=1, keepdims=True)
    return np.hstack([whole, whole - table])
