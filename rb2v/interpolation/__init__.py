"""Frames between two frames: one protocol, and the methods by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rb2v.lazy import lazy_names

if TYPE_CHECKING:
    from rb2v.interpolation.guarded import GuardedInterpolator, is_scene_cut
    from rb2v.interpolation.methods import (
        INTERPOLATORS,
        Interpolator,
        InterpolatorSettings,
        digest_weights,
        make_interpolator,
    )

__all__ = [
    "INTERPOLATORS",
    "GuardedInterpolator",
    "Interpolator",
    "InterpolatorSettings",
    "digest_weights",
    "is_scene_cut",
    "make_interpolator",
]

__getattr__ = lazy_names(
    __name__,
    {
        "INTERPOLATORS": "rb2v.interpolation.methods",
        "GuardedInterpolator": "rb2v.interpolation.guarded",
        "Interpolator": "rb2v.interpolation.methods",
        "InterpolatorSettings": "rb2v.interpolation.methods",
        "digest_weights": "rb2v.interpolation.methods",
        "is_scene_cut": "rb2v.interpolation.guarded",
        "make_interpolator": "rb2v.interpolation.methods",
    },
)
