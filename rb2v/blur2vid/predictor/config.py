"""Configuration of ``rb2v train-guidance``."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any

from pydantic import Field

from rb2v.choices import PredictorName
from rb2v.configuration import (
    OPTIONS_SOURCE,
    BatchSize,
    Count,
    CountOrNone,
    EmaDecay,
    NotNegative,
    Positive,
    Seed,
    config,
)
from rb2v.errors import InputError

GAN = "cvae_gan"
_GAN_SIZES_PX = (64, 128, 256, 512, 1024)
"""Sides that its levels halve evenly; smaller ones leave its discriminators nothing to normalize over."""


@config
class TrainPredictorConfig:
    """Configuration of the training of a network that predicts guidance.

    Raises
    ------
    InputError
        If a value is out of range, or names no network.
    """

    network: PredictorName = "categorical"
    """Network: categorical, a small U-Net with a latent; cvae_gan, the published one, for a GPU."""
    image_size: Annotated[int, Field(ge=16, le=1024)] = 64
    """Shorter side to which images are resized before the network sees them, in px; a square of it for cvae_gan."""
    steps: Count = 600
    """Steps of the whole training."""
    batch_size: BatchSize = 16
    """Images per step."""
    candidates: Annotated[int, Field(ge=2, le=64, multiple_of=2)] = 4
    """Latents drawn per image and step, of which the nearest to the truth is trained, for categorical."""
    all_weight: Annotated[float, Field(ge=0, le=1)] = 0.1
    """Share of the loss that is the mean over all candidates, for categorical; it keeps every latent plausible."""
    ce_weight: NotNegative = 10.0
    """Weight of the cross entropy, for cvae_gan."""
    gan_weight: NotNegative = 1.0
    """Weight of each of the two adversarial terms, for cvae_gan."""
    kl_weight: NotNegative = 0.01
    """Weight of the divergence of the encoded latents from the normal distribution, for cvae_gan."""
    lr: Positive = 2e-3
    """Peak learning rate."""
    warmup_steps: CountOrNone = 40
    """Steps over which the learning rate rises."""
    weight_decay: NotNegative = 1e-4
    """Weight decay, for categorical."""
    ema_decay: EmaDecay = 0.99
    """Share of the averaged weights, which are scored and saved, that a step keeps; 0 leaves averaging out."""
    augment: bool = True
    """Flip, turn and reverse samples at random; not where an order network turns them."""
    seed: Seed = 0
    """Seed of weights, batches and latents."""
    checkpoint_every: Count = 100
    """Steps between two states from which a stopped run can resume."""
    log_every: Count = 10
    """Steps between two rows of metrics.csv."""

    def __post_init__(self) -> None:
        if self.network == GAN:
            if self.image_size not in _GAN_SIZES_PX:
                expected = f"a power of two, {min(_GAN_SIZES_PX)} to {max(_GAN_SIZES_PX)}, for {GAN}"
                raise InputError(OPTIONS_SOURCE, f"is {self.image_size}", "image_size", expected)
            if self.batch_size < 2:
                expected = f"at least 2 for {GAN}, which compares the halves of a batch"
                raise InputError(OPTIONS_SOURCE, f"is {self.batch_size}", "batch_size", expected)


RECOMMENDED: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        # As published, but for steps in place of 200 epochs.
        GAN: {"image_size": 256, "batch_size": 2, "lr": 2e-4, "warmup_steps": 0, "ema_decay": 0.0, "steps": 200_000},
    }
)
"""What differs from the defaults for each network."""


def recommend(network: str, **chosen: Any) -> TrainPredictorConfig:  # noqa: ANN401 - the fields of the configuration
    """Return what is recommended for a network, but for what was chosen; None chooses nothing.

    Raises
    ------
    InputError
        If a value is out of range, or names no network.
    """
    given = {name: value for name, value in chosen.items() if value is not None}
    return TrainPredictorConfig(**{"network": network, **RECOMMENDED.get(network, {}), **given})
