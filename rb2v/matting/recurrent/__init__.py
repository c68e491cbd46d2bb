"""Robust Video Matting: a recurrent network tells people from what is behind them, without a screen or a plate.

References
----------
.. [1] Lin et al., "Robust High-Resolution Video Matting with Temporal Guidance", WACV 2022.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rb2v.lazy import lazy_names

if TYPE_CHECKING:
    from rb2v.matting.recurrent.method import RecurrentMatting, load_recurrent_matting

__all__ = ["RecurrentMatting", "load_recurrent_matting"]

__getattr__ = lazy_names(
    __name__,
    {
        "rb2v.matting.recurrent.method": ("RecurrentMatting", "load_recurrent_matting"),
    },
)
