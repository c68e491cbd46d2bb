"""Calibration boards: their corners, and the homographies that a detector's orders of them allow."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from rb2v.core.homography import Homography

Points = NDArray[np.float64]


def find_corners(image: NDArray[np.uint8], board_corners: tuple[int, int]) -> Points | None:
    """Return the (n, 2) inner corners of a chessboard in pixels, or None where there is none."""
    gray = cv2.cvtColor(image, cv2.COLOR_RGB2GRAY)
    found, corners = cv2.findChessboardCornersSB(gray, board_corners, flags=cv2.CALIB_CB_ACCURACY)
    return np.asarray(corners, dtype=np.float64).reshape(-1, 2) if found else None


def _corner_orders(corners: Points, board_corners: tuple[int, int]) -> list[Points]:
    """Return the corners in the four orders in which a detector may have listed a board, mirrored ones included."""
    grid = corners.reshape(board_corners[1], board_corners[0], 2)
    return [order.reshape(-1, 2) for order in (grid, grid[::-1, ::-1], grid[:, ::-1], grid[::-1])]


def board_candidates(corners_blurry: Points, corners_sharp: Points, board_corners: tuple[int, int]) -> list[Homography]:
    """Return the homographies that take a board in the sharp view to the blurry one, for every order of its corners."""
    candidates = []
    for order in _corner_orders(corners_sharp, board_corners):
        homography, _ = cv2.findHomography(order, corners_blurry, 0)
        if homography is not None and abs(homography[2, 2]) > 1e-9:
            candidates.append(np.asarray(homography, dtype=np.float64))
    return candidates
