"""Camera response and color maps: between coded values, linear light, and the two cameras' colors."""

from __future__ import annotations

from functools import cache
from typing import Literal, TypeVar

import cv2
import numpy as np
import skimage
from numpy.typing import ArrayLike, NDArray

Response = Literal["linear", "srgb"] | float
"""Transfer from linear light to coded values: linear, the sRGB curve, or the exponent of a pure gamma."""

_Entry = TypeVar("_Entry", np.uint8, np.float32)

_TABLE_LEVELS = 65536  # as many as uint16 can index; `_MAX_TABLE_GAMMA` says up to where they are fine enough
_MAX_TABLE_GAMMA = 2.2  # steeper ones take the darkest levels apart by less than a step of the table
_MAX_CONDITION = 1e7  # of the Gram matrix: rounding to 8 bits alone leaves 8e5, so that beyond it colors lie in a plane
_MAX_ROBUST_ROUNDS = 10  # only a bound, for weights that swing
_BIWEIGHT_REACH = 6.0  # in deviations; wide, because the errors of interpolation have long tails of their own
_SETTLED_WEIGHT = 0.02  # of 1; no weight changes the map where none changes by more
_MIN_ROBUST_SCALE = 0.01  # of linear light: what sharp edges leave, where a flat surface leaves far less
_CONSENSUS_DRAWS = 400  # with half of the pairs wrong, every draw holds a wrong one in 2 of 1000 cases: (1 - 1/64)^400
_CONSENSUS_SIZE = 6  # pairs of a draw; four are the least that make a map
_CONSENSUS_REACH = 5.6  # in deviations of one channel: the norm of three exceeds it once in a million
_CONSENSUS_FLOOR = 0.004  # of linear light: a level of 255 is no reason to leave a pair out
_CONSENSUS_ROUNDS = 10  # only a bound, for sets that swing
_MAP_DEVIATION = 0.1  # of a map's entries from the prior one, as cameras of one kind have it

_LUMINANCE = np.array([[0.2126], [0.7152], [0.0722]])

CHECKER_SRGB = np.array(
    [
        (115, 82, 68), (194, 150, 130), (98, 122, 157), (87, 108, 67), (133, 128, 177), (103, 189, 170),
        (214, 126, 44), (80, 91, 166), (193, 90, 99), (94, 60, 108), (157, 188, 64), (224, 163, 46),
        (56, 61, 150), (70, 148, 73), (175, 54, 60), (231, 199, 31), (187, 86, 149), (8, 133, 161),
        (243, 243, 242), (200, 200, 200), (160, 160, 160), (122, 122, 121), (85, 85, 85), (52, 52, 52),
    ],
    dtype=np.uint8,
)  # fmt: skip
"""(24, 3) nominal sRGB values of the classic color checker, row by row (X-Rite's published table)."""


def to_linear(image: NDArray[np.uint8] | NDArray[np.floating], response: Response) -> NDArray[np.float32]:
    """Undo a camera response.

    Parameters
    ----------
    image : ndarray of uint8 or float
        Coded values, 0..255 for uint8, 0..1 for float; any shape.
    response : {"linear", "srgb"} or float
        The response, see `Response`.

    Returns
    -------
    ndarray of float32
        Linear light in 0..1, of the same shape.

    References
    ----------
    .. [1] IEC 61966-2-1:1999, the sRGB transfer function.

    Examples
    --------
    >>> to_linear(np.array([0, 128, 255], np.uint8), "srgb").round(4).astype(float).round(4).tolist()
    [0.0, 0.2159, 1.0]
    """
    if image.dtype == np.uint8:
        table = _linear_table(response)
        return look_up(image.astype(np.uint8, copy=False), table)
    coded = np.asarray(image, dtype=np.float32)
    if response == "linear":
        return coded
    if response == "srgb":
        return np.where(coded <= 0.04045, coded / 12.92, ((np.maximum(coded, 0) + 0.055) / 1.055) ** 2.4)
    return np.maximum(coded, 0) ** np.float32(response)


def from_linear(image_linear: NDArray[np.floating], response: Response) -> NDArray[np.float32]:
    """Apply a camera response; the inverse of `to_linear`.

    Parameters
    ----------
    image_linear : ndarray of float
        Linear light; values outside 0..1 are clipped.
    response : {"linear", "srgb"} or float
        The response, see `Response`.

    Returns
    -------
    ndarray of float32
        Coded values in 0..1, of the same shape.
    """
    linear = np.clip(np.asarray(image_linear, dtype=np.float32), 0, 1)
    if response == "linear":
        return linear
    if response == "srgb":
        return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055).astype(np.float32)
    return linear ** np.float32(1 / response)


def luminance(image_linear: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the luminance of (..., 3) linear RGB, as (..., 1).

    Where chroma lies beside luma, as 4:2:0 video that is sited otherwise than assumed has it, gray edges keep their
    place in luminance, and colored ones most of it.

    References
    ----------
    .. [1] ITU-R BT.709-6, table 3, for the weights.

    Examples
    --------
    >>> luminance(np.ones((2, 3))).round(9).tolist()
    [[1.0], [1.0]]
    """
    return np.asarray(image_linear @ _LUMINANCE, dtype=np.float64)


def encode(image_linear: NDArray[np.floating], response: Response) -> NDArray[np.uint8]:
    """Apply a camera response and round to 8 bits, by a table of 65,536 levels where that is fine enough.

    Parameters
    ----------
    image_linear : ndarray of float
        Linear light; values outside 0..1 are clipped.
    response : {"linear", "srgb"} or float
        The response, see `Response`.

    Returns
    -------
    ndarray of uint8
        Coded values, of the same shape; within one level in 255 of rounding `from_linear`.
    """
    if not isinstance(response, str) and response > _MAX_TABLE_GAMMA:
        return np.rint(from_linear(image_linear, response) * 255).astype(np.uint8)
    return look_up(_table_indices(image_linear), _coded_table(response))


def code_levels(image_linear: NDArray[np.floating], response: Response) -> NDArray[np.float32]:
    """Apply a camera response without rounding to 8 bits, by the table of `encode`.

    Parameters
    ----------
    image_linear : ndarray of float
        Linear light; values outside 0..1 are clipped.
    response : {"linear", "srgb"} or float
        The response, see `Response`.

    Returns
    -------
    ndarray of float32
        Coded values in 0..255, of the same shape; `encode` returns them rounded.

    Examples
    --------
    >>> code_levels(np.array([0.0, 0.2159, 1.0]), "srgb").round(1).tolist()
    [0.0, 128.0, 255.0]
    """
    if not isinstance(response, str) and response > _MAX_TABLE_GAMMA:
        return np.asarray(from_linear(image_linear, response) * np.float32(255), dtype=np.float32)
    return look_up(_table_indices(image_linear), _level_table(response))


def _table_indices(image_linear: NDArray[np.floating]) -> NDArray[np.uint16]:
    flat = np.ascontiguousarray(image_linear, dtype=np.float32).reshape(1, -1)
    if not flat.size:
        return np.empty(image_linear.shape, dtype=np.uint16)
    # One visit that scales, rounds and clips.
    levels = cv2.addWeighted(flat, _TABLE_LEVELS - 1, flat, 0.0, 0.0, dtype=cv2.CV_16U)
    return np.asarray(levels.reshape(image_linear.shape), dtype=np.uint16)


def look_up(indices: NDArray[np.integer | np.floating], table: NDArray[_Entry]) -> NDArray[_Entry]:
    """Return the table's entries at indices of any shape; OpenCV does it several times faster than numpy."""
    if not indices.size:
        return np.empty(indices.shape, table.dtype)
    found = cv2.LUT(np.ascontiguousarray(indices).reshape(1, -1), table[None])
    return np.asarray(found.reshape(indices.shape), dtype=table.dtype)


@cache
def _linear_table(response: Response) -> NDArray[np.float32]:
    return to_linear(np.arange(256, dtype=np.float32) / 255, response).astype(np.float32)


@cache
def _level_table(response: Response) -> NDArray[np.float32]:
    linear = np.arange(_TABLE_LEVELS, dtype=np.float32) / (_TABLE_LEVELS - 1)
    return np.asarray(from_linear(linear, response) * 255, dtype=np.float32)


@cache
def _coded_table(response: Response) -> NDArray[np.uint8]:
    return np.rint(_level_table(response)).astype(np.uint8)


def fit_color_map(source: ArrayLike, target: ArrayLike, weights: ArrayLike | None = None) -> NDArray[np.float64]:
    """Fit the affine map that best turns source colors into target colors.

    Parameters
    ----------
    source, target : (..., 3) array_like
        Corresponding RGB values in [0, 1], with equal shapes.
    weights : (...) array_like, optional
        Non-negative weight of each pair.

    Returns
    -------
    (3, 4) ndarray of float64
        ``M`` minimizing ``||M [source; 1] - target||`` in the (weighted) least-squares sense.

    Raises
    ------
    ValueError
        If the shapes differ, or the colors do not span RGB (a gray wall, say).

    References
    ----------
    .. [1] Pham et al., "HyperCUT", CVPR 2023, supplementary eq. (1).

    Examples
    --------
    >>> source = np.array([[0, 0, 0], [1, 0, 0], [0, 1, 0], [0, 0, 1], [1, 1, 1]])
    >>> np.allclose(fit_color_map(source, source * 0.5 + 0.25), np.eye(3, 4) * 0.5 + [0, 0, 0, 0.25])
    True
    """
    x, y = np.asarray(source, dtype=np.float64), np.asarray(target, dtype=np.float64)
    if x.shape != y.shape or x.shape[-1:] != (3,):
        raise ValueError(f"source and target must have equal shapes (..., 3), got {x.shape} and {y.shape}")
    x, y = x.reshape(-1, 3), y.reshape(-1, 3)
    w = np.ones(len(x)) if weights is None else np.asarray(weights, dtype=np.float64).ravel()
    total = w.sum()
    if not total > 0:
        raise ValueError("no color pair has a weight above zero")
    x_mean, y_mean = w @ x / total, w @ y / total
    x_centered = x - x_mean
    gram = (x_centered * w[:, None]).T @ x_centered
    eigenvalues = np.linalg.eigvalsh(gram)
    if eigenvalues[0] * _MAX_CONDITION <= eigenvalues[-1]:
        raise ValueError("the source colors do not span RGB, so that no affine map can be fitted")
    linear = np.linalg.solve(gram, (x_centered * w[:, None]).T @ (y - y_mean)).T
    return np.column_stack([linear, y_mean - linear @ x_mean])


def fit_color_map_robustly(
    source: ArrayLike, target: ArrayLike, prior: NDArray[np.floating], prior_weight: float = 1e-6
) -> NDArray[np.float64]:
    """Fit the affine map of most color pairs; those that do not correspond lose their weight.

    Tukey's biweight of the residuals, whose scale is their median, tells which pairs belong together. Along colors
    that the source hardly varies in, the map falls back to a prior one.

    Parameters
    ----------
    source, target : (..., 3) array_like
        Corresponding RGB values in [0, 1], with equal shapes.
    prior : (3, 4) ndarray
        The map where the pairs say nothing.
    prior_weight : float
        Variance of the source, in squared color values, below which the prior prevails.

    Returns
    -------
    (3, 4) ndarray of float64

    Raises
    ------
    ValueError
        If the shapes differ, or there is no pair.

    References
    ----------
    .. [1] Beaton and Tukey, "The fitting of power series, meaning polynomials, illustrated on band-spectroscopic
       data", Technometrics 16 (1974).
    """
    x, y = np.asarray(source, dtype=np.float64), np.asarray(target, dtype=np.float64)
    if x.shape != y.shape or x.shape[-1:] != (3,):
        raise ValueError(f"source and target must have equal shapes (..., 3), got {x.shape} and {y.shape}")
    # One row to a channel, which is summed over several times as fast.
    x, y = (np.ascontiguousarray(colors.reshape(-1, 3).T) for colors in (x, y))
    if not x.size:
        raise ValueError("there is no color pair")
    weights = np.ones(x.shape[1])
    for _ in range(_MAX_ROBUST_ROUNDS):
        color_map = _fit_with_prior(x, y, weights, np.asarray(prior, dtype=np.float64), prior_weight)
        squares = np.square(color_map[:, :3] @ x + color_map[:, 3:] - y).sum(axis=0)
        # The median of the norm of a normal vector of three is 1.54 of its deviations. Where most pairs are one flat
        # surface, a green screen say, it is far smaller than what sharp edges leave, which do correspond.
        scale = max(float(np.sqrt(np.median(squares))) / 1.54, _MIN_ROBUST_SCALE)
        updated = np.square(np.maximum(1 - squares / (_BIWEIGHT_REACH * scale) ** 2, 0))
        settled = float(np.max(np.abs(updated - weights))) < _SETTLED_WEIGHT
        weights = updated
        if settled:
            break
    return color_map


def _fit_with_prior(
    x: NDArray[np.float64],
    y: NDArray[np.float64],
    weights: NDArray[np.float64],
    prior: NDArray[np.float64],
    prior_weight: float,
) -> NDArray[np.float64]:
    """Return the map of colors x, (3, n), to colors y that falls back to a prior one."""
    total = max(float(weights.sum()), 1e-12)
    x_mean, y_mean = x @ weights / total, y @ weights / total
    centered = x - x_mean[:, None]
    weighted = centered * weights
    gram = weighted @ centered.T / total + prior_weight * np.eye(3)
    cross = weighted @ (y - y_mean[:, None]).T / total + prior_weight * prior[:, :3].T
    linear = np.linalg.solve(gram, cross).T
    return np.column_stack([linear, y_mean - linear @ x_mean])


def fit_color_map_by_consensus(
    source: ArrayLike, target: ArrayLike, prior: NDArray[np.floating] | None = None
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Fit the affine map that most of a few color pairs agree on, whatever the others are.

    For pairs that are few and known one by one, as a color checker's patches, of which glare or a finger may have
    spoiled some, the brightest included. Maps through a few pairs each are drawn; the one of the least median residual
    tells which pairs belong together, and the map is fitted to those. What they say little of is left to the prior
    map, by the deviation that they leave.

    Parameters
    ----------
    source, target : (n, 3) array_like
        Corresponding RGB values in [0, 1].
    prior : (3, 4) ndarray, optional
        The map where the pairs say nothing; by default the identity times the gain of most pairs.

    Returns
    -------
    color_map : (3, 4) ndarray of float64
    kept : (n,) ndarray of bool
        The pairs that it was fitted to.

    Raises
    ------
    ValueError
        If the shapes differ, or there are fewer than four pairs.

    References
    ----------
    .. [1] Rousseeuw, "Least median of squares regression", J. Am. Stat. Assoc. 79 (1984).
    """
    x, y = np.asarray(source, dtype=np.float64), np.asarray(target, dtype=np.float64)
    if x.shape != y.shape or x.ndim != 2 or x.shape[1] != 3:
        raise ValueError(f"source and target must have equal shapes (n, 3), got {x.shape} and {y.shape}")
    if len(x) < 4:
        raise ValueError(f"{len(x)} color pairs give no affine map; expected 4 at least")
    if prior is None:
        gain = float(np.median(y.sum(axis=1) / np.maximum(x.sum(axis=1), 1e-3)))
        prior = gain * np.eye(3, 4)
    center = np.asarray(prior, dtype=np.float64)
    rng = np.random.default_rng(0)
    size = min(_CONSENSUS_SIZE, len(x))
    draws = rng.permuted(np.tile(np.arange(len(x)), (_CONSENSUS_DRAWS, 1)), axis=1)[:, :size]
    homogeneous = np.column_stack([x, np.ones(len(x))])
    drawn = homogeneous[draws]
    gram = drawn.transpose(0, 2, 1) @ drawn + 1e-9 * np.eye(4)
    maps = np.linalg.solve(gram, drawn.transpose(0, 2, 1) @ y[draws])
    residuals = np.linalg.norm(homogeneous @ maps - y, axis=-1)
    residuals = residuals[np.argmin(np.median(residuals, axis=1))]
    small_sample = 1 + 5 / max(len(x) - 4, 1)
    kept: NDArray[np.bool_] | None = None
    for _ in range(_CONSENSUS_ROUNDS):
        # The median of the norm of a normal vector of three is 1.54 of its deviations.
        deviation = max(small_sample * float(np.median(residuals)) / 1.54, _CONSENSUS_FLOOR / _CONSENSUS_REACH)
        updated = residuals <= _CONSENSUS_REACH * deviation
        if kept is not None and np.array_equal(updated, kept):
            break
        kept = updated
        ridge = (deviation / _MAP_DEVIATION) ** 2 / kept.sum()
        color_map = _fit_with_prior(x.T, y.T, kept.astype(np.float64), center, ridge)
        residuals = np.linalg.norm(homogeneous @ color_map.T - y, axis=1)
    return color_map, np.asarray(kept)


def apply_color_map(color_map: NDArray[np.floating], colors: NDArray[np.floating]) -> NDArray[np.float32]:
    """Apply a 3x4 color map.

    Parameters
    ----------
    color_map : (3, 4) ndarray
        ``M`` of ``[r' g' b'] = M [r g b 1]``.
    colors : (..., 3) ndarray of float
        RGB values in [0, 1].

    Returns
    -------
    (..., 3) ndarray of float32
        Mapped colors, not clipped.
    """
    matrix = np.asarray(color_map, dtype=np.float32)
    if colors.ndim == 3:
        return np.asarray(cv2.transform(np.ascontiguousarray(colors, dtype=np.float32), matrix), dtype=np.float32)
    return np.asarray(colors @ matrix[:, :3].T + matrix[:, 3], dtype=np.float32)


def delta_e_2000(colors: ArrayLike, reference: ArrayLike) -> NDArray[np.float64]:
    """Return the CIEDE2000 difference between sRGB-coded colors.

    Parameters
    ----------
    colors, reference : (..., 3) array_like
        sRGB-coded RGB values in [0, 1].

    Returns
    -------
    (...) ndarray of float64
        Differences; about 1 is just noticeable.
    """
    lab, lab_reference = (skimage.color.rgb2lab(np.asarray(values, dtype=np.float64)) for values in (colors, reference))
    return np.asarray(skimage.color.deltaE_ciede2000(lab, lab_reference), dtype=np.float64)
