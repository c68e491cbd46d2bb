"""Configuration of ``rb2v train-blur2vid``."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Final

from rb2v.choices import BackboneName, RegularizerName, SequenceLossName
from rb2v.configuration import (
    OPTIONS_SOURCE,
    BatchSize,
    Count,
    CountOrNone,
    EmaDecay,
    NotNegative,
    Positive,
    Seed,
    SidePx,
    WindowPx,
    config,
)
from rb2v.errors import InputError

NO_REGULARIZER: Final = "none"
SIGNS_REGULARIZER = "signs"
REGIONS_REGULARIZER = "regions"
SIGN_REGULARIZERS = (SIGNS_REGULARIZER, REGIONS_REGULARIZER)
"""Those of every value, by the order network ``signs``; they are distances as they are."""
LABEL_LOSS = "label"
INVARIANT_LOSS = "order_invariant"
REGION_LOSS = "region_label"
TILE_PX = 512
"""Side of a tile, in pixels: the backbones need 0.15 to 0.65 GB for it, up to four times that for twice the side."""
OVERLAP_PX = 64
"""Pixels that neighboring tiles share."""


@config
class TrainBlur2VidConfig:
    """Configuration of the training of a network that recovers sequences.

    Raises
    ------
    InputError
        If a value is out of range, or names no backbone, loss or regulariser.
    """

    backbone: BackboneName = "unet"
    """Network; purohit_oracle is fed the true center frame, zhong and zhong_small motion guidance."""
    loss: SequenceLossName = "best_direction"
    """Loss: naive (eq. 4), order_invariant (eq. 3), best_direction, or naive on what was turned: label turns sequences
    by an order network, region_label every region so that it moves right by its guidance."""
    window_px: WindowPx = 1
    """Side of the windows in which order_invariant chooses a direction, in px, up to 8 or even; 1: every value."""
    shared_windows: bool = True
    """Let all pairs of such a window choose one direction, and not each its own."""
    regularizer: RegularizerName = NO_REGULARIZER
    """Form of the HyperCUT regularizer; linear is eq. (7), signs and regions are of every value and need the network
    signs."""
    alpha: NotNegative = 0.2
    """Weight of the regularizer (eq. 8), in the units of ``guidance.Regularizer``."""
    image_size: SidePx | None = None
    """Shorter side to which frames are area-resized, in px; as they are by default."""
    crop_size: SidePx | None = 64
    """Side of the part that is cut from resized frames to train on, in pixels; whole frames where it is None."""
    batch_size: BatchSize = 16
    """Sequences per step."""
    steps: Count = 1500
    """Steps of the whole training."""
    pretrain_steps: CountOrNone = 0
    """The first of the steps, in which an autoencoder learns from sharp frames alone, for purohit."""
    lr: Positive = 1e-3
    """Peak learning rate of AdamW; rises over the warm-up and falls to zero along a cosine."""
    warmup_steps: CountOrNone = 40
    """Steps over which the learning rate rises."""
    weight_decay: NotNegative = 1e-4
    """Weight decay of AdamW."""
    augment: bool = False
    """Flip, turn and reverse every sequence at random, and its guidance with it; not where an order takes part."""
    ema_decay: EmaDecay = 0.995
    """Share of the averaged weights, which are scored and saved, that a step keeps; 0 leaves averaging out."""
    seed: Seed = 0
    """Seed of weights and batches."""
    checkpoint_every: Count = 100
    """Steps between two states from which a stopped run can go on."""
    log_every: Count = 10
    """Steps between two rows of metrics.csv."""

    def __post_init__(self) -> None:
        if self.pretrain_steps >= self.steps:
            raise InputError(
                OPTIONS_SOURCE, f"is {self.pretrain_steps}", "pretrain_steps", f"less than steps, {self.steps}"
            )

        if self.augment and self.needs_order:
            problem = "is set, and an order network knows no order of mirrored or turned frames"
            raise InputError(OPTIONS_SOURCE, problem, "augment", "no-augment, or a loss without an order")

    @property
    def needs_order(self) -> bool:
        """Whether an order network takes part in the training."""
        return self.loss == LABEL_LOSS or self.regularizer != NO_REGULARIZER


RECOMMENDED: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {
        "jin": {
            "crop_size": 60
        },  # its layers need multiples of 20, and what is padded to them is trained on for nothing
        "zhong": {"loss": "naive", "crop_size": 192, "batch_size": 8, "lr": 1e-4, "steps": 200_000},  # as published
        "zhong_small": {"loss": "naive"},  # guidance tells the direction
    }
)
"""What differs from the defaults for each backbone."""


def recommend(backbone: str, **chosen: Any) -> TrainBlur2VidConfig:  # noqa: ANN401 - the fields of the configuration
    """Return what is recommended for a backbone, but for what was chosen; None chooses nothing.

    Raises
    ------
    InputError
        If a value is out of range, or names no backbone, loss or regulariser.
    """
    given = {name: value for name, value in chosen.items() if value is not None}
    return TrainBlur2VidConfig(**{"backbone": backbone, **RECOMMENDED.get(backbone, {}), **given})
