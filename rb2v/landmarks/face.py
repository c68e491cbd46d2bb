"""The points of a face: 468 of a mesh, and the 68 of iBUG 300-W among them.

References
----------
.. [1] Kartynnik et al., Real-time Facial Surface Geometry from Monocular Video on Mobile GPUs, CVPR workshop 2019.
.. [2] Sagonas et al., 300 Faces in-the-Wild Challenge, ICCV workshop 2013, Figure 1 for the 68 points.
"""

from __future__ import annotations

import dataclasses
import math

import numpy as np
from numpy.typing import NDArray

from rb2v.choices import LandmarkTarget
from rb2v.landmarks.anchors import sigmoid
from rb2v.landmarks.crops import Crop, bounding_crop, whole_image
from rb2v.landmarks.detector import BoxDetector, Detection
from rb2v.landmarks.instance import Landmarks
from rb2v.landmarks.weights import TfliteNetwork

N_POINTS = 468
"""Points of the mesh [1]_."""
MESH_OF_68 = (
    *(162, 234, 93, 58, 172, 136, 149, 148, 152, 377, 378, 365, 397, 288, 323, 454, 389),
    *(71, 63, 105, 66, 107, 336, 296, 334, 293, 301),
    *(168, 197, 5, 4, 75, 97, 2, 326, 305),
    *(33, 160, 158, 133, 153, 144, 362, 385, 387, 263, 373, 380),
    *(61, 39, 37, 0, 267, 269, 291, 405, 314, 17, 84, 181),
    *(78, 82, 13, 312, 308, 317, 14, 87),
)
"""The mesh point nearest to each of the 68 [2]_: jaw, brows, nose, eyes, outer and inner lips. Of the jaw's points the
mesh has those on the skin, which 300-W marks on the outline."""
OUTER_EYE_CORNERS = (36, 45)
"""Of the 68: their distance is the inter-ocular distance that errors are divided by [2]_."""

_DETECTOR_SIDE_PX, _SIDE_PX = 128, 192  # inputs of the two networks
_DETECTOR_KEYPOINTS = 6  # eyes, nose, mouth, ears
_EYES, _MESH_EYES = (0, 1), (33, 263)  # right and left eye, of the detector and of the mesh
_PART = 0.6  # of the image's side: four parts share a fifth of it, in which a face of their smallest size fits
_SCALE = 1.5  # from a face's box to the crop that the mesh's network was trained with


def load_face_detector() -> BoxDetector:
    """Return the face detector of short range.

    Raises
    ------
    InputError
        If its weights are not here.
    """
    return BoxDetector(TfliteNetwork("face_detection.tflite", _DETECTOR_SIDE_PX, low=-1.0), _DETECTOR_KEYPOINTS)


def find_faces(detector: BoxDetector, image: NDArray[np.uint8], min_score: float) -> list[Crop]:
    """Find faces at any angle, and small ones where there are no large ones.

    The detector knows upright faces, and none below an eighth of the image's side: it looks at the image turned by
    quarters, and, where that shows nothing, at overlapping parts of it.

    Parameters
    ----------
    detector : BoxDetector
        The face detector.
    image : (H, W, 3) ndarray of uint8
        RGB.
    min_score : float
        In 0..1.

    Returns
    -------
    list of Crop
        Level from eye to eye, surest first.
    """
    whole = whole_image(image)
    offsets = np.array([(-1, -1), (1, -1), (-1, 1), (1, 1)]) * whole.side * (1 - _PART) / 2
    parts = [Crop((whole.center[0] + x, whole.center[1] + y), whole.side * _PART) for x, y in offsets.tolist()]
    faces: list[Detection] = []
    for looked_at in ([whole], parts):
        for crop in looked_at:
            for quarters in range(4):
                turned = dataclasses.replace(crop, angle=quarters * math.pi / 2)
                faces += detector.detect(image, min_score, turned)
        if faces:
            break
    crops = []
    for face in sorted(faces, key=lambda face: -face.score):
        right, left = face.keypoints[list(_EYES)]
        x, y = (float(value) for value in face.center)
        crops.append(Crop((x, y), _SCALE * float(face.sides.max()), _level_angle(left - right)))
    return crops


class FaceModel:
    """Face detector of short range and face mesh.

    Raises
    ------
    InputError
        If their weights are not here.
    """

    target: LandmarkTarget = "face"
    can_mirror = False

    def __init__(self) -> None:
        self._detector = load_face_detector()
        self._network = TfliteNetwork("face_landmark.tflite", _SIDE_PX)

    def find(self, image: NDArray[np.uint8], min_score: float) -> list[Crop]:
        """Return crops about the faces in an image, level from eye to eye."""
        return find_faces(self._detector, image, min_score)

    def measure(self, image: NDArray[np.uint8], crop: Crop) -> Landmarks:
        """Return the 468 points in a crop."""
        numbers, presence = self._network(crop.cut(image, _SIDE_PX), [3 * N_POINTS, 1])
        points = crop.to_image(numbers.reshape(N_POINTS, 3)[:, :2], _SIDE_PX)
        return Landmarks(points, float(sigmoid(presence)[0]))

    def follow(self, landmarks: Landmarks) -> Crop:
        """Return the crop about a face, level from eye to eye."""
        right, left = landmarks.points[list(_MESH_EYES)]
        return bounding_crop(landmarks.points, _level_angle(left - right), scale=_SCALE)


def interocular_distance(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the distance between the outer corners of the eyes.

    Parameters
    ----------
    points : (..., 68, 2) ndarray of float64
        The 68 points of faces.

    Returns
    -------
    (...) ndarray of float64
        In units of the points.
    """
    right, left = (points[..., index, :] for index in OUTER_EYE_CORNERS)
    return np.asarray(np.linalg.norm(left - right, axis=-1))


def _level_angle(rightward: NDArray[np.float64]) -> float:
    return math.atan2(float(rightward[1]), float(rightward[0]))
