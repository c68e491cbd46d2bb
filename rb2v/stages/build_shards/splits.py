"""Assignment of subjects to splits."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from rb2v.artifacts import Category, Split
from rb2v.errors import InputError
from rb2v.stages.build_shards.config import BuildShardsConfig
from rb2v.stages.build_shards.takes import TakeRecord


def split_subjects(takes: Sequence[TakeRecord], config: BuildShardsConfig, aligned_dir: Path) -> dict[str, Split]:
    """Give every subject its split: what its takes say, or else by a seeded draw within its category.

    Raises
    ------
    InputError
        If takes of one subject are said to be in both splits.
    """
    split_of: dict[str, Split] = {}
    said_by: dict[str, str] = {}
    for take in takes:
        if take.split is None:
            continue
        if split_of.setdefault(take.subject, take.split) != take.split:
            raise InputError(
                aligned_dir,
                f"takes {said_by[take.subject]!r} and {take.name!r} show the subject {take.subject!r}, "
                f"one for {split_of[take.subject]} and one for {take.split}",
                "split",
                expected="all takes of a subject in one split",
            )
        said_by.setdefault(take.subject, take.name)
    free: defaultdict[Category, list[str]] = defaultdict(list)
    for take in takes:
        if take.subject not in split_of and not any(take.subject in subjects for subjects in free.values()):
            free[take.category].append(take.subject)
    for subjects in free.values():
        # A test split is wanted wherever two subjects leave one for training.
        n_test = max(round(config.test_share * len(subjects)), int(config.test_share > 0 and len(subjects) > 1))
        drawn = sorted(subjects, key=lambda subject: hashlib.sha256(f"{config.seed}/{subject}".encode()).digest())
        for index, subject in enumerate(drawn):
            split_of[subject] = "test" if index < min(n_test, len(drawn) - 1) else "train"
    return split_of
