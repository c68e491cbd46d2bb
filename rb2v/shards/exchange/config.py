"""Configurations of ``rb2v import`` and ``rb2v export``."""

from __future__ import annotations

from typing import Literal

from rb2v.choices import Category, LayoutName
from rb2v.configuration import Count, config


@config
class ImportConfig:
    """How a folder of another layout becomes shards; only the hypercut layout leaves anything open."""

    val: Literal["train", "test", "skip"] = "test"
    """Where samples of a partition ``val`` go (hypercut)."""
    category: Category | None = None
    """Category of samples that do not tell their own; by default that in the data set's name (hypercut)."""
    shard_samples: Count = 128
    """Most samples of one shard (hypercut)."""


@config
class ExportConfig:
    """How shards become a folder of another layout."""

    format: LayoutName
    """hypercut: the layout of the public RB2V data set; webdataset: tar files; datasets: a folder that Hugging Face's
    datasets opens."""
    only_consistent: bool = False
    """Give no order to samples whose pairs do not agree by the labels."""
