"""Green-screen keying that stays linear in the light: a motion-blurred pixel is keyed as the mean that it is."""

from __future__ import annotations

from functools import reduce

import cv2
import numpy as np
from numpy.typing import NDArray

from rb2v.core.blur import step_weights
from rb2v.core.color import Response, to_linear
from rb2v.core.compositing import composite, spread_to_rgb
from rb2v.core.metrics import mse_to_psnr
from rb2v.matting import Matte
from rb2v.matting.foreground import ForegroundModel, LocalForeground, weigh
from rb2v.matting.screen import (
    GREEN,
    YELLOW,
    Plane,
    Screen,
    color_difference,
    enlarge,
    estimate_screen,
    shrink,
)

_LEARN_STRIDE = 2  # the foreground has the same colors in the sharp frames between
_EDGE_SPILL, _EDGE_SPILL_PX = 8.0, 3.0  # how far into the foreground a yellow screen's light is taken off
_MAX_GLARE = np.float32(1.15)  # brightest the screen can be, relative to its estimate
_INNER_PX, _OUTER_PX = 8.0, 6.0  # reach of soft edges into the foreground, and of hair out of it
_SOFTNESS_PX = 2.0  # what lens, color planes, codec and resampling take from an edge, as a Gaussian's sigma


class ChromaMatting:
    """Key a green screen; the screen's color and shading come from the take itself."""

    needs = "a take before a green screen, --matter background with its weights, or green_screen: false"

    def fit(self, frames: NDArray[np.uint8], response: Response, plate: NDArray[np.uint8] | None = None) -> ChromaKey:
        """Find the screen's color at every pixel, in the plate or else in the frames.

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
        frames_linear = [to_linear(frame, response) for frame in frames]
        screen = estimate_screen(frames_linear, None if plate is None else to_linear(plate, response))
        foreground = ForegroundModel([_normalize(frame, screen)[2] for frame in frames_linear], screen)
        return ChromaKey(screen, foreground, response)


class ChromaKey:
    """The key of one take.

    Parameters
    ----------
    screen : Screen
        What stands behind the foreground.
    foreground : ForegroundModel
        What is known of the foreground.
    response : {"linear", "srgb"} or float
        The camera response that is coded in the frames.
    """

    def __init__(self, screen: Screen, foreground: ForegroundModel, response: Response) -> None:
        self.screen = screen
        self._foreground = foreground
        self._response = response

    def matte(self, sharp: NDArray[np.uint8], blurry: NDArray[np.uint8]) -> tuple[Matte, Matte]:
        """Return the mattes of a sharp sequence and of its blurry frame; see `FittedMatting.matte`."""
        n_sharp, height, width = sharp.shape[:3]
        pictures, gains, grids = zip(*map(self._normalize, sharp), strict=True)
        shading = self.screen.measure_shading(np.mean(grids, axis=0))
        size = (width, height)
        local = self._foreground.learn(grids[::_LEARN_STRIDE], self.screen.grid_linear * shading[..., None])
        own_purity = None if self.screen.high == GREEN else enlarge(_measure_purity(local.mean_linear), size)
        local = local.enlarged(size)
        behind = self.screen.linear * spread_to_rgb(enlarge(shading, size))

        sharp_matte = _empty_matte((n_sharp, height, width))
        mean_linear = np.zeros((height, width, 3), dtype=np.float32)
        mean_share = np.zeros((height, width), dtype=np.float32)
        for index, weight in enumerate(step_weights(n_sharp)):
            share = self._key(pictures[index], local)
            alpha, light = sharp_matte.alpha[index], sharp_matte.premultiplied_linear[index]
            self._lift(pictures[index], share, behind, own_purity, gains[index], alpha, light)
            cv2.scaleAdd(pictures[index], weight, mean_linear, mean_linear)
            cv2.scaleAdd(share, weight, mean_share, mean_share)

        picture, gain, _ = self._normalize(blurry)
        share = self._key_blurry(picture, mean_linear, mean_share, local)
        alpha, light = np.empty((height, width), dtype=np.float32), np.empty((height, width, 3), dtype=np.float32)
        self._lift(picture, share, behind, own_purity, gain, alpha, light)
        left = composite(light / gain, alpha, behind)
        left -= picture
        # Light that the screen spilled is not part of what is laid back.
        told = [plane for channel, plane in enumerate(cv2.split(left)) if channel not in self.screen.high]
        mse = sum(cv2.norm(plane, cv2.NORM_L2SQR) for plane in told) / (len(told) * height * width)
        return sharp_matte, Matte(alpha, light, mse_to_psnr(mse))

    def _normalize(self, frame: NDArray[np.uint8]) -> tuple[NDArray[np.float32], np.float32, NDArray[np.float32]]:
        """Return a frame in linear light with its screen as bright as the take's, its gain, and it on the grid."""
        return _normalize(to_linear(frame, self._response), self.screen)

    def _key(self, picture: NDArray[np.float32], local: LocalForeground) -> Plane:
        share = _settle(_sharpen(_bound(local.share(picture))))
        studio = self.screen.studio
        return share if studio is None else share + studio * (self._key_studio(picture) - share)

    def _key_studio(self, picture: NDArray[np.float32]) -> Plane:
        """Return the share of what stands beside the screen, by how little a pixel differs from what is seen there."""
        low, high = self.screen.studio_limits
        difference = reduce(np.maximum, cv2.split(np.maximum(low - picture, picture - high)))
        brightness = reduce(np.maximum, cv2.split(self.screen.linear))
        alpha = np.clip((difference - 0.02 - 0.05 * brightness) / (0.04 + 0.1 * brightness), 0, 1)
        smooth = cv2.GaussianBlur(cv2.medianBlur(alpha.astype(np.float32), 5), (0, 0), 1.0)
        return np.asarray(1 - smooth, dtype=np.float32)

    def _key_blurry(
        self,
        picture: NDArray[np.float32],
        mean_linear: NDArray[np.float32],
        mean_share: Plane,
        local: LocalForeground,
    ) -> Plane:
        """Key the blurry frame: the mean of the sharp keys, and the key of what the sharp frames leave out between."""
        left_out = weigh(local.weights, picture - mean_linear)
        if self.screen.studio is not None:
            left_out *= 1 - self.screen.studio
        # Where nothing passes, the sharp frames leave nothing out.
        radius = max(1, min(mean_share.shape) // 50)
        around = np.ones((2 * radius + 1, 2 * radius + 1), np.uint8)
        share = np.clip(mean_share + left_out, cv2.erode(mean_share, around), cv2.dilate(mean_share, around))
        return _smooth_ends(share)

    def _lift(
        self,
        picture: NDArray[np.float32],
        share: Plane,
        behind: NDArray[np.float32],
        own_purity: Plane | None,
        gain: np.float32,
        alpha: Plane,
        light: NDArray[np.float32],
    ) -> None:
        """Take the screen's light off an image, and what it spills on the foreground, into the given arrays."""
        np.subtract(1, np.minimum(share, 1), out=alpha)
        cv2.multiply(behind, spread_to_rgb(share), dst=light)
        cv2.subtract(picture, light, dst=light)
        if own_purity is None:
            spill = np.maximum(color_difference(light, GREEN), 0)
            spill *= alpha
            light[..., 1] -= spill
        else:
            # Skin is yellow too: only along edges, and only what the foreground nearby has not of its own.
            spill = np.maximum(color_difference(light, YELLOW) - own_purity * light[..., 1], 0)
            spill *= np.clip(_EDGE_SPILL * cv2.GaussianBlur(np.minimum(share, 1), (0, 0), _EDGE_SPILL_PX), 0, 1)
            light[..., :2] -= spill[..., None]
        if gain != 1:
            light *= gain
        # Nothing is darker than black or brighter than white: noise of the screen does not become a veil.
        np.maximum(light, 0, out=light)
        np.minimum(light, spread_to_rgb(alpha), out=light)


def _empty_matte(shape: tuple[int, ...]) -> Matte:
    return Matte(np.empty(shape, dtype=np.float32), np.empty((*shape, 3), dtype=np.float32))


def _normalize(
    image_linear: NDArray[np.float32], screen: Screen
) -> tuple[NDArray[np.float32], np.float32, NDArray[np.float32]]:
    grid_linear = shrink(image_linear, screen.grid)
    gain = screen.measure_gain(grid_linear)
    if gain == 1:
        return image_linear, gain, grid_linear
    return image_linear * (1 / gain), gain, grid_linear * (1 / gain)


def _measure_purity(color_linear: NDArray[np.float32]) -> Plane:
    """Return how yellow colors are, relative to their brightness."""
    purity = color_difference(color_linear, YELLOW) / (color_linear[..., 1] + np.float32(0.01))
    return np.asarray(np.maximum(purity, 0), dtype=np.float32)


def _bound(share: Plane) -> Plane:
    return np.clip(share, np.float32(-0.1), _MAX_GLARE)


def _sharpen(share: Plane) -> Plane:
    """Give an edge back what it lost on the way, by unsharp masking: a linear filter, under which a mean stays one."""
    return np.asarray(2 * share - cv2.GaussianBlur(share, (0, 0), _SOFTNESS_PX), dtype=np.float32)


def _settle(share: Plane) -> Plane:
    """Make opaque what lies deep inside the foreground, and empty what lies far from it."""
    share = _smooth_ends(share)
    share *= np.clip(1 + (_INNER_PX - _distance_to(share > 0.5)) / 2, 0, 1)
    share += np.clip((_distance_to(share < 0.75) - _OUTER_PX) / 2, 0, 1) * (1 - share)
    return share


def _distance_to(mask: NDArray[np.bool_]) -> Plane:
    """Return about how far, in pixels, every pixel lies from a mask: measured at half the size."""
    height, width = mask.shape
    small = cv2.resize(mask.astype(np.uint8) * 255, (-(-width // 2), -(-height // 2)), interpolation=cv2.INTER_AREA)
    distance = cv2.distanceTransform((small == 0).astype(np.uint8), cv2.DIST_L2, 3)
    # An empty mask is infinitely far.
    return 2 * enlarge(np.minimum(distance, np.float32(height + width)), (width, height))


def _smooth_ends(share: Plane) -> Plane:
    """Average noise where a pixel and its surroundings are nearly all screen or nearly all foreground.

    Edges are left alone; clipped noise would otherwise add up to a veil.
    """
    bounded = _bound(share)
    smooth = cv2.GaussianBlur(bounded, (5, 5), 1.2)
    settled = np.clip((np.abs(smooth - 0.5) - 0.35) * 10, 0, 1)
    return np.asarray(np.maximum(bounded + settled * (smooth - bounded), 0), dtype=np.float32)
