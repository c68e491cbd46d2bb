"""The networks' files, and their run by OpenCV."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from rb2v.errors import InputError
from rb2v.io.store import sha256_of
from rb2v.models import CATALOGUE, fetched_file

MODEL_NAME = "landmarks"
"""In the catalogue of what can be fetched."""

_FETCHING = "run 'rb2v models fetch landmarks'"


class TfliteNetwork:
    """A TFLite network of one square image.

    The file has to be the one that the catalogue names: another one could give wrong points without an error.

    Parameters
    ----------
    file : str
        Its name in the cache.
    side : int
        Side of its input, in px.
    low : float
        What a black pixel is; a white one is 1.

    Raises
    ------
    InputError
        If the file is not here, or is another one.
    """

    def __init__(self, file: str, side: int, low: float = 0.0) -> None:
        (packaged,) = (one for one in CATALOGUE[MODEL_NAME].files if one.save_as == file)
        path = fetched_file(MODEL_NAME, file)
        if not path.is_file():
            raise InputError(path, "the weights of the landmark networks are not here", expected=_FETCHING)
        if sha256_of(path) != packaged.sha256:
            raise InputError(path, "is damaged, or of another network", expected=f"{_FETCHING} to bring it again")
        self.side = side
        self._low = low
        # OpenCV's newer engine gives one of several outputs only (5.0.0).
        self._network = cv2.dnn.readNetFromTFLite(str(path), cv2.dnn.ENGINE_CLASSIC)
        # In the order of their names, which differ between versions of a network: Identity, Identity_1, ...
        self._names = sorted(self._network.getUnconnectedOutLayersNames())

    def __call__(self, image: NDArray[np.uint8], sizes: Sequence[int]) -> list[NDArray[np.float32]]:
        """Run the network.

        Parameters
        ----------
        image : (side, side, 3) ndarray of uint8
            RGB.
        sizes : sequence of int
            Numbers in the outputs to return; of several with as many numbers the first by name.

        Returns
        -------
        list of (n,) ndarray of float32
            One for each of ``sizes``.
        """
        scale = (1.0 - self._low) / 255
        values = image.transpose(2, 0, 1)[None].astype(np.float32) * np.float32(scale) + np.float32(self._low)
        self._network.setInput(values)
        by_size: dict[int, NDArray[np.float32]] = {}
        for output in self._network.forward(self._names):
            by_size.setdefault(output.size, np.array(output, dtype=np.float32).ravel())
        return [by_size[size] for size in sizes]
