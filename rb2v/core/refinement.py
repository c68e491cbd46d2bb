"""The homography between two cameras from the images themselves: one Gauss-Newton fit to all captures at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from rb2v.core.homography import Homography, normalized, warp_points

FloatImage = NDArray[np.float32]
Motion = Literal["homography", "shift"]

_SMOOTHING_PX = 1.0  # the Gaussian's deviation: less leaves steps of the grid, more takes fine texture away
_COARSEST_PX = 64  # shorter side of the coarsest level; below it `common_pixels` leaves little inside of its margin
_MAX_HALVINGS = 4  # the start is right to 1/30 of the image: 64 px of 1920, which is 4 px at the coarsest level
_MAX_PIXELS = 50_000  # of one pair, those of the largest gradients; the flat rest costs time and tells little
_MAX_PIXELS_OF_ALL = 160_000  # so that many pairs take hardly longer; each keeps a fifth of its own at least
_PIXELS_AT_ONCE = 4096  # nine rows of them, 0.3 MB, and their weighted copy stay in the processor's cache
_MIN_PIXELS = 64  # eight for each parameter; a pair with fewer says nothing
_MAX_ITERATIONS = 20  # of a level; only a bound, because the loop ends at the precision
_PRECISION_PX = 1e-3  # the error that registration reaches without H.264 (docs/calibration.md)
_COARSE_PRECISION_PX = 0.02  # at its own level; the next one, of twice the size, starts from there
_MAX_MOVE_SHARE = 0.1  # of the longer side: three times what a start may be off; more is a fit that ran away
_ROBUST_SCALE = 3.0  # deviations of the noise at which a pixel counts half (Cauchy's weight)
_COARSE_MASK_SHARE = 0.999  # of a coarse pixel that must count: all of it, up to the rounding of float32
_LEAST_GRADIENT = 1e-6  # norm below which an image is flat, so that nothing is divided by rounding errors
_FREE: dict[Motion, tuple[int, ...]] = {"homography": (0, 1, 2, 3, 4, 5, 6, 7), "shift": (2, 5)}


@dataclass(frozen=True, eq=False)
class ImagePair:
    """A static scene as two cameras saw it, and which of their pixels count."""

    source: FloatImage
    """(H, W) gray, 0..1."""
    target: FloatImage
    """(H', W') gray, 0..1."""
    source_mask: NDArray[np.bool_] | None = None
    """(H, W) pixels that count; all by default."""
    target_mask: NDArray[np.bool_] | None = None
    """(H', W') pixels that count; all by default."""


@dataclass(frozen=True, eq=False)
class Refinement:
    """A homography fitted to images, and how well they know it."""

    homography: Homography
    """(3, 3) ndarray of float64, source to target pixels, h33 = 1."""
    correlation: float
    """Correlation of the gradients over all pairs, at most 1."""
    correlation_before: float
    """The same at the start."""
    _normal: _NormalEquations

    def without(self, index: int) -> Homography:
        """Return the homography that the other pairs give, to first order.

        Raises
        ------
        ValueError
            If there is no other pair, or the others do not fix a homography.
        """
        return self._normal.among([other for other in range(len(self._normal.matrices)) if other != index])

    def shift_px(self, index: int) -> tuple[float, float]:
        """Return how far one pair would shift the homography, to the right and downward, to first order.

        Returns
        -------
        tuple of float
            Target pixels; zero where the pair knows nothing of it.
        """
        return self._normal.shift_px(index)

    def standard_error_px(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return how uncertain the places of (n, 2) target points are, as (n,) pixels.

        It counts what the images' noise does; a scene that no homography fits is told by residuals instead.
        """
        return self._normal.standard_error_px(points)


def gradients(image: FloatImage, smoothing_px: float = _SMOOTHING_PX) -> tuple[FloatImage, FloatImage]:
    """Return an image's derivatives to the right and downward, of a Gaussian scale, per pixel.

    Parameters
    ----------
    image : (H, W) ndarray of float32
    smoothing_px : float
        Standard deviation of the Gaussian in pixels; 0 for none.
    """
    smooth = _smoothed(image, smoothing_px)
    return _derivatives(smooth)


def _smoothed(image: FloatImage, smoothing_px: float) -> FloatImage:
    if smoothing_px < 0.2:
        return image
    return np.asarray(cv2.GaussianBlur(image, (0, 0), smoothing_px), dtype=np.float32)


def _derivatives(image: FloatImage) -> tuple[FloatImage, FloatImage]:
    dx = cv2.Scharr(image, cv2.CV_32F, 1, 0, scale=1 / 32)
    dy = cv2.Scharr(image, cv2.CV_32F, 0, 1, scale=1 / 32)
    return np.asarray(dx, dtype=np.float32), np.asarray(dy, dtype=np.float32)


def local_scale(homography: Homography, size: tuple[int, int]) -> float:
    """Return target pixels per source pixel at the middle of a target of a width and height."""
    center = np.array([(size[0] - 1) / 2, (size[1] - 1) / 2], dtype=np.float64)
    steps = warp_points(np.linalg.inv(homography), np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]]) + center)
    return float(1 / np.sqrt(max(abs(np.linalg.det(steps[1:] - steps[0])), 1e-12)))


def warp_smooth(image: FloatImage, homography: Homography, size: tuple[int, int]) -> FloatImage:
    """Return an image warped into a frame of a width and height, after the smoothing that all gradients here have.

    The interpolation is linear: OpenCV computes its places exactly, where its cubic one is off by up to 0.04 px, and
    what it smooths is smooth already.
    """
    smooth = _smoothed(image, _SMOOTHING_PX / local_scale(homography, size))
    return np.asarray(cv2.warpPerspective(smooth, homography, size, flags=cv2.INTER_LINEAR), dtype=np.float32)


def refine_jointly(
    homography: Homography,
    pairs: Sequence[ImagePair],
    *,
    max_move_px: float | None = None,
    precision_px: float = _PRECISION_PX,
    max_pixels: int | None = None,
    motion: Motion = "homography",
    is_near: bool = False,
) -> Refinement:
    """Refine a homography on the gradients of all pairs at once, from coarse to fine.

    Each pair has a gain of its own, and counts by how little of its gradients is left unexplained; pixels that do not
    fit, as those of what moved, count little.

    Parameters
    ----------
    homography : (3, 3) ndarray
        From source to target pixels; right to about one part in thirty of the image.
    pairs : sequence of ImagePair
        At least one; all of the same two sizes.
    max_move_px : float, optional
        How far a corner of the target may move; a tenth of its longer side by default.
    precision_px : float
        The iteration ends where no corner moves farther.
    max_pixels : int, optional
        Pixels of each pair that are looked at, those of the largest gradients; by default the fewer the more pairs.
    motion : {"homography", "shift"}
        What may change: all eight parameters, or the place in the target alone, which little texture tells.
    is_near : bool
        Whether the homography is right to about a pixel, so that nothing coarse need be looked at.

    Returns
    -------
    Refinement
        The homography, and how well it is known.

    Raises
    ------
    ValueError
        If the images do not fix a homography, the iteration runs away, or the gradients correlate less than before.

    References
    ----------
    .. [1] Malis, "Improving vision-based control using efficient second-order minimization techniques", ICRA 2004.
    .. [2] Evangelidis and Psarakis, "Parametric Image Alignment Using Enhanced Correlation Coefficient
       Maximization", PAMI 2008.
    """
    height, width = pairs[0].target.shape
    limit_px = _MAX_MOVE_SHARE * max(width, height) if max_move_px is None else max_move_px
    start = normalized(np.asarray(homography, dtype=np.float64))
    current = start
    n_pixels = max_pixels or min(_MAX_PIXELS, max(_MAX_PIXELS_OF_ALL // len(pairs), _MAX_PIXELS // 5))
    halvings = 0 if is_near else min(max(int(np.log2(min(width, height) / _COARSEST_PX)), 0), _MAX_HALVINGS)
    pyramid = [list(pairs)]
    for _ in range(halvings):
        pyramid.append([_halved(pair) for pair in pyramid[-1]])
    normal: _NormalEquations | None = None
    for halving in range(halvings, -1, -1):
        level = _Level(pyramid[halving], _at_level(current, halving), n_pixels, motion)
        normal = level.iterate(_COARSE_PRECISION_PX if halving else precision_px)
        current = _from_level(normal.homography, halving)
        corners = np.array([[0, 0], [width, 0], [0, height], [width, height]], dtype=np.float64)
        moved_px = np.abs(warp_points(current @ np.linalg.inv(start), corners) - corners).max()
        if not moved_px <= limit_px:
            raise ValueError(f"the refinement moved a corner by {moved_px:.0f} px")
    assert normal is not None
    before, after = (gradient_correlation(pairs, one) for one in (start, current))
    if not after >= before - 1e-4:
        raise ValueError(f"the gradients correlate by {after:.3f} after refinement, by {before:.3f} before")
    return Refinement(normalized(current), after, before, normal)


def gradient_correlation(pairs: Sequence[ImagePair], homography: Homography) -> float:
    """Return the mean correlation of the pairs' gradients under a homography; 0 for a pair that shares no pixel.

    The gradients are taken as vectors, so that a contrast of the other sign does not pass for the same.
    """
    return float(np.mean([_pair_correlation(pair, homography) for pair in pairs]))


def _pair_correlation(pair: ImagePair, homography: Homography) -> float:
    target, source, seen = _gradients_of(pair, homography, gradients(pair.target))
    a = np.concatenate([channel[seen] for channel in target]).astype(np.float64)
    b = np.concatenate([channel[seen] for channel in source]).astype(np.float64)
    norm = float(np.sqrt((a @ a) * (b @ b)))
    return float(a @ b) / norm if norm > _LEAST_GRADIENT else 0.0


def _gradients_of(
    pair: ImagePair, homography: Homography, target: tuple[FloatImage, FloatImage]
) -> tuple[tuple[FloatImage, FloatImage], tuple[FloatImage, FloatImage], NDArray[np.bool_]]:
    height, width = pair.target.shape
    source = _derivatives(warp_smooth(pair.source, homography, (width, height)))
    return target, source, common_pixels(pair, homography)


def common_pixels(pair: ImagePair, homography: Homography) -> NDArray[np.bool_]:
    """Return the (H', W') target pixels whose neighborhood counts in both views, and is seen in both."""
    height, width = pair.target.shape
    counted = np.ones(pair.source.shape, np.float32) if pair.source_mask is None else pair.source_mask
    seen = cv2.warpPerspective(counted.astype(np.float32), homography, (width, height)) > 0.999
    if pair.target_mask is not None:
        seen &= pair.target_mask
    reach = np.ones((2 * _mask_reach() + 1,) * 2, np.uint8)
    return np.asarray(cv2.erode(seen.astype(np.uint8), reach, borderType=cv2.BORDER_CONSTANT, borderValue=0) > 0)


def _mask_reach() -> int:
    return int(np.ceil(3 * _SMOOTHING_PX)) + 1


def _at_level(homography: Homography, halving: int) -> Homography:
    to_level = _halving_matrix(halving)
    return np.asarray(to_level @ homography @ np.linalg.inv(to_level), dtype=np.float64)


def _from_level(homography: Homography, halving: int) -> Homography:
    to_level = _halving_matrix(halving)
    return normalized(np.linalg.inv(to_level) @ homography @ to_level)


def _halving_matrix(halving: int) -> NDArray[np.float64]:
    scale = 0.5**halving
    return np.array([[scale, 0, (scale - 1) / 2], [0, scale, (scale - 1) / 2], [0, 0, 1]])


def _halved(pair: ImagePair) -> ImagePair:
    def half(image: FloatImage) -> FloatImage:
        # An odd last row or column is dropped, so that the scale is one half exactly.
        even = image[: image.shape[0] // 2 * 2, : image.shape[1] // 2 * 2]
        size = (even.shape[1] // 2, even.shape[0] // 2)
        return np.asarray(cv2.resize(even, size, interpolation=cv2.INTER_AREA), dtype=np.float32)

    def half_mask(mask: NDArray[np.bool_] | None) -> NDArray[np.bool_] | None:
        return None if mask is None else half(mask.astype(np.float32)) > _COARSE_MASK_SHARE

    return ImagePair(half(pair.source), half(pair.target), half_mask(pair.source_mask), half_mask(pair.target_mask))


class _Level:
    """One level of the pyramid: the pixels that count, and the iteration on them."""

    def __init__(self, pairs: Sequence[ImagePair], homography: Homography, max_pixels: int, motion: Motion) -> None:
        self._pairs, self._homography, self._max_pixels, self._motion = pairs, homography, max_pixels, motion
        self._gradients = [gradients(pair.target) for pair in pairs]
        height, width = pairs[0].target.shape
        self._size = (width, height)
        # Coordinates of about one keep the equations well conditioned.
        scale = 2.0 / max(width, height)
        self._to_unit = np.array(
            [[scale, 0, -scale * (width - 1) / 2], [0, scale, -scale * (height - 1) / 2], [0, 0, 1]]
        )

    def iterate(self, precision_px: float) -> _NormalEquations:
        """Return the equations at the point where they are solved."""
        corners = np.array([[0, 0], [1, 0], [0, 1], [1, 1]]) * np.array(self._size, dtype=np.float64)
        for _ in range(_MAX_ITERATIONS):
            normal = self._equations()
            update = normal.update()
            self._homography = normalized(update @ self._homography)
            moved_px = np.abs(warp_points(update, corners) - corners).max()
            if moved_px < precision_px:
                break
            if not moved_px < max(self._size):
                raise ValueError("the refinement runs away: the images do not fix a homography")
        return self._equations()

    def _equations(self) -> _NormalEquations:
        matrices, vectors = [], []
        for pair, target in zip(self._pairs, self._gradients, strict=True):
            matrix, vector = self._pair_equations(pair, target)
            matrices.append(matrix)
            vectors.append(vector)
        free = _FREE[self._motion]
        return _NormalEquations(self._homography, self._to_unit, np.array(matrices), np.array(vectors), free)

    def _pair_equations(
        self, pair: ImagePair, target_gradients: tuple[FloatImage, FloatImage]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return the eight-parameter equations of one pair, its gain eliminated, in units of its noise."""
        target, source, seen = _gradients_of(pair, self._homography, target_gradients)
        indices = _strongest(target, seen, self._max_pixels)
        if len(indices) < _MIN_PIXELS:
            return np.zeros((8, 8)), np.zeros(8)
        x, y = indices % self._size[0], indices // self._size[0]
        scale = self._to_unit[0, 0]
        u, v = scale * x + self._to_unit[0, 2], scale * y + self._to_unit[1, 2]
        n = len(indices)
        # First along x, then along y.
        seen_source, seen_target = (
            np.stack([channel.ravel()[indices] for channel in channels]).astype(np.float64)
            for channels in (source, target)
        )
        energy = float(np.vdot(seen_source, seen_source))
        if energy < _LEAST_GRADIENT**2:
            return np.zeros((8, 8)), np.zeros(8)
        gain = float(np.vdot(seen_source, seen_target)) / energy
        residual = seen_target - gain * seen_source
        noise = 1.4826 * float(np.median(np.abs(residual))) + 1e-9
        weights = 1 / (1 + np.square(residual / (_ROBUST_SCALE * noise)))
        matrix, vector = np.zeros((9, 9)), np.zeros(9)
        for channel, (of_target, of_source) in enumerate(zip(target, source, strict=True)):
            # The mean of both views' slopes makes the step right to second order.
            mean = np.asarray(0.5 * (of_target + np.float32(gain) * of_source), dtype=np.float32)
            slopes = [one.ravel()[indices] / scale for one in _derivatives(mean)]
            for first in range(0, n, _PIXELS_AT_ONCE):
                some = slice(first, first + _PIXELS_AT_ONCE)
                rows = _jacobian(u[some], v[some], slopes[0][some], slopes[1][some], seen_source[channel, some])
                weighted = rows * weights[channel, some]
                matrix += weighted @ rows.T
                vector += weighted @ residual[channel, some]
        variance = float(np.vdot(weights, np.square(residual))) / float(weights.sum()) + 1e-18
        eliminated = matrix[:8, :8] - np.outer(matrix[:8, 8], matrix[8, :8]) / matrix[8, 8]
        return eliminated / variance, (vector[:8] - matrix[:8, 8] * vector[8] / matrix[8, 8]) / variance


def _jacobian(
    u: NDArray[np.float64], v: NDArray[np.float64], dx: NDArray[Any], dy: NDArray[Any], source: NDArray[np.float64]
) -> NDArray[np.float64]:
    """Return the eight columns of the Jacobian at some pixels, and the source's gradient, as (9, n)."""
    rows = np.empty((9, len(u)))
    rows[2], rows[5], rows[8] = dx, dy, source
    np.multiply(u, rows[2], out=rows[0])
    np.multiply(v, rows[2], out=rows[1])
    np.multiply(u, rows[5], out=rows[3])
    np.multiply(v, rows[5], out=rows[4])
    radial = rows[0] + rows[4]
    np.multiply(-u, radial, out=rows[6])
    np.multiply(-v, radial, out=rows[7])
    return rows


def _strongest(target: tuple[FloatImage, FloatImage], seen: NDArray[np.bool_], at_most: int) -> NDArray[np.intp]:
    """Return the flat indices of the pixels that count, the ones of the largest gradients where there are many."""
    indices = np.flatnonzero(seen)
    if len(indices) <= at_most:
        return indices
    strength = (np.square(target[0]) + np.square(target[1])).ravel()[indices]
    return np.sort(indices[np.argpartition(strength, -at_most)[-at_most:]])


# Neighboring gradients share their noise, because the same Gaussian has passed over both.
_PIXELS_PER_SAMPLE = 4 * np.pi * _SMOOTHING_PX**2


@dataclass(frozen=True, eq=False)
class _NormalEquations:
    """Gauss-Newton equations of every pair, in unit coordinates of the target."""

    homography: Homography
    to_unit: NDArray[np.float64]
    matrices: NDArray[np.float64]
    """(n, 8, 8)."""
    vectors: NDArray[np.float64]
    """(n, 8)."""
    free: tuple[int, ...]
    """Parameters that may change."""

    def update(self) -> Homography:
        """Return what the homography is to be multiplied by, from the left."""
        return self._solve(self.matrices.sum(axis=0), self.vectors.sum(axis=0))

    def among(self, indices: Sequence[int]) -> Homography:
        """Return the homography of some pairs."""
        if not indices:
            raise ValueError("no other pair is left")
        matrix, vector = self.matrices[indices].sum(axis=0), self.vectors[indices].sum(axis=0)
        return normalized(self._solve(matrix, vector) @ self.homography)

    def shift_px(self, index: int) -> tuple[float, float]:
        """Return the step of one pair with everything but the shift held."""
        shift = np.ix_([index], (2, 5), (2, 5))
        matrix, vector = self.matrices[shift][0], self.vectors[index, (2, 5)]
        if np.linalg.eigvalsh(matrix)[0] <= 0:
            return 0.0, 0.0
        # The equations are those of the inverse step.
        x, y = -np.linalg.solve(matrix, vector) / self.to_unit[0, 0]
        return float(x), float(y)

    def standard_error_px(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        free = np.ix_(self.free, self.free)
        covariance = np.zeros((8, 8))
        covariance[free] = np.linalg.inv(self.matrices.sum(axis=0)[free]) * _PIXELS_PER_SAMPLE
        u, v = warp_points(self.to_unit, points).T
        zero, one = np.zeros_like(u), np.ones_like(u)
        rows = (
            np.stack([u, v, one, zero, zero, zero, -u * u, -u * v], axis=1),
            np.stack([zero, zero, zero, u, v, one, -u * v, -v * v], axis=1),
        )
        variance = sum(np.einsum("ni,ij,nj->n", row, covariance, row) for row in rows)
        return np.asarray(np.sqrt(np.maximum(variance, 0)) / self.to_unit[0, 0], dtype=np.float64)

    def _solve(self, matrix: NDArray[np.float64], vector: NDArray[np.float64]) -> Homography:
        matrix, vector = matrix[np.ix_(self.free, self.free)], vector[list(self.free)]
        # An image with texture has a condition of about a hundred here.
        diagonal = np.sqrt(np.maximum(np.diag(matrix), 1e-300))
        scaled = matrix / np.outer(diagonal, diagonal)
        if not np.isfinite(scaled).all() or np.linalg.eigvalsh(scaled)[0] < 1e-7:
            raise ValueError("the images do not fix a homography: too little is seen in both")
        p = np.zeros(8)
        p[list(self.free)] = np.linalg.solve(scaled, vector / diagonal) / diagonal
        step = np.array([[1 + p[0], p[1], p[2]], [p[3], 1 + p[4], p[5]], [p[6], p[7], 1.0]])
        to_unit = self.to_unit
        return np.asarray(np.linalg.inv(to_unit) @ np.linalg.inv(step) @ to_unit, dtype=np.float64)
