"""The gain field between two cameras behind one beam splitter: a smooth factor for each color at each place.

How a splitter shares light between the cameras depends on the angle at which light falls on it and on its
polarization, so that a color may be bright on one side of one view and dim there in the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rb2v.core.color import fit_color_map_robustly

N_TERMS = 5
"""Of a field's logarithm: a slope and a bow each way, and a twist."""

MAX_LOG_GAIN = 0.7
"""Natural logarithm; a splitter that halves the light of a color at one border is not one for cameras."""

_ROUNDS = 6  # color maps and field in turn; what is left to change falls tenfold with each
_PRIOR_WEIGHT = 1e-4  # squared color values; chessboards, which are gray, tell no more than a gain of each color
_DARK = 0.02  # linear light that is added before ratios are taken: noise and flare of dark places are not gain
_REACH = 4.685  # of Tukey's biweight, in deviations: 95 % efficient for normal errors
_NORMAL = 1.4826  # of a normal distribution, standard deviation over median absolute one
_LEAST_SCALE = 1e-4  # relative; of images without noise
_RIDGE = 1e-6  # of a normal matrix of relative errors; keeps terms at zero that no place tells
_MAX_LEFT = 0.9  # of the error in captures that were left out; what helps less explains nothing
_LEAST_GAIN = 0.005  # over the picture; less is below a level of 8 bits


@dataclass(frozen=True, eq=False)
class ViewPair:
    """A static scene as both cameras saw it, averaged over cells."""

    places: NDArray[np.float64]
    """(n, 2) middles of cells, from -1 at the crop's left and upper edge to 1 at its right and lower one."""
    sharp: NDArray[np.float64]
    """(n, 3) linear light."""
    blurry: NDArray[np.float64]
    """(n, 3) linear light of the same places."""


@dataclass(frozen=True, eq=False)
class FieldFit:
    """A gain field that explains scenes that it was not fitted to."""

    coefficients: NDArray[np.float64]
    """(3, 5), see `gains_at`."""
    error_before: float
    """Median relative difference between the views of scenes that are left out, each under its own color map."""
    error_after: float
    """The same with the field of the others."""


def gains_at(coefficients: NDArray[np.float64], places: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the factors of the sharp camera's light at some places.

    Parameters
    ----------
    coefficients : (3, 5) ndarray of float64
        Of each color, the factors of u, v, u^2 - 1/3, u v and v^2 - 1/3 in the field's logarithm, whose mean is zero.
    places : (..., 2) ndarray of float64
        u and v, from -1 at the crop's left and upper edge to 1 at its right and lower one.

    Returns
    -------
    (..., 3) ndarray of float64
    """
    return np.asarray(np.exp(_terms(places) @ coefficients.T), dtype=np.float64)


def gain_image(coefficients: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.float32]:
    """Return the factors of every pixel of the crop at a size (width, height), (height, width, 3) float32."""
    return gains_at(coefficients, middles(size)).astype(np.float32)


def middles(size: tuple[int, int]) -> NDArray[np.float64]:
    """Return the places of the middles of (width, height) even parts of the crop, (height, width, 2)."""
    across, down = ((2 * np.arange(n) + 1) / n - 1 for n in size)
    return np.stack(np.meshgrid(across, down), axis=-1)


def fit_gain_field(pairs: Sequence[ViewPair]) -> FieldFit | None:
    """Fit one field to several scenes, each of which has a color map of its own.

    Every scene is left out once, and the field of the others must bring its views closer together.

    Parameters
    ----------
    pairs : sequence of ViewPair
        The scenes.

    Returns
    -------
    FieldFit or None
        None with fewer than two scenes, or where a field does not help.
    """
    if len(pairs) < 2:
        return None
    coefficients = _fit(pairs)
    grid = np.stack(np.meshgrid(np.linspace(-1, 1, 9), np.linspace(-1, 1, 9)), axis=-1)
    reach = np.abs(np.log(gains_at(coefficients, grid))).max()
    if not _LEAST_GAIN <= reach <= MAX_LOG_GAIN:
        return None
    before, after = [], []
    for index, left_out in enumerate(pairs):
        others = _fit([*pairs[:index], *pairs[index + 1 :]])
        before.append(color_error(left_out))
        after.append(_error(left_out, others))
    ratios = np.array(after) / np.array(before)
    if np.exp(np.log(ratios).mean()) > _MAX_LEFT:
        return None
    return FieldFit(coefficients, float(np.median(before)), float(np.median(after)))


def _terms(places: NDArray[np.float64]) -> NDArray[np.float64]:
    u, v = places[..., 0], places[..., 1]
    return np.stack([u, v, u**2 - 1 / 3, u * v, v**2 - 1 / 3], axis=-1)


def _fit(pairs: Sequence[ViewPair]) -> NDArray[np.float64]:
    """Return the (3, 5) coefficients that most cells of some scenes agree on."""
    coefficients = np.zeros((3, N_TERMS))
    for _ in range(_ROUNDS):
        gram, right = _RIDGE * np.eye(3 * N_TERMS), np.zeros(3 * N_TERMS)
        for pair in pairs:
            slopes, residuals, weights = _linearize(pair, coefficients)
            weighted = slopes * weights[:, None]
            # Scenes count alike, however many cells they have.
            gram += slopes.T @ weighted / len(weights)
            right += weighted.T @ residuals / len(weights)
        coefficients = coefficients + np.linalg.solve(gram, right).reshape(3, N_TERMS)
    return coefficients


def _linearize(
    pair: ViewPair, coefficients: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return how relative differences, (3 n,), follow the coefficients, (3 n, 15), with them and their weights."""
    even, color_map, residuals = _map(pair, coefficients)
    scaled = color_map[None, :, :3] * even[:, None, :] / (pair.blurry + _DARK)[:, :, None]
    slopes = (scaled[..., None] * _terms(pair.places)[:, None, None, :]).reshape(-1, 3 * N_TERMS)
    scale = max(_NORMAL * float(np.median(np.abs(residuals))), _LEAST_SCALE)
    weights = np.square(np.maximum(1 - np.square(residuals / (_REACH * scale)), 0))
    return slopes, residuals.ravel(), weights.ravel()


def _map(
    pair: ViewPair, coefficients: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """Return sharp light under a field, its color map to the blurry camera, and relative differences after both."""
    even = pair.sharp * gains_at(coefficients, pair.places)
    gains = np.median((pair.blurry + _DARK) / (even + _DARK), axis=0)
    prior = np.column_stack([np.diag(gains), np.zeros(3)])
    color_map = fit_color_map_robustly(even, pair.blurry, prior, _PRIOR_WEIGHT)
    mapped = even @ color_map[:, :3].T + color_map[:, 3]
    return even, color_map, (pair.blurry - mapped) / (pair.blurry + _DARK)


def color_error(pair: ViewPair) -> float:
    """Return the median relative difference between the views of a scene under the color map that fits them best."""
    return _error(pair, np.zeros((3, N_TERMS)))


def _error(pair: ViewPair, coefficients: NDArray[np.float64]) -> float:
    residuals = _map(pair, coefficients)[2]
    return max(float(np.median(np.abs(residuals))), _LEAST_SCALE)
