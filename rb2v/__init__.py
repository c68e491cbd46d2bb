"""Blur-to-video data sets from beam-splitter rigs, and HyperCUT trained on them.

The public names are imported on first use, so that ``import rb2v`` stays light.
"""

from __future__ import annotations

from rb2v.lazy import lazy_names

__version__ = "1.0.0"

_PUBLIC_NAMES = {
    "rb2v.errors": ("InputError", "Rb2vError"),
    "rb2v.training.data": ("ShardDataset",),
    "rb2v.shards": ("ShardReader",),
    "rb2v.training.sampler": ("ShardSampler",),
    "rb2v.blur2vid.deblur": ("deblur",),
    "rb2v.training.loader": ("make_loader",),
}

__all__ = [
    "InputError",
    "Rb2vError",
    "ShardDataset",
    "ShardReader",
    "ShardSampler",
    "__version__",
    "deblur",
    "make_loader",
]

__getattr__ = lazy_names(__name__, _PUBLIC_NAMES)
