"""Lenses fitted to planar boards, by what must be straight once it is undistorted, or to pairs of points.

Every view of a board has a homography of its own, so that neither the focal length nor the poses matter, nor need
boards be tilted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

from rb2v.core.homography import Homography, normalized, warp_points
from rb2v.core.lens import bend, distort_points, undistort_points

Term = Literal["k1", "k2", "p1", "p2", "k3", "cx", "cy"]
Points = NDArray[np.float64]
Vector = NDArray[np.float64]

_ORDER: tuple[Term, ...] = ("k1", "k2", "p1", "p2", "k3", "cx", "cy")
_STEP = 1e-6  # focal lengths or k1, for slopes by differences: far below any distortion, far above float64's rounding
_MAX_EVALUATIONS = 40  # only a bound, for boards that contradict each other
_FAR_PX = 1e3  # error of a point that the lens does not take: more than any image leaves, and finite for the solver
_MAX_PAIR_K1 = 0.5  # moves the corner of a 4:3 image by 18 % of its radius; a fit beyond it has run away
_PRIOR_K1, _PRIOR_PX = 0.3, 0.3  # such a k1 costs as much as one point that misses by so much: next to nothing
_OUTLIER_PX = 0.3  # where a corner begins to lose weight: beyond the 0.2 px that detectors leave (docs/calibration.md)
_REACHES_PX = (8.0, 1.0)  # where a pair begins to lose weight: far from the answer, and near it


@dataclass(frozen=True, eq=False)
class BoardView:
    """A board as a camera sees it."""

    grid: Points
    """(n, 2) places of the corners on the board, in any unit."""
    points: Points
    """(n, 2) recorded pixels of the same corners."""


@dataclass(frozen=True, eq=False)
class LensFit:
    """A lens, and what it leaves."""

    matrix: NDArray[np.float64]
    """(3, 3) with the larger side of the image as the focal length, which nothing here tells."""
    distortion: NDArray[np.float64]
    """(5,) k1, k2, p1, p2, k3."""
    rms_px: float
    """Root mean square distance of the corners from where the fit has them, in recorded pixels."""
    view_rms_px: NDArray[np.float64]
    """The same for each view."""


def fit_lens(views: Sequence[BoardView], size: tuple[int, int], terms: Sequence[Term]) -> LensFit:
    """Fit a lens to views of boards.

    Parameters
    ----------
    views : sequence of BoardView
        What the camera sees.
    size : tuple of int
        Width and height of its images in pixels.
    terms : sequence of str
        Which of k1, k2, p1, p2, k3, and the principal point's cx and cy, are free; coefficients are 0 otherwise, the
        principal point is in the image's middle.

    Returns
    -------
    LensFit

    Raises
    ------
    ValueError
        If there is no view, a board's corners lie on a line, or the fit runs away.
    """
    problem = _Problem(views, size, terms)
    return problem.solve(problem.start(), free_lens=True)


def held_out_rms_px(views: Sequence[BoardView], size: tuple[int, int], terms: Sequence[Term]) -> float:
    """Return the root mean square distance, in pixels, at each view under the lens that the other views give.

    Parameters
    ----------
    views, size, terms
        As for `fit_lens`; at least two views.

    Raises
    ------
    ValueError
        As by `fit_lens`, or with less than two views.
    """
    if len(views) < 2:
        raise ValueError("one view alone cannot be held out")
    squares, n_points = 0.0, 0
    for index, view in enumerate(views):
        others = fit_lens([*views[:index], *views[index + 1 :]], size, terms)
        own = _Problem([view], size, terms)
        start = own.start()
        start[: len(terms)] = own.values_of(others)
        left_px = own.solve(start, free_lens=False).rms_px
        squares += left_px**2 * len(view.grid)
        n_points += len(view.grid)
    return float(np.sqrt(squares / n_points))


@dataclass(frozen=True, eq=False)
class PairFit:
    """A homography between two cameras' undistorted pixels, and a radial distortion of each."""

    source_k1: float
    """k1 of the source camera at a focal length of its image's larger side, the middle as the principal point."""
    target_k1: float
    homography: Homography
    """(3, 3) from source to target, h33 = 1."""

    def errors_px(
        self, source: Points, target: Points, source_size: tuple[int, int], target_size: tuple[int, int]
    ) -> NDArray[np.float64]:
        """Return how far (n, 2) recorded points of the source land from those of the target, in the target's pixels."""
        return np.asarray(np.linalg.norm(self.misses_px(source, target, source_size, target_size), axis=1))

    def misses_px(
        self, source: Points, target: Points, source_size: tuple[int, int], target_size: tuple[int, int]
    ) -> NDArray[np.float64]:
        """Return the same as (n, 2): to the right and downward."""
        if self.source_k1:
            source = undistort_points(source, *assumed_lens(source_size, self.source_k1))
        landed = warp_points(self.homography, source)
        if self.target_k1:
            landed = distort_points(landed, *assumed_lens(target_size, self.target_k1))
        return np.asarray(np.nan_to_num(landed - target, nan=_FAR_PX), dtype=np.float64)


def assumed_lens(size: tuple[int, int], k1: float) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return matrix and distortion of a lens of which only k1, at a nominal focal length, is known."""
    focal_px = float(max(size))
    matrix = np.array([[focal_px, 0, (size[0] - 1) / 2], [0, focal_px, (size[1] - 1) / 2], [0, 0, 1]])
    return matrix, np.array([k1, 0.0, 0.0, 0.0, 0.0])


def fit_pair(
    source: Points,
    target: Points,
    source_size: tuple[int, int],
    target_size: tuple[int, int],
    homography: Homography,
    *,
    with_lenses: bool,
    lenses: tuple[float, float] | None = None,
) -> PairFit:
    """Fit the homography, and the lenses' k1, between two cameras that look from one point to pairs of pixels.

    Parameters
    ----------
    source, target : (n, 2) ndarray of float64
        Recorded pixels of the same things; some may be wrong.
    source_size, target_size : tuple of int
        Width and height of the images in pixels.
    homography : (3, 3) ndarray
        From source to target, right to several pixels.
    with_lenses : bool
        Whether the lenses are free; without distortion otherwise.
    lenses : tuple of float, optional
        k1 of the source and the target, where they and the homography are known well already.
    """
    n_lens = 2 if with_lenses else 0

    def made(values: Vector) -> PairFit:
        first, second = values[:n_lens] if with_lenses else (0.0, 0.0)
        between = np.append(values[n_lens:], 1.0).reshape(3, 3)
        return PairFit(float(first), float(second), normalized(unscale @ between @ scale))

    def residuals(values: Vector) -> Vector:
        # What both lenses have in common hardly shows; it is held near none.
        prior = _PRIOR_PX / _PRIOR_K1 * values[:n_lens]
        return np.concatenate([made(values).misses_px(source, target, source_size, target_size).ravel(), prior])

    scale = np.linalg.inv(assumed_lens(source_size, 0.0)[0])
    unscale = assumed_lens(target_size, 0.0)[0]
    start = normalized(np.linalg.inv(unscale) @ homography @ np.linalg.inv(scale)).ravel()[:8]
    values = np.concatenate([np.array(lenses or (0.0, 0.0))[:n_lens], start])
    low, high = np.full(len(values), -np.inf), np.full(len(values), np.inf)
    low[:n_lens], high[:n_lens] = -_MAX_PAIR_K1, _MAX_PAIR_K1
    for reach_px in _REACHES_PX if lenses is None else _REACHES_PX[-1:]:
        solution: Any = least_squares(
            residuals, values, bounds=(low, high), x_scale="jac", loss="soft_l1", f_scale=reach_px, max_nfev=30
        )
        values = solution.x
    return made(values)


class _Problem:
    """Residuals and their derivatives, in units of the assumed focal length from the image's middle.

    The lens's free terms come first; then each view's homography from its board to the pinhole camera.
    """

    def __init__(self, views: Sequence[BoardView], size: tuple[int, int], terms: Sequence[Term]) -> None:
        if not views:
            raise ValueError("there is no view of a board")
        self._terms = tuple(terms)
        self._focal_px = float(max(size))
        self._middle = np.array([(size[0] - 1) / 2, (size[1] - 1) / 2])
        self._grids = [_centered(view.grid) for view in views]
        self._seen = [(view.points - self._middle) / self._focal_px for view in views]
        grid = np.concatenate(self._grids)
        self._grid = np.column_stack([grid, np.ones(len(grid))])
        self._targets = np.concatenate(self._seen)
        self._view = np.repeat(np.arange(len(views)), [len(view.grid) for view in views])

    def start(self) -> Vector:
        parts = [np.zeros(len(self._terms))]
        for grid, seen in zip(self._grids, self._seen, strict=True):
            found, _ = cv2.findHomography(grid, seen, 0)
            if found is None or abs(found[2, 2]) < 1e-9:
                raise ValueError("the corners of a board lie on a line")
            parts.append((found / found[2, 2]).ravel()[:8])
        return np.concatenate(parts)

    def values_of(self, fit: LensFit) -> Vector:
        center = (fit.matrix[:2, 2] - self._middle) / self._focal_px
        values = dict(zip(_ORDER, [*fit.distortion, *center], strict=True))
        return np.array([values[name] for name in self._terms], dtype=np.float64)

    def solve(self, start: Vector, *, free_lens: bool) -> LensFit:
        n_fixed = 0 if free_lens else len(self._terms)
        fixed = start[:n_fixed]

        def residuals(values: Vector) -> Vector:
            return self._residuals_px(np.concatenate([fixed, values])).ravel()

        def slopes(values: Vector) -> NDArray[np.float64]:
            return self._slopes(np.concatenate([fixed, values]))[:, n_fixed:]

        # All corners first: far from the answer, those beside a strong lens's rim would count as wrong ones.
        solution: Any = least_squares(residuals, start[n_fixed:], slopes, x_scale="jac", max_nfev=_MAX_EVALUATIONS)
        solution = least_squares(
            residuals,
            solution.x,
            slopes,
            x_scale="jac",
            loss="soft_l1",
            f_scale=_OUTLIER_PX,
            max_nfev=_MAX_EVALUATIONS,
        )
        squares = (solution.fun.reshape(-1, 2) ** 2).sum(axis=1)
        if not np.isfinite(squares).all():
            raise ValueError("the lens cannot be fitted to the boards")
        parameters = np.concatenate([fixed, solution.x])
        values = dict(zip(self._terms, parameters, strict=False))
        center = self._middle + self._focal_px * np.array([values.get("cx", 0.0), values.get("cy", 0.0)])
        matrix = np.array([[self._focal_px, 0, center[0]], [0, self._focal_px, center[1]], [0, 0, 1]])
        distortion = np.array([values.get(name, 0.0) for name in _ORDER[:5]])
        per_view = np.bincount(self._view, squares) / np.bincount(self._view)
        return LensFit(matrix, distortion, float(np.sqrt(squares.mean())), np.sqrt(per_view))

    def _residuals_px(self, parameters: Vector) -> NDArray[np.float64]:
        n_terms = len(self._terms)
        boards = np.concatenate([parameters[n_terms:].reshape(-1, 8), np.ones((self._view[-1] + 1, 1))], axis=1)
        rays = np.einsum("nij,nj->ni", boards.reshape(-1, 3, 3)[self._view], self._grid)
        values = dict(zip(self._terms, parameters, strict=False))
        k1, k2, p1, p2, k3, *center = (values.get(name, 0.0) for name in _ORDER)
        seen = bend(rays[:, :2] / rays[:, 2:] - center, np.array([k1, k2, p1, p2, k3])) + center
        return np.asarray((seen - self._targets) * self._focal_px, dtype=np.float64)

    def _slopes(self, parameters: Vector) -> NDArray[np.float64]:
        """Return the derivatives; those by all views' homographies are taken at once, as no two touch one corner."""
        here = self._residuals_px(parameters)
        slopes = np.zeros((len(here), 2, len(parameters)))
        n_terms, rows = len(self._terms), np.arange(len(here))
        for index in range(n_terms + 8):
            moved = parameters.copy()
            if index < n_terms:
                moved[index] += _STEP
                slopes[:, :, index] = (self._residuals_px(moved) - here) / _STEP
            else:
                moved[index::8] += _STEP
                slopes[rows, :, index + 8 * self._view] = (self._residuals_px(moved) - here) / _STEP
        return slopes.reshape(2 * len(here), -1)


def _centered(grid: Points) -> Points:
    """Return places on a board from its middle, in units of its size."""
    return np.asarray((grid - grid.mean(axis=0)) / max(float(np.ptp(grid, axis=0).max()), 1e-12), dtype=np.float64)
