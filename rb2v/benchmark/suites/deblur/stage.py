"""The deblurring suite: backbones and losses on one data set, several seeds each, beside trivial estimates."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from rb2v.benchmark.report.page import Gallery, Section
from rb2v.benchmark.suites.deblur import deblur_sections, strips
from rb2v.benchmark.suites.deblur.config import BASELINE, METHODS, TRUE_MOTION, DeblurSuiteConfig
from rb2v.benchmark.suites.deblur.deblur_figures import Estimator, gain, over_seeds
from rb2v.benchmark.suites.deblur.deblur_grid import (
    TOY_BACKBONE,
    TOY_NAME,
    TOY_SIZE_PX,
    DeblurCell,
    NetworkCell,
    OrderNetworkCell,
    all_cells,
    alpha_cells,
    main_cells,
    order_cell,
    order_config,
    toy_cells,
    training_config,
)
from rb2v.benchmark.suites.figures import read_seconds
from rb2v.benchmark.suites.suite import ShardsSuite, TableRows
from rb2v.blur2vid import train
from rb2v.blur2vid.checkpoint import CHECKPOINT_NAME, load_backbone
from rb2v.blur2vid.evaluate import (
    ORDER_COLUMN,
    REGION_FIGURES,
    SAMPLES_NAME,
    TRIVIAL,
    check_measurable,
    keep_recorded,
    read_sample,
    read_samples,
)
from rb2v.blur2vid.regions import REGIONS_NAME, measure_all, measure_regions, read_regions
from rb2v.blur2vid.train import TrainBlur2VidConfig, make_dataset
from rb2v.device import Device, one_torch_thread
from rb2v.errors import InputError
from rb2v.hypercut import labels as order_labels
from rb2v.hypercut import train as order_training
from rb2v.hypercut.checkpoint import digest_order_network, load_order_network
from rb2v.hypercut.regions import write_regions
from rb2v.hypercut.train import LABELS_NAME
from rb2v.progress import Progress
from rb2v.shards import ShardReader
from rb2v.shards.displacement_table import DisplacementReader
from rb2v.shards.labels import read_orders
from rb2v.shards.layout import MARK_NAME
from rb2v.simulator.config import SequencesConfig
from rb2v.stages import guidance, simulate_shards
from rb2v.training.state import write_table

_TRIVIAL_LABELS = {"blurry": "blurry image", "mean_frame": "mean of the true frames"}
_N_TOY_SHOWN = 3  # sequences, the ones that move most


@dataclass(frozen=True)
class DeblurSuite(ShardsSuite[DeblurCell]):
    """Backbones trained by several methods from several seeds, beside trivial estimates.

    Runs lie in ``runs``, the toy's data set in ``toy``, the times of training in ``times``. Backbones, methods, seeds
    and weights of the regularizer may be added to a folder later.
    """

    name = strips.SUITE
    title = "recovered sequences of held-out samples, mean over the seeds"

    config: DeblurSuiteConfig
    order_run: Path | None = None
    """A trained order network; one is trained from the same data by default, if a method asks for it."""
    pictures_dir: Path | None = None
    """Folder of blurry images that are shown with what the networks make of them."""
    truth_dir: Path | None = None
    """Truth folder of simulated data, with the displacement of every pixel: what moves apart is scored then."""
    lpips: bool = False
    """Whether LPIPS is measured too, whose weights have to be there."""
    device: Device = "auto"
    """Where each run is trained."""

    @cached_property
    def _pictures(self) -> list[Path]:
        return [] if self.pictures_dir is None else strips.list_pictures(self.pictures_dir)

    @cached_property
    def _order_sha256(self) -> str | None:
        return None if self.order_run is None else digest_order_network(self.order_run)

    @cached_property
    def _displacements(self) -> DisplacementReader | None:
        return None if self.truth_dir is None else DisplacementReader(self.truth_dir, self.reader)

    def check(self) -> None:
        """Reject data, images and weights that the last run would fail at."""
        _ = self.reader, self._pictures, self._order_sha256, self._displacements
        if self._displacements is None and any(METHODS[name].regions == TRUE_MOTION for name in self.config.methods):
            expected = "the truth folder of 'rb2v simulate-shards --motion opposed': a method asks for it"
            raise InputError("options", "is missing", "truth", expected)
        check_measurable(ShardReader(self.shards_dir, "test"), self.config.image_size, lpips=self.lpips)
        if self.config.held_out == "test" and not self._held_out_takes["test"]:
            raise InputError(
                self.shards_dir, "has one test take", expected="two or more: validation and test share none"
            )
        if self.config.recorded_only and self.reader.read_marks(0) is None:
            expected = "a data set that 'rb2v synthesize' wrote, or all frames scored"
            raise InputError(self.shards_dir, "does not mark interpolated frames", MARK_NAME, expected)
        sizes = TrainBlur2VidConfig(image_size=self.config.image_size, crop_size=self.config.crop_size)
        make_dataset(self.shards_dir, sizes)  # which rejects a crop that is larger than the frames
        if self.order_run is not None:
            load_order_network(self.order_run)

    def shared_settings(self) -> dict[str, Any]:
        """Return what all runs in a folder share."""
        changing = ("backbones", "methods", "seeds", "alphas", "shown_sequences", "recorded_only", "held_out")
        return {
            **{name: value for name, value in dataclasses.asdict(self.config).items() if name not in changing},
            "lpips": self.lpips,
            "data_sha256": self.data_sha256,
            "order_sha256": self._order_sha256,
        }

    def prepare(self, out_dir: Path) -> None:
        """Write the toy's data set, and the orders of a network that was given."""
        if self.order_run is not None:
            order_labels.run(self.shards_dir, self.order_run, out_dir / LABELS_NAME, splits=("test",), device="cpu")
        if self.config.toy_steps:
            sizes = {"train": self.config.toy_train, "test": self.config.toy_test, "size": TOY_SIZE_PX}
            simulate_shards.run(out_dir / TOY_NAME, SequencesConfig(motion="blocks", **sizes))

    def first_cells(self) -> list[DeblurCell]:
        """Return the order networks that methods ask for and that are not given."""
        asked = {order_cell(cell, self.config) for cell in self.cells()}
        both = [OrderNetworkCell(toy, arch) for toy in (False, True) for arch in ("motion", "signs")]
        return [cell for cell in both if cell in asked and not self._is_given(cell)]

    def _is_given(self, cell: OrderNetworkCell) -> bool:
        """Tell whether the order network that was given takes the place of one."""
        return self.order_run is not None and not cell.toy and cell.arch == "motion"

    def cells(self) -> list[NetworkCell]:
        """Return the runs of all backbones, methods, seeds, weights, and those of the toy."""
        return all_cells(self.config)

    def train(self, cell: DeblurCell, out_dir: Path, progress: Progress) -> None:
        """Train a backbone or an order network."""
        shards_dir = out_dir / TOY_NAME if cell.toy else self.shards_dir
        place = self.place(out_dir, cell)
        with one_torch_thread():
            if isinstance(cell, OrderNetworkCell):
                order_training.run(shards_dir, place, order_config(cell, self.config), device=self.device)
                return
            settings = training_config(cell, self.config)
            train.run(
                shards_dir,
                place,
                settings,
                order_run=self._order_run_for(cell, out_dir) if settings.needs_order else None,
                guidance=self._ensure_regions(cell, out_dir),
                lpips=self.lpips and not cell.toy,
                device=self.device,
                also=None if self._displacements is None or cell.toy else self._measure_regions,
                progress=progress,
            )
            if self._displacements is not None and not cell.toy:
                self._add_regions(place, self._displacements)

    def _add_regions(self, place: Path, displacements: DisplacementReader) -> None:
        """Measure the regions of a run that was scored before there was a truth, unless it is done."""
        if _has_regions(read_samples(place / SAMPLES_NAME)) or (place / REGIONS_NAME).exists():
            return
        network = load_backbone(place / CHECKPOINT_NAME).network
        write_table(place / REGIONS_NAME, measure_all(network, self.reader, displacements, self.config.image_size))

    def _measure_regions(self, index: int, frames: NDArray[np.uint8], sharp: NDArray[np.uint8]) -> Mapping[str, float]:
        assert self._displacements is not None
        return measure_regions(frames, sharp, self._displacements.read(index))

    def _ensure_regions(self, cell: NetworkCell, out_dir: Path) -> Path | None:
        """Write the table of motion by which a method turns regions, unless it is there."""
        source = METHODS[cell.method].regions
        if source is None:
            return None
        path = out_dir / f"{'toy-' if cell.toy else ''}{source}.h5"
        shards_dir = out_dir / TOY_NAME if cell.toy else self.shards_dir
        order_run = self._order_run_for(cell, out_dir)
        if path.exists():
            pass
        elif order_run is not None:
            write_regions(path, order_run, shards_dir, splits=("train",), device="cpu")
        else:
            guidance.run(shards_dir, path, truth=self.truth_dir if source == TRUE_MOTION else None)
        return path

    def _order_run_for(self, cell: NetworkCell, out_dir: Path) -> Path | None:
        asked = order_cell(cell, self.config)
        if asked is None:
            return None
        return self.order_run if self._is_given(asked) else self.place(out_dir, asked)

    def sections(self, out_dir: Path) -> list[Section]:
        """Return methods, the paper's Tables 2 and 6, its Figures 2 and 6, and images without a truth."""
        made = [*self._report_methods(out_dir)]
        if self.config.alphas:
            by_method = {
                method: {
                    alpha: over_seeds(cell.name, cell.backbone, f"{alpha:g}", self._read(out_dir, [cell]), "network")
                    for alpha, cell in cells.items()
                }
                for method, cells in alpha_cells(self.config).items()
            }
            made.append(deblur_sections.report_alphas(by_method))
        if self.config.toy_steps:
            made.append(self._report_toy(out_dir))
        if self.config.shown_sequences:
            made.append(deblur_sections.report_pictures(self._show_errors(out_dir)))
        if self._pictures:
            shown = strips.show_real(self._pictures, self._checkpoints(out_dir), self._names())
            made.append(deblur_sections.report_real(*shown))
        return made

    def _read(self, out_dir: Path, cells: Sequence[NetworkCell]) -> list[pd.DataFrame]:
        """Return the measurements of runs, of recorded frames alone where that is asked for; the toy has no others."""
        tables = []
        for cell in cells:
            path = self.place(out_dir, cell) / SAMPLES_NAME
            table = read_samples(path)
            if self.config.recorded_only and not cell.toy:
                table = keep_recorded(table, path)
            if (labels := self._labels(out_dir, cell)) is not None:
                table = self._add_orders(table, labels, out_dir, toy=cell.toy)
            if self._displacements is not None and not cell.toy and not _has_regions(table):
                regions = read_regions(self.place(out_dir, cell) / REGIONS_NAME)
                table = table.merge(regions, how="left", on=["estimator", "take", "blurry_index"])
            tables.append(table if cell.toy else self._keep_held_out(table))
        return tables

    def _keep_held_out(self, table: pd.DataFrame) -> pd.DataFrame:
        """Return the measurements of the takes that are to be scored."""
        if self.config.held_out == "all":
            return table
        kept = self._held_out_takes[self.config.held_out]
        return table[table["take"].isin(kept)].reset_index(drop=True)

    @cached_property
    def _held_out_takes(self) -> Mapping[str, Sequence[str]]:
        """Takes of either half of the test split."""
        takes = sorted(set(self.reader.table["take"]))
        return {"validation": takes[::2], "test": takes[1::2]}

    def _labels(self, out_dir: Path, cell: NetworkCell) -> Path | None:
        """Return the orders of the true sequences by the network that a run was trained with, or by another, if any."""
        network = order_cell(cell, self.config) or OrderNetworkCell(cell.toy)
        is_given = self.order_run is not None and network == OrderNetworkCell(toy=False)
        path = (out_dir if is_given else self.place(out_dir, network)) / LABELS_NAME
        return path if path.exists() else None

    def _add_orders(self, table: pd.DataFrame, labels: Path, out_dir: Path, *, toy: bool) -> pd.DataFrame:
        """Return measurements with the order that the order network gives the true sequence of each."""
        reader = ShardReader(out_dir / TOY_NAME, "test") if toy else self.reader
        orders = reader.table[["take", "blurry_index"]].assign(**{ORDER_COLUMN: read_orders(labels, reader)})
        return table.drop(columns=ORDER_COLUMN, errors="ignore").merge(orders, how="left")

    def _report_methods(self, out_dir: Path) -> tuple[Section, Section]:
        tables: dict[tuple[str, str], list[pd.DataFrame]] = {}
        estimators: list[Estimator] = []
        for backbone, method in self._methods():
            cells = main_cells(self.config, backbone, method)
            runs = tables[backbone, method] = self._read(out_dir, cells)
            estimator = over_seeds(f"{backbone}.{method}", backbone, METHODS[method].label, runs, "network")
            estimators.append(dataclasses.replace(estimator, seconds=read_seconds(out_dir, cells)))
        # No network and no seed is in the trivial estimates: one run tells of them for all.
        first = [next(iter(tables.values()))[0]]
        estimators += [over_seeds(name, "", _TRIVIAL_LABELS[name], first, name) for name in TRIVIAL]
        gains = [
            deblur_sections.Gain(backbone, method, *gain(runs, tables[backbone, BASELINE], deblur_sections.BORDER))
            for (backbone, method), runs in tables.items()
            if method != BASELINE and (backbone, BASELINE) in tables
        ]
        return deblur_sections.report_methods(estimators, gains), deblur_sections.report_frames(estimators)

    def _methods(self) -> list[tuple[str, str]]:
        """Return every backbone with every method."""
        return [(backbone, method) for backbone in self.config.backbones for method in self.config.methods]

    def _label(self, backbone: str, method: str) -> str:
        prefix = f"{backbone}: " if len(self.config.backbones) > 1 else ""
        return prefix + METHODS[method].label

    def _checkpoints(self, out_dir: Path) -> dict[str, Path]:
        """Return the first seed's checkpoint of every backbone and method, by label."""
        return {
            self._label(*pair): self.place(out_dir, main_cells(self.config, *pair)[0]) / CHECKPOINT_NAME
            for pair in self._methods()
        }

    def _names(self) -> dict[str, str]:
        """Return what the scores call every backbone and method, by label."""
        return {self._label(*pair): ".".join(pair) for pair in self._methods()}

    def _report_toy(self, out_dir: Path) -> Section:
        cells = toy_cells(self.config)
        estimators = [
            over_seeds(method, TOY_BACKBONE, METHODS[method].label, self._read(out_dir, [cell]), "network")
            for method, cell in cells.items()
        ]
        toy_reader = ShardReader(out_dir / TOY_NAME, "test")
        checkpoints = {
            METHODS[method].label: self.place(out_dir, cell) / CHECKPOINT_NAME for method, cell in cells.items()
        }
        galleries = []
        for index in strips.liveliest(toy_reader, _N_TOY_SHOWN):
            blurry, sharp = read_sample(toy_reader, index, None)
            shown = strips.show_sequences(blurry, sharp, strips.estimate_all(checkpoints, blurry))
            galleries.append(Gallery("A held-out sequence.", tuple(shown), columns=1))
        return deblur_sections.report_toy(estimators, galleries)

    def _show_errors(self, out_dir: Path) -> list[Gallery]:
        galleries = []
        for index in strips.liveliest(self.reader, self.config.shown_sequences):
            blurry, sharp = read_sample(self.reader, index, self.config.image_size)
            estimates = strips.estimate_all(self._checkpoints(out_dir), blurry)
            take, frame = self.reader.table.iloc[index][["take", "blurry_index"]]
            shown = [*strips.show_sequences(blurry, sharp, {}), *strips.show_errors(sharp, estimates)]
            galleries.append(Gallery(f"{take}, blurry frame {frame}.", tuple(shown), columns=1))
        return galleries

    def description(self) -> dict[str, Any]:
        """Return the data set, the order network and the configuration."""
        return {
            "rig": self.reader.manifest.rig,
            "data_sha256": self.data_sha256,
            "order_sha256": self._order_sha256,
            "config": dataclasses.asdict(self.config),
        }

    def facts(self) -> dict[str, str]:
        """Return what the report says of itself."""
        config, (name, data_set) = self.config, *super().facts().items()
        size = "as they are" if config.image_size is None else f"shrunk to {config.image_size} px"
        steps = f"{config.steps} steps of {config.batch_size} crops of {config.crop_size} px"
        marks = ["recorded frames alone"] if config.recorded_only else []
        if config.held_out != "all":
            marks.append(f"the {config.held_out} half of the held-out takes")
        scored = {"Scored": ", ".join(marks)} if marks else {}
        runs = f"{len(self.cells())}, {steps}"
        return {name: f"{data_set}, {size}", "Runs": runs, **scored, "Order": self._format_order()}

    def _format_order(self) -> str:
        if self.order_run is not None:
            return "a network that was given"
        return "its own network, trained on the same data" if self.first_cells() else "no method asks for one"

    @staticmethod
    def main_table(document: Mapping[str, Any]) -> TableRows:
        """Return pPSNR, direction and amplitude of all methods."""
        values = {row["metric"]: row["value"] for row in document["scores"]}
        names = [metric.removesuffix(".ppsnr_seq.mean") for metric in values if metric.endswith(".ppsnr_seq.mean")]
        border = deblur_sections.BORDER
        columns = {
            "pPSNR": "ppsnr_seq",
            "border": border,
            "direction": "direction_agreement",
            "motion": "amplitude",
            "corr.": "correlation",
            "2x2": "survival",
        }
        rows = []
        for name in names:
            found = (values.get(f"{name}.{metric}.mean") for metric in columns.values())
            shown = ("" if one is None else f"{one:.2f}" for one in found)
            rows.append([name.replace(".", " ").replace("_", " "), *shown])
        return ["in dB", *columns], rows


def _has_regions(samples: pd.DataFrame) -> bool:
    return set(REGION_FIGURES) <= set(samples)
