"""The screen's color as a take's matting method knows it, and the plain key that mattes are held beside."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from rb2v.artifacts import CameraResponse
from rb2v.core.color import encode, to_linear
from rb2v.errors import Rb2vError
from rb2v.matting import FittedMatting
from rb2v.matting.chroma import ChromaKey
from rb2v.matting.screen import estimate_screen

_SCREEN_SHARE = 0.5  # of a cell of the screen, from which on it shows the screen's color


def find_screen(
    matting: FittedMatting, plate: NDArray[np.uint8] | None, response: CameraResponse
) -> NDArray[np.uint8] | None:
    """Return a screen's median color.

    Parameters
    ----------
    matting : FittedMatting
        What has learnt the take; of a chroma key its own screen counts.
    plate : (H, W, 3) ndarray of uint8, optional
        The take's clean plate, which counts for other matting methods.
    response : {"linear", "srgb"} or float
        The camera response that is coded in the plate, and in what is returned.

    Returns
    -------
    (3,) ndarray of uint8, or None
        RGB, coded; None where no screen is seen.
    """
    if isinstance(matting, ChromaKey):
        screen = matting.screen
    elif plate is None:
        return None
    else:
        plate_linear = to_linear(plate, response)
        try:
            screen = estimate_screen([plate_linear], plate_linear)
        except Rb2vError:
            return None
    is_screen = screen.screen_share > _SCREEN_SHARE
    if not is_screen.any():
        return None
    color_linear = np.median(screen.grid_linear[is_screen], axis=0).astype(np.float32)
    return np.asarray(encode(color_linear.reshape(1, 1, 3), response).reshape(3), dtype=np.uint8)


class PlainKey:
    """Take for foreground what has less than half of the screen's greenness: green less the greater of red and blue.

    Parameters
    ----------
    screen_rgb : (3,) ndarray of uint8, or None
        The screen's color, coded; without one everything is foreground.
    """

    def __init__(self, screen_rgb: NDArray[np.uint8] | None) -> None:
        self._limit = np.inf if screen_rgb is None else float(_greenness(screen_rgb)) / 2

    def __call__(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the (H, W) alpha, 0 or 1, of an (H, W, 3) RGB image."""
        return (_greenness(image) < self._limit).astype(np.float32)


def _greenness(image: NDArray[np.uint8]) -> NDArray[np.int16]:
    red, green, blue = np.moveaxis(image.astype(np.int16), -1, 0)
    return np.asarray(green - np.maximum(red, blue), dtype=np.int16)
