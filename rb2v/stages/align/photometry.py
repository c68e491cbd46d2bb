"""Color maps and samples: a frame's window at full size, in the blurry camera's colors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from rb2v.artifacts import Calibration, Rig
from rb2v.core.color import (
    Response,
    apply_color_map,
    encode,
    fit_color_map,
    fit_color_map_robustly,
    to_linear,
)
from rb2v.core.metrics import psnr
from rb2v.io.aligned import AlignedSample
from rb2v.stages.align.config import AlignConfig
from rb2v.stages.align.search import CLIPPED_LINEAR

ColorMap = NDArray[np.float64]

MAX_UNEVENNESS = 0.03
"""Difference of light between the cameras from place to place that is said: the shards would show it as a border."""

_N_CELLS = 5  # across and down; a splitter's share changes slowly from border to border
_CELL_STRIDE = 8  # pixels, of which one counts: means of thousands are asked for
_DARK = 0.02  # linear light that is added before ratios are taken: noise and flare of dark places are not gain
_FIT_STRIDE = 3  # of rows and columns: a ninth of the pixels, of which neighbors tell the same


@dataclass(frozen=True, eq=False)
class LinearColorPairs:
    """Corresponding colors of a window's synthetic blur and a blurry frame, at some of the pixels."""

    source: NDArray[np.float32]
    target: NDArray[np.float32]


def known_color_map(calibration: Calibration, rig: Rig, response: Response) -> ColorMap:
    """Return the checker's map for what is averaged: light under a response, or coded values.

    Parameters
    ----------
    calibration : Calibration
        The checker's maps, if there are any.
    rig : Rig
        Its response is the one that older calibrations undid.
    response : {"linear", "srgb"} or float
        The response that is undone; ``"linear"`` averages coded values.

    Returns
    -------
    (3, 4) ndarray of float64
        The identity where no map was measured in this light.
    """
    undone = rig.response if calibration.color_response is None else calibration.color_response
    if calibration.color is not None and response == undone:
        return calibration.color
    if calibration.color_coded is not None and response == "linear":
        return calibration.color_coded
    return np.eye(3, 4)


class CellLight:
    """Mean light of both cameras in cells of the picture, over frames."""

    def __init__(self) -> None:
        self._sums = np.zeros((2, _N_CELLS, _N_CELLS, 3))
        self._n = 0

    def add(self, light: NDArray[np.float32]) -> None:
        """Add a frame's, as `Photometry.make_sample` returns it."""
        self._sums += light
        self._n += 1

    def unevenness(self) -> float:
        """Return the largest relative difference between the cameras' light in a cell and color; 0 without a frame."""
        sharp, blurry = self._sums / max(self._n, 1) + _DARK
        return float(np.abs(sharp / blurry - 1).max())


class Photometry:
    """How a take's colors are mapped.

    Parameters
    ----------
    config : AlignConfig
        How maps are fitted.
    response : {"linear", "srgb"} or float
        The response that was undone.
    fallback : (3, 4) ndarray
        The map where a frame says nothing of its colors.
    """

    def __init__(self, config: AlignConfig, response: Response, fallback: ColorMap) -> None:
        self._config, self._response, self.fallback = config, response, fallback

    def pairs(self, blur: NDArray[np.float32], image: NDArray[np.uint8]) -> LinearColorPairs:
        """Return the colors that a map is fitted to: all, or where fits are robust those that are not clipped."""
        stride = _FIT_STRIDE if self._config.color_fit == "robust" else 1
        source = blur[::stride, ::stride].reshape(-1, 3)
        target = to_linear(np.ascontiguousarray(image[::stride, ::stride]), self._response).reshape(-1, 3)
        if self._config.color_fit == "robust":
            kept = np.maximum(source, target).max(axis=1) < CLIPPED_LINEAR
            source, target = source[kept], target[kept]
        return LinearColorPairs(source, target)

    def fit(self, pairs: Sequence[LinearColorPairs]) -> ColorMap:
        """Return the map that fits some frames' colors together."""
        source = np.concatenate([one.source for one in pairs])
        target = np.concatenate([one.target for one in pairs])
        if not len(source):
            return self.fallback
        if self._config.color_fit == "robust":
            return fit_color_map_robustly(source, target, self.fallback)
        try:
            return fit_color_map(source, target)
        except ValueError:
            return self.fallback

    def make_sample(
        self,
        blur: NDArray[np.float32],
        sequence: Sequence[NDArray[np.float32]],
        image: NDArray[np.uint8],
        color: ColorMap,
    ) -> tuple[float, NDArray[np.float32], AlignedSample]:
        """Return the PSNR of the color-mapped synthetic blur in dB, both cameras' light in cells, and the sample."""
        mapped = apply_color_map(color, blur)
        synthetic = encode(mapped, self._response)
        sharp = np.stack([encode(apply_color_map(color, frame), self._response) for frame in sequence])
        some = slice(_CELL_STRIDE // 2, None, _CELL_STRIDE)
        recorded = to_linear(np.ascontiguousarray(image[some, some]), self._response)
        cells = [
            cv2.resize(light, (_N_CELLS,) * 2, interpolation=cv2.INTER_AREA) for light in (mapped[some, some], recorded)
        ]
        return psnr(synthetic, image), np.stack(cells).astype(np.float32), AlignedSample(image, sharp)
