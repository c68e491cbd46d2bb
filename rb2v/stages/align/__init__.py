"""Alignment: for every blurry frame the window of sharp frames that it integrated, in its geometry and colors.

`stage` runs it take by take; `context` is what all steps of a take share; `take` is the order of steps for one take.
The steps are modules of their own: `track` (frames in the output's geometry), `offset` (coarse synchronization),
`search` (window scores), `timing` (clock, exposure, rolling shutter), `photometry` (color maps and samples), `quality`
(why a frame is not accepted), `matte` (whether its green screen can be replaced). `segments` cuts long takes into
ranges for several workers; `records` tells what came of takes. `preview` runs them on few small frames; `profile` says
what they cost.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rb2v.lazy import lazy_names

if TYPE_CHECKING:
    from rb2v.stages.align.config import AlignConfig
    from rb2v.stages.align.context import Resources
    from rb2v.stages.align.preview import PREVIEW_NOTE, preview_folder, run_preview
    from rb2v.stages.align.profile import STAGES, TakeProfile, add_profiles, read_profiles
    from rb2v.stages.align.records import TakeRecord
    from rb2v.stages.align.stage import ALIGNMENT_NAME, Execution, run
    from rb2v.stages.align.track import SharpSource, Track

__all__ = [
    "ALIGNMENT_NAME",
    "PREVIEW_NOTE",
    "STAGES",
    "AlignConfig",
    "Execution",
    "Resources",
    "SharpSource",
    "TakeProfile",
    "TakeRecord",
    "Track",
    "add_profiles",
    "preview_folder",
    "read_profiles",
    "run",
    "run_preview",
]

__getattr__ = lazy_names(
    __name__,
    {
        "rb2v.stages.align.records": ("TakeRecord",),
        "rb2v.stages.align.stage": ("ALIGNMENT_NAME", "Execution", "run"),
        "rb2v.stages.align.config": ("AlignConfig",),
        "rb2v.stages.align.context": ("Resources",),
        "rb2v.stages.align.preview": ("PREVIEW_NOTE", "preview_folder", "run_preview"),
        "rb2v.stages.align.profile": ("STAGES", "TakeProfile", "add_profiles", "read_profiles"),
        "rb2v.stages.align.track": ("SharpSource", "Track"),
    },
)
