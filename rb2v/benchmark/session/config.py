"""Configuration of ``rb2v benchmark``."""

from __future__ import annotations

from rb2v.choices import InterpolatorName
from rb2v.configuration import Count, config


@config
class BenchmarkConfig:
    """How much is rendered and compared.

    Raises
    ------
    Rb2vError
        If a value is below 1.
    """

    frames_per_take: Count = 6
    """Accepted frames of a take, evenly spaced, whose sharp frames are compared with the truth."""
    blurs_per_take: Count = 2
    """Windows of a take, evenly spaced, whose synthetic blur is compared with the truth; rendering it takes seconds."""
    blur_methods: tuple[InterpolatorName, ...] = ()
    """Further interpolation methods whose synthetic blur is compared; with some, the seconds of all are told too."""
    mattes_per_take: Count = 3
    """Accepted frames of a green-screen take, evenly spaced, that are keyed."""
    grid_points: Count = 21
    """Points of the crop, each way, at which the homography is compared with the truth."""
