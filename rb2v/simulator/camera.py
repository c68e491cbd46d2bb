"""A simulated camera: exposure in linear light, the sensor's colors and noise, the response, the housing's border."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from rb2v.artifacts import Lens
from rb2v.core.color import Response, encode
from rb2v.core.homography import Homography, warp_points
from rb2v.core.lens import distort_points, undistort_points
from rb2v.simulator.scene import ClipScene, Scene, integrate

_BANK_SIZE = 1 << 22  # 32 MB of numbers; noise of larger frames is drawn anew
_ROWS_AT_ONCE = 16  # of 720 px, 140 kB, stay in the processor's cache: 3.8 ms a frame in place of 10.6
_FINENESS = 2  # the interpolation in the lens takes next to no detail away
_Drawn = TypeVar("_Drawn", NDArray[np.float32], NDArray[np.float32] | None)


class NoiseBank:
    """Standard normal noise for many images, drawn once and read from a random place each time.

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
    """(3, 3) from the scene's colors to this sensor's, in linear light."""
    response: Response
    exposure_seconds: float
    n_instants: int
    """Instants over which the exposure is integrated, at most."""
    shot_noise: float
    """Variance of the photon noise per unit of light."""
    read_noise: float
    """Standard deviation of the read noise, in linear light."""
    border: tuple[float, float, float, float]
    """Black border of the housing as shares of the image: left, top, right, bottom."""
    readout_seconds: float = 0.0
    """From the first row's center of exposure to the last row's; 0 for a global shutter."""
    sensor_height: int | None = None
    """Rows of the sensor that is read out; None for those of the view."""
    view_to_sensor: Homography | None = None
    """From this view's pixels to the sensor's that is read out, undistorted ones both; None where the view is what the
    sensor sees."""
    lens: Lens | None = None
    """None for a perfect one. The view that `scene_to_view` leads to is a pinhole camera's, before the lens."""
    sensor_lens: Lens | None = None
    """Of the camera whose sensor `view_to_sensor` leads to."""

    def expose(self, scene: Scene, center_seconds: float) -> NDArray[np.float32]:
        """Return the noise-free (H, W, 3) linear light of an exposure about an instant of the scene's time.

        Under a rolling shutter the instant is the middle row's, and each row has an exposure of its own.

        Raises
        ------
        ValueError
            If a rolling shutter is to read out a clip, which is known at whole ticks only.
        """
        total = np.zeros((self.size[1], self.size[0], 3), dtype=np.float32)
        if self.readout_seconds:
            for part in self._read_out(scene, center_seconds):
                total[part.rows] += part.weights[..., None] * self._see(partial(scene.render, part.instant), part.rows)
        else:
            instants = scene.instants(center_seconds, self.exposure_seconds, self.n_instants)
            total = self._see(partial(integrate, scene, instants))
            total /= np.float32(len(instants))
        return np.asarray(cv2.transform(total, self.mixing.astype(np.float32)), dtype=np.float32)

    def expose_foreground(self, scene: Scene, center_seconds: float) -> NDArray[np.float32] | None:
        """Return what an exposure sees of the foreground alone, noise-free and without what the screen spills on it.

        Returns
        -------
        (H, W, 4) ndarray of float32, or None
            Linear light times opacity in this sensor's colors, and opacity; None where the scene knows no foreground.

        Raises
        ------
        ValueError
            As by :meth:`expose`.
        """
        total = np.zeros((self.size[1], self.size[0], 4), dtype=np.float32)
        if self.readout_seconds:
            for part in self._read_out(scene, center_seconds):
                layer = self._see(partial(scene.foreground, part.instant), part.rows)
                if layer is None:
                    return None
                total[part.rows] += part.weights[..., None] * layer
        else:
            instants = scene.instants(center_seconds, self.exposure_seconds, self.n_instants)
            for instant in instants:
                layer = self._see(partial(scene.foreground, float(instant)))
                if layer is None:
                    return None
                cv2.accumulate(layer, total)
            total /= np.float32(len(instants))
        mixing = np.eye(4, dtype=np.float32)
        mixing[:3, :3] = self.mixing
        return np.asarray(cv2.transform(total, mixing), dtype=np.float32)

    def undistort(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return where a pinhole camera would record what this one records at (n, 2) pixels."""
        return points if self.lens is None else undistort_points(points, self.lens.matrix, self.lens.distortion)

    def distort(self, points: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return where this camera records what a pinhole camera would at (n, 2) pixels; NaN where nowhere."""
        return points if self.lens is None else distort_points(points, self.lens.matrix, self.lens.distortion)

    def _see(self, draw: Callable[[Homography, tuple[int, int]], _Drawn], rows: slice | None = None) -> _Drawn:
        """Return some rows, or all, of what something shows that can be drawn through any homography."""
        first, last = (0, self.size[1]) if rows is None else (rows.start, rows.stop)
        if self.lens is None:
            to_rows = np.array([[1, 0, 0], [0, 1, -first], [0, 0, 1]], dtype=np.float64)
            return draw(to_rows @ self.scene_to_view, (self.size[0], last - first))
        # Drawn finer than it is seen, so that the second interpolation takes next to no detail away.
        x, y = (places[first:last] for places in self._pinhole_places)
        left, top = float(np.floor(x.min())) - 1, float(np.floor(y.min())) - 1
        size = (_FINENESS * int(np.ceil(x.max()) - left + 2), _FINENESS * int(np.ceil(y.max()) - top + 2))
        offset = (_FINENESS - 1) / 2
        to_fine = np.array(
            [[_FINENESS, 0, offset - _FINENESS * left], [0, _FINENESS, offset - _FINENESS * top], [0, 0, 1]]
        )
        picture = draw(to_fine @ self.scene_to_view, size)
        if picture is None:
            return picture
        fine_x, fine_y = ((places - low) * _FINENESS + offset for places, low in ((x, left), (y, top)))
        seen = cv2.remap(picture, fine_x.astype(np.float32), fine_y.astype(np.float32), cv2.INTER_LINEAR)
        return np.asarray(seen, dtype=np.float32)

    @cached_property
    def _pinhole_places(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        width, height = self.size
        x, y = np.meshgrid(np.arange(width, dtype=np.float64), np.arange(height, dtype=np.float64))
        places = self.undistort(np.column_stack([x.ravel(), y.ravel()]))
        return places[:, 0].reshape(height, width), places[:, 1].reshape(height, width)

    def row_delays(self) -> NDArray[np.float64]:
        """Return how much later than the frame's time each pixel's center of exposure is, in seconds.

        Returns
        -------
        ndarray of float64
            (H, 1) where the view's rows are the sensor's, else (H, W).
        """
        width, height = self.size
        if self.view_to_sensor is None:
            rows = np.arange(height, dtype=np.float64)[:, None]
        else:
            x, y = np.meshgrid(np.arange(width, dtype=np.float64), np.arange(height, dtype=np.float64))
            points = warp_points(self.view_to_sensor, self.undistort(np.column_stack([x.ravel(), y.ravel()])))
            if self.sensor_lens is not None:
                points = distort_points(points, self.sensor_lens.matrix, self.sensor_lens.distortion)
            rows = points[:, 1].reshape(height, width)
        sensor_height = self.sensor_height or height
        return self.readout_seconds * (rows / (sensor_height - 1) - 0.5)

    def _read_out(self, scene: Scene, center_seconds: float) -> Iterator[_Part]:
        """Cut the time from the first row's exposure to the last row's into parts as long as a global shutter's.

        A part counts for a pixel by its share of that pixel's exposure. Parts divide the exposure without rest, so
        that what the first and the last one miss cancels: the mean time of each row is exact.
        """
        if isinstance(scene, ClipScene):
            raise ValueError("a clip is known at whole ticks only and cannot be read out row by row")
        delays = self.row_delays()
        step = self.exposure_seconds / self.n_instants
        start = float(delays.min()) - self.exposure_seconds / 2
        n_parts = int(np.ceil((np.ptp(delays) + self.exposure_seconds) / step - 1e-9))
        opens = delays - self.exposure_seconds / 2
        for index in range(n_parts):
            low, high = start + index * step, start + (index + 1) * step
            weights = (np.minimum(opens + self.exposure_seconds, high) - np.maximum(opens, low)) / self.exposure_seconds
            # Only the rows that are open are rendered; between two rows none may be.
            rows = np.flatnonzero((weights > 0).any(axis=1))
            if not len(rows):
                continue
            first, last = int(rows[0]), int(rows[-1])
            yield _Part(
                instant=center_seconds + (low + high) / 2,
                rows=slice(first, last + 1),
                weights=np.maximum(weights[first : last + 1], 0).astype(np.float32),
            )

    def develop(self, linear: NDArray[np.float32], noise: NoiseBank | None) -> NDArray[np.uint8]:
        """Return the 8-bit image of an exposure: border, noise, response; no noise where ``noise`` is None."""
        drawn = None if noise is None else noise.draw(linear.shape)
        image = np.empty(linear.shape, dtype=np.uint8)
        for first in range(0, len(linear), _ROWS_AT_ONCE):
            rows = slice(first, first + _ROWS_AT_ONCE)
            framed = linear[rows] * self._aperture_rgb[rows]
            if drawn is not None:
                # The noise's deviation, in place: a new array costs as much as what is computed in it.
                noisy = np.maximum(framed, 0)
                noisy *= np.float32(self.shot_noise)
                noisy += np.float32(self.read_noise) ** 2
                np.sqrt(noisy, out=noisy)
                noisy *= drawn[rows]
                framed += noisy
            image[rows] = encode(framed, self.response)
        return image

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

    @cached_property
    def _aperture_rgb(self) -> NDArray[np.float32]:
        # In every channel: numpy broadcasts over a short last axis four times slower.
        return np.asarray(cv2.merge([self.aperture] * 3), dtype=np.float32)


@dataclass(frozen=True, eq=False)
class _Part:
    """A part of a rolling exposure: one instant, and the rows that are open about it."""

    instant: float
    rows: slice
    weights: NDArray[np.float32]
    """(n, 1) or (n, W) shares of the rows' exposures."""


def _ramp(distance_px: NDArray[np.float32], softness_px: float) -> NDArray[np.float32]:
    return np.asarray(np.clip(distance_px / softness_px + 0.5, 0, 1), dtype=np.float32)
