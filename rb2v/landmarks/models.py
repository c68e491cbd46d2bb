"""Landmark models: a detector that finds crops, and a network that measures the points in one."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from rb2v.choices import LandmarkTarget
from rb2v.landmarks.crops import Crop
from rb2v.landmarks.dlib_face import DlibFaceModel
from rb2v.landmarks.face import MESH_OF_68, FaceModel
from rb2v.landmarks.face import N_POINTS as N_MESH_POINTS
from rb2v.landmarks.hand import HandModel
from rb2v.landmarks.instance import Landmarks

__all__ = ["LANDMARK_MODELS", "LandmarkModel", "Landmarks", "load_models", "select_points"]


class LandmarkModel(Protocol):
    """What finds the landmarks of faces or of hands."""

    target: LandmarkTarget
    can_mirror: bool
    """Whether it measures in mirrored crops, too: its points keep their numbers in a mirror."""

    def find(self, image: NDArray[np.uint8], min_score: float) -> list[Crop]:
        """Return crops about what is found in an (H, W, 3) RGB image of uint8, best first."""
        ...

    def measure(self, image: NDArray[np.uint8], crop: Crop) -> Landmarks:
        """Return the landmarks in a crop, with the score that there are any."""
        ...

    def follow(self, landmarks: Landmarks) -> Crop:
        """Return the crop in which to measure the same face or hand again, in this frame or the next."""
        ...


LANDMARK_MODELS: Mapping[LandmarkTarget, Callable[[], LandmarkModel]] = MappingProxyType(
    {"face": FaceModel, "hand": HandModel}
)
"""Models by what they find."""


def load_models(targets: Sequence[LandmarkTarget], face_weights: Path | None = None) -> list[LandmarkModel]:
    """Return the models of several targets, each once.

    Parameters
    ----------
    targets : sequence of {"face", "hand"}
        What to find.
    face_weights : Path, optional
        dlib's file of 68 points, to measure faces with instead of the mesh; see `rb2v.landmarks.dlib_face`.

    Raises
    ------
    InputError
        If weights are missing or not the right ones, or dlib is not installed.
    """
    loaded: list[LandmarkModel] = []
    for target in dict.fromkeys(targets):
        if target == "face" and face_weights is not None:
            loaded.append(DlibFaceModel(face_weights))
        else:
            loaded.append(LANDMARK_MODELS[target]())
    return loaded


def select_points(landmarks: Landmarks, points: Literal["68", "all"]) -> NDArray[np.float64]:
    """Return the points that are asked for: of a mesh 68 or all, of anything else all.

    Returns
    -------
    (n, 2) ndarray of float64
        x and y in px.
    """
    is_mesh = len(landmarks.points) == N_MESH_POINTS
    return landmarks.points[list(MESH_OF_68)] if is_mesh and points == "68" else landmarks.points
