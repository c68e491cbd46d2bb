"""Data set from recordings of one fast camera: sequences of its frames, and their synthetic blur.

`stage` judges all sequences, plans the shards and writes them; the steps are modules of their own: `layouts` (which
clips there are), `footage` (the frames of a clip), `gates` (which sequences are rejected), `rendering` (a sequence's
sharp frames and its blur).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rb2v.lazy import lazy_names

if TYPE_CHECKING:
    from rb2v.stages.synthesize.config import SynthesizeConfig, recommend
    from rb2v.stages.synthesize.gates import REJECTIONS
    from rb2v.stages.synthesize.stage import ClipSummary, Synthesis, run

__all__ = ["REJECTIONS", "ClipSummary", "Synthesis", "SynthesizeConfig", "recommend", "run"]

__getattr__ = lazy_names(
    __name__,
    {
        "rb2v.stages.synthesize.config": ("SynthesizeConfig", "recommend"),
        "rb2v.stages.synthesize.gates": ("REJECTIONS",),
        "rb2v.stages.synthesize.stage": ("ClipSummary", "Synthesis", "run"),
    },
)
