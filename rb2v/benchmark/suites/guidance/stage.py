"""The guidance suite: networks with true, predicted and no motion guidance, several seeds each: Table 4."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pandas as pd

from rb2v.benchmark.report.page import Section
from rb2v.benchmark.suites.deblur.strips import liveliest
from rb2v.benchmark.suites.guidance import guidance_sections
from rb2v.benchmark.suites.guidance.config import DECOMPOSERS, N_SAMPLES, PREDICTORS, GuidanceSuiteConfig
from rb2v.benchmark.suites.guidance.guidance_grid import (
    GUIDANCE_NAME,
    GuidanceCell,
    all_cells,
    decomposer_config,
    order_config,
    predictor_config,
)
from rb2v.benchmark.suites.guidance.guidance_measures import (
    Measuring,
    best_of_samples,
    figures_of,
    figures_of_still,
    read_measured,
)
from rb2v.benchmark.suites.guidance.guidance_strips import show_sequences
from rb2v.benchmark.suites.suite import RUNS_NAME, ShardsSuite, TableRows
from rb2v.blur2vid import train
from rb2v.blur2vid.config import TrainBlur2VidConfig
from rb2v.blur2vid.evaluate import SAMPLES_NAME, check_measurable, read_samples
from rb2v.blur2vid.predictor import train as predictor_training
from rb2v.blur2vid.predictor.train import read_scores
from rb2v.blur2vid.train import make_dataset
from rb2v.device import Device, one_torch_thread
from rb2v.hypercut import train as order_training
from rb2v.hypercut.checkpoint import digest_order_network, load_order_network
from rb2v.io.store import sha256_of
from rb2v.progress import Progress
from rb2v.shards import ShardReader
from rb2v.shards.guidance_table import GuidanceReader
from rb2v.stages import guidance as guidance_stage

BASELINE = "label"
"""Method without guidance that the others are compared with."""

Figures = Mapping[str, Any]


@dataclass(frozen=True)
class GuidanceSuite(ShardsSuite[GuidanceCell]):
    """Guided and unguided networks and predictors of guidance, trained from several seeds.

    Runs lie in ``runs``, what was measured of decomposers in ``measured``, the times of training in ``times``. Seeds
    may be added to a folder later.
    """

    name = guidance_sections.SUITE
    title = "recovered sequences of held-out samples, mean over the seeds"

    config: GuidanceSuiteConfig
    guidance: Path | None = None
    """A table of ``rb2v guidance``; one is written from DIS flow by default."""
    order_run: Path | None = None
    """A trained order network; one is trained from the same data by default."""
    lpips: bool = False
    """Whether LPIPS is measured too, whose weights have to be there."""
    device: Device = "auto"
    """Where each run is trained."""

    @cached_property
    def _digests(self) -> dict[str, str | None]:
        return {
            "data_sha256": self.data_sha256,
            "guidance_sha256": None if self.guidance is None else sha256_of(self.guidance),
            "order_sha256": None if self.order_run is None else digest_order_network(self.order_run),
        }

    def _table(self, out_dir: Path) -> Path:
        return self.guidance or out_dir / GUIDANCE_NAME

    def check(self) -> None:
        """Reject data, guidance and weights that the last run would fail at."""
        if self.guidance is not None:
            for split in ("train", "test"):
                GuidanceReader(self.guidance, ShardReader(self.shards_dir, split))
        _ = self.reader, self._digests
        check_measurable(self.reader, self.config.image_size, lpips=self.lpips)
        sizes = TrainBlur2VidConfig(image_size=self.config.image_size, crop_size=self.config.crop_size)
        make_dataset(self.shards_dir, sizes)  # which rejects a crop that is larger than the frames
        if self.order_run is not None:
            load_order_network(self.order_run)

    def shared_settings(self) -> dict[str, Any]:
        """Return what all runs in a folder share."""
        changing = ("seeds", "shown_sequences")
        shared = {name: value for name, value in dataclasses.asdict(self.config).items() if name not in changing}
        return {**shared, "lpips": self.lpips, **self._digests}

    def prepare(self, out_dir: Path) -> None:
        """Write the table of guidance, where none is given."""
        if not self._table(out_dir).exists():
            guidance_stage.run(self.shards_dir, self._table(out_dir))

    def first_cells(self) -> list[GuidanceCell]:
        """Return the order network, where none is given."""
        return [] if self.order_run is not None else [GuidanceCell("order")]

    def cells(self) -> list[GuidanceCell]:
        """Return the runs of all predictors and decomposers."""
        return all_cells(self.config)

    def train(self, cell: GuidanceCell, out_dir: Path, progress: Progress) -> None:
        """Train a decomposer, a predictor or the order network."""
        place = self.place(out_dir, cell)
        order_run = self.order_run or self.place(out_dir, GuidanceCell("order"))
        options: dict[str, Any] = {"device": self.device, "progress": progress}
        with one_torch_thread():
            if cell.kind == "order":
                order_training.run(self.shards_dir, place, order_config(self.config), device=self.device)
            elif cell.kind == "predictor":
                chosen = predictor_config(cell, self.config)
                order = order_run if cell.method == "turned" else None
                inputs = (self.shards_dir, self._table(out_dir), place)
                predictor_training.run(*inputs, chosen, order_run=order, **options)
            else:
                method = DECOMPOSERS[cell.method]
                train.run(
                    self.shards_dir,
                    place,
                    decomposer_config(cell, self.config),
                    order_run=order_run if method.needs_order else None,
                    guidance=self._table(out_dir) if method.is_guided else None,
                    **options,
                )

    def sections(self, out_dir: Path) -> list[Section]:
        """Measure what is not measured yet, and return Table 4, separate bests, guidance and images."""
        config, seeds = self.config, range(self.config.seeds)
        measure = Measuring(self.shards_dir, out_dir, config, self._table(out_dir), self.lpips, self.device)
        tables: dict[str, list[pd.DataFrame]] = {}
        for method in DECOMPOSERS:
            cells = [GuidanceCell("decomposer", method, seed) for seed in seeds]
            for cell in cells:
                measure(cell)
            tables[method] = [read_measured(out_dir, cell) for cell in cells]
        rows = _make_rows(out_dir, tables)
        takes = self.reader.table["take"].astype(str).tolist()
        made = [
            guidance_sections.report_table(list(rows.values()), _make_gains(rows, takes)),
            guidance_sections.report_separate(list(rows.values())),
        ]
        predictors = {
            label: [read_scores(self.place(out_dir, GuidanceCell("predictor", name, seed)))["test"] for seed in seeds]
            for name, label in PREDICTORS.items()
        }
        turning = {
            DECOMPOSERS[method].label: [_turning(table) for table in runs]
            for method, runs in tables.items()
            if DECOMPOSERS[method].is_guided
        }
        made.append(guidance_sections.report_guidance(predictors, turning))
        if config.shown_sequences:
            indices = liveliest(self.reader, config.shown_sequences)
            shown = show_sequences(out_dir, config, self.reader, self._table(out_dir), indices)
            made.append(guidance_sections.report_pictures(shown))
        return made

    def description(self) -> dict[str, Any]:
        """Return the data set, the inputs and the configuration."""
        return {"rig": self.reader.manifest.rig, **self._digests, "config": dataclasses.asdict(self.config)}

    def facts(self) -> dict[str, str]:
        """Return what the report says of itself."""
        config, (name, data_set) = self.config, *super().facts().items()
        size = "as they are" if config.image_size is None else f"shrunk to {config.image_size} px"
        steps = f"{config.steps} steps of {config.batch_size} crops of {config.crop_size} px"
        given = "from DIS flow" if self.guidance is None else "a table that was given"
        order = "its own network, trained on the same data" if self.first_cells() else "a network that was given"
        runs = f"{len(self.cells())}, {steps}"
        return {name: f"{data_set}, {size}", "Runs": runs, "Guidance": given, "Order": order}

    @staticmethod
    def main_table(document: Mapping[str, Any]) -> TableRows:
        """Return pPSNR, border, the direction as given, and amplitude of all methods."""
        values = {row["metric"]: row["value"] for row in document["scores"]}
        names = [metric.removesuffix(".ppsnr_seq.mean") for metric in values if metric.endswith(".ppsnr_seq.mean")]
        border = guidance_sections.BORDER
        columns = {"pPSNR": "ppsnr_seq", "border": border, "as given": "psnr_forward", "motion": "amplitude"}
        rows = []
        for name in names:
            found = (values.get(f"{name}.{metric}.mean") for metric in columns.values())
            shown = ("" if one is None else f"{one:.2f}" for one in found)
            rows.append([name.replace(".", " ").replace("_", " "), *shown])
        return ["in dB", *columns], rows


def _turning(table: pd.DataFrame) -> float:
    """Return the share of turning pixels, the mean over the samples in which some move."""
    return float(table.loc[table["source"] == "true", "turning"].mean())


def _make_rows(out_dir: Path, tables: Mapping[str, Sequence[pd.DataFrame]]) -> dict[str, guidance_sections.Row]:
    rows: dict[str, guidance_sections.Row] = {}

    def add(name: str, label: str, seeds: Sequence[Figures]) -> None:
        rows[name] = guidance_sections.Row(name, label, tuple(seeds))

    # No network and no seed is in the blurry image: one run tells of it for all.
    still = read_samples(out_dir / RUNS_NAME / GuidanceCell("decomposer", BASELINE).name / SAMPLES_NAME)
    add("blurry", "blurry image", [figures_of_still(still)])
    for method, runs in tables.items():
        described = DECOMPOSERS[method]
        if not described.is_guided:
            add(method, described.label, [figures_of(table) for table in runs])
            continue
        true = [figures_of(table[table["source"] == "true"]) for table in runs]
        add(f"{method}.true", f"{described.label}, true guidance", true)
        for n in N_SAMPLES:
            best = [best_of_samples(table, n) for table in runs]
            add(f"{method}.p{n}", f"{described.label}, predicted, P{n}", best)
    return rows


def _make_gains(rows: Mapping[str, guidance_sections.Row], takes: Sequence[str]) -> list[guidance_sections.Gain]:
    wanted = [
        ("guided.true", BASELINE, guidance_sections.BORDER, "true guidance above label"),
        ("guided.p1", BASELINE, guidance_sections.BORDER, "P1 above label"),
        ("guided.p5", BASELINE, guidance_sections.BORDER, "P5 above label"),
        ("guided.p3", "guided.p1", "ppsnr_seq", "P3 above P1"),
        ("guided.p5", "guided.p1", "ppsnr_seq", "P5 above P1"),
    ]
    for method, label in (("turned", "turned guidance"), ("compared", "penalty")):
        wanted += [
            (f"{method}.{name}", f"guided.{name}", "ppsnr_seq", f"{label} above none, {shown}")
            for name, shown in (("true", "true guidance"), ("p1", "P1"), ("p5", "P5"))
        ]
    return [
        guidance_sections.gain(rows[name], rows[other], figure, takes, label) for name, other, figure, label in wanted
    ]
