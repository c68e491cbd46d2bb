"""Similarity between two views by phase correlation, for scenes whose few features no matching finds."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from rb2v.core.homography import Homography

FloatImage = NDArray[np.float32]

_LOWEST_FREQUENCY = 0.02  # cycles per pixel; longer waves than 50 px are uneven light and the fading rim
_HIGHEST_FREQUENCY = 0.35  # cycles per pixel; shorter waves than 3 px are noise and resampling
_FLOOR = 0.05  # of the band's mean strength: a frequency that strong counts half, weaker ones fade to nothing


def similarity_candidates(source: FloatImage, target: FloatImage) -> list[Homography]:
    """Return the likeliest similarities from one image to another: turned, scaled and shifted, not mirrored.

    Parameters
    ----------
    source, target : (H, W) ndarray of float32
        Gray images of one scene, of any sizes; a few hundred pixels are enough.

    Returns
    -------
    list of (3, 3) ndarray of float64
        From source to target pixels: a shift alone, and a turn (in either of the two directions that a spectrum
        cannot tell apart) with a scale. Right to about a pixel where the images do share a scene.

    References
    ----------
    .. [1] Reddy and Chatterji, "An FFT-based technique for translation, rotation, and scale-invariant image
       registration", IEEE Transactions on Image Processing, 1996.
    """
    side = cv2.getOptimalDFTSize(max(*source.shape, *target.shape))
    a, to_canvas_a = _on_canvas(source, side)
    b, to_canvas_b = _on_canvas(target, side)
    turns = [np.eye(3)]
    angle, scale = _turn_and_scale(a, b)
    center = (side - 1) / 2
    for half_turn in (0.0, 180.0):
        turn = np.eye(3)
        turn[:2] = cv2.getRotationMatrix2D((center, center), angle + half_turn, scale)
        turns.append(turn)
    candidates = []
    for turn in turns:
        turned = np.asarray(cv2.warpAffine(a, turn[:2], (side, side)), dtype=np.float32)
        dx, dy = _shift(turned, b)
        move = np.array([[1.0, 0, dx], [0, 1, dy], [0, 0, 1]])
        candidates.append(np.linalg.inv(to_canvas_b) @ move @ turn @ to_canvas_a)
    return candidates


def _on_canvas(image: FloatImage, side: int) -> tuple[FloatImage, NDArray[np.float64]]:
    """Return an image, without its mean and faded out at its rim, in the middle of a square one."""
    height, width = image.shape
    window = np.outer(np.hanning(height), np.hanning(width)) ** 0.5
    left, top = (side - width) // 2, (side - height) // 2
    canvas = np.zeros((side, side), dtype=np.float32)
    canvas[top : top + height, left : left + width] = (image - image.mean()) * window
    return canvas, np.array([[1.0, 0, left], [0, 1, top], [0, 0, 1]])


def _frequencies(side: int) -> NDArray[np.float64]:
    f = np.fft.fftfreq(side)
    return np.asarray(np.hypot(f[:, None], f[None, :]), dtype=np.float64)


def _shift(moved: FloatImage, still: FloatImage) -> tuple[float, float]:
    """Return how far the first image is to be shifted, to the right and downward, to lie on the second."""
    product = np.fft.fft2(still) * np.conj(np.fft.fft2(moved))
    frequency = _frequencies(len(still))
    band = (frequency > _LOWEST_FREQUENCY) & (frequency < _HIGHEST_FREQUENCY)
    strength = np.abs(product)
    # Frequencies in which neither image has anything are noise alone.
    floor = _FLOOR * strength[band].mean() + 1e-20
    surface = np.fft.ifft2(np.where(band, product / (strength + floor), 0)).real
    row, column = np.unravel_index(int(surface.argmax()), surface.shape)
    half = len(still) // 2
    return float((column + half) % len(still) - half), float((row + half) % len(still) - half)


def _turn_and_scale(a: FloatImage, b: FloatImage) -> tuple[float, float]:
    """Return the turn, in OpenCV's degrees and up to half a turn, and the scale that take an image to another."""
    side = len(a)
    radius = side / 2
    polar = []
    for image in (a, b):
        spectrum = np.fft.fftshift(np.abs(np.fft.fft2(image)))
        # Edges fall off with the frequency; every ring is to count.
        whitened = np.log1p(spectrum / (np.median(spectrum) + 1e-20)) * np.fft.fftshift(_frequencies(side))
        center = (side // 2, side // 2)
        flags = cv2.INTER_LINEAR | cv2.WARP_POLAR_LOG
        unrolled = cv2.warpPolar(whitened.astype(np.float32), (side, side), center, radius, flags)
        # The lower half repeats the upper one.
        polar.append(np.asarray(unrolled[: side // 2], dtype=np.float32))
    window = np.hanning(side)[None, :].astype(np.float32)
    (x, y), _ = cv2.phaseCorrelate((polar[0] - polar[0].mean()) * window, (polar[1] - polar[1].mean()) * window)
    angle = -360.0 * y / side
    scale = float(np.exp(-x * np.log(radius) / side))
    return angle, scale if 0.5 < scale < 2 else 1.0
