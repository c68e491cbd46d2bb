"""Configuration of the deblurring suite."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Annotated, Any, cast

from pydantic import Field

from rb2v.blur2vid.config import (
    NO_REGULARIZER,
    REGIONS_REGULARIZER,
    SIGNS_REGULARIZER,
    TrainBlur2VidConfig,
)
from rb2v.choices import DeblurMethodName, HeldOutName, TrainedBackboneName
from rb2v.configuration import Count, CountOrNone, NotNegative, SidePx, config

MAX_SEEDS = 1000  # more than any machine trains; a slip is told at once


@dataclass(frozen=True)
class Method:
    """A way to train a backbone."""

    label: str
    loss: str
    regularizer: str = NO_REGULARIZER
    window_px: int | None = None
    """Side of the windows of an order-invariant loss; None for eq. (3)."""
    alpha: float | None = None
    """Weight of the regularizer; None for the usual one."""
    regions: str | None = None
    """What every region is turned by: its true displacement, DIS flow, or the order network signs."""


TRUE_MOTION, DIS_FLOW, SIGN_ORDER = "true", "dis", "signs"

METHODS: Mapping[str, Method] = MappingProxyType(
    {
        "naive": Method("naive (eq. 4)", "naive"),
        "naive_hypercut": Method("naive + HyperCUT", "naive", "softplus"),
        "order_invariant": Method("order-invariant (eq. 3)", "order_invariant"),
        "hypercut": Method("order-invariant + HyperCUT (eq. 8)", "order_invariant", "softplus"),
        "hypercut_signs": Method("order-invariant + expected signs", "order_invariant", SIGNS_REGULARIZER, alpha=1.0),
        "hypercut_regions": Method(
            "order-invariant + orders of regions", "order_invariant", REGIONS_REGULARIZER, alpha=1.0
        ),
        "window_4": Method("windows of 4 px", "order_invariant", window_px=4),
        "window_4_hypercut": Method("windows of 4 px + HyperCUT", "order_invariant", "softplus", 4),
        "window_4_signs": Method(
            "windows of 4 px + expected signs", "order_invariant", SIGNS_REGULARIZER, 4, alpha=1.0
        ),
        "window_16": Method("windows of 16 px", "order_invariant", window_px=16),
        "label": Method("label: turned by HyperCUT's order", "label"),
        "regions_true": Method("regions turned by their true motion", "region_label", regions=TRUE_MOTION),
        "regions_flow": Method("regions turned by DIS flow", "region_label", regions=DIS_FLOW),
        "regions_order": Method("regions turned by the network signs", "region_label", regions=SIGN_ORDER),
        "best_direction": Method("best direction", "best_direction"),
    }
)
"""Methods by name, as the tables list them."""
USUAL_METHODS: tuple[DeblurMethodName, ...] = (
    *("naive", "naive_hypercut", "order_invariant", "hypercut", "hypercut_signs"),
    *("window_4", "window_16", "label", "best_direction"),
)
"""Those that are compared where none is named."""
BASELINE, REGULARIZED = "order_invariant", "hypercut"
"""The method without and with the regularizer whose weight Table 6 varies."""
WINDOWED, REGULARIZED_WINDOWED = "window_4", "window_4_hypercut"
"""The same in windows, which stand beside them where the second one is compared."""


@config
class DeblurSuiteConfig:
    """Which backbones are trained, how, and on what; everything else is what is recommended.

    Raises
    ------
    Rb2vError
        If a value is out of range, or names no backbone or method.
    """

    backbones: Annotated[tuple[TrainedBackboneName, ...], Field(min_length=1)]
    """Keys of ``BACKBONES``; none that is fed the true center frame."""
    image_size: SidePx | None
    """Shorter side to which the frames are shrunk, in pixels; None leaves them as they are."""
    crop_size: Count
    """Side of the parts that are trained on, in pixels; by default the preset's."""
    batch_size: Count
    """Sequences per step; by default the preset's."""
    steps: Count
    """Training steps of every run; by default the preset's."""
    methods: Annotated[tuple[DeblurMethodName, ...], Field(min_length=1)] = USUAL_METHODS
    """Keys of ``METHODS``."""
    seeds: Annotated[int, Field(ge=1, le=MAX_SEEDS)] = 3
    """Runs of each backbone and method; their seeds are 0, 1, ..."""
    alphas: tuple[NotNegative, ...] = (0.0, 0.1, 0.15, 0.2, 0.25, 0.3)
    """Weights of the regularizer that Table 6 compares, with seed 0 of the first backbone; none leaves it out. They
    are compared in windows too where the methods have ``window_4_hypercut``."""
    order_steps: Count = 600
    """Training steps of the order network, where none is given."""
    order_size: int = 64
    """Shorter side of the frames that it sees, in pixels."""
    toy_steps: CountOrNone = 300
    """Training steps of every method on the toy of Figure 2; 0 leaves it out."""
    toy_train: Count = 400
    toy_test: Count = 48
    """Sequences of the toy."""
    pretrain_shares: Mapping[str, float] = field(default_factory=lambda: {"purohit": 0.3})
    """Share of the steps in which a backbone's autoencoder learns."""
    shown_sequences: CountOrNone = 2
    """Test sequences that are shown."""
    recorded_only: bool = False
    """Leave interpolated frames out of the scores, of data sets that mark them."""

    held_out: HeldOutName = "all"
    """Takes that are scored: all, or one half of them, to choose settings by (validation) or to report (test)."""

    @property
    def usual_alpha(self) -> float:
        """Weight of the regularizer outside Table 6."""
        return TrainBlur2VidConfig.alpha

    def chosen(
        self,
        *,
        backbones: Sequence[str] | None = None,
        methods: Sequence[str] | None = None,
        alphas: bool = True,
        **fields: Any,  # noqa: ANN401 - the fields of the configuration
    ) -> DeblurSuiteConfig:
        """Return this configuration but for what was chosen, other fields by their names; None chooses nothing.

        Raises
        ------
        Rb2vError
            If a value is out of range, or names no backbone or method.
        """
        return dataclasses.replace(
            self,
            backbones=self.backbones if backbones is None else cast("Any", tuple(dict.fromkeys(backbones))),
            methods=self.methods if methods is None else cast("Any", _in_order(methods)),
            alphas=self.alphas if alphas else (),
            **{name: value for name, value in fields.items() if value is not None},
        )


def _in_order(methods: Sequence[str]) -> tuple[str, ...]:
    unknown = sorted(set(methods) - set(METHODS))
    return (*(name for name in METHODS if name in methods), *unknown)


PRESETS: Mapping[str, DeblurSuiteConfig] = MappingProxyType(
    {
        "small": DeblurSuiteConfig(
            backbones=("unet",), image_size=48, crop_size=32, batch_size=16, steps=250, order_size=48
        ),
        "full": DeblurSuiteConfig(
            backbones=("unet", "jin", "purohit"),
            image_size=None,
            crop_size=240,
            batch_size=8,
            steps=50_000,
            order_steps=4000,
            order_size=128,
            toy_steps=2000,
            shown_sequences=6,
        ),
    }
)
"""``small`` for two cores, ``full`` for a GPU. 240 suits the backbone ``jin``, whose layers need multiples of 20."""
