"""A simulated camera: exposure in linear light, the sensor's colours and noise, the response, the housing's border."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from rb2v.core.color import Response, encode
from rb2v.core.homography import Homography
from rb2v.simulator.scene import Scene

_BANK_SIZE = 1 << 22


class NoiseBank:
    """Standard normal noise for many pictures, drawn once and read from a random place each time.

    Parameters
    ----------
    rng : numpy.random.Generator
        Source of the noise and of the places.
    """

    def __init__(self, rng: np.random.Generator) -> None:
        self._rng = rng
        self._samples = rng.standard_normal(2 * _BANK_SIZE, dtype=np.float32)

    def draw(self, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """Return standard normal noise of a shape, as float32."""
        n = int(np.prod(shape))
        if n >= _BANK_SIZE:
            return self._rng.standard_normal(shape, dtype=np.float32)
        start = int(self._rng.integers(_BANK_SIZE))
        return self._samples[start : start + n].reshape(shape)


@dataclass(frozen=True, eq=False)
class SimulatedCamera:
    """One of the two cameras behind the beam splitter."""

    size: tuple[int, int]
    """Width and height in pixels."""
    scene_to_view: Homography
    """From the scene's plane to this camera's pixels."""
    mixing: NDArray[np.float64]
    """(3, 3) from the scene's colours to this sensor's, in linear light."""
    response: Response
    exposure_seconds: float
    n_instants: int
    """Instants over which the exposure is integrated."""
    shot_noise: float
    """Variance of the photon noise per unit of light."""
    read_noise: float
    """Standard deviation of the read noise, in linear light."""
    border: tuple[float, float, float, float]
    """Black border of the housing as shares of the picture: left, top, right, bottom."""

    def expose(self, scene: Scene, center_seconds: float) -> NDArray[np.float32]:
        """Return the noise-free (H, W, 3) linear light of an exposure about an instant of the scene's time."""
        instants = scene.instants(center_seconds, self.exposure_seconds, self.n_instants)
        total = np.zeros((self.size[1], self.size[0], 3), dtype=np.float32)
        for instant in instants:
            cv2.accumulate(scene.render(float(instant), self.scene_to_view, self.size), total)
        total /= np.float32(len(instants))
        return np.asarray(cv2.transform(total, self.mixing.astype(np.float32)), dtype=np.float32)

    def expose_alpha(self, scene: Scene, center_seconds: float) -> NDArray[np.float32] | None:
        """Return the (H, W) foreground opacity that an exposure sees; None where there is no green screen."""
        instants = scene.instants(center_seconds, self.exposure_seconds, self.n_instants)
        total = np.zeros((self.size[1], self.size[0]), dtype=np.float32)
        for instant in instants:
            opacity = scene.alpha(float(instant), self.scene_to_view, self.size)
            if opacity is None:
                return None
            total += opacity
        return total / np.float32(len(instants))

    def develop(self, linear: NDArray[np.float32], noise: NoiseBank | None) -> NDArray[np.uint8]:
        """Return the 8-bit picture of an exposure: border, noise, response; no noise where ``noise`` is None."""
        framed = linear * self.aperture[..., None]
        if noise is not None:
            deviation = np.sqrt(self.shot_noise * np.maximum(framed, 0) + np.float32(self.read_noise) ** 2)
            framed += deviation * noise.draw(framed.shape)
        return encode(framed, self.response)

    @cached_property
    def aperture(self) -> NDArray[np.float32]:
        """The (H, W) share of light that the housing lets through."""
        width, height = self.size
        left, top, right, bottom = self.border
        softness_px = 3.0
        x, y = np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)
        across = _ramp(x - left * width, softness_px) * _ramp((1 - right) * width - 1 - x, softness_px)
        down = _ramp(y - top * height, softness_px) * _ramp((1 - bottom) * height - 1 - y, softness_px)
        return np.asarray(down[:, None] * across[None, :], dtype=np.float32)


def _ramp(distance_px: NDArray[np.float32], softness_px: float) -> NDArray[np.float32]:
    return np.asarray(np.clip(distance_px / softness_px + 0.5, 0, 1), dtype=np.float32)
