"""Blend a foreground over a background, in linear light, where a blurry frame is the mean of its sharp frames."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from rb2v.core.metrics import mse_to_psnr, psnr


def composite(
    premultiplied_linear: NDArray[np.floating],
    alpha: NDArray[np.floating],
    background_linear: NDArray[np.floating],
) -> NDArray[np.float32]:
    """Lay a foreground over a background: ``alpha F + (1 - alpha) B``.

    With one background for all frames, the mean of composites is the composite of the means of ``alpha F`` and
    ``alpha``; a blurry frame is laid over the background with the same function.

    Parameters
    ----------
    premultiplied_linear : (..., H, W, 3) ndarray of float
        ``alpha F``, RGB in linear light.
    alpha : (..., H, W) ndarray of float
        Share of the foreground, 0..1.
    background_linear : (H, W, 3) ndarray of float
        ``B``, RGB in linear light.

    Returns
    -------
    (..., H, W, 3) ndarray of float32
        Linear light.

    Raises
    ------
    ValueError
        If the sizes differ.

    Examples
    --------
    >>> white, black = np.ones((1, 1, 3)), np.zeros((1, 1, 3))
    >>> composite(0.25 * white, np.full((1, 1), 0.25), black).ravel().tolist()
    [0.25, 0.25, 0.25]
    """
    if premultiplied_linear.shape[:-1] != alpha.shape or premultiplied_linear.shape[-3:] != background_linear.shape:
        raise ValueError(
            f"foreground {premultiplied_linear.shape}, alpha {alpha.shape} and background {background_linear.shape} "
            "are not of one size"
        )
    blended = spread_to_rgb(1 - alpha)
    blended *= background_linear
    blended += premultiplied_linear
    return blended


def spread_to_rgb(planes: NDArray[np.floating]) -> NDArray[np.float32]:
    """Return (..., H, W) planes three times over, as (..., H, W, 3); faster to compute with than a broadcast view."""
    flat = planes.reshape(-1, planes.shape[-1]).astype(np.float32, copy=False)
    return np.asarray(cv2.cvtColor(flat, cv2.COLOR_GRAY2RGB), dtype=np.float32).reshape(*planes.shape, 3)


def blur_residual_psnr(sharp_linear: NDArray[np.floating], blurry_linear: NDArray[np.floating]) -> float:
    """Measure how well a blurry frame is the mean of its sharp frames (eq. 1).

    Parameters
    ----------
    sharp_linear : (N + 1, H, W, 3) ndarray of float
        The sequence, in linear light.
    blurry_linear : (H, W, 3) ndarray of float
        The blurry frame, in linear light.

    Returns
    -------
    float
        PSNR between the two in linear light, in dB; infinite where they agree.

    References
    ----------
    .. [1] Pham et al., "HyperCUT", CVPR 2023, eq. (1).
    """
    return psnr(np.mean(sharp_linear, axis=0, dtype=np.float64), blurry_linear)


def lowest_composite_psnr(
    sharp_premultiplied_linear: NDArray[np.floating],
    sharp_alpha: NDArray[np.floating],
    blurry_premultiplied_linear: NDArray[np.floating],
    blurry_alpha: NDArray[np.floating],
) -> float:
    """Return the PSNR of eq. (1) that composites reach or exceed whatever background stands behind.

    In every pixel and channel the residual is a linear function of the background's light, and so largest for black or
    for white.

    Parameters
    ----------
    sharp_premultiplied_linear : (N + 1, H, W, 3) ndarray of float
        Foregrounds of the sharp sequence times their share, RGB in linear light.
    sharp_alpha : (N + 1, H, W) ndarray of float
        Their shares, 0..1.
    blurry_premultiplied_linear : (H, W, 3) ndarray of float
        Foreground of the blurry frame, likewise.
    blurry_alpha : (H, W) ndarray of float
        Its share.

    Returns
    -------
    float
        In dB, in linear light; infinite where both agree.

    References
    ----------
    .. [1] Pham et al., "HyperCUT", CVPR 2023, eq. (1).

    Examples
    --------
    >>> black, half = np.zeros((1, 1, 1, 3)), np.full((1, 1, 1), 0.5)
    >>> round(lowest_composite_psnr(black, half, black[0], half[0] - 0.1), 6)
    20.0
    """
    over_black = sharp_premultiplied_linear.mean(axis=0) - blurry_premultiplied_linear
    over_white = over_black - spread_to_rgb(sharp_alpha.mean(axis=0) - blurry_alpha)
    worst = np.maximum(np.square(over_black), np.square(over_white))
    return mse_to_psnr(float(worst.mean(dtype=np.float64)))
