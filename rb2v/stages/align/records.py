"""Records of finished takes, and whether those were made of the same files."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rb2v.artifacts import Calibration, FormatOverride, Take, TakeRegistration, Timing
from rb2v.errors import InputError
from rb2v.io.aligned import AlignedTakeReader, aligned_take_path
from rb2v.io.store import sha256_of
from rb2v.io.video import read_image
from rb2v.profiling import count_bytes
from rb2v.stages.align.profile import TakeProfile


@dataclass(frozen=True)
class TakeRecord:
    """What came of a take."""

    name: str
    n_frames: int
    n_accepted: int
    reasons: Mapping[str, int]
    """How many frames were not accepted, by reason."""
    timing: Timing
    registration: TakeRegistration | None
    """How far the two views lie off each other; None where too little tells it."""
    profile: TakeProfile | None = None
    """What it cost; None where that was not asked for, or the take was finished before."""


def read_record(take: Take, out_dir: Path, profile: TakeProfile | None) -> TakeRecord:
    """Return the record of a finished take, given what it cost."""
    with AlignedTakeReader(aligned_take_path(out_dir, take.name)) as reader:
        frames, n_accepted = reader.read_frames(), len(reader)
        timing, registration = reader.timing, reader.registration
    reasons = Counter(frame.reason for frame in frames if not frame.accepted)
    return TakeRecord(take.name, len(frames), n_accepted, reasons, timing, registration, profile)


def check_plates(take: Take, calibration: Calibration) -> None:
    """Check that a take's clean plates are of the sizes that the calibration was made for.

    Raises
    ------
    InputError
        If one is not, or cannot be read.
    """
    plates = ((take.plate_blurry, calibration.size_blurry), (take.plate_sharp, calibration.size_sharp))
    for plate, size in plates:
        if plate is not None:
            height, width = read_image(plate).shape[:2]
            if (width, height) != size:
                expected = f"{size[0]}x{size[1]} as in the calibration"
                raise InputError(plate, f"is {width}x{height}", expected=expected)


def digest_inputs(take: Take) -> str:
    """Return a digest of all that a take's result depends on, but for the folder's configuration."""
    stated: tuple[object, ...] = (take.category, take.subject, take.green_screen, take.split)
    if (take.blurry_format, take.sharp_format) != (FormatOverride(), FormatOverride()):
        stated += (take.blurry_format, take.sharp_format)
    if take.screen != "auto":
        stated += (take.screen,)
    digest = hashlib.sha256(repr(stated).encode())
    for path in (*take.blurry, *take.sharp, take.plate_blurry, take.plate_sharp):
        digest.update(b"|")
        if path is not None:
            count_bytes(read=path.stat().st_size)
            digest.update(bytes.fromhex(sha256_of(path)))
    return digest.hexdigest()


def is_finished(take: Take, out_dir: Path) -> bool:
    """Return whether a take's file is there, made of the files that are there now."""
    path = aligned_take_path(out_dir, take.name)
    return path.exists() and is_made_from(path, digest_inputs(take))


def is_made_from(path: Path, inputs_sha256: str) -> bool:
    """Return whether a take's file is there, made of files of a digest."""
    if not path.exists():
        return False
    with AlignedTakeReader(path) as reader:
        return reader.inputs_sha256 == inputs_sha256
