"""Configuration of the order suite."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import field
from types import MappingProxyType
from typing import Annotated, Any, cast, get_args

from pydantic import Field

from rb2v.choices import OrderNetworkName
from rb2v.configuration import OPTIONS_SOURCE, Count, config
from rb2v.errors import InputError

_NETWORKS: tuple[OrderNetworkName, ...] = get_args(OrderNetworkName)
_Seeds = Annotated[int, Field(ge=1, le=1000)]  # each is a training; more is a slip
_AtLeastTwo = Annotated[int, Field(ge=2)]  # the points of both orders of so many pairs are laid out in a plane


@config
class OrderSuiteConfig:
    """Which networks are trained and compared; everything else is what `rb2v.hypercut.config.recommend` says.

    Raises
    ------
    Rb2vError
        If a value is out of range, or names no network.
    """

    archs: Annotated[tuple[OrderNetworkName, ...], Field(min_length=1)]
    """Keys of ``ORDER_NETWORKS``."""
    image_size: int
    """Shorter side of the frames that the networks see, in pixels."""
    steps: Count
    """Training steps of every network; by default the preset's."""
    steps_of: Mapping[str, int] = field(default_factory=dict)
    """Those of the networks that are trained otherwise."""
    seeds: _Seeds = 3
    """Runs of each network; their seeds are 0, 1, ..."""
    n_dimensions: _AtLeastTwo = 128
    """Dimension of the space that the plane divides, but where the dimension is what is compared."""
    dimension_archs: tuple[OrderNetworkName, ...] = ("motion",)
    """Networks that are also trained at other dimensions; none leaves the table of dimensions out."""
    dimensions: tuple[int, ...] = (1, 16, 64, 128, 256)
    dimension_seeds: _Seeds = 3
    """Runs at each of these dimensions, and no more than ``seeds``."""
    shown_sequences: _AtLeastTwo = 200
    """Test sequences whose points are shown, at most."""
    recorded_only: bool = False
    """Leave pairs with an interpolated frame out of the scores, of data sets that mark them."""

    def __post_init__(self) -> None:
        for arch in self.archs:
            if self.steps_for(arch) < 1:
                raise InputError(OPTIONS_SOURCE, f"is {self.steps_for(arch)} for {arch}", "steps", "at least 1")

    def steps_for(self, arch: str) -> int:
        """Return the training steps of a network."""
        return self.steps_of.get(arch, self.steps)

    def chosen(
        self,
        *,
        archs: Sequence[str] | None = None,
        seeds: int | None = None,
        steps: int | None = None,
        dimensions: bool = True,
        recorded_only: bool = False,
    ) -> OrderSuiteConfig:
        """Return this configuration but for what was chosen; None chooses nothing.

        Parameters
        ----------
        archs : sequence of str, optional
            Networks, in any order.
        seeds : int, optional
            Runs of each network.
        steps : int, optional
            Training steps of every network.
        dimensions : bool
            Whether networks are also trained at other dimensions.
        recorded_only : bool
            Whether pairs with an interpolated frame are left out of the scores.

        Raises
        ------
        Rb2vError
            If a value is out of range, or names no network.
        """
        unknown = sorted(set(archs or ()) - set(_NETWORKS))
        wanted = self.archs if archs is None else (*(arch for arch in _NETWORKS if arch in archs), *unknown)
        return dataclasses.replace(
            self,
            archs=cast("Any", wanted),
            seeds=self.seeds if seeds is None else seeds,
            steps=self.steps if steps is None else steps,
            steps_of=self.steps_of if steps is None else {},
            dimension_archs=self.dimension_archs if dimensions else (),
            recorded_only=recorded_only,
        )


PRESETS: Mapping[str, OrderSuiteConfig] = MappingProxyType(
    {
        # The two large networks take ten times as long a step as the others.
        "small": OrderSuiteConfig(
            archs=_NETWORKS,
            image_size=64,
            steps=600,
            steps_of={"upstream": 200, "paper": 200},
        ),
        "full": OrderSuiteConfig(
            archs=_NETWORKS,
            image_size=128,
            steps=4000,
            dimension_archs=("upstream", "motion"),
            shown_sequences=500,
        ),
    }
)
"""``small`` for two cores, ``full`` for a GPU."""
