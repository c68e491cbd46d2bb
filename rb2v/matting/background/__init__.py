"""Background matting: a network tells the foreground from an image of the background without it.

References
----------
.. [1] Lin et al., "Real-Time High-Resolution Background Matting", CVPR 2021.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rb2v.lazy import lazy_names

if TYPE_CHECKING:
    from rb2v.matting.background.method import BackgroundMatting, load_background_matting

__all__ = ["BackgroundMatting", "load_background_matting"]

__getattr__ = lazy_names(
    __name__,
    {
        "rb2v.matting.background.method": ("BackgroundMatting", "load_background_matting"),
    },
)
