"""The takes of a simulated session."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rb2v.artifacts import Category, Split
from rb2v.simulator.config import SimulateConfig
from rb2v.simulator.scene import clip_seconds


@dataclass(frozen=True)
class TakePlan:
    """A take that is to be simulated."""

    name: str
    category: Category
    subject: str
    split: Split
    seconds: float
    scene_seed: int
    offset_seconds: float
    """Sharp-camera time at blurry-camera time 0."""
    clip: str | None = None
    """Path of the clip that is the scene; None for a built one."""
    clip_has_screen: bool | None = None
    """Whether the clip was filmed before a green screen; None where the category tells."""

    @property
    def green_screen(self) -> bool:
        """Whether the take is shot before a green screen."""
        return self.category != "street" if self.clip_has_screen is None else self.clip_has_screen


def plan_takes(config: SimulateConfig, video: Path | None = None, green_screen: bool = False) -> tuple[TakePlan, ...]:
    """Return the takes of a configuration: per category one for training and one for the test, or one clip.

    A clip is of the category that is chosen; where several are, it is a street, or a face where it was filmed before a
    green screen.
    """
    rng = np.random.default_rng([config.seed, 2])

    def offset() -> float:
        return float(rng.uniform(0.05, max(config.max_offset_seconds, 0.05)))

    if video is not None:
        seconds = clip_seconds(video)
        category: Category = "face" if green_screen else "street"
        if len(config.categories) == 1:
            (category,) = config.categories
        has_screen = None if green_screen == (category != "street") else green_screen
        clip = str(video.resolve())
        return (TakePlan("clip_train", category, "clip", "train", seconds, 0, offset(), clip, has_screen),)
    splits: tuple[Split, ...] = ("train", "test") if config.test_takes else ("train",)
    return tuple(
        TakePlan(
            name=f"{category}_{split}",
            category=category,
            subject=f"{category}-{split}",
            split=split,
            seconds=config.seconds if split == "train" else config.test_seconds,
            scene_seed=config.seed * 1000 + index * 10 + (split == "test"),
            offset_seconds=offset(),
        )
        for index, category in enumerate(config.categories)
        for split in splits
    )
