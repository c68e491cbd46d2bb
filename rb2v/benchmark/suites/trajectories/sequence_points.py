"""Landmarks of true and recovered sequences, and the files that hold them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
import safetensors.numpy
from numpy.typing import NDArray

from rb2v.benchmark.suites.trajectories.trajectory_grid import BLURRY, MEAN, NOISY, TRUTH
from rb2v.blur2vid.evaluate import read_sample
from rb2v.choices import LANDMARK_TARGETS, LandmarkTarget
from rb2v.errors import InputError
from rb2v.io.store import whole_file
from rb2v.landmarks.config import LandmarkConfig
from rb2v.landmarks.models import LandmarkModel, select_points
from rb2v.landmarks.tracking import track
from rb2v.landmarks.trajectories import N_POINTS, stack_points
from rb2v.progress import Progress
from rb2v.shards import ShardReader

_DETECTION = LandmarkConfig(max_instances=2, detect_every=100, passes=2)
"""Of both hands one is compared; the detector runs once a sequence, and where nothing is followed."""

Frames = NDArray[np.uint8]
Points = NDArray[np.float64]
Estimate = Callable[[Frames, Frames], Frames]
"""Takes a blurry image, (H, W, 3), and its true frames, and returns as many recovered ones."""
PointsByTarget = Mapping[LandmarkTarget, Points]
"""(samples, frames, points, 2) of faces and of hands: x and y in px, NaN where they were not found."""


@dataclass(frozen=True)
class Samples:
    """The held-out samples that are measured."""

    reader: ShardReader
    indices: Mapping[LandmarkTarget, Sequence[int]]
    """Of each category."""
    image_size: int | None
    """Shorter side to which larger frames are area-resized, in px."""

    def __len__(self) -> int:
        """Return the number of samples."""
        return sum(map(len, self.indices.values()))

    def read(self, target: LandmarkTarget) -> Iterator[tuple[Frames, Frames]]:
        """Yield the blurry image, (H, W, 3), and the true frames, (N + 1, H, W, 3), of a category's samples."""
        for index in self.indices[target]:
            yield read_sample(self.reader, index, self.image_size)


def choose_samples(reader: ShardReader, n_most: int, image_size: int | None) -> Samples:
    """Return samples of faces and of hands, at most so many of each, spread over all of them.

    Raises
    ------
    InputError
        If there are none.
    """
    categories = reader.table["category"].to_numpy()
    indices: dict[LandmarkTarget, Sequence[int]] = {}
    for target in LANDMARK_TARGETS:
        every = np.flatnonzero(categories == target)
        places = np.linspace(0, len(every) - 1, min(n_most, len(every))).round().astype(int)
        if len(places):
            indices[target] = every[places].tolist()
    if not indices:
        problem = "holds no held-out sample of a face or hand"
        raise InputError(reader.folder, problem, "category", " or ".join(LANDMARK_TARGETS))
    return Samples(reader, indices, image_size)


def trivial_estimate(name: str, noise_levels: float) -> Estimate:
    """Return an estimate that needs no network.

    Parameters
    ----------
    name : str
        Of `rb2v.benchmark.suites.trajectories.trajectory_grid`.
    noise_levels : float
        Standard deviation of the Gaussian noise on the true frames, in levels of 255.
    """

    def repeat(image: Frames, count: int) -> Frames:
        return np.broadcast_to(image, (count, *image.shape))

    def noisy(sharp: Frames) -> Frames:
        noise = np.random.default_rng(0).normal(0.0, noise_levels, sharp.shape)
        return np.asarray(np.clip(np.rint(sharp + noise), 0, 255), dtype=np.uint8)

    estimates: Mapping[str, Estimate] = {
        TRUTH: lambda _, sharp: sharp,
        BLURRY: lambda blurry, sharp: repeat(blurry, len(sharp)),
        MEAN: lambda _, sharp: repeat(np.rint(sharp.mean(axis=0)).astype(np.uint8), len(sharp)),
        NOISY: lambda _, sharp: noisy(sharp),
    }
    return estimates[name]


def find_points(
    models: Mapping[LandmarkTarget, LandmarkModel],
    samples: Samples,
    estimate: Estimate,
    true: PointsByTarget | None,
    progress: Progress,
) -> dict[LandmarkTarget, Points]:
    """Find the landmarks of an estimate of every sample.

    Parameters
    ----------
    models : mapping of target to LandmarkModel
        What finds them.
    samples : Samples
        What is measured.
    estimate : callable
        What recovers sequences.
    true : mapping of target to ndarray, optional
        Landmarks of the true frames, by which one of several faces or hands is chosen; None for the truth itself.
    progress : callable
        Called with the samples that are done, their number, and what it is.
    """
    found: dict[LandmarkTarget, Points] = {}
    done = 0
    for target in samples.indices:
        every = []
        for place, (blurry, sharp) in enumerate(samples.read(target)):
            frames = estimate(blurry, sharp)
            every.append(follow(models[target], frames, None if true is None else true[target][place]))
            done += 1
            progress(done, len(samples), "following landmarks")
        found[target] = np.stack(every)
    return found


def follow(model: LandmarkModel, frames: Frames, near: Points | None = None) -> Points:
    """Return the points of one face or hand in every frame of a sequence.

    Parameters
    ----------
    model : LandmarkModel
        What finds them.
    frames : (k, H, W, 3) ndarray of uint8
        RGB. Where all are alike, one is looked at.
    near : (k, n, 2) ndarray of float64, optional
        Points of the true sequence: of several faces or hands the one nearest to their mean place is taken. Without
        it, or where none were found, it is the one that is seen in most frames, and of those the largest.

    Returns
    -------
    (k, n, 2) ndarray of float64
        x and y in px; NaN in frames where they are not found.
    """
    is_still = bool((frames == frames[0]).all())
    found = track(model, frames[:1] if is_still else frames, _DETECTION)
    known = near[np.isfinite(near).all(axis=(1, 2))] if near is not None else np.empty(0)
    chosen: list[Points | None] = []
    if len(known):
        middle = known.mean(axis=(0, 1))
        for instances in found:
            every = [select_points(one, "68") for one in instances.values()]
            chosen.append(min(every, key=lambda points: np.linalg.norm(points.mean(axis=0) - middle), default=None))
    else:
        sides: dict[int, list[float]] = {}
        for instances in found:
            for number, one in instances.items():
                sides.setdefault(number, []).append(float((one.corners[1] - one.corners[0]).max()))
        best = max(sides, key=lambda number: (len(sides[number]), sum(sides[number])), default=-1)
        chosen = [select_points(instances[best], "68") if best in instances else None for instances in found]
    points = stack_points(model.target, chosen)
    return np.repeat(points, len(frames), axis=0) if is_still else points


def write_points(path: Path, points: PointsByTarget) -> Path:
    """Write landmarks as safetensors, whole or not at all."""
    with whole_file(path) as temporary:
        temporary.write_bytes(safetensors.numpy.save({target: points[target] for target in sorted(points)}))
    return path


def read_points(path: Path, samples: Samples) -> dict[LandmarkTarget, Points]:
    """Read what `write_points` wrote for the same samples.

    Raises
    ------
    InputError
        If the file is missing, damaged, or of other samples.
    """
    expected = "what this suite wrote; remove it to measure again"
    try:
        tensors = safetensors.numpy.load_file(path)
    except Exception as error:  # safetensors has an error of its own, and raises others
        raise InputError(path, "cannot be read", expected=expected) from error
    n_frames = samples.reader.manifest.frames_per_sequence
    for target, indices in samples.indices.items():
        shape = (len(indices), n_frames, N_POINTS[target], 2)
        if target not in tensors or tensors[target].shape != shape:
            raise InputError(path, "is of other samples", target, expected)
    return cast("dict[LandmarkTarget, Points]", {target: tensors[target] for target in samples.indices})
