"""Scores of estimated frames and mattes; sequences are scored whichever way round they run.

A blurry frame does not tell in which order its sharp frames came, so that a reversed sequence is as right as the true
one. ``*_frame`` lets every frame choose its direction (eq. 11), ``*_pair`` every pair of frames (k, N - k), ``*_seq``
the sequence as a whole.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from skimage.metrics import structural_similarity


@dataclass(frozen=True)
class AlphaErrors:
    """How far a matte lies from the true one."""

    mad: float
    """Mean absolute difference."""
    mse: float
    """Mean squared difference."""
    sad: float
    """Sum of absolute differences, in pixels."""


def psnr(estimate: ArrayLike, truth: ArrayLike) -> float:
    """Return the peak signal-to-noise ratio of an image.

    Parameters
    ----------
    estimate, truth : array_like of uint8 or float
        Images of one shape; floats are clipped to 0..1.

    Returns
    -------
    float
        In dB; infinite where the images agree.

    Raises
    ------
    ValueError
        If the shapes differ.

    Examples
    --------
    >>> round(psnr(np.full((4, 4, 3), 0.6), np.full((4, 4, 3), 0.5)), 6)
    20.0
    """
    first, second = _as_unit(estimate), _as_unit(truth)
    _check_shapes(first, second)
    mse = float(np.mean(np.square(first - second)))
    return float("inf") if mse == 0 else -10.0 * float(np.log10(mse))


def ssim(estimate: ArrayLike, truth: ArrayLike) -> float:
    """Return the structural similarity of an image, with an 11x11 Gaussian window of sigma 1.5.

    Parameters
    ----------
    estimate, truth : (H, W, 3) array_like of uint8 or float
        Images of one shape, at least 11 pixels high and wide; floats are clipped to 0..1.

    Returns
    -------
    float
        Mean over pixels and channels; 1 where the images agree.

    Raises
    ------
    ValueError
        If the shapes differ, or the images are smaller than the window.

    References
    ----------
    .. [1] Wang et al., "Image quality assessment: from error visibility to structural similarity", 2004.
    """
    first, second = _as_unit(estimate), _as_unit(truth)
    _check_shapes(first, second)
    score = structural_similarity(
        first,
        second,
        data_range=1.0,
        channel_axis=-1,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
    )
    return float(score)


def choose_by_frame(forward: ArrayLike, backward: ArrayLike) -> NDArray[np.float64]:
    """Let every frame choose the direction that scores better (eq. 11).

    Parameters
    ----------
    forward : (N + 1,) array_like of float
        Score of estimate k against true frame k; larger is better, so negate distances.
    backward : (N + 1,) array_like of float
        Score of estimate k against true frame N - k.

    Returns
    -------
    (N + 1,) ndarray of float64
        Scores of the frames. A motionless estimate can reach the best of both directions.

    References
    ----------
    .. [1] Pham et al., "HyperCUT", CVPR 2023, eq. (11).
    """
    return np.maximum(np.asarray(forward, dtype=np.float64), np.asarray(backward, dtype=np.float64))


def choose_by_pair(forward: ArrayLike, backward: ArrayLike) -> NDArray[np.float64]:
    """Let every pair of frames (k, N - k) choose the direction with the better mean; see `choose_by_frame`.

    Examples
    --------
    >>> choose_by_pair([30, 20, 20], [20, 20, 34]).tolist()
    [20.0, 20.0, 34.0]
    """
    ahead, back = np.asarray(forward, dtype=np.float64), np.asarray(backward, dtype=np.float64)
    return np.where(ahead + ahead[::-1] >= back + back[::-1], ahead, back)


def choose_by_sequence(forward: ArrayLike, backward: ArrayLike) -> NDArray[np.float64]:
    """Choose one direction for the whole sequence, by the better mean; see `choose_by_frame`.

    Examples
    --------
    >>> choose_by_sequence([30, 20, 20], [20, 20, 34]).tolist()
    [20.0, 20.0, 34.0]
    """
    ahead, back = np.asarray(forward, dtype=np.float64), np.asarray(backward, dtype=np.float64)
    return ahead if ahead.mean() >= back.mean() else back


def ppsnr_frame(estimate: ArrayLike, truth: ArrayLike) -> NDArray[np.float64]:
    """Return the PSNR of every frame, each in its better direction (eq. 11).

    Parameters
    ----------
    estimate, truth : (N + 1, H, W, 3) array_like of uint8 or float
        Sequences; floats are clipped to 0..1.

    Returns
    -------
    (N + 1,) ndarray of float64
        In dB.

    Raises
    ------
    ValueError
        If the shapes differ.

    References
    ----------
    .. [1] Pham et al., "HyperCUT", CVPR 2023, eq. (11).
    """
    return choose_by_frame(*_both_directions(psnr, estimate, truth))


def ppsnr_pair(estimate: ArrayLike, truth: ArrayLike) -> NDArray[np.float64]:
    """Return the PSNR of every frame, each pair (k, N - k) in its better direction; see `ppsnr_frame`."""
    return choose_by_pair(*_both_directions(psnr, estimate, truth))


def ppsnr_seq(estimate: ArrayLike, truth: ArrayLike) -> NDArray[np.float64]:
    """Return the PSNR of every frame, the sequence in its better direction; see `ppsnr_frame`."""
    return choose_by_sequence(*_both_directions(psnr, estimate, truth))


def pssim_frame(estimate: ArrayLike, truth: ArrayLike) -> NDArray[np.float64]:
    """Return the SSIM of every frame, each in its better direction; see `ppsnr_frame` and `ssim`."""
    return choose_by_frame(*_both_directions(ssim, estimate, truth))


def pssim_pair(estimate: ArrayLike, truth: ArrayLike) -> NDArray[np.float64]:
    """Return the SSIM of every frame, each pair (k, N - k) in its better direction; see `ppsnr_frame` and `ssim`."""
    return choose_by_pair(*_both_directions(ssim, estimate, truth))


def pssim_seq(estimate: ArrayLike, truth: ArrayLike) -> NDArray[np.float64]:
    """Return the SSIM of every frame, the sequence in its better direction; see `ppsnr_frame` and `ssim`."""
    return choose_by_sequence(*_both_directions(ssim, estimate, truth))


def alpha_errors(estimate: ArrayLike, truth: ArrayLike) -> AlphaErrors:
    """Return how far a matte lies from the true one.

    Parameters
    ----------
    estimate, truth : array_like of float
        Alpha in 0..1, of one shape.

    Raises
    ------
    ValueError
        If the shapes differ.

    Examples
    --------
    >>> alpha_errors([[0.5, 1.0]], [[0.0, 1.0]])
    AlphaErrors(mad=0.25, mse=0.125, sad=0.5)
    """
    first, second = np.asarray(estimate, dtype=np.float64), np.asarray(truth, dtype=np.float64)
    _check_shapes(first, second)
    difference = np.abs(first - second)
    return AlphaErrors(float(difference.mean()), float(np.square(difference).mean()), float(difference.sum()))


def _both_directions(
    score: Callable[[ArrayLike, ArrayLike], float], estimate: ArrayLike, truth: ArrayLike
) -> tuple[list[float], list[float]]:
    first, second = np.asarray(estimate), np.asarray(truth)
    _check_shapes(first, second)
    forward = [score(ours, true) for ours, true in zip(first, second, strict=True)]
    backward = [score(ours, true) for ours, true in zip(first, second[::-1], strict=True)]
    return forward, backward


def _as_unit(image: ArrayLike) -> NDArray[np.float64]:
    values = np.asarray(image)
    if values.dtype == np.uint8:
        return values.astype(np.float64) / 255
    return np.clip(values.astype(np.float64), 0, 1)


def _check_shapes(first: NDArray[np.generic], second: NDArray[np.generic]) -> None:
    if first.shape != second.shape:
        raise ValueError(f"the shapes differ: {first.shape} and {second.shape}")
