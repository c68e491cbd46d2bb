"""Area resizing of frames, as every training and evaluation at a smaller size does it."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray


def resize_frames(frames: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Shrink frames so that their shorter side is ``size`` pixels, by the mean over each pixel's area.

    Parameters
    ----------
    frames : (T, H, W, 3) ndarray of uint8
        Frames.
    size : int
        Shorter side in pixels; frames that are no larger are returned as they are.

    Returns
    -------
    (T, h, w, 3) ndarray of uint8
        The same aspect, to a pixel.
    """
    target = shrunk_size(frames.shape[1], frames.shape[2], size)
    if target is None:
        return frames
    return np.stack([cv2.resize(frame, target[::-1], interpolation=cv2.INTER_AREA) for frame in frames]).astype(
        np.uint8
    )


def shrunk_size(height: int, width: int, size: int | None) -> tuple[int, int] | None:
    """Return height and width of frames after `resize_frames`; None where they stay as they are.

    Examples
    --------
    >>> shrunk_size(448, 896, 64)
    (64, 128)
    >>> shrunk_size(48, 64, 64) is None
    True
    """
    if size is None or size >= min(height, width):
        return None
    scale = size / min(height, width)
    return round(height * scale), round(width * scale)
