"""Optical flow between two frames, and the mean flow of a sequence.

References
----------
.. [1] Kroeger et al., "Fast Optical Flow using Dense Inverse Search", ECCV 2016.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

Flow = NDArray[np.float32]
"""(H, W, 2): x and y in pixels, of what the first frame shows at each place."""
FlowEstimator = Callable[[NDArray[np.uint8], NDArray[np.uint8]], Flow]
"""Estimates flow from one (H, W, 3) RGB frame to another."""

_MIN_SIDE_PX = 64  # below, DIS has one scale, and finds no motion over 4 px


def estimate_dis(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> Flow:
    """Estimate flow by dense inverse search [1]_, the preset ``medium`` of OpenCV.

    Parameters
    ----------
    first, second : (H, W, 3) ndarray of uint8
        RGB. Frames smaller than 64 px are enlarged before.

    Returns
    -------
    (H, W, 2) ndarray of float32
    """
    height, width = first.shape[:2]
    scale = -(-_MIN_SIDE_PX // min(height, width))
    gray = [cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY) for frame in (first, second)]
    if scale > 1:
        gray = [cv2.resize(one, None, fx=scale, fy=scale, interpolation=cv2.INTER_CUBIC) for one in gray]
    # A new object for each pair: one that has seen a small frame keeps its coarsest scale.
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    flow = np.asarray(dis.calc(gray[0], gray[1], None), dtype=np.float32)  # type: ignore[call-overload]
    if scale > 1:
        flow = np.asarray(cv2.resize(flow, (width, height), interpolation=cv2.INTER_AREA) / np.float32(scale))
    return flow


def mean_flow(sharp: NDArray[np.uint8], estimate: FlowEstimator = estimate_dis) -> Flow:
    """Return the mean of the flows from each frame of a sequence to the next.

    Every pair is estimated both ways, so that the mean flow of the reversed sequence is its negative.

    Parameters
    ----------
    sharp : (T, H, W, 3) ndarray of uint8
        RGB.
    estimate : callable, optional
        Estimates the flow between two frames; DIS by default.

    Returns
    -------
    (H, W, 2) ndarray of float32
        x and y in pixels from one frame to the next.
    """
    total = np.zeros((*sharp.shape[1:3], 2), dtype=np.float64)
    for first, second in itertools.pairwise(sharp):
        total += estimate(first, second)
        total -= estimate(second, first)
    return np.asarray(total / (2 * (len(sharp) - 1)), dtype=np.float32)
