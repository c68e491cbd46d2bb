"""Motion-compensated interpolation with dense optical flow (DIS), at any time between two frames."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from rb2v.core.color import from_linear


class FlowInterpolator:
    """Sample both frames along their optical flow and blend the two samples.

    The flow at a place between the frames is taken from the flow at the same place of each frame, which is right
    where motion is smooth over its own length.

    References
    ----------
    .. [1] Kroeger et al., "Fast Optical Flow using Dense Inverse Search", ECCV 2016.
    """

    def __init__(self) -> None:
        self._dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_FAST)
        self._grids: dict[tuple[int, int], NDArray[np.float32]] = {}

    def between(
        self, frame_a: NDArray[np.float32], frame_b: NDArray[np.float32], times: Sequence[float]
    ) -> list[NDArray[np.float32]]:
        """Return the frames at times between two frames, see `rb2v.interpolation.Interpolator`."""
        inner = [t for t in times if 0.0 < t < 1.0]
        if not inner:
            return [frame_a if t <= 0.0 else frame_b for t in times]
        gray_a, gray_b = _gray8(frame_a), _gray8(frame_b)
        flow_ab = np.asarray(self._dis.calc(gray_a, gray_b, None), dtype=np.float32)  # type: ignore[call-overload]
        flow_ba = np.asarray(self._dis.calc(gray_b, gray_a, None), dtype=np.float32)  # type: ignore[call-overload]
        grid = self._grid(*gray_a.shape)
        return [
            frame_a if t <= 0.0 else frame_b if t >= 1.0 else _blend(frame_a, frame_b, flow_ab, flow_ba, grid, t)
            for t in times
        ]

    def _grid(self, height: int, width: int) -> NDArray[np.float32]:
        if (height, width) not in self._grids:
            y, x = np.mgrid[:height, :width].astype(np.float32)
            self._grids[height, width] = np.dstack([x, y])
        return self._grids[height, width]


def _gray8(frame_linear: NDArray[np.float32]) -> NDArray[np.uint8]:
    # Square-root coding spreads the dark tones, in which flow would else find nothing to hold on to.
    gray = np.asarray(cv2.cvtColor(np.clip(frame_linear, 0, 1), cv2.COLOR_RGB2GRAY), dtype=np.float32)
    return np.rint(255 * from_linear(gray, 2.0)).astype(np.uint8)


def _blend(
    frame_a: NDArray[np.float32],
    frame_b: NDArray[np.float32],
    flow_ab: NDArray[np.float32],
    flow_ba: NDArray[np.float32],
    grid: NDArray[np.float32],
    t: float,
) -> NDArray[np.float32]:
    from_a = _sample(frame_a, grid - np.float32(t) * flow_ab)
    from_b = _sample(frame_b, grid - np.float32(1 - t) * flow_ba)
    return np.asarray(cv2.addWeighted(from_a, 1 - t, from_b, t, 0.0), dtype=np.float32)


def _sample(frame: NDArray[np.float32], places: NDArray[np.float32]) -> NDArray[np.float32]:
    sampled = cv2.remap(frame, places, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)  # type: ignore[call-overload]
    return np.asarray(sampled, dtype=np.float32)
