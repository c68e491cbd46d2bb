"""What can be set about calibration."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class CalibrateConfig:
    """How the captures are read."""

    board_corners: tuple[int, int] = (9, 6)
    """Inner corners of the chessboard, across and down."""
    min_correlation: float = 0.25
    """Mean gradient correlation of the registered captures below which they share no structure."""
    refine: bool = True
    """Whether the homography is refined on the pictures themselves (ECC)."""

    def __post_init__(self) -> None:
        if min(self.board_corners) < 3:
            raise ValueError(f"board_corners must be at least 3 each way, got {self.board_corners}")
