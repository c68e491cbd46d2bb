"""Homographies of a take: one, or one more behind every step by which its views shifted against each other."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rb2v.core.homography import Homography, normalized


@dataclass(frozen=True)
class Step:
    """A place at which the views of a take shifted against each other."""

    after_seconds: float
    """Blurry time of the last frame that may lie before it."""
    before_seconds: float
    """Blurry time of the first frame that may lie behind it."""
    sharp_frame: int
    """First sharp frame behind it."""

    @property
    def middle_seconds(self) -> float:
        """Blurry time about which it is."""
        return 0.5 * (self.after_seconds + self.before_seconds)


@dataclass(frozen=True, eq=False)
class Placement:
    """Where the sharp view lies, in each part of a take."""

    homographies: tuple[Homography, ...]
    """Of the parts in the order of time, each from sharp-camera pixels to blurry-camera pixels."""
    steps: tuple[Step, ...] = ()
    """Between the parts."""

    def parts(self, times: NDArray[np.float64]) -> NDArray[np.intp]:
        """Return the part in which each blurry time lies."""
        return np.searchsorted([step.middle_seconds for step in self.steps], times)

    def at(self, time_seconds: float) -> Homography:
        """Return the homography at a blurry time."""
        return self.homographies[int(self.parts(np.array([time_seconds]))[0])]

    def holds(self, times: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return which blurry times are those of frames whose windows straddle no step."""
        holds = np.ones(len(times), dtype=np.bool_)
        for step in self.steps:
            holds &= (times < step.after_seconds) | (times > step.before_seconds)
        return holds

    def moves_from(self, used: Placement, times: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return by how many blurry-camera pixels, (n, 2), it moves what another one placed at blurry times."""
        pairs = zip(self.parts(times).tolist(), used.parts(times).tolist(), strict=True)
        return np.array([translation(self.homographies[own], used.homographies[other]) for own, other in pairs])

    def replaced(self, homographies: Sequence[Homography | None]) -> Placement | None:
        """Return the placement with others of its homographies; None where there are none."""
        if all(one is None for one in homographies):
            return None
        pairs = zip(homographies, self.homographies, strict=True)
        return Placement(tuple(old if new is None else new for new, old in pairs), self.steps)


def translation(own: Homography, used: Homography) -> NDArray[np.float64]:
    """Return by how many blurry-camera pixels, (2,), one homography moves what another one placed."""
    return np.asarray(normalized(own @ np.linalg.inv(used))[:2, 2])
