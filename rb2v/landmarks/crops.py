"""Rotated square crops: cut from an image for a network, and the network's points mapped back."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

_MIN_SHRINK = (
    4.0  # of 640 px to 192 it is 3.3, where MediaPipe's points are met; beyond 2 bilinear sampling skips pixels
)
_MIN_SIDE_PX = 1e-3  # smaller crops cannot be told from a point in float32


@dataclass(frozen=True)
class Crop:
    """A square of an image, turned about its center.

    Coordinates are those of OpenCV: the center of the top-left pixel is (0, 0), x runs right and y down.
    """

    center: tuple[float, float]
    """x and y in px."""
    side: float
    """In px of the image."""
    angle: float = 0.0
    """Of the crop's x axis from the image's, in radians, clockwise on the screen."""
    mirrored: bool = False
    """Whether its x axis runs the other way, so that a left hand looks like a right one."""

    @property
    def axes(self) -> NDArray[np.float64]:
        """(2, 2) ndarray: the unit vectors of the crop's x and y axis, in the image, as columns."""
        cosine, sine = math.cos(self.angle), math.sin(self.angle)
        side = -1.0 if self.mirrored else 1.0
        return np.array([[side * cosine, -sine], [side * sine, cosine]])

    @property
    def is_usable(self) -> bool:
        """Whether it has a finite place and a side to be cut."""
        return bool(np.isfinite([*self.center, self.side, self.angle]).all()) and self.side > _MIN_SIDE_PX

    def to_image(self, points: NDArray[np.floating[Any]], size: int) -> NDArray[np.float64]:
        """Map points from pixels of the crop, resampled to ``size`` px, to pixels of the image.

        Parameters
        ----------
        points : (..., 2) ndarray
            x and y; the crop's top-left pixel is (0, 0), its corner too: MediaPipe's convention on CPUs.
        size : int
            Side of the resampled crop, in px.

        Returns
        -------
        (..., 2) ndarray of float64
            x and y in px of the image.
        """
        # Half a pixel more would be right for pixel centers, and up to 10 px wrong in what the networks make of it.
        shares = np.asarray(points, dtype=np.float64) / size - 0.5
        return np.asarray(np.array(self.center) + self.side * shares @ self.axes.T)

    def cut(self, image: NDArray[np.uint8], size: int, *, border: int = cv2.BORDER_REPLICATE) -> NDArray[np.uint8]:
        """Resample the crop from an image.

        Parameters
        ----------
        image : (H, W, 3) ndarray of uint8
            RGB.
        size : int
            Side of what is returned, in px. Where the crop is four times as large or more, pixels are averaged first.
        border : int
            OpenCV's border mode for what lies outside the image.

        Returns
        -------
        (size, size, 3) ndarray of uint8
            RGB.
        """
        to_image = self._matrix(size)
        shrink = math.floor(self.side / size)
        if shrink >= _MIN_SHRINK:
            image, to_image = self._shrink(image, to_image, shrink)
        flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
        return np.asarray(cv2.warpAffine(image, to_image, (size, size), flags=flags, borderMode=border), dtype=np.uint8)

    def _matrix(self, size: int) -> NDArray[np.float64]:
        """Return the (2, 3) map of `to_image`."""
        linear = self.axes * (self.side / size)
        corner = self.to_image(np.zeros(2), size)
        return np.column_stack([linear, corner])

    def _shrink(
        self, image: NDArray[np.uint8], to_image: NDArray[np.float64], shrink: int
    ) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
        """Average the pixels about the crop, and return them with the map from the crop to them."""
        height, width = image.shape[:2]
        half = self.side * math.sqrt(0.5) + shrink
        left, top = (max(math.floor(middle - half), 0) for middle in self.center)
        right = min(math.ceil(self.center[0] + half) + 1, width)
        bottom = min(math.ceil(self.center[1] + half) + 1, height)
        if right <= left or bottom <= top:
            return image, to_image
        part = image[top:bottom, left:right]
        n_rows, n_columns = (max(math.ceil(length / shrink), 1) for length in part.shape[:2])
        small = cv2.resize(part, (n_columns, n_rows), interpolation=cv2.INTER_AREA)
        scales = np.array([n_columns / part.shape[1], n_rows / part.shape[0]])
        linear = to_image[:, :2] * scales[:, None]
        offset = (to_image[:, 2] - [left, top] + 0.5) * scales - 0.5
        return np.asarray(small, dtype=np.uint8), np.column_stack([linear, offset])


def whole_image(image: NDArray[np.uint8]) -> Crop:
    """Return the smallest square crop about the center of an image that holds all of it."""
    height, width = image.shape[:2]
    return Crop((width / 2, height / 2), float(max(height, width)))


def bounding_crop(points: NDArray[np.float64], angle: float, *, scale: float, shift: float = 0.0) -> Crop:
    """Return the square about points that lies at an angle.

    Parameters
    ----------
    points : (n, 2) ndarray of float64
        x and y in px.
    angle : float
        Of the crop, in radians.
    scale : float
        Its side over the longer side of the points' own rectangle.
    shift : float
        How far it is moved down along its own axis, in lengths of that rectangle.
    """
    axes = Crop((0.0, 0.0), 1.0, angle).axes
    turned = points @ axes
    low, high = turned.min(axis=0), turned.max(axis=0)
    middle = (low + high) / 2 + [0.0, shift * (high[1] - low[1])]
    x, y = (float(value) for value in axes @ middle)
    return Crop((x, y), float((high - low).max()) * scale, angle)
