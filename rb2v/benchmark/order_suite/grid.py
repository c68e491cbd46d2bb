"""The runs of the suite: which there are, and their training."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rb2v.benchmark.order_suite.config import OrderSuiteConfig
from rb2v.benchmark.stop_watch import StopWatch
from rb2v.device import one_torch_thread
from rb2v.hypercut import train
from rb2v.hypercut.config import TrainHyperCutConfig, recommend

RUNS_NAME = "runs"
TIMES_NAME = "times"


@dataclass(frozen=True)
class Cell:
    """One run of the suite."""

    arch: str
    n_dimensions: int
    seed: int

    @property
    def name(self) -> str:
        """Name of its folder."""
        return f"{self.arch}-n{self.n_dimensions}-s{self.seed}"


def main_cells(config: OrderSuiteConfig, arch: str) -> list[Cell]:
    """Return the runs of a network at the usual dimension."""
    return [Cell(arch, config.n_dimensions, seed) for seed in range(config.seeds)]


def dimension_cells(config: OrderSuiteConfig, arch: str, n_dimensions: int) -> list[Cell]:
    """Return the runs of a network at one of the dimensions that are compared."""
    return [Cell(arch, n_dimensions, seed) for seed in range(min(config.seeds, config.dimension_seeds))]


def dimension_archs(config: OrderSuiteConfig) -> list[str]:
    """Return the networks that are compared at several dimensions."""
    return [arch for arch in config.archs if arch in config.dimension_archs]


def plan(config: OrderSuiteConfig) -> list[Cell]:
    """Return all runs, each once though several tables show it."""
    cells = [cell for arch in config.archs for cell in main_cells(config, arch)]
    for arch in dimension_archs(config):
        cells += [cell for n in config.dimensions for cell in dimension_cells(config, arch, n)]
    return list(dict.fromkeys(cells))


def training_config(cell: Cell, config: OrderSuiteConfig) -> TrainHyperCutConfig:
    """Return what a run is trained with."""
    return recommend(
        cell.arch,
        n_dimensions=cell.n_dimensions,
        image_size=config.image_size,
        steps=config.steps_for(cell.arch),
        seed=cell.seed,
    )


@dataclass(frozen=True)
class Training:
    """What a worker has to know to train any run of the suite."""

    shards_dir: Path
    out_dir: Path
    config: OrderSuiteConfig
    device: str

    def __call__(self, cell: Cell) -> str:
        """Train a run, or finish it, or find it finished; return its name.

        Raises
        ------
        InputError
            If its folder holds a run of other settings, or the data cannot be trained on.
        """
        watch = StopWatch(self.out_dir / TIMES_NAME / f"{cell.name}.json")
        with one_torch_thread():
            train.run(
                self.shards_dir,
                self.out_dir / RUNS_NAME / cell.name,
                training_config(cell, self.config),
                device=self.device,
                progress=watch.see,
            )
        return cell.name
