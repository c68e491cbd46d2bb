"""Captures made from takes, for a session without geometry captures."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from rb2v.artifacts import FormatOverride, RawDirectory, Rig, Take
from rb2v.core.color import encode, to_linear
from rb2v.errors import InputError
from rb2v.io.config import read_takes
from rb2v.io.sound import MIN_SOUND_CONFIDENCE, read_sound_offset
from rb2v.io.video import Frame, iter_frames, probe_video
from rb2v.stages.calibrate.captures import Capture, Image
from rb2v.stages.calibrate.takes import read_still_take, warn_of_fault

logger = logging.getLogger(__name__)

_SEEN_SECONDS = 30.0  # of a take: enough for views of several places, soon decoded
_VIEWS_PER_TAKE = 3  # the homography of a session of six takes was 0.05 px off by four each, 0.07 by two
_MAX_TAKES = 6  # up to 18 views: with more, the homography's error hardly falls and its time grows
_THUMBNAIL = (32, 24)  # px; averages noise, keeps the motion of things


def read_views_of_takes(raw: RawDirectory) -> list[Capture]:
    """Return views of both cameras from takes: their static starts, or else frames of matching times.

    A blurry frame is matched with the mean of the sharp frames that its exposure spans, so that both are blurred
    alike. Of a take those frames are chosen in which the least moves. The offset comes from the sound, which is exact
    to a few milliseconds: what moves by a pixel in this time is off by as much.

    Parameters
    ----------
    raw : RawDirectory
        With takes. Takes of other frame sizes than the first, and takes that cannot be read, are passed over with a
        warning.

    Returns
    -------
    list of Capture
        Named after their takes' folders; empty where no take begins static and no sound tells an offset.
    """
    if not (raw.root / "takes").is_dir():
        return []
    try:
        takes = read_takes(raw.root, on_fault=warn_of_fault)
    except InputError as error:
        logger.warning("the takes do not stand in for captures: %s", error)
        return []
    found: list[Capture] = []
    reference: tuple[tuple[int, int], ...] | None = None
    for take in takes[:_MAX_TAKES]:
        try:
            sizes = tuple(recording.size for recording in _recordings(take))
            reference = reference or sizes
            if sizes != reference:
                logger.warning("takes/%s: is of other frame sizes than the first take, and passed over", take.name)
                continue
            still = read_still_take(take)
            found += [still] if still is not None else _read_moving_views(take, raw.rig)
        except InputError as error:
            logger.warning("takes/%s: does not stand in for captures: %s", take.name, error)
    return found


def _recordings(take: Take) -> tuple[_Recording, _Recording]:
    return _Recording(take.blurry, take.blurry_format), _Recording(take.sharp, take.sharp_format)


@dataclass(frozen=True)
class _Recording:
    """The files of one camera."""

    paths: Sequence[Path]
    override: FormatOverride

    @property
    def size(self) -> tuple[int, int]:
        info = probe_video(self.paths[0], self.override)
        return info.width, info.height

    def frames(self, until_seconds: float) -> Iterator[Frame]:
        for frame in iter_frames(self.paths, self.override):
            if frame.time_seconds > until_seconds:
                return
            yield frame


def _read_moving_views(take: Take, rig: Rig) -> list[Capture]:
    """Return views of a take at matching times; none where its sound does not tell the offset."""
    blurry, sharp = _recordings(take)
    offset = _sound_offset(take)
    if offset is None:
        logger.warning("takes/%s: neither begins static nor has sound that tells the offset", take.name)
        return []
    half = rig.blur_samples / (rig.sharp_fps * rig.blur_steps_per_frame) / 2
    chosen = _choose_frames(blurry, first_seconds=half - offset)
    means = _mean_over(sharp, [time + offset for time in chosen], half, rig)
    captures = []
    for time, frame in chosen.items():
        mean = means.get(time + offset)
        if mean is not None:
            captures.append(Capture(f"takes/{take.name} at {time:.2f} s", frame, mean, None))
    return captures


def _sound_offset(take: Take) -> float | None:
    """Return the sharp camera's time at time 0 of the blurry one."""
    try:
        found = read_sound_offset(take, partial(logger.warning, "takes/%s: %s", take.name))
    except ValueError:
        return None
    return None if found is None or found.confidence < MIN_SOUND_CONFIDENCE else found.seconds


def _choose_frames(blurry: _Recording, first_seconds: float) -> dict[float, Image]:
    """Return the calmest frame of each of some equal parts of a recording, by its time in seconds."""
    times: list[float] = []
    changes: list[float] = []
    before: NDArray[np.float32] | None = None
    for frame in blurry.frames(_SEEN_SECONDS):
        gray = cv2.cvtColor(frame.image, cv2.COLOR_RGB2GRAY)
        seen = np.asarray(cv2.resize(gray, _THUMBNAIL, interpolation=cv2.INTER_AREA), dtype=np.float32)
        times.append(frame.time_seconds)
        changes.append(0.0 if before is None else float(np.abs(seen - before).mean()))
        before = seen
    # A frame is as calm as the livelier of the steps to and from it.
    calm = np.maximum(changes, [*changes[1:], 0.0])
    possible = np.flatnonzero(np.array(times) >= first_seconds)
    parts = np.array_split(possible, _VIEWS_PER_TAKE)
    wanted = {times[part[np.argmin(calm[part])]] for part in parts if len(part)}
    return {frame.time_seconds: frame.image for frame in blurry.frames(_SEEN_SECONDS) if frame.time_seconds in wanted}


def _mean_over(sharp: _Recording, centers: Sequence[float], half: float, rig: Rig) -> dict[float, Image]:
    """Return the mean, in linear light, of the frames within half an exposure of each time."""
    totals: dict[float, NDArray[np.float32]] = {}
    counts = dict.fromkeys(centers, 0)
    for frame in sharp.frames(max(centers, default=0.0) + half):
        for center in centers:
            if abs(frame.time_seconds - center) <= half:
                light = to_linear(frame.image, rig.response)
                totals[center] = totals[center] + light if center in totals else light
                counts[center] += 1
    # Where a recording ends within the exposure, its mean is of another time.
    full = max(counts.values(), default=0) - 1
    return {
        center: encode(total / np.float32(counts[center]), rig.response)
        for center, total in totals.items()
        if counts[center] >= max(full, 1)
    }
