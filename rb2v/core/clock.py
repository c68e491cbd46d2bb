"""The line that takes one camera's clock to the other's, through the estimates of single frames."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.stats import siegelslopes

MIN_FRAMES = 3

_MAX_MEDIAN_FRAMES = 1000
_MAX_ROUNDS = 100


def fit_clock(
    blurry_times: NDArray[np.float64], sharp_times: NDArray[np.float64], tolerance_seconds: float
) -> tuple[float, float, float, NDArray[np.bool_]]:
    """Fit ``sharp = offset + (1 + drift) blurry`` robustly.

    A repeated-median line finds the frames that agree, least squares through those gives the answer.

    Parameters
    ----------
    blurry_times : (n,) ndarray of float64
        Presentation times of blurry frames in seconds.
    sharp_times : (n,) ndarray of float64
        The sharp camera's times of the same instants, each estimated from its frame alone, in seconds.
    tolerance_seconds : float
        A frame further off the line is an outlier.

    Returns
    -------
    offset_seconds : float
        Sharp time at blurry time 0.
    drift : float
        Relative difference of the rates.
    residual_seconds : float
        Robust standard deviation of the inliers about the line.
    inliers : (n,) ndarray of bool
        Frames that carry the line: least squares through these, and no others, give it.

    Raises
    ------
    ValueError
        If fewer than three frames, or fewer than half, agree on a line.

    References
    ----------
    .. [1] Siegel, "Robust regression using repeated medians", Biometrika 69 (1982).
    """
    n = len(blurry_times)
    if n < MIN_FRAMES:
        raise ValueError(f"a clock needs {MIN_FRAMES} frames, got {n}")
    center = blurry_times.mean()
    t, lag = blurry_times - center, sharp_times - blurry_times
    # The median of medians takes memory by the square of its frames; evenly spread ones tell the line as well.
    some = np.linspace(0, n - 1, min(n, _MAX_MEDIAN_FRAMES)).round().astype(int)
    slope, intercept = siegelslopes(lag[some], t[some])
    near = np.abs(lag - intercept - slope * t) <= tolerance_seconds
    # Either half of a round lowers the sum of squares cut off at the tolerance, so that the set settles.
    for _ in range(_MAX_ROUNDS):
        inliers = near
        if inliers.sum() < max(MIN_FRAMES, n / 2):
            raise ValueError(f"only {int(inliers.sum())} of {n} frames agree on a clock")
        slope, intercept = np.polyfit(t[inliers], lag[inliers], 1)
        residuals = lag - intercept - slope * t
        near = np.abs(residuals) <= tolerance_seconds
        if np.array_equal(near, inliers):
            break
    residual_seconds = 1.4826 * float(np.median(np.abs(residuals[inliers])))
    return float(intercept - slope * center), float(slope), residual_seconds, inliers
