"""Landmarks of faces and hands: detection in images, tracking through videos, and their trajectories."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rb2v.lazy import lazy_names

if TYPE_CHECKING:
    from rb2v.landmarks.config import LandmarkConfig
    from rb2v.landmarks.crops import Crop
    from rb2v.landmarks.instance import Landmarks
    from rb2v.landmarks.models import LANDMARK_MODELS, LandmarkModel, load_models
    from rb2v.landmarks.stage import TargetCount, write_landmarks
    from rb2v.landmarks.tracking import Tracker, find_landmarks
    from rb2v.landmarks.trajectories import SequenceScore, score_sequence

__all__ = [
    "LANDMARK_MODELS",
    "Crop",
    "LandmarkConfig",
    "LandmarkModel",
    "Landmarks",
    "SequenceScore",
    "TargetCount",
    "Tracker",
    "find_landmarks",
    "load_models",
    "score_sequence",
    "write_landmarks",
]

__getattr__ = lazy_names(
    __name__,
    {
        "rb2v.landmarks.config": ("LandmarkConfig",),
        "rb2v.landmarks.crops": ("Crop",),
        "rb2v.landmarks.instance": ("Landmarks",),
        "rb2v.landmarks.models": ("LANDMARK_MODELS", "LandmarkModel", "load_models"),
        "rb2v.landmarks.stage": ("TargetCount", "write_landmarks"),
        "rb2v.landmarks.tracking": ("Tracker", "find_landmarks"),
        "rb2v.landmarks.trajectories": ("SequenceScore", "score_sequence"),
    },
)
