"""The guidance of a sequence by an estimator of flow."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rb2v.interpolation.dense_flow import FlowEstimator, estimate_dis, mean_flow
from rb2v.shards.guidance_files import guidance_of_flow


def guidance_of_sequence(
    sharp: NDArray[np.uint8], static_px: float, estimate: FlowEstimator = estimate_dis
) -> NDArray[np.uint8]:
    """Return the guidance of a sequence at half its size.

    Parameters
    ----------
    sharp : (T, H, W, 3) ndarray of uint8
        RGB.
    static_px : float
        Motion from the first frame to the last below which a pixel is static, in pixels.
    estimate : callable, optional
        Estimates the flow between two frames; DIS by default.

    Returns
    -------
    (h, w) ndarray of uint8
        Classes of `rb2v.core.motion_classes`.
    """
    return guidance_of_flow(mean_flow(sharp, estimate), len(sharp), static_px)
