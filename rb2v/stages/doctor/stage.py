"""The checks over all takes of a raw directory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rb2v.artifacts import CAMERAS, Camera, FormatOverride, Rig, Take
from rb2v.core.color import to_linear
from rb2v.core.flicker import band_changes, find_flicker
from rb2v.errors import InputError, Rb2vError
from rb2v.execution import Executor, SerialExecutor
from rb2v.io.config import read_raw_directory, read_take
from rb2v.io.recording import Recording, read_recording
from rb2v.io.store import SCHEMA
from rb2v.io.video import iter_frames, read_image_size
from rb2v.matting.screen import check_screen
from rb2v.progress import Count
from rb2v.stages.doctor.checks import LEVELS, Finding, Level, TakeRecordings, check_take, worst

_SCREEN_SIDE_PX = 120  # of the shorter side: a screen is a large part of the image
_LIGHT_SIDE_PX = 60  # of the shorter side: some thousand pixels tell the light
_LIGHT_SECONDS = 2.0  # a hundred waves of mains current


@dataclass(frozen=True)
class Diagnosis:
    """What was found of one take."""

    take: str
    findings: tuple[Finding, ...]
    facts: Mapping[Camera, Mapping[str, Any]] = field(default_factory=dict)
    """What each camera's recording states, in plain values."""

    @property
    def level(self) -> Level:
        """The gravest level of the findings."""
        return worst(list(self.findings))

    def level_of(self, check: str) -> Level | None:
        """Return the gravest level of one check, None where the check could not be made."""
        findings = [finding for finding in self.findings if finding.check == check]
        return worst(findings) if findings else None


def run(
    root: Path,
    *,
    executor: Executor | None = None,
    on_take: Count | None = None,
) -> tuple[Diagnosis, ...]:
    """Check every take of a raw directory; nothing is written, and few frames are decoded.

    Parameters
    ----------
    root : Path
        The raw directory.
    executor : Executor, optional
        Where files are read; serial by default.
    on_take : callable, optional
        Called with the number of takes that are checked and their total.

    Returns
    -------
    tuple of Diagnosis
        In the order of the takes' names.

    Raises
    ------
    InputError
        If the folder is not a raw directory, its rig or a geometry capture is wrong, or it holds no take. What is wrong
        with a take is a finding.
    """
    raw = read_raw_directory(root)
    folder = root / "takes"
    takes = sorted(child for child in folder.glob("*") if child.is_dir() and not child.name.startswith("."))
    if not takes:
        raise InputError(folder, "holds no take", expected="a folder per take, with take.yaml and two videos")
    found: list[Diagnosis] = []
    for diagnosis in (executor or SerialExecutor()).map(partial(_check_folder, rig=raw.rig), takes):
        found.append(diagnosis)
        if on_take is not None:
            on_take(len(found), len(takes))
    captured = {
        camera: Counter(read_image_size(pair[side]) for pair in raw.geometry_pairs).most_common(1)[0][0]
        for side, camera in enumerate(CAMERAS)
        if raw.geometry_pairs
    }
    return tuple(_add_odd_turns(_add_odd_sizes(found, captured)))


def diagnose(take: Take, rig: Rig) -> Diagnosis:
    """Check one take by the files of its two recordings; a file that cannot be read is a finding."""
    findings: list[Finding] = []
    read: dict[Camera, Recording] = {}
    files: dict[Camera, tuple[Sequence[Path], FormatOverride]] = {
        "blurry": (take.blurry, take.blurry_format),
        "sharp": (take.sharp, take.sharp_format),
    }
    for camera in CAMERAS:
        try:
            read[camera] = read_recording(*files[camera])
        except InputError as error:
            source = Path(error.source).name
            expected = error.expected or ""
            advice = "copy the file from the card again, or take the camera's own file"
            findings.append(Finding("file", "refuse", f"{source}: {error.problem}", camera, expected, advice))
    if len(read) == len(CAMERAS):
        findings = check_take(TakeRecordings(read["blurry"], read["sharp"], rig))
        if take.green_screen:
            findings += [found for camera in CAMERAS if (found := _check_screen(camera, take, rig))]
        if (found := _check_lamps(*files["sharp"], read["sharp"], rig)) is not None:
            findings.append(found)
    facts = {camera: describe_recording(recording) for camera, recording in read.items()}
    return Diagnosis(take.name, tuple(findings), facts)


def _check_screen(camera: Camera, take: Take, rig: Rig) -> Finding | None:
    """Return a finding where the first frame shows no screen that can be keyed."""
    paths, override = (take.blurry, take.blurry_format) if camera == "blurry" else (take.sharp, take.sharp_format)
    try:
        image = next(iter_frames(paths, override)).image
        step = max(min(image.shape[:2]) // _SCREEN_SIDE_PX, 1)
        check_screen([to_linear(np.ascontiguousarray(image[::step, ::step]), rig.response)], take.screen)
    except InputError:
        return None  # Frames that cannot be decoded are named as such.
    except Rb2vError as error:
        advice = "pass --matter background with its weights to 'rb2v align', or state green_screen: false in take.yaml"
        return Finding("screen", "warn", str(error), camera, "a green or blue screen, as take.yaml says", advice)
    return None


def _check_lamps(paths: Sequence[Path], override: FormatOverride, recording: Recording, rig: Rig) -> Finding | None:
    """Return a finding where the light of the first sharp frames beats with the mains."""
    changes = []
    before: NDArray[np.float32] | None = None
    try:
        for frame in iter_frames(paths, override):
            if frame.time_seconds > _LIGHT_SECONDS:
                break
            step = max(min(frame.image.shape[:2]) // _LIGHT_SIDE_PX, 1)
            pixels = to_linear(np.ascontiguousarray(frame.image[::step, ::step]), rig.response)
            if before is not None:
                changes.append(band_changes(before, pixels))
            before = pixels
    except InputError:
        return None  # Frames that cannot be decoded are named as such.
    flicker = find_flicker(np.array(changes), recording.frame_rate)
    if flicker is None:
        return None
    message = f"lamps on {flicker.lamps_hz / 2:.0f} Hz mains flicker by {100 * flicker.amplitude:.0f} %"
    advice = f"set a shutter of 1/{flicker.lamps_hz:.0f} s, or use light without flicker; 'rb2v align' evens it out"
    return Finding("lamps", "warn", message, "sharp", "constant light", advice)


def _check_folder(folder: Path, rig: Rig) -> Diagnosis:
    try:
        take = read_take(folder)
    except InputError as error:
        source = Path(error.source).name
        key = f"{error.key}: " if error.key else ""
        return Diagnosis(
            folder.name,
            (
                Finding(
                    "file",
                    "refuse",
                    f"{source}: {key}{error.problem}",
                    None,
                    error.expected or "",
                    "mend what is named, or move the take's folder elsewhere",
                ),
            ),
        )
    return diagnose(take, rig)


def _add_odd_turns(found: Sequence[Diagnosis]) -> list[Diagnosis]:
    """Return the findings with one for every recording that its camera turned otherwise than in most takes.

    Images are upright all the same, but the lens is not where the calibration has it.
    """
    added: dict[str, list[Finding]] = {}
    for camera in CAMERAS:
        turns = {diagnosis.take: diagnosis.facts[camera]["turned"] for diagnosis in found if camera in diagnosis.facts}
        counts = Counter(turns.values()).most_common(1)
        for take, turn in turns.items():
            if turn != counts[0][0]:
                message = f"the file turns its frames by {turn}, those of other takes by {counts[0][0]}"
                advice = "lock the camera's orientation; where it was turned over, calibrate anew for these takes"
                added.setdefault(take, []).append(Finding("turn", "warn", message, camera, "the same", advice))
    return [replace(diagnosis, findings=(*diagnosis.findings, *added.get(diagnosis.take, ()))) for diagnosis in found]


def _add_odd_sizes(found: Sequence[Diagnosis], captured: Mapping[Camera, tuple[int, int]]) -> list[Diagnosis]:
    """Return the findings with one for every recording whose size is not that of its camera's other images.

    What counts are the captures, where there are some, because calibration is theirs; else the size of most takes.
    """
    odd: dict[str, list[Finding]] = {}
    advice = "one calibration serves one size; keep takes of another size in a folder of their own"
    for camera in CAMERAS:
        sizes = {
            diagnosis.take: (diagnosis.facts[camera]["width"], diagnosis.facts[camera]["height"])
            for diagnosis in found
            if camera in diagnosis.facts
        }
        counts = Counter(sizes.values()).most_common(1)
        usual: tuple[int, int] | None = None
        others, expected = "those of other takes are not", "the same in all takes"
        if camera in captured:
            usual = captured[camera]
            others = f"the geometry captures {usual[0]}x{usual[1]}"
            expected = "captures of the videos' size"
        elif counts and 2 * counts[0][1] > len(sizes):
            usual = counts[0][0]
            expected = f"{usual[0]}x{usual[1]}, as of most takes"
        elif len(sizes) < 2:
            continue
        for take, size in sizes.items():
            if size != usual:
                message = f"frames are {size[0]}x{size[1]}, {others}"
                odd.setdefault(take, []).append(Finding("size", "refuse", message, camera, expected, advice))
    return [
        Diagnosis(
            diagnosis.take,
            (*(finding for finding in diagnosis.findings if finding != Finding("size", "ok")), *odd[diagnosis.take]),
            diagnosis.facts,
        )
        if diagnosis.take in odd
        else diagnosis
        for diagnosis in found
    ]


def _range(samples: NDArray[np.float64]) -> list[float] | None:
    return [float(samples.min()), float(np.median(samples)), float(samples.max())] if len(samples) else None


def describe_recording(recording: Recording) -> dict[str, Any]:
    """Return what a recording states as plain values that JSON holds; ranges are minimum, median and maximum."""
    telemetry, stored = recording.telemetry, recording.format
    stated: dict[str, Any] = {}
    if telemetry is not None:
        stated = {
            "model": telemetry.model,
            "settings": dict(telemetry.settings),
            "shutter_seconds": _range(telemetry.shutter_seconds),
            "iso": _range(telemetry.iso),
            "white_balance_kelvin": _range(telemetry.white_balance),
            "gyro_samples": len(telemetry.gyro),
            "has_stamps": telemetry.has_stamps,
            "problems": list(telemetry.problems),
        }
    return {
        "files": [path.name for path in recording.paths],
        "width": recording.width,
        "height": recording.height,
        "turned": str(stored.orientation),
        "interlaced": stored.is_interlaced,
        "codec": stored.codec,
        "pixel_format": stored.pixel_format,
        "depth": stored.depth,
        "full_range": recording.full_range,
        "color": {
            "matrix": stored.color.matrix,
            "matrix_stated": stored.color.matrix_stated,
            "full_range": stored.color.full_range,
            "range_stated": stored.color.range_stated,
            "chroma_siting": list(stored.siting),
            "transfer": stored.transfer or None,
        },
        "time_scale": round(stored.time_scale, 6),
        "repeated_frames": int(recording.repeated.sum()),
        "frames": recording.n_frames,
        "frame_rate": round(recording.frame_rate, 6),
        "duration_seconds": round(recording.duration_seconds, 6),
        "created": None if recording.created is None else recording.created.strftime("%Y-%m-%dT%H:%M:%S"),
        "timecode_seconds": recording.timecode_seconds,
        "has_audio": recording.has_audio,
        "telemetry": stated or None,
    }


def to_document(diagnoses: Sequence[Diagnosis], rig: Rig) -> dict[str, Any]:
    """Return what was found as a JSON document."""
    return {
        "schema": SCHEMA,
        "rig": rig.name,
        "level": max((diagnosis.level for diagnosis in diagnoses), key=LEVELS.index, default="ok"),
        "takes": [
            {
                "take": diagnosis.take,
                "level": diagnosis.level,
                "findings": [
                    {
                        "check": finding.check,
                        "level": finding.level,
                        "camera": finding.camera,
                        "message": finding.message,
                        "expected": finding.expected,
                        "advice": finding.advice,
                    }
                    for finding in diagnosis.findings
                ],
                "recordings": dict(diagnosis.facts),
            }
            for diagnosis in diagnoses
        ],
    }
