"""The colour map from a 24-patch checker."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from rb2v.artifacts import Rig
from rb2v.core.color import apply_color_map, delta_e_2000, fit_color_map, from_linear, to_linear
from rb2v.core.homography import Homography, warp_image, warp_points
from rb2v.errors import InputError
from rb2v.io.video import read_image
from rb2v.stages.calibrate.captures import Capture, Image, check_size, size_of


def fit_checker(
    pair: tuple[Path, Path], homography: Homography, rig: Rig, reference: Capture
) -> tuple[NDArray[np.float64], float]:
    """Return the colour map in linear light from the checker's patches, and the difference that it leaves."""
    blurry, sharp = (read_image(path) for path in pair)
    for path, image, other in zip(pair, (blurry, sharp), (reference.blurry, reference.sharp), strict=True):
        check_size(path, image, other, "the geometry captures")
    warped = warp_image(sharp, homography, size_of(blurry))
    quads = _find_patches(blurry)
    if quads is None:
        raise InputError(
            pair[0], "no 24-patch colour checker was found", expected="the whole chart, upright and in focus"
        )
    corners = warp_points(np.linalg.inv(homography), quads.reshape(-1, 2))
    if corners.min() < 0 or (corners.max(axis=0) > np.array(size_of(sharp)) - 1).any():
        raise InputError(pair[1], "does not hold the whole colour checker", expected="the chart inside both views")
    target = _patch_means(to_linear(blurry, rig.response), quads)
    source = _patch_means(to_linear(warped, rig.response), quads)
    unclipped = (np.maximum(source, target) < 0.98).all(axis=1)
    try:
        color = fit_color_map(source[unclipped], target[unclipped])
    except ValueError as error:
        raise InputError(pair[1], f"the checker's patches give no colour map: {error}") from error
    # The difference is one of the light, so that it is coded as sRGB whatever the camera's response is.
    delta_e = delta_e_2000(from_linear(apply_color_map(color, source), "srgb"), from_linear(target, "srgb"))
    return color, float(delta_e.mean())


def _find_patches(image: Image) -> NDArray[np.float64] | None:
    """Return the corners of the 24 patches, (24, 4, 2) pixels, or None where there is no chart."""
    detector = cv2.mcc.CCheckerDetector.create()
    detector.setColorChartType(cv2.mcc.MCC24)
    if not detector.process(cv2.cvtColor(image, cv2.COLOR_RGB2BGR), 1):
        return None
    return np.asarray(detector.getBestColorChecker().getColorCharts(), dtype=np.float64).reshape(24, 4, 2)


def _patch_means(linear: NDArray[np.float32], quads: NDArray[np.float64]) -> NDArray[np.float64]:
    means = []
    for quad in quads:
        center = quad.mean(axis=0)
        inner = np.rint(center + 0.6 * (quad - center)).astype(np.int32)
        mask = np.zeros(linear.shape[:2], dtype=np.uint8)
        cv2.fillConvexPoly(mask, inner, 1)
        means.append(linear[mask > 0].mean(axis=0))
    return np.array(means, dtype=np.float64)
