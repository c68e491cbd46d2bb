"""The foreground of a take and its share in every pixel: one protocol, and the methods by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rb2v.lazy import lazy_names

if TYPE_CHECKING:
    from rb2v.matting.matting_methods import (
        MATTING_METHODS,
        FittedMatting,
        Matte,
        MattingMethod,
        SampleSource,
        check_matting_method,
        fit_to_take,
        make_matting_method,
    )

__all__ = [
    "MATTING_METHODS",
    "FittedMatting",
    "Matte",
    "MattingMethod",
    "SampleSource",
    "check_matting_method",
    "fit_to_take",
    "make_matting_method",
]

__getattr__ = lazy_names(
    __name__,
    {
        "rb2v.matting.matting_methods": (
            "MATTING_METHODS",
            "Matte",
            "MattingMethod",
            "SampleSource",
            "FittedMatting",
            "check_matting_method",
            "fit_to_take",
            "make_matting_method",
        ),
    },
    former={
        "MATTERS": "MATTING_METHODS",
        "Matter": "MattingMethod",
        "TakeMatter": "FittedMatting",
        "check_matter": "check_matting_method",
        "make_matter": "make_matting_method",
    },
)
