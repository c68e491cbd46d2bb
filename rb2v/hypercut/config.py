"""What a run of ``rb2v train-hypercut`` can be told."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rb2v.errors import Rb2vError
from rb2v.hypercut.losses import LOSSES
from rb2v.hypercut.networks import ORDER_NETWORKS
from rb2v.training.options import check_member, check_positive, check_range

MIN_IMAGE_SIZE_PX = 16  # at an eighth of it, where the trunks end, two pixels are left

# Beyond any use; a configuration from a file could else ask for all memory.
_LIMITS = {
    "n_dimensions": 65_536,
    "image_size": 8192,
    "batch_size": 65_536,
    "steps": 10**9,
    "warmup_steps": 10**9,
    "seed": 2**32 - 1,
}


@dataclass(frozen=True)
class TrainHyperCutConfig:
    """Configuration of the order network's training.

    Raises
    ------
    Rb2vError
        If a value is out of range, or names no network or loss.
    """

    arch: str = "motion"
    """A key of ``ORDER_NETWORKS``."""
    loss: str = "agreement"
    """A key of ``LOSSES``."""
    agreement_weight: float = 1.0
    product_weight: float = 0.5
    consistency_weight: float = 0.5
    """Weights of the terms that the loss has; 0 leaves one out."""
    n_dimensions: int = 128
    """Dimension of the space that the plane divides (the paper's n)."""
    image_size: int = 64
    """Shorter side of the frames that the network sees, in pixels; larger frames are area-resized to it."""
    batch_size: int = 16
    """Sequences per step."""
    steps: int = 600
    lr: float = 2e-3
    """Peak learning rate of AdamW; rises over the warm-up and falls to zero along a cosine."""
    warmup_steps: int = 40
    weight_decay: float = 1e-3
    score_decay: float = 1e-3
    """Weight of the mean squared score, of both orders, in the loss; without it scores grow while training lasts."""
    seed: int = 0
    checkpoint_every: int = 50
    """Steps between two states from which a stopped run can go on."""
    log_every: int = 10
    """Steps between two rows of metrics.csv."""

    def __post_init__(self) -> None:
        check_member("arch", self.arch, ORDER_NETWORKS)
        check_member("loss", self.loss, LOSSES)
        for name in ("n_dimensions", "batch_size", "steps", "checkpoint_every", "log_every"):
            check_range(name, getattr(self, name), 1)
        for name in (
            *("agreement_weight", "product_weight", "consistency_weight"),
            *("warmup_steps", "weight_decay", "score_decay", "seed"),
        ):
            check_range(name, getattr(self, name), 0)
        check_range("image_size", self.image_size, MIN_IMAGE_SIZE_PX)
        if not any(self.term_weights.values()):
            raise Rb2vError(f"{' or '.join(map(_weight_of, LOSSES[self.loss]))} must be more than 0")
        for name, most in _LIMITS.items():
            check_range(name, getattr(self, name), 0, most)
        check_positive("lr", self.lr)

    @property
    def term_weights(self) -> dict[str, float]:
        """Weights of the loss's terms, by term."""
        return {term: getattr(self, _weight_of(term)) for term in LOSSES[self.loss]}


RECOMMENDED_LOSSES: Mapping[str, str] = {
    "upstream": "upstream",
    "paper": "upstream",
    "antisymmetric": "agreement",
    "motion": "agreement",
}
"""The loss for each network."""

_OF_THE_PAPER: Mapping[str, Any] = {"lr": 1e-3, "score_decay": 0.0}

RECOMMENDED: Mapping[str, Mapping[str, Any]] = {
    "agreement": {},
    "product": _OF_THE_PAPER,
    "upstream": _OF_THE_PAPER,
}
"""What differs from the defaults for each loss."""


def recommend(arch: str, **chosen: Any) -> TrainHyperCutConfig:  # noqa: ANN401 - the fields of the configuration
    """Return what is recommended for a network and its loss, but for what was chosen; None chooses nothing.

    Raises
    ------
    Rb2vError
        If a value is out of range, names no network or loss, or weights a term that the loss does not have.
    """
    given = {name: value for name, value in chosen.items() if value is not None}
    loss = given.get("loss", RECOMMENDED_LOSSES.get(arch, TrainHyperCutConfig.loss))
    config = TrainHyperCutConfig(**{"arch": arch, "loss": loss, **RECOMMENDED.get(loss, {}), **given})
    for term in sorted(set().union(*LOSSES.values()) - LOSSES[config.loss].keys()):
        if _weight_of(term) in given:
            raise Rb2vError(f"{_weight_of(term)}: the loss {config.loss!r} has no such term")
    return config


def _weight_of(term: str) -> str:
    return f"{term}_weight"
