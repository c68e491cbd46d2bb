"""Configuration of ``rb2v train-hypercut``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import Field

from rb2v.choices import OrderLossName, OrderNetworkName
from rb2v.configuration import (
    OPTIONS_SOURCE,
    BatchSize,
    Count,
    CountOrNone,
    NotNegative,
    Positive,
    Seed,
    WindowPx,
    config,
)
from rb2v.errors import InputError

MIN_IMAGE_SIZE_PX = 16  # at an eighth of it, where the trunks end, two pixels are left

LIKELIHOOD = "likelihood"
"""The loss of the network ``signs``, and of no other."""
LOSS_TERMS: Mapping[str, tuple[str, ...]] = {
    "agreement": ("agreement",),
    "product": ("product",),
    "upstream": ("product", "consistency"),
    "likelihood": ("likelihood",),
}
"""The terms of each loss, each of which has a weight in the configuration."""


@config
class TrainHyperCutConfig:
    """Configuration of the order network's training.

    Raises
    ------
    InputError
        If a value is out of range, or names no network or loss.
    """

    arch: OrderNetworkName = "motion"
    """Order network."""
    loss: OrderLossName = "agreement"
    """Loss: agreement, product, upstream (product and consistency), or likelihood for signs."""
    agreement_weight: NotNegative = 1.0
    """Weight of the loss's term agreement, in a loss that has it."""
    product_weight: NotNegative = 0.5
    """Weight of the loss's term product, in a loss that has it."""
    consistency_weight: NotNegative = 0.5
    """Weight of the loss's term consistency, in a loss that has it."""
    likelihood_weight: NotNegative = 1.0
    """Weight of the loss's term likelihood, in a loss that has it."""
    window_px: WindowPx | None = None
    """Side of the windows that choose a direction in the loss likelihood, in px, up to 8 or even; the whole frame by
    default."""
    n_dimensions: Annotated[int, Field(ge=1, le=65_536)] = 128
    """Dimension of the space that the plane divides (the paper's n)."""
    image_size: Annotated[int, Field(ge=MIN_IMAGE_SIZE_PX, le=8192)] = 64
    """Shorter side of the frames that the network sees, in px; larger frames are area-resized to it."""
    batch_size: BatchSize = 16
    """Sequences per step."""
    steps: Count = 600
    """Training steps."""
    lr: Positive = 2e-3
    """Peak learning rate of AdamW; rises over the warm-up and falls to zero along a cosine."""
    warmup_steps: CountOrNone = 40
    """Steps over which the learning rate rises."""
    weight_decay: NotNegative = 1e-3
    """Weight decay of AdamW."""
    score_decay: NotNegative = 1e-3
    """Weight of the mean squared score, of both orders, in the loss; without it scores grow while training lasts."""
    seed: Seed = 0
    """Seed of weights and batches."""
    checkpoint_every: Count = 50
    """Steps between two states from which a stopped run can go on."""
    log_every: Count = 10
    """Steps between two rows of metrics.csv."""

    def __post_init__(self) -> None:
        if (self.loss == LIKELIHOOD) != (self.arch == "signs"):
            expected = f"{LIKELIHOOD} for signs, and another one for other networks"
            raise InputError(OPTIONS_SOURCE, f"is {self.loss!r} for {self.arch!r}", "loss", expected)
        if not any(self.term_weights.values()):
            weights = [_weight_of(term) for term in LOSS_TERMS[self.loss]]
            raise InputError(OPTIONS_SOURCE, "is 0", weights[0], f"{' or '.join(weights)} above 0")

    @property
    def term_weights(self) -> dict[str, float]:
        """Weights of the loss's terms, by term."""
        return {term: getattr(self, _weight_of(term)) for term in LOSS_TERMS[self.loss]}


RECOMMENDED_LOSSES: Mapping[str, str] = {
    "upstream": "upstream",
    "paper": "upstream",
    "antisymmetric": "agreement",
    "motion": "agreement",
    "signs": LIKELIHOOD,
}
"""The loss for each network."""

_OF_THE_PAPER: Mapping[str, Any] = {"lr": 1e-3, "score_decay": 0.0}

RECOMMENDED: Mapping[str, Mapping[str, Any]] = {
    "agreement": {},
    "product": _OF_THE_PAPER,
    "upstream": _OF_THE_PAPER,
    LIKELIHOOD: {},
}
"""What differs from the defaults for each loss."""


def recommend(arch: str, **chosen: Any) -> TrainHyperCutConfig:  # noqa: ANN401 - the fields of the configuration
    """Return what is recommended for a network and its loss, but for what was chosen; None chooses nothing.

    Raises
    ------
    InputError
        If a value is out of range, names no network or loss, or weights a term that the loss does not have.
    """
    given = {name: value for name, value in chosen.items() if value is not None}
    loss = given.get("loss", RECOMMENDED_LOSSES.get(arch, TrainHyperCutConfig.loss))
    made = TrainHyperCutConfig(**{"arch": arch, "loss": loss, **RECOMMENDED.get(loss, {}), **given})
    for term in sorted(set().union(*LOSS_TERMS.values()) - set(LOSS_TERMS[made.loss])):
        if _weight_of(term) in given:
            raise InputError(OPTIONS_SOURCE, f"the loss {made.loss!r} has no such term", _weight_of(term))
    return made


def _weight_of(term: str) -> str:
    return f"{term}_weight"
