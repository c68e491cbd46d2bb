"""Images as decoders give them: a plane of luma, and two of chroma at half its width and height."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.uint8]
Sample = TypeVar("Sample", np.uint8, np.float32)

LEFT_SITING = (0.0, 0.5)
"""Chroma of 4:2:0 where H.264 has it by default: on even luma columns, halfway between two luma rows."""
CENTER_SITING = (0.5, 0.5)
"""Chroma of 4:2:0 where JPEG and MPEG-1 have it: in the middle of four luma pixels."""
TOP_LEFT_SITING = (0.0, 0.0)
"""Chroma of 4:2:0 on the luma pixels of even columns and rows, as BT.2020 has it."""
SITINGS = {"left": LEFT_SITING, "center": CENTER_SITING, "topleft": TOP_LEFT_SITING}
"""Where chroma of 4:2:0 may lie, by name."""

_EXACT = 8  # of levels: quarters between two rows, halves between two columns, and nothing is rounded
_ROWS_AT_ONCE = 64  # of an image, which a core's cache then holds: half the time of a whole 1080p frame


@dataclass(frozen=True)
class Orientation:
    """How stored images are turned and mirrored to be upright: transposed first, then mirrored."""

    transposed: bool = False
    """Whether rows and columns are exchanged."""
    mirrored_x: bool = False
    """Whether columns run from right to left."""
    mirrored_y: bool = False
    """Whether rows run from bottom to top."""

    @property
    def is_mirrored(self) -> bool:
        """Whether the image is a mirror image of the stored one, not merely turned."""
        return self.transposed ^ self.mirrored_x ^ self.mirrored_y

    @property
    def degrees(self) -> int:
        """The turn in degrees, clockwise, before any mirroring of columns."""
        turns = {(False, False): 0, (True, False): 1, (False, True): 2, (True, True): 3}
        return 90 * turns[self.transposed, self.mirrored_y]

    def __str__(self) -> str:
        return f"{self.degrees} degrees" + (", mirrored" if self.is_mirrored else "")

    def apply(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return an (H, W) or (H, W, 3) image upright, contiguous."""
        upright = image.swapaxes(0, 1) if self.transposed else image
        return np.ascontiguousarray(upright[:: -1 if self.mirrored_y else 1, :: -1 if self.mirrored_x else 1])

    def apply_size(self, size: tuple[int, int]) -> tuple[int, int]:
        """Return the upright width and height."""
        return (size[1], size[0]) if self.transposed else size


@dataclass(frozen=True, eq=False)
class Planes:
    """A 4:2:0 image of 8 bits."""

    luma: Plane
    """(H, W), both even."""
    chroma: tuple[Plane, Plane]
    """Cb and Cr, (H / 2, W / 2) each."""
    to_rgb: NDArray[np.float64]
    """(3, 4) from 8-bit Y'CbCr to 8-bit R'G'B'."""
    siting: tuple[float, float] = LEFT_SITING
    """Where the first chroma sample lies, in luma pixels: column and row."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Rows, columns and channels of the image in RGB."""
        return (*self.luma.shape[:2], 3)

    def rgb(self) -> NDArray[np.uint8]:
        """Return the (H, W, 3) image, its chroma interpolated linearly; every value is rounded once."""
        height, width = self.luma.shape
        if self.siting == LEFT_SITING:
            scale = np.array([1 / _EXACT, 1 / _EXACT, 1 / _EXACT, 1.0])
            full = [_upsample_left(plane, width, height) for plane in self.chroma]
            return _to_rgb([self.luma.astype(np.uint16) * np.uint16(_EXACT), *full], self.to_rgb * scale)
        wide = [upsample_chroma(plane.astype(np.float32), (width, height), self.siting) for plane in self.chroma]
        rgb = cv2.transform(cv2.merge([self.luma.astype(np.float32), *wide]), self.to_rgb)
        return np.asarray(np.rint(rgb).clip(0, 255), dtype=np.uint8)

    def part(self, rows: slice, columns: slice) -> Planes:
        """Return a part of the image that begins and ends at even rows and columns, without copying it."""
        coarse = tuple(slice(cut.start // 2, cut.stop // 2) for cut in (rows, columns))
        chroma = (self.chroma[0][coarse], self.chroma[1][coarse])
        return replace(self, luma=self.luma[rows, columns], chroma=chroma)

    def turned(self, orientation: Orientation) -> Planes:
        """Return the image upright."""
        if orientation == Orientation():
            return self
        x, y = self.siting[::-1] if orientation.transposed else self.siting
        # Of sizes that are even, a mirrored first sample is as far from its end as the last one was.
        siting = (1 - x if orientation.mirrored_x else x, 1 - y if orientation.mirrored_y else y)
        chroma = (orientation.apply(self.chroma[0]), orientation.apply(self.chroma[1]))
        return replace(self, luma=orientation.apply(self.luma), chroma=chroma, siting=siting)


def upsample_chroma(plane: NDArray[Sample], size: tuple[int, int], siting: tuple[float, float]) -> NDArray[Sample]:
    """Interpolate a plane of chroma, subsampled by 1, 2 or 4 along each axis, linearly to the size of luma.

    Parameters
    ----------
    plane : (h, w) ndarray of uint8 or float32
        The chroma.
    size : tuple of int
        Width and height of luma.
    siting : tuple of float
        Where the first sample lies, in luma pixels: column and row.
    """
    factors = [_factor(full, part) for full, part in zip(size, plane.shape[::-1], strict=True)]
    x, y = _places(size, (factors[0], factors[1]), siting)
    full = cv2.remap(plane, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
    return np.asarray(full).astype(plane.dtype, copy=False)


def _to_rgb(channels: Sequence[NDArray[np.uint16]], matrix: NDArray[np.float64]) -> NDArray[np.uint8]:
    """Return (H, W) channels of Y'CbCr as RGB, rounded to the nearest level."""
    rgb = np.empty((*channels[0].shape, 3), dtype=np.uint8)
    for start in range(0, len(rgb), _ROWS_AT_ONCE):
        rows = slice(start, start + _ROWS_AT_ONCE)
        # OpenCV multiplies bytes in fixed point, which rounds 2 to 4 % of them to the wrong level; wider integers in
        # floating point.
        wide = cv2.transform(cv2.merge([channel[rows] for channel in channels]), matrix)
        cv2.convertScaleAbs(wide, rgb[rows])
    return rgb


def _factor(full: int, part: int) -> int:
    return next((factor for factor in (1, 2) if -(-full // factor) == part), 4)


@lru_cache(maxsize=8)  # a map of 4K takes 66 MB
def _places(
    size: tuple[int, int], factors: tuple[int, int], siting: tuple[float, float]
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    along = [(np.arange(size[axis], dtype=np.float32) - siting[axis]) / factors[axis] for axis in (0, 1)]
    x, y = np.meshgrid(*along)
    return x.astype(np.float32), y.astype(np.float32)


def _upsample_left(plane: Plane, width: int, height: int) -> NDArray[np.uint16]:
    """Return `_EXACT` times what `upsample_chroma` does for `LEFT_SITING`, without a map and without rounding."""
    tall = np.asarray(cv2.resize(plane.astype(np.uint16) * np.uint16(_EXACT // 2), (plane.shape[1], height)))
    right = np.concatenate([tall[:, 1:], tall[:, -1:]], axis=1)
    # Two channels side by side are the even and the odd columns; writing every second one takes twice as long.
    paired = np.asarray(cv2.merge([cv2.add(tall, tall), cv2.add(tall, right)]), dtype=np.uint16)
    return paired.reshape(height, width)


def luma_of(image: NDArray[np.uint8] | Planes) -> Plane:
    """Return the luma of an image; the green of one that is RGB already, which is most of it."""
    return image.luma if isinstance(image, Planes) else image[..., 1]
