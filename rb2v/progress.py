"""Callbacks by which work reports how far it is."""

from __future__ import annotations

from typing import Protocol


class Count(Protocol):
    """Takes reports of work of one kind."""

    def __call__(self, done: int, total: int, /) -> None:
        """Report how many pieces of work are done, and of how many."""


class Progress(Protocol):
    """Takes reports of work in several phases."""

    def __call__(self, done: int, total: int, label: str, /) -> None:
        """Report how many pieces of a phase are done, of how many, and the phase's name."""


def label_count(progress: Progress | None, label: str) -> Count | None:
    """Return what takes the reports of one phase; None where nobody asks for them."""
    return None if progress is None else lambda done, total: progress(done, total, label)
