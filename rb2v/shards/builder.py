"""Build a data set shard by shard, on any executor, and resume an earlier run."""

from __future__ import annotations

import dataclasses
import logging
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from rb2v.artifacts import SPLITS, Category, Split
from rb2v.execution import Executor, SerialExecutor
from rb2v.io.hdf5 import naming_damage, open_hdf5, own_dataset
from rb2v.progress import Count
from rb2v.shards.layout import ShardSample
from rb2v.shards.manifest import Manifest, ShardEntry, SplitEntry, read_digests, write_manifest
from rb2v.shards.packing import PackedSample
from rb2v.shards.writer import ensure_shard

logger = logging.getLogger(__name__)

MAX_SHARD_BYTES = 2**30
"""Of frames before compression."""


@dataclass(frozen=True)
class ShardPlan:
    """A shard that is to be written."""

    split: Split
    samples: int
    """Number of samples."""
    read: Callable[[], Iterable[ShardSample | PackedSample]]
    """Returns the samples; travels to the worker that writes the shard."""


def samples_per_shard(size: tuple[int, int], frames_per_sequence: int, most: int) -> int:
    """Return how many samples a shard takes, at least 1.

    Parameters
    ----------
    size : (int, int)
        Width and height of the frames in pixels.
    frames_per_sequence : int
        Sharp frames of one sample.
    most : int
        The number wanted, if the frames are small enough for it.
    """
    sample_bytes = 3 * size[0] * size[1] * (1 + frames_per_sequence)
    return max(1, min(most, MAX_SHARD_BYTES // sample_bytes))


def write_data_set(
    out_dir: Path,
    plans: Sequence[ShardPlan],
    template: Manifest,
    *,
    executor: Executor | None = None,
    progress: Count | None = None,
) -> Path:
    """Write the shards of a data set, but for those that an earlier run wrote, and its manifest.

    Parameters
    ----------
    out_dir : Path
        The folder, adopted by this run (`rb2v.io.store.output_folder`).
    plans : sequence of ShardPlan
        The shards, in their order within the splits.
    template : Manifest
        The manifest, without splits.
    executor : Executor, optional
        Where the shards are written; here, by default.
    progress : callable, optional
        Called with the number of samples written and their total.

    Returns
    -------
    Path
        The manifest.
    """
    known = read_digests(out_dir)
    entries: defaultdict[Split, list[ShardEntry]] = defaultdict(list)
    counts: defaultdict[Split, Counter[Category]] = defaultdict(Counter)
    n_done, n_total = 0, sum(plan.samples for plan in plans)
    n_of_split: Counter[Split] = Counter()
    tasks = []
    for plan in plans:
        path = out_dir / f"{plan.split}-{n_of_split[plan.split]:05d}.h5"
        n_of_split[plan.split] += 1
        tasks.append((path, plan, known.get(path.name)))
    for plan, (entry, categories) in zip(plans, (executor or SerialExecutor()).map(_write, tasks), strict=True):
        entries[plan.split].append(entry)
        counts[plan.split] += categories
        n_done += plan.samples
        logger.info("%s: %d samples", entry.file, plan.samples)
        if progress is not None:
            progress(n_done, n_total)
    splits = {split: SplitEntry(tuple(entries[split]), counts[split]) for split in SPLITS}
    return write_manifest(out_dir, dataclasses.replace(template, splits=splits))


def _write(task: tuple[Path, ShardPlan, str | None]) -> tuple[ShardEntry, Counter[Category]]:
    path, plan, known_sha256 = task
    entry = ensure_shard(path, plan.samples, plan.read, known_sha256)
    with open_hdf5(path, "a shard that this command wrote") as file, naming_damage(file, "category"):
        return entry, Counter(own_dataset(file, "category").asstr()[()].tolist())
