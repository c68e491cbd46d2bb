"""Boxes of faces and palms in an image."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from rb2v.landmarks.anchors import decode_boxes, make_anchors, merge_boxes, sigmoid
from rb2v.landmarks.crops import Crop, whole_image
from rb2v.landmarks.weights import TfliteNetwork

_MAX_OVERLAP = 0.3  # MediaPipe's own, for both networks


@dataclass(frozen=True, eq=False)
class Detection:
    """A face or palm that was found."""

    center: NDArray[np.float64]
    """(2,): in px of the image."""
    sides: NDArray[np.float64]
    """(2,): width and height along the axes of the crop in which it was found, in px of the image."""
    angle: float
    """Of that crop, in radians."""
    keypoints: NDArray[np.float64]
    """(k, 2): in px of the image."""
    score: float
    """In 0..1."""


class BoxDetector:
    """A detector by anchors.

    Parameters
    ----------
    network : TfliteNetwork
        The face or palm detector.
    n_keypoints : int
        Keypoints in each box.
    """

    def __init__(self, network: TfliteNetwork, n_keypoints: int) -> None:
        self._network = network
        self._anchors = make_anchors(network.side)
        self._n_numbers = 4 + 2 * n_keypoints

    def detect(self, image: NDArray[np.uint8], min_score: float, crop: Crop | None = None) -> list[Detection]:
        """Find faces or palms.

        Parameters
        ----------
        image : (H, W, 3) ndarray of uint8
            RGB.
        min_score : float
            In 0..1.
        crop : Crop, optional
            Where to look; at the whole image by default.

        Returns
        -------
        list of Detection
            Best first.
        """
        side, n_anchors = self._network.side, len(self._anchors)
        crop = whole_image(image) if crop is None else crop
        picture = crop.cut(image, side, border=cv2.BORDER_CONSTANT)
        logits, raw = self._network(picture, [n_anchors, n_anchors * self._n_numbers])
        scores = sigmoid(logits)
        chosen = scores >= min_score
        boxes = decode_boxes(raw.reshape(n_anchors, -1)[chosen], self._anchors[chosen], side)
        found = []
        for box, score in merge_boxes(boxes, scores[chosen], _MAX_OVERLAP):
            center = crop.to_image((box[0] + box[1]) / 2 * side, side)
            keypoints = crop.to_image(box[2:] * side, side)
            found.append(Detection(center, (box[1] - box[0]) * crop.side, crop.angle, keypoints, score))
        return found
