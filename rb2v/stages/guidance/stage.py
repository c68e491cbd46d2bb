"""The table of guidance: every sequence of a data set, from one source."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rb2v.artifacts import SPLITS
from rb2v.core.motion_classes import STATIC
from rb2v.device import check_torch_device
from rb2v.errors import InputError
from rb2v.execution import Executor, SerialExecutor
from rb2v.interpolation.dense_flow import FlowEstimator, estimate_dis
from rb2v.io.store import sha256_of
from rb2v.progress import Progress
from rb2v.shards import ShardReader, manifest_path
from rb2v.shards.displacement_table import DisplacementReader
from rb2v.shards.guidance_files import FileSource, guidance_of_flow
from rb2v.shards.guidance_table import GuidanceSource, Key, check_guidance_path, write_guidance
from rb2v.stages.guidance.config import GuidanceConfig
from rb2v.stages.guidance.sources import guidance_of_sequence

MIN_MOVING_SHARE = 0.01
"""Share of moving pixels below which the authors drop a sample; here it is counted, and nothing is dropped."""
_TASK_SAMPLES = 16  # half a megabyte of maps at 448x448 on the way back, and some seconds of work

Classes = NDArray[np.uint8]


@dataclass(frozen=True)
class GuidanceSummary:
    """Outcome of `run`."""

    path: Path
    samples: int
    source: GuidanceSource
    shares: tuple[float, ...]
    """Share of the pixels of all samples in each class."""
    still: int
    """Samples of which less than `MIN_MOVING_SHARE` moves."""


def run(
    shards_dir: Path,
    out: Path,
    config: GuidanceConfig | None = None,
    *,
    flow_dir: Path | None = None,
    flow_weights: Path | None = None,
    truth: Path | None = None,
    device: str = "auto",
    executor: Executor | None = None,
    progress: Progress | None = None,
) -> GuidanceSummary:
    """Write the guidance of every sample of a data set.

    Parameters
    ----------
    shards_dir : Path
        A folder that ``rb2v build-shards`` wrote.
    out : Path
        The table to write.
    config : GuidanceConfig, optional
        The threshold of static pixels.
    flow_dir : Path, optional
        Files of flow or guidance in place of an estimate: a folder for each take, see `FLOW_NAMES` and `TREND_NAMES`.
    flow_weights : Path, optional
        State dict of RAFT, which then estimates the flow in place of DIS.
    truth : Path, optional
        Truth folder of simulated samples, whose displacement then takes the place of an estimate.
    device : {"auto", "cpu", "cuda"}
        Where RAFT computes.
    executor : Executor, optional
        Where DIS and files are worked on; here, by default.
    progress : callable, optional
        Called with the samples that are done, their number, and what is done.

    Raises
    ------
    InputError
        If the shards, files or weights cannot be used, both sources are given, or ``out`` holds something else.
    """
    config = config or GuidanceConfig()
    sources = {"flow_dir": flow_dir, "flow_weights": flow_weights, "truth": truth}
    first, *others = [name for name, path in sources.items() if path is not None] or [""]
    if others:
        raise InputError("options", f"is given beside {first}", others[0], "one source of flow")
    check_guidance_path(out)
    readers = [ShardReader(shards_dir, split) for split in SPLITS]
    total = sum(map(len, readers))
    if not total:
        raise InputError(manifest_path(shards_dir), "holds no sample", "splits", "at least one")
    counts = np.zeros(5, dtype=np.int64)
    n_still = 0
    if flow_weights is not None:
        check_torch_device(device)
        source = GuidanceSource("raft", config.static_px, sha256_of(flow_weights) if flow_weights.is_file() else "")
        maps = _estimate_by_raft(readers, config, flow_weights, device)
    elif truth is not None:
        source = GuidanceSource("truth", config.static_px)
        maps = _read_truth(readers, config, truth)
    else:
        source = GuidanceSource("dis" if flow_dir is None else "files", config.static_px)
        maps = _map_parts(shards_dir, readers, config, flow_dir, executor or SerialExecutor())

    def rows() -> Iterator[tuple[Key, Classes]]:
        nonlocal n_still, counts
        for done, (key, classes) in enumerate(maps, start=1):
            counts += np.bincount(classes.ravel(), minlength=len(counts))
            n_still += np.mean(classes != STATIC) < MIN_MOVING_SHARE
            yield key, classes
            if progress is not None:
                progress(done, total, "estimating motion")

    write_guidance(out, shards_dir, source, rows())
    return GuidanceSummary(out, total, source, tuple((counts / counts.sum()).tolist()), int(n_still))


def _estimate_by_raft(
    readers: list[ShardReader], config: GuidanceConfig, weights: Path, device: str
) -> Iterator[tuple[Key, Classes]]:
    from rb2v.interpolation.learned.raft import load_raft

    estimate = load_raft(weights, device)
    for reader in readers:
        for index, key in enumerate(reader.keys):
            yield key, _estimate(reader, index, config, estimate)


def _read_truth(readers: list[ShardReader], config: GuidanceConfig, truth: Path) -> Iterator[tuple[Key, Classes]]:
    for reader in filter(len, readers):
        displacements = DisplacementReader(truth, reader)
        for index, key in enumerate(reader.keys):
            # Of the whole sequence, as of two frames.
            yield key, guidance_of_flow(displacements.read(index).moved_px, 2, config.static_px)


def _estimate(reader: ShardReader, index: int, config: GuidanceConfig, estimate: FlowEstimator) -> Classes:
    return guidance_of_sequence(reader.read_sharp(index), config.static_px, estimate)


@dataclass(frozen=True)
class _Part:
    """Some samples of a split; can be sent to workers."""

    split_index: int
    samples: range


def _map_parts(
    shards_dir: Path, readers: list[ShardReader], config: GuidanceConfig, flow_dir: Path | None, executor: Executor
) -> Iterator[tuple[Key, Classes]]:
    parts = [
        _Part(place, range(start, min(start + _TASK_SAMPLES, len(reader))))
        for place, reader in enumerate(readers)
        for start in range(0, len(reader), _TASK_SAMPLES)
    ]
    keys = [reader.keys for reader in readers]
    work = partial(_work_on_part, shards_dir, config, flow_dir)
    for part, maps in zip(parts, executor.map(work, parts), strict=True):
        for index, classes in zip(part.samples, maps, strict=True):
            yield keys[part.split_index][index], classes


def _work_on_part(shards_dir: Path, config: GuidanceConfig, flow_dir: Path | None, part: _Part) -> list[Classes]:
    reader = ShardReader(shards_dir, SPLITS[part.split_index])
    if flow_dir is None:
        return [_estimate(reader, index, config, estimate_dis) for index in part.samples]
    manifest = reader.manifest
    files = FileSource(flow_dir, manifest.output_size, manifest.frames_per_sequence, config.static_px)
    return [files.read(*reader.keys[index][1:]) for index in part.samples]
