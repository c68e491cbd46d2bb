"""Blur-to-video data sets from beam-splitter rigs, and HyperCUT trained on them.

The public names are imported on first use, so that ``import rb2v`` stays light.
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

__version__ = "0.7.0"

_PUBLIC_NAMES = {
    "InputError": "rb2v.errors",
    "Rb2vError": "rb2v.errors",
    "ShardDataset": "rb2v.training.data",
    "ShardReader": "rb2v.shards",
    "ShardSampler": "rb2v.training.sampler",
    "deblur": "rb2v.blur2vid.deblur",
    "make_loader": "rb2v.training.loader",
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


def __getattr__(name: str) -> Any:  # noqa: ANN401 - a module attribute can be anything
    if name in _PUBLIC_NAMES:
        return getattr(import_module(_PUBLIC_NAMES[name]), name)
    raise AttributeError(f"module 'rb2v' has no attribute {name!r}")
