"""A data set in numbers: how much there is of what, and how its values are distributed."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from rb2v.artifacts import CATEGORIES, SPLITS
from rb2v.errors import InputError
from rb2v.inspection.selection import sample_splits, select_samples
from rb2v.io.store import SCHEMA
from rb2v.progress import Count
from rb2v.shards import ShardReader

MOST_MOTION_SAMPLES = 400
"""Samples whose frames are read to measure motion; a data set of any size takes seconds."""

_FLOW_SIDE_PX = (16, 224)  # of the shorter side: the least that the flow can work on, and the most that it needs
_MOST_BINS = 12  # lines of a terminal that one histogram takes
_LEAST_BIN = 1e-3  # of the values themselves: what differs less is the same to a reader
_MOST_PHASES = 64  # of a period: bars that can still be told apart


@dataclass(frozen=True)
class Histogram:
    """Counts of values between edges; a value on an edge belongs to the bin above it."""

    edges: tuple[float, ...]
    counts: tuple[int, ...]
    n_not_finite: int = 0
    """Values that are infinite or no number, and in no bin."""


@dataclass(frozen=True)
class SplitSummary:
    """What was looked at of one split."""

    split: str
    shards: int
    """Shards that hold it."""
    bytes: int
    """Size of those shards."""
    samples: int
    takes: int
    subjects: int
    categories: Mapping[str, int]
    """Samples per category."""


@dataclass(frozen=True)
class Motion:
    """How far images move between the first and the last sharp frame, of samples drawn by chance."""

    indices: tuple[int, ...]
    """The samples measured, as rows of ``ShardReader.table``."""
    median_px: tuple[float, ...]
    """Median over the pixels of each sample, in pixels of the data set."""
    p95_px: tuple[float, ...]
    """95th percentile over the pixels of each sample, likewise."""
    damaged: tuple[int, ...] = ()
    """Samples that were drawn and cannot be read."""

    @property
    def median(self) -> Histogram:
        """Distribution of the medians, in pixels."""
        return bin_values(self.median_px)

    @property
    def p95(self) -> Histogram:
        """Distribution of the 95th percentiles, in pixels."""
        return bin_values(self.p95_px)


@dataclass(frozen=True)
class Summary:
    """A data set, or a part of it, in numbers."""

    rig: str
    version: str
    """Version of rb2v that built it."""
    output_size: tuple[int, int]
    """Width and height of the frames in pixels."""
    frames_per_sequence: int
    splits: tuple[SplitSummary, ...]
    takes: Mapping[str, int]
    """Samples per take, most first."""
    subjects: Mapping[str, int]
    """Samples per subject, most first."""
    orders: Mapping[int, int]
    """Samples per order: +1 keep, -1 reverse, 0 not assigned."""
    psnr: Histogram
    """PSNR of the color-mapped synthetic blur, in dB."""
    composite_psnr: Histogram
    """PSNR of the mean of the sharp frames, in dB, in linear light, of samples whose green screen was replaced."""
    phases: tuple[int, ...] | None
    """Samples per position phase, see `position_period`; None where the period is not known."""
    motion: Motion

    @property
    def samples(self) -> int:
        """Number of samples looked at."""
        return sum(split.samples for split in self.splits)

    def to_document(self) -> dict[str, Any]:
        """Return the summary as a JSON document, with the motion's histograms."""
        document = dataclasses.asdict(self)
        document["orders"] = {f"{order:+d}" if order else "0": count for order, count in self.orders.items()}
        document["motion"] |= {
            "median": dataclasses.asdict(self.motion.median),
            "p95": dataclasses.asdict(self.motion.p95),
        }
        return {"schema": SCHEMA, "samples": self.samples, **document}


def summarize(
    reader: ShardReader,
    indices: Sequence[int] | NDArray[np.int64] | None = None,
    *,
    seed: int = 0,
    on_sample: Count | None = None,
) -> Summary:
    """Count what a data set holds, and measure motion on some of its samples.

    Parameters
    ----------
    reader : ShardReader
        The data set.
    indices : sequence of int, optional
        Rows of ``reader.table`` to look at; all by default.
    seed : int
        Seed of the choice of samples whose motion is measured.
    on_sample : callable, optional
        Called with the number of samples measured and the number to measure.

    Raises
    ------
    InputError
        If there is no sample.
    """
    chosen = select_samples(reader) if indices is None else np.asarray(indices, dtype=np.int64)
    if not len(chosen):
        raise InputError(reader.folder, "holds no sample")
    table = reader.table.iloc[chosen]
    period = position_period(reader.table)
    return Summary(
        rig=reader.manifest.rig,
        version=reader.manifest.provenance.version,
        output_size=reader.manifest.output_size,
        frames_per_sequence=reader.manifest.frames_per_sequence,
        splits=_summarize_splits(reader, table.assign(split=sample_splits(reader)[chosen])),
        takes=_count(table["take"]),
        subjects=_count(table["subject"]),
        orders={order: int((table["order"] == order).sum()) for order in (1, -1, 0)},
        psnr=bin_values(table["psnr"]),
        composite_psnr=bin_values(table["composite_psnr"].dropna()),
        phases=(
            tuple(np.bincount(table["position"] % period, minlength=period).tolist())
            if period is not None and period <= _MOST_PHASES
            else None
        ),
        motion=measure_motion(reader, chosen, seed=seed, on_sample=on_sample),
    )


def _summarize_splits(reader: ShardReader, table: pd.DataFrame) -> tuple[SplitSummary, ...]:
    summaries = []
    for split in SPLITS:
        rows = table[table["split"] == split]
        names = set(rows["shard"])
        entries = [shard for shard in reader.manifest.splits[split].shards if shard.file in names]
        if entries:
            summaries.append(
                SplitSummary(
                    split=split,
                    shards=len(entries),
                    bytes=sum(shard.bytes for shard in entries),
                    samples=len(rows),
                    takes=rows["take"].nunique(),
                    subjects=rows["subject"].nunique(),
                    categories={name: int((rows["category"] == name).sum()) for name in CATEGORIES},
                )
            )
    return tuple(summaries)


def _count(names: pd.Series[str]) -> dict[str, int]:
    counts = {str(name): int(count) for name, count in names.value_counts().items()}
    return dict(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def position_period(table: pd.DataFrame) -> int | None:
    """Return how many fine-track frames one blurry frame lasts, as the samples themselves show it.

    The positions of a take rise by it from one blurry frame to the next, apart from rounding and the clocks' drift; a
    position modulo it is the sample's phase.

    Parameters
    ----------
    table : DataFrame
        ``ShardReader.table``.

    Returns
    -------
    int or None
        8 for 25 and 2 x 100 frames per second; None where no take has two samples.
    """
    steps = table.sort_values(["take", "blurry_index"]).groupby("take")[["blurry_index", "position"]].diff()
    steps = steps[steps["blurry_index"] > 0]
    if steps.empty:
        return None
    period = round(float((steps["position"] / steps["blurry_index"]).median()))
    return period if period > 0 else None


def measure_motion(
    reader: ShardReader,
    indices: Sequence[int] | NDArray[np.int64],
    *,
    most_samples: int = MOST_MOTION_SAMPLES,
    seed: int = 0,
    on_sample: Count | None = None,
) -> Motion:
    """Measure the motion of samples drawn by chance; those that cannot be read are set aside.

    Parameters
    ----------
    reader : ShardReader
        The data set.
    indices : sequence of int
        Samples to draw from.
    most_samples : int
        How many are drawn; all where there are fewer.
    seed : int
        Seed of the choice.
    on_sample : callable, optional
        Called with the number of samples measured and the number to measure.
    """
    rng = np.random.default_rng(seed)
    drawn = np.sort(rng.choice(np.asarray(indices), min(most_samples, len(indices)), replace=False))
    measured: dict[int, tuple[float, float]] = {}
    damaged = []
    for n_done, index in enumerate(drawn.tolist(), start=1):
        try:
            first, last = reader.read_sharp(index, [0, reader.manifest.frames_per_sequence - 1])
        except InputError:
            damaged.append(index)
        else:
            median_px, p95_px = np.percentile(motion_px(first, last), [50, 95])
            measured[index] = (round(float(median_px), 3), round(float(p95_px), 3))
        if on_sample is not None:
            on_sample(n_done, len(drawn))
    return Motion(
        tuple(measured),
        tuple(median for median, _ in measured.values()),
        tuple(p95 for _, p95 in measured.values()),
        tuple(damaged),
    )


def motion_px(first: NDArray[np.uint8], last: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Return how far every place of a frame moves until another one, by dense optical flow at reduced size.

    Parameters
    ----------
    first, last : (H, W, 3) ndarray of uint8
        RGB.

    Returns
    -------
    (h, w) ndarray of float32
        Lengths in pixels of the frames as given; w and h are reduced to at most 224 px of the shorter side.

    References
    ----------
    .. [1] Kroeger et al., "Fast Optical Flow using Dense Inverse Search", ECCV 2016.
    """
    side = min(first.shape[:2])
    scale = min(max(side, _FLOW_SIDE_PX[0]), _FLOW_SIDE_PX[1]) / side
    height, width = (max(round(scale * length), _FLOW_SIDE_PX[0]) for length in first.shape[:2])
    reduced = [
        cv2.resize(cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY), (width, height), interpolation=cv2.INTER_AREA)
        for frame in (first, last)
    ]
    dis = cv2.DISOpticalFlow.create(cv2.DISOPTICAL_FLOW_PRESET_MEDIUM)
    flow = np.asarray(dis.calc(reduced[0], reduced[1], None), dtype=np.float32)  # type: ignore[call-overload]
    return np.asarray(np.hypot(flow[..., 0] / (width / first.shape[1]), flow[..., 1] / (height / first.shape[0])))


def bin_values(values: ArrayLike, most_bins: int = _MOST_BINS) -> Histogram:
    """Count values in bins whose edges are round numbers.

    Parameters
    ----------
    values : (n,) array_like
        Numbers; those that are not finite are counted apart.
    most_bins : int
        The most bins.

    Examples
    --------
    >>> bin_values([1.2, 1.9, 3.5], most_bins=4)
    Histogram(edges=(1.0, 2.0, 3.0, 4.0), counts=(2, 0, 1), n_not_finite=0)
    """
    numbers = np.asarray(values, dtype=np.float64)
    finite = numbers[np.isfinite(numbers)]
    if not len(finite):
        return Histogram((), (), len(numbers))
    low, high = float(finite.min()), float(finite.max())
    step = _round_up(max((high - low) / (most_bins - 1), _LEAST_BIN * max(abs(low), abs(high), 1.0)))
    first, last = math.floor(low / step), math.floor(high / step) + 1
    edges = np.round(np.arange(first, last + 1) * step, 12)
    counts = np.bincount((np.floor(finite / step) - first).astype(np.int64), minlength=last - first)
    return Histogram(tuple(edges.tolist()), tuple(counts.tolist()), len(numbers) - len(finite))


def _round_up(step: float) -> float:
    magnitude = 10.0 ** math.floor(math.log10(step))
    return next(nice * magnitude for nice in (1, 2, 2.5, 5, 10, 20) if nice * magnitude >= step * (1 - 1e-9))
