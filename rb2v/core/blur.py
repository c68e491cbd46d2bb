"""Synthetic blur: which blur-track frames a window averages, and their mean in linear light."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray


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


def mean_frame(frames: Sequence[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Return the mean of frames in linear light.

    Parameters
    ----------
    frames : sequence of (H, W, 3) ndarray of float32
        At least one frame.

    Returns
    -------
    (H, W, 3) ndarray of float32
    """
    total = np.zeros(frames[0].shape, dtype=np.float32)
    for frame in frames:
        cv2.accumulate(frame, total)
    return np.asarray(total / np.float32(len(frames)), dtype=np.float32)


def window_means(
    blur_track: Iterable[NDArray[np.float32]], frames_per_sequence: int, blur_factor: int
) -> Iterator[NDArray[np.float32]]:
    """Yield the synthetic blur of every window of a blur track, position after position.

    Only one window's frames are held at a time; no running difference is kept, so that rounding does not build up.

    Parameters
    ----------
    blur_track : iterable of (H, W, 3) ndarray of float32
        Frames in linear light, the first at fine-track index 0.
    frames_per_sequence : int
        Sharp frames of a sequence (N + 1).
    blur_factor : int
        Blur-track steps per fine-track step.

    Yields
    ------
    (H, W, 3) ndarray of float32
        ``y_fake(p)`` for p = 0, 1, ...
    """
    n_steps = frames_per_sequence - 1
    n_samples = n_steps * blur_factor + 1
    step_sums: deque[NDArray[np.float32]] = deque(maxlen=n_steps)
    pending: list[NDArray[np.float32]] = []
    for frame in blur_track:
        if len(pending) == blur_factor:
            step_sums.append(np.sum(pending, axis=0, dtype=np.float32))
            pending.clear()
        pending.append(frame)
        if len(pending) == 1 and len(step_sums) == n_steps:
            yield np.asarray((np.sum(step_sums, axis=0) + frame) / np.float32(n_samples), dtype=np.float32)
