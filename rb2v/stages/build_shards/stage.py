"""The stage: which samples stand in which shard, and what is written of each."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from rb2v import __version__
from rb2v.artifacts import SPLITS, Split
from rb2v.core.color import to_linear
from rb2v.core.compositing import blur_residual_psnr
from rb2v.errors import InputError
from rb2v.execution import Executor, SerialExecutor
from rb2v.io.aligned import AlignedSample, read_aligned_manifest
from rb2v.io.store import output_folder
from rb2v.matting import fit_to_take, make_matting_method
from rb2v.matting.backgrounds import Picture, find_pictures
from rb2v.progress import Count
from rb2v.shards import Manifest, Provenance, ShardSample
from rb2v.shards.builder import ShardPlan, samples_per_shard, write_data_set
from rb2v.stages.build_shards.compositing import draw_window, fit_window, replace_screen
from rb2v.stages.build_shards.config import BuildShardsConfig
from rb2v.stages.build_shards.judging import Keying, choose_keying, choose_samples
from rb2v.stages.build_shards.splits import split_subjects
from rb2v.stages.build_shards.takes import Source, TakeRecord, read_take

_Part = tuple[str, Sequence[int]]  # a take, and some of its accepted frames


@dataclass(frozen=True)
class _Recipe:
    """What all shards have in common."""

    source: Source
    config: BuildShardsConfig
    keying: Keying
    backgrounds: Mapping[Split, tuple[Picture, ...]]


def run(
    aligned_dir: Path,
    out_dir: Path,
    config: BuildShardsConfig | None = None,
    *,
    weights: Path | None = None,
    backgrounds: Path | None = None,
    executor: Executor | None = None,
    progress: Count | None = None,
) -> Path:
    """Build a data set and return its manifest; finished shards are skipped.

    Green-screen takes that were not judged by the same matting method and weights when they were aligned, or of which
    only a part is kept, are judged before the shards are planned.

    Parameters
    ----------
    aligned_dir : Path
        A folder that ``rb2v align`` wrote.
    out_dir : Path
        The folder to write, new, empty, or left by an interrupted run of the same configuration.
    config : BuildShardsConfig, optional
        How to build.
    weights : Path, optional
        File of the matting method's weights, for one that has some.
    backgrounds : Path, optional
        A folder of images to put behind green-screen takes; photographs of scikit-image by default.
    executor : Executor, optional
        Where the shards are written; here, by default.
    progress : callable, optional
        Called with the number of samples written and their total.

    Raises
    ------
    InputError
        If the aligned takes or the backgrounds cannot be used, no sample is accepted, a subject is in both splits, or
        the weights are not those that the takes were aligned with.
    """
    config = config or BuildShardsConfig()
    executor = executor or SerialExecutor()
    aligned = read_aligned_manifest(aligned_dir)
    takes = [read_take(aligned_dir, name) for name in sorted(aligned.takes)]
    takes = [take for take in takes if take.samples]
    if not takes:
        raise InputError(aligned_dir, "no take holds an accepted frame", expected="at least one; see alignment.csv")
    if len({take.frames_per_sequence for take in takes}) > 1:
        raise InputError(aligned_dir, "takes differ in the number of sharp frames", expected="takes of one rig")
    split_of = split_subjects(takes, config, aligned_dir)
    green_splits = {split_of[take.subject] for take in takes if take.green_screen}
    window = fit_window(aligned.output_size, config.output_size, aligned_dir)
    pictures = find_pictures(backgrounds, green_splits, (window.width, window.height), config.test_share)
    keying = choose_keying(aligned, aligned_dir, config, weights, is_needed=bool(green_splits))
    build = {
        **dataclasses.asdict(config),
        "matter": keying.matter,
        "weights_sha256": keying.weights_sha256,
        "backgrounds": {split: {one.path.name: one.sha256 for one in found} for split, found in pictures.items()},
    }
    provenance = Provenance(
        version=__version__,
        config={"align": aligned.config, "build_shards": build},
        calibration_sha256=aligned.calibration_sha256,
        seeds={"build_shards": config.seed},
        response=aligned.response,
    )
    settings = {**dataclasses.asdict(provenance), "takes": {take.name: take.digest for take in takes}}
    settings |= {"aligned_size": aligned.output_size}
    with output_folder(out_dir, settings):
        source = Source(aligned_dir, aligned.response, window)
        kept = choose_samples(takes, source, keying, executor, out_dir, settings)
        left_out = {take.name: take.samples - len(kept[take.name]) for take in takes}
        build |= {"left_out": {name: n_samples for name, n_samples in left_out.items() if n_samples}}
        provenance = dataclasses.replace(provenance, config={"align": aligned.config, "build_shards": build})
        limit = samples_per_shard(window.output_size, takes[0].frames_per_sequence, config.shard_samples)
        template = Manifest(
            rig=aligned.rig,
            output_size=window.output_size,
            crop=window.shrink(aligned.crop),
            splits={},
            provenance=provenance,
            frames_per_sequence=takes[0].frames_per_sequence,
        )
        recipe = _Recipe(source, config, keying, pictures)
        plans = list(_plan_shards(takes, kept, split_of, limit, recipe))
        return write_data_set(out_dir, plans, template, executor=executor, progress=progress)


def _plan_shards(
    takes: Sequence[TakeRecord],
    kept: Mapping[str, Sequence[int]],
    split_of: Mapping[str, Split],
    limit: int,
    recipe: _Recipe,
) -> Iterator[ShardPlan]:
    for split in SPLITS:
        parts: list[list[_Part]] = []
        room = 0
        for take in takes:
            left = kept[take.name]
            while split_of[take.subject] == split and left:
                if room == 0:
                    parts.append([])
                    room = limit
                chosen, left = left[:room], left[room:]
                parts[-1].append((take.name, chosen))
                room -= len(chosen)
        for part in parts:
            samples = sum(len(indices) for _, indices in part)
            yield ShardPlan(split, samples, partial(_iter_samples, part, split, recipe))


def _iter_samples(parts: Sequence[_Part], split: Split, recipe: _Recipe) -> Iterator[ShardSample]:
    source, config = recipe.source, recipe.config
    window, response = source.window, source.response
    for name, indices in parts:
        with recipe.source.open(name) as reader:
            matting = None
            if reader.green_screen:
                unfitted = make_matting_method(recipe.keying.matter, recipe.keying.weights)
                matting = fit_to_take(reader, unfitted, response, window.cut)
            for index in indices:
                sample = source.read(reader, index)
                composite_psnr = math.nan
                blurry_index = int(reader.blurry_index[index])
                if matting is not None:
                    background = draw_window(recipe.backgrounds[split], window, config.seed, name, blurry_index)
                    sample = replace_screen(
                        sample, matting, background, window, response, light_match=config.light_match
                    )
                    light = (to_linear(frames, response) for frames in (sample.sharp, sample.blurry))
                    composite_psnr = blur_residual_psnr(*light)
                elif window.resizes:
                    frames = [
                        window.finish(to_linear(frame, response), response) for frame in (sample.blurry, *sample.sharp)
                    ]
                    sample = AlignedSample(frames[0], np.stack(frames[1:]))
                yield ShardSample(
                    blurry=sample.blurry,
                    sharp=sample.sharp,
                    color=reader.color[index],
                    take=name,
                    subject=reader.subject,
                    category=reader.category,
                    blurry_index=blurry_index,
                    position=int(reader.position[index]),
                    psnr=float(reader.psnr[index]),
                    composite_psnr=composite_psnr,
                )
