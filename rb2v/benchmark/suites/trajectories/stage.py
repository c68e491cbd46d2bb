"""The trajectory suite: landmarks of recovered sequences against those of the true frames; Table 5 of the paper."""

from __future__ import annotations

import dataclasses
import re
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rb2v.benchmark.report.page import Gallery, Section, make_picture
from rb2v.benchmark.suites.deblur.config import BASELINE, METHODS
from rb2v.benchmark.suites.figures import read_seconds
from rb2v.benchmark.suites.suite import TIMES_NAME, ShardsSuite, TableRows
from rb2v.benchmark.suites.trajectories.config import TrajectorySuiteConfig
from rb2v.benchmark.suites.trajectories.sequence_points import (
    Estimate,
    Frames,
    Points,
    PointsByTarget,
    Samples,
    choose_samples,
    find_points,
    read_points,
    trivial_estimate,
    write_points,
)
from rb2v.benchmark.suites.trajectories.trajectory_figures import gain, over_seeds, score_samples
from rb2v.benchmark.suites.trajectories.trajectory_grid import (
    NOISY,
    TRIVIAL,
    TRUTH,
    GivenCell,
    OrderCell,
    TrainedCell,
    TrajectoryCell,
    TrivialCell,
    order_config,
    trained_cells,
    training_config,
)
from rb2v.benchmark.suites.trajectories.trajectory_sections import (
    SUITE,
    CategoryResult,
    Gain,
    report_category,
    report_times,
)
from rb2v.blur2vid import train
from rb2v.blur2vid.checkpoint import CHECKPOINT_NAME, load_backbone
from rb2v.blur2vid.deblur import find_run
from rb2v.blur2vid.evaluate import check_measurable, estimate_frames, read_sample
from rb2v.blur2vid.train import TrainBlur2VidConfig, make_dataset
from rb2v.choices import LANDMARK_TARGETS, LandmarkTarget
from rb2v.configuration import OPTIONS_SOURCE
from rb2v.device import Device, one_torch_thread
from rb2v.errors import InputError
from rb2v.hypercut import train as order_training
from rb2v.hypercut.checkpoint import digest_order_network, load_order_network
from rb2v.io.store import SCHEMA, read_json, sha256_of, write_json
from rb2v.landmarks.drawing import INSTANCE_COLORS, draw_trajectories
from rb2v.landmarks.models import LandmarkModel, load_models
from rb2v.landmarks.trajectories import MEASURES
from rb2v.progress import Progress

POINTS_NAME = "points"
"""Folder of the landmarks that were found, one file a run."""
SHIPPED = "shipped"
"""Label of the weights that rb2v ships."""

_TRIVIAL_LABELS = {
    "blurry": "blurry image",
    "mean_frame": "mean of the true frames",
    NOISY: "true frames with noise",
}
_LABEL = re.compile(r"[A-Za-z0-9_-]+")
_DRAWN_PX = 480  # of a drawn image's shorter side: paths of few px become visible
_TRUE_COLOR = (255, 255, 255)  # RGB; apart from what is recovered
_DRAWN_POINTS: Mapping[LandmarkTarget, tuple[int, ...]] = {"face": (30, 36, 45, 48, 54, 8), "hand": (4, 8, 12, 16, 20)}
"""Points whose paths are drawn: nose, corners of eyes and mouth, chin; tips of all fingers."""


@dataclass(frozen=True)
class TrajectorySuite(ShardsSuite[TrajectoryCell]):
    """Networks that are trained or given, compared by the landmarks in what they recover.

    Runs lie in ``runs``, the landmarks that were found in ``points``, the times in ``times``. Methods, seeds and given
    networks may be added to a folder later.
    """

    name = SUITE
    title = "landmarks of recovered sequences, mean over the seeds"

    config: TrajectorySuiteConfig
    runs: Mapping[str, Path] = field(default_factory=dict)
    """Networks that were trained before, by label: folders of ``rb2v train-blur2vid``, or checkpoints."""
    order_run: Path | None = None
    """A trained order network; one is trained from the same data by default, if a method asks for it."""
    device: Device = "auto"
    """Where each run is trained."""

    @cached_property
    def _samples(self) -> Samples:
        return choose_samples(self.reader, self.config.max_samples, self.config.image_size)

    @cached_property
    def _models(self) -> dict[LandmarkTarget, LandmarkModel]:
        return {model.target: model for model in load_models(list(self._samples.indices))}

    @cached_property
    def _given(self) -> list[GivenCell]:
        runs = {SHIPPED: find_run(None), **{label: find_run(run) for label, run in self.runs.items()}}
        return [GivenCell(label, path) for label, path in runs.items()]

    @cached_property
    def _order_sha256(self) -> str | None:
        return None if self.order_run is None else digest_order_network(self.order_run)

    def check(self) -> None:
        """Reject data and weights that the last run would fail at."""
        _ = self._models, self._order_sha256
        reserved = {TRUTH, SHIPPED, *TRIVIAL, *METHODS}
        for label in self.runs:
            if label in reserved or not _LABEL.fullmatch(label):
                expected = f"letters, digits, - and _, and none of {', '.join(sorted(reserved))}"
                raise InputError(OPTIONS_SOURCE, f"{label!r} cannot be a label", "run", expected)
        for cell in self._given:
            load_backbone(cell.checkpoint)
        if self.config.methods:
            check_measurable(self.reader, self.config.image_size)
            sizes = TrainBlur2VidConfig(image_size=self.config.image_size, crop_size=self.config.crop_size)
            make_dataset(self.shards_dir, sizes)  # which rejects a crop that is larger than the frames
        if self.order_run is not None:
            load_order_network(self.order_run)

    def shared_settings(self) -> dict[str, Any]:
        """Return what all runs in a folder share."""
        changing = ("methods", "seeds", "shown_sequences")
        return {
            **{name: value for name, value in dataclasses.asdict(self.config).items() if name not in changing},
            "data_sha256": self.data_sha256,
            "order_sha256": self._order_sha256,
        }

    def first_cells(self) -> list[TrajectoryCell]:
        """Return the truth, and the order network where methods ask for one that is not given."""
        trained = [cell for method in self.config.methods for cell in trained_cells(self.config, method)]
        needs_order = any(training_config(cell, self.config).needs_order for cell in trained)
        return [TrivialCell(TRUTH), *([OrderCell()] if needs_order and self.order_run is None else [])]

    def cells(self) -> list[TrajectoryCell]:
        """Return trivial estimates, given networks, and the runs of all methods and seeds."""
        trained = [cell for method in self.config.methods for cell in trained_cells(self.config, method)]
        return [*map(TrivialCell, TRIVIAL), *self._given, *trained]

    def train(self, cell: TrajectoryCell, out_dir: Path, progress: Progress) -> None:
        """Train a network if it is to be, and find the landmarks in what it recovers."""
        with one_torch_thread():
            if isinstance(cell, OrderCell):
                run = self.place(out_dir, cell)
                order_training.run(self.shards_dir, run, order_config(self.config), device=self.device)
                return
            if isinstance(cell, TrainedCell):
                settings = training_config(cell, self.config)
                train.run(
                    self.shards_dir,
                    self.place(out_dir, cell),
                    settings,
                    order_run=(self.order_run or self.place(out_dir, OrderCell())) if settings.needs_order else None,
                    device=self.device,
                    progress=progress,
                )
            self._measure(cell, out_dir, progress)

    def _measure(self, cell: TrajectoryCell, out_dir: Path, progress: Progress) -> None:
        path = self._points_path(cell, out_dir)
        if path.is_file():
            return
        is_truth = cell == TrivialCell(TRUTH)
        true = None if is_truth else read_points(self._points_path(TrivialCell(TRUTH), out_dir), self._samples)
        estimate, recovering = self._estimate(cell, out_dir), 0.0

        def timed(blurry: Frames, sharp: Frames) -> Frames:
            nonlocal recovering
            start = time.perf_counter()
            frames = estimate(blurry, sharp)
            recovering += time.perf_counter() - start
            return frames

        start = time.perf_counter()
        write_points(path, find_points(self._models, self._samples, timed, true, progress))
        finding = time.perf_counter() - start - recovering
        write_json(self._times_path(cell, out_dir), {"schema": SCHEMA, "landmarks": finding, "sequences": recovering})

    def _times_path(self, cell: TrajectoryCell, out_dir: Path) -> Path:
        return out_dir / TIMES_NAME / f"{cell.name}-landmarks.json"

    def _estimate(self, cell: TrajectoryCell, out_dir: Path) -> Estimate:
        if isinstance(cell, TrivialCell):
            return trivial_estimate(cell.estimate, self.config.noise_levels)
        checkpoint = cell.checkpoint if isinstance(cell, GivenCell) else self.place(out_dir, cell) / CHECKPOINT_NAME
        network = load_backbone(checkpoint).network
        return lambda blurry, sharp: estimate_frames(network, blurry, sharp)

    def _points_path(self, cell: TrajectoryCell, out_dir: Path) -> Path:
        # Of a given network by its content: another one may come under the same label.
        mark = f"-{sha256_of(cell.checkpoint)[:16]}" if isinstance(cell, GivenCell) else ""
        return out_dir / POINTS_NAME / f"{cell.name}{mark}.safetensors"

    def _read(self, cell: TrajectoryCell, out_dir: Path) -> PointsByTarget:
        return read_points(self._points_path(cell, out_dir), self._samples)

    def _rows(self) -> list[tuple[str, str, Sequence[TrajectoryCell]]]:
        """Return name, label and runs of every row of the tables."""
        rows: list[tuple[str, str, Sequence[TrajectoryCell]]] = [
            (method, METHODS[method].label, trained_cells(self.config, method)) for method in self.config.methods
        ]
        for cell in self._given:
            label = "the weights that rb2v ships" if cell.label == SHIPPED else cell.label
            rows.append((cell.label, label, [cell]))
        return [*rows, *((name, _TRIVIAL_LABELS[name], [TrivialCell(name)]) for name in TRIVIAL)]

    def sections(self, out_dir: Path) -> list[Section]:
        """Return Table 5, category by category, with trajectories drawn over blurry images."""
        return [*(self._report(target, out_dir) for target in self._samples.indices), self._report_times(out_dir)]

    def _report_times(self, out_dir: Path) -> Section:
        cells = [*self.first_cells(), *self.cells()]
        seconds = {"training": 0.0, "landmarks": 0.0, "sequences": 0.0}
        for cell in cells:
            path = self._times_path(cell, out_dir)
            document = read_json(path) if path.exists() else {}
            for name in ("landmarks", "sequences"):
                value = document.get(name)
                seconds[name] += float(value) if isinstance(value, int | float) else 0.0
            seconds["training"] += read_seconds(out_dir, [cell]) or 0.0
        return report_times(seconds)

    def _report(self, target: LandmarkTarget, out_dir: Path) -> Section:
        true = self._read(TrivialCell(TRUTH), out_dir)[target]
        takes = self.reader.table["take"].iloc[list(self._samples.indices[target])].astype(str).tolist()
        points = {name: [self._read(cell, out_dir)[target] for cell in cells] for name, _, cells in self._rows()}
        tables = {name: [score_samples(target, true, one) for one in runs] for name, runs in points.items()}
        estimators = [
            over_seeds(name, label, tables[name], takes, trained=name in self.config.methods)
            for name, label, _ in self._rows()
        ]
        result = CategoryResult(
            target=target,
            n_samples=len(takes),
            n_takes=len(set(takes)),
            found_share=float(np.isfinite(true).all(axis=(2, 3)).mean()),
            estimators=estimators,
            gains=self._gains(tables, takes),
            baseline=METHODS[BASELINE].label,
        )
        first = {name: runs[0] for name, runs in points.items() if name in self.config.methods or name == SHIPPED}
        return report_category(result, self._draw(target, true, first))

    def _gains(self, tables: Mapping[str, Sequence[pd.DataFrame]], takes: Sequence[str]) -> list[Gain]:
        if BASELINE not in self.config.methods:
            return []
        return [
            Gain(name, METHODS[name].label, *gain(tables[name], tables[BASELINE], takes))
            for name in self.config.methods
            if name != BASELINE
        ]

    def _draw(self, target: LandmarkTarget, true: Points, estimates: Mapping[str, Points]) -> list[Gallery]:
        """Return blurry images with the true trajectories and those of each estimate.

        Samples are shown that move a lot, and in which all of them have found the landmarks in most frames.
        """
        n_seen = [np.isfinite(points).all(axis=(2, 3)).sum(axis=1) for points in (true, *estimates.values())]
        is_seen = np.min(n_seen, axis=0) > true.shape[1] // 2
        moved = np.nan_to_num(np.linalg.norm(true[:, -1] - true[:, 0], axis=-1)[:, list(MEASURES[target].points)])
        moved[~is_seen] = -1
        parts = np.array_split(np.arange(len(true)), max(min(self.config.shown_sequences, len(true)), 1))
        drawn_points = list(_DRAWN_POINTS[target])
        labels = {name: label for name, label, _ in self._rows()}
        galleries = []
        for part in parts[: self.config.shown_sequences]:
            place = int(part[np.argmax(moved[part].mean(axis=1))])
            index = self._samples.indices[target][place]
            blurry, _ = read_sample(self.reader, index, self.config.image_size)
            scale = max(round(_DRAWN_PX / min(blurry.shape[:2])), 1)
            path = (true[place][:, drawn_points], _TRUE_COLOR)
            pictures = [make_picture("true frames", draw_trajectories(blurry, [path], scale))]
            for name, points in estimates.items():
                ours = (points[place][:, drawn_points], INSTANCE_COLORS[0])
                pictures.append(make_picture(labels[name], draw_trajectories(blurry, [path, ours], scale)))
            take, frame = self.reader.table.iloc[index][["take", "blurry_index"]]
            caption = (
                f"{take}, blurry frame {frame}. White: the true paths; yellow: the recovered ones; a dot ends each."
            )
            galleries.append(Gallery(caption, tuple(pictures), columns=3))
        return galleries

    def description(self) -> dict[str, Any]:
        """Return the data set, the networks and the configuration."""
        return {
            "rig": self.reader.manifest.rig,
            "data_sha256": self.data_sha256,
            "order_sha256": self._order_sha256,
            "given_sha256": {cell.label: sha256_of(cell.checkpoint) for cell in self._given},
            "config": dataclasses.asdict(self.config),
        }

    def facts(self) -> dict[str, str]:
        """Return what the report says of itself."""
        config, (name, data_set) = self.config, *super().facts().items()
        size = "as they are" if config.image_size is None else f"shrunk to {config.image_size} px"
        trained = f"{len(config.methods) * config.seeds} of {config.backbone}, {config.steps} steps"
        return {name: f"{data_set}, {size}", "Runs": trained, "Noise": f"{config.noise_levels:g} of 255 levels"}

    @staticmethod
    def main_table(document: Mapping[str, Any]) -> TableRows:
        """Return error, failures and path of all rows."""
        values = {row["metric"]: row["value"] for row in document["scores"]}
        columns = {"error": "error", "with failures": "error_penalized", "found": "found", "path": "path_ratio"}
        rows = []
        for target in LANDMARK_TARGETS:
            ending = ".error_penalized.mean"
            names = [
                name.removesuffix(ending) for name in values if name.startswith(f"{target}.") and name.endswith(ending)
            ]
            for name in names:
                found = (values.get(f"{name}.{metric}.mean") for metric in columns.values())
                rows.append(
                    [name.replace(".", " ").replace("_", " "), *("" if one is None else f"{one:.2f}" for one in found)]
                )
        return ["in px (hand), px² (face)", *columns], rows
