"""The foreground of a take and its share in every pixel: one protocol, and the methods by name."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rb2v.lazy import lazy_names

if TYPE_CHECKING:
    from rb2v.matting.matting_methods import (
        MATTERS,
        Matte,
        Matter,
        SampleSource,
        TakeMatter,
        check_matter,
        fit_to_take,
        make_matter,
    )

__all__ = ["MATTERS", "Matte", "Matter", "SampleSource", "TakeMatter", "check_matter", "fit_to_take", "make_matter"]

__getattr__ = lazy_names(
    __name__,
    {
        "MATTERS": "rb2v.matting.matting_methods",
        "Matte": "rb2v.matting.matting_methods",
        "Matter": "rb2v.matting.matting_methods",
        "SampleSource": "rb2v.matting.matting_methods",
        "TakeMatter": "rb2v.matting.matting_methods",
        "check_matter": "rb2v.matting.matting_methods",
        "fit_to_take": "rb2v.matting.matting_methods",
        "make_matter": "rb2v.matting.matting_methods",
    },
)
