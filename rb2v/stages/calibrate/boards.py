"""Calibration boards: their corners, and the homographies that a detector's orders of them allow."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from rb2v.core.homography import Homography
from rb2v.core.lens_fit import BoardView
from rb2v.stages.calibrate.charuco import CharucoSpec as CharucoSpec

Points = NDArray[np.float64]
Gray = NDArray[np.uint8]

_SEARCH_WIDTH_PX = 1000  # where boards are looked for: the detector's time grows with the pixels, not its success
_LEAST_SQUARE_PX = 3  # a smaller square has no corner to be found
_MIN_CHARUCO_CORNERS = 8  # 16 equations for the eight numbers of a homography
# Inner corners of the boards that OpenCV, MATLAB, ROS and calib.io hand out; large ones first, because a part of a
# large board is a small one.
_USUAL_SIZES = ((13, 9), (11, 8), (11, 7), (10, 7), (9, 7), (9, 6), (8, 6), (8, 5), (7, 6), (7, 5), (6, 5), (6, 4))
_FEWEST_CORNERS = (5, 4)  # for OpenCV's quick check, which asks only whether there are so many squares
_CHECK_WIDTH_PX = 640  # for that check, which costs as much per pixel as the search
_MAX_SEARCHED = 2  # images of a folder; searching one for all usual sizes takes seconds


def find_corners(image: NDArray[np.uint8], board_corners: tuple[int, int]) -> Points | None:
    """Find a chessboard.

    Parameters
    ----------
    image : (H, W, 3) ndarray of uint8
        RGB; large ones are searched at a smaller size first, and corners are always placed at the full one.
    board_corners : tuple of int
        Inner corners, across and down.

    Returns
    -------
    (n, 2) ndarray of float64 or None
        The inner corners in pixels, in the detector's order, row by row; None where there is no board.
    """
    # The detector takes seconds over a long strip.
    if min(image.shape[:2]) < _LEAST_SQUARE_PX * (min(board_corners) + 1):
        return None
    gray = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), dtype=np.uint8)
    scale = min(_SEARCH_WIDTH_PX / gray.shape[1], 1.0)
    for share, flags in ((scale, 0), (0.5 * scale, cv2.CALIB_CB_NORMALIZE_IMAGE)):
        small = gray
        if share < 1:
            size = [max(1, round(share * side)) for side in gray.shape[::-1]]
            small = np.asarray(cv2.resize(gray, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
        found, corners = cv2.findChessboardCornersSB(small, board_corners, flags=cv2.CALIB_CB_ACCURACY | flags)
        if found:
            points = np.asarray(corners, dtype=np.float64).reshape(-1, 2)
            sizes = np.array(gray.shape[::-1]) / np.array(small.shape[::-1])
            return _smoother((points + 0.5) * sizes - 0.5, gray, board_corners, is_whole=share == 1)
    return None


def find_board_size(images: Sequence[NDArray[np.uint8]], but: tuple[int, int]) -> tuple[int, int] | None:
    """Find out which of the usual chessboards some images show.

    Parameters
    ----------
    images : sequence of (H, W, 3) ndarray of uint8
        RGB; the first few that look like a chessboard are searched.
    but : tuple of int
        A size that is known to be in none of them.

    Returns
    -------
    tuple of int or None
        Inner corners, across and down.
    """
    n_searched = 0
    for image in images:
        scale = min(_CHECK_WIDTH_PX / image.shape[1], 1.0)
        size = (max(1, round(scale * image.shape[1])), max(1, round(scale * image.shape[0])))
        gray = cv2.resize(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), size, interpolation=cv2.INTER_AREA)
        if n_searched >= _MAX_SEARCHED or not cv2.checkChessboard(gray, _FEWEST_CORNERS):
            continue
        n_searched += 1
        for corners in _USUAL_SIZES:
            if corners != but and find_corners(image, corners) is not None:
                return corners
    return None


def find_charuco(image: NDArray[np.uint8], spec: CharucoSpec) -> BoardView | None:
    """Find a ChArUco board, mirrored or not, whole or in part; None where too few corners are seen."""
    gray = np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), dtype=np.uint8)
    # Before OpenCV 4.6, and by calib.io to this day, boards with an even number of rows begin with a white square.
    return _find_pattern(gray, spec, legacy=False) or _find_pattern(gray, spec, legacy=True)


def _find_pattern(gray: Gray, spec: CharucoSpec, *, legacy: bool) -> BoardView | None:
    dictionary = cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, spec.dictionary))
    board = cv2.aruco.CharucoBoard(spec.squares, 1.0, spec.marker_share, dictionary)
    board.setLegacyPattern(legacy)
    detector = cv2.aruco.CharucoDetector(board)
    best: BoardView | None = None
    # No marker is read in a mirror.
    for is_mirrored, seen in ((False, gray), (True, np.ascontiguousarray(gray[:, ::-1]))):
        corners, ids, _, _ = detector.detectBoard(seen)
        if ids is None or len(ids) < _MIN_CHARUCO_CORNERS or (best is not None and len(ids) <= len(best.grid)):
            continue
        points = np.asarray(corners, dtype=np.float64).reshape(-1, 2)
        if is_mirrored:
            points[:, 0] = gray.shape[1] - 1 - points[:, 0]
        grid = np.asarray(board.getChessboardCorners(), dtype=np.float64)[np.ravel(ids), :2]
        if np.linalg.matrix_rank(grid - grid.mean(axis=0)) == 2:
            best = BoardView(grid, points)
    return best


def board_grid(board_corners: tuple[int, int]) -> Points:
    """Return the (n, 2) places of a chessboard's inner corners, in squares, row by row."""
    across, down = np.meshgrid(np.arange(board_corners[0]), np.arange(board_corners[1]))
    return np.column_stack([across.ravel(), down.ravel()]).astype(np.float64)


def common_corners(blurry: BoardView, sharp: BoardView) -> tuple[Points, Points] | None:
    """Return the corners of a marked board that both cameras see, in one order; None where they are too few."""
    places = {tuple(place): index for index, place in enumerate(sharp.grid.round(6).tolist())}
    pairs = [
        (i, places[tuple(place)]) for i, place in enumerate(blurry.grid.round(6).tolist()) if tuple(place) in places
    ]
    if len(pairs) < _MIN_CHARUCO_CORNERS:
        return None
    at_blurry, at_sharp = np.array(pairs).T
    return blurry.points[at_blurry], sharp.points[at_sharp]


def _smoother(corners: Points, gray: Gray, board_corners: tuple[int, int], *, is_whole: bool) -> Points:
    """Return the corners as found, or as the gradients around them place them, whichever lie along smoother rows."""
    grid = corners.reshape(board_corners[1], board_corners[0], 2)
    step_px = min(float(np.median(np.linalg.norm(np.diff(grid, axis=axis), axis=2))) for axis in (0, 1))
    reach = int(np.clip(step_px / 4, 2, 11))
    start = np.ascontiguousarray(corners.reshape(-1, 1, 2), dtype=np.float32)
    criteria = (cv2.TERM_CRITERIA_EPS | cv2.TERM_CRITERIA_COUNT, 40, 1e-3)
    moved = cv2.cornerSubPix(gray, start, (reach, reach), (-1, -1), criteria)
    refined = np.asarray(moved, dtype=np.float64).reshape(-1, 2)
    is_better = _roughness(refined, board_corners) < _roughness(corners, board_corners)
    return refined if is_better or not is_whole else corners


def _roughness(corners: Points, board_corners: tuple[int, int]) -> float:
    """Return what is left of rows and columns after whatever a lens and a tilt do to them: third differences."""
    grid = corners.reshape(board_corners[1], board_corners[0], 2)
    return float(sum(np.abs(np.diff(grid, 3, axis=axis)).mean() for axis in (0, 1) if grid.shape[axis] > 3))


def _corner_orders(corners: Points, board_corners: tuple[int, int]) -> list[Points]:
    """Return the corners in the four orders in which a detector may have listed a board, mirrored ones included."""
    if len(corners) != board_corners[0] * board_corners[1]:
        return [corners]
    grid = corners.reshape(board_corners[1], board_corners[0], 2)
    return [order.reshape(-1, 2) for order in (grid, grid[::-1, ::-1], grid[:, ::-1], grid[::-1])]


def board_candidates(corners_blurry: Points, corners_sharp: Points, board_corners: tuple[int, int]) -> list[Homography]:
    """Return the homographies that take a board in the sharp view to the blurry one, for every order of its corners.

    Where the corners are not those of a whole board, markers have told their order.
    """
    candidates = []
    for order in _corner_orders(corners_sharp, board_corners):
        homography, _ = cv2.findHomography(order, corners_blurry, 0)
        if homography is not None and abs(homography[2, 2]) > 1e-9:
            candidates.append(np.asarray(homography, dtype=np.float64))
    return candidates
