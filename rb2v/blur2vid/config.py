"""What a run of ``rb2v train-blur2vid`` can be told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from rb2v.blur2vid.backbones import BACKBONES
from rb2v.blur2vid.losses import LOSSES, REGULARIZERS
from rb2v.errors import Rb2vError
from rb2v.training.options import check_member, check_positive, check_range

NO_REGULARIZER = "none"
LABEL_LOSS = "label"

# Beyond any use; a configuration from a file could else ask for all memory.
_LIMITS = {
    "batch_size": 65_536,
    "image_size": 8192,
    "crop_size": 8192,
    "steps": 10**9,
    "warmup_steps": 10**9,
    "seed": 2**32 - 1,
}


@dataclass(frozen=True)
class TrainBlur2VidConfig:
    """Configuration of the training of a network that recovers sequences.

    Raises
    ------
    Rb2vError
        If a value is out of range, or names no backbone, loss or regulariser.
    """

    backbone: str = "unet"
    """A key of ``BACKBONES``."""
    loss: str = "best_direction"
    """A key of ``LOSSES``."""
    regularizer: str = NO_REGULARIZER
    """``none``, or a key of ``REGULARIZERS``: the HyperCUT regulariser's form."""
    alpha: float = 0.2
    """Weight of the regulariser (eq. 8), in the units of ``guidance.Regularizer``."""
    image_size: int | None = None
    """Shorter side to which frames are area-resized, in pixels; None leaves them as they are."""
    crop_size: int | None = 64
    """Side of the part that is cut from resized frames to train on, in pixels; whole frames where it is None."""
    batch_size: int = 16
    """Sequences per step."""
    steps: int = 1500
    """Steps of the whole training."""
    pretrain_steps: int = 0
    """The first of them, in which an autoencoder learns from the sharp frames alone, where the backbone has one."""
    lr: float = 1e-3
    """Peak learning rate of AdamW; rises over the warm-up and falls to zero along a cosine."""
    warmup_steps: int = 40
    weight_decay: float = 1e-4
    ema_decay: float = 0.995
    """Share of the averaged weights, which are scored and saved, that a step keeps; 0 leaves averaging out."""
    seed: int = 0
    checkpoint_every: int = 100
    """Steps between two states from which a stopped run can go on."""
    log_every: int = 10
    """Steps between two rows of metrics.csv."""

    def __post_init__(self) -> None:
        check_member("backbone", self.backbone, BACKBONES)
        check_member("loss", self.loss, LOSSES)
        check_member("regularizer", self.regularizer, (NO_REGULARIZER, *REGULARIZERS))
        for name in ("batch_size", "steps", "checkpoint_every", "log_every"):
            check_range(name, getattr(self, name), 1)
        for name in ("alpha", "pretrain_steps", "warmup_steps", "weight_decay", "seed"):
            check_range(name, getattr(self, name), 0)
        check_range("ema_decay", self.ema_decay, 0, 0.999999)
        for name, most in _LIMITS.items():
            if (value := getattr(self, name)) is not None:
                check_range(name, value, 0 if name in ("warmup_steps", "seed") else 1, most)
        if self.pretrain_steps >= self.steps:
            raise Rb2vError(f"pretrain_steps must be less than steps, {self.steps}, got {self.pretrain_steps}")
        check_positive("lr", self.lr)

    @property
    def needs_order(self) -> bool:
        """Whether an order network takes part in the training."""
        return self.loss == LABEL_LOSS or self.regularizer != NO_REGULARIZER


RECOMMENDED: Mapping[str, Mapping[str, Any]] = MappingProxyType(
    {"jin": {"crop_size": 60}}  # its layers need multiples of 20, and what is padded to them is trained on for nothing
)
"""What differs from the defaults for each backbone."""


def recommend(backbone: str, **chosen: Any) -> TrainBlur2VidConfig:  # noqa: ANN401 - the fields of the configuration
    """Return what is recommended for a backbone, but for what was chosen; None chooses nothing.

    Raises
    ------
    Rb2vError
        If a value is out of range, or names no backbone, loss or regulariser.
    """
    given = {name: value for name, value in chosen.items() if value is not None}
    return TrainBlur2VidConfig(**{"backbone": backbone, **RECOMMENDED.get(backbone, {}), **given})
