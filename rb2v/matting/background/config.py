"""Configuration of ``rb2v train-matting``."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from rb2v.choices import EncoderName
from rb2v.configuration import Count, CountOrNone, Positive, Seed, config

MIN_SIZE_PX = 32  # 2 px at the backbones' stride of 16
_BASE_SHARE = 0.75  # of the steps, before the refiner joins in


@config
class TrainMattingConfig:
    """Configuration of the training.

    Raises
    ------
    Rb2vError
        If a value is out of range, or names no backbone.
    """

    backbone: EncoderName = "mobilenetv2"
    """Encoder of the network."""
    size: Annotated[int, Field(ge=MIN_SIZE_PX, le=2048, multiple_of=4)] = 256
    """Side of the images that the base network is trained on, in pixels."""
    steps: Count = 20_000
    """Training steps; the last quarter also trains the refiner."""
    batch_size: Annotated[int, Field(ge=2, le=1024)] = 4
    """Composites per step; at least two, for batch norm."""
    lr: Positive = 5e-4
    """Peak learning rate of Adam; rises over the warm-up and falls along a cosine, anew when the refiner joins in."""
    warmup_steps: CountOrNone = 50
    """Steps over which the learning rate rises."""
    seed: Seed = 0
    """Seed of weights and composites."""
    n_held_out: Annotated[int, Field(ge=1, le=10**6)] = 32
    """Composites of held-out images, on which the network is scored in the end."""
    checkpoint_every: Count = 100
    """Steps between two states from which a stopped run can go on."""
    log_every: Count = 10
    """Steps between two rows of metrics.csv."""

    @property
    def base_steps(self) -> int:
        """Steps before the refiner joins in."""
        return int(_BASE_SHARE * self.steps)
