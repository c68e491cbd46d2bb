"""Errors of recovered trajectories of landmarks against the true ones.

References
----------
.. [1] Pham et al., "HyperCUT", CVPR 2023, Table 5: error of 68 facial landmarks, distance of the index finger's tip.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from rb2v.choices import LandmarkTarget
from rb2v.landmarks.face import interocular_distance
from rb2v.landmarks.hand import INDEX_TIP, hand_size

PENALTY = 1.0
"""Distance, in inter-ocular distances or hand sizes, that a frame counts with in which the landmarks are not found.
What lies further off is another face or hand, and counts as not found too."""

N_POINTS: Mapping[LandmarkTarget, int] = MappingProxyType({"face": 68, "hand": 21})
"""Points of each kind of landmarks."""

Points = NDArray[np.float64]


@dataclass(frozen=True)
class Measure:
    """What is measured of one kind of landmarks."""

    points: tuple[int, ...]
    """Those that are compared, of 68 or 21."""
    power: int
    """Of the distance that is averaged: 2 for a mean squared error, 1 for a distance."""
    size: Callable[[Points], NDArray[np.float64]]
    """What distances are divided by: (..., n, 2) points to (...) lengths."""


MEASURES: Mapping[LandmarkTarget, Measure] = MappingProxyType(
    {
        "face": Measure(tuple(range(68)), 2, interocular_distance),
        "hand": Measure((INDEX_TIP,), 1, hand_size),
    }
)
"""As Table 5 measures [1]_: the 68 points' squared distance, and the distance of the index finger's tip."""


@dataclass(frozen=True)
class SequenceScore:
    """A recovered sequence against the true one; NaN where nothing can be said."""

    true_found: int
    """Frames of the true sequence in which the landmarks were found."""
    found: int
    """Of these, frames of the recovered one in which they were found too, in the better direction."""
    error: float
    """Mean over frames found in both, in the better direction: in px squared for a face, in px for a hand."""
    error_fixed: float
    """The same in the direction in which the sequence was recovered."""
    error_penalized: float
    """The mean over all frames found in the true sequence, each failure counting `PENALTY` sizes, better direction."""
    normalized: float
    """As ``error``, with distances divided by the inter-ocular distance or the hand's size."""
    normalized_fixed: float
    """As ``error_fixed``, divided likewise."""
    normalized_penalized: float
    """As ``error_penalized``, divided likewise."""
    path_px: float
    """Length of the recovered path, from frame to frame over those found in both, mean over the points, in px."""
    true_path_px: float
    """The same of the true path."""
    cosine: float
    """Of the angle between both displacements from the first frame found in both to the last, mean over points."""


def score_sequence(target: LandmarkTarget, true: Points, recovered: Points) -> SequenceScore:
    """Compare the landmarks of a recovered sequence with those of the true one.

    The better direction is that of the smaller error with failures counted, as ``ppsnr_seq`` chooses.

    Parameters
    ----------
    target : {"face", "hand"}
        Kind of landmarks.
    true : (k, n, 2) ndarray of float64
        All 68 or 21 points in every frame: x and y in px; NaN where they were not found.
    recovered : (k, n, 2) ndarray of float64
        Likewise.

    Examples
    --------
    >>> true = np.zeros((2, 21, 2))
    >>> true[:, 9, 1] = 50.0
    >>> true[1, 8, 0] = 3.0
    >>> score = score_sequence("hand", true, true[::-1])
    >>> score.error, score.error_fixed, score.path_px
    (0.0, 3.0, 3.0)
    """
    measure = MEASURES[target]
    size = _mean(measure.size(true))
    points = list(measure.points)
    failure = (PENALTY * size) ** measure.power
    forward, backward = (
        _frame_errors(true[:, points], turned[:, points], measure.power, failure)
        for turned in (recovered, recovered[::-1])
    )
    is_true = np.isfinite(true[:, points]).all(axis=(1, 2))
    penalized = [np.where(np.isfinite(errors), errors, failure)[is_true] for errors in (forward, backward)]
    is_reversed = bool(is_true.any()) and float(penalized[1].mean()) < float(penalized[0].mean())
    best = backward if is_reversed else forward
    turned = recovered[::-1] if is_reversed else recovered
    unit = size**measure.power
    error, fixed, with_failures = _mean(best), _mean(forward), _mean(penalized[int(is_reversed)])
    in_both = np.isfinite(best)
    ours, theirs = turned[in_both][:, points], true[in_both][:, points]
    return SequenceScore(
        true_found=int(is_true.sum()),
        found=int(in_both.sum()),
        error=error,
        error_fixed=fixed,
        error_penalized=with_failures,
        normalized=error / unit,
        normalized_fixed=fixed / unit,
        normalized_penalized=with_failures / unit,
        path_px=_path_length(ours),
        true_path_px=_path_length(theirs),
        cosine=_cosine(ours, theirs),
    )


def stack_points(target: LandmarkTarget, found: Sequence[Points | None]) -> Points:
    """Return the points of every frame as one array, NaN in frames without any.

    Parameters
    ----------
    target : {"face", "hand"}
        Kind of landmarks.
    found : sequence of (n, 2) ndarray of float64 or None
        Points of each frame; None where none were found.

    Returns
    -------
    (k, n, 2) ndarray of float64
    """
    return np.stack([np.full((N_POINTS[target], 2), np.nan) if points is None else points for points in found])


def _frame_errors(true: Points, recovered: Points, power: int, failure: float) -> NDArray[np.float64]:
    """Return the error of every frame; NaN where the landmarks of either are missing, or far apart."""
    errors = (np.linalg.norm(true - recovered, axis=-1) ** power).mean(axis=-1)
    return np.where(errors > failure, np.nan, errors)


def _mean(values: NDArray[np.float64]) -> float:
    known = values[np.isfinite(values)]
    return float(known.mean()) if len(known) else float("nan")


def _path_length(points: Points) -> float:
    if len(points) < 2:  # no step
        return float("nan")
    return float(np.linalg.norm(np.diff(points, axis=0), axis=-1).sum(axis=0).mean())


def _cosine(ours: Points, theirs: Points) -> float:
    if len(ours) < 2:  # no displacement
        return float("nan")
    moved, truly = ours[-1] - ours[0], theirs[-1] - theirs[0]
    lengths = np.linalg.norm(moved, axis=-1) * np.linalg.norm(truly, axis=-1)
    known = lengths > 0
    return float(((moved * truly).sum(axis=-1)[known] / lengths[known]).mean()) if known.any() else float("nan")
