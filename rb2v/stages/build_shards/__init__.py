"""Data set from aligned takes: split by subject, green screens replaced, written as shards.

`stage` plans the shards and writes them; the steps are modules of their own: `takes` (what is read of aligned takes),
`splits` (which subject is in which split), `judging` (which samples stay ones once they are keyed), `compositing` (what
is kept of a frame, and how a screen is replaced).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rb2v.lazy import lazy_names

if TYPE_CHECKING:
    from rb2v.stages.build_shards.compositing import Recompositor
    from rb2v.stages.build_shards.config import BuildShardsConfig
    from rb2v.stages.build_shards.stage import run

__all__ = ["BuildShardsConfig", "Recompositor", "run"]

__getattr__ = lazy_names(
    __name__,
    {
        "rb2v.stages.build_shards.config": ("BuildShardsConfig",),
        "rb2v.stages.build_shards.compositing": ("Recompositor",),
        "rb2v.stages.build_shards.stage": ("run",),
    },
)
