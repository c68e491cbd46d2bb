"""Configurations of ``rb2v import`` and ``rb2v export``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from rb2v.choices import Category, LayoutName
from rb2v.configuration import Count, Seed, SidePx, config


@config
class ImportConfig:
    """How a folder of another layout becomes shards; the layouts hypercut and baist leave something open."""

    val: Literal["train", "test", "skip"] = "test"
    """Where samples of a partition ``val`` go (hypercut)."""
    category: Category | None = None
    """Category of samples that do not tell their own; by default that in the data set's name (hypercut)."""
    shard_samples: Count = 128
    """Most samples of one shard (hypercut, baist)."""
    train_videos: Path | None = None
    """YAML list of the videos to train on; by default train.yaml in the folder (baist)."""
    test_videos: Path | None = None
    """YAML list of the videos to test on; by default test.yaml in the folder (baist)."""
    skip_ends: Annotated[int, Field(ge=0, le=10**6)] = 40
    """Images at either end of a video that are left out (baist)."""
    box_size: tuple[SidePx, SidePx] = (160, 192)
    """Size to which the part around the person is resized, in px (baist)."""
    box_margin: Annotated[float, Field(ge=0, le=1)] = 0.1
    """Share of the way from the person's box to the border by which training parts are larger, at most; drawn once a
    sample (baist)."""
    seed: Seed = 0
    """Seed of what is drawn (baist)."""


@config
class ExportConfig:
    """How shards become a folder of another layout."""

    format: LayoutName
    """hypercut: the layout of the public RB2V data set; webdataset: tar files; datasets: a folder that Hugging Face's
    datasets opens; baist: the videos that the code of Animation from Blur reads."""
    only_consistent: bool = False
    """Give no order to samples whose pairs do not agree by the labels."""
