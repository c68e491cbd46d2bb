"""Chroma siting of the cameras' encoders: as stated by the rig or the streams, or as found in recordings."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path

from rb2v.artifacts import CAMERAS, Camera, ChromaChoice, ChromaSiting, RawDirectory
from rb2v.core.chroma import SitingEstimate, estimate_siting
from rb2v.core.planes import LEFT_SITING, SITINGS, Planes
from rb2v.errors import InputError
from rb2v.io.chroma import read_stated_siting
from rb2v.io.config import read_takes
from rb2v.io.container import VIDEO_SUFFIXES
from rb2v.io.video import iter_images

logger = logging.getLogger(__name__)

_MAX_RECORDINGS = 12  # bounds the time; more scenes make errors smaller
_SPAN_SECONDS = 0.4  # between a recording's two frames: long enough that what moves shows other edges
_MAX_ERROR_PX = 0.15  # a third of what the standard sitings differ by
_CONTRADICTION_PX, _SURELY = 0.25, 4.0  # half of that difference, and in standard errors
_UNSURELY = 2.5  # standard errors; encoders put chroma at a standard siting unless their frames say otherwise


def find_chroma(raw: RawDirectory, *, takes: bool) -> dict[Camera, ChromaSiting]:
    """Find where each camera's chroma lies, from its takes and the videos among its geometry captures.

    Parameters
    ----------
    raw : RawDirectory
        The raw directory and its rig.
    takes : bool
        Whether takes are looked at.
    """
    choices: dict[Camera, ChromaChoice] = {"blurry": raw.rig.blurry_chroma, "sharp": raw.rig.sharp_chroma}
    recordings = _recordings(raw, takes=takes)
    return {camera: _find(camera, recordings[camera], choices[camera]) for camera in CAMERAS}


def _recordings(raw: RawDirectory, *, takes: bool) -> dict[Camera, list[tuple[Path, ...]]]:
    found: dict[Camera, list[tuple[Path, ...]]] = {"blurry": [], "sharp": []}
    for camera in CAMERAS:
        folder = raw.root / "calibration" / "geometry" / camera
        videos = sorted(path for path in folder.glob("[!.]*") if path.suffix.lower() in VIDEO_SUFFIXES)
        found[camera] += [(path,) for path in videos]
    if takes and (raw.root / "takes").is_dir():
        try:
            known = read_takes(raw.root, on_fault=lambda name, fault: None)
        except InputError:
            known = ()  # said where the takes' first frames are read
        for take in known:
            found["blurry"].append(take.blurry)
            found["sharp"].append(take.sharp)
    return {camera: some[:: max(-(-len(some) // _MAX_RECORDINGS), 1)] for camera, some in found.items()}


def _find(camera: Camera, recordings: Sequence[tuple[Path, ...]], choice: ChromaChoice) -> ChromaSiting:
    scenes, stated = [], []
    for paths in recordings:
        try:
            stated.append(read_stated_siting(paths[0]))
            frames = [frame for frame in _spread_frames(paths) if isinstance(frame, Planes)]
        except InputError as error:
            logger.warning("the %s camera's chroma is not looked at in one recording: %s", camera, error)
            continue
        if frames:
            scenes.append(frames)
    estimate: SitingEstimate | None = None
    try:
        estimate = estimate_siting(scenes)
    except ValueError as error:
        logger.info("the %s camera's frames do not tell where chroma lies: %s", camera, error)
    # The frames' own, because a recording may have been turned since.
    by_stream = scenes[0][0].siting if scenes and stated[0] is not None else None
    siting = _choose(choice, by_stream, estimate)
    if siting.source in ("rig", "stream") and siting.measured is not None and siting.error is not None:
        places = zip((siting.x, siting.y), siting.measured, siting.error, strict=True)
        if any(abs(said - seen) > max(_CONTRADICTION_PX, _SURELY * error) for said, seen, error in places):
            logger.warning(
                "the %s camera's chroma lies at (%.2f, %.2f) luma pixels by the %s, its frames show (%.2f, %.2f)",
                *(camera, siting.x, siting.y, siting.source, *siting.measured),
            )
    return siting


def _spread_frames(paths: Sequence[Path]) -> Iterator[object]:
    """Yield a recording's first frame, and one some time behind it."""
    first_seconds: float | None = None
    for time_seconds, image in iter_images(paths):
        if first_seconds is None:
            first_seconds = time_seconds
            yield image
        elif time_seconds - first_seconds >= _SPAN_SECONDS:
            yield image
            return


def _choose(choice: ChromaChoice, stated: tuple[float, float] | None, estimate: SitingEstimate | None) -> ChromaSiting:
    measured = None if estimate is None else (estimate.x, estimate.y)
    error = None if estimate is None else (estimate.error_x, estimate.error_y)
    if choice != "auto":
        return ChromaSiting(*SITINGS[choice], "rig", measured, error)
    if stated is not None:
        return ChromaSiting(*stated, "stream", measured, error)
    if measured is not None and error is not None and max(error) <= _MAX_ERROR_PX:
        return ChromaSiting(*_standard_or(measured, error), "measured", measured, error)
    return ChromaSiting(*LEFT_SITING, "assumed", measured, error)


def _standard_or(measured: tuple[float, float], error: tuple[float, float]) -> tuple[float, float]:
    """Return the one standard siting that a measurement cannot be told from; the measurement where none or several."""
    near = [
        siting
        for siting in SITINGS.values()
        if all(abs(a - b) <= _UNSURELY * e for a, b, e in zip(siting, measured, error, strict=True))
    ]
    return near[0] if len(near) == 1 else measured
