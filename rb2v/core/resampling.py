"""The resampling of whole frames: lens, mirror, homography, crop and output size as one map."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache, cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from rb2v.core.color import Response, encode, from_linear, to_linear
from rb2v.core.homography import Homography, crop_homography, warp_points
from rb2v.core.lens import LensModel, distort_points
from rb2v.core.planes import Planes
from rb2v.profiling import stage

Picture = NDArray[np.float32]

_N_SCALE_POINTS = 9  # across and down, whose median is the scale: enough for lenses, which change it smoothly
_LINEAR_VARIANCE = 1 / 6
"""What linear interpolation blurs on the average over all places between two pixels, in squared pixels."""
_MIN_VARIANCE_FOR_LINEAR = 0.75
"""Blur that is wanted, in squared pixels, beside which it hardly matters that linear interpolation's is uneven."""
_NEGLIGIBLE_VARIANCE = 0.04  # px²; a deviation of 0.2 px, whose 3-tap kernel would be almost the pixel itself
_TABLE_LEVELS = 65536  # as many as uint16 can index
_MIN_KEPT_SCALE = 2.0
"""Pixels per output pixel from which on frames are halved first: below, the low-pass could not make up for the mean."""
_OUTSIDE_PX = -1e4  # for points that no lens takes: beyond any margin, and within what cv2.remap can hold
_MARGIN_PX = 3  # reach of cubic interpolation (2 px), and one for rounding


class FrameWarp:
    """The resampling of whole frames into the crop at the output size: one interpolation, anti-aliased.

    It works in linear light, so that the mean of resampled frames is the resampled mean. Frames as the decoder gives
    them, where they are made much smaller, are resampled as luma, in linear light as if they were gray, and chroma:
    beside sharp edges between saturated colors that is an approximation.

    Parameters
    ----------
    homography : (3, 3) ndarray
        From the camera's undistorted pixels to the blurry camera's; the identity for the blurry camera.
    crop : tuple of int
        x, y, width, height in undistorted blurry-camera pixels.
    size : tuple of int
        Width and height of the output in pixels.
    response : {"linear", "srgb"} or float
        The camera's response.
    lens : LensModel, optional
        The camera's lens; None where its pixels are undistorted as recorded.
    siting : tuple of float, optional
        Where the camera's chroma lies, see `Planes.siting`, in place of where frames say that it does.
    """

    def __init__(
        self,
        homography: Homography,
        crop: tuple[int, int, int, int],
        size: tuple[int, int],
        response: Response,
        lens: LensModel | None = None,
        *,
        siting: tuple[float, float] | None = None,
    ) -> None:
        self._siting = siting
        self._from_output = np.linalg.inv(crop_homography(crop, size) @ homography)
        self._size = size
        self._response: Response = response
        self._lens = lens
        self._maps: dict[tuple[int, int], _Map] = {}

    def __call__(self, image: NDArray[np.uint8] | Planes) -> NDArray[np.uint8]:
        """Return the (height, width, 3) uint8 output for an (H, W, 3) uint8 frame, or one as the decoder gives it."""
        found = self._map_for(image.shape)
        if isinstance(image, Planes):
            part = image.part(found.rows, found.columns)
            if self._siting is not None:
                part = replace(part, siting=self._siting)
            if found.is_linear:
                return self._warp_planes(part, found)
        with stage("color conversion"):
            cut = part.rgb() if isinstance(image, Planes) else image[found.rows, found.columns]
            linear = to_linear(cut, self._response)
        warped = found.resample(linear)
        with stage("color conversion"):
            return encode(warped, self._response)

    def warp_linear(self, linear: Picture) -> Picture:
        """Return the (height, width, C) output for an (H, W, C) image in linear light, which nothing rounds or clips.

        Light times opacity and opacity itself, say, are resampled as what they are seen in.
        """
        found = self._map_for(linear.shape)
        return found.resample(linear[found.rows, found.columns])

    def source_points(self, points: NDArray[np.floating]) -> NDArray[np.float64]:
        """Return the recorded pixels, (n, 2), that (n, 2) pixels of the output show; NaN where the lens shows none."""
        undistorted = warp_points(self._from_output, points)
        if self._lens is None:
            return undistorted
        return distort_points(undistorted, self._lens.matrix, self._lens.distortion)

    def _warp_planes(self, part: Planes, found: _Map) -> NDArray[np.uint8]:
        with stage("color conversion"):
            linear = np.asarray(cv2.LUT(part.luma, _light_of_levels(self._response)), dtype=np.float32)
        light = found.resample(linear)
        chroma = [found.resample_chroma(plane.astype(np.float32), part.siting) for plane in part.chroma]
        with stage("color conversion"):
            # A copy of many levels for the look-up; half of one is added because the conversion rounds down.
            luma = cv2.LUT(
                (light * np.float32(_TABLE_LEVELS - 1) + np.float32(0.5)).astype(np.uint16), _levels(self._response)
            )
            to_rgb = part.to_rgb.astype(np.float32) + np.array([0, 0, 0, 0.5], dtype=np.float32)
            return np.asarray(cv2.transform(cv2.merge([luma, *chroma]), to_rgb).clip(0, 255).astype(np.uint8))

    def _map_for(self, shape: tuple[int, ...]) -> _Map:
        size = (shape[1], shape[0])
        if size not in self._maps:
            self._maps[size] = self._build_map(size)
        return self._maps[size]

    def _build_map(self, frame_size: tuple[int, int]) -> _Map:
        width, height = self._size
        x, y = np.meshgrid(np.arange(width, dtype=np.float64), np.arange(height, dtype=np.float64))
        source = self.source_points(np.column_stack([x.ravel(), y.ravel()]))
        scale = max(self._pixels_per_output_pixel(), 1.0)
        n_halvings = max(int(np.log2(scale / _MIN_KEPT_SCALE)), 0)
        # A Gaussian of this variance removes what the coarser grid cannot hold.
        variance = 0.25 * (scale**2 - 1)
        is_linear = _left_variance(variance, n_halvings) >= _MIN_VARIANCE_FOR_LINEAR
        step = 2 * 2**n_halvings
        margin_px = _MARGIN_PX + 2 * int(np.ceil(2 * np.sqrt(variance)))
        cuts, maps = [], []
        for axis, extent in enumerate(frame_size):
            places = np.nan_to_num(source[:, axis], nan=_OUTSIDE_PX)
            inside = places[(places >= 0) & (places <= extent - 1)]
            low, high = (inside.min(), inside.max()) if len(inside) else (0.0, 0.0)
            # Even however often it is halved, because chroma has half the pixels.
            start = max((int(low) - margin_px) // step * step, 0)
            last = extent - extent % step if n_halvings else extent
            stop = min(-(-(int(high) + 1 + margin_px) // step) * step, last)
            cuts.append(slice(start, stop))
            maps.append((places - start).reshape(height, width).astype(np.float32))
        return _Map(
            rows=cuts[1],
            columns=cuts[0],
            x=maps[0],
            y=maps[1],
            is_linear=is_linear,
            kernel=_gaussian(_left_variance(variance, n_halvings) - is_linear * _LINEAR_VARIANCE),
            chroma_kernel=_gaussian(_left_variance(variance / 4, max(n_halvings - 1, 0))),
            n_halvings=n_halvings,
        )

    def _pixels_per_output_pixel(self) -> float:
        """Return the median over the output, because a lens does not shrink all of it alike."""
        width, height = self._size
        x, y = (np.linspace(0, extent - 1, _N_SCALE_POINTS) for extent in (width, height))
        points = np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2)
        here, right, below = (self.source_points(points + step) for step in ([0.0, 0.0], [1.0, 0.0], [0.0, 1.0]))
        across, down = right - here, below - here
        areas = np.abs(across[:, 0] * down[:, 1] - across[:, 1] * down[:, 0])
        known = areas[np.isfinite(areas)]
        return float(np.sqrt(np.median(known))) if len(known) else 1.0


@dataclass(frozen=True, eq=False)
class _Map:
    """Where each output pixel comes from, in the part of a frame that is needed."""

    rows: slice
    columns: slice
    x: Picture
    y: Picture
    is_linear: bool
    """Whether interpolation is linear; cubic otherwise."""
    kernel: NDArray[np.float32] | None
    """Of the low-pass along each axis."""
    chroma_kernel: NDArray[np.float32] | None
    n_halvings: int
    """How often frames are halved first, and chroma once less."""

    @cached_property
    def _halved_places(self) -> tuple[Picture, Picture]:
        return _halved(self.x, self.n_halvings), _halved(self.y, self.n_halvings)

    @cached_property
    def _chroma_places(self) -> dict[tuple[float, float], tuple[Picture, Picture]]:
        return {}

    def resample(self, picture: Picture) -> Picture:
        """Return the output for the part of a frame."""
        return self._resample(picture, self.n_halvings, self.kernel, *self._halved_places)

    def resample_chroma(self, plane: Picture, siting: tuple[float, float]) -> Picture:
        """Return the output for the same part of a plane of chroma whose first sample lies at ``siting``."""
        if siting not in self._chroma_places:
            column, row = np.float32(siting[0]), np.float32(siting[1])
            at = ((self.x - column) * np.float32(0.5), (self.y - row) * np.float32(0.5))
            self._chroma_places[siting] = (_halved(at[0], self._n_chroma), _halved(at[1], self._n_chroma))
        return self._resample(plane, self._n_chroma, self.chroma_kernel, *self._chroma_places[siting])

    @property
    def _n_chroma(self) -> int:
        return max(self.n_halvings - 1, 0)

    def _resample(
        self, picture: Picture, n_halvings: int, kernel: NDArray[np.float32] | None, x: Picture, y: Picture
    ) -> Picture:
        for _ in range(n_halvings):
            size = (picture.shape[1] // 2, picture.shape[0] // 2)
            picture = np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), dtype=np.float32)
        if kernel is not None:
            picture = np.asarray(cv2.sepFilter2D(picture, -1, kernel, kernel), dtype=np.float32)
        interpolation = cv2.INTER_LINEAR if self.is_linear else cv2.INTER_CUBIC
        warped = cv2.remap(picture, x, y, interpolation, borderMode=cv2.BORDER_REPLICATE)
        return np.asarray(warped, dtype=np.float32)


def _halved(places: Picture, n: int) -> Picture:
    """Return where places lie in a picture that was halved a number of times."""
    scale = np.float32(0.5**n)
    return (places + np.float32(0.5)) * scale - np.float32(0.5) if n else places


def _left_variance(variance: float, n_halvings: int) -> float:
    """Return what is left, in squared pixels of the halved picture, of a variance of which means take a part."""
    step = float(2**n_halvings)
    return float((variance - (step**2 - 1) / 12) / step**2)


def _gaussian(variance: float) -> NDArray[np.float32] | None:
    """Return a Gaussian, cut at two deviations, whose samples have the wanted variance; None for next to none."""
    if variance < _NEGLIGIBLE_VARIANCE:
        return None
    reach = int(np.ceil(2 * np.sqrt(variance)))
    places = np.arange(-reach, reach + 1)
    low, high = 1e-3, 10 * variance
    for _ in range(60):
        middle = (low + high) / 2
        weights = np.exp(-(places**2) / (2 * middle))
        weights /= weights.sum()
        low, high = (middle, high) if weights @ places**2 < variance else (low, middle)
    return weights.astype(np.float32)


@cache
def _light_of_levels(response: Response) -> NDArray[np.float32]:
    """Return the linear light of 256 coded levels."""
    return to_linear(np.arange(256, dtype=np.float32) / 255, response).astype(np.float32)


@cache
def _levels(response: Response) -> NDArray[np.float32]:
    """Return the coded levels, 0..255 and between, of 65,536 levels of linear light."""
    light = np.arange(_TABLE_LEVELS, dtype=np.float32) / (_TABLE_LEVELS - 1)
    return (from_linear(light, response) * 255).astype(np.float32)
