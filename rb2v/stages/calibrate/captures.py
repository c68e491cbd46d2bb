"""Captures: a static scene as each camera saw it, and which of its pixels the housing leaves free."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from rb2v.artifacts import RawDirectory
from rb2v.core.lens_fit import BoardView
from rb2v.errors import InputError
from rb2v.io.video import read_image
from rb2v.stages.calibrate.boards import board_grid, common_corners, find_charuco, find_corners
from rb2v.stages.calibrate.config import CalibrateConfig

Points = NDArray[np.float64]
Image = NDArray[np.uint8]
Mask = NDArray[np.bool_]


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
    """(H, W) pixels of both views that stood still while they were recorded; None for all."""


def size_of(image: Image) -> tuple[int, int]:
    """Return width and height in pixels."""
    return image.shape[1], image.shape[0]


def gray_of(image: Image) -> NDArray[np.float32]:
    """Return the grey picture, 0..1."""
    return np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY), dtype=np.float32) / np.float32(255)


def read_captures(raw: RawDirectory, config: CalibrateConfig) -> list[Capture]:
    """Read the geometry captures and find the boards in them.

    Raises
    ------
    InputError
        If there is none, or they differ in size.
    """
    if not raw.geometry_pairs:
        folder = raw.root / "calibration" / "geometry"
        raise InputError(folder, "holds no capture pair", expected="blurry/<name>.png and sharp/<name>.png")
    captures: list[Capture] = []
    for blurry_path, sharp_path in raw.geometry_pairs:
        blurry, sharp = read_image(blurry_path), read_image(sharp_path)
        if captures:
            first = captures[0]
            for path, image, reference in ((blurry_path, blurry, first.blurry), (sharp_path, sharp, first.sharp)):
                check_size(path, image, reference, "the other captures")
        boards = (_find_board(blurry, config), _find_board(sharp, config))
        captures.append(Capture(blurry_path.name, blurry, sharp, _common(*boards, config), _board_in(*boards), boards))
    return captures


def _find_board(image: Image, config: CalibrateConfig) -> BoardView | None:
    if config.charuco is not None:
        return find_charuco(image, config.charuco)
    corners = find_corners(image, config.board_corners)
    return None if corners is None else BoardView(board_grid(config.board_corners), corners)


def _common(blurry: BoardView | None, sharp: BoardView | None, config: CalibrateConfig) -> tuple[Points, Points] | None:
    if blurry is None or sharp is None:
        return None
    return (blurry.points, sharp.points) if config.charuco is None else common_corners(blurry, sharp)


def _board_in(blurry: BoardView | None, sharp: BoardView | None) -> Literal["both", "blurry", "sharp"] | None:
    if blurry is not None and sharp is not None:
        return "both"
    return "blurry" if blurry is not None else "sharp" if sharp is not None else None


def check_size(path: Path, image: Image, reference: Image, others: str) -> None:
    """Check that a picture is as large as others.

    Raises
    ------
    InputError
        If it is not.
    """
    if image.shape != reference.shape:
        (width, height), (w, h) = size_of(image), size_of(reference)
        raise InputError(path, f"is {width}x{height}", expected=f"{w}x{h} as {others}")
