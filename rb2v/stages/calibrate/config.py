"""What can be set about calibration."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rb2v.artifacts import CameraResponse
from rb2v.stages.calibrate.boards import CharucoSpec

_USUAL_BOARD_CORNERS = (9, 6)  # of the chessboard that comes with OpenCV


@dataclass(frozen=True)
class CalibrateConfig:
    """How the captures are read."""

    board_corners: tuple[int, int] | None = None
    """Inner corners of the chessboard, across and down, which some capture has to show; None looks for 9 by 6."""
    charuco: CharucoSpec | None = None
    """The ChArUco board in place of a chessboard, which some capture has to show."""
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
        if self.board_corners is not None and self.charuco is not None:
            raise ValueError("a chessboard and a ChArUco board are named; captures are searched for one of them")
        if min(self.chessboard) < 3:
            raise ValueError(f"board_corners must be at least 3 each way, got {self.board_corners}")
        if isinstance(self.response, str) and self.response not in ("auto", "linear", "srgb"):
            expected = "auto, linear, srgb or the exponent of a gamma"
            raise ValueError(f"response must be {expected}, got {self.response!r}")
        if isinstance(self.response, (int, float)) and not 0.1 <= self.response <= 10:
            raise ValueError(f"response must be an exponent of 0.1 to 10, got {self.response}")

    @property
    def chessboard(self) -> tuple[int, int]:
        """Inner corners of the chessboard that is looked for."""
        return self.board_corners or _USUAL_BOARD_CORNERS

    @property
    def named_board(self) -> str | None:
        """The board that the user named, in words; None where one is looked for that need not be there."""
        if self.charuco is not None:
            across, down = self.charuco.squares
            return f"ChArUco board of {across}x{down} squares of {self.charuco.dictionary}"
        return None if self.board_corners is None else "chessboard of {}x{} inner corners".format(*self.board_corners)
