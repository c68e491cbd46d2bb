"""Checks of captures, the same for a raw directory and for cards before they are copied.

`checks` says what is checked, and by which thresholds; `stage` runs the checks over the takes of a raw directory.
"""

from rb2v.stages.doctor.checks import (
    CHECKS,
    LEVELS,
    Finding,
    Level,
    TakeRecordings,
    check_take,
    exposure_seconds,
    find_rigs,
    swapped,
    worst,
)
from rb2v.stages.doctor.stage import Diagnosis, describe_recording, diagnose, run, to_document

__all__ = [
    "CHECKS",
    "LEVELS",
    "Diagnosis",
    "Finding",
    "Level",
    "TakeRecordings",
    "check_take",
    "describe_recording",
    "diagnose",
    "exposure_seconds",
    "find_rigs",
    "run",
    "swapped",
    "to_document",
    "worst",
]
