"""Scores of estimated frames and mattes; sequences are scored whichever way round they run.

A blurry frame does not tell in which order its sharp frames came, so that a reversed sequence is as right as the true
one. ``*_frame`` lets every frame choose its direction (eq. 11), ``*_pair`` every pair of frames (k, N - k), ``*_seq``
the sequence as a whole.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

SSIM_WINDOW_PX = 11
"""Side of the window of `ssim`, and so the least side of an image."""

_SSIM_SIGMA_PX = 1.5  # Wang et al., "Image quality assessment", 2004: a window of 11 px with this deviation
_SSIM_STABILIZERS = (0.01**2, 0.03**2)  # for values in 0..1
_GRADIENT_SIGMA_PX = 1.4  # Rhemann et al., see `alpha_errors`
_GRADIENT_REACH_PX = 4  # where the derivative's kernel falls below a hundredth
_CONNECTIVITY_STEPS = 10  # Rhemann et al.: thresholds of alpha, a tenth apart
_CONNECTIVITY_THETA = 0.15  # Rhemann et al.: less of alpha outside the connected part does not count
_EDGE_ALPHA = (0.02, 0.98)  # alpha of an edge: not all screen and not all foreground, up to 5 levels of 255
_EDGE_REACH_PX = 3  # about as far as a codec's chroma, at half the size, carries a fringe
_EDGE_DISC = (np.add.outer(*[np.arange(-_EDGE_REACH_PX, _EDGE_REACH_PX + 1) ** 2] * 2) <= _EDGE_REACH_PX**2).astype(
    np.uint8
)
_HUE_REACH_DEGREES = 15.0  # about the screen's hue; yellow lies 60 degrees from green
_MIN_HUE_SATURATION = 0.15  # HSV; grayer pixels have a hue of noise


@dataclass(frozen=True)
class AlphaErrors:
    """How far a matte lies from the true one; sums are over all pixels and are not divided by 1000."""

    mad: float
    """Mean absolute difference."""
    mse: float
    """Mean squared difference."""
    sad: float
    """Sum of absolute differences, in pixels."""
    gradient: float
    """Sum of squared differences of the gradients' magnitudes; a lone opaque pixel makes 2."""
    connectivity: float
    """Sum of differences of how well pixels hang together with the matte's body, in pixels."""


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
    first, second = np.asarray(estimate), np.asarray(truth)
    _check_shapes(first, second)
    if first.dtype == second.dtype == np.uint8 and first.size:
        # Exact, in integers, and a tenth of the time.
        ours, true = (np.ascontiguousarray(image).reshape(1, -1) for image in (first, second))
        squares = cv2.norm(ours, true, cv2.NORM_L2SQR)
        return mse_to_psnr(squares / (first.size * 255**2))
    return mse_to_psnr(float(np.mean(np.square(_as_unit(first) - _as_unit(second)))))


def mse_to_psnr(mse: float) -> float:
    """Return the PSNR in dB, for a peak of 1, of a mean squared error; infinite for 0.

    Examples
    --------
    >>> mse_to_psnr(0.01)
    20.0
    """
    return math.inf if mse == 0 else -10.0 * math.log10(mse)


def ssim(estimate: ArrayLike, truth: ArrayLike) -> float:
    """Return the structural similarity of an image, with an 11x11 Gaussian window of sigma 1.5.

    Parameters
    ----------
    estimate, truth : (H, W, 3) array_like of uint8 or float
        Images of one shape, at least 11 pixels high and wide; floats are clipped to 0..1.

    Returns
    -------
    float
        Mean over channels and the pixels whose window lies within the image; 1 where the images agree.

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
    if min(first.shape[:2]) < SSIM_WINDOW_PX:
        raise ValueError(f"images of {first.shape[1]}x{first.shape[0]} are smaller than the window, {SSIM_WINDOW_PX}")
    mean_a, mean_b = _smooth(first), _smooth(second)
    variance_a, variance_b = _smooth(first * first) - mean_a**2, _smooth(second * second) - mean_b**2
    covariance = _smooth(first * second) - mean_a * mean_b
    c1, c2 = _SSIM_STABILIZERS
    luminance = (2 * mean_a * mean_b + c1) / (mean_a**2 + mean_b**2 + c1)
    structure = (2 * covariance + c2) / (variance_a + variance_b + c2)
    inside = slice(SSIM_WINDOW_PX // 2, -(SSIM_WINDOW_PX // 2))
    return float((luminance * structure)[inside, inside].mean())


def _smooth(image: NDArray[np.float64]) -> NDArray[np.float64]:
    window = (SSIM_WINDOW_PX, SSIM_WINDOW_PX)
    return np.asarray(cv2.GaussianBlur(image, window, _SSIM_SIGMA_PX), dtype=np.float64)


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
    """Return how far a matte lies from the true one, by the measures of the matting literature.

    They are taken over the whole image and not, as benchmarks of matting by trimap do, over its unknown part.

    Parameters
    ----------
    estimate, truth : (..., H, W) array_like of float
        Alpha in 0..1, of one shape; means and sums are over all frames.

    Raises
    ------
    ValueError
        If the shapes differ, or are no frame's.

    References
    ----------
    .. [1] Rhemann et al., "A perceptually motivated online benchmark for image matting", CVPR 2009: gradients by
       derivatives of a Gaussian of 1.4 pixels, here with kernels of unit norm; connectivity in steps of 0.1 with a
       theta of 0.15.

    Examples
    --------
    >>> errors = alpha_errors([[0.5, 1.0]], [[0.0, 1.0]])
    >>> errors.mad, errors.mse, errors.sad
    (0.25, 0.125, 0.5)
    """
    first, second = np.asarray(estimate, dtype=np.float64), np.asarray(truth, dtype=np.float64)
    _check_shapes(first, second)
    if first.ndim < 2 or first.size == 0:
        raise ValueError(f"expected frames of alpha, got an array of shape {first.shape}")
    difference = np.abs(first - second)
    planes = [frames.reshape(-1, *first.shape[-2:]) for frames in (first, second)]
    return AlphaErrors(
        mad=float(difference.mean()),
        mse=float(np.square(difference).mean()),
        sad=float(difference.sum()),
        gradient=sum(_gradient_error(one, other) for one, other in zip(*planes, strict=True)),
        connectivity=sum(_connectivity_error(one, other) for one, other in zip(*planes, strict=True)),
    )


def screen_hue_share(composite: NDArray[np.uint8], alpha: ArrayLike, screen_rgb: ArrayLike) -> float:
    """Return the share of pixels near edges that have the screen's hue: the green fringe of a composite.

    It is meant for composites over neutral gray, where nothing but a fringe is colored like the screen. Near an edge
    are pixels up to 3 pixels from where alpha is within 0.02..0.98. A pixel has the screen's hue where its hue is
    within 15 degrees of the screen's, and its saturation is at least 0.15 (HSV of coded values).

    Parameters
    ----------
    composite : (H, W, 3) ndarray of uint8
        RGB, coded.
    alpha : (H, W) array_like of float
        The foreground's alpha, 0..1.
    screen_rgb : (3,) array_like
        Coded RGB of the screen, 0..255.

    Returns
    -------
    float
        In 0..1; NaN where there is no edge.

    Raises
    ------
    ValueError
        If the sizes differ.

    Examples
    --------
    >>> image = np.array([[(128, 128, 128), (90, 140, 95), (200, 30, 30)]], np.uint8)
    >>> round(screen_hue_share(image, [[0.0, 0.5, 1.0]], (60, 160, 80)), 3)
    0.333
    """
    share = np.asarray(alpha, dtype=np.float64)
    _check_shapes(composite[..., 0], share)
    low, high = _EDGE_ALPHA
    is_edge = (share >= low) & (share <= high)
    if not is_edge.any():
        return float("nan")
    near_edge = cv2.dilate(is_edge.astype(np.uint8), _EDGE_DISC).astype(bool)
    hue, saturation = _hue_and_saturation(composite)
    screen_hue, _ = _hue_and_saturation(np.asarray(screen_rgb, dtype=np.float32).reshape(1, 1, 3))
    distance = np.abs((hue - screen_hue + 180) % 360 - 180)
    has_hue = (distance <= _HUE_REACH_DEGREES) & (saturation >= _MIN_HUE_SATURATION)
    return float(has_hue[near_edge].mean())


def _gradient_error(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    return float(np.square(_gradient_magnitude(first) - _gradient_magnitude(second)).sum())


def _gradient_magnitude(alpha: NDArray[np.float64]) -> NDArray[np.float64]:
    reach = np.arange(-_GRADIENT_REACH_PX, _GRADIENT_REACH_PX + 1)
    smooth = np.exp(-np.square(reach) / (2 * _GRADIENT_SIGMA_PX**2))
    derivative = reach * smooth
    smooth, derivative = smooth / np.linalg.norm(smooth), derivative / np.linalg.norm(derivative)
    border = cv2.BORDER_REPLICATE
    across = cv2.sepFilter2D(alpha, cv2.CV_64F, derivative, smooth, borderType=border)
    down = cv2.sepFilter2D(alpha, cv2.CV_64F, smooth, derivative, borderType=border)
    return np.asarray(np.hypot(across, down), dtype=np.float64)


def _connectivity_error(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Compare how far each pixel's alpha stands above the level up to which it belongs to the mattes' common body."""
    common = np.minimum(first, second)
    belongs = np.ones(common.shape, dtype=bool)
    level = np.zeros(common.shape)
    for step in range(1, _CONNECTIVITY_STEPS + 1):
        threshold = step / _CONNECTIVITY_STEPS
        n_labels, labels, statistics, _ = cv2.connectedComponentsWithStats(
            (common >= threshold).astype(np.uint8), connectivity=4
        )
        if n_labels == 1:  # what is below the threshold
            break
        belongs &= labels == statistics[1:, cv2.CC_STAT_AREA].argmax() + 1
        level[belongs] = threshold
    above = [np.where(alpha - level >= _CONNECTIVITY_THETA, alpha - level, 0.0) for alpha in (first, second)]
    return float(np.abs(above[0] - above[1]).sum())


def _hue_and_saturation(image: NDArray[np.generic]) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return the hue in degrees and the saturation, 0..1, of (H, W, 3) coded values of 0..255."""
    unit = image.astype(np.float32) / np.float32(255)
    hsv = np.asarray(cv2.cvtColor(unit, cv2.COLOR_RGB2HSV), dtype=np.float32)
    return hsv[..., 0], hsv[..., 1]


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
