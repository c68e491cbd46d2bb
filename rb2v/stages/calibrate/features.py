"""Point pairs and homographies from what the scene itself shows."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from rb2v.core.homography import Homography, fit_homography, mirror_homography, warp_image, warp_points
from rb2v.core.phase import similarity_candidates
from rb2v.stages.calibrate.captures import Capture, Points, size_of

MIN_FEATURE_PAIRS = 12  # three times the four that make a homography; by chance so many do not agree


def feature_candidates(capture: Capture) -> list[Homography]:
    """Return the homographies, sharp to blurry, that features support, of the plain and of the mirrored view."""
    candidates = []
    mirror = mirror_homography(capture.sharp.shape[1])
    for flip in (np.eye(3), mirror):
        source, target = match_features(capture, flip)
        if len(source) < MIN_FEATURE_PAIRS:
            continue
        try:
            homography, inliers = fit_homography(source, target, threshold_px=2.0)
        except ValueError:
            continue
        if inliers.sum() >= MIN_FEATURE_PAIRS:
            candidates.append(homography)
    return candidates


def phase_candidates(source: NDArray[np.float32], target: NDArray[np.float32]) -> list[Homography]:
    """Return the homographies that phase correlation of gray images offers, plain and mirrored."""
    mirror = mirror_homography(source.shape[1])
    mirrored = np.ascontiguousarray(source[:, ::-1])
    return similarity_candidates(source, target) + [
        similarity @ mirror for similarity in similarity_candidates(mirrored, target)
    ]


def match_features(capture: Capture, flip: Homography) -> tuple[Points, Points]:
    """Match SIFT features, the sharp image mirrored first where ``flip`` says so; points in original pixels."""
    sift = cv2.SIFT.create(4000)
    described: list[tuple[Any, Any]] = []
    for image, warp in ((capture.sharp, flip), (capture.blurry, np.eye(3))):
        gray = cv2.cvtColor(warp_image(image, warp, size_of(image)), cv2.COLOR_RGB2GRAY)
        described.append(sift.detectAndCompute(gray, None))
    (keypoints_sharp, descriptors_sharp), (keypoints_blurry, descriptors_blurry) = described
    if descriptors_sharp is None or descriptors_blurry is None or min(len(keypoints_sharp), len(keypoints_blurry)) < 2:
        return np.empty((0, 2)), np.empty((0, 2))
    pairs = cv2.BFMatcher().knnMatch(descriptors_sharp, descriptors_blurry, k=2)
    good = [pair[0] for pair in pairs if len(pair) == 2 and pair[0].distance < 0.75 * pair[1].distance]
    source = np.array([keypoints_sharp[match.queryIdx].pt for match in good], dtype=np.float64).reshape(-1, 2)
    target = np.array([keypoints_blurry[match.trainIdx].pt for match in good], dtype=np.float64).reshape(-1, 2)
    return (warp_points(np.linalg.inv(flip), source) if len(source) else source), target
