"""Captures: a static scene as each camera saw it, and which of its pixels the housing leaves free."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from rb2v.artifacts import RawDirectory
from rb2v.core.lens_fit import BoardView
from rb2v.errors import InputError
from rb2v.io.video import read_image
from rb2v.stages.calibrate.boards import board_grid, common_corners, find_board_size, find_charuco, find_corners
from rb2v.stages.calibrate.config import CalibrateConfig

logger = logging.getLogger(__name__)

Points = NDArray[np.float64]
Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]

_MIN_SIDE_PX = 32  # the least that holds a board or texture, and the margins of the registration


@dataclass(frozen=True, eq=False)
class Capture:
    """One static scene seen by both cameras."""

    name: str
    blurry: Image
    sharp: Image
    corners: tuple[Points, Points] | None
    """Corners of the board in both views, each in its detector's order; None where no board was found in both."""
    board_in: Literal["both", "blurry", "sharp"] | None = None
    """The views in which a board was found; None where in neither."""
    boards: tuple[BoardView | None, BoardView | None] = (None, None)
    """The board as the blurry and as the sharp camera recorded it, whole or in part."""
    still: tuple[Mask | None, Mask | None] = (None, None)
    """(H, W) pixels of both views that were static while they were recorded; None for all."""
    chessboard: tuple[int, int] | None = None
    """Inner corners of the chessboard, across and down, where it is not the one that was looked for."""


def size_of(image: Image) -> tuple[int, int]:
    """Return width and height in pixels."""
    return image.shape[1], image.shape[0]


def gray_of(image: Image) -> NDArray[np.float32]:
    """Return the gray image, 0..1."""
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), dtype=np.float32) / np.float32(255)


def read_captures(raw: RawDirectory, config: CalibrateConfig) -> list[Capture]:
    """Read the geometry captures and find the boards in them.

    Raises
    ------
    InputError
        If there is none, they differ in size, or none shows the board that the configuration names.
    """
    folder = raw.root / "calibration" / "geometry"
    if not raw.geometry_pairs:
        raise InputError(folder, "holds no capture pair", expected="blurry/<name>.png and sharp/<name>.png")
    pictures = [(read_image(blurry_path), read_image(sharp_path)) for blurry_path, sharp_path in raw.geometry_pairs]
    for side in (0, 1):
        _check_sizes([pair[side] for pair in raw.geometry_pairs], [pair[side] for pair in pictures])
    captures = _find_boards(raw, pictures, config)
    if config.charuco is None and all(capture.board_in is None for capture in captures):
        found = find_board_size([image for pair in pictures for image in pair], config.chessboard)
        if found is not None and config.named_board is not None:
            raise InputError(
                folder,
                f"no capture shows the {config.named_board}",
                expected=f"--board {found[0]}x{found[1]}, as they show",
            )
        if found is not None:
            logger.warning("%s: shows a chessboard of %dx%d inner corners, which is used", folder, *found)
            captures = [
                replace(capture, chessboard=found)
                for capture in _find_boards(raw, pictures, replace(config, board_corners=found))
            ]
    if config.named_board is not None and all(capture.board_in is None for capture in captures):
        raise InputError(
            folder,
            f"no capture shows the {config.named_board}",
            expected="the board of the captures (a chessboard has one inner corner less than squares each way), or "
            "none to be named",
        )
    return captures


def _find_boards(raw: RawDirectory, pictures: Sequence[tuple[Image, Image]], config: CalibrateConfig) -> list[Capture]:
    captures: list[Capture] = []
    for (path, _), (blurry, sharp) in zip(raw.geometry_pairs, pictures, strict=True):
        boards = (_find_board(blurry, config), _find_board(sharp, config))
        captures.append(Capture(path.name, blurry, sharp, _common(*boards, config), _board_in(*boards), boards))
    return captures


def _check_sizes(paths: Sequence[Path], images: Sequence[Image]) -> None:
    """Check that one camera's images are of one size, and of a size that tells anything."""
    # The first of the most frequent size, so that an odd image is named, whichever it is.
    (usual, _), *_ = Counter(size_of(image) for image in images).most_common()
    for path, image in zip(paths, images, strict=True):
        width, height = size_of(image)
        if (width, height) != usual:
            raise InputError(path, f"is {width}x{height}", expected=f"{usual[0]}x{usual[1]} as the other captures")
        if min(width, height) < _MIN_SIDE_PX:
            raise InputError(path, f"is {width}x{height}", expected=f"{_MIN_SIDE_PX} pixels each way at least")


def _find_board(image: Image, config: CalibrateConfig) -> BoardView | None:
    if config.charuco is not None:
        return find_charuco(image, config.charuco)
    corners = find_corners(image, config.chessboard)
    return None if corners is None else BoardView(board_grid(config.chessboard), corners)


def _common(blurry: BoardView | None, sharp: BoardView | None, config: CalibrateConfig) -> tuple[Points, Points] | None:
    if blurry is None or sharp is None:
        return None
    return (blurry.points, sharp.points) if config.charuco is None else common_corners(blurry, sharp)


def _board_in(blurry: BoardView | None, sharp: BoardView | None) -> Literal["both", "blurry", "sharp"] | None:
    if blurry is not None and sharp is not None:
        return "both"
    return "blurry" if blurry is not None else "sharp" if sharp is not None else None
