"""Configuration of ``rb2v build-shards``."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from rb2v.choices import MattingMethodName
from rb2v.configuration import Count, SidePx, config


@config
class BuildShardsConfig:
    """How aligned takes become a data set."""

    output_size: tuple[SidePx, SidePx] | None = None
    """Width and height of the frames, in px; those of the aligned takes by default."""
    test_share: Annotated[float, Field(ge=0, lt=1)] = 0.2
    """Share of the subjects, where takes do not name their split, and of the backgrounds for the test split."""
    shard_samples: Count = 128
    """Largest number of samples in a shard."""
    matter: MattingMethodName | None = None
    """Matting method of green-screen takes; the one they were aligned with by default."""
    light_match: bool = False
    """Bring each background's brightness and white balance nearer to its foreground's."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of the split and of the backgrounds."""
