"""Points and trajectories drawn on images."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

Color = tuple[int, int, int]

INSTANCE_COLORS: tuple[Color, ...] = ((255, 196, 0), (0, 200, 255), (255, 96, 160), (120, 255, 90))
"""RGB of the first faces or hands of a frame; those after them begin anew. Bright, and apart for most eyes."""
FINGERS = ((0, 1, 2, 3, 4), (0, 5, 6, 7, 8), (9, 10, 11, 12), (13, 14, 15, 16), (0, 17, 18, 19, 20), (5, 9, 13, 17))
"""Lines between the 21 points of a hand."""
FACE_LINES = (
    range(17),
    range(17, 22),
    range(22, 27),
    range(27, 31),
    range(31, 36),
    (*range(36, 42), 36),
    (*range(42, 48), 42),
    (*range(48, 60), 48),
    (*range(60, 68), 60),
)
"""Lines between the 68 points of a face: jaw, brows, nose, eyes, lips."""
_LINES = {21: FINGERS, 68: FACE_LINES}
_SUBPIXEL_BITS = 4  # OpenCV draws at sixteenths of a pixel, finer than an eye sees
_POINTS_ACROSS = 220  # px of the shorter side for one of a point's radius: small points on small images
_GRAY: Color = (235, 235, 235)  # of lines and of a mesh, which points stand out from


def draw_points(image: NDArray[np.uint8], points: NDArray[np.float64], instance: int = 0) -> NDArray[np.uint8]:
    """Return an image with the points of a face or hand drawn on it.

    Parameters
    ----------
    image : (H, W, 3) ndarray of uint8
        RGB; it is kept.
    points : (n, 2) ndarray of float64
        x and y in px. 21 points are joined as a hand, 68 as a face.
    instance : int
        Number of the face or hand, which has its own color.
    """
    drawn = image.copy()
    radius = max(min(image.shape[:2]) / _POINTS_ACROSS, 1.0)
    for line in _LINES.get(len(points), ()):
        _draw_line(drawn, points[list(line)], _GRAY, max(round(radius / 2), 1))
    color = INSTANCE_COLORS[instance % len(INSTANCE_COLORS)]
    for point in points:
        _draw_point(drawn, point, radius if len(points) in _LINES else radius / 2, color)
    return drawn


def draw_trajectories(
    image: NDArray[np.uint8], paths: Sequence[tuple[NDArray[np.float64], Color]], scale: int
) -> NDArray[np.uint8]:
    """Return an enlarged image with trajectories drawn on it, each with a dot where it ends.

    Parameters
    ----------
    image : (H, W, 3) ndarray of uint8
        RGB.
    paths : sequence of ((k, n, 2) ndarray of float64, color)
        Of each, n points in k frames: x and y in px of the image. Frames with NaN are left out.
    scale : int
        How many times the image is enlarged.
    """
    height, width = image.shape[:2]
    drawn = np.asarray(
        cv2.resize(image, (width * scale, height * scale), interpolation=cv2.INTER_CUBIC), dtype=np.uint8
    )
    for path, color in paths:
        seen = path[np.isfinite(path).all(axis=(1, 2))]
        enlarged = (seen + 0.5) * scale - 0.5
        for one in enlarged.transpose(1, 0, 2):
            _draw_line(drawn, one, color, 1)
            if len(one):
                _draw_point(drawn, one[-1], 2.0, color)
    return drawn


def _fixed(value: float) -> int:
    # Far points would overflow OpenCV's coordinates; they are outside the image all the same.
    return round(min(max(value, -1e4), 1e5) * (1 << _SUBPIXEL_BITS))


def _draw_point(image: NDArray[np.uint8], point: Iterable[float], radius: float, color: Color) -> None:
    x, y = (_fixed(value) for value in point)
    cv2.circle(image, (x, y), _fixed(radius), color, cv2.FILLED, cv2.LINE_AA, _SUBPIXEL_BITS)


def _draw_line(image: NDArray[np.uint8], points: NDArray[np.float64], color: Color, thickness: int) -> None:
    fixed = [(_fixed(x), _fixed(y)) for x, y in points.tolist()]
    for start, end in pairwise(fixed):
        cv2.line(image, start, end, color, thickness, cv2.LINE_AA, _SUBPIXEL_BITS)
