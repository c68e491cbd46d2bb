"""Landmarks of images, videos and data sets: the table, and the drawn frames."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rb2v.choices import LandmarkTarget
from rb2v.errors import InputError
from rb2v.io.encoder import make_even, write_video
from rb2v.io.partial import scratch_folder
from rb2v.io.photo import PHOTO_SUFFIXES
from rb2v.io.store import whole_file
from rb2v.io.video import write_image
from rb2v.landmarks.config import LandmarkConfig
from rb2v.landmarks.drawing import draw_points
from rb2v.landmarks.inputs import Clip, open_clips
from rb2v.landmarks.models import LandmarkModel, load_models, select_points
from rb2v.landmarks.table import Found, smooth_points, write_table
from rb2v.landmarks.tracking import Tracker
from rb2v.progress import Progress

_SLOW_FPS = 10.0  # of drawn samples, whose seven frames at 200 a second nobody could follow


@dataclass
class TargetCount:
    """In how many frames something was found."""

    target: LandmarkTarget
    frames: int = 0
    """Frames that were looked at."""
    found: int = 0
    """Frames with one or more."""
    several: int = 0
    """Frames with more than one."""
    missing: list[str] = field(default_factory=list)
    """Names of the clips without any."""


def write_landmarks(
    source: Path,
    out: Path,
    config: LandmarkConfig | None = None,
    *,
    drawn: Path | None = None,
    face_weights: Path | None = None,
    progress: Progress | None = None,
) -> list[TargetCount]:
    """Write the landmarks in an image, a folder of images, a video or a data set as a table.

    Frames in which nothing is found have no row: the counts tell how many.

    Parameters
    ----------
    source : Path
        An image, a folder of images, a video, or a folder of shards, of which every sample's sharp frames are a clip.
    out : Path
        The CSV file to write: source, frame, time in s, target, instance, point, x and y in px, score.
    config : LandmarkConfig, optional
        What to look for, and how.
    drawn : Path, optional
        Where to draw the points: an .mp4 file for a video or a data set, an image for an image, and a folder for a
        folder of images.
    face_weights : Path, optional
        dlib's file of 68 points, in place of the mesh for faces.
    progress : callable, optional
        Called with the frames that are done, all of them as far as known, and what is done.

    Returns
    -------
    list of TargetCount
        One for each target, in the order of the configuration.

    Raises
    ------
    InputError
        If the source cannot be read, the weights are not here or not the right ones, or ``drawn`` does not suit it.
    """
    config = config or LandmarkConfig()
    show = progress or (lambda done, total, label: None)
    clips = open_clips(source)
    _check_targets(source, out, drawn, are_images=all(clip.fps == 0 for clip in clips))
    models = load_models(config.targets, face_weights)
    counts = {model.target: TargetCount(model.target) for model in models}
    total, done = sum(clip.n_frames for clip in clips), 0
    found: list[Found] = []
    for clip in clips:
        before = {target: count.found for target, count in counts.items()}
        for one in _track_clip(clip, models, config, counts):
            found += one
            done += 1
            show(done, max(total, done), "finding landmarks")
        for target, count in counts.items():
            if count.found == before[target]:
                count.missing.append(clip.name)
    if config.smooth:
        found = smooth_points(found, config.smooth)
    if drawn is not None:
        _draw(drawn, source, clips, found, show)
    write_table(out, found)
    return list(counts.values())


def _check_targets(source: Path, out: Path, drawn: Path | None, *, are_images: bool) -> None:
    """Check before any work that what is to be written can be."""
    for path in filter(None, (out, drawn)):
        if path.exists() and path.samefile(source):
            raise InputError(path, "is the input", expected="another file to write to")
    if out.is_dir() or out.suffix.lower() != ".csv":
        raise InputError(out, "is not the name of a table", expected="a .csv file")
    if drawn is None:
        return
    if not are_images:
        if drawn.suffix.lower() != ".mp4":
            raise InputError(drawn, "cannot hold the frames of a clip", expected="an .mp4 file")
    elif not source.is_dir():
        if drawn.suffix.lower() not in PHOTO_SUFFIXES:
            raise InputError(drawn, "is not the name of an image", expected=", ".join(PHOTO_SUFFIXES))
    elif drawn.suffix or drawn.is_file() or (drawn.is_dir() and any(drawn.iterdir())):
        raise InputError(drawn, "cannot hold the images of a folder", expected="the name of a new or empty folder")


def _track_clip(
    clip: Clip, models: Sequence[LandmarkModel], config: LandmarkConfig, counts: dict[LandmarkTarget, TargetCount]
) -> Iterator[list[Found]]:
    """Yield what is found in each frame, and count it."""
    if clip.fps == 0:
        config = dataclasses.replace(config, passes=config.passes or 1)
    trackers = [Tracker(model, config) for model in models]
    for frame in clip.frames():
        here: list[Found] = []
        for tracker in trackers:
            target = tracker.model.target
            instances = tracker.update(frame.image)
            for index, landmarks in sorted(instances.items()):
                points = select_points(landmarks, config.points)
                here.append(Found(clip.name, frame.index, frame.time_seconds, target, index, points, landmarks.score))
            count = counts[target]
            count.frames += 1
            count.found += bool(instances)
            count.several += len(instances) > 1
        yield here


def _draw(drawn: Path, source: Path, clips: Sequence[Clip], found: Sequence[Found], show: Progress) -> None:
    by_frame: dict[tuple[str, int], list[Found]] = defaultdict(list)
    for one in found:
        by_frame[one.source, one.frame].append(one)

    def frames() -> Iterator[NDArray[np.uint8]]:
        total, done = sum(clip.n_frames for clip in clips), 0
        for clip in clips:
            for frame in clip.frames():
                image = frame.image
                for one in by_frame[clip.name, frame.index]:
                    image = draw_points(image, one.points, one.instance + (one.target == "hand"))
                yield image
                done += 1
                show(done, max(total, done), "drawing")

    if any(clip.fps for clip in clips):
        fps = clips[0].fps if source.is_file() else _SLOW_FPS
        with whole_file(drawn) as temporary:
            write_video(temporary, (make_even(image) for image in frames()), fps)
    elif source.is_dir():
        with scratch_folder(drawn) as scratch:
            made = scratch / "drawn"
            for clip, image in zip(clips, frames(), strict=True):
                write_image(made / f"{clip.name}.png", image)
            if drawn.is_dir():
                drawn.rmdir()
            made.rename(drawn)
    else:
        with whole_file(drawn) as temporary:
            write_image(temporary, next(frames()))
