"""A landmark model that needs no network: bright spots on a dark ground, each with 21 or 68 points around it."""

import cv2
import numpy as np

from rb2v.landmarks.crops import Crop
from rb2v.landmarks.instance import Landmarks

RADIUS_PX = 6
SIDE_PX = 40.0


def draw_spots(*centers, size=(160, 120)):
    """Return an image with a spot at each center."""
    width, height = size
    image = np.zeros((height, width, 3), dtype=np.uint8)
    for x, y in centers:
        cv2.circle(image, (round(x), round(y)), RADIUS_PX, (255, 255, 255), cv2.FILLED)
    return image


class SpotModel:
    """Counts how often the detector runs."""

    can_mirror = False

    def __init__(self, target="hand"):
        self.target = target
        self.n_searches = 0
        angles = np.linspace(0, 2 * np.pi, {"hand": 21, "face": 68}[target], endpoint=False)
        self._ring = 10 * np.stack([np.cos(angles), np.sin(angles)], axis=1)

    def find(self, image, min_score):
        self.n_searches += 1
        _, _, _, centers = cv2.connectedComponentsWithStats((image[..., 0] > 128).astype(np.uint8))
        return [Crop((float(x), float(y)), SIDE_PX) for x, y in centers[1:]]

    def measure(self, image, crop):
        x, y = (round(value) for value in crop.center)
        half = round(crop.side / 2)
        rows, columns = np.nonzero(image[max(y - half, 0) : y + half, max(x - half, 0) : x + half, 0] > 128)
        if not len(rows):
            return Landmarks(self._ring + crop.center, 0.0)
        middle = np.array([columns.mean() + max(x - half, 0), rows.mean() + max(y - half, 0)])
        return Landmarks(self._ring + middle, 0.9)

    def follow(self, landmarks):
        x, y = landmarks.points.mean(axis=0)
        return Crop((float(x), float(y)), SIDE_PX)
