"""Edges that a codec softened: most keep colours at half the size, and a key is made of colours.

How much softer the colours are than the brightness is measured on the take, along the edges of the foreground.
"""

from __future__ import annotations

from collections.abc import Iterable

import cv2
import numpy as np
from numpy.typing import NDArray

from rb2v.matting.backdrop import Plane

_SIGMAS_PX = (0.0, 0.5, 1.0, 1.5, 2.0)
_MIN_SOFTNESS_PX = 0.3
_WINDOW_PX = 7
_EDGE_VARIANCE = 0.02  # of the share within a window, from which on it holds an edge
_NOISE = 1e-4  # variance of the brightness, in linear light, that explains nothing


def measure_softness(shares_and_lumas: Iterable[tuple[Plane, Plane]]) -> float:
    """Return by which Gaussian the brightness has to be softened to explain the screen's share along edges best.

    In every window that holds an edge, the share is fitted as a linear function of the brightness.

    Parameters
    ----------
    shares_and_lumas : iterable of pair of (H, W) ndarray of float32
        Of some frames the screen's share, about 0..1, and the luminance in linear light.

    Returns
    -------
    float
        Sigma in pixels, at most 2; 0 where the colours are as sharp as the brightness, or there are no edges.
    """
    left = np.zeros(len(_SIGMAS_PX))
    for share, luma in shares_and_lumas:
        left += _unexplained(share, luma)
    best = int(np.argmin(left))
    if best in (0, len(left) - 1):
        return _SIGMAS_PX[best]
    below, here, above = left[best - 1 : best + 2]
    step = _SIGMAS_PX[1] - _SIGMAS_PX[0]
    return float(_SIGMAS_PX[best] + step / 2 * (below - above) / (below - 2 * here + above))


def sharpen(share: Plane, softness_px: float) -> Plane:
    """Undo a softness by unsharp masking, a linear filter: the mean of frames stays their mean.

    Parameters
    ----------
    share : (H, W) ndarray of float32
        The screen's share, about 0..1.
    softness_px : float
        Sigma as by `measure_softness`; below 0.3 nothing is done.
    """
    if softness_px < _MIN_SOFTNESS_PX:
        return share
    return np.asarray(2 * share - cv2.GaussianBlur(share, (0, 0), 2 * softness_px), dtype=np.float32)


def _unexplained(share: Plane, luma: Plane) -> NDArray[np.float64]:
    """Return, for every sigma, the variance of the share along edges that the brightness leaves unexplained."""
    mean = _average(share)
    variance = _average(share * share) - mean * mean
    edges = variance > _EDGE_VARIANCE
    left = []
    for sigma in _SIGMAS_PX:
        soft = cv2.GaussianBlur(luma, (0, 0), sigma).astype(np.float32, copy=False) if sigma else luma
        soft_mean = _average(soft)
        both = _average(share * soft) - mean * soft_mean
        of_soft = _average(soft * soft) - soft_mean * soft_mean
        left.append(float(np.sum((variance - both * both / (of_soft + _NOISE))[edges], dtype=np.float64)))
    return np.array(left)


def _average(plane: Plane) -> Plane:
    return np.asarray(cv2.blur(plane, (_WINDOW_PX, _WINDOW_PX)), dtype=np.float32)
