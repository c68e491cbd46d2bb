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
        "rb2v.interpolation.methods": (
            "INTERPOLATORS",
            "Interpolator",
            "InterpolatorSettings",
            "digest_weights",
            "make_interpolator",
        ),
        "rb2v.interpolation.guarded": ("GuardedInterpolator", "is_scene_cut"),
    },
)
