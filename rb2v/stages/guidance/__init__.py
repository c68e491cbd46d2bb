"""Motion guidance of every sequence of a data set, from optical flow: ``rb2v guidance``.

`stage` writes the table; `sources` estimates the guidance of a sequence.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rb2v.lazy import lazy_names

if TYPE_CHECKING:
    from rb2v.stages.guidance.config import GuidanceConfig
    from rb2v.stages.guidance.stage import GuidanceSummary, run

__all__ = ["GuidanceConfig", "GuidanceSummary", "run"]

__getattr__ = lazy_names(
    __name__,
    {
        "rb2v.stages.guidance.config": ("GuidanceConfig",),
        "rb2v.stages.guidance.stage": ("GuidanceSummary", "run"),
    },
)
