"""The colors of the foreground around every place, and the linear function of the color that is the screen's share.

In linear light a pixel on the foreground's edge, or swept by it, is ``x = (1 - t) F + t G``, with the screen's color
``G`` at that place and its share ``t``. Where ``F`` is drawn from the opaque foreground nearby, with mean ``mu`` and
covariance ``S``, the best linear estimate of ``t`` is the one that is 1 on ``G``, 0 on ``mu``, and varies least over
the foreground's colors: ``t = w (x - mu)`` with ``w ~ S^-1 (G - mu)``. One function for all frames of a sequence
keeps the mean of its shares the share of its mean.

Once ``t`` is about known, so is how much the foreground's colors count in that pixel beside the camera's noise ``N``:
``x`` varies by ``(1 - t)^2 S + N``. With that in place of ``S`` the estimate is the most probable one (Chuang et
al., "A Bayesian approach to digital matting", CVPR 2001, eq. (11), for a known background): thin hair is told by its
brightness too, skin by its hue alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from rb2v.matting.screen import YELLOW, Plane, Planes, Screen, color_difference, differ, enlarge, shrink, split

_PAIRS = ((0, 0), (0, 1), (0, 2), (1, 1), (1, 2), (2, 2))  # the upper half of a symmetric 3x3 matrix
_DIAGONAL = (0, 3, 5)  # of those
_OPAQUE_BY_DIFFERENCE = 0.15  # screen share by the classic color difference, up to which a cell may be opaque
_OPAQUE = 0.1  # the same by the local foreground
_SURE_DEPTH = 3.0  # in cells, from which on a cell is surely foreground alone
_SKIN_STRANGENESS, _SKIN_PURITY = 0.08, 0.8  # before yellow screens, relative to the screen's own purity
_SURE_STRANGENESS = 0.15  # of any purity
_PALETTE_BINS = 16  # a channel: 4096 colors
_MIN_PALETTE_SHARE = 5e-4  # of all cells that are deep inside; rarer colors may be mixtures or noise
_FOURS = (slice(4), slice(4, 8), slice(8, 10))  # of the ten moments
_FAR_TRUST = 0.05  # weight of what is around beside a cell that is all foreground
_STRANGE = 25.0  # squared deviations: a pixel that is off by five is hardly a mixture, and by seven none
_LEAST_DIFFERENCE = 0.01  # of a screen's high channels above the others, in linear light
_LEAST_SPAN, _LEAST_PROBABLE_SPAN = 1e-9, 1e-12  # between foreground and screen, where they have one color
_BRIGHTNESS_SPREAD = 0.1  # of the foreground's light about its mean, relative to it: folds and shadows
_COLOR_SPREAD = 0.005  # in any direction, at the least
_NOISE = 0.01  # of a pixel's linear light after codec and resampling; smaller where all is screen or foreground
_LEAST_ALPHA = 0.02  # below, the foreground's colors hardly count
_GRAY = 0.02  # added to the foreground's color, which has no hue where it is black


@dataclass(frozen=True, eq=False)
class LocalForeground:
    """The foreground's colors, on a grid."""

    mean_linear: NDArray[np.float32]
    """(3, h, w)"""
    weights: NDArray[np.float32]
    """(h, w, 3) of linear RGB in the screen's share."""
    offset: Plane
    """(h, w) what is taken off the weighted sum."""
    covariance: NDArray[np.float32]
    """(6, h, w) of the colors, in the order of rr, rg, rb, gg, gb, bb."""

    def weigher(self, size: tuple[int, int], part: tuple[slice, slice]) -> list[Plane]:
        """Return the three weights and the offset in the pixels of a part of images of a width and height."""
        planes = (*split(self.weights), self.offset)
        return [np.ascontiguousarray(enlarge(plane, size)[part]) for plane in planes]

    def share(self, image_linear: NDArray[np.float32]) -> Plane:
        """Return the screen's share in every pixel of an (h, w, 3) image; beyond 0..1 where colors are others."""
        return np.asarray(weigh(self.weights, image_linear) - self.offset, dtype=np.float32)


class ForegroundModel:
    """What is known of a take's foreground: which colors it has, and so where it may be opaque.

    Parameters
    ----------
    grids_linear : sequence of (h, w, 3) ndarray of float32
        A few frames from all over the take on the screen's grid, in linear light, with its screen as bright.
    screen : Screen
        What stands behind it.
    """

    def __init__(self, grids_linear: Sequence[NDArray[np.float32]], screen: Screen) -> None:
        self._screen = screen
        counts = np.zeros((_PALETTE_BINS,) * 3)
        for grid in grids_linear:
            deep = self._inside(self._find_opaque(grid, screen.grid_linear)) >= 1
            np.add.at(counts, _bins(grid[deep]), 1)
        self._palette = counts >= max(_MIN_PALETTE_SHARE * counts.sum(), 2)

    def learn(
        self,
        grids_linear: Sequence[NDArray[np.float32]],
        screen_linear: NDArray[np.float32],
        alphas: Sequence[Plane] | None = None,
    ) -> LocalForeground:
        """Learn the foreground's colors in a few frames, where it is found by them, or by what was learnt before.

        Parameters
        ----------
        grids_linear : sequence of (h, w, 3) ndarray of float32
            The frames, like those of the model.
        screen_linear : (h, w, 3) ndarray of float32
            The screen's color in them, on the grid.
        alphas : sequence of (h, w) ndarray of float32, optional
            What was found of the frames before.
        """
        if alphas is None:
            found = [self._find_opaque(grid, screen_linear) | self._palette[_bins(grid)] for grid in grids_linear]
        else:
            found = [alpha > 1 - _OPAQUE for alpha in alphas]
        return learn_local_foreground(grids_linear, [self._inside(mask) for mask in found], screen_linear)

    def _find_opaque(self, grid_linear: NDArray[np.float32], screen_linear: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Return which cells may be foreground alone, by the classic color difference."""
        high = self._screen.high
        own = color_difference(grid_linear, high)
        difference = own / np.maximum(color_difference(screen_linear, high), np.float32(_LEAST_DIFFERENCE))
        found = difference < _OPAQUE_BY_DIFFERENCE
        if high == YELLOW:
            # Skin and fair hair are yellow too, but no mixture of this screen and something gray.
            strangeness = _strangeness(grid_linear, screen_linear)
            purity = own / np.maximum(grid_linear[..., 1], np.float32(0.01))
            purity /= color_difference(screen_linear, high) / screen_linear[..., 1]
            found |= (strangeness > _SKIN_STRANGENESS) & (purity < _SKIN_PURITY)
            found |= strangeness > _SURE_STRANGENESS
        return np.asarray(found)

    def _inside(self, found: NDArray[np.bool_]) -> Plane:
        """Return how sure it is that cells are foreground alone: the more, the deeper they lie in what was found."""
        padded = np.pad(found, 1, mode="edge").astype(np.uint8)
        depth = cv2.distanceTransform(padded, cv2.DIST_L2, 3)[1:-1, 1:-1]
        return np.asarray(np.clip((depth - 1) / _SURE_DEPTH, 0, 1) * self._screen.screen_share, dtype=np.float32)


def learn_local_foreground(
    grids_linear: Sequence[NDArray[np.float32]], opaque: Sequence[Plane], screen_linear: NDArray[np.float32]
) -> LocalForeground:
    """Learn the foreground's colors around every cell from where it is opaque.

    Parameters
    ----------
    grids_linear : sequence of (h, w, 3) ndarray of float32
        Frames on the grid, in linear light.
    opaque : sequence of (h, w) ndarray of float32
        Which of their cells are foreground alone.
    screen_linear : (h, w, 3) ndarray of float32
        The screen's color.
    """
    size = screen_linear.shape[1::-1]
    half = (-(-size[0] // 2), -(-size[1] // 2))
    moments = _gather(grids_linear, opaque, half)
    mean = moments[1:4]
    color = mean + np.float32(_GRAY)
    covariance = [
        product - mean[row] * mean[column] + np.float32(_BRIGHTNESS_SPREAD**2) * color[row] * color[column]
        for product, (row, column) in zip(moments[4:], _PAIRS, strict=True)
    ]
    for index in _DIAGONAL:
        covariance[index] += np.float32(_COLOR_SPREAD**2)
    difference = np.stack(split(shrink(screen_linear, half))) - mean
    noisy = [plane + np.float32(_NOISE**2 * (index in _DIAGONAL)) for index, plane in enumerate(covariance)]
    weights = _solve(noisy, difference)
    weights /= np.maximum(np.sum(weights * difference, axis=0), np.float32(_LEAST_SPAN))
    offset = np.sum(weights * mean, axis=0)
    # They vary slowly.
    mean, spread = (np.stack([enlarge(plane, size) for plane in planes]) for planes in (mean, covariance))
    return LocalForeground(mean, enlarge(cv2.merge(list(weights)), size), enlarge(offset, size), spread)


def most_probable_share(
    pixels: NDArray[np.float32],
    screen: NDArray[np.float32],
    share: NDArray[np.float32],
    mean: NDArray[np.float32],
    covariance: NDArray[np.float32],
    high: tuple[int, ...],
) -> NDArray[np.float32]:
    """Return the screen's share in some pixels, by the foreground's colors as far as they count in each.

    What is no mixture of the screen and these colors shows something else, of which nothing is known but that it is
    not of the screen's hue: it has no more of the screen than its color difference says.

    Parameters
    ----------
    pixels, screen, mean : (3, n) ndarray of float32
        Linear RGB, the screen's behind, and the mean of the foreground's nearby.
    share : (n,) ndarray of float32
        A first estimate.
    covariance : (6, n) ndarray of float32
        Of the foreground's colors, as in `LocalForeground`.
    high : tuple of int
        Channels in which the screen stands above the others.
    """
    counted = covariance * np.square(np.clip(1 - share, np.float32(_LEAST_ALPHA), 1))
    for index in _DIAGONAL:
        counted[index] += np.float32(_NOISE**2)
    toward = mean - screen
    weights = _solve(list(counted), toward)
    off = pixels - screen
    found = np.einsum("cn,cn->n", weights, off)
    found /= np.maximum(np.einsum("cn,cn->n", weights, toward), np.float32(_LEAST_PROBABLE_SPAN))
    probable = np.asarray(1 - found, dtype=np.float32)
    alpha = np.clip(found, 0, 1)
    off -= alpha * toward
    off *= off
    off /= np.square(alpha) * covariance[list(_DIAGONAL)] + np.float32(_NOISE**2)
    deviation = off.sum(axis=0)
    strange = np.flatnonzero(deviation > _STRANGE)
    most = differ(list(pixels[:, strange]), high)
    most /= np.maximum(differ(list(screen[:, strange]), high), np.float32(_LEAST_DIFFERENCE))
    share = probable[strange]
    less = np.minimum(np.maximum(most, 0) - share, 0)
    probable[strange] = share + np.minimum(deviation[strange] / np.float32(_STRANGE) - 1, 1) * less
    return probable


def _solve(covariance: Sequence[NDArray[np.float32]], difference: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return (3, ...) solutions of symmetric 3x3 systems, up to their determinants: several times as fast as LAPACK.

    The six planes of the matrices are in the order of ``_PAIRS``.
    """
    rr, rg, rb, gg, gb, bb = covariance
    red, green, blue = difference
    cofactor_rg, cofactor_rb, cofactor_gb = rb * gb - rg * bb, rg * gb - rb * gg, rg * rb - rr * gb
    return np.stack(
        [
            (gg * bb - gb * gb) * red + cofactor_rg * green + cofactor_rb * blue,
            cofactor_rg * red + (rr * bb - rb * rb) * green + cofactor_gb * blue,
            cofactor_rb * red + cofactor_gb * green + (rr * gg - rg * rg) * blue,
        ]
    )


def weigh(weights: NDArray[np.float32], image: NDArray[np.float32]) -> Plane:
    """Return the weighted sum of the channels of an (H, W, 3) image, with weights of their own in every pixel."""
    return np.asarray(cv2.transform(weights * image, np.ones((1, 3), np.float32)), dtype=np.float32)


def weigh_planes(weights: Planes, planes: Planes) -> Plane:
    """Return the same of an image's channels; faster than of the image."""
    total = weights[0] * planes[0]
    product = weights[1] * planes[1]
    total += product
    total += np.multiply(weights[2], planes[2], out=product)
    return total


def _gather(
    grids_linear: Sequence[NDArray[np.float32]], opaque: Sequence[Plane], size: tuple[int, int]
) -> NDArray[np.float32]:
    """Return (10, h, w) moments of the opaque colors about every cell: 1, mean, products of channels.

    Where a cell shows no foreground, its moments are those of the cells around, and of ever wider surroundings.
    """
    total = np.zeros((10, *opaque[0].shape), dtype=np.float32)
    for grid, mask in zip(grids_linear, opaque, strict=True):
        planes = split(grid)
        covered = [mask * plane for plane in planes]
        products = [covered[row] * planes[column] for row, column in _PAIRS]
        for sums, values in zip(total, (mask, *covered, *products), strict=True):
            sums += values
    total /= np.float32(len(grids_linear))
    # OpenCV is fast with up to four channels.
    level = [shrink(cv2.merge(list(total[part])), size) for part in _FOURS]
    pyramid = [level]
    while max(level[0].shape[:2]) > 1:
        height, width = level[0].shape[:2]
        level = [shrink(planes, (-(-width // 2), -(-height // 2))) for planes in level]
        pyramid.append(level)
    # Nothing opaque anywhere: anything gray.
    anything = np.array([1, 0.2, 0.2, 0.2, 0.05, 0.04, 0.04, 0.05, 0.04, 0.05], dtype=np.float32)
    gathered = [anything[part].reshape(1, 1, -1) for part in _FOURS]
    for level in reversed(pyramid):
        height, width = level[0].shape[:2]
        scale = 1 / (level[0][..., 0] + _FAR_TRUST)
        gathered = [
            cv2.scaleAdd(enlarge(around, (width, height)).reshape(planes.shape), _FAR_TRUST, planes)
            * cv2.merge([scale] * planes.shape[-1])
            for planes, around in zip(level, gathered, strict=True)
        ]
    return np.concatenate([np.stack(split(planes)) for planes in gathered])


def _strangeness(grid_linear: NDArray[np.float32], screen_linear: NDArray[np.float32]) -> Plane:
    """Return how far colors lie off the plane of the screen's color and gray, relative to their brightness."""
    across = np.cross(screen_linear, np.ones(3, dtype=np.float32))
    across /= np.linalg.norm(across, axis=-1, keepdims=True)
    distance = np.abs(np.sum(across * grid_linear, axis=-1))
    return np.asarray(distance / (np.linalg.norm(grid_linear, axis=-1) + 0.05), dtype=np.float32)


def _bins(colors_linear: NDArray[np.float32]) -> tuple[NDArray[np.int64], ...]:
    # Square roots, so that bins are about equally wide to the eye.
    indices = (np.sqrt(np.clip(colors_linear, 0, 1)) * (_PALETTE_BINS - 1e-3)).astype(np.int64)
    return tuple(np.moveaxis(indices, -1, 0))
