"""The runs of the guidance suite, and the configurations of their trainings."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rb2v.benchmark.suites.guidance.config import DECOMPOSERS, PREDICTORS, GuidanceSuiteConfig
from rb2v.blur2vid.config import TrainBlur2VidConfig
from rb2v.blur2vid.config import recommend as recommend_decomposer
from rb2v.blur2vid.predictor.config import TrainPredictorConfig
from rb2v.blur2vid.predictor.config import recommend as recommend_predictor
from rb2v.hypercut.config import TrainHyperCutConfig
from rb2v.hypercut.config import recommend as recommend_order

GUIDANCE_NAME = "guidance.h5"
"""Of the suite's own table of guidance."""


@dataclass(frozen=True)
class GuidanceCell:
    """One run: of a decomposer, of a predictor, or of the order network."""

    kind: Literal["decomposer", "predictor", "order"]
    method: str = ""
    """Key of ``DECOMPOSERS`` or ``PREDICTORS``."""
    seed: int = 0

    @property
    def name(self) -> str:
        """Name of its folder."""
        if self.kind == "order":
            return self.kind
        prefix = "predictor-" if self.kind == "predictor" else ""
        return f"{prefix}{self.method}-s{self.seed}"


def all_cells(config: GuidanceSuiteConfig) -> list[GuidanceCell]:
    """Return all runs."""
    seeds = range(config.seeds)
    decomposers = [GuidanceCell("decomposer", method, seed) for method in DECOMPOSERS for seed in seeds]
    return [*(GuidanceCell("predictor", method, seed) for method in PREDICTORS for seed in seeds), *decomposers]


def decomposer_config(cell: GuidanceCell, config: GuidanceSuiteConfig) -> TrainBlur2VidConfig:
    """Return what a decomposer is trained with."""
    method = DECOMPOSERS[cell.method]
    is_zhong = method.is_guided or cell.method == "alone"
    return recommend_decomposer(
        config.backbone if is_zhong else config.unguided,
        loss=method.loss,
        regularizer=method.regularizer,
        image_size=config.image_size,
        crop_size=config.crop_size,
        batch_size=config.batch_size,
        steps=config.steps,
        seed=cell.seed,
    )


def predictor_config(cell: GuidanceCell, config: GuidanceSuiteConfig) -> TrainPredictorConfig:
    """Return what a predictor is trained with."""
    return recommend_predictor(
        config.predictor,
        image_size=config.predictor_size,
        steps=config.predictor_steps,
        augment=cell.method == "plain",
        seed=cell.seed,
    )


def order_config(config: GuidanceSuiteConfig) -> TrainHyperCutConfig:
    """Return the configuration of the order network's training."""
    return recommend_order("motion", image_size=config.order_size, steps=config.order_steps, seed=0)
