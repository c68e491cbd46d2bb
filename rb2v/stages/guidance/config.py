"""Configuration of ``rb2v guidance``."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from rb2v.configuration import config

STATIC_PX = 1.0  # see the table of thresholds in docs/motion_guidance.md


@config
class GuidanceConfig:
    """Configuration of the guidance of sequences.

    Raises
    ------
    InputError
        If a value is out of range.
    """

    static_px: Annotated[float, Field(ge=0, le=1000)] = STATIC_PX
    """Motion from the first to the last sharp frame below which a pixel is static, in px of the frame."""
