"""Synthetic blur: which blur-track frames a window averages, and their mean in linear light."""

from __future__ import annotations

import math
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

STORED_LEVELS = 65535.0
"""Level of 1.0 in frames that are stored as 16-bit integers."""


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


def step_weights(frames_per_sequence: int, blur_factor: int = 3) -> NDArray[np.float64]:
    """Return the weights of a sequence's frames in the mean over its blur track, between whose frames all is linear.

    Parameters
    ----------
    frames_per_sequence : int
        Sharp frames of a sequence (N + 1).
    blur_factor : int
        Blur-track steps per fine-track step.

    Examples
    --------
    >>> (19 * step_weights(7)).round(9).tolist()
    [2.0, 3.0, 3.0, 3.0, 3.0, 3.0, 2.0]
    """
    weights = np.full(frames_per_sequence, float(blur_factor))
    if frames_per_sequence > 1:
        weights[[0, -1]] = (blur_factor + 1) / 2
    return np.asarray(weights / weights.sum(), dtype=np.float64)


class Frames(Protocol):
    """Stored frames that slices can be taken of: an array, or a file of them."""

    def __len__(self) -> int: ...

    def __getitem__(self, frames: slice, /) -> NDArray[np.uint16]:
        """Return consecutive (k, n, 3) frames, in which 0..65535 stands for 0..1."""
        ...


class Windows(Protocol):
    """The synthetic blur of every window of a track, made block by block as slices are taken."""

    def __len__(self) -> int: ...

    def __getitem__(self, positions: slice, /) -> NDArray[np.float64]:
        """Return the (P, n, 3) means of consecutive windows."""
        ...


class StepWindows:
    """Windows over a blur track whose every frame is stored.

    A running sum starts anew with every block.

    Parameters
    ----------
    steps : Frames
        Blur-track frames, the first at fine-track index 0.
    frames_per_sequence : int
        Sharp frames of a sequence (N + 1).
    blur_factor : int
        Blur-track steps per fine-track step.
    """

    def __init__(self, steps: Frames, frames_per_sequence: int, blur_factor: int) -> None:
        self._steps = steps
        self._n_samples = (frames_per_sequence - 1) * blur_factor + 1
        self._blur_factor = blur_factor

    def __len__(self) -> int:
        return max((len(self._steps) - self._n_samples) // self._blur_factor + 1, 0)

    def __getitem__(self, positions: slice) -> NDArray[np.float64]:
        start, stop, _ = positions.indices(len(self))
        n, step = self._n_samples, self._blur_factor
        steps = self._steps[start * step : (stop - 1) * step + n]
        means = np.empty((stop - start, *steps.shape[1:]), dtype=np.float64)
        # Integers, so that the running sum is exact.
        total = steps[:n].sum(axis=0, dtype=np.uint32)
        for index in range(stop - start):
            means[index] = total
            for left, come in zip(steps[index * step :][:step], steps[index * step + n :][:step], strict=False):
                total -= left
                total += come
        means /= n * STORED_LEVELS
        return means


class CubicWindows:
    """Windows over an original track, between whose frames every pixel is interpolated by a cubic in time.

    On frames that are so small that little moves by more than a pixel from one to the next, this explains blur better
    than motion compensation does, and needs no frame between: a window is a weighted mean of original frames.

    Parameters
    ----------
    frames : Frames
        Original frames.
    upsampling : int
        Fine-track frames per original frame.
    frames_per_sequence : int
        Sharp frames of a sequence (N + 1).
    blur_factor : int
        Blur-track steps per fine-track step.
    """

    def __init__(self, frames: Frames, upsampling: int, frames_per_sequence: int, blur_factor: int) -> None:
        self._frames = frames
        self._upsampling = upsampling
        self._sequence = frames_per_sequence
        self._blur_factor = blur_factor

    def __len__(self) -> int:
        return max((len(self._frames) - 1) * self._upsampling + 1 - self._sequence + 1, 0)

    def __getitem__(self, positions: slice) -> NDArray[np.float64]:
        start, stop, _ = positions.indices(len(self))
        per_frame = self._upsampling * self._blur_factor
        windows = [window_steps(position, self._sequence, self._blur_factor) for position in range(start, stop)]
        # One frame more to either side, which the cubics at the ends need.
        first = max(windows[0].start // per_frame - 1, 0)
        last = min(-(-windows[-1].stop // per_frame) + 1, len(self._frames) - 1)
        places = np.arange(windows[0].start, windows[-1].stop) / per_frame - first
        of_steps = cubic_weights(places, last - first + 1)
        weights = np.stack([of_steps[steps.start - windows[0].start :][: len(steps)].mean(axis=0) for steps in windows])
        frames = self._frames[first : last + 1]
        means = weights @ (frames.reshape(len(frames), -1) / STORED_LEVELS)
        return np.asarray(means.reshape(-1, *frames.shape[1:]), dtype=np.float64)

    def between(self, positions: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the (P, n, 3) means of windows at positions from 0 to ``len - 1`` that need not be whole."""
        per_frame = self._upsampling * self._blur_factor
        steps = np.arange((self._sequence - 1) * self._blur_factor + 1)
        places = (np.asarray(positions)[:, None] * self._blur_factor + steps) / per_frame
        # One frame more to either side, which the cubics at the ends need.
        first = max(math.floor(places.min()) - 1, 0)
        last = min(math.ceil(places.max()) + 1, len(self._frames) - 1)
        of_steps = cubic_weights(places.ravel() - first, last - first + 1)
        weights = of_steps.reshape(*places.shape, -1).mean(axis=1)
        frames = self._frames[first : last + 1]
        means = weights @ (frames.reshape(len(frames), -1) / STORED_LEVELS)
        return np.asarray(means.reshape(-1, *frames.shape[1:]), dtype=np.float64)


def cubic_weights(places: NDArray[np.floating], n_frames: int) -> NDArray[np.float64]:
    """Return the weights of frames in what lies at places between them, by Catmull-Rom's cubics.

    Parameters
    ----------
    places : (M,) ndarray of float
        In frames, from 0 to ``n_frames - 1``.
    n_frames : int
        Frames there are; at the ends the last one stands in for those beyond.

    Returns
    -------
    (M, n_frames) ndarray of float64
        Rows that sum to 1; at whole places the frame itself.

    References
    ----------
    .. [1] Keys, "Cubic convolution interpolation for digital image processing", IEEE TASSP 29 (1981), a = -1/2.

    Examples
    --------
    >>> cubic_weights(np.array([1.0, 1.5]), 4).tolist()
    [[0.0, 1.0, 0.0, 0.0], [-0.0625, 0.5625, 0.5625, -0.0625]]
    """
    before = np.clip(np.floor(places), 0, max(n_frames - 2, 0)).astype(int)
    t = np.asarray(places, dtype=np.float64) - before
    parts = (
        0.5 * (-t + 2 * t**2 - t**3),
        0.5 * (2 - 5 * t**2 + 3 * t**3),
        0.5 * (t + 4 * t**2 - 3 * t**3),
        0.5 * (t**3 - t**2),
    )
    weights = np.zeros((len(t), n_frames), dtype=np.float64)
    rows = np.arange(len(t))
    for offset, part in enumerate(parts, start=-1):
        np.add.at(weights, (rows, np.clip(before + offset, 0, n_frames - 1)), part)
    return weights
