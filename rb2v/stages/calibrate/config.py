"""Configuration of ``rb2v calibrate``."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from rb2v.configuration import Response, config
from rb2v.stages.calibrate.charuco import CharucoSpec

_USUAL_BOARD_CORNERS = (9, 6)  # of the chessboard that comes with OpenCV
_Corners = Annotated[int, Field(ge=3)]


@config
class CalibrateConfig:
    """How the captures are read."""

    board_corners: Annotated[tuple[_Corners, _Corners] | None, Field(examples=["9x6"])] = None
    """Inner corners of the chessboard, across and down, which some capture has to show; by default a board of 9x6
    is looked for and need not be there."""
    charuco: CharucoSpec | None = None
    """The ChArUco board in place of a chessboard, which some capture has to show."""
    lenses: Literal["auto", "none"] = "auto"
    """Estimate the lenses' distortion where the captures show it, or take the lenses for perfect."""
    min_correlation: float = 0.25
    """Mean gradient correlation of the registered captures below which they share no structure."""
    refine: bool = True
    """Whether the homography is refined on the images themselves (ECC)."""
    takes: bool = True
    """Use takes that begin static as captures, too, and name those that do not fit the others: the rig was moved."""
    response: Response | Literal["auto"] | None = None
    """Camera response to undo for the color map, in place of the rig's; auto estimates it from the captures."""

    def __post_init__(self) -> None:
        if self.board_corners is not None and self.charuco is not None:
            raise ValueError("a chessboard and a ChArUco board are named; captures are searched for one of them")

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
