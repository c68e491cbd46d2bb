"""Flips, quarter turns and reversal of samples: frames, guidance and order together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rb2v.core import motion_classes

_STREAM = 3  # of the random numbers, beside those of order and crops
_N_TURNS = 4  # quarter turns that differ


@dataclass(frozen=True)
class Transform:
    """A change that leaves a sample as likely as it was: the blur stays the mean of the frames.

    The flip comes first, then the turns; reversal commutes with both.
    """

    flipped: bool = False
    """Mirror left to right."""
    quarters: int = 0
    """Quarter turns counterclockwise, 0 to 3."""
    reversed: bool = False
    """Show the sharp frames backward."""

    @property
    def is_mirrored_or_turned(self) -> bool:
        """Whether the image itself changes, and an order network's label no longer holds."""
        return self.flipped or self.quarters % _N_TURNS != 0

    def images(self, planes: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return images, (..., H, W), flipped and turned."""
        flipped = planes[..., ::-1] if self.flipped else planes
        return np.rot90(flipped, self.quarters, axes=(-2, -1))

    def sequence(self, planes: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return a sequence of images, (T, ..., H, W), flipped, turned and reversed."""
        changed = self.images(planes)
        return changed[::-1] if self.reversed else changed

    def guidance(self, classes: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the classes, (H, W), of what `sequence` returns."""
        flipped = motion_classes.flip_x(classes) if self.flipped else classes
        turned = motion_classes.turn(flipped, self.quarters)
        return motion_classes.reverse(turned) if self.reversed else turned

    def order(self, order: int) -> int:
        """Return the order of what `sequence` returns: that of a mirrored or turned sequence is not known."""
        if self.is_mirrored_or_turned:
            return 0
        return -order if self.reversed else order


def draw_transform(seed: int, epoch: int, index: int, *, is_square: bool) -> Transform:
    """Draw one of the 16 changes; depends on nothing but the arguments.

    Parameters
    ----------
    seed, epoch, index : int
        What it depends on; the index is the sample's.
    is_square : bool
        Whether quarter turns keep the size; half turns alone are drawn otherwise.
    """
    rng = np.random.default_rng((_STREAM, seed, epoch, index))
    flipped, quarters, is_reversed = (int(rng.integers(n)) for n in (2, _N_TURNS, 2))
    return Transform(bool(flipped), quarters if is_square else quarters // 2 * 2, bool(is_reversed))


_VECTORS = torch.from_numpy(motion_classes.VECTORS.astype(np.float32))


def to_vectors(classes: Tensor) -> Tensor:
    """Return the vectors, (B, 2, H, W) tensor of float32, of classes, (B, H, W) tensor of uint8 or int64."""
    return _VECTORS.to(classes.device)[classes.long()].permute(0, 3, 1, 2).contiguous()


def to_classes(vectors: Tensor) -> Tensor:
    """Return the classes, (B, H, W) tensor of uint8, of vectors, (B, 2, H, W), whose parts are -1, 0 and 1."""
    codes = torch.from_numpy(_CLASS_OF_CODE).to(vectors.device)
    x, y = vectors.round().long().unbind(1)
    return codes[3 * (y + 1) + x + 1]


_CLASS_OF_CODE: NDArray[np.uint8] = np.array([2, 0, 1, 0, 0, 0, 3, 0, 4], dtype=np.uint8)
"""Class of (x, y) at 3 (y + 1) + x + 1; vectors along an axis, which there are none of, are static."""
