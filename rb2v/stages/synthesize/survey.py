"""A first look at all clips: their size, their rate, and a judgment on every sequence, kept beside the shards."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rb2v.execution import Executor
from rb2v.io.store import SCHEMA, check_schema, read_json, validate, write_json
from rb2v.progress import Count
from rb2v.stages.synthesize.config import SynthesizeConfig
from rb2v.stages.synthesize.footage import Footage, release_decoders
from rb2v.stages.synthesize.gates import Judgment, judge_sequences, leave_unmeasured, measure_frames
from rb2v.stages.synthesize.layouts import Clip
from rb2v.stages.synthesize.rendering import Framing

SURVEY_FOLDER = "survey"
"""Folder of what was found of the clips, within that of the shards."""

_FRAMES_PER_TASK = 500  # of short clips together: a few seconds of work, and few files


@dataclass(frozen=True)
class Survey:
    """What was found of a clip."""

    clip: str
    size: tuple[int, int]
    """Width and height of the frames that it gives, in pixels; 0 of a clip without frames."""
    frames: int
    fps: float
    """Capture rate; NaN where it is not known."""
    stored_fps: float
    """Rate that the file is shown at; NaN where it is not known."""
    judgments: tuple[Judgment, ...]


@dataclass(frozen=True)
class _Document:
    """A survey as JSON holds it, which knows no NaN."""

    clip: str
    size: tuple[int, int]
    frames: int
    fps: float | None
    stored_fps: float | None
    judgments: list[tuple[int, int, float | None, str, float | None, float | None]]


@dataclass(frozen=True)
class _Documents:
    schema: int
    clips: list[_Document]


@dataclass(frozen=True)
class _Task:
    """Some clips that one worker looks at; can be sent to workers."""

    clips: tuple[Clip, ...]
    config: SynthesizeConfig
    fps: float | None
    path: Path
    """File to write."""


def survey_clips(
    clips: Sequence[Clip],
    config: SynthesizeConfig,
    fps: float | None,
    out_dir: Path,
    executor: Executor,
    progress: Count | None,
) -> list[Survey]:
    """Return what is found of every clip; what an earlier run of the same settings has found is read.

    Parameters
    ----------
    clips : sequence of Clip
        The clips.
    config : SynthesizeConfig
        How to judge.
    fps : float or None
        The capture rate, see `Footage`.
    out_dir : Path
        The folder of the data set, adopted by this run.
    executor : Executor
        Where clips are looked at.
    progress : callable or None
        Called with the number of clips that are done, and of all.

    Raises
    ------
    InputError
        If a clip cannot be read, or what is kept in the folder is damaged.
    """
    tasks = [
        _Task(group, config, fps, out_dir / SURVEY_FOLDER / f"part-{index:05d}.json")
        for index, group in enumerate(_group(clips))
    ]
    surveys: list[Survey] = []
    for path in executor.map(_look, tasks):
        surveys += _read(path)
        if progress is not None:
            progress(len(surveys), len(clips))
    return surveys


def _group(clips: Sequence[Clip]) -> Iterator[tuple[Clip, ...]]:
    """Yield clips that are looked at together: a video or a folder alone, short sequences by the hundred."""
    group: list[Clip] = []
    n_frames = 0
    for clip in clips:
        group.append(clip)
        n_frames += len(clip.frames) or _FRAMES_PER_TASK
        if n_frames >= _FRAMES_PER_TASK:
            yield tuple(group)
            group, n_frames = [], 0
    if group:
        yield tuple(group)


def _look(task: _Task) -> Path:
    if not task.path.is_file():
        found = [_survey(clip, task.config, task.fps) for clip in task.clips]
        if any(clip.is_video for clip in task.clips):
            release_decoders()
        write_json(task.path, {"schema": SCHEMA, "clips": [_to_document(survey) for survey in found]})
    return task.path


def _to_document(survey: Survey) -> dict[str, Any]:
    document = dataclasses.asdict(survey)
    return {
        **document,
        "fps": _known(survey.fps),
        "stored_fps": _known(survey.stored_fps),
        "judgments": [
            [one.index, one.start, _known(one.time), one.reason, _known(one.motion_levels), _known(one.sharpness)]
            for one in survey.judgments
        ],
    }


def _read(path: Path) -> list[Survey]:
    raw = read_json(path)
    check_schema(path, raw)
    return [
        Survey(
            clip=one.clip,
            size=one.size,
            frames=one.frames,
            fps=_or_nan(one.fps),
            stored_fps=_or_nan(one.stored_fps),
            judgments=tuple(
                Judgment(index, start, _or_nan(time), reason, _or_nan(motion_levels), _or_nan(sharpness))
                for index, start, time, reason, motion_levels, sharpness in one.judgments
            ),
        )
        for one in validate(_Documents, raw, path).clips
    ]


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value


def _survey(clip: Clip, config: SynthesizeConfig, fps: float | None) -> Survey:
    footage = Footage(clip, fps)
    stored = footage.read_format()
    framing = Framing(config.output_size, config.response, clip.source)
    n_recorded = config.recorded_per_sequence
    if config.reject:
        size = (0, 0)

        def iter_luma() -> Iterator[tuple[float, NDArray[np.uint8]]]:
            nonlocal size
            for _, seconds, image in footage.frames():
                size = framing.place(image.shape).output_size
                yield seconds, framing.cut_luma(image)

        measures = measure_frames(
            iter_luma(),
            n_recorded,
            tick_seconds=0.0 if stored is None else stored.tick_seconds,
            has_times=stored is not None or fps is not None,
        )
    else:
        shape, times = footage.read_times()
        size = framing.place(shape).output_size
        measures = leave_unmeasured(len(times), n_recorded, times if np.isfinite(times).all() else None)
    rate = measures.fps
    stored_fps = rate * stored.time_scale if stored is not None else rate
    return Survey(clip.name, size, measures.n_frames, rate, stored_fps, tuple(judge_sequences(measures, config)))
