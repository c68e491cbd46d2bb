"""Images, folders of them and videos to the sharp frames that ``rb2v.deblur`` recovers: ``rb2v deblur``.

`files` reads and writes; `guiding` is where the motion guidance of an image comes from; `painting` is a local page on
which a person paints it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rb2v.lazy import lazy_names

if TYPE_CHECKING:
    from rb2v.deblurring.config import DeblurConfig, GuideConfig
    from rb2v.deblurring.files import Deblurred, deblur_files
    from rb2v.deblurring.guiding import Guide, make_guide

__all__ = ["DeblurConfig", "Deblurred", "Guide", "GuideConfig", "deblur_files", "make_guide"]

__getattr__ = lazy_names(
    __name__,
    {
        "rb2v.deblurring.config": ("DeblurConfig", "GuideConfig"),
        "rb2v.deblurring.files": ("Deblurred", "deblur_files"),
        "rb2v.deblurring.guiding": ("Guide", "make_guide"),
    },
)
