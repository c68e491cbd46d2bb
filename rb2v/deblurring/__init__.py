"""Images, folders of them and videos to the sharp frames that ``rb2v.deblur`` recovers: ``rb2v deblur``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rb2v.lazy import lazy_names

if TYPE_CHECKING:
    from rb2v.deblurring.config import DeblurConfig
    from rb2v.deblurring.files import Deblurred, deblur_files

__all__ = ["DeblurConfig", "Deblurred", "deblur_files"]

__getattr__ = lazy_names(
    __name__,
    {
        "rb2v.deblurring.config": ("DeblurConfig",),
        "rb2v.deblurring.files": ("Deblurred", "deblur_files"),
    },
)
