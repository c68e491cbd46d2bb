"""Planar geometry between the two cameras: fitting, warping of points and images, and the crop that both see."""

from __future__ import annotations

from typing import Any, TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

Homography = NDArray[np.float64]
Pixel = TypeVar("Pixel", np.uint8, np.float32)


def mirror_homography(width: int) -> Homography:
    """Return the homography that mirrors an image of a width left to right.

    Examples
    --------
    >>> warp_points(mirror_homography(640), np.array([[0.0, 5.0]])).tolist()
    [[639.0, 5.0]]
    """
    return np.array([[-1.0, 0.0, width - 1.0], [0.0, 1.0, 0.0], [0.0, 0.0, 1.0]])


def normalized(homography: Homography) -> Homography:
    """Return the homography scaled so that its last element is 1.

    Raises
    ------
    ValueError
        If that element is zero: the origin would go to infinity.
    """
    if abs(homography[2, 2]) < 1e-12:
        raise ValueError("the homography takes the origin to infinity")
    return np.asarray(homography / homography[2, 2], dtype=np.float64)


def translated(homography: Homography, shift: NDArray[np.floating[Any]]) -> Homography:
    """Return the homography with a translation by ``shift``, (2,) in target pixels, behind it.

    Raises
    ------
    ValueError
        As `normalized`.
    """
    return normalized(np.array([[1, 0, shift[0]], [0, 1, shift[1]], [0, 0, 1]]) @ homography)


def warp_points(homography: NDArray[np.floating[Any]], points: NDArray[np.floating[Any]]) -> NDArray[np.float64]:
    """Take points through a homography.

    Parameters
    ----------
    homography : (3, 3) ndarray
        From the points' frame to another.
    points : (n, 2) ndarray
        Pixel coordinates (x, y).

    Returns
    -------
    (n, 2) ndarray of float64
        Where they lie in the other frame.
    """
    projected = np.column_stack([points, np.ones(len(points))]) @ homography.T
    return np.asarray(projected[:, :2] / projected[:, 2:], dtype=np.float64)


def fit_homography(
    source: NDArray[np.floating], target: NDArray[np.floating], *, threshold_px: float = 1.0
) -> tuple[Homography, NDArray[np.bool_]]:
    """Fit the homography through point pairs, of which some may be wrong.

    Parameters
    ----------
    source, target : (n, 2) ndarray
        Corresponding pixel coordinates.
    threshold_px : float
        Largest reprojection error of a pair that counts as right.

    Returns
    -------
    homography : (3, 3) ndarray of float64
        From source to target, h33 = 1.
    inliers : (n,) ndarray of bool
        The pairs that carry it.

    Raises
    ------
    ValueError
        If there are fewer than four pairs, or no homography fits them.

    References
    ----------
    .. [1] Barath et al., "MAGSAC++, a fast, reliable and accurate robust estimator", CVPR 2020.
    """
    if len(source) < 4:
        raise ValueError(f"a homography needs 4 point pairs, got {len(source)}")
    target_points = np.asarray(target, dtype=np.float64)
    best: tuple[int, Homography, NDArray[np.bool_]] | None = None
    # OpenCV's robust estimator takes no mirroring map, so that the points are tried mirrored, too.
    for flip in (np.eye(3), np.diag([-1.0, 1.0, 1.0])):
        flipped = warp_points(flip, source)
        homography: Any
        homography, mask = cv2.findHomography(
            flipped, target_points, cv2.USAC_MAGSAC, threshold_px, None, 10_000, 0.9999
        )
        if homography is None:
            continue
        inliers = mask.ravel().astype(bool)
        if inliers.sum() >= 8:
            homography, _ = cv2.findHomography(flipped[inliers], target_points[inliers], 0)
        if homography is not None and (best is None or inliers.sum() > best[0]):
            best = (int(inliers.sum()), np.asarray(homography, dtype=np.float64) @ flip, inliers)
    if best is None:
        raise ValueError("no homography fits the point pairs")
    return normalized(best[1]), best[2]


def warp_image(
    image: NDArray[Pixel], homography: Homography, size: tuple[int, int], *, interpolation: int = cv2.INTER_LINEAR
) -> NDArray[Pixel]:
    """Resample an image into another frame.

    Parameters
    ----------
    image : (H, W) or (H, W, C) ndarray of uint8 or float32
    homography : (3, 3) ndarray
        From the image's pixels to the other frame's.
    size : tuple of int
        Width and height of the other frame in pixels.
    interpolation : int
        OpenCV's interpolation flag.

    Returns
    -------
    ndarray
        (height, width) or (height, width, C) of the image's dtype; zero where the image does not reach.
    """
    return np.asarray(cv2.warpPerspective(image, homography, size, flags=interpolation), dtype=image.dtype)


def crop_homography(crop: tuple[int, int, int, int], size: tuple[int, int]) -> Homography:
    """Return the homography from full-frame pixels to pixels of a crop resized to ``size``.

    Parameters
    ----------
    crop : tuple of int
        x, y, width, height in pixels.
    size : tuple of int
        Width and height of the output in pixels.

    Examples
    --------
    >>> warp_points(crop_homography((100, 50, 20, 20), (10, 10)), np.array([[99.5, 49.5]])).tolist()
    [[-0.5, -0.5]]
    """
    x, y, width, height = crop
    scale_x, scale_y = size[0] / width, size[1] / height
    # Pixel centers are integers: a pixel's corner lies at -0.5.
    return np.array(
        [
            [scale_x, 0.0, scale_x * (0.5 - x) - 0.5],
            [0.0, scale_y, scale_y * (0.5 - y) - 0.5],
            [0.0, 0.0, 1.0],
        ]
    )


def choose_crop(valid: NDArray[np.bool_], aspect: float) -> tuple[int, int, int, int]:
    """Return a large rectangle of an aspect in which every pixel is valid, near the middle.

    It gives up to one part in fifty of the largest rectangle's size for a more central place.

    Parameters
    ----------
    valid : (H, W) ndarray of bool
    aspect : float
        Width over height.

    Returns
    -------
    tuple of int
        x, y, width, height in pixels.

    Raises
    ------
    ValueError
        If no valid pixel is left.

    Examples
    --------
    >>> valid = np.zeros((60, 100), bool)
    >>> valid[5:55, 10:90] = True
    >>> choose_crop(valid, 1.0)
    (25, 5, 50, 50)
    """
    height, width = valid.shape
    invalid_sum = cv2.integral((~valid).astype(np.uint8))

    def free_corners(crop_height: int) -> NDArray[np.intp]:
        h, w = crop_height, max(round(crop_height * aspect), 1)
        if h > height or w > width:
            return np.empty((0, 2), dtype=np.intp)
        counts = invalid_sum[h:, w:] - invalid_sum[:-h, w:] - invalid_sum[h:, :-w] + invalid_sum[:-h, :-w]
        return np.argwhere(counts == 0)

    low, high = 0, height
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if len(free_corners(middle)) else (low, middle - 1)
    if low == 0:
        raise ValueError("no pixel is seen by both cameras")

    def decentering(crop_height: int) -> tuple[float, tuple[int, int]]:
        corners = free_corners(crop_height)
        middles = corners + np.array([crop_height, round(crop_height * aspect)]) / 2
        distances = np.linalg.norm(middles - np.array([height / 2, width / 2]), axis=1)
        y, x = corners[np.argmin(distances)]
        return float(distances.min()), (int(x), int(y))

    # A pixel of size is worth as much as a few of place.
    sizes = range(low, max(low - low // 50, 1) - 1, -1)
    crop_height = min(sizes, key=lambda size: 4 * (low - size) + decentering(size)[0])
    x, y = decentering(crop_height)[1]
    return x, y, max(round(crop_height * aspect), 1), crop_height
