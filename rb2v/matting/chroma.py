"""Green-screen keying that stays linear in the light, so that a motion-blurred pixel is keyed as the mean that it is.

In linear light a pixel on the foreground's edge, or swept by it, is ``x = alpha F + t G``, with the screen's colour
``G`` at that place and ``t`` the share of the screen's light that reaches the lens. Where ``F`` is known up to its
brightness, ``t`` is a linear function of ``x``: the one that is 1 on ``G`` and 0 on ``F``. ``F`` is taken from the
opaque foreground nearby.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce

import cv2
import numpy as np
from numpy.typing import NDArray

from rb2v.core.color import Response, to_linear
from rb2v.core.compositing import spread_to_rgb
from rb2v.errors import Rb2vError
from rb2v.matting import Matte

Plane = NDArray[np.float32]

_GRID_CELLS = 112  # colours of screen and foreground vary slowly, and are kept on a grid of about this many cells
_MIN_GREENNESS = 0.25  # gap between a screen's high and low channels relative to green, in linear light
_MIN_SCREEN_SHARE = 0.1  # of the pixels
_MAX_HUE_DISTANCE = 0.2  # of red and blue, relative to green
_GREEN, _YELLOW = (1,), (0, 1)
_OPAQUE_SCREEN = 0.08  # screen share by the color difference, up to which a pixel may be opaque
_SKIN = {_GREEN: np.float32(0), _YELLOW: np.float32(0.35)}  # color difference of bright skin, relative to the screen
_GREY = np.float32(0.02)  # added to the foreground's colour, which has no hue where it is black
_MAX_GLARE = np.float32(1.15)  # brightest the screen can be, relative to its estimate


class ChromaMatter:
    """Key a green screen; the screen's colour and shading come from the take itself."""

    def fit(self, frames: NDArray[np.uint8], response: Response, plate: NDArray[np.uint8] | None = None) -> ChromaKey:
        """Find the screen's colour at every pixel, in the plate or else in the frames.

        Parameters
        ----------
        frames : (T, H, W, 3) ndarray of uint8
            A few frames from all over the take.
        response : {"linear", "srgb"} or float
            The camera response that is coded in the frames.
        plate : (H, W, 3) ndarray of uint8, optional
            A frame without foreground.

        Raises
        ------
        Rb2vError
            If no green screen is seen.
        """
        seen = frames if plate is None else plate[None]
        return ChromaKey(_estimate_screen([to_linear(frame, response) for frame in seen]), response)


@dataclass(frozen=True, eq=False)
class _Keyed:
    """A sharp frame after keying."""

    image_linear: NDArray[np.float32]
    """(H, W, 3), with the screen as bright as in the estimate."""
    gain: np.float32
    """Brightness of the screen relative to the estimate."""
    screen_share: Plane
    """(H, W)"""
    weights: NDArray[np.float32]
    """(h, w, 3) on the grid: the linear function of the colour that is the screen's share."""


class ChromaKey:
    """The key of one take.

    Parameters
    ----------
    screen_linear : (H, W, 3) ndarray of float32
        The screen's colour at every pixel, in linear light.
    response : {"linear", "srgb"} or float
        The camera response that is coded in the frames.
    """

    def __init__(self, screen_linear: NDArray[np.float32], response: Response) -> None:
        self.screen_linear = screen_linear
        self._response = response
        self._grid = _grid_size(screen_linear)
        self._screen_grid = _shrink(screen_linear, self._grid)
        self._high = _high_channels(screen_linear.mean(axis=(0, 1)))
        self._difference_scale = 1 / np.maximum(_color_difference(screen_linear, self._high), np.float32(0.01))

    def matte(self, sharp: NDArray[np.uint8], blurry: NDArray[np.uint8]) -> tuple[Matte, Matte]:
        """Return the mattes of a sharp sequence and of its blurry frame; see `TakeMatter.matte`."""
        height, width = blurry.shape[:2]
        sharp_matte = _empty_matte((len(sharp), height, width))
        mean_linear = np.zeros((height, width, 3), dtype=np.float32)
        mean_share = np.zeros((height, width), dtype=np.float32)
        mean_weights = np.zeros((*self._grid[::-1], 3), dtype=np.float32)
        for index, frame in enumerate(sharp):
            keyed = self._key(frame)
            self._lift(keyed, sharp_matte.alpha[index], sharp_matte.premultiplied_linear[index])
            for total, part in (
                (mean_linear, keyed.image_linear),
                (mean_share, keyed.screen_share),
                (mean_weights, keyed.weights),
            ):
                cv2.scaleAdd(part, 1 / len(sharp), total, total)
        blurry_matte = _empty_matte((height, width))
        keyed = self._key_blurry(blurry, mean_linear, mean_share, mean_weights)
        self._lift(keyed, blurry_matte.alpha, blurry_matte.premultiplied_linear)
        return sharp_matte, blurry_matte

    def _normalize(self, frame: NDArray[np.uint8]) -> tuple[NDArray[np.float32], np.float32]:
        image_linear = to_linear(frame, self._response)
        gain = self._measure_gain(_shrink(image_linear, self._grid))
        return np.asarray(image_linear / gain, dtype=np.float32), gain

    def _measure_gain(self, grid_linear: NDArray[np.float32]) -> np.float32:
        """Return how much brighter a frame's screen is than the estimate, for lamps flicker and exposure drifts."""
        green = self._screen_grid[..., 1:2]
        gain = grid_linear[..., 1:2] / green
        is_screen = (np.abs(grid_linear - gain * self._screen_grid) < 0.1 * gain * green).all(axis=-1)
        is_screen &= gain[..., 0] > 0.3
        if np.count_nonzero(is_screen) < 0.02 * is_screen.size:
            return np.float32(1)
        return np.float32(np.median(gain[is_screen]))

    def _key(self, frame: NDArray[np.uint8]) -> _Keyed:
        image_linear, gain = self._normalize(frame)
        grid_linear = _shrink(image_linear, self._grid)
        # The classic colour difference: right for grey foregrounds, and a bound for all that are not greener.
        difference = _color_difference(image_linear, self._high) * self._difference_scale
        difference = (difference - _SKIN[self._high]) / (1 - _SKIN[self._high])
        opaque = (cv2.GaussianBlur(difference, (5, 5), 1.2) < _OPAQUE_SCREEN).astype(np.uint8)
        inner = _erode(opaque, 2)
        weights, normal = self._separate(grid_linear, inner)

        size = frame.shape[1::-1]
        share = _dot(_enlarge(weights, size), image_linear)
        strangeness = np.abs(_dot(_enlarge(normal, size), image_linear))
        # A colour that is no mixture of screen and nearby foreground is another part of the foreground.
        strangeness /= 0.03 + 0.15 * image_linear[..., 1]
        mixed = np.clip(2 - strangeness, 0, 1)
        mixed *= 1 - _erode(inner, 2)
        share = mixed * share + (1 - mixed) * difference
        return _Keyed(image_linear, gain, _smooth_ends(share), weights)

    def _separate(
        self, grid_linear: NDArray[np.float32], inner: NDArray[np.uint8]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Return, on the grid, the dual vector of the screen against the foreground, and the normal of their plane."""
        cover = _shrink(inner.astype(np.float32), self._grid)
        trusted = (cover > 0.99).astype(np.float32)
        foreground = _fill(grid_linear, trusted, np.full(3, 0.2, dtype=np.float32)) + _GREY
        screen = self._screen_grid
        across = np.cross(screen, foreground)
        square = np.maximum(np.sum(across * across, axis=-1, keepdims=True), np.float32(1e-8))
        weights = np.cross(foreground, across) / square
        return np.ascontiguousarray(weights, np.float32), np.ascontiguousarray(across / np.sqrt(square), np.float32)

    def _key_blurry(
        self,
        frame: NDArray[np.uint8],
        mean_linear: NDArray[np.float32],
        mean_share: Plane,
        mean_weights: NDArray[np.float32],
    ) -> _Keyed:
        """Key the blurry frame: the mean of the sharp keys, and the key of what the sharp frames leave out between."""
        image_linear, gain = self._normalize(frame)
        settled = ((mean_share < 0.03) | (mean_share > 0.97)).astype(np.uint8)
        swept = 1 - _erode(settled, max(1, min(settled.shape) // 50))
        left_out = _dot(_enlarge(mean_weights, frame.shape[1::-1]), image_linear - mean_linear)
        share = mean_share + swept * left_out
        return _Keyed(image_linear, gain, _smooth_ends(share), mean_weights)

    def _lift(self, keyed: _Keyed, alpha: Plane, premultiplied_linear: NDArray[np.float32]) -> None:
        """Take the screen's light off a frame, and what it spills on the foreground, into the given arrays."""
        np.subtract(1, np.minimum(keyed.screen_share, 1), out=alpha)
        np.multiply(self.screen_linear, spread_to_rgb(keyed.screen_share), out=premultiplied_linear)
        np.subtract(keyed.image_linear, premultiplied_linear, out=premultiplied_linear)
        if self._high == _GREEN:
            spill = np.maximum(_color_difference(premultiplied_linear, _GREEN), 0)
            spill *= alpha
            premultiplied_linear[..., 1] -= spill
        premultiplied_linear *= keyed.gain


def _empty_matte(shape: tuple[int, ...]) -> Matte:
    return Matte(np.empty(shape, dtype=np.float32), np.empty((*shape, 3), dtype=np.float32))


def _grid_size(image: NDArray[np.generic]) -> tuple[int, int]:
    height, width = image.shape[:2]
    step = max(1, min(height, width) // _GRID_CELLS)
    return -(-width // step), -(-height // step)


def _shrink(image: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.float32)


def _enlarge(image: NDArray[np.float32], size: tuple[int, ...]) -> NDArray[np.float32]:
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_LINEAR), dtype=np.float32)


def _erode(mask: NDArray[np.uint8], radius: int) -> NDArray[np.uint8]:
    return np.asarray(cv2.erode(mask, np.ones((2 * radius + 1, 2 * radius + 1), np.uint8)), dtype=np.uint8)


def _color_difference(image_linear: NDArray[np.float32], high: tuple[int, ...]) -> Plane:
    """Return by how much the least of the high channels stands above the greatest of the others."""
    planes = cv2.split(image_linear)
    least = reduce(np.minimum, [planes[channel] for channel in high])
    greatest = reduce(np.maximum, [planes[channel] for channel in range(3) if channel not in high])
    return np.asarray(least - greatest, dtype=np.float32)


def _high_channels(color: NDArray[np.float32]) -> tuple[int, ...]:
    """Return the channels that tell a screen best from grey: green alone, or with red for a yellow-green cloth."""
    gaps = {high: _color_difference(color[None, None], high).item() for high in (_GREEN, _YELLOW)}
    return max(gaps, key=gaps.__getitem__)


def _dot(field: NDArray[np.float32], image: NDArray[np.float32]) -> Plane:
    return np.asarray(cv2.transform(field * image, np.ones((1, 3), np.float32)), dtype=np.float32)


def _smooth_ends(share: Plane) -> Plane:
    """Average noise where a pixel and its surroundings are nearly all screen or nearly all foreground.

    Edges are left alone; clipped noise would otherwise add up to a veil.
    """
    bounded = np.clip(share, -0.1, _MAX_GLARE)
    smooth = cv2.GaussianBlur(bounded, (5, 5), 1.2)
    settled = np.clip((np.abs(smooth - 0.5) - 0.35) * 10, 0, 1)
    return np.asarray(np.maximum(bounded + settled * (smooth - bounded), 0), dtype=np.float32)


def _estimate_screen(frames_linear: list[NDArray[np.float32]]) -> NDArray[np.float32]:
    """Return the screen's colour at every pixel: the median over frames, smoothly filled in where it is never seen."""
    red_ratio, blue_ratio = _find_hue(frames_linear)
    height, width = frames_linear[0].shape[:2]
    grid = _grid_size(frames_linear[0])
    margin = max(1, min(height, width) // 200)
    colors, hidden = [], []
    for image in frames_linear:
        near = (np.abs(image[..., 0] - red_ratio * image[..., 1]) < _MAX_HUE_DISTANCE * image[..., 1]) & (
            np.abs(image[..., 2] - blue_ratio * image[..., 1]) < _MAX_HUE_DISTANCE * image[..., 1]
        )
        seen = _erode((near & (image[..., 1] > 0.02)).astype(np.uint8), margin)
        colors.append(_shrink(image, grid))
        hidden.append(_shrink(seen.astype(np.float32), grid) < 0.99)
    mask = np.stack(hidden)
    if mask.mean() > 1 - _MIN_SCREEN_SHARE / 2:
        raise Rb2vError(f"no green screen is seen: {1 - mask.mean():.0%} of the picture has its color")
    stack, never = np.stack(colors), np.asarray(mask.all(axis=0))
    stack[mask] = np.nan
    stack[:, never] = 0
    surface = np.nanmedian(stack, axis=0)
    typical = np.stack([np.median(plane[~never]) for plane in np.moveaxis(surface, -1, 0)])
    filled = _fill(surface, (~never).astype(np.float32), typical)
    smooth = np.asarray(cv2.GaussianBlur(filled, (3, 3), 0), dtype=np.float32)
    return _enlarge(smooth, (width, height))


def _find_hue(frames_linear: list[NDArray[np.float32]]) -> tuple[float, float]:
    """Return the screen's red and blue relative to its green, preferring what lies along the borders."""
    height, width = frames_linear[0].shape[:2]
    inset = max(1, min(height, width) // 10)
    border = np.ones((height, width), dtype=bool)
    border[inset:-inset, inset:-inset] = False
    pixels = np.stack(frames_linear)
    red, green, blue = np.moveaxis(pixels, -1, 0)
    gap = np.maximum(green - np.maximum(red, blue), np.minimum(red, green) - blue)
    is_green = (green >= np.maximum(red, blue)) & (gap > np.maximum(_MIN_GREENNESS * green, 0.01))
    share = float(is_green.mean())
    if share < _MIN_SCREEN_SHARE:
        raise Rb2vError(f"no green screen is seen: {share:.0%} of the picture is green")
    along_border = is_green & border
    chosen = pixels[along_border if along_border.sum() > 0.2 * border.sum() * len(pixels) else is_green]
    return float(np.median(chosen[:, 0] / chosen[:, 1])), float(np.median(chosen[:, 2] / chosen[:, 1]))


def _fill(values: NDArray[np.float32], weight: Plane, prior: NDArray[np.float32]) -> NDArray[np.float32]:
    """Fill in values where their weight is 0, smoothly from all around (pull-push over a pyramid).

    References
    ----------
    .. [1] Gortler et al., "The Lumigraph", SIGGRAPH 1996, section 3.4.
    """
    pyramid = [np.concatenate([values * weight[..., None], weight[..., None]], axis=-1)]
    while max(pyramid[-1].shape[:2]) > 1:
        height, width = pyramid[-1].shape[:2]
        half = (-(-width // 2), -(-height // 2))
        pyramid.append(_shrink(pyramid[-1], half))
    filled = np.broadcast_to(prior, (*pyramid[-1].shape[:2], 3)).astype(np.float32)
    for level in reversed(pyramid):
        height, width = level.shape[:2]
        coarse = _enlarge(filled, (width, height))
        known = level[..., 3:4]
        own = level[..., :3] / np.maximum(known, np.float32(1e-6))
        trust = np.minimum(4 * known, 1)
        filled = np.asarray(trust * own + (1 - trust) * coarse, dtype=np.float32)
    return filled
