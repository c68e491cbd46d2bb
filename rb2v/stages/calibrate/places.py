"""Where a pixel that one camera records lies in the other camera's picture."""

from __future__ import annotations

import numpy as np

from rb2v.artifacts import Calibration, Lens
from rb2v.core.homography import warp_points
from rb2v.core.lens import distort_points, undistort_points
from rb2v.stages.calibrate.captures import Points


def to_blurry(calibration: Calibration, points: Points) -> Points:
    """Take recorded pixels of the sharp camera to recorded pixels of the blurry one, as registered.

    Returns
    -------
    (n, 2) ndarray of float64
        NaN where a lens takes no point.
    """
    plane = warp_points(calibration.homography, _undistort(points, calibration.lens_sharp))
    return record(plane, calibration.lens_blurry)


def to_sharp(calibration: Calibration, points: Points) -> Points:
    """Take recorded pixels of the blurry camera to recorded pixels of the sharp one; the inverse of `to_blurry`."""
    back = np.linalg.inv(calibration.homography)
    return record(warp_points(back, _undistort(points, calibration.lens_blurry)), calibration.lens_sharp)


def _undistort(points: Points, lens: Lens | None) -> Points:
    return points if lens is None else undistort_points(points, lens.matrix, lens.distortion)


def record(points: Points, lens: Lens | None) -> Points:
    """Take pixels that registration works in, undistorted where there is a lens, to those that the camera records."""
    return points if lens is None else distort_points(points, lens.matrix, lens.distortion)
