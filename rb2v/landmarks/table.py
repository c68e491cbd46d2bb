"""The table of landmarks, and their smoothing over time."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np
import scipy
from numpy.typing import NDArray

from rb2v.choices import LandmarkTarget
from rb2v.io.store import whole_file

TABLE_COLUMNS = ("source", "frame", "time", "target", "instance", "point", "x", "y", "score")


@dataclass(frozen=True, eq=False)
class Found:
    """A face or hand in one frame of a clip."""

    source: str
    frame: int
    time_seconds: float
    target: LandmarkTarget
    instance: int
    points: NDArray[np.float64]
    """(n, 2): x and y in px."""
    score: float


def smooth_points(found: Sequence[Found], sigma_frames: float) -> list[Found]:
    """Smooth every point over the frames in which its face or hand was found without a gap.

    Parameters
    ----------
    found : sequence of Found
        Of any clips, in any order; it is kept.
    sigma_frames : float
        Standard deviation of a Gaussian, in frames. Beyond both ends a point is taken to stay where it is seen last.
    """
    tracks: dict[tuple[str, str, int], list[int]] = defaultdict(list)
    for index, one in enumerate(found):
        tracks[one.source, one.target, one.instance].append(index)
    smoothed = list(found)
    for indices in tracks.values():
        indices.sort(key=lambda index: found[index].frame)
        breaks = [k for k, (a, b) in enumerate(pairwise(indices), 1) if found[b].frame != found[a].frame + 1]
        for start, stop in pairwise([0, *breaks, len(indices)]):
            part = indices[start:stop]
            points = np.stack([found[index].points for index in part])
            for index, moved in zip(
                part, scipy.ndimage.gaussian_filter1d(points, sigma_frames, axis=0, mode="nearest"), strict=True
            ):
                smoothed[index] = replace(found[index], points=moved)
    return smoothed


def write_table(path: Path, found: Iterable[Found]) -> Path:
    """Write one row for each point, whole or not at all; frames in which nothing was found have none.

    Parameters
    ----------
    path : Path
        CSV file with `TABLE_COLUMNS`: x and y in px to a thousandth, the time in s.
    found : iterable of Found
        In the order of the rows.
    """
    with whole_file(path) as temporary, temporary.open("w", newline="\n", encoding="utf-8") as file:
        file.write(",".join(TABLE_COLUMNS) + "\n")
        for one in found:
            start = f"{_quoted(one.source)},{one.frame},{one.time_seconds:.6f},{one.target},{one.instance}"
            file.writelines(
                f"{start},{index},{x:.3f},{y:.3f},{one.score:.4f}\n" for index, (x, y) in enumerate(one.points.tolist())
            )
    return path


def _quoted(text: str) -> str:
    """Return a text as a field of CSV."""
    return '"' + text.replace('"', '""') + '"' if set(text) & set(',"\r\n') else text
