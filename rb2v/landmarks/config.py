"""Configuration of the landmark detectors."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from rb2v.choices import LANDMARK_TARGETS, LandmarkTarget
from rb2v.configuration import config

_Score = Annotated[float, Field(ge=0, le=1)]


@config
class LandmarkConfig:
    """What is looked for, and how it is tracked."""

    targets: Annotated[tuple[LandmarkTarget, ...], Field(min_length=1)] = LANDMARK_TARGETS
    """What to look for: face, hand, or both."""
    max_instances: Annotated[int, Field(ge=1, le=100)] = 2
    """Most faces, and most hands, that are followed at a time; the surest are taken."""
    min_score: _Score = 0.5
    """Least score of a detection, and of the landmarks in it."""
    detect_every: Annotated[int, Field(ge=1, le=10_000)] = 10
    """Frames of a video from one search for further instances to the next; without any, every frame is searched."""
    passes: Annotated[int, Field(ge=1, le=10)] | None = None
    """How often each frame's landmarks are measured, each time in a crop about those before; 1 in single images, as
    MediaPipe does, and 2 in videos by default. More are steadier; from 3 on, the last one of a hand is mirrored."""
    smooth: Annotated[float, Field(ge=0, le=1000)] = 0.0
    """Standard deviation of a Gaussian over the frames of a video, in frames; 0 leaves the points as measured."""
    points: Literal["68", "all"] = "68"
    """Points of a face: the 68 of iBUG 300-W, or all 468 of the mesh."""
