"""Search for the window that explains a blurry frame: scores from sums alone, and the peak of a score curve.

The error that the best 3x4 color map leaves follows from covariances of pixels, so that no map is ever applied to a
image. `window_errors` scores many frames against many windows through one matrix product; `StepSums` keeps the
frame-by-frame sums of the few blur-track steps about one frame, from which a window of any place and length is scored.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rb2v.core.blur import Windows

MatrixProduct = Callable[[NDArray[np.float64], NDArray[np.float64]], NDArray[np.float64]]
"""Multiplies two float64 matrices, wherever that is fastest."""

_RIDGE = 1e-9  # of the Gram matrix's trace: what float64 needs, and 90 dB below the light itself
_SMALLEST_ERROR = 1e-12  # mean square, 120 dB: equal frames get a finite PSNR
_BLOCK_WINDOWS = 128  # of one product: enough for BLAS, and few enough that not many scores are thrown away
_BLOCK_NUMBERS = 1 << 23  # float64, 64 MB


def window_errors(
    windows: NDArray[np.floating],
    frames: NDArray[np.floating],
    valid: NDArray[np.bool_] | None = None,
    *,
    product: MatrixProduct = np.matmul,
) -> NDArray[np.float64]:
    """Return the error that is left in every frame and window after the color map that fits the two best.

    Parameters
    ----------
    windows : (P, n, 3) ndarray of float
        Synthetic blur of P windows, n pixels, in [0, 1].
    frames : (J, n, C) ndarray of float
        Blurry frames at the same pixels: their colors, or what of these is to be explained, as by `luminance`.
    valid : (J, n) ndarray of bool, optional
        Pixels of each frame that count, for example those that are not clipped.
    product : callable, optional
        Matrix product; numpy's by default.

    Returns
    -------
    (J, P) ndarray of float64
        Mean squared error per value, of the best affine map of each pair; NaN for a frame of which no pixel counts.

    References
    ----------
    .. [1] Pham et al., "HyperCUT", CVPR 2023, section 4.2, Algorithm 1 and eq. (10); supplementary eq. (1).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> windows = rng.random((2, 50, 3))
    >>> window_errors(windows, windows[1:] * 0.5 + 0.1).round(6).tolist()[0][1]
    0.0
    """
    x, y = _rows(windows), _rows(frames)
    n_windows, n_frames, n = len(windows), len(frames), x.shape[1]
    n_channels = frames.shape[2]
    x -= x.mean(axis=1, keepdims=True)
    counts = np.full(n_frames, float(n))
    if valid is None:
        y -= y.mean(axis=1, keepdims=True)
    else:
        counts = valid.sum(axis=1).astype(np.float64)
        y *= np.repeat(valid, n_channels, axis=0)
        y -= y.sum(axis=1, keepdims=True) / np.maximum(np.repeat(counts, n_channels), 1)[:, None]
        y *= np.repeat(valid, n_channels, axis=0)
    # The frame is centered over its own pixels, so that the windows' means do not enter.
    cross = product(x, y.T).reshape(n_windows, 3, n_frames, n_channels).transpose(2, 0, 1, 3)
    stacked = x.reshape(n_windows, 3, n)
    gram: NDArray[np.float64] = np.matmul(stacked, stacked.transpose(0, 2, 1))[None]
    if valid is not None and not valid.all():
        gram = gram - _spoilt_sums(stacked, ~valid, counts, product)
    rows = y.reshape(n_frames, n_channels, n)
    total = np.einsum("jcn,jcn->j", rows, rows)
    explained = _explained(gram, cross, np.maximum(counts, 1)[:, None])
    errors = np.maximum(total[:, None] - explained, 0.0) / (n_channels * np.maximum(counts, 1)[:, None])
    errors[counts == 0] = np.nan
    return np.asarray(errors, dtype=np.float64)


def _rows(pictures: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return (m, n, c) images as (m c, n) rows, one per channel."""
    m, n, n_channels = pictures.shape
    return np.array(np.asarray(pictures).transpose(0, 2, 1), dtype=np.float64, order="C").reshape(n_channels * m, n)


def _spoilt_sums(
    windows: NDArray[np.float64], spoilt: NDArray[np.bool_], counts: NDArray[np.float64], product: MatrixProduct
) -> NDArray[np.float64]:
    """Return what the pixels that do not count add to each window's covariance with itself, as (J, P, 3, 3)."""
    n_windows, _, n = windows.shape
    a, b = np.triu_indices(3)
    terms = np.concatenate([windows, windows[:, a] * windows[:, b]], axis=1).reshape(-1, n)
    sums = product(terms, spoilt.T.astype(np.float64)).reshape(n_windows, 9, len(spoilt)).transpose(2, 0, 1)
    outer = np.empty((len(spoilt), n_windows, 3, 3))
    outer[..., a, b] = outer[..., b, a] = sums[..., 3:]
    # Without those pixels the mean of the rest is no longer zero.
    means = sums[..., :3]
    return outer + means[..., :, None] * means[..., None, :] / np.maximum(counts, 1)[:, None, None, None]


def _explained(
    gram: NDArray[np.float64], cross: NDArray[np.float64], counts: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return how much of a frame's sum of squares a window explains: the trace of ``cross^T gram^-1 cross``."""
    # The ridge only keeps a window of a single color solvable.
    trace = np.trace(gram, axis1=-2, axis2=-1)
    ridge = (_RIDGE * trace + _SMALLEST_ERROR * counts)[..., None, None] * np.eye(gram.shape[-1])
    lower = np.asarray(np.linalg.cholesky(gram + ridge), dtype=np.float64)
    whitened = np.matmul(_inverse_of_lower(lower), cross)
    return np.asarray(np.einsum("...ab,...ab->...", whitened, whitened), dtype=np.float64)


def _inverse_of_lower(lower: NDArray[np.float64]) -> NDArray[np.float64]:
    """Invert (..., c, c) lower triangles by substitution: a solver is several times slower on so many so small."""
    inverse = np.zeros_like(lower)
    for i in range(lower.shape[-1]):
        inverse[..., i, i] = 1.0 / lower[..., i, i]
        for j in range(i):
            partial = np.einsum("...k,...k->...", lower[..., i, j:i], inverse[..., j:i, j])
            inverse[..., i, j] = -partial * inverse[..., i, i]
    return inverse


def search_errors(
    windows: NDArray[np.floating] | Windows,
    frames: NDArray[np.floating],
    first_positions: NDArray[np.int64],
    n_windows: int,
    valid: NDArray[np.bool_] | None = None,
    *,
    product: MatrixProduct = np.matmul,
) -> NDArray[np.float64]:
    """Score for every frame a range of consecutive windows, a block of windows at a time.

    Parameters
    ----------
    windows : (P, n, 3) ndarray of float or Windows
        Synthetic blur at positions 0..P-1, taken block by block.
    frames : (J, n, C) ndarray of float
        Blurry frames, or what of their colors is to be explained.
    first_positions : (J,) ndarray of int64
        First position of each frame's range; it may lie outside of the recording.
    n_windows : int
        Length of the range.
    valid : (J, n) ndarray of bool, optional
        Pixels of each frame that count.
    product : callable, optional
        Matrix product; numpy's by default.

    Returns
    -------
    (J, n_windows) ndarray of float64
        As `window_errors`; NaN where a window is out of range.
    """
    errors = np.full((len(frames), n_windows), np.nan)
    columns = np.arange(n_windows)
    # Large frames in small blocks, so that memory is bounded whatever their size.
    n_block = min(max(_BLOCK_NUMBERS // max(frames.shape[1] * 3, 1), 1), _BLOCK_WINDOWS)
    low = max(int(first_positions.min(initial=0)), 0) // n_block * n_block
    for start in range(low, len(windows), n_block):
        stop = min(start + n_block, len(windows))
        concerned = np.flatnonzero((first_positions < stop) & (first_positions + n_windows > start))
        if not len(concerned):
            continue
        chosen = None if valid is None or valid[concerned].all() else valid[concerned]
        block = window_errors(windows[start:stop], frames[concerned], chosen, product=product)
        positions = first_positions[concerned, None] + columns
        inside = (positions >= start) & (positions < stop)
        rows, at = np.nonzero(inside)
        errors[concerned[rows], at] = block[rows, positions[inside] - start]
    return errors


class StepSums:
    """Sums of a run of blur-track steps with each other and with one frame.

    Windows of any place and length over the run are scored from these alone, whole steps or not.

    Parameters
    ----------
    steps : (K, n, C) ndarray of float
        Consecutive blur-track frames, n pixels; three colors, and whatever else a frame may be explained by.
    frame : (n, C) ndarray of float
        The blurry frame at the same pixels, or what of its colors is to be explained.
    valid : (n,) ndarray of bool, optional
        Pixels that count.

    Raises
    ------
    ValueError
        If no pixel counts.
    """

    def __init__(
        self, steps: NDArray[np.floating], frame: NDArray[np.floating], valid: NDArray[np.bool_] | None = None
    ) -> None:
        if valid is not None and not valid.all():
            steps, frame = steps[:, valid], frame[valid]
        if not frame.shape[0]:
            raise ValueError("no pixel counts")
        x, y = _rows(steps), _rows(frame[None])
        x -= x.mean(axis=1, keepdims=True)
        y -= y.mean(axis=1, keepdims=True)
        self._n_steps, self._n = len(steps), x.shape[1]
        n_channels, self._n_targets = steps.shape[2], frame.shape[1]
        self._gram = np.matmul(x, x.T).reshape(self._n_steps, n_channels, self._n_steps, n_channels)
        self._cross = np.matmul(x, y.T).reshape(self._n_steps, n_channels, self._n_targets)
        self._total = float(np.sum(y * y))

    def errors(self, weights: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the error that is left by the best color map of weighted means of the steps.

        Parameters
        ----------
        weights : (W, K) ndarray of float64
            Weight of each step in each of W windows, see `box_weights`.

        Returns
        -------
        (W,) ndarray of float64
            Mean squared error per value.
        """
        cross = np.tensordot(weights, self._cross, axes=1)
        half = np.tensordot(weights, self._gram, axes=1)
        gram = np.einsum("wakb,wk->wab", half, weights)
        explained = _explained(gram, cross, np.full(len(weights), float(self._n)))
        return np.asarray(np.maximum(self._total - explained, 0.0) / (self._n_targets * self._n), dtype=np.float64)


def box_weights(n_steps: int, centers: NDArray[np.floating], lengths: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return the share that each step has in exposures, every step standing for the time about it.

    Parameters
    ----------
    n_steps : int
        Steps of the run, K.
    centers, lengths : (W,) ndarray of float
        Middle and duration of each exposure, in steps; step k stands for k - 0.5 to k + 0.5.

    Returns
    -------
    (W, K) ndarray of float64
        Rows that sum to 1.

    Raises
    ------
    ValueError
        If an exposure has no length, or reaches beyond the run.

    Examples
    --------
    >>> box_weights(3, np.array([1.0]), np.array([2.0])).tolist()
    [[0.25, 0.5, 0.25]]
    """
    low, high = centers - lengths / 2, centers + lengths / 2
    if np.any(lengths <= 0) or np.any(low < -0.5 - 1e-9) or np.any(high > n_steps - 0.5 + 1e-9):
        raise ValueError("an exposure must have a length and lie inside the run of steps")
    edges = np.arange(n_steps + 1) - 0.5
    covered = np.clip(edges, low[:, None], high[:, None])
    shares = np.diff(covered, axis=1)
    return np.asarray(shares / shares.sum(axis=1, keepdims=True), dtype=np.float64)


def errors_to_psnr(errors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return PSNR in dB, for a peak of 1, of mean squared errors."""
    return np.asarray(-10.0 * np.log10(np.maximum(errors, _SMALLEST_ERROR)), dtype=np.float64)


@dataclass(frozen=True)
class Peak:
    """The best window of a score curve."""

    index: int
    """Index into the curve."""
    offset: float
    """Sub-frame part in -0.5..0.5: the minimum of the parabola through the error and its neighbors'."""
    margin_db: float
    """PSNR above the best window that is not a neighbor; 0 where there is none."""
    sharpness: float
    """Curvature of the error at the peak over the error there, per position squared: the estimate's weight."""
    at_edge: bool
    """Whether it is the first or last window tried, so that a better one may lie beyond."""


def find_peak(errors: NDArray[np.float64]) -> Peak:
    """Return the best window of an error curve.

    Parameters
    ----------
    errors : (P,) ndarray of float64
        Mean squared errors at consecutive positions; NaN where a window is out of range.

    Raises
    ------
    ValueError
        If every error is NaN.

    Examples
    --------
    >>> find_peak(np.array([9.0, 4.0, 1.0, 0.0, 1.0, 4.0]) + 1.0).index
    3
    """
    if np.all(np.isnan(errors)):
        raise ValueError("no window is in range")
    index = int(np.nanargmin(errors))
    inside = np.flatnonzero(~np.isnan(errors))
    others = np.abs(np.arange(len(errors)) - index) > 1
    others &= ~np.isnan(errors)
    psnr = errors_to_psnr(errors)
    margin_db = float(psnr[index] - psnr[others].max()) if others.any() else 0.0
    at_edge = index in (inside[0], inside[-1])
    offset, sharpness = 0.0, 0.0
    if not at_edge:
        before, here, after = errors[index - 1 : index + 2]
        offset = parabola_vertex(before, here, after)
        sharpness = float((before - 2 * here + after) / max(here, _SMALLEST_ERROR))
    return Peak(index, offset, margin_db, sharpness, at_edge)


def parabola_vertex(before: float, here: float, after: float) -> float:
    """Return where the parabola through three neighboring values has its extremum, in steps from the middle one.

    It lies within half a step where the middle value is the least or the greatest; 0 where the three lie on a line.

    Examples
    --------
    >>> parabola_vertex(4.0, 1.0, 2.0)
    0.25
    """
    curvature = before - 2 * here + after
    return float(np.clip(0.5 * (before - after) / curvature, -0.5, 0.5)) if curvature else 0.0
