"""What ``rb2v benchmark`` can be told."""

from __future__ import annotations

from dataclasses import dataclass

from rb2v.errors import Rb2vError


@dataclass(frozen=True)
class BenchmarkConfig:
    """How much is rendered and compared.

    Raises
    ------
    Rb2vError
        If a value is below 1.
    """

    frames_per_take: int = 6
    """Accepted frames of a take, evenly spaced, whose sharp frames are compared with the truth."""
    blurs_per_take: int = 2
    """Windows of a take, evenly spaced, whose synthetic blur is compared with the truth; rendering it takes seconds."""
    mattes_per_take: int = 3
    """Accepted frames of a green-screen take, evenly spaced, that are keyed."""
    grid_points: int = 21
    """Points of the crop, each way, at which the homography is compared with the truth."""

    def __post_init__(self) -> None:
        for name in ("frames_per_take", "blurs_per_take", "mattes_per_take", "grid_points"):
            if getattr(self, name) < 1:
                raise Rb2vError(f"{name} must be at least 1, got {getattr(self, name)}")
