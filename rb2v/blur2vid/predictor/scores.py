"""Scores of predicted guidance: nearness to the truth, diversity, and consistency within moving regions."""

from __future__ import annotations

import itertools
from collections.abc import Mapping

import cv2
import numpy as np
from numpy.typing import NDArray

from rb2v.core.motion_classes import N_CLASSES, STATIC, VECTORS, reverse

CONSISTENT_SHARE = 0.9
"""Share of a region's moving pixels that have to go one way along its true motion."""
MIN_REGION_SHARE = 0.01
"""Share of the image below which a region is not looked at, as the authors drop samples of which less moves."""

Classes = NDArray[np.uint8]


def accuracy(predicted: Classes, truth: Classes) -> float:
    """Return the share of pixels whose class is right, of maps (H, W)."""
    return float(np.mean(predicted == truth))


def direction_free_accuracy(predicted: Classes, truth: Classes) -> float:
    """Return the accuracy against the truth or its reversal, whichever is higher."""
    return max(accuracy(predicted, truth), accuracy(predicted, reverse(truth)))


def diversity(samples: NDArray[np.uint8]) -> float:
    """Return the share of pixels in which two samples of (n, H, W) differ, mean over all pairs; 0 for one sample."""
    pairs = list(itertools.combinations(range(len(samples)), 2))
    return float(np.mean([np.mean(samples[a] != samples[b]) for a, b in pairs])) if pairs else 0.0


def moving_regions(truth: Classes) -> list[NDArray[np.bool_]]:
    """Return the regions of one true direction, as masks (H, W): connected, and at least 1 % of the image."""
    regions = []
    for index in range(1, N_CLASSES):
        n_parts, parts = cv2.connectedComponents((truth == index).astype(np.uint8), connectivity=4)
        regions += [parts == part for part in range(1, n_parts) if np.mean(parts == part) >= MIN_REGION_SHARE]
    return regions


def is_consistent(predicted: Classes, truth: Classes) -> bool:
    """Tell whether every moving region goes one way: with its true motion or against it, not both.

    Within a region 90 % of the pixels that are predicted to move along its true direction must agree on with or
    against; those predicted across it, or static, do not count.
    """
    for region in moving_regions(truth):
        direction = VECTORS[truth[region][0]].astype(np.int16)
        along = VECTORS[predicted[region]].astype(np.int16) @ direction
        with_it, against = np.count_nonzero(along > 0), np.count_nonzero(along < 0)
        if max(with_it, against) < CONSISTENT_SHARE * (with_it + against):
            return False
    return True


def score_samples_of(samples: NDArray[np.uint8], truth: Classes) -> Mapping[str, float]:
    """Score the samples of one image.

    Parameters
    ----------
    samples : (n, H, W) ndarray of uint8
        Predicted classes.
    truth : (H, W) ndarray of uint8
        The true ones.

    Returns
    -------
    dict of str to float
        ``accuracy`` and ``accuracy_free``, of the first sample, forward and in the better direction;
        ``best_accuracy``, of the best sample; ``static_accuracy``, of whether a pixel moves, first sample;
        ``diversity``; ``consistent``, the share of samples that are consistent within moving regions.
    """
    return {
        "accuracy": accuracy(samples[0], truth),
        "accuracy_free": direction_free_accuracy(samples[0], truth),
        "best_accuracy": max(accuracy(sample, truth) for sample in samples),
        "static_accuracy": float(np.mean((samples[0] == STATIC) == (truth == STATIC))),
        "diversity": diversity(samples),
        "consistent": float(np.mean([is_consistent(sample, truth) for sample in samples])),
    }
