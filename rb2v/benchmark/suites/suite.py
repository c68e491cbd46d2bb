"""One suite: a grid of runs, their resumption, and the results and the report made from them."""

from __future__ import annotations

import dataclasses
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar, Generic, Protocol, TypeVar

from rb2v import __version__
from rb2v.benchmark.report.output import write_results
from rb2v.benchmark.report.page import Section
from rb2v.benchmark.suites.stop_watch import StopWatch
from rb2v.errors import InputError
from rb2v.execution import Executor, SerialExecutor
from rb2v.io.store import SCHEMA, output_folder, sha256_of
from rb2v.progress import Progress
from rb2v.shards import ShardReader, manifest_path

RUNS_NAME = "runs"
TIMES_NAME = "times"

TableRows = tuple[list[str], list[list[str]]]
"""Header and rows of a table for the terminal."""


class Cell(Protocol):
    """One run of a suite; hashable."""

    @property
    def name(self) -> str:
        """Name of its folder or file."""


AnyCell = TypeVar("AnyCell", bound=Cell)


@dataclass(frozen=True)
class Suite(ABC, Generic[AnyCell]):
    """Methods that are measured alike and compared.

    A suite is a frozen dataclass of paths, a configuration and options. It fills in `cells`, `train` and `sections`,
    and states by `shared_settings`, `description`, `facts` and `main_table` what its results are about. What it reads
    is a cached property: workers are sent the fields alone.
    """

    name: ClassVar[str]
    """Of the command, and of the scores in ``results.csv``."""
    title: ClassVar[str]
    """Of the table that the command prints."""
    runs_name: ClassVar[str] = RUNS_NAME
    """Folder of the runs."""

    @abstractmethod
    def cells(self) -> Sequence[AnyCell]:
        """Return all runs, each once though several tables show it."""

    @abstractmethod
    def train(self, cell: AnyCell, out_dir: Path, progress: Progress) -> None:
        """Train or measure a run, resume it, or find it finished; it lies in `place`."""

    @abstractmethod
    def sections(self, out_dir: Path) -> list[Section]:
        """Return the report's sections, read from the finished runs."""

    @abstractmethod
    def shared_settings(self) -> dict[str, Any]:
        """Return what all runs in a folder share; what is not named may be added later."""

    @abstractmethod
    def description(self) -> dict[str, Any]:
        """Return what ``results.json`` says of the inputs and the settings."""

    @abstractmethod
    def facts(self) -> dict[str, str]:
        """Return what the report says of itself under its title."""

    @staticmethod
    @abstractmethod
    def main_table(document: Mapping[str, Any]) -> TableRows:
        """Return the main table of a ``results.json``, short enough for a terminal."""

    def check(self) -> None:
        """Reject before the first run what the last one would fail at."""

    def prepare(self, out_dir: Path) -> None:
        """Make what runs need in the suite's folder."""

    def first_cells(self) -> Sequence[AnyCell]:
        """Return runs that others need: they come first, and the results do not list them."""
        return ()

    def steps_of(self, cell: AnyCell) -> int:
        """Return the steps of the progress that a run is; if more than one, `train` reports them."""
        return 1

    def document(self, out_dir: Path) -> dict[str, Any]:
        """Return ``results.json`` without its scores."""
        runs = [cell.name for cell in self.cells()]
        return {"schema": SCHEMA, "version": __version__, "suite": self.name, **self.description(), "runs": runs}

    def place(self, out_dir: Path, cell: AnyCell) -> Path:
        """Return where a run is written."""
        return out_dir / self.runs_name / cell.name

    def __getstate__(self) -> dict[str, Any]:
        return {one.name: getattr(self, one.name) for one in dataclasses.fields(self)}

    def run(self, out_dir: Path, *, executor: Executor | None = None, progress: Progress | None = None) -> Path:
        """Make the runs that are not there yet, and write ``results.json``, ``results.csv`` and ``report.html``.

        A finished run is not made again, and a stopped one resumes. Times apart, the same data and settings give the
        same results, whatever the number of workers.

        Parameters
        ----------
        out_dir : Path
            Where everything is written: new, empty, or of a suite of the same inputs and fixed settings, whose results
            are replaced and whose runs are kept.
        executor : Executor, optional
            Where the runs are made; one after the other, here, by default. Each has one thread of the CPU.
        progress : callable, optional
            Called with the steps of the suite that are done, all of them, and what was done last or is done now.

        Returns
        -------
        Path
            The report, ``out_dir/report.html``.

        Raises
        ------
        InputError
            If an input cannot be used, or ``out_dir`` holds other things or is being written by another suite.
        ConfigMismatchError
            If ``out_dir``, or a run's folder in it, was made with other inputs or settings.
        """
        show = progress or (lambda done, total, label: None)
        self.check()
        with output_folder(out_dir, {"schema": SCHEMA, "stage": f"{self.name}-suite", **self.shared_settings()}):
            self.prepare(out_dir)
            waves = self.first_cells(), self.cells()
            total = 1 + sum(self.steps_of(cell) for wave in waves for cell in wave)
            done = 0

            def show_within(made: int, _: int, label: str) -> None:
                show(done + made, total, label)

            show(done, total, "starting")
            # Other processes cannot call back: what they do is shown run by run.
            work = _Work(self, out_dir, show_within if executor is None else None)
            for wave in waves:
                for cell, name in zip(wave, (executor or SerialExecutor()).map(work, wave), strict=True):
                    done += self.steps_of(cell)
                    show(done, total, name)
            show(done, total, "writing the report")
            path = write_results(out_dir, self.document(out_dir), self.facts(), self.sections(out_dir))
        show(total, total, "done")
        return path


@dataclass(frozen=True)
class _Work(Generic[AnyCell]):
    """What a worker has to know to make any run of a suite."""

    suite: Suite[AnyCell]
    out_dir: Path
    on_step: Progress | None

    def __call__(self, cell: AnyCell) -> str:
        """Make a run; return its name."""
        watch = StopWatch(self.out_dir / TIMES_NAME / f"{cell.name}.json")
        shown = self.on_step if self.suite.steps_of(cell) > 1 else None

        def see(done: int, total: int, label: str) -> None:
            watch.see(done, total, label)
            if shown is not None:
                shown(done, total, label)

        self.suite.train(cell, self.out_dir, see)
        return cell.name


@dataclass(frozen=True)
class ShardsSuite(Suite[AnyCell]):
    """A suite that trains on one split of a data set and measures on the other."""

    shards_dir: Path
    """A data set with both splits."""

    @cached_property
    def reader(self) -> ShardReader:
        """The held-out sequences.

        Raises
        ------
        InputError
            If there is none.
        """
        reader = ShardReader(self.shards_dir, "test")
        if not len(reader):
            raise InputError(manifest_path(self.shards_dir), "holds no sequence to test on", "splits.test")
        return reader

    @cached_property
    def data_sha256(self) -> str:
        """SHA-256 of the data set's manifest."""
        return sha256_of(manifest_path(self.shards_dir))

    def facts(self) -> dict[str, str]:
        """Return what the report says of the data set."""
        rig, n_takes = self.reader.manifest.rig, self.reader.table["take"].nunique()
        return {"Data set": f"rig {rig}; {len(self.reader)} held-out sequences of {n_takes} takes"}
