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
        "MATTING_METHODS": "rb2v.matting.matting_methods",
        "Matte": "rb2v.matting.matting_methods",
        "MattingMethod": "rb2v.matting.matting_methods",
        "SampleSource": "rb2v.matting.matting_methods",
        "FittedMatting": "rb2v.matting.matting_methods",
        "check_matting_method": "rb2v.matting.matting_methods",
        "fit_to_take": "rb2v.matting.matting_methods",
        "make_matting_method": "rb2v.matting.matting_methods",
    },
)
