import cv2
import numpy as np
import pytest

from rb2v.stages.calibrate.boards import CharucoSpec, find_board_size, find_charuco


@pytest.mark.parametrize(("squares", "n_corners"), [((8, 6), 35), ((5, 8), 28), ((7, 6), 30), ((5, 7), 24)])
@pytest.mark.parametrize("is_legacy", [False, True])
def test_charuco_boards_of_both_patterns_are_found(squares, n_corners, is_legacy):
    dictionary = cv2.aruco.getPredefinedDictionary(cv2.aruco.DICT_6X6_250)
    board = cv2.aruco.CharucoBoard(squares, 1.0, 0.5, dictionary)
    board.setLegacyPattern(is_legacy)
    image = board.generateImage((50 * squares[0] + 80, 50 * squares[1] + 80), marginSize=40)
    assert len(find_charuco(np.dstack([image] * 3), CharucoSpec("DICT_6X6_250", squares)).grid) == n_corners


@pytest.mark.parametrize("corners", [(8, 6), (11, 8)])
def test_the_size_of_a_chessboard_is_found_out(corners):
    image = np.full((40 * (corners[1] + 3), 40 * (corners[0] + 3)), 235, np.uint8)
    for row, column in np.argwhere(np.indices((corners[1] + 1, corners[0] + 1)).sum(axis=0) % 2 == 0):
        image[40 * (row + 1) : 40 * (row + 2), 40 * (column + 1) : 40 * (column + 2)] = 20
    assert find_board_size([np.dstack([image] * 3)], (9, 6)) == corners
