"""From two memory cards to a raw directory.

`cards` finds the recordings on a card, `pairing` tells which two are one take by their clocks and `rotation` by how the
cameras were turned, `planning` checks them, and `stage` copies them, with a record (`records`) of where they came from.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rb2v.lazy import lazy_names

if TYPE_CHECKING:
    from rb2v.stages.ingest.cards import CardRecording, find_recordings
    from rb2v.stages.ingest.config import IngestConfig
    from rb2v.stages.ingest.pairing import Pairing, Span, pair_recordings
    from rb2v.stages.ingest.planning import Leftover, Plan, PlannedTake, plan
    from rb2v.stages.ingest.stage import TABLE_NAME, run

__all__ = [
    "TABLE_NAME",
    "CardRecording",
    "IngestConfig",
    "Leftover",
    "Pairing",
    "Plan",
    "PlannedTake",
    "Span",
    "find_recordings",
    "pair_recordings",
    "plan",
    "run",
]

__getattr__ = lazy_names(
    __name__,
    {
        "rb2v.stages.ingest.cards": ("CardRecording", "find_recordings"),
        "rb2v.stages.ingest.config": ("IngestConfig",),
        "rb2v.stages.ingest.planning": ("Leftover", "Plan", "PlannedTake", "plan"),
        "rb2v.stages.ingest.pairing": ("Pairing", "Span", "pair_recordings"),
        "rb2v.stages.ingest.stage": ("TABLE_NAME", "run"),
    },
)
