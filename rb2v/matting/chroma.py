"""Keying of screens that stays linear in the light: a motion-blurred pixel is keyed as the mean that it is."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import reduce

import cv2
import numpy as np
from numpy.typing import NDArray

from rb2v.choices import ScreenColor
from rb2v.core.blur import step_weights
from rb2v.core.color import Response, to_linear
from rb2v.core.compositing import spread_to_rgb
from rb2v.core.metrics import mse_to_psnr
from rb2v.matting import Matte
from rb2v.matting.foreground import ForegroundModel, LocalForeground, most_probable_share, weigh, weigh_planes
from rb2v.matting.motion import Motion, key_along
from rb2v.matting.screen import (
    YELLOW,
    Plane,
    Planes,
    Screen,
    color_difference,
    differ,
    enlarge,
    estimate_screen,
    shrink,
    split,
)
from rb2v.matting.shadow import Shadow
from rb2v.matting.spill import Spill, measure_spill, nearness_to_edge

_LEARN_STRIDE = 2  # the foreground has the same colors in the sharp frames between
_COARSE_STRIDE = 3  # the same, for a first estimate
_SHADE_STRIDE = 3  # shadows are soft, and move by a fraction of their softness from frame to frame
_EDGE_SPILL, _EDGE_SPILL_PX = 8.0, 3.0  # how far into the foreground a yellow screen's light is taken off
_MAX_GLARE = np.float32(1.15)  # brightest the screen can be, relative to its estimate
_INNER_PX, _OUTER_PX = 8.0, 6.0  # reach of soft edges into the foreground, and of hair out of it
_ANY_SCREEN, _MOST_SCREEN = 0.3, 0.85  # mean of four pixels, one of which is screen, or is not
_SOFTNESS_PX, _SHARPENED = 3.0, 0.7  # of what lens, codec and resampling blur, and how much comes back
_MIN_SPAN = 0.2  # of the linear share between foreground and screen, which is 1 where it was learnt
_COARSE_ERROR = np.float32(0.15)  # of a coarse alpha, as a rule: it is not as sharp as a share
_EDGE_CELLS = 2  # of the grid, within which of a mixture pixels may be one
_LEAST_SHARE = 0.03  # of the screen, from which on a pixel may be a mixture
_SWEPT_ALPHA = 0.1  # coarse alpha of what is keyed at all; noise of a cell is a third of that
_AROUND_PX = 24  # about that, twice as far as loose hair is from what a cell shows


class ChromaMatting:
    """Key a green or a blue screen; the screen's color and shading come from the take itself."""

    needs = "a take before a green screen, or a blue one, --matter background with its weights, or green_screen: false"

    def fit(
        self,
        frames: NDArray[np.uint8],
        response: Response,
        plate: NDArray[np.uint8] | None = None,
        color: ScreenColor = "auto",
    ) -> ChromaKey:
        """Find the screen's color at every pixel, in the plate or else in the frames.

        Parameters
        ----------
        frames : (T, H, W, 3) ndarray of uint8
            A few frames from all over the take.
        response : {"linear", "srgb"} or float
            The camera response that is coded in the frames.
        plate : (H, W, 3) ndarray of uint8, optional
            A frame without foreground.
        color : {"auto", "green", "blue"}
            The screen's color, where it is known.

        Raises
        ------
        Rb2vError
            If no such screen is seen.
        """
        frames_linear = [to_linear(frame, response) for frame in frames]
        screen = estimate_screen(frames_linear, None if plate is None else to_linear(plate, response), color)
        pictures = [_normalize(frame, screen) for frame in frames_linear]
        foreground = ForegroundModel([grid for *_, grid in pictures], screen)
        shadow = _learn_shadow([grid for *_, grid in pictures], screen, foreground)
        spill = Spill(0.0, 0.0)
        spill = _learn_spill(pictures, _Known(screen, foreground, shadow, spill))
        return ChromaKey(_Known(screen, foreground, shadow, spill), response)


@dataclass(frozen=True, eq=False)
class _Known:
    """What is known of a take."""

    screen: Screen
    foreground: ForegroundModel
    shadow: Shadow
    spill: Spill


@dataclass(frozen=True, eq=False)
class _Light:
    """The light in a sequence's frames, on the grid."""

    local: LocalForeground
    """The foreground's colors, freed from the screen's light."""
    shades: Sequence[Plane]
    """Brightness of the screen in each frame, relative to the empty one."""
    spilled: Sequence[Plane]
    """Share of the screen's light that lies on each frame's foreground."""
    alphas: Sequence[Plane]


def _tell_light(grids_linear: Sequence[NDArray[np.float32]], known: _Known) -> _Light:
    screen = known.screen
    alphas = _coarse_alphas(grids_linear, screen, known.foreground)
    shades = _spread_over_frames(
        [
            screen.follow_shading(grid, known.shadow.brightness(alpha))
            for grid, alpha in list(zip(grids_linear, alphas, strict=True))[::_SHADE_STRIDE]
        ],
        len(grids_linear),
    )
    spilled = [known.spill.share(nearness_to_edge(alpha)) for alpha in alphas]
    own = [
        np.maximum(grid - spread_to_rgb(share * alpha) * screen.grid_linear, 0)
        for grid, share, alpha in list(zip(grids_linear, spilled, alphas, strict=True))[::_LEARN_STRIDE]
    ]
    mean_shade: Plane = np.asarray(np.mean(shades, axis=0), dtype=np.float32)
    local = known.foreground.learn(own, screen.grid_linear * cv2.merge([mean_shade] * 3), alphas[::_LEARN_STRIDE])
    toward = weigh(local.weights, screen.grid_linear)
    shares = [
        (weigh(local.weights, grid) - local.offset) / np.maximum(toward * shade - local.offset, np.float32(_MIN_SPAN))
        for grid, shade in zip(grids_linear, shades, strict=True)
    ]
    return _Light(local, shades, spilled, [np.clip(1 - share, 0, 1) for share in shares])


def _spread_over_frames(planes: list[Plane], n_frames: int) -> list[Plane]:
    """Return planes for every frame, of which every third is given: between those they change linearly."""
    spread = []
    for index in range(n_frames):
        place = min(index / _SHADE_STRIDE, len(planes) - 1)
        first = int(place)
        share = np.float32(place - first)
        following = planes[min(first + 1, len(planes) - 1)]
        spread.append(np.asarray(planes[first] + share * (following - planes[first]), dtype=np.float32))
    return spread


def _coarse_alphas(
    grids_linear: Sequence[NDArray[np.float32]], screen: Screen, foreground: ForegroundModel
) -> list[Plane]:
    shading = screen.measure_shading(np.mean(grids_linear, axis=0, dtype=np.float32))
    local = foreground.learn(grids_linear[::_COARSE_STRIDE], screen.grid_linear * cv2.merge([shading] * 3))
    return [np.clip(1 - local.share(grid), 0, 1) for grid in grids_linear]


def _learn_shadow(grids_linear: Sequence[NDArray[np.float32]], screen: Screen, foreground: ForegroundModel) -> Shadow:
    alphas, seen = [], []
    for grid in grids_linear:
        alphas += _coarse_alphas([grid], screen, foreground)
        seen.append(screen.see_shading(grid, np.ones(grid.shape[:2], dtype=np.float32)))
    return Shadow(alphas, [ratio for ratio, _ in seen], [share for _, share in seen])


def _learn_spill(
    pictures: Sequence[tuple[NDArray[np.float32], np.float32, NDArray[np.float32]]], known: _Known
) -> Spill:
    screen = known.screen

    def key() -> Iterator[tuple[NDArray[np.float32], Plane]]:
        for image, gain, grid in pictures[::_LEARN_STRIDE]:
            picture = image * (1 / gain)
            sequence = _Sequence(screen, _tell_light([grid], known), (slice(None), slice(None)))
            yield picture, 1 - np.minimum(sequence.key(split(picture), 0), 1)

    return measure_spill(key(), screen.color_linear, screen.high)


class ChromaKey:
    """The key of one take.

    Parameters
    ----------
    known : _Known
        What stands behind the foreground, and what is known of it.
    response : {"linear", "srgb"} or float
        The camera response that is coded in the frames.
    """

    def __init__(self, known: _Known, response: Response) -> None:
        self.screen = known.screen
        self._known = known
        self._response = response

    def matte(self, sharp: NDArray[np.uint8], blurry: NDArray[np.uint8]) -> tuple[Matte, Matte]:
        """Return the mattes of a sharp sequence and of its blurry frame; see `FittedMatting.matte`."""
        # Of the whole frames only what is small is kept.
        gains, grids = zip(*(self._normalize(frame)[1:] for frame in sharp), strict=True)
        light = _tell_light(grids, self._known)
        part = _find_part(np.max(light.alphas, axis=0), sharp.shape[1:3])
        sequence = _Sequence(self.screen, light, part)
        mattes = _empty_matte(sharp.shape[:3]), _empty_matte(blurry.shape[:2])
        mean = _Mean(sequence.shape)
        parts = [self._look_at(frame[part], gain) for frame, gain in zip(sharp, gains, strict=True)]
        shares = key_along(Motion([frame[part] for frame in sharp]), _Frames(sequence, parts))
        for index, weight in enumerate(step_weights(len(sharp))):
            picture, share = parts[index], shares[index]
            behind, spilled = sequence.tell_behind(share, index)
            mean.add(picture, (share, behind, spilled), weight)
            alpha, own = sequence.lift(picture, share, behind + spilled, gains[index])
            mattes[0].alpha[index][part] = alpha
            cv2.merge(own, mattes[0].premultiplied_linear[index][part])

        whole, gain, _ = self._normalize(blurry)
        picture = self._look_at(blurry[part], gain)
        share, behind, spilled = sequence.key_blurry(picture, mean)
        alpha, own = sequence.lift(picture, share, behind + spilled, gain)
        mattes[1].alpha[part] = alpha
        cv2.merge(own, mattes[1].premultiplied_linear[part])
        shade = enlarge(np.mean(light.shades, axis=0, dtype=np.float32), blurry.shape[1::-1])
        shade[part] = behind
        psnr = self._explain(whole, mattes[1].premultiplied_linear, shade, gain)
        return mattes[0], Matte(mattes[1].alpha, mattes[1].premultiplied_linear, psnr)

    def _look_at(self, frame: NDArray[np.uint8], gain: np.float32) -> Planes:
        """Return a frame's channels in linear light, freed from its gain."""
        # Bytes are told apart faster than floats.
        planes = to_linear(np.stack(cv2.split(frame)).astype(np.uint8, copy=False), self._response)
        if gain != 1:
            planes *= 1 / gain
        return list(planes)

    def _explain(self, seen: NDArray[np.float32], own: NDArray[np.float32], behind: Plane, gain: np.float32) -> float:
        """Return the PSNR of a foreground over its screen against the image, in every second row."""
        rows = slice(None, None, 2)
        left = seen[rows] - own[rows]
        left *= 1 / gain
        left -= self.screen.linear[rows] * spread_to_rgb(behind[rows])
        # Light that the screen spilled is not part of what is laid back.
        told = [channel for channel in range(3) if channel not in self.screen.high]
        mse = sum(cv2.norm(cv2.extractChannel(left, channel), cv2.NORM_L2SQR) for channel in told)
        return mse_to_psnr(mse / (len(told) * left.shape[0] * left.shape[1]))

    def _normalize(self, frame: NDArray[np.uint8]) -> tuple[NDArray[np.float32], np.float32, NDArray[np.float32]]:
        """Return a frame in linear light, its gain, and it on the grid with its screen as bright as the take's."""
        return _normalize(to_linear(frame, self._response), self.screen)


class _Mean:
    """Weighted mean of a sequence's frames and of what their keys say."""

    def __init__(self, shape: tuple[int, int]) -> None:
        self.linear = [np.zeros(shape, dtype=np.float32) for _ in range(3)]
        self.share, self.behind, self.spilled = (np.zeros(shape, dtype=np.float32) for _ in range(3))

    def add(self, picture: Planes, keyed: tuple[Plane, Plane, Plane], weight: float) -> None:
        totals = (*self.linear, self.share, self.behind, self.spilled)
        for values, total in zip((*picture, *keyed), totals, strict=True):
            cv2.scaleAdd(values, weight, total, total)


class _Sequence:
    """A part of a sequence's frames, ready to be keyed.

    Parameters
    ----------
    screen : Screen
        What stands behind.
    light : _Light
        The light in the frames.
    part : tuple of slice
        Rows and columns.
    """

    def __init__(self, screen: Screen, light: _Light, part: tuple[slice, slice]) -> None:
        self._screen, self._light, self._part = screen, light, part
        self._size = screen.linear.shape[1::-1]
        *self._weights, self._offset = light.local.weigher(self._size, part)
        self._behind = [np.ascontiguousarray(plane) for plane in split(screen.linear[part])]
        self._toward = weigh_planes(self._weights, self._behind)
        # The foreground's colors vary slowly enough to be those of the cell.
        self._colors = np.concatenate([light.local.mean_linear, light.local.covariance]).reshape(9, -1)
        cells = np.arange(self._colors.shape[1], dtype=np.int32).reshape(screen.grid[::-1])
        cells = np.asarray(cv2.resize(cells, self._size, interpolation=cv2.INTER_NEAREST), dtype=np.int32)
        self._cells = np.ascontiguousarray(cells[part])
        self._lights: dict[int, tuple[Plane, Plane]] = {}
        self._own_purity = None
        if screen.high == YELLOW:
            self._own_purity = enlarge(_measure_purity(np.dstack(list(light.local.mean_linear))), self._size)[part]
        self._studio = None if screen.studio is None else screen.studio[part]

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the part."""
        height, width = self._toward.shape
        return height, width

    def key(self, picture: Planes, index: int) -> Plane:
        """Return the screen's share, (h, w), in a sharp frame of the sequence."""
        first = self._key_first(picture, index)
        near = self._near_edges(self._light.alphas[index : index + 1])
        share = _settle(_sharpen(self._refine(picture, first, self._light_of(index), near)))
        if self._studio is not None:
            share += self._studio * (self._key_studio(picture) - share)
        return share

    def key_pixels(self, picture: Planes, index: int, chosen: NDArray[np.intp]) -> NDArray[np.float32]:
        """Return it in some pixels, by their flat indices, as a linear function of the color alone."""
        planes = (*picture, *self._light_of(index), *self._weights, self._toward, self._offset)
        *pixels, shade, spill, red, green, blue, toward, offset = (plane.take(chosen) for plane in planes)
        first = weigh_planes((red, green, blue), pixels) - toward * spill - offset
        share = np.clip(first / np.maximum((shade - spill) * toward - offset, np.float32(_MIN_SPAN)), 0, _MAX_GLARE)
        if self._studio is not None:
            share += self._studio.reshape(-1)[chosen] * (self._key_studio(picture).take(chosen) - share)
        return np.asarray(share, dtype=np.float32)

    def miss(self, index: int, share: Plane) -> Plane:
        """Return how far an (h, w) share is from a frame's coarse alpha."""
        whole = np.ones(self._size[::-1], dtype=np.float32)
        whole[self._part] = share
        off = np.abs(1 - shrink(whole, self._screen.grid) - self._light.alphas[index]) - _COARSE_ERROR
        return np.ascontiguousarray(enlarge(off, self._size)[self._part])

    def tell_behind(self, share: Plane, index: int) -> tuple[Plane, Plane]:
        """Return how much of the empty screen's light is seen behind the foreground, and lies on it."""
        shade, spill = self._light_of(index)
        alpha = np.minimum(share, 1)
        np.subtract(1, alpha, out=alpha)
        alpha *= spill
        return share * shade, alpha

    def _light_of(self, index: int) -> tuple[Plane, Plane]:
        """Return the screen's brightness in a frame, and the share of its light that lies on the foreground."""
        if index not in self._lights:
            shade, spill = (
                np.ascontiguousarray(enlarge(planes[index], self._size)[self._part])
                for planes in (self._light.shades, self._light.spilled)
            )
            self._lights[index] = shade, spill
        return self._lights[index]

    def _key_first(self, picture: Planes, index: int) -> Plane:
        shade, spill = self._light_of(index)
        first, span = weigh_planes(self._weights, picture), shade - spill
        span *= self._toward
        span -= self._offset
        first -= self._toward * spill
        first -= self._offset
        np.maximum(span, np.float32(_MIN_SPAN), out=span)
        first /= span
        return _bound(first)

    def _refine(self, picture: Planes, first: Plane, light: tuple[Plane, Plane], near: NDArray[np.bool_]) -> Plane:
        """Put the most probable share in place of the first one along edges, by shade and spill there."""
        shade, spill = light
        near &= first > _LEAST_SHARE
        chosen = np.flatnonzero(near)
        colors = self._colors.take(self._cells.take(chosen), axis=1)
        behind, pixels = (_take(planes, chosen) for planes in (self._behind, picture))
        mean = colors[:3]
        mean += spill.take(chosen) * behind
        behind *= shade.take(chosen)
        probable = most_probable_share(pixels, behind, first.take(chosen), mean, colors[3:], self._screen.high)
        first.reshape(-1)[chosen] = _bound(probable)
        return first

    def key_blurry(self, picture: Planes, mean: _Mean) -> tuple[Plane, Plane, Plane]:
        """Key the blurry frame: the mean of the sharp keys, and the key of what the sharp frames leave out between."""
        light = self._light
        shade, spill = (
            np.ascontiguousarray(enlarge(np.mean(planes, axis=0, dtype=np.float32), self._size)[self._part])
            for planes in (light.shades, light.spilled)
        )
        left_out = weigh_planes(self._weights, [own - other for own, other in zip(picture, mean.linear, strict=True)])
        # Half by what is left out, which noise of the blurry frame reaches in full, half by what its color is itself.
        probable = self._refine(picture, _bound(mean.share + left_out), (shade, spill), self._near_edges(light.alphas))
        left_out = np.asarray((left_out + probable - mean.share) / 2, dtype=np.float32)
        if self._studio is not None:
            left_out *= 1 - self._studio
        # Where nothing passes, the sharp frames leave nothing out.
        radius = max(1, min(self._screen.linear.shape[:2]) // 50)
        around = np.ones((2 * radius + 1, 2 * radius + 1), np.uint8)
        share = np.clip(mean.share + left_out, cv2.erode(mean.share, around), cv2.dilate(mean.share, around))
        share = _smooth_ends(share)
        # The shadow is not the same in all frames, and what is hidden in some is seen in others.
        added = share - mean.share
        return share, mean.behind + added * shade, np.maximum(mean.spilled * (1 - added), 0)

    def _near_edges(self, alphas: Sequence[Plane]) -> NDArray[np.bool_]:
        """Return where any of some frames may have a mixture, by their coarse alphas."""
        reach = np.ones((2 * _EDGE_CELLS + 1,) * 2, np.uint8)
        some = cv2.dilate((np.max(alphas, axis=0) > _SWEPT_ALPHA).astype(np.uint8), reach)
        near = cv2.bitwise_and(some, cv2.dilate((np.min(alphas, axis=0) < 1 - _SWEPT_ALPHA).astype(np.uint8), reach))
        return np.asarray(cv2.resize(near, self._size, interpolation=cv2.INTER_NEAREST)[self._part] > 0)

    def _key_studio(self, picture: Planes) -> Plane:
        """Return the share of what stands beside the screen, by how little a pixel differs from what is seen there."""
        low, high = (split(limit[self._part]) for limit in self._screen.studio_limits)
        beyond = [np.maximum(low - own, own - high) for low, own, high in zip(low, picture, high, strict=True)]
        difference, brightness = reduce(np.maximum, beyond), reduce(np.maximum, self._behind)
        alpha = np.clip((difference - 0.02 - 0.05 * brightness) / (0.04 + 0.1 * brightness), 0, 1)
        smooth = cv2.GaussianBlur(cv2.medianBlur(alpha.astype(np.float32), 5), (0, 0), 1.0)
        return np.asarray(1 - smooth, dtype=np.float32)

    def lift(self, picture: Planes, share: Plane, taken: Plane, gain: np.float32) -> tuple[Plane, Planes]:
        """Take the screen's light off an image; return alpha, and the foreground's light times alpha.

        Parameters
        ----------
        picture : sequence of three (h, w) ndarray of float32
            The image.
        share : (h, w) ndarray of float32
            Of the screen.
        taken : (h, w) ndarray of float32
            How much of the empty screen's light is taken off.
        gain : float
            Of the frame, which the foreground's light gets back.
        """
        alpha = np.minimum(share, 1)
        np.subtract(1, alpha, out=alpha)
        light = [taken * plane for plane in self._behind]
        for plane, own in zip(light, picture, strict=True):
            np.subtract(own, plane, out=plane)
        high = self._screen.high
        spill = differ(light, high)
        if self._own_purity is not None:
            # Skin is yellow too: only along edges, and only what the foreground nearby has not of its own.
            spill -= self._own_purity * light[1]
            soft = cv2.GaussianBlur(np.minimum(share, 1), (0, 0), _EDGE_SPILL_PX)
            spill *= np.clip(_EDGE_SPILL * soft, 0, 1)
        else:
            spill *= alpha
        np.maximum(spill, 0, out=spill)
        for channel in high:
            light[channel] -= spill
        # Nothing is darker than black or brighter than white: noise of the screen does not become a veil.
        for plane in light:
            if gain != 1:
                plane *= gain
            np.maximum(plane, 0, out=plane)
            np.minimum(plane, alpha, out=plane)
        return alpha, light


@dataclass(frozen=True)
class _Frames:
    """A sequence's sharp frames, as `key_along` asks them."""

    sequence: _Sequence
    pictures: Sequence[Planes]

    def key(self, index: int) -> Plane:
        return self.sequence.key(self.pictures[index], index)

    def key_pixels(self, index: int, chosen: NDArray[np.intp]) -> NDArray[np.float32]:
        return self.sequence.key_pixels(self.pictures[index], index, chosen)

    def miss(self, index: int, share: Plane) -> Plane:
        return self.sequence.miss(index, share)


def _find_part(swept: Plane, shape: tuple[int, ...]) -> tuple[slice, slice]:
    """Return the rows and columns in which a sequence has any foreground, by its greatest coarse alpha."""
    # A lone cell is noise, and loose hair is near what is more.
    swept = np.asarray(cv2.medianBlur(swept, 3), dtype=np.float32)
    slices = []
    for axis, length in enumerate(shape[:2]):
        cells = np.flatnonzero((swept > _SWEPT_ALPHA).any(axis=1 - axis))
        if not len(cells):
            return slice(0, 1), slice(0, 1)
        scale = length / swept.shape[axis]
        first, last = int(cells[0] * scale) - _AROUND_PX, int((cells[-1] + 1) * scale) + _AROUND_PX
        slices.append(slice(max(first, 0), min(last, length)))
    return slices[0], slices[1]


def _take(planes: Planes, chosen: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return (3, n) values of some pixels."""
    return np.stack([plane.take(chosen) for plane in planes])


def _empty_matte(shape: tuple[int, ...]) -> Matte:
    return Matte(np.zeros(shape, dtype=np.float32), np.zeros((*shape, 3), dtype=np.float32))


def _normalize(
    image_linear: NDArray[np.float32], screen: Screen
) -> tuple[NDArray[np.float32], np.float32, NDArray[np.float32]]:
    grid_linear = shrink(image_linear, screen.grid)
    gain = screen.measure_gain(grid_linear)
    return image_linear, gain, grid_linear * (1 / gain)


def _measure_purity(color_linear: NDArray[np.float32]) -> Plane:
    """Return how yellow colors are, relative to their brightness."""
    purity = color_difference(color_linear, YELLOW) / (color_linear[..., 1] + np.float32(0.01))
    return np.asarray(np.maximum(purity, 0), dtype=np.float32)


def _bound_to_one(share: NDArray[np.floating]) -> Plane:
    return np.asarray(np.clip(share, 0, 1), dtype=np.float32)


def _bound(share: Plane) -> Plane:
    return np.clip(share, np.float32(-0.1), _MAX_GLARE)


def _halve(plane: Plane) -> Plane:
    height, width = plane.shape
    return shrink(plane, (-(-width // 2), -(-height // 2)))


def _sharpen(share: Plane) -> Plane:
    """Give an edge back what it lost on the way, by unsharp masking: a linear filter, under which a mean stays one."""
    small = np.asarray(cv2.GaussianBlur(_halve(share), (0, 0), _SOFTNESS_PX / 2), dtype=np.float32)
    blurred = enlarge(small, share.shape[::-1])
    return np.asarray(cv2.addWeighted(share, 1 + _SHARPENED, blurred, -_SHARPENED, 0), dtype=np.float32)


def _settle(share: Plane) -> Plane:
    """Make opaque what lies deep inside the foreground, and empty what lies far from it."""
    share = _smooth_ends(share)
    half = _halve(share)
    inside, outside = _distance_to(half > _ANY_SCREEN), _distance_to(half < _MOST_SCREEN)
    kept, empty = _bound_to_one(1 + (_INNER_PX - inside) / 2), _bound_to_one((outside - _OUTER_PX) / 2)
    share *= enlarge(kept * (1 - empty), share.shape[::-1])
    share += enlarge(empty, share.shape[::-1])
    return share


def _distance_to(mask: NDArray[np.bool_]) -> Plane:
    """Return how far, in pixels, the pixels of half the size lie from a mask."""
    distance = cv2.distanceTransform((~mask).view(np.uint8), cv2.DIST_L2, 3)
    # An empty mask is infinitely far.
    return np.asarray(2 * np.minimum(distance, np.float32(sum(mask.shape))), dtype=np.float32)


def _smooth_ends(share: Plane) -> Plane:
    """Average noise where a pixel and its surroundings are nearly all screen or nearly all foreground.

    Edges are left alone; clipped noise would otherwise add up to a veil.
    """
    bounded = _bound(share)
    smooth = np.asarray(cv2.GaussianBlur(bounded, (5, 5), 1.2), dtype=np.float32)
    settled = smooth - np.float32(0.5)
    np.abs(settled, out=settled)
    settled -= np.float32(0.35)
    settled *= np.float32(10)
    np.clip(settled, 0, 1, out=settled)
    smooth -= bounded
    smooth *= settled
    bounded += smooth
    return np.maximum(bounded, 0, out=bounded)
