"""Description of a ChArUco board."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class CharucoSpec:
    """A ChArUco board: a chessboard with a marker in each white square."""

    dictionary: str
    """Name of one of OpenCV's dictionaries of markers, DICT_6X6_250 for example."""
    squares: tuple[int, int]
    """Squares, across and down."""
    marker_share: float = 0.5
    """Side of a marker in sides of a square."""

    def __post_init__(self) -> None:
        import cv2

        if not self.dictionary.startswith("DICT_") or not hasattr(cv2.aruco, self.dictionary):
            raise ValueError(
                f"the board's dictionary must be one of OpenCV's, DICT_6X6_250 say, got {self.dictionary!r}"
            )
        if min(self.squares) < 3:
            raise ValueError(f"a ChArUco board must have at least 3 squares each way, got {self.squares}")
        if not 0 < self.marker_share < 1:
            raise ValueError(f"the markers' share of a square must lie within 0..1, got {self.marker_share}")
        n_markers = self.squares[0] * self.squares[1] // 2
        n_known = len(cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, self.dictionary)).bytesList)
        if n_markers > n_known:
            raise ValueError(
                f"a ChArUco board of {self.squares[0]}x{self.squares[1]} squares has {n_markers} markers, "
                f"{self.dictionary} only {n_known}"
            )
