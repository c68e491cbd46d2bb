"""The landmarks of one face or hand."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Landmarks:
    """The points of one face or hand in one image."""

    points: NDArray[np.float64]
    """(n, 2): x and y in px; the center of the top-left pixel is (0, 0)."""
    score: float
    """In 0..1: how sure the network is that there is a face or hand."""

    @property
    def corners(self) -> NDArray[np.float64]:
        """(2, 2): top-left and bottom-right corner of the points."""
        return np.stack([self.points.min(axis=0), self.points.max(axis=0)])
