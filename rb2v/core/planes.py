"""Pictures as decoders give them: a plane of luma, and two of chroma at half its width and height."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Plane = NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Planes:
    """A 4:2:0 picture, chroma where H.264 has it by default: on even luma columns, halfway between two luma rows."""

    luma: Plane
    """(H, W), both even."""
    chroma: tuple[Plane, Plane]
    """Cb and Cr, (H / 2, W / 2) each."""
    to_rgb: NDArray[np.float64]
    """(3, 4) from 8-bit Y'CbCr to 8-bit R'G'B'."""

    @property
    def shape(self) -> tuple[int, int, int]:
        """Rows, columns and channels of the picture in RGB."""
        return (*self.luma.shape[:2], 3)

    def rgb(self) -> NDArray[np.uint8]:
        """Return the (H, W, 3) picture, its chroma interpolated."""
        height, width = self.luma.shape
        full = [_upsample_chroma(plane, width, height) for plane in self.chroma]
        return np.asarray(cv2.transform(cv2.merge([self.luma, *full]), self.to_rgb), dtype=np.uint8)

    def part(self, rows: slice, columns: slice) -> Planes:
        """Return a part of the picture that begins and ends at even rows and columns, without copying it."""
        coarse = tuple(slice(cut.start // 2, cut.stop // 2) for cut in (rows, columns))
        return Planes(self.luma[rows, columns], (self.chroma[0][coarse], self.chroma[1][coarse]), self.to_rgb)


def _upsample_chroma(plane: Plane, width: int, height: int) -> Plane:
    tall = np.asarray(cv2.resize(plane, (plane.shape[1], height), interpolation=cv2.INTER_LINEAR), dtype=np.uint8)
    full = np.empty((height, width), dtype=np.uint8)
    full[:, ::2] = tall
    left, right = np.ascontiguousarray(tall[:, :-1]), np.ascontiguousarray(tall[:, 1:])
    full[:, 1:-1:2] = cv2.addWeighted(left, 0.5, right, 0.5, 0.0)
    full[:, -1] = tall[:, -1]
    return full
