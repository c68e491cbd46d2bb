"""Anchor grids of the detectors, and the decoding of their boxes.

References
----------
.. [1] Bazarevsky et al., BlazeFace: Sub-millisecond Neural Face Detection on Mobile GPUs, CVPR workshop 2019.
.. [2] Zhang et al., MediaPipe Hands: On-device Real-time Hand Tracking, CVPR workshop 2020.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

ANCHORS_PER_CELL = ((8, 2), (16, 6))
"""Stride in px, and anchors in each cell, of both detectors' grids [1]_: 896 boxes at 128 px, 2016 at 192 px."""
_MAX_LOGIT = 100.0  # beyond it a sigmoid in float32 is 0 or 1


def make_anchors(side: int) -> NDArray[np.float64]:
    """Return the centers of all anchors, in the order of the network's boxes.

    Parameters
    ----------
    side : int
        Side of the network's input, in px; a multiple of 16.

    Returns
    -------
    (n, 2) ndarray of float64
        x and y, in shares of the side.

    Examples
    --------
    >>> len(make_anchors(128)), len(make_anchors(192))
    (896, 2016)
    """
    grids = []
    for stride, n_anchors in ANCHORS_PER_CELL:
        n_cells = side // stride
        centers = (np.arange(n_cells) + 0.5) / n_cells
        y, x = np.meshgrid(centers, centers, indexing="ij")
        grids.append(np.repeat(np.stack([x.ravel(), y.ravel()], axis=1), n_anchors, axis=0))
    return np.concatenate(grids)


def decode_boxes(raw: NDArray[np.float32], anchors: NDArray[np.float64], side: int) -> NDArray[np.float64]:
    """Return corners and keypoints of boxes.

    Parameters
    ----------
    raw : (n, 4 + 2 k) ndarray of float32
        The network's numbers: center, width and height, then k keypoints, in px of its input and from the anchor.
    anchors : (n, 2) ndarray of float64
        Of `make_anchors`.
    side : int
        Side of the network's input, in px.

    Returns
    -------
    (n, 2 + k, 2) ndarray of float64
        Top-left corner, bottom-right corner and keypoints: x and y in shares of the side.
    """
    numbers = raw.astype(np.float64).reshape(len(raw), raw.shape[1] // 2, 2) / side
    center, half = numbers[:, 0] + anchors, numbers[:, 1] / 2
    keypoints = numbers[:, 2:] + anchors[:, None]
    return np.concatenate([(center - half)[:, None], (center + half)[:, None], keypoints], axis=1)


def sigmoid(logits: NDArray[np.float32]) -> NDArray[np.float64]:
    """Return the logistic function of logits, of any shape."""
    return np.asarray(1 / (1 + np.exp(-np.clip(logits.astype(np.float64), -_MAX_LOGIT, _MAX_LOGIT))))


def merge_boxes(
    boxes: NDArray[np.float64], scores: NDArray[np.float64], max_overlap: float
) -> list[tuple[NDArray[np.float64], float]]:
    """Merge boxes that overlap into their mean, weighted by score: non-maximum suppression that blends [1]_.

    Parameters
    ----------
    boxes : (n, 2 + k, 2) ndarray of float64
        Of `decode_boxes`.
    scores : (n,) ndarray of float64
        In 0..1.
    max_overlap : float
        Intersection over union beyond which two boxes are one object.

    Returns
    -------
    list of ((2 + k, 2) ndarray of float64, float)
        Boxes and the highest scores in them, best first.
    """
    order = np.argsort(-scores, kind="stable")
    boxes, scores = boxes[order], scores[order]
    merged = []
    while len(boxes):
        is_same = intersection_over_union(boxes[0, :2], boxes[:, :2]) > max_overlap
        is_same[0] = True
        weights = scores[is_same]
        merged.append((np.tensordot(weights / weights.sum(), boxes[is_same], axes=1), float(scores[0])))
        boxes, scores = boxes[~is_same], scores[~is_same]
    return merged


def intersection_over_union(corners: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the intersection over union of a box with others.

    Parameters
    ----------
    corners : (2, 2) ndarray of float64
        Top-left and bottom-right corner.
    others : (n, 2, 2) ndarray of float64
        Likewise.

    Returns
    -------
    (n,) ndarray of float64
        In 0..1; 0 for boxes without an area.
    """
    sides = np.minimum(corners[1], others[:, 1]) - np.maximum(corners[0], others[:, 0])
    shared = np.prod(np.clip(sides, 0, None), axis=1)
    areas = np.prod(np.clip(others[:, 1] - others[:, 0], 0, None), axis=1)
    union = areas + float(np.prod(np.clip(corners[1] - corners[0], 0, None))) - shared
    return np.asarray(np.divide(shared, union, out=np.zeros_like(shared), where=union > 0))
