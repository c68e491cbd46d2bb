"""Lenses: between the pixels that a camera records and those of a pinhole camera of the same matrix.

A lens is a (3, 3) matrix of focal lengths and principal point, and Brown's five coefficients k1, k2, p1, p2, k3.
"""

from __future__ import annotations

from typing import Any, Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

_N_ITERATIONS = 30  # only a bound: Newton's method doubles the digits each time, but slows down beside the fold
_CONVERGED = 1e-12  # in units of the focal length
_N_BORDER_POINTS = 64  # of a side: 30 px apart in 1920, between which no lens bends a side visibly
_LARGEST_RADIUS = 100.0  # focal lengths: 89.4 degrees off the axis; a fold beyond it folds no image


class LensModel(Protocol):
    """Anything that states a lens."""

    @property
    def matrix(self) -> NDArray[np.float64]:
        """(3, 3) focal lengths and principal point in pixels."""
        ...

    @property
    def distortion(self) -> NDArray[np.float64]:
        """(5,) k1, k2, p1, p2, k3."""
        ...


def distort_points(
    points: NDArray[np.floating[Any]], matrix: NDArray[np.float64], distortion: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Take pixels of the pinhole camera to those that the camera records.

    Parameters
    ----------
    points : (n, 2) ndarray
        Undistorted pixel coordinates (x, y).
    matrix : (3, 3) ndarray of float64
        Focal lengths and principal point in pixels.
    distortion : (5,) ndarray of float64
        k1, k2, p1, p2, k3.

    Returns
    -------
    (n, 2) ndarray of float64
        Recorded pixel coordinates; NaN beyond the radius where the radial model turns back on itself, which no
        image shows.

    References
    ----------
    .. [1] Brown, "Decentering distortion of lenses", Photogrammetric Engineering 32 (1966).

    Examples
    --------
    >>> matrix, distortion = np.array([[100.0, 0, 50], [0, 100, 50], [0, 0, 1]]), np.array([-0.1, 0, 0, 0, 0])
    >>> distort_points(np.array([[50.0, 50.0], [150.0, 50.0], [350.0, 50.0]]), matrix, distortion).tolist()
    [[50.0, 50.0], [140.0, 50.0], [nan, nan]]
    """
    focal, center = np.diag(matrix)[:2], matrix[:2, 2]
    plane = (np.asarray(points, dtype=np.float64) - center) / focal
    bent = bend(plane, distortion)
    bent[(plane**2).sum(axis=1) >= _fold_radius(distortion) ** 2] = np.nan
    return np.asarray(bent * focal + center, dtype=np.float64)


def undistort_points(
    points: NDArray[np.floating[Any]], matrix: NDArray[np.float64], distortion: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Take pixels that the camera records to those of the pinhole camera; the inverse of `distort_points`.

    Parameters
    ----------
    points : (n, 2) ndarray
        Recorded pixel coordinates (x, y).
    matrix : (3, 3) ndarray of float64
        Focal lengths and principal point in pixels.
    distortion : (5,) ndarray of float64
        k1, k2, p1, p2, k3.

    Returns
    -------
    (n, 2) ndarray of float64
        Undistorted pixel coordinates, by Newton's method; NaN where the lens takes no point there.

    Examples
    --------
    >>> matrix, distortion = np.array([[100.0, 0, 50], [0, 100, 50], [0, 0, 1]]), np.array([-0.1, 0, 0, 0, 0])
    >>> undistort_points(np.array([[140.0, 50.0], [250.0, 50.0]]), matrix, distortion).round(9).tolist()
    [[150.0, 50.0], [nan, nan]]
    """
    focal, center = np.diag(matrix)[:2], matrix[:2, 2]
    wanted = (np.asarray(points, dtype=np.float64) - center) / focal
    limit = _fold_radius(distortion)
    # Inside the fold the radius grows without end or up to the fold, so that a start within it stays there.
    plane = wanted * np.minimum(1.0, 0.9 * limit / np.maximum(np.linalg.norm(wanted, axis=1), 1e-12))[:, None]
    error = np.full(len(plane), np.inf)
    for _ in range(_N_ITERATIONS):
        slopes, missed = _slopes(plane, distortion), wanted - bend(plane, distortion)
        error = np.linalg.norm(missed, axis=1)
        if error.max(initial=0.0) < _CONVERGED:
            break
        determinant = slopes[:, 0, 0] * slopes[:, 1, 1] - slopes[:, 0, 1] * slopes[:, 1, 0]
        determinant = np.where(np.abs(determinant) < 1e-9, 1e-9, determinant)
        step = np.column_stack(
            [
                slopes[:, 1, 1] * missed[:, 0] - slopes[:, 0, 1] * missed[:, 1],
                slopes[:, 0, 0] * missed[:, 1] - slopes[:, 1, 0] * missed[:, 0],
            ]
        )
        plane = plane + step / determinant[:, None]
        radius = np.linalg.norm(plane, axis=1)
        plane = plane * np.minimum(1.0, (1 - 1e-9) * limit / np.maximum(radius, 1e-12))[:, None]
    plane[~(error < 1e-9)] = np.nan
    return np.asarray(plane * focal + center, dtype=np.float64)


def undistort_image(image: NDArray[np.uint8], lens: LensModel | None) -> NDArray[np.uint8]:
    """Return an image as a pinhole camera would have recorded it.

    Parameters
    ----------
    image : (H, W, 3) ndarray of uint8
        As recorded.
    lens : LensModel or None
        What recorded it; None returns the image itself.

    Returns
    -------
    (H, W, 3) ndarray of uint8
        Black where the camera recorded nothing.
    """
    if lens is None:
        return image
    height, width = image.shape[:2]
    x, y = np.meshgrid(np.arange(width, dtype=np.float64), np.arange(height, dtype=np.float64))
    places = distort_points(np.column_stack([x.ravel(), y.ravel()]), lens.matrix, lens.distortion)
    maps = np.nan_to_num(places, nan=-1e4).astype(np.float32).reshape(height, width, 2)
    return np.asarray(cv2.remap(image, maps[..., 0].copy(), maps[..., 1].copy(), cv2.INTER_CUBIC), dtype=np.uint8)


def largest_displacement_px(lens: LensModel, size: tuple[int, int]) -> float:
    """Return how far a lens moves the pixel of an image that it moves farthest.

    Parameters
    ----------
    lens : LensModel
        The lens.
    size : tuple of int
        Width and height of the image in pixels.

    Returns
    -------
    float
        Distance between recorded and undistorted place along the image's border, in pixels; NaN where the lens
        cannot have recorded the whole border.
    """
    border = border_points(size)
    return float(np.linalg.norm(undistort_points(border, lens.matrix, lens.distortion) - border, axis=1).max())


def border_points(size: tuple[int, int]) -> NDArray[np.float64]:
    """Return (n, 2) pixel coordinates along the border of an image of a width and a height."""
    width, height = size
    x, y = np.linspace(0, width - 1, _N_BORDER_POINTS), np.linspace(0, height - 1, _N_BORDER_POINTS)
    low, high = np.zeros(_N_BORDER_POINTS), np.ones(_N_BORDER_POINTS)
    sides = [(x, low), (x, high * (height - 1)), (low, y), (high * (width - 1), y)]
    return np.concatenate([np.column_stack(side) for side in sides])


def bend(plane: NDArray[np.float64], distortion: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return where a lens takes points, both in units of the focal length from the principal point.

    Parameters
    ----------
    plane : (n, 2) ndarray of float64
        Where the pinhole camera sees them.
    distortion : (5,) ndarray of float64
        k1, k2, p1, p2, k3 of Brown and Conrady, as OpenCV has them.

    Returns
    -------
    (n, 2) ndarray of float64
    """
    k1, k2, p1, p2, k3 = distortion
    x, y = plane.T
    r2 = x * x + y * y
    radial = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
    return np.column_stack(
        [
            x * radial + 2 * p1 * x * y + p2 * (r2 + 2 * x * x),
            y * radial + p1 * (r2 + 2 * y * y) + 2 * p2 * x * y,
        ]
    )


def _slopes(plane: NDArray[np.float64], distortion: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the (n, 2, 2) derivatives of `bend`."""
    k1, k2, p1, p2, k3 = distortion
    x, y = plane.T
    r2 = x * x + y * y
    radial = 1 + r2 * (k1 + r2 * (k2 + r2 * k3))
    growth = 2 * (k1 + r2 * (2 * k2 + r2 * 3 * k3))  # of `radial`, by x, is x times this
    slopes = np.empty((len(plane), 2, 2))
    slopes[:, 0, 0] = radial + x * x * growth + 2 * p1 * y + 6 * p2 * x
    slopes[:, 0, 1] = slopes[:, 1, 0] = x * y * growth + 2 * p1 * x + 2 * p2 * y
    slopes[:, 1, 1] = radial + y * y * growth + 6 * p1 * y + 2 * p2 * x
    return slopes


def _fold_radius(distortion: NDArray[np.float64]) -> float:
    """Return the radius, in focal lengths, at which the radial model stops to grow; infinite where it never does."""
    k1, k2, _, _, k3 = distortion
    # The slope 1 + 3 k1 s + 5 k2 s^2 + 7 k3 s^3 in s = r^2, solved for 1 / s: its leading coefficient is always 1, so
    # that a coefficient too small to matter moves no root and divides nothing.
    inverses = np.roots([1.0, 3 * k1, 5 * k2, 7 * k3])
    real = inverses[np.abs(inverses.imag) < 1e-9].real
    largest = real.max(initial=0.0)
    return float(1 / np.sqrt(largest)) if largest > 1 / _LARGEST_RADIUS**2 else np.inf
