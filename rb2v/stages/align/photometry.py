"""Color maps and samples: a frame's window at full size, in the blurry camera's colors."""

from __future__ import annotations

import math
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
    luminance,
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
MAX_TONE_DIFFERENCE = 0.05
"""Difference of light between the cameras at a brightness that is said; equal responses leave 1 to 2 %."""

_N_BINS = 8  # of brightness, the root of light, in which tone curves are about even
_MIN_BIN_SHARE = 0.02  # of the pixels; fewer are highlights of single things
_LIGHT_STRIDE = 3  # pixels, of which one counts where a fit takes more: means of thousands are asked for
_DARK = 0.02  # linear light that is added before ratios are taken: noise and flare of dark places are not gain
_FIT_STRIDE = 3  # of rows and columns: a ninth of the pixels, of which neighbors tell the same
_MIN_FIT_PIXELS = 10_000  # that are left; of fewer, maps change from frame to frame, and with them mattes


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


@dataclass(frozen=True, eq=False)
class FrameLight:
    """Light of both cameras in a frame, as the sharp one is mapped and as the blurry one recorded it."""

    cells: NDArray[np.float64]
    """(2, n, n, 3) means over cells of the picture."""
    by_brightness: NDArray[np.float64]
    """(3, m) sums of both over pixels of a brightness, and the number of those pixels."""


class TakeLight:
    """Light of both cameras in a take's accepted frames, by place and by brightness."""

    def __init__(self) -> None:
        self._cells = np.zeros((2, _N_CELLS, _N_CELLS, 3))
        self._by_brightness = np.zeros((3, _N_BINS))
        self._n = 0

    def add(self, light: FrameLight) -> None:
        """Add a frame's."""
        self._cells += light.cells
        self._by_brightness += light.by_brightness
        self._n += 1

    def add_all(self, light: TakeLight) -> None:
        """Add the frames of another part of the take."""
        self._cells += light._cells
        self._by_brightness += light._by_brightness
        self._n += light._n

    def unevenness(self) -> float:
        """Return the largest relative difference between the cameras in a cell and color; 0 without a frame."""
        sharp, blurry = self._cells / max(self._n, 1) + _DARK
        return float(np.abs(sharp / blurry - 1).max())

    def tone_difference(self) -> float:
        """Return the largest relative difference between the cameras at a brightness; 0 without a frame."""
        sharp, blurry, n_pixels = self._by_brightness
        told = n_pixels > _MIN_BIN_SHARE * max(n_pixels.sum(), 1)
        if not told.any():
            return 0.0
        means = np.stack([sharp, blurry])[:, told] / n_pixels[told] + _DARK
        return float(np.abs(means[0] / means[1] - 1).max())


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
    size : tuple of int
        Width and height of the frames.
    """

    def __init__(self, config: AlignConfig, response: Response, fallback: ColorMap, size: tuple[int, int]) -> None:
        self._config, self._response, self.fallback = config, response, fallback
        affordable = max(math.isqrt(size[0] * size[1] // _MIN_FIT_PIXELS), 1)
        self.stride = min(affordable, _FIT_STRIDE) if config.color_fit == "robust" else 1
        """Rows and columns of a frame of which one counts, from the first on."""

    def pairs(self, blur: NDArray[np.float32], image: NDArray[np.uint8]) -> LinearColorPairs:
        """Return the colors that a map is fitted to: all, or where fits are robust those that are not clipped.

        Parameters
        ----------
        blur : (h, w, 3) ndarray of float32
            Synthetic blur in the rows and columns that count.
        image : (H, W, 3) ndarray of uint8
            The blurry frame.
        """
        source, target = blur.reshape(-1, 3), to_linear(self._counted(image), self._response).reshape(-1, 3)
        if self._config.color_fit == "robust":
            red, green, blue = np.maximum(source, target).T
            kept = np.maximum(np.maximum(red, green), blue) < CLIPPED_LINEAR
            if not kept.all():
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
    ) -> tuple[float, FrameLight, AlignedSample]:
        """Return the PSNR of the color-mapped synthetic blur in dB, both cameras' light, and the sample.

        Parameters
        ----------
        blur : (h, w, 3) ndarray of float32
            In the rows and columns that count.
        sequence : sequence of (H, W, 3) ndarray of float32
            The sharp frames.
        image : (H, W, 3) ndarray of uint8
            The blurry frame.
        color : (3, 4) ndarray
            The color map.
        """
        mapped, target = apply_color_map(color, blur), self._counted(image)
        sharp = np.stack([encode(apply_color_map(color, frame), self._response) for frame in sequence])
        light = self._compare_light(mapped, target)
        return psnr(encode(mapped, self._response), target), light, AlignedSample(image, sharp)

    def _counted(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        return np.ascontiguousarray(image[:: self.stride, :: self.stride])

    def _compare_light(self, mapped: NDArray[np.float32], image: NDArray[np.uint8]) -> FrameLight:
        step = _LIGHT_STRIDE // self.stride
        some = slice(None, None, step)
        lights = mapped[some, some], to_linear(np.ascontiguousarray(image[some, some]), self._response)
        cells = [cv2.resize(light, (_N_CELLS, _N_CELLS), interpolation=cv2.INTER_AREA) for light in lights]
        sharp, blurry = (luminance(light).ravel() for light in lights)
        # By the mean of both, so that the noise of neither sorts its pixels.
        brightness = np.sqrt(np.clip(0.5 * (sharp + blurry), 0, 1))
        bins = np.minimum((brightness * _N_BINS).astype(np.intp), _N_BINS - 1)
        sums = [np.bincount(bins, weights, _N_BINS) for weights in (sharp, blurry, None)]
        return FrameLight(np.stack(cells).astype(np.float64), np.stack(sums).astype(np.float64))
