"""The data set itself: how much there is, how well it explains its blur, and what it looks like."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from rb2v.artifacts import CATEGORIES, SPLITS, Category
from rb2v.benchmark.report.page import (
    CATEGORY_COLORS,
    Gallery,
    Plot,
    Section,
    Table,
    add_legend,
    make_picture,
    make_plot,
    make_table,
    new_figure,
)
from rb2v.benchmark.report.scores import Score
from rb2v.shards import ShardReader

_SUITE, _STAGE = "data set", "build-shards"


def report(shards: ShardReader) -> Section:
    """Return the section on a data set."""
    table = shards.table
    categories = [category for category in CATEGORIES if (table["category"] == category).any()]
    counts: list[list[str | Score]] = []
    quality: list[list[str | Score]] = []
    for category in categories:
        line: list[str | Score] = [str(category)]
        for split in SPLITS:
            n_samples = shards.manifest.splits[split].categories.get(category, 0)
            line.append(Score(_SUITE, _STAGE, f"samples.{split}.{category}", n_samples, "samples"))
        rows = table[table["category"] == category]
        line.append(Score(_SUITE, _STAGE, f"takes.{category}", rows["take"].nunique(), "takes"))
        line.append(Score(_SUITE, _STAGE, f"subjects.{category}", rows["subject"].nunique(), "subjects"))
        counts.append(line)
        shares = {"p05": 5, "median": 50, "p95": 95}
        quality.append(
            [
                str(category),
                *(
                    Score(_SUITE, _STAGE, f"psnr_{name}.{category}", _percentile(rows["psnr"], share), "dB")
                    for name, share in shares.items()
                ),
            ]
        )
    scores = [cell for line in (*counts, *quality) for cell in line if isinstance(cell, Score)]
    blocks: list[Table | Plot | Gallery] = [
        make_table("Samples of the data set.", ("Category", *SPLITS, "takes", "subjects"), counts),
        make_table(
            "PSNR of the synthetic blur against the blurry frame, in dB, before any green screen is replaced.",
            ("Category", "5th percentile", "median", "95th percentile"),
            quality,
        ),
        *([_plot_psnr(table, categories)] if table["psnr"].notna().any() else []),
        *(_show(shards, category) for category in categories),
    ]
    width, height = shards.manifest.output_size
    lead = (
        f"{len(shards)} samples of a blurry frame and its {shards.manifest.frames_per_sequence} sharp frames, "
        f"{width} x {height} pixels, rig {shards.manifest.rig}."
    )
    return Section("Data set", lead, tuple(blocks), tuple(scores))


def _percentile(values: pd.Series[float], share: float) -> float | None:
    """Return a percentile of the values that are known; samples from elsewhere have none."""
    return float(np.percentile(values.dropna(), share)) if values.notna().any() else None


def _plot_psnr(table: pd.DataFrame, categories: Sequence[Category]) -> Plot:
    figure, (axis,) = new_figure(1, 2.6)
    low, high = np.floor(table["psnr"].min()), np.ceil(table["psnr"].max())
    bins = np.linspace(low, max(high, low + 1), 41)
    values = [table.loc[table["category"] == category, "psnr"].dropna().to_numpy() for category in categories]
    axis.hist(values, bins.tolist(), stacked=True, label=categories, color=[CATEGORY_COLORS[c] for c in categories])
    axis.set(xlabel="PSNR of the synthetic blur [dB]", ylabel="samples")
    add_legend(axis)
    return make_plot("How well the sharp frames' mean explains the blurry frame, over all samples.", figure)


def _show(shards: ShardReader, category: Category) -> Gallery:
    rows = shards.table[shards.table["category"] == category]
    held_out = rows[rows["shard"].isin([shard.file for shard in shards.manifest.splits["test"].shards])]
    rows = held_out if len(held_out) else rows
    index = int(rows.index[len(rows) // 2])
    sample = shards.read(index)
    pictures = [make_picture("blurry frame y", sample.blurry)]
    pictures += [make_picture(f"x{position}", frame) for position, frame in enumerate(sample.sharp)]
    caption = (
        f"{category}: blurry frame {sample.blurry_index} of take {sample.take} and its sharp frames, as in the shards."
    )
    return Gallery(caption, tuple(pictures))
