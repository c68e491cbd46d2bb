"""Windows of a sequence that choose a direction each, from single values to the whole frame."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from rb2v.configuration import MAX_APART_PX


@dataclass(frozen=True)
class Windows:
    """Parts of a sequence of which each chooses its direction; see `rb2v.blur2vid.losses.order_invariant`."""

    side_px: int | None = 1
    """Side of square windows in pixels, up to 8 or even; 1: every single value; None: the whole frame."""
    shared: bool = True
    """Whether all pairs of a window choose together; single values do not."""
    shift_px: tuple[int, int] = (0, 0)
    """Rows and columns by which the grid is moved, less than `stride_px`."""

    @property
    def stride_px(self) -> int:
        """Pixels from one window to the next: wide ones overlap by half, so that neighbors agree."""
        side = self.side_px or 1
        return side if side <= MAX_APART_PX else side // 2

    def shifted(self, seed: int, step: int) -> Windows:
        """Return the same windows on a grid that is moved at random; depends on nothing but its arguments."""
        if self.side_px is None or self.side_px == 1:
            return self
        row, column = np.random.default_rng((seed, step)).integers(0, self.stride_px, 2).tolist()
        return replace(self, shift_px=(row, column))

    def least(self, ahead: Tensor, back: Tensor) -> Tensor:
        """Return the distances of the direction that each window chooses.

        Parameters
        ----------
        ahead, back : (B, P, 3, H, W) tensor of float32
            Distances of the pairs of sequences in either direction, value by value.

        Returns
        -------
        (B,) tensor of float32
            Sum over the pairs, mean over pixels and colors.
        """
        if self.side_px == 1:
            return torch.minimum(ahead, back).mean(dim=(2, 3, 4)).sum(dim=1)
        both = torch.stack([ahead, back]).mean(dim=3)
        if self.shared:
            both = both.sum(dim=2, keepdim=True)
        means = both.mean(dim=(3, 4), keepdim=True) if self.side_px is None else self._means(both)
        return means.amin(dim=0).sum(dim=(1, 2, 3))

    def _means(self, maps: Tensor) -> Tensor:
        """Return what the windows of maps, (2, B, p, H, W), add to the maps' means; those at an edge are cut there."""
        side, stride = self.side_px or 1, self.stride_px
        pads = []
        for length, shift in zip(maps.shape[-2:], self.shift_px, strict=True):
            before = side - stride + shift
            last = (length - 1 + before) // stride * stride  # where the last window begins
            pads.append((before, last + side - before - length))
        (top, bottom), (left, right) = pads
        padded = F.pad(maps.flatten(0, 2)[:, None], (left, right, top, bottom))
        sums = F.avg_pool2d(padded, side, stride, divisor_override=1)
        # Every pixel lies in as many windows.
        n_covered = (side // stride) ** 2 * maps.shape[-1] * maps.shape[-2]
        return sums.reshape(*maps.shape[:3], *sums.shape[-2:]) / n_covered


VALUES, WHOLE = Windows(1), Windows(None)
"""The ends of the family: every single value chooses a direction, and the whole sequence does."""
