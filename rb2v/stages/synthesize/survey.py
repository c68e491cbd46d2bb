"""A first look at all clips: their size, their rate, and a judgment on every sequence, kept beside the shards."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rb2v.core.exposure import Exposure
from rb2v.execution import Executor, count_workers
from rb2v.io.store import SCHEMA, check_schema, read_json, validate, write_json
from rb2v.progress import Count
from rb2v.stages.synthesize.config import SynthesizeConfig
from rb2v.stages.synthesize.footage import Footage, release_decoders
from rb2v.stages.synthesize.gates import ClipMeter, Judgment, judge_sequences
from rb2v.stages.synthesize.layouts import Clip
from rb2v.stages.synthesize.samples import SampleMaker
from rb2v.stages.synthesize.spool import SPOOL_SUFFIX, EarlyRenderer, SpooledClip, SpoolWriter, create_spool

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
    spooled: SpooledClip | None = None
    """Where samples of it may be that were rendered on the way."""


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
    spools: bool
    """Whether samples are rendered, into a file beside it."""


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
    groups = list(_group(clips))
    # Fewer groups than workers are judged as fast as may be, and their samples written by all workers.
    n_workers = count_workers(executor)
    spools = _is_worth_spooling(config) and n_workers is not None and len(groups) >= n_workers
    tasks = [
        _Task(group, config, fps, out_dir / SURVEY_FOLDER / f"part-{index:05d}.json", spools)
        for index, group in enumerate(groups)
    ]
    surveys: list[Survey] = []
    for path in executor.map(_look, tasks):
        surveys += _read(path)
        if progress is not None:
            progress(len(surveys), len(clips))
    return surveys


def remove_spools(out_dir: Path) -> None:
    """Remove the samples that `survey_clips` has left in the folder of a data set."""
    for path in (out_dir / SURVEY_FOLDER).glob(f"*{SPOOL_SUFFIX}"):
        path.unlink()


def _is_worth_spooling(config: SynthesizeConfig) -> bool:
    """Return whether decoding again costs more than rendering sequences that are then not taken."""
    exposure = Exposure(config.recorded_per_sequence, config.sharp_per_recorded, config.blur_samples, config.exposure)
    return config.max_per_clip is None and not exposure.interpolates


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
        path = task.path.with_suffix(SPOOL_SUFFIX)
        # Frames of folders that are not judged are not read either.
        decodes = task.config.reject or any(clip.is_video for clip in task.clips)
        with create_spool(path) if task.spools and decodes else nullcontext() as spool:
            found = [
                _survey(clip, task.config, task.fps, None if spool is None else (spool, index))
                for index, clip in enumerate(task.clips)
            ]
        if any(clip.is_video for clip in task.clips):
            release_decoders()
        write_json(task.path, {"schema": SCHEMA, "clips": [_to_document(survey) for survey in found]})
    return task.path


def _to_document(survey: Survey) -> dict[str, Any]:
    document = dataclasses.asdict(survey)
    del document["spooled"]
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
    spool = path.with_suffix(SPOOL_SUFFIX)
    has_spool = spool.is_file()
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
            spooled=SpooledClip(spool, place) if has_spool else None,
        )
        for place, one in enumerate(validate(_Documents, raw, path).clips)
    ]


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _or_nan(value: float | None) -> float:
    return math.nan if value is None else value


def _survey(clip: Clip, config: SynthesizeConfig, fps: float | None, spool: tuple[SpoolWriter, int] | None) -> Survey:
    footage = Footage(clip, fps)
    stored = footage.read_format()
    maker = SampleMaker(clip, config)
    meter = ClipMeter(
        config.recorded_per_sequence,
        tick_seconds=0.0 if stored is None or not config.reject else stored.tick_seconds,
        has_times=stored is not None or fps is not None,
    )
    size = (0, 0)
    if not config.reject and not clip.is_video:
        shape, n_frames = footage.read_sizes()
        size = maker.framing.place(shape).output_size
        for index in range(n_frames):
            meter.pass_over(footage.time_of(index))
    else:
        early = None if spool is None else EarlyRenderer(maker, config, meter, *spool)
        for index, seconds, image in footage.frames():
            size = maker.framing.place(image.shape).output_size
            if config.reject:
                meter.add(seconds, maker.framing.cut_luma(image))
            else:
                meter.pass_over(seconds)
            if early is not None:
                early.add(index, image)
        if early is not None:
            early.finish()
    measures = meter.measures()
    rate = measures.fps
    stored_fps = rate * stored.time_scale if stored is not None else rate
    return Survey(clip.name, size, measures.n_frames, rate, stored_fps, tuple(judge_sequences(measures, config)))
