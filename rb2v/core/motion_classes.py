"""Motion guidance: for every pixel one of four diagonal directions, or none.

A guidance map holds classes: 0 static, 1 right and up, 2 left and up, 3 left and down, 4 right and down. As vectors
they are (0, 0), (1, -1), (-1, -1), (-1, 1) and (1, 1), with x right and y down.

References
----------
.. [1] Zhong et al., "Animation from Blur", ECCV 2022, section 3.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rb2v.errors import InputError

STATIC = 0  # so that what nobody painted is static
CLASS_NAMES = ("static", "right-up", "left-up", "left-down", "right-down")
"""Classes in the order of their numbers, which files and networks state."""
N_CLASSES = 5  # four quadrants of motion, and none
VECTORS: NDArray[np.int8] = np.array([[0, 0], [1, -1], [-1, -1], [-1, 1], [1, 1]], dtype=np.int8)
"""(5, 2) x and y of each class."""
COLORS: NDArray[np.uint8] = np.array([[0, 0, 0], [255, 0, 0], [0, 255, 0], [255, 255, 0], [0, 0, 255]], dtype=np.uint8)
"""(5, 3) RGB of each class: black, red, green, yellow, blue, as the authors of [1]_ paint them."""
COLOR_NAMES = ("black", "red", "green", "yellow", "blue")
REVERSED: NDArray[np.uint8] = np.array([0, 3, 4, 1, 2], dtype=np.uint8)
"""Class of a sequence's reversal."""
_FLIPPED_X: NDArray[np.uint8] = np.array([0, 2, 1, 4, 3], dtype=np.uint8)
_FLIPPED_Y: NDArray[np.uint8] = np.array([0, 4, 3, 2, 1], dtype=np.uint8)
_TURNED: NDArray[np.uint8] = np.array([0, 2, 3, 4, 1], dtype=np.uint8)

_OF_SIGNS: Mapping[tuple[int, int], int] = MappingProxyType(
    {(int(x), int(y)): index for index, (x, y) in enumerate(VECTORS.tolist())}
)
_MAX_COLOR_ERROR = 24  # levels of 255 by which a painted color may differ: of soft brushes, not of JPEG

Classes = NDArray[np.uint8]


def classes_of_flow(flow: NDArray[np.floating], static_px: float) -> Classes:
    """Assign every motion vector its class.

    A quadrant holds the axis that it begins with, counterclockwise as seen with y down. So the classes of reversed and
    of rotated motion are the reversed and rotated classes, exactly.

    Parameters
    ----------
    flow : (H, W, 2) ndarray of float
        Motion in x and y, in pixels.
    static_px : float
        Motion of less length is static.

    Returns
    -------
    (H, W) ndarray of uint8

    Examples
    --------
    >>> classes_of_flow(np.array([[[3.0, -1.0], [0.1, 0.2], [-2.0, 0.0]]]), 0.5).tolist()
    [[1, 0, 2]]
    """
    x, y = flow[..., 0], flow[..., 1]
    classes = np.zeros(x.shape, dtype=np.uint8)
    classes[(x > 0) & (y >= 0)] = 4
    classes[(x <= 0) & (y > 0)] = 3
    classes[(x < 0) & (y <= 0)] = 2
    classes[(x >= 0) & (y < 0)] = 1
    classes[np.hypot(x, y) < static_px] = STATIC
    return classes


def vectors_of(classes: Classes) -> NDArray[np.int8]:
    """Return the vectors, (..., 2) ndarray of int8, of classes, (...) ndarray of uint8."""
    return VECTORS[classes]


def classes_of_vectors(vectors: NDArray[Any], source: str | Path = "guidance") -> Classes:
    """Return the classes of vectors whose parts are -1, 0 and 1.

    Parameters
    ----------
    vectors : (..., 2) ndarray of number
        Both parts of a vector are zero, or neither.
    source : str or path
        What messages call it.

    Raises
    ------
    InputError
        If a vector is none of the five.
    """
    classes = np.full(vectors.shape[:-1], N_CLASSES, dtype=np.uint8)
    for (x, y), index in _OF_SIGNS.items():
        classes[(vectors[..., 0] == x) & (vectors[..., 1] == y)] = index
    if (classes == N_CLASSES).any():
        place = tuple(int(one) for one in np.argwhere(classes == N_CLASSES)[0])
        found = ", ".join(f"{float(value):g}" for value in vectors[place])
        expected = "(0, 0), (1, -1), (-1, -1), (-1, 1) or (1, 1)"
        raise InputError(source, f"holds the vector ({found})", f"row {place[0]}, column {place[-1]}", expected)
    return classes


def class_of_direction(x: float, y: float) -> int:
    """Return the class of one direction; (0, 0) is static.

    Examples
    --------
    >>> class_of_direction(2, -1)
    1
    """
    return int(classes_of_flow(np.array([[[x, y]]], dtype=np.float64), 0.0)[0, 0])


def reverse(classes: Classes) -> Classes:
    """Return the guidance of a sequence that runs backward."""
    return REVERSED[classes]


def flip_x(classes: Classes) -> Classes:
    """Return the guidance of frames that are mirrored left to right; (..., H, W)."""
    return _FLIPPED_X[classes[..., ::-1]]


def flip_y(classes: Classes) -> Classes:
    """Return the guidance of frames that are mirrored top to bottom; (..., H, W)."""
    return _FLIPPED_Y[classes[..., ::-1, :]]


def turn(classes: Classes, quarters: int = 1) -> Classes:
    """Return the guidance of frames that are turned as ``numpy.rot90`` turns them, counterclockwise; (..., H, W)."""
    for _ in range(quarters % 4):
        classes = _TURNED[np.rot90(classes, axes=(-2, -1))]
    return classes


def paint(classes: Classes) -> NDArray[np.uint8]:
    """Return a guidance map as an (..., 3) RGB image in `COLORS`."""
    return COLORS[classes]


def read_paint(image: NDArray[np.uint8], source: str | Path) -> Classes:
    """Return the classes of a painted guidance map.

    Parameters
    ----------
    image : (H, W, 3) ndarray of uint8
        RGB; every pixel within 24 levels of one of `COLORS`, white also stands for static.
    source : str or path
        What messages call it.

    Raises
    ------
    InputError
        If a pixel has another color.
    """
    palette = np.vstack([COLORS, [[255, 255, 255]]]).astype(np.int16)
    best = np.full(image.shape[:2], 255, dtype=np.int16)
    classes = np.zeros(image.shape[:2], dtype=np.uint8)
    for index, color in enumerate(palette):
        error = np.abs(image.astype(np.int16) - color).max(axis=-1)
        nearer = error < best
        best[nearer] = error[nearer]
        classes[nearer] = index % N_CLASSES
    if (best > _MAX_COLOR_ERROR).any():
        row, column = (int(one) for one in np.argwhere(best > _MAX_COLOR_ERROR)[0])
        wrong = np.count_nonzero(best > _MAX_COLOR_ERROR)
        found = "#" + "".join(f"{value:02x}" for value in image[row, column])
        problem = f"{found} is none of the five colors, as are {wrong} of {best.size} pixels"
        expected = ", ".join(f"{color} ({name})" for color, name in zip(COLOR_NAMES, CLASS_NAMES, strict=True))
        raise InputError(source, problem, f"row {row}, column {column}", expected)
    return classes


def resample(classes: Classes, size: tuple[int, int], box: tuple[float, float, float, float] | None = None) -> Classes:
    """Sample a guidance map at the centers of a grid, by nearest neighbor.

    Parameters
    ----------
    classes : (h, w) ndarray of uint8
        The map.
    size : (int, int)
        Height and width of the result.
    box : (float, float, float, float), optional
        Top, bottom, left and right of the part that is sampled, as shares of the map's sides; all of it by default.

    Returns
    -------
    (H, W) ndarray of uint8

    Examples
    --------
    >>> resample(np.array([[1, 2]], dtype=np.uint8), (1, 4)).tolist()
    [[1, 1, 2, 2]]
    """
    top, bottom, left, right = box or (0.0, 1.0, 0.0, 1.0)
    rows = _nearest(classes.shape[0], size[0], top, bottom)
    columns = _nearest(classes.shape[1], size[1], left, right)
    return np.ascontiguousarray(classes[rows[:, None], columns])


def _nearest(side: int, n: int, low: float, high: float) -> NDArray[np.intp]:
    shares = low + (np.arange(n) + 0.5) * ((high - low) / n)
    return np.clip((shares * side).astype(np.intp), 0, side - 1)


def half_size(height: int, width: int) -> tuple[int, int]:
    """Return height and width at which guidance is kept: half of the frame's, rounded up.

    Examples
    --------
    >>> half_size(192, 161)
    (96, 81)
    """
    return -(-height // 2), -(-width // 2)
