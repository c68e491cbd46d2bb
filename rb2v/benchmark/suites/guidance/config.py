"""Configuration of the guidance suite: what it trains, and how long."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated

from pydantic import Field

from rb2v.blur2vid.config import NO_REGULARIZER
from rb2v.choices import GuidedBackboneName, PredictorName, TrainedBackboneName
from rb2v.configuration import Count, CountOrNone, SidePx, config

MAX_SEEDS = 1000  # more than any machine trains; a slip is told at once
N_SAMPLES = (1, 3, 5)
"""Guidance maps drawn of every test image: P1, P3 and P5."""


@dataclass(frozen=True)
class Decomposer:
    """A way to train a network that recovers sequences."""

    label: str
    loss: str
    is_guided: bool = False
    regularizer: str = NO_REGULARIZER
    predictor: str | None = None
    """Key of ``PREDICTORS`` whose samples it is tested with."""

    @property
    def needs_order(self) -> bool:
        """Whether an order network takes part."""
        return self.loss == "label" or self.regularizer != NO_REGULARIZER


DECOMPOSERS: Mapping[str, Decomposer] = MappingProxyType(
    {
        "label": Decomposer("label: no guidance, turned by HyperCUT's order", "label"),
        "best_direction": Decomposer("best direction: no guidance", "best_direction"),
        "alone": Decomposer("decomposer alone: guidance of zeros", "naive"),
        "guided": Decomposer("guided (Zhong et al.)", "naive", is_guided=True, predictor="plain"),
        "turned": Decomposer("+ HyperCUT: guidance turned", "label", is_guided=True, predictor="turned"),
        "compared": Decomposer(
            "+ HyperCUT: penalty on the order that guidance implies",
            "naive",
            is_guided=True,
            regularizer="softplus",
            predictor="plain",
        ),
    }
)
"""Ways to train by name, as the table lists them; the first two with the backbone that is given no guidance."""
PREDICTORS: Mapping[str, str] = MappingProxyType({"plain": "predictor", "turned": "predictor of turned guidance"})
"""Predictors by name, and what they are called."""


@config
class GuidanceSuiteConfig:
    """Configuration of the guidance suite; everything else is what is recommended.

    Raises
    ------
    InputError
        If a value is out of range.
    """

    image_size: SidePx | None
    """Shorter side to which the frames are shrunk, in px; None leaves them as they are."""
    crop_size: Count
    """Side of the parts that are trained on, in px."""
    batch_size: Count
    """Sequences per step."""
    steps: Count
    """Training steps of every network that recovers sequences."""
    predictor_steps: Count
    """Training steps of every predictor."""
    predictor_size: Annotated[int, Field(ge=16, le=1024)]
    """Shorter side of the images that predictors see, in px."""
    backbone: GuidedBackboneName = "zhong_small"
    """Network that guidance is fed to."""
    predictor: PredictorName = "categorical"
    """Network that predicts guidance."""
    unguided: TrainedBackboneName = "unet"
    """Network that is compared with."""
    seeds: Annotated[int, Field(ge=1, le=MAX_SEEDS)] = 3
    """Runs of each; their seeds are 0, 1, ..."""
    order_steps: Count = 600
    """Training steps of the order network, where none is given."""
    order_size: int = 64
    """Shorter side of the frames that it sees, in px."""
    shown_sequences: CountOrNone = 2
    """Test sequences that are shown."""

    def chosen(self, *, seeds: int | None = None, steps: int | None = None) -> GuidanceSuiteConfig:
        """Return this configuration but for what was chosen; None chooses nothing.

        Raises
        ------
        InputError
            If a value is out of range.
        """
        return dataclasses.replace(
            self,
            seeds=self.seeds if seeds is None else seeds,
            steps=self.steps if steps is None else steps,
        )


PRESETS: Mapping[str, GuidanceSuiteConfig] = MappingProxyType(
    {
        "small": GuidanceSuiteConfig(
            image_size=48,
            crop_size=32,
            batch_size=16,
            steps=300,
            predictor_steps=400,
            predictor_size=32,
            order_size=48,
        ),
        "full": GuidanceSuiteConfig(
            image_size=None,
            crop_size=192,
            batch_size=8,
            steps=200_000,
            predictor_steps=200_000,
            predictor_size=256,
            backbone="zhong",
            predictor="cvae_gan",
            order_steps=4000,
            order_size=128,
            shown_sequences=6,
        ),
    }
)
"""``small`` for two cores, ``full`` for a GPU, with the published sizes."""
