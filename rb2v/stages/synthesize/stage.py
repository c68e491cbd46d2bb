"""The stage: judge the sequences of all clips, choose among them, and write them as shards."""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import io
import math
import shutil
from collections import Counter
from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from rb2v import __version__
from rb2v.artifacts import SPLITS, Crop, Split
from rb2v.device import Device
from rb2v.errors import InputError
from rb2v.execution import Executor, SerialExecutor
from rb2v.interpolation import digest_weights, make_interpolator
from rb2v.io.store import output_folder, sha256_of, write_text
from rb2v.progress import Progress, label_count
from rb2v.shards import Manifest, Provenance, ShardSample
from rb2v.shards.builder import ShardPlan, samples_per_shard, write_data_set
from rb2v.shards.packing import PackedSample
from rb2v.stages.synthesize.config import LAYOUT_DEFAULTS, SynthesizeConfig
from rb2v.stages.synthesize.footage import Footage, release_decoders
from rb2v.stages.synthesize.gates import REJECTIONS, Judgment
from rb2v.stages.synthesize.layouts import Clip, find_clips
from rb2v.stages.synthesize.rendering import group_sequences
from rb2v.stages.synthesize.samples import SampleMaker
from rb2v.stages.synthesize.spool import Spool, SpooledClip
from rb2v.stages.synthesize.survey import SURVEY_FOLDER, Survey, remove_spools, survey_clips

TABLE_NAME = "synthesis.csv"
TABLE_COLUMNS = ("clip", "split", "index", "position", "time", "accepted", "reason", "motion_levels", "sharpness")
"""Of the table that says of every sequence whether it was accepted, and why not."""
SURPLUS = "surplus"
"""Reason of sequences beyond ``max_per_clip``, with which nothing is wrong."""
RIG = "synthesized"
"""Name of the rig in manifests of data sets that no rig has recorded."""
SYNTHESIS_VERSION = 1
"""Raised whenever a configuration comes to give other samples."""


@dataclass(frozen=True)
class ClipSummary:
    """Sequences of one clip."""

    name: str
    split: Split
    frames: int
    fps: float
    """Capture rate; NaN where it is not known."""
    stored_fps: float
    """Rate that the file is shown at; NaN where it is not known."""
    sequences: int
    accepted: int
    reasons: Mapping[str, int]
    """Rejected sequences by reason, in the order of `REJECTIONS`."""
    surplus: int
    """Accepted sequences beyond ``max_per_clip``."""


@dataclass(frozen=True)
class Synthesis:
    """Outcome of the stage."""

    manifest: Path
    clips: tuple[ClipSummary, ...]


@dataclass(frozen=True)
class _Part:
    """Some sequences of one clip; can be sent to workers."""

    clip: Clip
    starts: tuple[int, ...]
    """Indices of their first recorded frames, ascending."""
    seconds: float
    """Time of the first of these."""
    spooled: SpooledClip | None
    """Where samples of them may be."""


@dataclass(frozen=True)
class _Recipe:
    """Settings that all shards share."""

    config: SynthesizeConfig
    fps: float | None
    weights: Path | None
    device: Device


def run(
    source: Path,
    out_dir: Path,
    config: SynthesizeConfig | None = None,
    *,
    weights: Path | None = None,
    device: Device = "auto",
    executor: Executor | None = None,
    progress: Progress | None = None,
) -> Synthesis:
    """Write a data set of synthetic blur; clips that are judged and shards that are finished are skipped.

    Parameters
    ----------
    source : Path
        A video, or a folder in the layout of the configuration.
    out_dir : Path
        The folder to write, new, empty, or left by an interrupted run of the same configuration.
    config : SynthesizeConfig, optional
        How to synthesize.
    weights : Path, optional
        File of the interpolator's weights, for one that has some.
    device : {"auto", "cpu", "cuda"}
        Where an interpolator that is a network computes.
    executor : Executor, optional
        Where clips are judged and shards are written; here, by default.
    progress : callable, optional
        Called with what is done, of how much, and what it is.

    Returns
    -------
    Synthesis
        The manifest, and the counts of each clip.

    Raises
    ------
    InputError
        If the source is not of the layout, a clip cannot be read, clips differ in size, or no sequence is accepted.
    ConfigMismatchError
        If the folder was made with another configuration or source.
    """
    config = config or SynthesizeConfig()
    executor = executor or SerialExecutor()
    if config.sharp_per_recorded > 1 or config.blur_samples != config.recorded_per_sequence or weights is not None:
        make_interpolator(config.interpolator, response=config.response, device=device, weights=weights)
    clips = find_clips(source, config.layout)
    split_of = _assign_splits(clips, config, source)
    fps = config.fps or LAYOUT_DEFAULTS[config.layout].fps
    made_with = {
        **dataclasses.asdict(config),
        "keep": list(config.keep),
        "upsampling": config.sharp_per_recorded,
        "stride": config.frames_per_stride,
        "fps": fps,
        "weights_sha256": digest_weights(weights),
        "synthesis_version": SYNTHESIS_VERSION,
        "clips": len(clips),
        "source_sha256": _digest_clips(clips, split_of),
    }
    provenance = Provenance(__version__, {"synthesize": made_with}, None, {"synthesize": config.seed}, config.response)
    with output_folder(out_dir, dataclasses.asdict(provenance)), _forgetting(out_dir):
        recipe = _Recipe(config, _override_fps(clips, config, fps), weights, device)
        counted = label_count(progress, "judging clips")
        surveys = survey_clips(clips, config, recipe.fps, out_dir, executor, counted)
        size = _common_size(surveys, config, source)
        chosen = {survey.clip: _choose(survey.judgments, config) for survey in surveys}
        summaries = tuple(_summarize(survey, split_of[survey.clip], len(chosen[survey.clip])) for survey in surveys)
        if not any(chosen.values()):
            raise _nothing_accepted(summaries, config, source)
        _write_table(out_dir / TABLE_NAME, surveys, split_of, chosen, config)
        rejected: Counter[str] = Counter()
        for summary in summaries:
            rejected.update(summary.reasons)
        made_with = made_with | {"rejected": {reason: rejected[reason] for reason in REJECTIONS if rejected[reason]}}
        provenance = dataclasses.replace(provenance, config={"synthesize": made_with})
        template = Manifest(RIG, size, Crop(0, 0, *size), {}, provenance, config.frames_per_sequence)
        limit = samples_per_shard(size, config.frames_per_sequence, config.shard_samples)
        by_name = {clip.name: clip for clip in clips}
        plans = [
            ShardPlan(split, sum(len(part.starts) for part in parts), partial(_iter_samples, parts, recipe))
            for split in SPLITS
            for parts in _pack(
                [
                    (by_name[survey.clip], chosen[survey.clip], survey.spooled)
                    for survey in surveys
                    if split_of[survey.clip] == split
                ],
                limit,
            )
        ]
        counted = label_count(progress, "writing samples")
        manifest = write_data_set(out_dir, plans, template, executor=executor, progress=counted)
        remove_spools(out_dir)
    return Synthesis(manifest, summaries)


@contextmanager
def _forgetting(out_dir: Path) -> Iterator[None]:
    """Forget what was found of clips where an input is wrong and no shard is there: the next run will differ."""
    try:
        yield
    except InputError:
        if not any(out_dir.glob("*.h5")):
            shutil.rmtree(out_dir / SURVEY_FOLDER, ignore_errors=True)
            (out_dir / TABLE_NAME).unlink(missing_ok=True)
        raise


def _override_fps(clips: Sequence[Clip], config: SynthesizeConfig, fps: float | None) -> float | None:
    """Return the rate that clips are read with: what a layout says holds for folders alone, videos state their own."""
    return config.fps if all(clip.is_video for clip in clips) else fps


def _assign_splits(clips: Sequence[Clip], config: SynthesizeConfig, source: Path) -> dict[str, Split]:
    """Give every clip its split: the published one, or else by a seeded draw."""
    stated = [clip for clip in clips if clip.split is not None]
    if config.split == "published" and len(stated) < len(clips):
        lacking = next(clip for clip in clips if clip.split is None)
        problem = f"nothing says the split of {lacking.name!r}"
        raise InputError(source, problem, "split", "folders train and test, or --split seeded")
    if config.split != "seeded" and stated and len(stated) < len(clips):
        lacking = next(clip for clip in clips if clip.split is None)
        problem = f"{stated[0].name!r} lies in a folder of its split, and {lacking.name!r} does not"
        raise InputError(source, problem, "split", "all clips in folders train and test, or --split seeded")
    if config.split != "seeded" and stated:
        return {clip.name: clip.split for clip in clips if clip.split is not None}
    # A test split is wanted wherever two clips leave one for training.
    n_test = max(round(config.test_share * len(clips)), int(config.test_share > 0 and len(clips) > 1))
    n_test = min(n_test, len(clips) - 1)
    drawn = sorted(clips, key=lambda clip: hashlib.sha256(f"{config.seed}/{clip.name}".encode()).digest())
    return {clip.name: "test" if index < n_test else "train" for index, clip in enumerate(drawn)}


def _digest_clips(clips: Sequence[Clip], split_of: Mapping[str, Split]) -> str:
    """Return a SHA-256 of all clips: of the bytes of videos, and of the names and sizes of a folder's frames."""
    digest = hashlib.sha256()
    for clip in clips:
        if clip.is_video:
            said = sha256_of(clip.source)
        else:
            said = "".join(f"{path.name} {path.stat().st_size}\n" for path in clip.list_frames())
        digest.update(f"{clip.name} {split_of[clip.name]}\n{said}\n".encode())
    return digest.hexdigest()


def _common_size(surveys: Sequence[Survey], config: SynthesizeConfig, source: Path) -> tuple[int, int]:
    if config.output_size is not None:
        return config.output_size
    first = surveys[0]
    for survey in surveys:
        if survey.size != first.size:
            found = "{}x{}".format(*survey.size)
            problem = f"frames of {survey.clip!r} are {found}, those of {first.clip!r} {'{}x{}'.format(*first.size)}"
            raise InputError(source, problem, "output_size", f"clips of one size, or --output-size, {found} at most")
    return first.size


def _choose(judgments: Sequence[Judgment], config: SynthesizeConfig) -> list[Judgment]:
    """Return the accepted sequences of a clip, spread over it where there are more than are wanted."""
    accepted = [judgment for judgment in judgments if not judgment.reason]
    if config.max_per_clip is None or len(accepted) <= config.max_per_clip:
        return accepted
    # The middles of equal parts, so that the clip's ends count no more than the rest.
    n_wanted = config.max_per_clip
    return [accepted[(2 * place + 1) * len(accepted) // (2 * n_wanted)] for place in range(n_wanted)]


def _summarize(survey: Survey, split: Split, n_chosen: int) -> ClipSummary:
    counts = Counter(judgment.reason for judgment in survey.judgments)
    return ClipSummary(
        name=survey.clip,
        split=split,
        frames=survey.frames,
        fps=survey.fps,
        stored_fps=survey.stored_fps,
        sequences=len(survey.judgments),
        accepted=n_chosen,
        reasons={reason: counts[reason] for reason in REJECTIONS if counts[reason]},
        surplus=counts[""] - n_chosen,
    )


def _nothing_accepted(summaries: Sequence[ClipSummary], config: SynthesizeConfig, source: Path) -> InputError:
    """Return the error that says why no sequence was accepted, and what may help."""
    counts: Counter[str] = Counter()
    for summary in summaries:
        counts.update(summary.reasons)
    if not counts:
        most = max(summary.frames for summary in summaries)
        problem = f"no clip holds the frames of a sequence; the longest has {most}"
        return InputError(source, problem, expected=f"at least {config.recorded_per_sequence} recorded frames")
    reason, n = counts.most_common(1)[0]
    said = next(words for name, words in REJECTIONS.items() if name == reason)
    problem = f"{n} of {counts.total()} sequences are rejected as {reason} ({said})"
    return InputError(source, problem, expected=f"a sequence that is accepted, or --keep {reason}")


def _write_table(
    path: Path,
    surveys: Sequence[Survey],
    split_of: Mapping[str, Split],
    chosen: Mapping[str, Sequence[Judgment]],
    config: SynthesizeConfig,
) -> None:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(TABLE_COLUMNS)
    for survey in surveys:
        taken = {judgment.index for judgment in chosen[survey.clip]}
        for one in survey.judgments:
            figures = (_show(one.motion_levels, 3), _show(one.sharpness, 3))
            position = one.start * config.sharp_per_recorded
            reason = one.reason or ("" if one.index in taken else SURPLUS)
            row = (one.index, position, _show(one.time, 6), int(not reason), reason, *figures)
            writer.writerow((survey.clip, split_of[survey.clip], *row))
    write_text(path, text.getvalue())


def _show(value: float, digits: int) -> str:
    return "" if math.isnan(value) else f"{value:.{digits}f}"


def _pack(chosen: Sequence[tuple[Clip, Sequence[Judgment], SpooledClip | None]], limit: int) -> Iterator[list[_Part]]:
    """Yield the parts of each shard: sequences in the order of clips, as many as a shard takes."""
    parts: list[_Part] = []
    room = limit
    for clip, judgments, spooled in chosen:
        left = list(judgments)
        while left:
            taken, left = left[:room], left[room:]
            parts.append(_Part(clip, tuple(judgment.start for judgment in taken), taken[0].time, spooled))
            room -= len(taken)
            if not room:
                yield parts
                parts, room = [], limit
    if parts:
        yield parts


def _iter_samples(parts: Sequence[_Part], recipe: _Recipe) -> Iterator[ShardSample | PackedSample]:
    for part in parts:
        maker = SampleMaker(part.clip, recipe.config, recipe.weights, recipe.device)
        spool = Spool(part.spooled)
        rendered = _render(part, [start for start in part.starts if start not in spool], maker, recipe)
        for start in part.starts:
            yield spool.read(start, maker) or next(rendered)
        rendered.close()
        if part.clip.is_video:
            release_decoders()


def _render(
    part: _Part, starts: Sequence[int], maker: SampleMaker, recipe: _Recipe
) -> Generator[ShardSample, None, None]:
    if not starts:
        return
    footage = Footage(part.clip, recipe.fps).frames(part.starts[0], part.seconds)
    images = ((index, image) for index, _, image in footage)
    for start, frames in group_sequences(images, starts, recipe.config.recorded_per_sequence, maker.framing):
        yield maker.make(frames, start)
