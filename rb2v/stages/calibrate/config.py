"""What can be set about calibration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rb2v.artifacts import CameraResponse
from rb2v.stages.calibrate.boards import CharucoSpec


@dataclass(frozen=True)
class CalibrateConfig:
    """How the captures are read."""

    board_corners: tuple[int, int] = (9, 6)
    """Inner corners of the chessboard, across and down."""
    charuco: CharucoSpec | None = None
    """The ChArUco board in place of a chessboard."""
    lenses: Literal["auto", "none"] = "auto"
    """Whether the captures are asked for the lenses' distortion."""
    min_correlation: float = 0.25
    """Mean gradient correlation of the registered captures below which they share no structure."""
    refine: bool = True
    """Whether the homography is refined on the pictures themselves (ECC)."""
    takes: bool = True
    """Whether takes that begin with what stands still are used as captures, too, and held against the others."""
    response: CameraResponse | Literal["auto"] | None = None
    """The camera response to undo for the colour map: None for the rig's, auto for what the captures tell."""

    def __post_init__(self) -> None:
        if min(self.board_corners) < 3:
            raise ValueError(f"board_corners must be at least 3 each way, got {self.board_corners}")
        if isinstance(self.response, str) and self.response not in ("auto", "linear", "srgb"):
            expected = "auto, linear, srgb or the exponent of a gamma"
            raise ValueError(f"response must be {expected}, got {self.response!r}")
        if isinstance(self.response, (int, float)) and not 0.1 <= self.response <= 10:
            raise ValueError(f"response must be an exponent of 0.1 to 10, got {self.response}")
