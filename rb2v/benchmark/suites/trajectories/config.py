"""Configuration of the trajectory suite."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Annotated, Any, cast

from pydantic import Field

from rb2v.benchmark.suites.deblur.config import MAX_SEEDS, METHODS
from rb2v.choices import DeblurMethodName, TrainedBackboneName
from rb2v.configuration import Count, CountOrNone, SidePx, config


@config
class TrajectorySuiteConfig:
    """Which networks are trained, and which samples their landmarks are measured on.

    Raises
    ------
    InputError
        If a value is out of range, or names no backbone or method.
    """

    backbone: TrainedBackboneName
    """Key of ``BACKBONES``."""
    image_size: SidePx | None
    """Shorter side to which the frames are shrunk, in px; None leaves them as they are."""
    crop_size: Count
    """Side of the parts that are trained on, in px."""
    batch_size: Count
    """Sequences per step."""
    steps: Count
    """Training steps of every run; by default the preset's."""
    methods: tuple[DeblurMethodName, ...] = ("order_invariant", "label")
    """Keys of ``METHODS``; none to train nothing."""
    seeds: Annotated[int, Field(ge=1, le=MAX_SEEDS)] = 3
    """Runs of each method; their seeds are 0, 1, ..."""
    order_steps: Count = 600
    """Training steps of the order network, where none is given."""
    order_size: int = 64
    """Shorter side of the frames that it sees, in px."""
    max_samples: Count = 24
    """Most held-out samples of each category that are measured, spread over all; by default the preset's."""
    noise_levels: Annotated[float, Field(ge=0, le=255)] = 2.0
    """Standard deviation of the noise on the true frames that shows how far the detector repeats itself, in levels."""
    shown_sequences: CountOrNone = 3
    """Samples of each category whose trajectories are drawn."""

    def chosen(self, *, methods: Sequence[str] | None = None, **given: Any) -> TrajectorySuiteConfig:  # noqa: ANN401
        """Return this configuration but for what was chosen; None chooses nothing.

        Raises
        ------
        InputError
            If a value is out of range, or names no method.
        """
        if methods is not None:
            unknown = sorted(set(methods) - set(METHODS))
            given["methods"] = cast("Any", (*(name for name in METHODS if name in methods), *unknown))
        return dataclasses.replace(self, **{name: value for name, value in given.items() if value is not None})


PRESETS: Mapping[str, TrajectorySuiteConfig] = MappingProxyType(
    {
        "small": TrajectorySuiteConfig(
            backbone="unet", image_size=96, crop_size=64, batch_size=8, steps=200, order_steps=300, max_samples=24
        ),
        "full": TrajectorySuiteConfig(
            backbone="purohit",
            image_size=None,
            crop_size=240,
            batch_size=8,
            steps=50_000,
            methods=("order_invariant", "hypercut", "label"),
            order_steps=4000,
            order_size=128,
            max_samples=1000,
            shown_sequences=6,
        ),
    }
)
"""``small`` for two cores, ``full`` for a GPU."""
