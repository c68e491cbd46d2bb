"""Data set straight from simulated scenes, without cameras: what networks can be trained on within minutes."""

from __future__ import annotations

import csv
import dataclasses
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np

from rb2v import __version__
from rb2v.artifacts import SPLITS, Crop, Split
from rb2v.core.blur import step_weights
from rb2v.core.color import encode, to_linear
from rb2v.core.metrics import psnr
from rb2v.errors import InputError
from rb2v.execution import Executor, SerialExecutor
from rb2v.io.store import output_folder, sha256_of, whole_file
from rb2v.progress import Progress
from rb2v.shards import Manifest, Provenance, ShardSample
from rb2v.shards.builder import ShardPlan, samples_per_shard, write_data_set
from rb2v.shards.displacement_table import DISPLACEMENT_NAME, Displacement, write_displacements
from rb2v.simulator.config import SequencesConfig
from rb2v.simulator.sequences import (
    BLUR_STEPS,
    N_FRAMES,
    RESPONSE,
    SimulatedSequence,
    SimulatedTake,
    build_take,
    split_photos,
)
from rb2v.simulator.textures import list_photos

MOTION_NAME = "motion.csv"
MOTION_COLUMNS = ("split", "take", "blurry_index", "motion_x_px", "motion_y_px")
"""Of the table that tells the motion of every sample."""

SCENES_VERSION = 2
"""Raised whenever a configuration comes to give other sequences."""
SHARD_SAMPLES = 128
"""Most samples of one shard."""


@dataclass(frozen=True)
class _Part:
    """Some sequences of a split, counted through all of its takes; can be sent to workers."""

    config: SequencesConfig
    photos: tuple[Path, ...]
    split: Split
    start: int
    stop: int

    def takes(self) -> Iterator[tuple[SimulatedTake, range]]:
        """Yield the takes, and which of their sequences are meant."""
        per_scene = self.config.per_scene
        for index in range(self.start // per_scene, -(-self.stop // per_scene)):
            first = index * per_scene
            take = build_take(self.config, self.photos, self.split, index)
            yield take, range(max(self.start - first, 0), min(self.stop - first, per_scene))


def run(
    out_dir: Path,
    config: SequencesConfig,
    *,
    photos_dir: Path | None = None,
    executor: Executor | None = None,
    progress: Progress | None = None,
) -> Path:
    """Write a data set of simulated sequences and return its manifest; finished shards are skipped.

    How the image moves in every sample is told apart from the data, by ``motion.csv`` in `truth_folder`; of opposed
    motion ``displacement.h5`` tells it of every pixel.

    Parameters
    ----------
    out_dir : Path
        The folder to write, new, empty, or left by an interrupted run of the same configuration.
    config : SequencesConfig
        What to simulate.
    photos_dir : Path, optional
        Folder of images to take textures from, in place of those that scikit-image ships; the splits share none.
    executor : Executor, optional
        Where the shards are written; here, by default.
    progress : callable, optional
        Called with the number of samples that are done, their total, and what is done: first their motion is measured,
        unless an earlier run did, then they are written.

    Raises
    ------
    InputError
        If the images cannot be used or are less than two, or the truth would lie within the data.
    ConfigMismatchError
        If the folder, or that of the truth, was made with another configuration.
    """
    executor = executor or SerialExecutor()
    show = progress or (lambda done, total, label: None)
    truth_dir = truth_folder(out_dir)
    # A copy of an image would stand in both splits.
    by_digest = {sha256_of(path): path for path in reversed(list_photos(photos_dir, more=True))}
    digests = {path: digest for digest, path in sorted(by_digest.items(), key=lambda item: item[1])}
    if len(digests) < 2:
        raise InputError(photos_dir or "photos", "holds one image", expected="two or more: the splits share none")
    photos = {split: split_photos(tuple(digests), split) for split in SPLITS}
    made_with = {
        **dataclasses.asdict(config),
        "scenes_version": SCENES_VERSION,
        "photos": {split: {path.name: digests[path] for path in chosen} for split, chosen in photos.items()},
    }
    provenance = Provenance(
        version=__version__,
        config={"simulate_shards": made_with},
        calibration_sha256=None,
        seeds={"simulate_shards": config.seed},
        response=RESPONSE,
    )
    size = (config.size, config.size)
    template = Manifest("simulated", size, Crop(0, 0, *size), {}, provenance, N_FRAMES)
    limit = samples_per_shard(size, N_FRAMES, SHARD_SAMPLES)
    n_sequences = {"train": config.train, "test": config.test}
    parts = [
        _Part(config, photos[split], split, start, min(start + limit, n_sequences[split]))
        for split in SPLITS
        for start in range(0, n_sequences[split], limit)
    ]
    settings = dataclasses.asdict(provenance)
    with output_folder(out_dir, settings), output_folder(truth_dir, settings):
        _ensure_motion(truth_dir / MOTION_NAME, parts, executor, show)
        displacements = truth_dir / DISPLACEMENT_NAME
        if config.motion == "opposed" and not displacements.exists():
            maps = (row for rows in executor.map(_measure_displacement, parts) for row in rows)
            write_displacements(displacements, provenance.config, maps)
        plans = [ShardPlan(part.split, part.stop - part.start, partial(_iter_samples, part)) for part in parts]
        return write_data_set(
            out_dir,
            plans,
            template,
            executor=executor,
            progress=lambda done, total: show(done, total, "writing samples"),
        )


def truth_folder(out_dir: Path) -> Path:
    """Return the folder of a data set's truth: ``out_dir/../truth/<name of out_dir>``.

    Raises
    ------
    InputError
        If it would lie within the data.
    """
    folder = out_dir.resolve()
    truth_dir = folder.parent / "truth" / folder.name
    if truth_dir.is_relative_to(folder):
        raise InputError(out_dir, "its truth would lie within it", expected="another name than 'truth'")
    return truth_dir


def _ensure_motion(path: Path, parts: Sequence[_Part], executor: Executor, show: Progress) -> None:
    done, total = 0, sum(part.stop - part.start for part in parts)
    if path.is_file() and path.read_bytes().count(b"\n") == total + 1:
        return
    with whole_file(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(MOTION_COLUMNS)
        for rows in executor.map(_measure_motion, parts):
            writer.writerows(rows)
            done += len(rows)
            show(done, total, "measuring motion")


def _measure_motion(part: _Part) -> list[list[str]]:
    return [
        [part.split, take.name, str(index), *(f"{value:.6f}" for value in take.motion_px(index))]
        for take, indices in part.takes()
        for index in indices
    ]


def _measure_displacement(part: _Part) -> list[tuple[tuple[Split, str, int], Displacement]]:
    return [
        ((part.split, take.name, index), Displacement(take.displacement(index), take.layers(index)))
        for take, indices in part.takes()
        for index in indices
    ]


def _iter_samples(part: _Part) -> Iterator[ShardSample]:
    for take, indices in part.takes():
        for index in indices:
            sequence = take.render(index)
            yield ShardSample(
                blurry=sequence.blurry,
                sharp=sequence.sharp,
                color=np.eye(3, 4, dtype=np.float32),
                take=take.name,
                subject=take.name,
                category="street",
                blurry_index=index,
                position=0,
                psnr=_blur_psnr(sequence),
            )


def _blur_psnr(sequence: SimulatedSequence) -> float:
    """Return the PSNR of the blur that the sharp frames alone tell of, as coded, in dB."""
    linear = to_linear(sequence.sharp, RESPONSE)
    blur = np.tensordot(step_weights(len(linear), BLUR_STEPS).astype(np.float32), linear, axes=1)
    return psnr(encode(blur, RESPONSE), sequence.blurry)
