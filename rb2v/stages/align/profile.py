"""Profiles of aligned takes: processor time and bytes by stage, and ``profile.json``."""

from __future__ import annotations

import dataclasses
import resource
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from rb2v.io.store import SCHEMA, check_schema, read_json, validate, write_json
from rb2v.profiling import Profiler, StageCost, profiling

PROFILE_NAME = "profile.json"

STAGES: Mapping[str, str] = {
    "inputs": "checksums of the recordings",
    "decode": "decoding videos, with what is kept of decoded frames",
    "color conversion": "between coded values and linear light, from planes to RGB, and color maps",
    "warp": "lens, homography and crop in one interpolation",
    "reduce": "small frames, scene cuts, and the error of interpolated frames",
    "offset": "coarse offset by sound, gyro, motion and timecode",
    "search": "scores of windows",
    "timing": "clock, exposure, shutter and flicker",
    "registration": "shift between the views, and the take's own homography",
    "interpolation": "frames between recorded ones, and windows of them",
    "color fit": "color maps",
    "matte": "keying and composites of green-screen takes",
    "write": "samples, and the result",
    "other": "everything else",
}
"""What is charged to each stage, in the order of the table."""

_BYTES_PER_KIBIBYTE = 1024  # the unit of ru_maxrss on Linux


@dataclass(frozen=True)
class TakeProfile:
    """Cost of a take, or of several together."""

    n_frames: int
    """Blurry frames that were aligned; once for each time."""
    processor_seconds: float
    """Of all threads of the process."""
    wall_seconds: float
    """Of several takes the sum, whether they were aligned side by side or not."""
    peak_memory_bytes: int
    """Resident memory of the process, at most, since its start."""
    stages: dict[str, StageCost]
    """By the names of `STAGES`; each with all of them."""


@dataclass
class _Recorded:
    profile: TakeProfile | None = None
    n_frames: int = 0


@contextmanager
def record_profile(*, is_on: bool) -> Iterator[_Recorded]:
    """Profile the block, whose take's number of blurry frames is to be set; nothing is measured unless it is on."""
    recorded = _Recorded()
    if not is_on:
        yield recorded
        return
    with profiling() as profiler:
        yield recorded
        recorded.profile = _profile_of(profiler, recorded.n_frames)


def _profile_of(profiler: Profiler, n_frames: int) -> TakeProfile:
    stages = {name: profiler.costs.get(name, StageCost()) for name in STAGES}
    total = profiler.processor_seconds
    stages["other"].processor_seconds += total - sum(cost.processor_seconds for cost in profiler.costs.values())
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    peak_bytes = peak if sys.platform == "darwin" else peak * _BYTES_PER_KIBIBYTE
    return TakeProfile(n_frames, total, profiler.wall_seconds, peak_bytes, stages)


def add_profiles(profiles: Sequence[TakeProfile]) -> TakeProfile:
    """Return the cost of takes together.

    Raises
    ------
    ValueError
        If there are none.
    """
    return TakeProfile(
        sum(one.n_frames for one in profiles),
        sum(one.processor_seconds for one in profiles),
        sum(one.wall_seconds for one in profiles),
        max(one.peak_memory_bytes for one in profiles),
        {name: _add([one.stages[name] for one in profiles if name in one.stages]) for name in STAGES},
    )


def _add(costs: Sequence[StageCost]) -> StageCost:
    return StageCost(*(sum(getattr(cost, one.name) for cost in costs) for one in dataclasses.fields(StageCost)))


@dataclass(frozen=True)
class _Document:
    takes: dict[str, TakeProfile] = field(default_factory=dict)


def write_profiles(folder: Path, profiles: Mapping[str, TakeProfile]) -> Path:
    """Write ``profile.json`` of a folder, in which takes that are not among those of now keep theirs; return its path.

    Raises
    ------
    InputError
        If there is one that cannot be read.
    """
    path = folder / PROFILE_NAME
    known = read_profiles(folder) if path.exists() else {}
    takes = {name: dataclasses.asdict(one) for name, one in sorted((known | dict(profiles)).items())}
    return write_json(path, {"schema": SCHEMA, "takes": takes})


def read_profiles(folder: Path) -> dict[str, TakeProfile]:
    """Read ``profile.json`` of a folder: the cost of each take.

    Raises
    ------
    InputError
        If it is missing, malformed or of another schema.
    """
    path = folder / PROFILE_NAME
    document = read_json(path)
    check_schema(path, document)
    return validate(_Document, {key: value for key, value in document.items() if key != "schema"}, path).takes
