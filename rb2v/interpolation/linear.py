"""Blending: the frame between is the weighted mean of its neighbors."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray


class LinearInterpolator:
    """Blend the two frames; right where nothing moves, and a double image elsewhere."""

    def between(
        self,
        frame_a: NDArray[np.float32],
        frame_b: NDArray[np.float32],
        times: Sequence[float],
        *,
        averaged: Collection[float] = (),
    ) -> list[NDArray[np.float32]]:
        """Return the frames at times between two frames, see `rb2v.interpolation.Interpolator`."""
        return [np.asarray(cv2.addWeighted(frame_a, 1 - t, frame_b, t, 0.0), dtype=np.float32) for t in times]
