"""The order suite: all order networks, several seeds each, beside trivial controls on the same data."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from rb2v.benchmark.report.page import Section
from rb2v.benchmark.suites.order import order_sections as sections
from rb2v.benchmark.suites.order.config import OrderSuiteConfig
from rb2v.benchmark.suites.order.order_figures import KEYS, RunResult, read_result
from rb2v.benchmark.suites.order.order_grid import (
    OrderCell,
    all_cells,
    dimension_archs,
    dimension_cells,
    main_cells,
    training_config,
)
from rb2v.benchmark.suites.order.point_map import map_points
from rb2v.benchmark.suites.suite import ShardsSuite, TableRows
from rb2v.benchmark.truth.motion_truth import read_motion
from rb2v.device import Device, one_torch_thread
from rb2v.errors import InputError
from rb2v.hypercut import train
from rb2v.hypercut.checkpoint import CHECKPOINT_NAME
from rb2v.io.store import sha256_of
from rb2v.progress import Progress
from rb2v.shards import ShardReader
from rb2v.shards.layout import MARK_NAME
from rb2v.simulator.truth import TRUTH_NAME
from rb2v.stages.simulate_shards import MOTION_NAME

_SHOWN_ARCHS = ("upstream", "motion")


@dataclass(frozen=True)
class OrderSuite(ShardsSuite[OrderCell]):
    """Order networks from several seeds, beside trivial controls on the same data.

    Runs lie in ``runs/<arch>-n<n>-s<seed>``, the times of training in ``times``. Networks, seeds, dimensions and the
    truth may be added to a folder later.
    """

    name = sections.SUITE
    title = "order on held-out sequences, mean over the seeds"

    config: OrderSuiteConfig
    truth_dir: Path | None = None
    """True motion, see `rb2v.benchmark.truth.motion_truth.read_motion`."""
    device: Device = "auto"
    """Where each run is trained."""

    @cached_property
    def _motion(self) -> pd.DataFrame | None:
        return None if self.truth_dir is None else read_motion(self.truth_dir, self.reader)

    @cached_property
    def _pairs(self) -> tuple[int, ...] | None:
        return _recorded_pairs(self.reader) if self.config.recorded_only else None

    def check(self) -> None:
        """Reject a data set without held-out sequences, or without marks that are asked for, and another's truth."""
        _ = self.reader, self._motion, self._pairs

    def shared_settings(self) -> dict[str, Any]:
        """Return what all runs in a folder share."""
        return {
            "image_size": self.config.image_size,
            "steps": self.config.steps,
            "steps_of": dict(self.config.steps_of),
            "n_dimensions": self.config.n_dimensions,
            "data_sha256": self.data_sha256,
        }

    def cells(self) -> list[OrderCell]:
        """Return the runs of all networks, seeds and dimensions."""
        return all_cells(self.config)

    def train(self, cell: OrderCell, out_dir: Path, progress: Progress) -> None:
        """Train an order network."""
        settings = training_config(cell, self.config)
        with one_torch_thread():
            train.run(self.shards_dir, self.place(out_dir, cell), settings, device=self.device, progress=progress)

    def sections(self, out_dir: Path) -> list[Section]:
        """Return all networks, the paper's Tables 3 and 7, seeds, and the paper's Figure 7."""
        config = self.config
        results = {cell: read_result(out_dir, cell, self._motion, self._pairs) for cell in self.cells()}
        main: dict[str, list[RunResult]] = {
            arch: [results[cell] for cell in main_cells(config, arch)] for arch in config.archs
        }
        by_dimension = {
            arch: {n: [results[cell] for cell in dimension_cells(config, arch, n)] for n in config.dimensions}
            for arch in dimension_archs(config)
        }
        rows = sections.main_rows(main)
        keys = self.reader.table[[*KEYS, "category"]]
        made = [sections.report_networks(main, rows), sections.report_categories(main, keys)]
        if by_dimension and config.dimensions:
            made.append(sections.report_dimensions(by_dimension))
        made.append(sections.report_seeds(main, rows))
        shown = [arch for arch in _SHOWN_ARCHS if arch in main] or list(main)[-1:]
        checkpoints = {arch: self.place(out_dir, main[arch][0].cell) / CHECKPOINT_NAME for arch in shown}
        maps = {
            arch: map_points(path, self.reader, config.shown_sequences, self._motion)
            for arch, path in checkpoints.items()
        }
        return [*made, sections.report_points(maps)]

    def description(self) -> dict[str, Any]:
        """Return the data set, the truth and the configuration."""
        return {
            "rig": self.reader.manifest.rig,
            "inputs": ["shards", *(["truth"] if self.truth_dir is not None else [])],
            "data_sha256": self.data_sha256,
            "truth_sha256": None if self.truth_dir is None else sha256_of(_truth_path(self.truth_dir)),
            "config": dataclasses.asdict(self.config),
        }

    def facts(self) -> dict[str, str]:
        """Return what the report says of itself."""
        return {
            **super().facts(),
            "Runs": f"{len(self.cells())}, at {self.config.image_size} px",
            **({} if self._pairs is None else {"Scored": f"the {len(self._pairs)} pairs of recorded frames alone"}),
            "Compared with": "trivial controls" if self._motion is None else "the true motion and trivial controls",
        }

    @staticmethod
    def main_table(document: Mapping[str, Any]) -> TableRows:
        """Return hit, con and agreement of all networks and controls, in percent."""
        values = {row["metric"]: row["value"] for row in document["scores"]}
        names = [metric.removesuffix(".hit.mean") for metric in values if metric.endswith(".hit.mean")]
        con = sections.last_con([metric.split(".")[-2] for metric in values if metric.startswith(f"{names[0]}.con@")])
        columns = {
            "hit": "hit.mean",
            "con@2": "con@2.mean",
            con: f"{con}.mean",
            "spread": f"{con}.spread",
            "motion": "agreement.mean",
            "contrast": "contrast_reversed.mean",
        }
        shown = {title: ending for title, ending in columns.items() if f"{names[0]}.{ending}" in values}
        rows = []
        for name in names:
            found = (values.get(f"{name}.{ending}") for ending in shown.values())
            rows.append([sections.readable(name), *("" if value is None else f"{value:.1f}" for value in found)])
        if "random.agreement.mean" in values:
            ending = [f"{values['random.agreement.mean']:.1f}" if title == "motion" else "" for title in shown]
            rows.append(["random orders", *ending])
        return ["in %", *shown], rows


def _truth_path(truth_dir: Path) -> Path:
    path = truth_dir / MOTION_NAME
    return path if path.is_file() else truth_dir / TRUTH_NAME


def _recorded_pairs(reader: ShardReader) -> tuple[int, ...]:
    """Return the pairs of frames, from the outermost, of which both are recorded in every test sequence."""
    found = [reader.read_marks(index) for index in range(len(reader))]
    marks = [one for one in found if one is not None]
    if len(marks) < len(found):
        problem, expected = "does not mark interpolated frames", "a data set that 'rb2v synthesize' wrote"
        raise InputError(reader.folder, problem, MARK_NAME, expected)
    made = np.asarray(np.stack(marks).any(axis=0))
    pairs = tuple(pair for pair in range(len(made) // 2) if not (made[pair] or made[-1 - pair]))
    if len(pairs) < 2:
        problem = f"{len(pairs)} pair of recorded frames: consistency needs two"
        raise InputError(reader.folder, problem, MARK_NAME, "sequences with more recorded frames, or all frames scored")
    return pairs
