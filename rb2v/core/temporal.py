"""Which window explains a blurry frame: scores in closed form, and the peak of a score curve."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_RIDGE = 1e-9


def window_errors(
    windows: NDArray[np.floating], frame: NDArray[np.floating], valid: NDArray[np.bool_] | None = None
) -> NDArray[np.float64]:
    """Return the error that is left in every window after the color map that fits it best.

    The residual of the least-squares map follows from the windows' covariance with themselves and with the frame;
    no map is applied to a pixel.

    Parameters
    ----------
    windows : (P, n, 3) ndarray of float
        Synthetic blur of P windows, n pixels, linear light in [0, 1].
    frame : (n, 3) ndarray of float
        The blurry frame at the same pixels.
    valid : (n,) ndarray of bool, optional
        Pixels that count, for example those that are not clipped.

    Returns
    -------
    (P,) ndarray of float64
        Mean squared error per color value, of the best 3x4 map of each window.

    Raises
    ------
    ValueError
        If no pixel counts.

    References
    ----------
    .. [1] Pham et al., "HyperCUT", CVPR 2023, section 4.2, Algorithm 1 and eq. (10); supplementary eq. (1).

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> windows = rng.random((2, 50, 3))
    >>> window_errors(windows, windows[1] * 0.5 + 0.1).round(6).tolist()[1]
    0.0
    """
    x = np.asarray(windows, dtype=np.float64)
    y = np.asarray(frame, dtype=np.float64)
    if valid is not None:
        x, y = x[:, valid], y[valid]
    n = y.shape[0]
    if n == 0:
        raise ValueError("no pixel counts")
    x = x - x.mean(axis=1, keepdims=True)
    y = y - y.mean(axis=0)
    gram = np.matmul(x.transpose(0, 2, 1), x) / n
    cross = np.matmul(x.transpose(0, 2, 1), y) / n
    # The ridge only keeps a grey window solvable; it is far below one 8-bit level squared.
    explained = np.einsum("pij,pij->p", cross, np.linalg.solve(gram + _RIDGE * np.eye(3), cross))
    total = float(np.sum(y * y)) / n
    return np.asarray(np.maximum(total - explained, 0.0) / 3.0, dtype=np.float64)


def errors_to_psnr(errors: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return PSNR in dB, for a peak of 1, of mean squared errors."""
    return np.asarray(-10.0 * np.log10(np.maximum(errors, 1e-12)), dtype=np.float64)


@dataclass(frozen=True)
class Peak:
    """The best window of a score curve."""

    index: int
    """Index into the curve."""
    offset: float
    """Sub-frame part in -0.5..0.5: the minimum of the parabola through the error and its neighbours'."""
    margin_db: float
    """PSNR above the best window that is not a neighbour; 0 where there is none."""
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
    offset = 0.0
    if not at_edge:
        before, here, after = errors[index - 1 : index + 2]
        curvature = before - 2 * here + after
        if curvature > 0:
            offset = float(np.clip(0.5 * (before - after) / curvature, -0.5, 0.5))
    return Peak(index, offset, margin_db, at_edge)
