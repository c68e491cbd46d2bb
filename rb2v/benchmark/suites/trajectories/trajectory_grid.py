"""The grid of the trajectory suite: trained networks, networks that were given, trivial estimates, and the truth."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from rb2v.benchmark.suites.deblur.config import METHODS
from rb2v.benchmark.suites.trajectories.config import TrajectorySuiteConfig
from rb2v.blur2vid.config import TrainBlur2VidConfig, recommend
from rb2v.hypercut.config import TrainHyperCutConfig
from rb2v.hypercut.config import recommend as recommend_order

TRUTH, BLURRY, MEAN, NOISY = "truth", "blurry", "mean_frame", "noisy_truth"
"""The true frames; the blurry image, and the mean of the true frames, for every frame; the true frames with noise."""
TRIVIAL = (BLURRY, MEAN, NOISY)
"""Estimates that need no network."""


@dataclass(frozen=True)
class TrainedCell:
    """A network that the suite trains and measures."""

    method: str
    seed: int

    @property
    def name(self) -> str:
        """Name of its folder."""
        return f"{self.method}-s{self.seed}"


@dataclass(frozen=True)
class GivenCell:
    """A network that was trained before."""

    label: str
    checkpoint: Path

    @property
    def name(self) -> str:
        """Name of its file."""
        return f"given-{self.label}"


@dataclass(frozen=True)
class TrivialCell:
    """The true frames, or an estimate that needs no network."""

    estimate: str

    @property
    def name(self) -> str:
        """Name of its file."""
        return self.estimate


@dataclass(frozen=True)
class OrderCell:
    """The order network that methods ask for."""

    name: str = "order"


TrajectoryCell = TrainedCell | GivenCell | TrivialCell | OrderCell


def trained_cells(config: TrajectorySuiteConfig, method: str) -> list[TrainedCell]:
    """Return the runs of a method, one a seed."""
    return [TrainedCell(method, seed) for seed in range(config.seeds)]


def training_config(cell: TrainedCell, config: TrajectorySuiteConfig) -> TrainBlur2VidConfig:
    """Return the configuration of a run's training."""
    method = METHODS[cell.method]
    return recommend(
        config.backbone,
        loss=method.loss,
        regularizer=method.regularizer,
        image_size=config.image_size,
        crop_size=config.crop_size,
        batch_size=config.batch_size,
        steps=config.steps,
        seed=cell.seed,
    )


def order_config(config: TrajectorySuiteConfig) -> TrainHyperCutConfig:
    """Return the configuration of the order network's training."""
    return recommend_order("motion", image_size=config.order_size, steps=config.order_steps, seed=0)
