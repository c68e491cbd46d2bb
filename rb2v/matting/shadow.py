"""The shadow that a foreground throws on the screen: a linear filter of its silhouette.

A lamp's light that a flat thing takes off a flat screen behind it is the thing's silhouette, moved aside and blurred by
the shape of the lamp; several lamps add up. So the screen's brightness, relative to the empty screen's, is one less a
filter of alpha, the same all over a take. Its kernel is learnt from where the screen is seen, and tells the shadow
under hair, and where a hand hides it.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import scipy
from numpy.typing import NDArray

from rb2v.matting.screen import Plane, enlarge, erode, grid_size, shrink

SHADOW_CELLS = 56
"""Cells of the shorter side of the grid on which shadows are told: they are soft."""

_SOFTNESS_CELLS, _REACH_CELLS = (1.5, 3.0), 6  # spread of the kernel's parts, and how far they are moved aside
_RIDGE = 1e-3  # of the mean variance of a part: a foreground that stays where it is does not tell its kernel
_MIN_CELLS = 200  # of seen screen; fewer do not tell the kernel's 106 weights
_MOST_TAKEN = 0.6  # of the light, by a foreground that hides all of the lamp behind one place; lamps are several
_LEAST_EXPLAINED = (
    0.1  # of the squared shade that is seen, hair among it; what is not moved by the foreground explains less
)
_LEAST_LIGHT = 0.3  # of the screen's light in a shadow, at the least


class Shadow:
    """What a take's foreground takes of the light on its screen.

    Parameters
    ----------
    alphas : sequence of (h, w) ndarray of float32
        Coarse alpha of a few frames, on any grid.
    ratios : sequence of (h, w) ndarray of float32
        Brightness of their screens relative to the empty one, on the same grid.
    seen : sequence of (h, w) ndarray of float32
        Share, 0..1, of each cell in which that is known.
    """

    def __init__(self, alphas: Sequence[Plane], ratios: Sequence[Plane], seen: Sequence[Plane]) -> None:
        self._grid = grid_size(alphas[0].shape, SHADOW_CELLS)
        normal: NDArray[np.float64] | None = None
        n_cells = 0
        for alpha, ratio, share in zip(alphas, ratios, seen, strict=True):
            known = erode((shrink(share, self._grid) > 0.99).astype(np.uint8), 1) > 0
            parts = self._parts(shrink(alpha, self._grid))[:, known].astype(np.float64)
            rows = np.vstack([parts, 1 - shrink(ratio, self._grid)[known]])
            normal = rows @ rows.T if normal is None else normal + rows @ rows.T
            n_cells += int(known.sum())
        assert normal is not None
        self._kernel: NDArray[np.float32] | None = None
        squares, products = normal[:-1, :-1], normal[:-1, -1]
        if n_cells >= _MIN_CELLS and products.any():
            squares += _RIDGE * np.trace(squares) / len(squares) * np.eye(len(squares))
            root = np.linalg.cholesky(squares)
            # No shadow makes a screen brighter: non-negative least squares.
            kernel = scipy.optimize.nnls(root.T, np.linalg.solve(root, products))[0]
            explained = 2 * kernel @ products - kernel @ squares @ kernel
            if kernel.sum() < _MOST_TAKEN and explained > _LEAST_EXPLAINED * normal[-1, -1]:
                self._kernel = kernel.astype(np.float32)

    def brightness(self, alpha: Plane) -> Plane:
        """Return, on the grid of an (h, w) coarse alpha, the screen's brightness relative to the empty one."""
        if self._kernel is None:
            return np.ones(alpha.shape, dtype=np.float32)
        used = self._kernel > 0
        parts = self._parts(shrink(alpha, self._grid), used)
        shade = np.tensordot(self._kernel[used], parts, axes=1) if used.any() else np.zeros(self._grid[::-1])
        light = np.clip(1 - shade, _LEAST_LIGHT, 1).astype(np.float32)
        return enlarge(light, alpha.shape[::-1])

    def _parts(self, alpha: Plane, used: NDArray[np.bool_] | None = None) -> NDArray[np.float32]:
        """Return (n, h, w) silhouettes, blurred and moved aside; of those used alone where that is said."""
        parts, index = [], 0
        for softness in _SOFTNESS_CELLS:
            soft = cv2.GaussianBlur(alpha, (0, 0), softness, borderType=cv2.BORDER_REPLICATE)
            steps = softness * np.arange(-int(_REACH_CELLS // softness), int(_REACH_CELLS // softness) + 1)
            for down in steps:
                for aside in steps:
                    if used is None or used[index]:
                        move = np.array([[1, 0, aside], [0, 1, down]], dtype=np.float64)
                        parts.append(cv2.warpAffine(soft, move, soft.shape[::-1], borderMode=cv2.BORDER_REPLICATE))
                    index += 1
        return np.stack(parts) if parts else np.zeros((0, *alpha.shape), dtype=np.float32)
