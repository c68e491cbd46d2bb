"""Calibration targets as still scenes: chessboards in several poses, a 24-patch color checker, a photo wall."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from rb2v.core.color import CHECKER_SRGB, to_linear
from rb2v.simulator import textures
from rb2v.simulator.scene import LayeredScene, Motion, Mover, Wave

BOARD_CORNERS = (9, 6)
"""Inner corners of the simulated chessboard, across and down."""

_STILL = Motion(Wave(), Wave())
_CHECKER_BLACK = np.float32(0.012)


def chessboard_scene(photos: Sequence[Path], size: tuple[int, int], seed: int) -> LayeredScene:
    """Build a chessboard in a random pose before a photo wall.

    Parameters
    ----------
    photos : sequence of Path
        Textures of the wall.
    size : tuple of int
        Width and height of the reference view in pixels.
    seed : int
        Decides the pose and the wall.
    """
    rng = np.random.default_rng(seed)
    square = max(round(size[1] / 11), 8)
    board = _posed(_chessboard(square), rng)
    center = (size[0] * rng.uniform(-0.16, 0.16), size[1] * rng.uniform(-0.12, 0.12))
    motion = Motion(Wave(center[0]), Wave(center[1]), Wave(rng.uniform(-15, 15)), Wave(rng.uniform(0.85, 1.05)))
    return LayeredScene(_wall(photos, size, rng), [Mover(board, motion)], _STILL)


def wall_scene(photos: Sequence[Path], size: tuple[int, int], seed: int) -> LayeredScene:
    """Build a still wall of photographs, a scene without any target."""
    return LayeredScene(_wall(photos, size, np.random.default_rng(seed)), [], _STILL)


def checker_scene(size: tuple[int, int]) -> LayeredScene:
    """Build a 24-patch color checker before a gray wall."""
    wall = np.full((size[1], size[0], 3), 0.18, dtype=np.float32)
    patch = max(round(size[1] * 0.09), 6)
    gap = max(patch // 5, 1)
    columns, rows = 6, 4
    height, width = rows * (patch + gap) + gap, columns * (patch + gap) + gap
    chart = np.full((height, width, 3), _CHECKER_BLACK, dtype=np.float32)
    colors = to_linear(CHECKER_SRGB[None], "srgb")[0]
    for index, color in enumerate(colors):
        row, column = divmod(index, columns)
        top, left = gap + row * (patch + gap), gap + column * (patch + gap)
        chart[top : top + patch, left : left + patch] = color
    rgba: NDArray[np.float32] = np.dstack([chart, np.ones((height, width), dtype=np.float32)])
    # An empty rim keeps bilinear sampling from cutting the chart's edge.
    return LayeredScene(wall, [Mover(np.pad(rgba, ((4, 4), (4, 4), (0, 0))), _STILL)], _STILL)


def _wall(photos: Sequence[Path], size: tuple[int, int], rng: np.random.Generator) -> NDArray[np.float32]:
    pictures = [textures.load_photo(path) for path in photos]
    return textures.photo_wall(pictures, (int(size[0] * 1.2), int(size[1] * 1.2)), rng)


def _chessboard(square_px: int) -> NDArray[np.float32]:
    columns, rows = BOARD_CORNERS[0] + 1, BOARD_CORNERS[1] + 1
    cells = np.indices((rows, columns)).sum(axis=0) % 2
    oversampling = 4
    pattern = np.kron(cells, np.ones((square_px * oversampling,) * 2)).astype(np.float32)
    margin = square_px * oversampling
    board = cv2.copyMakeBorder(pattern, margin, margin, margin, margin, cv2.BORDER_CONSTANT, value=1.0)
    size = (board.shape[1] // oversampling, board.shape[0] // oversampling)
    smooth = cv2.resize(cv2.GaussianBlur(board, (0, 0), 0.8 * oversampling), size, interpolation=cv2.INTER_AREA)
    light = 0.03 + 0.75 * smooth
    return np.dstack([light, light, light, np.ones_like(light)]).astype(np.float32)


def _posed(rgba: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Return the image tilted in space, on a transparent ground."""
    height, width = rgba.shape[:2]
    margin = height // 6
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], dtype=np.float32) + margin
    moved = corners + rng.uniform(-0.08, 0.08, (4, 2)).astype(np.float32) * height
    tilt = cv2.getPerspectiveTransform(corners, moved)
    to_canvas = np.array([[1, 0, margin], [0, 1, margin], [0, 0, 1]], dtype=np.float64)
    tilted = cv2.warpPerspective(rgba, tilt @ to_canvas, (width + 2 * margin, height + 2 * margin))
    return np.asarray(tilted, dtype=np.float32)
