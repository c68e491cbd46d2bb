"""The screen behind the foreground of a green-screen take: its color, its shading, and the studio around it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, reduce

import cv2
import numpy as np
from numpy.typing import NDArray

from rb2v.choices import ScreenColor
from rb2v.errors import Rb2vError

Plane = NDArray[np.float32]
Planes = Sequence[Plane]
"""The three channels of an image."""

GREEN: tuple[int, ...] = (1,)  # the second of red, green and blue
YELLOW: tuple[int, ...] = (0, 1)  # with red
BLUE: tuple[int, ...] = (2,)
"""Channels in which a screen stands above the others, the leading one last: green alone, or with red for a yellow-green
cloth, or blue."""

_GRID_CELLS = 112  # colors of screen and foreground vary slowly, and are kept on a grid of about this many cells
_SHADING_SIGMA_PX = 8.0  # of the frame: noise is averaged, shadows and folds stay
_EDGE_PX = 8  # about what is not a screen, that may be a mixture
_MIN_GREENNESS = 0.25  # gap between a screen's high and low channels relative to green, in linear light
_MIN_GREEN_TO_RED = 0.8  # yellow-green cloth is more red than green through some cameras, skin far more
_HUE_BINS, _HUE_RANGE = [25, 20], [[0.0, 1.25], [0.0, 1.0]]  # of red and blue, relative to green
_BORDER_WEIGHT = 3.0  # of what lies along the image's borders, where a screen is seen rather than a foreground
_MIN_GREEN = 0.02  # darker is not a screen, but a border or a stand
_MIN_SCREEN_SHARE = 0.1  # of the pixels
_MIN_UNSTATED_BLUE = 0.2  # the same for a blue one that take.yaml does not state
_MIN_SEEN_SHARE = 0.02  # of the frames' pixels, where a plate shows the screen
_MAX_HUE_DISTANCE = 0.2  # of red and blue, relative to green
_HAIR_CELLS, _MIN_BESIDE = 12, 0.8  # how far around the screen is looked for, and how bright it is in a hair's place
_MIN_STUDIO_SHARE = 0.005  # of the pixels; less is noise along the screen's rim
_STILL = 0.1  # median deviation, relative to the light, below which the studio beside the screen is static
_STUDIO_REACH_PX = 2  # by which its edges may seem to lie elsewhere: codecs, noise, a rig that was touched
_SHADING_LIMITS = (0.25, 2.0)  # brightness of the screen in a frame, relative to the take's
_PLATE_SIGMA_PX = 1.5  # takes noise off the screen; what stands beside it stays sharp


_MIN_BLUENESS = 1.5  # a clear sky has 1.2 to 1.4 in linear light, blue screens 2 and more

_ALL_SCREEN = 0.99  # share of a cell: the rest is rounding
_SHADE_TOLERANCE = 0.03  # of the screen's hue in a frame, in which its shadows are told: mixtures differ by more
_SHADE_LIMITS = (0.5, 1.3)  # of the brightness there, relative to what is foretold
_SHADE_SIGMA_PX = 5.0  # averages noise; what is left beyond the foretold shadow is soft
_STRAND_PX, _STRAND_DEPTH = 18.0, 0.03  # dark strands are thinner than shadows, and at least so dark


@dataclass(frozen=True, eq=False)
class Screen:
    """What a take's frames would show without their foreground."""

    linear: NDArray[np.float32]
    """(H, W, 3) RGB in linear light."""
    high: tuple[int, ...]
    """`GREEN`, `YELLOW` or `BLUE`."""
    studio: Plane | None
    """(H, W) share, 0..1, of what is not screen but is static beside it; None where the screen fills the image."""

    @property
    def lead(self) -> int:
        """The channel that is highest, or second to red before yellow cloth."""
        return self.high[-1]

    @cached_property
    def color_linear(self) -> NDArray[np.float32]:
        """(3,) the median color of the screen."""
        seen = self.grid_linear[self.screen_share > 0.5]
        return np.asarray(np.median(seen if len(seen) else self.grid_linear.reshape(-1, 3), axis=0), dtype=np.float32)

    @cached_property
    def grid(self) -> tuple[int, int]:
        """Width and height, in cells, of the grid on which slowly varying colors are kept."""
        return grid_size(self.linear.shape[:2], _GRID_CELLS)

    @cached_property
    def studio_limits(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """(H, W, 3) least and greatest light nearby, within which a pixel of the studio may lie."""
        around = np.ones((2 * _STUDIO_REACH_PX + 1,) * 2, np.uint8)
        low, high = cv2.erode(self.linear, around), cv2.dilate(self.linear, around)
        return np.asarray(low, dtype=np.float32), np.asarray(high, dtype=np.float32)

    @cached_property
    def grid_linear(self) -> NDArray[np.float32]:
        """(h, w, 3) the screen on that grid."""
        return shrink(self.linear, self.grid)

    @cached_property
    def screen_share(self) -> Plane:
        """(h, w) share of each cell of the grid that is screen."""
        if self.studio is None:
            return np.ones(self.grid[::-1], dtype=np.float32)
        return 1 - shrink(self.studio, self.grid)

    def measure_gain(self, grid_linear: NDArray[np.float32]) -> np.float32:
        """Return how much brighter a frame's screen is than this one; lamps flicker and exposure drifts."""
        ratio, is_screen = self._compare(np.ascontiguousarray(grid_linear[::2, ::2]), self._every_second)
        if np.count_nonzero(is_screen) < 0.02 * is_screen.size:
            return np.float32(1)
        return np.float32(np.median(ratio[is_screen]))

    def measure_shading(self, grid_linear: NDArray[np.float32]) -> Plane:
        """Return, on the grid, the brightness of a frame's screen relative to this one: less where a shadow falls.

        Parameters
        ----------
        grid_linear : (h, w, 3) ndarray of float32
            A frame, or the mean of a few, on the grid and freed from its gain.
        """
        ratio, is_screen = self._compare(grid_linear, (self.grid_linear, self.screen_share > _ALL_SCREEN))
        cell_px = max(self.linear.shape[:2]) / max(self.grid)
        seen = erode(is_screen.astype(np.uint8), max(1, round(_EDGE_PX / cell_px))).astype(np.float32)
        shading = _fill(ratio[..., None], seen, np.ones(1, dtype=np.float32))
        return np.asarray(cv2.GaussianBlur(shading, (0, 0), _SHADING_SIGMA_PX / cell_px), dtype=np.float32)

    def see_shading(self, grid_linear: NDArray[np.float32], expected: Plane) -> tuple[Plane, Plane]:
        """Compare a frame's screen with what is foretold of its shadows.

        Parameters
        ----------
        grid_linear : (h, w, 3) ndarray of float32
            A frame on the grid, freed from its gain.
        expected : (h, w) ndarray of float32
            Brightness of its screen relative to this one, as foretold.

        Returns
        -------
        ratio, seen : (h, w) ndarray of float32
            Brightness relative to what is foretold, and 1 where it is the screen's, 0 elsewhere.
        """
        foretold = self.grid_linear * cv2.merge([expected] * 3)
        ones = np.ones((1, 3), np.float32)
        product, square = (cv2.transform(image * foretold, ones) for image in (grid_linear, foretold))
        ratio = np.asarray(product / np.maximum(square, np.float32(1e-6)), dtype=np.float32)
        off = reduce(np.maximum, split(np.abs(grid_linear - cv2.merge([ratio] * 3) * foretold)))
        low, high = _SHADE_LIMITS
        seen = (off < _SHADE_TOLERANCE * ratio * foretold[..., self.lead]) & (ratio > low) & (ratio < high)
        seen &= self.screen_share > _ALL_SCREEN
        seen = erode(seen.astype(np.uint8), 1) > 0
        # Dark strands over the screen have its hue too: a closing fills them, and leaves slopes of shadows alone.
        cell_px = max(self.linear.shape[:2]) / max(self.grid)
        around = np.ones((2 * round(_STRAND_PX / cell_px / 2) + 1,) * 2, np.uint8)
        brightest = cv2.dilate(np.where(seen, ratio, 0), around)
        closed = cv2.erode(np.where(brightest > 0, brightest, high), around)
        seen &= ratio > closed - _STRAND_DEPTH
        return ratio, seen.astype(np.float32)

    def follow_shading(self, grid_linear: NDArray[np.float32], expected: Plane) -> Plane:
        """Return, on the grid, a frame's brightness of the screen relative to this one: as foretold where it is hidden.

        Parameters
        ----------
        grid_linear : (h, w, 3) ndarray of float32
            The frame on the grid, freed from its gain.
        expected : (h, w) ndarray of float32
            What is foretold.
        """
        ratio, seen = self.see_shading(grid_linear, expected)
        left = _fill(ratio[..., None], seen, np.ones(1, dtype=np.float32)).reshape(expected.shape)
        cell_px = max(self.linear.shape[:2]) / max(self.grid)
        return np.asarray(expected * cv2.GaussianBlur(left, (0, 0), _SHADE_SIGMA_PX / cell_px), dtype=np.float32)

    @cached_property
    def _every_second(self) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
        some = (slice(None, None, 2),) * 2
        return np.ascontiguousarray(self.grid_linear[some]), self.screen_share[some] > _ALL_SCREEN

    def _compare(
        self, grid_linear: NDArray[np.float32], screen: tuple[NDArray[np.float32], NDArray[np.bool_]]
    ) -> tuple[Plane, NDArray[np.bool_]]:
        planes, behind = split(grid_linear), split(screen[0])
        green = behind[self.lead]
        ratio = np.asarray(planes[self.lead] / np.maximum(green, np.float32(1e-3)), dtype=np.float32)
        low, high = _SHADING_LIMITS
        is_screen = (ratio > low) & (ratio < high) & screen[1]
        for plane, there in zip(planes, behind, strict=True):
            is_screen &= np.abs(plane - ratio * there) < np.float32(0.1) * ratio * green
        return ratio, is_screen


def estimate_screen(
    frames_linear: list[NDArray[np.float32]],
    plate_linear: NDArray[np.float32] | None = None,
    color: ScreenColor = "auto",
) -> Screen:
    """Find what stands behind the foreground, in a clean plate or else in the frames.

    Parameters
    ----------
    frames_linear : list of (H, W, 3) ndarray of float32
        A few frames from all over the take, in linear light.
    plate_linear : (H, W, 3) ndarray of float32, optional
        A frame without foreground.
    color : {"auto", "green", "blue"}
        The screen's color, where it is known.

    Raises
    ------
    Rb2vError
        If no such screen is seen, or another in the plate than in the frames.
    """
    if plate_linear is not None:
        try:
            hue = _find_hue([plate_linear], color)
        except Rb2vError as error:
            raise Rb2vError(f"the clean plate (plate_blurry.png or plate_sharp.png): {error}") from error
        seen = float(np.mean([_near(frame, hue) for frame in frames_linear]))
        if seen < _MIN_SEEN_SHARE:
            raise Rb2vError(f"the screen of the clean plate is not seen: {seen:.0%} of the frames has its color")
        screen = _close(_near(plate_linear, hue))
        studio = _soften_studio(screen)
        linear = np.asarray(cv2.GaussianBlur(plate_linear, (0, 0), _PLATE_SIGMA_PX), dtype=np.float32)
        if studio is not None:
            linear += studio[..., None] * (plate_linear - linear)
        return Screen(linear, hue.high, studio)
    hue = _find_hue(frames_linear, color)
    frames_linear = _level(frames_linear, hue)
    near = [_near(frame, hue) for frame in frames_linear]
    surface = _median_screen(frames_linear, near, hue.lead)
    beside = np.median(frames_linear, axis=0)
    studio = _find_studio(frames_linear, beside, np.any(near, axis=0))
    if studio is not None:
        surface = surface + studio[..., None] * (beside - surface)
    return Screen(np.ascontiguousarray(surface, dtype=np.float32), hue.high, studio)


def check_screen(frames_linear: list[NDArray[np.float32]], color: ScreenColor = "auto") -> None:
    """Check that (H, W, 3) frames in linear light show a screen that can be keyed.

    Raises
    ------
    Rb2vError
        If no such screen is seen.
    """
    _find_hue(frames_linear, color)


def color_difference(image_linear: NDArray[np.float32], high: tuple[int, ...]) -> Plane:
    """Return by how much the least of the high channels stands above the greatest of the others."""
    return differ(split(image_linear), high)


def differ(planes: Planes, high: tuple[int, ...]) -> Plane:
    """Return the same of an image's channels."""
    least = reduce(np.minimum, [planes[channel] for channel in high])
    greatest = reduce(np.maximum, [planes[channel] for channel in range(3) if channel not in high])
    return np.asarray(least - greatest, dtype=np.float32)


def split(image: NDArray[np.float32]) -> list[Plane]:
    """Return the channels of an image, each on its own."""
    return [np.asarray(plane, dtype=np.float32) for plane in cv2.split(image)]


def grid_size(shape: tuple[int, ...], n_cells: int) -> tuple[int, int]:
    """Return width and height of a grid whose shorter side has about so many cells."""
    step = max(1, min(shape[:2]) // n_cells)
    return -(-shape[1] // step), -(-shape[0] // step)


def shrink(image: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    """Return the means of an image's parts."""
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), dtype=np.float32)


def enlarge(image: NDArray[np.float32], size: tuple[int, ...]) -> NDArray[np.float32]:
    """Return an image between whose pixels there are others now."""
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_LINEAR), dtype=np.float32)


def erode(mask: NDArray[np.uint8], radius: int) -> NDArray[np.uint8]:
    """Take a margin off a mask."""
    return np.asarray(cv2.erode(mask, np.ones((2 * radius + 1, 2 * radius + 1), np.uint8)), dtype=np.uint8)


@dataclass(frozen=True)
class _Hue:
    """A screen's hue: its two other channels relative to the leading one, in the order of red, green and blue."""

    ratios: tuple[float, float]
    high: tuple[int, ...]

    @property
    def lead(self) -> int:
        return self.high[-1]


def _others(lead: int) -> list[int]:
    return [channel for channel in range(3) if channel != lead]


def _find_hue(frames_linear: list[NDArray[np.float32]], color: ScreenColor) -> _Hue:
    """Return the screen's hue, preferring what lies along the borders."""
    height, width = frames_linear[0].shape[:2]
    inset = max(1, min(height, width) // 10)
    border = np.ones((height, width), dtype=bool)
    border[inset:-inset, inset:-inset] = False
    pixels = np.stack(frames_linear)
    weights = np.broadcast_to(np.where(border, _BORDER_WEIGHT, 1.0), pixels.shape[:-1])
    leads = [lead for name, lead in (("green", GREEN[0]), ("blue", BLUE[0])) if color in ("auto", name)]
    fitting = {lead: _is_screen_color(pixels, lead) for lead in leads}
    shares = {lead: float(fits.mean()) for lead, fits in fitting.items()}
    # Blue walls and panels are common: one that nobody states to be a screen has to be larger.
    least = {lead: _MIN_UNSTATED_BLUE if lead == BLUE[0] and color == "auto" else _MIN_SCREEN_SHARE for lead in leads}
    large = [lead for lead in leads if shares[lead] >= least[lead]]
    if not large:
        names = {GREEN[0]: "green", BLUE[0]: "blue"}
        first, *rest = (f"{shares[lead]:.0%} of the image is {names[lead]}" for lead in leads)
        raise Rb2vError(f"no {names[leads[0]]} screen is seen: {', '.join((first, *rest))}")
    lead = max(large, key=lambda lead: float(weights[fitting[lead]].sum()))
    chosen = pixels[fitting[lead]]
    ratios = chosen[:, _others(lead)] / chosen[:, lead : lead + 1]
    # The hue that most of them share: a studio has other green and yellow things in it.
    counts, *edges = np.histogram2d(ratios[:, 0], ratios[:, 1], _HUE_BINS, _HUE_RANGE, weights=weights[fitting[lead]])
    peak = np.unravel_index(np.argmax(cv2.GaussianBlur(counts, (5, 5), 0)), counts.shape)
    center = [edge[index : index + 2].mean() for edge, index in zip(edges, peak, strict=True)]
    alike = ratios[(np.abs(ratios - center) < _MAX_HUE_DISTANCE).all(axis=1)]
    hue = float(np.median(alike[:, 0])), float(np.median(alike[:, 1]))
    if lead != GREEN[0]:
        return _Hue(hue, BLUE)
    shade = np.array([[[hue[0], 1.0, hue[1]]]], dtype=np.float32)
    gaps = {high: color_difference(shade, high).item() for high in (GREEN, YELLOW)}
    return _Hue(hue, max(gaps, key=gaps.__getitem__))


def _is_screen_color(pixels: NDArray[np.float32], lead: int) -> NDArray[np.bool_]:
    """Return which pixels a green or yellow-green screen, or a blue one, may show."""
    red, green, blue = np.moveaxis(pixels, -1, 0)
    if lead == BLUE[0]:
        return np.asarray((blue > _MIN_BLUENESS * np.maximum(red, green)) & (blue > 0.01))
    gap = np.maximum(green - np.maximum(red, blue), np.minimum(red, green) - blue)
    return np.asarray(
        (green >= np.maximum(_MIN_GREEN_TO_RED * red, blue)) & (gap > np.maximum(_MIN_GREENNESS * green, 0.01))
    )


def _near(image_linear: NDArray[np.float32], hue: _Hue) -> NDArray[np.bool_]:
    lead = image_linear[..., hue.lead]
    near = lead > _MIN_GREEN
    for channel, ratio in zip(_others(hue.lead), hue.ratios, strict=True):
        near &= np.abs(image_linear[..., channel] - ratio * lead) < _MAX_HUE_DISTANCE * lead
    return np.asarray(near)


def _level(frames_linear: list[NDArray[np.float32]], hue: _Hue) -> list[NDArray[np.float32]]:
    """Bring the frames to one brightness of the screen, which lamps and exposure may change by half."""
    levels = [
        float(np.median(frame[..., hue.lead][near])) if near.any() else np.nan
        for frame, near in ((frame, _near(frame, hue)) for frame in frames_linear)
    ]
    middle = float(np.nanmedian(levels))
    return [
        frame if np.isnan(level) else frame * np.float32(middle / level)
        for frame, level in zip(frames_linear, levels, strict=True)
    ]


def _median_screen(
    frames_linear: list[NDArray[np.float32]], near: list[NDArray[np.bool_]], lead: int
) -> NDArray[np.float32]:
    """Return the screen's color at every pixel: the median over frames, smoothly filled in where it is never seen."""
    height, width = frames_linear[0].shape[:2]
    grid = grid_size((height, width), _GRID_CELLS)
    margin = max(1, min(height, width) // 200)
    stack = np.stack([shrink(frame, grid) for frame in frames_linear])
    seen = np.stack([shrink(erode(mask.astype(np.uint8), margin).astype(np.float32), grid) for mask in near]) > 0.99
    # Dark hair over the screen has its hue too, but the screen beside it is brighter.
    reach = np.ones((2 * _HAIR_CELLS + 1, 2 * _HAIR_CELLS + 1), np.uint8)
    green = np.where(seen, stack[..., lead], 0)
    seen &= green > _MIN_BESIDE * np.stack([cv2.dilate(plane, reach) for plane in green])
    if seen.mean() < _MIN_SCREEN_SHARE / 2:
        raise Rb2vError(f"no green screen is seen: {seen.mean():.0%} of the image has its color")
    never = ~seen.any(axis=0)
    stack[~seen] = np.nan
    stack[:, never] = 0
    surface = np.asarray(np.nanmedian(stack, axis=0), dtype=np.float32)
    typical = np.stack([np.median(plane[~never]) for plane in np.moveaxis(surface, -1, 0)])
    filled = _fill(surface, np.asarray(~never, dtype=np.float32), typical)
    return enlarge(np.asarray(cv2.GaussianBlur(filled, (3, 3), 0), dtype=np.float32), (width, height))


def _find_studio(
    frames_linear: list[NDArray[np.float32]], beside: NDArray[np.float32], ever_screen: NDArray[np.bool_]
) -> Plane | None:
    """Return what lies outside the screen's outline and never changes, where the screen ends inside the image.

    That is seen where it touches neither the left border nor the right one anywhere: before a screen that fills the
    image a foreground may hide any of its corners.
    """
    sure = erode(ever_screen.astype(np.uint8), max(1, min(ever_screen.shape) // 200))
    strip = max(1, ever_screen.shape[1] // 50)
    if sure[:, :strip].any() or sure[:, -strip:].any():
        return None
    outline = np.zeros(ever_screen.shape, dtype=np.uint8)
    cv2.fillConvexPoly(outline, cv2.convexHull(np.argwhere(sure)[:, ::-1].astype(np.int32)), 1)
    # What passes before it now and then does not move the median.
    deviation = np.median([np.abs(frame - beside).max(axis=-1) for frame in frames_linear], axis=0)
    still = deviation < _STILL * (beside.max(axis=-1) + _STILL)
    return _soften_studio((outline > 0) | (cv2.blur(still.astype(np.float32), (9, 9)) <= 0.5))


def _close(screen: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Fill the holes that wrinkles and noise leave in a screen, and drop specks of its hue elsewhere."""
    radius = max(1, min(screen.shape) // 60)
    kernel = np.ones((2 * radius + 1, 2 * radius + 1), np.uint8)
    padded = cv2.copyMakeBorder(screen.astype(np.uint8), *4 * (radius,), cv2.BORDER_REPLICATE)
    closed = cv2.morphologyEx(cv2.morphologyEx(padded, cv2.MORPH_CLOSE, kernel), cv2.MORPH_OPEN, kernel)
    return np.asarray(closed[radius:-radius, radius:-radius] > 0)


def _soften_studio(screen: NDArray[np.bool_]) -> Plane | None:
    if np.mean(~screen) < _MIN_STUDIO_SHARE:
        return None
    # The rim of the screen is a mixture, and better told from the studio.
    studio = 1 - erode(screen.astype(np.uint8), 2)
    return np.asarray(cv2.GaussianBlur(studio.astype(np.float32), (5, 5), 0), dtype=np.float32)


def _fill(values: NDArray[np.float32], weight: Plane, prior: NDArray[np.float32]) -> NDArray[np.float32]:
    """Fill in (h, w, n) values where their weight is 0, smoothly from all around (pull-push over a pyramid).

    References
    ----------
    .. [1] Gortler et al., "The Lumigraph", SIGGRAPH 1996, section 3.4.
    """
    pyramid = [np.concatenate([values * weight[..., None], weight[..., None]], axis=-1)]
    while max(pyramid[-1].shape[:2]) > 1:
        height, width = pyramid[-1].shape[:2]
        half = (-(-width // 2), -(-height // 2))
        pyramid.append(shrink(pyramid[-1], half))
    filled = np.broadcast_to(prior, (*pyramid[-1].shape[:2], len(prior))).astype(np.float32)
    for level in reversed(pyramid):
        height, width = level.shape[:2]
        coarse = enlarge(filled, (width, height)).reshape(height, width, len(prior))
        known = level[..., -1:]
        own = level[..., :-1] / np.maximum(known, np.float32(1e-6))
        trust = np.minimum(4 * known, 1)
        filled = np.asarray(trust * own + (1 - trust) * coarse, dtype=np.float32)
    return filled
