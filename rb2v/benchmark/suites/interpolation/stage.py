"""The interpolation suite: the middle frame of triplets by several methods, compared with the true one."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rb2v import __version__
from rb2v.benchmark.report.page import Gallery, Section
from rb2v.benchmark.report.scores import Score
from rb2v.benchmark.suites.interpolation import interpolation_sections as sections
from rb2v.benchmark.suites.interpolation.config import InterpolationSuiteConfig
from rb2v.benchmark.suites.interpolation.image_triplets import Triplet, digest, find_triplets
from rb2v.benchmark.suites.interpolation.measurements import (
    Measurement,
    Metrics,
    measure_method,
    middle_frame,
    read_measurements,
)
from rb2v.benchmark.suites.suite import Suite, TableRows
from rb2v.core.metrics import SSIM_WINDOW_PX
from rb2v.device import Device, torch_device_of
from rb2v.errors import InputError, Rb2vError
from rb2v.interpolation import Interpolator, digest_weights, make_interpolator
from rb2v.io.store import SCHEMA
from rb2v.progress import Progress

_HOW_TO_GET_WEIGHTS = ("rb2v models fetch", "--weights FILE")

Measured = Mapping[str, list[Measurement] | None]
"""Measurements by method; None where its weights are not there."""


@dataclass(frozen=True)
class MethodCell:
    """All triplets by one method."""

    name: str
    """Key of ``INTERPOLATORS``."""


@dataclass(frozen=True)
class InterpolationSuite(Suite[MethodCell]):
    """The middle frame of triplets by several methods, compared with the truth and with each other.

    A table with a row a triplet is ``measured/<method>.csv``. One triplet comes after the other, because frames per
    second are measured too.
    """

    name = sections.SUITE
    title = "the frame half-way between two frames"
    runs_name = "measured"

    data_dir: Path
    """Folder of triplets, see `find_triplets`."""
    config: InterpolationSuiteConfig = field(default_factory=InterpolationSuiteConfig)
    """Which methods are compared. One whose weights are not fetched is listed without figures."""
    weights: Path | None = None
    """Weights of the one method that is compared, in place of its usual ones."""
    lpips: bool = False
    """Whether LPIPS is measured too, whose weights have to be there."""
    device: Device = "auto"
    """Where networks compute."""

    @cached_property
    def _triplets(self) -> list[Triplet]:
        return find_triplets(self.data_dir)

    @cached_property
    def _methods(self) -> tuple[dict[str, Interpolator], dict[str, str]]:
        """The methods, and why the others cannot be used."""
        methods: dict[str, Interpolator] = {}
        missing: dict[str, str] = {}
        for name in self.config.methods:
            try:
                # Triplets hold coded values, and are made of coded values.
                methods[name] = make_interpolator(name, response="linear", device=self.device, weights=self.weights)
            except InputError as error:
                if self.weights is not None or not any(how in str(error) for how in _HOW_TO_GET_WEIGHTS):
                    raise
                missing[name] = str(error)
        if not methods:
            raise InputError("method", "none has its weights", expected="; ".join(missing.values()))
        return methods, missing

    @cached_property
    def _metrics(self) -> Metrics:
        # What else the machine does counts little in the processor's time, and a GPU's work is none of it.
        clock = time.perf_counter if torch_device_of(self.device) == "cuda" else time.process_time
        if not self.lpips:
            return Metrics(clock)
        from rb2v.lpips import load_lpips

        network = load_lpips("alex")

        def distance(estimate: NDArray[np.uint8], truth: NDArray[np.uint8]) -> float:
            return float(network.distance(estimate, truth))

        return Metrics(clock, max(network.min_size_px, SSIM_WINDOW_PX), distance)

    def check(self) -> None:
        """Reject triplets that cannot be read or are too small, and weights that cannot be used."""
        if self.weights is not None and len(self.config.methods) != 1:
            raise Rb2vError("weights: are given for several methods; expected one method")
        _ = self._triplets, self._methods
        for triplet in self._triplets:
            triplet.read(self._metrics.min_size_px)  # before minutes of work end at the last of them

    @cached_property
    def _data_sha256(self) -> str:
        return digest(self._triplets)

    def shared_settings(self) -> dict[str, Any]:
        """Return what all tables in a folder share."""
        return {
            "lpips": self.lpips,
            "device": self.device,
            "data_sha256": self._data_sha256,
            "weights_sha256": digest_weights(self.weights),
        }

    def cells(self) -> list[MethodCell]:
        """Return the methods that have their weights."""
        return [MethodCell(name) for name in self._methods[0]]

    def steps_of(self, cell: MethodCell) -> int:
        """Return the number of triplets."""
        return len(self._triplets)

    def place(self, out_dir: Path, cell: MethodCell) -> Path:
        """Return the table of a method."""
        place = super().place(out_dir, cell)
        return place.with_name(f"{place.name}.csv")

    def train(self, cell: MethodCell, out_dir: Path, progress: Progress) -> None:
        """Measure a method."""

        def show(done: int) -> None:
            progress(done, len(self._triplets), cell.name)

        method = self._methods[0][cell.name]
        measure_method(method, self._triplets, self.place(out_dir, cell), metrics=self._metrics, on_triplet=show)

    def sections(self, out_dir: Path) -> list[Section]:
        """Return a section for each set of triplets."""
        sets = [
            sections.report_set(name, of_set, self._show_worst(name, of_set))
            for name, of_set in self._by_set(out_dir).items()
        ]
        return [*sets, sections.report_weights(self.config.methods)]

    def _by_set(self, out_dir: Path) -> dict[str, Measured]:
        cells = {cell.name: cell for cell in self.cells()}
        measured = {
            name: read_measurements(self.place(out_dir, cells[name])) if name in cells else None
            for name in self.config.methods
        }
        return {
            set_name: {
                method: None if rows is None else [row for row in rows if row.set_name == set_name]
                for method, rows in measured.items()
            }
            for set_name in dict.fromkeys(triplet.set_name for triplet in self._triplets)
        }

    def _show_worst(self, set_name: str, measured: Measured) -> list[Gallery]:
        known = {name: rows for name, rows in measured.items() if rows is not None}
        best = max(known.values(), key=lambda rows: float(np.mean([row.psnr_db for row in rows])))
        by_name = {triplet.name: triplet for triplet in self._triplets if triplet.set_name == set_name}
        galleries = []
        for row in sorted(best, key=lambda row: row.psnr_db)[: self.config.shown_triplets]:
            frames = by_name[row.triplet].read()
            made = {name: middle_frame(self._methods[0][name], frames) for name in known}
            galleries.append(sections.show_triplet(f"{set_name}/{row.triplet}", frames, made))
        return galleries

    def description(self) -> dict[str, Any]:
        """Return the methods."""
        return {"methods": list(self.config.methods), "missing": self._methods[1]}

    def document(self, out_dir: Path) -> dict[str, Any]:
        """Return ``results.json`` without its scores."""
        told = {name: sections.score_set(name, of_set) for name, of_set in self._by_set(out_dir).items()}
        return {
            "schema": SCHEMA,
            "stage": "interpolation-suite",
            **self.shared_settings(),
            "version": __version__,
            "suite": self.name,
            **self.description(),
            "table": [_to_row(name, method, one) for name, each in told.items() for method, one in each.items()],
        }

    def facts(self) -> dict[str, str]:
        """Return what the report says of itself."""
        methods, missing = self._methods
        n_sets = len({triplet.set_name for triplet in self._triplets})
        is_on_gpu = torch_device_of(self.device) == "cuda"
        clock = "networks on its GPU; elapsed time" if is_on_gpu else "networks on one thread; time of the processor"
        return {
            "Triplets": f"{len(self._triplets)} in {n_sets} sets",
            "Methods": ", ".join(methods),
            **({"Not measured": "; ".join(f"{name}: {why}" for name, why in missing.items())} if missing else {}),
            "Machine": f"{platform.machine()}, {os.cpu_count()} cores; {clock}",
        }

    @staticmethod
    def main_table(document: Mapping[str, Any]) -> TableRows:
        """Return quality, time and target of all methods, set by set."""
        columns = (("psnr", 2), ("ssim", 3), ("lpips", 4), ("seconds", 3))
        verdicts = {None: "", True: "met", False: "missed"}
        table = [
            [
                row["set"],
                row["method"],
                *(f"{row[name]:.{decimals}f}" if name in row else "" for name, decimals in columns),
                verdicts[row["passed"]],
            ]
            for row in document["table"]
        ]
        table += [["", name, "no weights", *[""] * 4] for name in document["missing"]]
        return ["set", "method", "PSNR [dB]", "SSIM", "LPIPS", "s/frame", "target"], table


def _to_row(set_name: str, method: str, told: Mapping[str, Score]) -> dict[str, Any]:
    verdicts = [score.passed for score in told.values() if score.passed is not None]
    values = {name: score.value for name, score in told.items()}
    return {"set": set_name, "method": method, **values, "passed": all(verdicts) if verdicts else None}
