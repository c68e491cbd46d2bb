"""The 21 points of a hand.

References
----------
.. [1] Zhang et al., MediaPipe Hands: On-device Real-time Hand Tracking, CVPR workshop 2020, Figure 2 for the points.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from rb2v.choices import LandmarkTarget
from rb2v.landmarks.crops import Crop, bounding_crop
from rb2v.landmarks.detector import BoxDetector
from rb2v.landmarks.instance import Landmarks
from rb2v.landmarks.weights import TfliteNetwork

N_POINTS = 21
"""Wrist, then four points of each finger from its root to its tip, thumb first [1]_."""
WRIST, INDEX_TIP, MIDDLE_ROOT = 0, 8, 9
"""Points that others refer to."""

_DETECTOR_SIDE_PX, _SIDE_PX = 192, 224  # inputs of the two networks
_PALM_KEYPOINTS = 7  # wrist, roots of index, middle, ring and little finger, two of the thumb
_PALM_WRIST, _PALM_MIDDLE = 0, 2  # of these
_PALM_SCALE, _PALM_SHIFT = 2.6, -0.5  # from a palm's box to the crop that the points' network was trained with
_PALM = (0, 1, 2, 3, 5, 6, 9, 10, 13, 14, 17, 18)  # points that move little when fingers do
_POINTS_SCALE, _POINTS_SHIFT = 2.0, -0.1  # from their rectangle to that crop
_INDEX_ROOT, _RING_ROOT = 5, 13  # points whose mean, with the middle finger's root, is the palm's top


class HandModel:
    """Palm detector and hand landmark network.

    Raises
    ------
    InputError
        If their weights are not here.
    """

    target: LandmarkTarget = "hand"
    can_mirror = True

    def __init__(self) -> None:
        self._detector = BoxDetector(TfliteNetwork("palm_detection.tflite", _DETECTOR_SIDE_PX), _PALM_KEYPOINTS)
        self._network = TfliteNetwork("hand_landmark.tflite", _SIDE_PX)

    def find(self, image: NDArray[np.uint8], min_score: float) -> list[Crop]:
        """Return crops about the hands in an image, upright from wrist to middle finger."""
        crops = []
        for palm in self._detector.detect(image, min_score):
            upward = palm.keypoints[_PALM_MIDDLE] - palm.keypoints[_PALM_WRIST]
            angle = _upright_angle(upward)
            # The box is as wide as the palm at any angle: it is turned about its center, not fitted anew.
            down = Crop((0.0, 0.0), 1.0, angle).axes[:, 1]
            x, y = palm.center + down * _PALM_SHIFT * palm.sides[1]
            crops.append(Crop((float(x), float(y)), _PALM_SCALE * float(palm.sides.max()), angle))
        return crops

    def measure(self, image: NDArray[np.uint8], crop: Crop) -> Landmarks:
        """Return the 21 points in a crop."""
        numbers, presence = self._network(crop.cut(image, _SIDE_PX), [3 * N_POINTS, 1])
        points = crop.to_image(numbers.reshape(N_POINTS, 3)[:, :2], _SIDE_PX)
        return Landmarks(points, float(presence[0]))  # a probability already

    def follow(self, landmarks: Landmarks) -> Crop:
        """Return the crop about a palm, upright from the wrist to the fingers' roots."""
        points = landmarks.points
        top = (points[[_INDEX_ROOT, _RING_ROOT]].mean(axis=0) + points[MIDDLE_ROOT]) / 2
        angle = _upright_angle(top - points[WRIST])
        return bounding_crop(points[list(_PALM)], angle, scale=_POINTS_SCALE, shift=_POINTS_SHIFT)


def hand_size(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the distance from the wrist to the root of the middle finger.

    Parameters
    ----------
    points : (..., 21, 2) ndarray of float64
        Points of hands.

    Returns
    -------
    (...) ndarray of float64
        In units of the points.
    """
    return np.asarray(np.linalg.norm(points[..., MIDDLE_ROOT, :] - points[..., WRIST, :], axis=-1))


def _upright_angle(upward: NDArray[np.float64]) -> float:
    return math.atan2(float(upward[0]), -float(upward[1]))
