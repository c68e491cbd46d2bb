"""From two memory cards to a raw directory.

`cards` finds the recordings on a card, `pairing` tells which two are one take by their clocks and `rotation` by how the
cameras were turned, `planning` checks them, and `stage` copies them, with a record (`records`) of where they came from.
"""

from rb2v.stages.ingest.cards import CardRecording, find_recordings
from rb2v.stages.ingest.pairing import Pairing, Span, pair_recordings
from rb2v.stages.ingest.planning import IngestConfig, Leftover, Plan, PlannedTake, plan
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
