"""The grid of the order suite: networks, dimensions and seeds."""

from __future__ import annotations

from dataclasses import dataclass

from rb2v.benchmark.suites.order.config import OrderSuiteConfig
from rb2v.hypercut.config import TrainHyperCutConfig, recommend


@dataclass(frozen=True)
class OrderCell:
    """One training of an order network."""

    arch: str
    n_dimensions: int
    seed: int

    @property
    def name(self) -> str:
        """Name of its folder."""
        return f"{self.arch}-n{self.n_dimensions}-s{self.seed}"


def main_cells(config: OrderSuiteConfig, arch: str) -> list[OrderCell]:
    """Return the runs of a network at the usual dimension."""
    return [OrderCell(arch, config.n_dimensions, seed) for seed in range(config.seeds)]


def dimension_cells(config: OrderSuiteConfig, arch: str, n_dimensions: int) -> list[OrderCell]:
    """Return the runs of a network at one of the dimensions that are compared."""
    return [OrderCell(arch, n_dimensions, seed) for seed in range(min(config.seeds, config.dimension_seeds))]


def dimension_archs(config: OrderSuiteConfig) -> list[str]:
    """Return the networks that are compared at several dimensions."""
    return [arch for arch in config.archs if arch in config.dimension_archs]


def all_cells(config: OrderSuiteConfig) -> list[OrderCell]:
    """Return all runs, each once."""
    cells = [cell for arch in config.archs for cell in main_cells(config, arch)]
    for arch in dimension_archs(config):
        cells += [cell for n in config.dimensions for cell in dimension_cells(config, arch, n)]
    return list(dict.fromkeys(cells))


def training_config(cell: OrderCell, config: OrderSuiteConfig) -> TrainHyperCutConfig:
    """Return the configuration of a run's training."""
    return recommend(
        cell.arch,
        n_dimensions=cell.n_dimensions,
        image_size=config.image_size,
        steps=config.steps_for(cell.arch),
        seed=cell.seed,
    )
