"""The 68 points of a face by dlib's shape predictor, where dlib and its file are at hand.

References
----------
.. [1] Kazemi and Sullivan, One Millisecond Face Alignment with an Ensemble of Regression Trees, CVPR 2014.
"""

from __future__ import annotations

import dataclasses
import math
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rb2v.choices import LandmarkTarget
from rb2v.errors import InputError, require_file
from rb2v.landmarks.crops import Crop, bounding_crop
from rb2v.landmarks.detector import BoxDetector
from rb2v.landmarks.face import OUTER_EYE_CORNERS, find_faces, load_face_detector
from rb2v.landmarks.instance import Landmarks

_N_POINTS = 68  # of iBUG 300-W, to which the file was fitted
_SIDE_PX = (
    768  # of the upright crop in which dlib measures: it gives whole pixels, then a sixth of one in a face of 60 px
)
_BOX_SHARE = 0.5  # of the crop: as much room around the box as dlib's features may need
_POINTS_SCALE = (
    2.1  # from the points' rectangle to the crop; with boxes of 1.0 to 1.2 rectangles dlib agrees with itself
)
_DETECTOR_SCALE = 1.42  # from the crop of the mesh to this one, which makes both boxes alike on a real face
_EXPECTED = "shape_predictor_68_face_landmarks.dat of dlib"


class DlibFaceModel:
    """Face detector of short range, and dlib's trees for the points [1]_.

    The trees were fitted to iBUG 300-W, whose license admits no commercial product.

    Parameters
    ----------
    weights : Path
        dlib's ``shape_predictor_68_face_landmarks.dat``.

    Raises
    ------
    InputError
        If dlib is not installed, or the file is missing, damaged, or of another number of points.
    """

    target: LandmarkTarget = "face"
    can_mirror = False

    def __init__(self, weights: Path) -> None:
        require_file(weights, _EXPECTED)
        try:
            self._dlib: Any = import_module("dlib")
        except ImportError as error:
            raise InputError(weights, "dlib, which reads it, is not installed", expected="pip install dlib") from error
        self._detector: BoxDetector = load_face_detector()
        try:
            self._predictor = self._dlib.shape_predictor(str(weights))
            n_points = self._predict(np.zeros((_SIDE_PX, _SIDE_PX, 3), dtype=np.uint8)).shape[0]
        except (RuntimeError, MemoryError) as error:  # dlib says no more of what it cannot read
            raise InputError(weights, "dlib cannot read it", expected=_EXPECTED) from error
        if n_points != _N_POINTS:
            raise InputError(weights, f"predicts {n_points} points", expected=_EXPECTED)

    def find(self, image: NDArray[np.uint8], min_score: float) -> list[Crop]:
        """Return crops about the faces in an image, level from eye to eye."""
        crops = find_faces(self._detector, image, min_score)
        return [dataclasses.replace(crop, side=crop.side * _DETECTOR_SCALE) for crop in crops]

    def measure(self, image: NDArray[np.uint8], crop: Crop) -> Landmarks:
        """Return the 68 points in a crop; dlib gives no score."""
        points = self._predict(crop.cut(image, _SIDE_PX))
        return Landmarks(crop.to_image(points, _SIDE_PX), 1.0)

    def follow(self, landmarks: Landmarks) -> Crop:
        """Return the crop about a face, level from eye to eye."""
        right, left = landmarks.points[list(OUTER_EYE_CORNERS)]
        rightward = left - right
        angle = math.atan2(float(rightward[1]), float(rightward[0]))
        return bounding_crop(landmarks.points, angle, scale=_POINTS_SCALE)

    def _predict(self, picture: NDArray[np.uint8]) -> NDArray[np.float64]:
        low, high = round(_SIDE_PX * (1 - _BOX_SHARE) / 2), round(_SIDE_PX * (1 + _BOX_SHARE) / 2)
        box = self._dlib.rectangle(low, low, high, high)
        shape = self._predictor(np.ascontiguousarray(picture), box)
        return np.array([(point.x, point.y) for point in shape.parts()], dtype=np.float64)
