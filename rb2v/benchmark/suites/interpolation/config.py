"""Configuration of the interpolation suite, and facts about the usual sets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated

from pydantic import Field

from rb2v.choices import InterpolatorName
from rb2v.configuration import CountOrNone, config

USUAL_METHODS: tuple[InterpolatorName, ...] = ("linear", "quick-flow", "flow", "rife", "cdfi")


@config
class InterpolationSuiteConfig:
    """Which methods are compared, and what is shown of them.

    Raises
    ------
    Rb2vError
        If a value is out of range, or names no method.
    """

    methods: Annotated[tuple[InterpolatorName, ...], Field(min_length=1)] = USUAL_METHODS
    """Keys of ``INTERPOLATORS``."""
    shown_triplets: CountOrNone = 3
    """Triplets of every set that are shown: those that the best method does worst."""


@dataclass(frozen=True)
class Published:
    """Figures that a paper states for a method."""

    method: str
    psnr_db: float
    ssim: float | None = None
    lpips: float | None = None


@dataclass(frozen=True)
class UsualSet:
    """A set of triplets that papers use."""

    key: str
    """Of its targets."""
    n_triplets: int
    """Least number of triplets that its targets are for."""
    published: tuple[Published, ...]
    note: str


USUAL_SETS: Mapping[str, UsualSet] = MappingProxyType(
    {
        "middlebury_other": UsualSet(
            "middlebury",
            12,
            (Published("CDFI", 37.14, 0.966, 0.007), Published("AdaCoF", 35.72)),
            "published, on the same 12 triplets",
        ),
        "ucf101_dvf": UsualSet(
            "ucf101", 100, (Published("CDFI", 35.21, 0.950, 0.015),), "published, on all 379 triplets of the set"
        ),
    }
)
"""What is known of sets, by the name of their folder."""

REFERENCE_DB: Mapping[str, float] = MappingProxyType({"middlebury.rife": 36.09})
"""PSNR that a method has to come back to, as measured elsewhere with the same weights on the same images."""
