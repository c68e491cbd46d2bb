"""Synthetic blur: which blur-track frames a window averages, and their mean in linear light."""

from __future__ import annotations

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

STEP_LEVELS = 65535.0
"""Level of 1.0 in blur-track frames that are stored as 16-bit integers."""


def window_steps(position: int, frames_per_sequence: int, blur_factor: int) -> range:
    """Return the blur-track indices that the window at a fine-track position averages.

    Parameters
    ----------
    position : int
        Fine-track index of ``x_0``.
    frames_per_sequence : int
        Sharp frames of a sequence (N + 1).
    blur_factor : int
        Blur-track steps per fine-track step.

    References
    ----------
    .. [1] Pham et al., "HyperCUT", CVPR 2023, section 4.2 and eq. (9).

    Examples
    --------
    >>> window_steps(10, 7, 3)
    range(30, 49)
    """
    first = position * blur_factor
    return range(first, first + (frames_per_sequence - 1) * blur_factor + 1)


class Steps(Protocol):
    """Blur-track frames that slices can be taken of: an array, or a file of them."""

    def __len__(self) -> int: ...

    def __getitem__(self, steps: slice, /) -> NDArray[np.uint16]:
        """Return consecutive (k, n, 3) frames."""
        ...


class WindowMeans:
    """The synthetic blur of every window over stored blur-track frames, made block by block.

    Indexing with a slice of positions gives their (P, n, 3) means, from running sums in double precision that start
    anew with every block.

    Parameters
    ----------
    steps : Steps
        (K, n, 3) blur-track frames of uint16, the first at fine-track index 0; 0..65535 stands for 0..1.
    frames_per_sequence : int
        Sharp frames of a sequence (N + 1).
    blur_factor : int
        Blur-track steps per fine-track step.
    """

    def __init__(self, steps: Steps, frames_per_sequence: int, blur_factor: int) -> None:
        self._steps = steps
        self._n_samples = (frames_per_sequence - 1) * blur_factor + 1
        self._blur_factor = blur_factor

    def __len__(self) -> int:
        return max((len(self._steps) - self._n_samples) // self._blur_factor + 1, 0)

    def __getitem__(self, positions: slice) -> NDArray[np.float64]:
        start, stop, _ = positions.indices(len(self))
        first = start * self._blur_factor
        n_steps = (stop - start - 1) * self._blur_factor + self._n_samples
        steps = self._steps[first : first + n_steps]
        sums = np.empty((n_steps + 1, *steps.shape[1:]), dtype=np.float64)
        sums[0], sums[1:] = 0.0, steps
        for index in range(n_steps):  # several times faster than a cumulative sum over the first axis
            sums[index + 1] += sums[index]
        low = np.arange(stop - start) * self._blur_factor
        return np.asarray((sums[low + self._n_samples] - sums[low]) / (self._n_samples * STEP_LEVELS), dtype=np.float64)
