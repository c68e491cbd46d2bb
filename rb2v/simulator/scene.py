"""Scenes in continuous time: what can be rendered at any instant through any homography, in linear light.

A scene lives on a plane whose unit is a pixel of the reference view, with the origin at that view's center.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Protocol

import cv2
import numpy as np
from numpy.typing import NDArray

from rb2v.core.color import to_linear
from rb2v.core.homography import Homography, warp_points
from rb2v.errors import InputError
from rb2v.io.video import iter_frames, map_frames
from rb2v.simulator import textures

CLIP_TICKS_PER_SECOND = 600.0  # of the blur track
CLIP_LEAD_TICKS = 9
"""Ticks before time 0, so that the first blurry exposure, 19 ticks long, lies inside the clip."""
_STEP_PX = 0.75
"""How far a layer moves between two instants at which it is drawn; what moves less in all is drawn once.

In the mean over a 720x540 street an exposure then differs by 7e-5 of the light from one of 120 instants, where 24
instants for every layer differ by 3e-5 and the read noise is 6e-4.
"""
_MIN_STEPS = 12
"""How often what moves further is drawn at least: with 9 times, a frame of 192x160 differs by 3e-4."""


class Scene(Protocol):
    """Anything that can be rendered at an instant."""

    def instants(self, center_seconds: float, exposure_seconds: float, n_instants: int) -> NDArray[np.float64]:
        """Return the times, in seconds, whose mean is an exposure: ``n_instants`` or fewer, evenly spread over it."""
        ...

    def render(self, time_seconds: float, scene_to_view: Homography, size: tuple[int, int]) -> NDArray[np.float32]:
        """Return the (height, width, 3) linear light at an instant, seen through a homography."""
        ...

    def foreground(
        self, time_seconds: float, scene_to_view: Homography, size: tuple[int, int]
    ) -> NDArray[np.float32] | None:
        """Return the foreground alone; None where there is no green screen, or nobody knows what is foreground.

        Returns
        -------
        (height, width, 4) ndarray of float32, or None
            Its linear light times its opacity, without what the screen spills on it, and its opacity.
        """
        ...


@dataclass(frozen=True)
class Wave:
    """A smooth quantity: ``center + amplitude * sin(2 pi (frequency t + phase))``."""

    center: float = 0.0
    amplitude: float = 0.0
    frequency_hz: float = 0.0
    phase: float = 0.0

    def __call__(self, time_seconds: float) -> float:
        """Return the value at a time."""
        return self.center + self.amplitude * float(np.sin(2 * np.pi * (self.frequency_hz * time_seconds + self.phase)))

    def slope(self, time_seconds: float) -> float:
        """Return the change per second at a time."""
        angular = 2 * np.pi * self.frequency_hz
        return self.amplitude * angular * float(np.cos(angular * time_seconds + 2 * np.pi * self.phase))

    def scaled(self, share: float) -> Wave:
        """Return the same wave with its amplitude multiplied."""
        return Wave(self.center, self.amplitude * share, self.frequency_hz, self.phase)

    def moved(self, distance: float) -> Wave:
        """Return the same wave about another middle."""
        return Wave(self.center + distance, self.amplitude, self.frequency_hz, self.phase)


@dataclass(frozen=True)
class Motion:
    """A path on the plane: place, rotation and size over time."""

    x_px: Wave
    y_px: Wave
    angle_degrees: Wave = Wave()
    scale: Wave = Wave(center=1.0)

    def at(self, time_seconds: float) -> Homography:
        """Return the similarity from the mover's own frame, origin at its center, to the plane."""
        angle, scale = np.deg2rad(self.angle_degrees(time_seconds)), self.scale(time_seconds)
        cosine, sine = scale * np.cos(angle), scale * np.sin(angle)
        return np.array(
            [[cosine, -sine, self.x_px(time_seconds)], [sine, cosine, self.y_px(time_seconds)], [0.0, 0.0, 1.0]]
        )

    @property
    def is_static(self) -> bool:
        """Whether nothing changes over time."""
        return not any(wave.amplitude for wave in (self.x_px, self.y_px, self.angle_degrees, self.scale))

    def scaled(self, share: float) -> Motion:
        """Return the same path with every movement about its middle multiplied."""
        return Motion(*(wave.scaled(share) for wave in (self.x_px, self.y_px, self.angle_degrees, self.scale)))

    def moved(self, x_px: float, y_px: float) -> Motion:
        """Return the same path at another place."""
        return Motion(self.x_px.moved(x_px), self.y_px.moved(y_px), self.angle_degrees, self.scale)


def orbit(rng: np.random.Generator, radius_px: float, frequency_hz: float) -> tuple[Wave, Wave]:
    """Return x and y of an elliptic path, on which the speed never falls to zero."""
    phase, turn = rng.uniform(), rng.choice([-0.25, 0.25])
    frequency = frequency_hz * rng.uniform(0.8, 1.25)
    return (
        Wave(0.0, radius_px * rng.uniform(0.8, 1.2), frequency, phase),
        Wave(0.0, radius_px * rng.uniform(0.5, 0.9), frequency, phase + turn),
    )


@dataclass(frozen=True, eq=False)
class Mover:
    """A cut-out and its path."""

    rgba: NDArray[np.float32]
    """(h, w, 4) linear light times opacity, and opacity."""
    motion: Motion
    seen: NDArray[np.float32] | None = None
    """The same in the light that the screen spills on it, as cameras see it; None where there is no such light."""

    @property
    def texture(self) -> NDArray[np.float32]:
        """The cut-out as cameras see it."""
        return self.rgba if self.seen is None else self.seen

    def draw(self, picture: NDArray[np.float32], time_seconds: float, scene_to_view: Homography) -> None:
        """Composite the cut-out, as cameras see it, over an (H, W, 4) image of premultiplied light in place."""
        self._lay(self.texture, picture, time_seconds, scene_to_view)

    def draw_foreground(self, picture: NDArray[np.float32], time_seconds: float, scene_to_view: Homography) -> None:
        """Composite the cut-out itself over an (H, W, 4) image of premultiplied light and alpha in place."""
        self._lay(self.rgba, picture, time_seconds, scene_to_view)

    def _lay(
        self, rgba: NDArray[np.float32], picture: NDArray[np.float32], time_seconds: float, scene_to_view: Homography
    ) -> None:
        drawn = _draw_texture(rgba, scene_to_view @ self.motion.at(time_seconds), picture.shape)
        if drawn is None:
            return
        region, layer = drawn
        below = picture[region]
        # By OpenCV: numpy takes twice as long on a part of an image, and broadcasts over a short axis slower still.
        cv2.multiply(below, cv2.merge([1 - cv2.extractChannel(layer, 3)] * 4), dst=below)
        cv2.add(below, layer, dst=below)


@dataclass(frozen=True, eq=False)
class Shadow:
    """What a mover takes of the light on the wall behind it."""

    shade: NDArray[np.float32]
    """(h, w) share of the light, 0 along the edge."""
    motion: Motion

    def draw(self, picture: NDArray[np.float32], time_seconds: float, scene_to_view: Homography) -> None:
        """Darken the light of an (H, W, 4) image in place; what becomes of its alpha has no meaning."""
        drawn = _draw_texture(self.shade, scene_to_view @ self.motion.at(time_seconds), picture.shape)
        if drawn is None:
            return
        region, shade = drawn
        cv2.multiply(picture[region], cv2.merge([1 - shade] * 4), dst=picture[region])


_Region = tuple[slice, slice]


def _draw_texture(
    texture: NDArray[np.float32], to_view: Homography, view_shape: tuple[int, ...]
) -> tuple[_Region, NDArray[np.float32]] | None:
    """Return the part of a view that a texture covers, and what is seen of the texture there; None where nothing is."""
    place = _place(texture.shape, view_shape, to_view)
    if place is None:
        return None
    (rows, columns), to_region = place
    size = (columns.stop - columns.start, rows.stop - rows.start)
    return (rows, columns), np.asarray(cv2.warpPerspective(texture, to_region, size), dtype=np.float32)


def _place(
    shape: tuple[int, ...], view_shape: tuple[int, ...], to_view: Homography
) -> tuple[_Region, Homography] | None:
    """Return the part of a view that a texture covers, and the way from the texture's pixels to that part's."""
    height, width = shape[:2]
    own_to_view = to_view @ _centering(width, height)
    corners = warp_points(own_to_view, _corners(width, height))
    low = np.maximum(np.floor(corners.min(axis=0)).astype(int) - 1, 0)
    high = np.minimum(np.ceil(corners.max(axis=0)).astype(int) + 2, view_shape[1::-1])
    if np.any(high <= low):
        return None
    to_region = np.array([[1, 0, -low[0]], [0, 1, -low[1]], [0, 0, 1]], dtype=np.float64) @ own_to_view
    return (slice(int(low[1]), int(high[1])), slice(int(low[0]), int(high[0]))), to_region


def _corners(width: int, height: int) -> NDArray[np.float64]:
    return np.array([[0, 0], [width, 0], [0, height], [width, height]], dtype=np.float64)


def _displacement(views: Sequence[Homography], size: tuple[int, int]) -> NDArray[np.float32]:
    """Return the way of every pixel from the first to the last of three views of one plane, the pixels the second's."""
    width, height = size
    x, y = np.meshgrid(np.arange(width, dtype=np.float64), np.arange(height, dtype=np.float64))
    # Not by `warp_points`: many small fields are wanted.
    points = np.linalg.inv(views[1]) @ np.stack([x.ravel(), y.ravel(), np.ones(width * height)])
    first, last = views[0] @ points, views[2] @ points
    moved = last[:2] / last[2] - first[:2] / first[2]
    return np.asarray(moved.T.reshape(height, width, 2), dtype=np.float32)


def _centering(width: int, height: int) -> Homography:
    return np.array([[1, 0, -(width - 1) / 2], [0, 1, -(height - 1) / 2], [0, 0, 1]], dtype=np.float64)


def midpoints(center_seconds: float, exposure_seconds: float, n_instants: int) -> NDArray[np.float64]:
    """Return the middles of ``n_instants`` equal parts of an exposure, in seconds."""
    shares = (np.arange(n_instants) + 0.5) / n_instants - 0.5
    return np.asarray(center_seconds + shares * exposure_seconds, dtype=np.float64)


_Path = Callable[[float], Homography]


def _count_steps(path: _Path, shape: tuple[int, ...], instants: NDArray[np.float64]) -> int:
    """Return how often a texture is drawn over some instants for its corners to move by a step in between at most."""
    height, width = shape[:2]
    times = (instants[0], instants.mean(), instants[-1])
    places = np.stack(
        [warp_points(path(float(time)) @ _centering(width, height), _corners(width, height)) for time in times]
    )
    path_px = np.linalg.norm(np.diff(places, axis=0), axis=2).sum(axis=0).max()
    path_px *= len(instants) / max(len(instants) - 1, 1)  # to the ends of the exposure, half a step beyond
    return 1 if path_px <= _STEP_PX else min(max(int(np.ceil(path_px / _STEP_PX)), _MIN_STEPS), len(instants))


def _spread(instants: NDArray[np.float64], n_drawn: int) -> list[float]:
    """Return for every instant the time at which a layer is drawn: the mean of as many as stand together."""
    return [float(group.mean()) for group in np.array_split(instants, n_drawn) for _ in group]


class _Layer:
    """A texture over some instants, drawn again only where it has moved."""

    def __init__(
        self, texture: NDArray[np.float32], path: _Path, instants: NDArray[np.float64], view_shape: tuple[int, int]
    ) -> None:
        self._texture, self._path, self._view_shape = texture, path, view_shape
        self._times = _spread(instants, _count_steps(path, texture.shape, instants))
        self._drawn: tuple[float, tuple[_Region, NDArray[np.float32]] | None] = (math.nan, None)

    def _draw(self, index: int) -> tuple[_Region, NDArray[np.float32]] | None:
        if self._times[index] != self._drawn[0]:
            time = self._times[index]
            self._drawn = time, _draw_texture(self._texture, self._path(time), self._view_shape)
        return self._drawn[1]

    def shine(self, index: int, light: NDArray[np.float32], clear: NDArray[np.float32]) -> None:
        """Add a cut-out to (H, W, 4) light, as far as the (H, W) share that gets through, and cover what is behind."""
        drawn = self._draw(index)
        if drawn is None:
            return
        region, rgba = drawn
        # By OpenCV: numpy takes twice as long on a part of an image, and broadcasts over a short axis slower still.
        cv2.accumulateProduct(rgba, cv2.cvtColor(clear[region], cv2.COLOR_GRAY2RGBA), light[region])
        cv2.multiply(clear[region], 1 - cv2.extractChannel(rgba, 3), dst=clear[region])

    def dim(self, index: int, clear: NDArray[np.float32]) -> None:
        """Take a shadow from the (H, W) share of the light that gets through, in place."""
        drawn = self._draw(index)
        if drawn is not None:
            region, shade = drawn
            cv2.multiply(clear[region], 1 - shade, dst=clear[region])


@dataclass(frozen=True, eq=False)
class LayeredScene:
    """A wall behind moving cut-outs, all under the motion of the rig itself."""

    wall: NDArray[np.float32]
    """(H, W, 3) linear light, centered on the plane's origin."""
    movers: Sequence[Mover]
    rig_motion: Motion
    """From the plane to the reference view."""
    green_screen: bool = False
    """Whether the movers stand before a green screen."""
    shadows: Sequence[Shadow] = ()
    """On the wall, behind all movers."""
    _kept_walls: dict[tuple[bytes, tuple[int, int]], NDArray[np.float32]] = field(
        default_factory=dict, init=False, repr=False
    )

    def instants(self, center_seconds: float, exposure_seconds: float, n_instants: int) -> NDArray[np.float64]:
        """Return the times, in seconds, whose mean is an exposure: fewer where nothing moves far between them."""
        times = midpoints(center_seconds, exposure_seconds, n_instants)
        placed = [
            (self.wall.shape, self._path()),
            *((mover.rgba.shape, self._path(mover.motion)) for mover in self.movers),
        ]
        n_needed = max(_count_steps(path, shape, times) for shape, path in placed)
        return times if n_needed >= n_instants else midpoints(center_seconds, exposure_seconds, n_needed)

    def _path(self, motion: Motion | None = None) -> _Path:
        """Return the way to the plane, over time, from the wall's own frame or from that of what moves before it."""
        return self.rig_motion.at if motion is None else lambda time: self.rig_motion.at(time) @ motion.at(time)

    def integrate(
        self, instants: NDArray[np.float64], scene_to_view: Homography, size: tuple[int, int]
    ) -> NDArray[np.float32]:
        """Return the (height, width, 3) sum of the linear light at some instants, seen through a homography.

        Layers are added from front to back, each drawn only as often as it moves by a step, so that a wall that hardly
        moves is covered once by the sum of what gets through to it.

        Parameters
        ----------
        instants : (n,) ndarray of float64
            Times in seconds, in order.
        scene_to_view : (3, 3) ndarray of float64
            From the plane to the view.
        size : tuple of int
            Width and height of the view in pixels.
        """
        if len(instants) == 1:
            return self.render(float(instants[0]), scene_to_view, size)
        shape = size[::-1]

        def layer(texture: NDArray[np.float32], motion: Motion) -> _Layer:
            path = self._path(motion)
            return _Layer(texture, lambda time: scene_to_view @ path(time), instants, shape)

        movers = [layer(mover.texture, mover.motion) for mover in reversed(self.movers)]
        shadows = [layer(shadow.shade, shadow.motion) for shadow in self.shadows]
        wall_times = _spread(
            instants, _count_steps(lambda time: scene_to_view @ self._path()(time), self.wall.shape, instants)
        )
        light = np.zeros((*shape, 4), dtype=np.float32)
        clear, passed = np.empty(shape, dtype=np.float32), np.zeros(shape, dtype=np.float32)
        for index, wall_time in enumerate(wall_times):
            clear.fill(1)
            for mover in movers:
                mover.shine(index, light, clear)
            for shadow in shadows:
                shadow.dim(index, clear)
            cv2.accumulate(clear, passed)
            if index + 1 == len(instants) or wall_times[index + 1] != wall_time:
                wall = self._render_wall(scene_to_view @ self.rig_motion.at(wall_time), size)
                cv2.accumulateProduct(wall, cv2.cvtColor(passed, cv2.COLOR_GRAY2RGBA), light)
                passed.fill(0)
        return np.asarray(cv2.cvtColor(light, cv2.COLOR_RGBA2RGB), dtype=np.float32)

    def render(self, time_seconds: float, scene_to_view: Homography, size: tuple[int, int]) -> NDArray[np.float32]:
        """Return the (height, width, 3) linear light at an instant, seen through a homography."""
        view = scene_to_view @ self.rig_motion.at(time_seconds)
        picture = self._render_wall(view, size)
        for shadow in self.shadows:
            shadow.draw(picture, time_seconds, view)
        for mover in self.movers:
            mover.draw(picture, time_seconds, view)
        return np.asarray(cv2.cvtColor(picture, cv2.COLOR_RGBA2RGB), dtype=np.float32)

    def _render_wall(self, view: Homography, size: tuple[int, int]) -> NDArray[np.float32]:
        if not self.rig_motion.is_static:
            return self._warp_wall(view, size)
        # Under a static rig the wall is the same in every image, and is kept.
        key = (view.tobytes(), size)
        if key not in self._kept_walls:
            self._kept_walls.clear()
            self._kept_walls[key] = self._warp_wall(view, size)
        return self._kept_walls[key].copy()

    def _warp_wall(self, view: Homography, size: tuple[int, int]) -> NDArray[np.float32]:
        height, width = self.wall.shape[:2]
        wall_to_view = view @ _centering(width, height)
        wall = cv2.warpPerspective(self._wall_rgba, wall_to_view, size, borderMode=cv2.BORDER_REFLECT_101)
        return np.asarray(wall, dtype=np.float32)

    @cached_property
    def _wall_rgba(self) -> NDArray[np.float32]:
        # OpenCV warps four channels in a third of the time of three (3.2 ms at 720x540), to the same values.
        return np.asarray(cv2.cvtColor(self.wall, cv2.COLOR_RGB2RGBA), dtype=np.float32)

    def foreground(
        self, time_seconds: float, scene_to_view: Homography, size: tuple[int, int]
    ) -> NDArray[np.float32] | None:
        """Return the movers alone, without what the screen spills on them; None where there is no green screen."""
        if not self.green_screen:
            return None
        view = scene_to_view @ self.rig_motion.at(time_seconds)
        picture = np.zeros((size[1], size[0], 4), dtype=np.float32)
        for mover in self.movers:
            mover.draw_foreground(picture, time_seconds, view)
        return picture

    def displacement(
        self, from_seconds: float, to_seconds: float, scene_to_view: Homography, size: tuple[int, int]
    ) -> NDArray[np.float32]:
        """Return how far what is seen at every pixel moves from one instant to another.

        Parameters
        ----------
        from_seconds, to_seconds : float
            The instants.
        scene_to_view : (3, 3) ndarray of float64
            From the plane to the view.
        size : tuple of int
            Width and height of the view in pixels.

        Returns
        -------
        (height, width, 2) ndarray of float32
            x and y in pixels of the view, at what covers the pixel half-way between the instants; along soft edges a
            mean by opacity.
        """
        middle = (from_seconds + to_seconds) / 2
        views = [
            scene_to_view @ self.rig_motion.at(time_seconds) for time_seconds in (from_seconds, middle, to_seconds)
        ]
        total = _displacement(views, size)
        for mover in self.movers:
            motions = [mover.motion.at(time_seconds) for time_seconds in (from_seconds, middle, to_seconds)]
            layer = np.zeros((size[1], size[0], 4), dtype=np.float32)
            mover.draw_foreground(layer, middle, views[1])
            moved = _displacement([view @ motion for view, motion in zip(views, motions, strict=True)], size)
            total += layer[..., 3:] * (moved - total)
        return total

    def layers(self, time_seconds: float, scene_to_view: Homography, size: tuple[int, int]) -> NDArray[np.uint8]:
        """Return what is seen at every pixel at an instant, (height, width): 0 the wall, k the k-th mover."""
        view = scene_to_view @ self.rig_motion.at(time_seconds)
        seen = np.zeros((size[1], size[0]), dtype=np.uint8)
        for index, mover in enumerate(self.movers, start=1):
            layer = np.zeros((size[1], size[0], 4), dtype=np.float32)
            mover.draw_foreground(layer, time_seconds, view)
            seen[layer[..., 3] > 0.5] = index  # more of it than of what is behind
        return seen

    def with_motion(self, share: float) -> LayeredScene:
        """Return the same scene with every movement multiplied; with 0 it is static."""
        movers = [replace(mover, motion=mover.motion.scaled(share)) for mover in self.movers]
        shadows = [replace(shadow, motion=shadow.motion.scaled(share)) for shadow in self.shadows]
        return LayeredScene(self.wall, movers, self.rig_motion.scaled(share), self.green_screen, shadows)

    def without_movers(self) -> LayeredScene:
        """Return the same scene empty, as a clean plate shows it."""
        return LayeredScene(self.wall, (), self.rig_motion, self.green_screen)


def integrate(
    scene: Scene, instants: NDArray[np.float64], scene_to_view: Homography, size: tuple[int, int]
) -> NDArray[np.float32]:
    """Return the (height, width, 3) sum of a scene's linear light at some instants, seen through a homography."""
    if isinstance(scene, LayeredScene):
        return scene.integrate(instants, scene_to_view, size)
    total = np.zeros((size[1], size[0], 3), dtype=np.float32)
    for time_seconds in instants:
        cv2.accumulate(scene.render(float(time_seconds), scene_to_view, size), total)
    return total


def street_scene(photos: Sequence[Path], size: tuple[int, int], seed: int) -> LayeredScene:
    """Build a street-like scene: a wall of photographs, objects on paths of their own, a panning rig.

    Parameters
    ----------
    photos : sequence of Path
        Textures.
    size : tuple of int
        Width and height of the reference view in pixels.
    seed : int
        Decides everything else.
    """
    rng = np.random.default_rng(seed)
    width, height = size
    pictures = [textures.load_photo(path) for path in photos]
    wall = textures.photo_wall(pictures, (int(width * 1.5), int(height * 1.5)), rng)
    movers = []
    for index in range(4):
        extent = int(height * rng.uniform(0.25, 0.45))
        shape = (extent, int(extent * rng.uniform(0.8, 1.2)))
        alpha = textures.ellipse_alpha(shape) if index % 2 else textures.polygon_alpha(shape, rng)
        x, y = orbit(rng, height * rng.uniform(0.1, 0.3), rng.uniform(0.4, 0.9))
        motion = Motion(
            x.moved(width * rng.uniform(-0.3, 0.3)),
            y.moved(height * rng.uniform(-0.3, 0.3)),
            angle_degrees=Wave(rng.uniform(-180, 180), 25.0, rng.uniform(0.2, 0.5), rng.uniform()),
            scale=Wave(1.0, 0.1, rng.uniform(0.2, 0.5), rng.uniform()),
        )
        movers.append(Mover(textures.sprite(pictures[index % len(pictures)], alpha, rng), motion))
    x, y = orbit(rng, height * 0.13, 0.55)
    rig_motion = Motion(x, y, Wave(0.0, 1.5, 0.4, rng.uniform()), Wave(1.0, 0.02, 0.3, rng.uniform()))
    return LayeredScene(wall, movers, rig_motion)


def clip_seconds(path: Path) -> float:
    """Return how long blurry frames of a clip can be exposed: from time 0 to the last exposure that lies inside it.

    Raises
    ------
    InputError
        If the clip cannot be decoded, or nothing can move in it.
    """
    nothing = np.empty(0, dtype=np.uint8)
    n_frames = sum(1 for _ in map_frames([path], lambda _: nothing))
    if n_frames < 2:
        raise InputError(path, f"holds {n_frames} frame", expected="a clip in which something moves")
    return max(n_frames - 2 * CLIP_LEAD_TICKS, 1) / CLIP_TICKS_PER_SECOND


class ClipScene:
    """A real clip as the scene: each of its frames one tick of the 600 fps blur track.

    Parameters
    ----------
    path : Path
        The clip.
    size : tuple of int
        Width and height of the reference view in pixels, which the clip is scaled to cover.

    Raises
    ------
    InputError
        If the clip cannot be decoded.
    """

    def __init__(self, path: Path, size: tuple[int, int]) -> None:
        width, height = size
        frames = []
        for frame in iter_frames([path]):
            scale = max(width / frame.image.shape[1], height / frame.image.shape[0])
            interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
            scaled = cv2.resize(frame.image, None, fx=scale, fy=scale, interpolation=interpolation)
            frames.append(np.asarray(scaled, dtype=np.uint8))
        self._frames = frames

    def instants(self, center_seconds: float, exposure_seconds: float, n_instants: int) -> NDArray[np.float64]:
        """Return the ticks, as times in seconds, that an exposure integrates: whole frames, none of them in part."""
        center = round(center_seconds * CLIP_TICKS_PER_SECOND)
        reach = max(round(exposure_seconds * CLIP_TICKS_PER_SECOND) - 1, 0) // 2
        return np.arange(center - reach, center + reach + 1) / CLIP_TICKS_PER_SECOND

    def render(self, time_seconds: float, scene_to_view: Homography, size: tuple[int, int]) -> NDArray[np.float32]:
        """Return the (height, width, 3) linear light at an instant, seen through a homography."""
        tick = round(time_seconds * CLIP_TICKS_PER_SECOND) + CLIP_LEAD_TICKS
        index = min(max(tick, 0), len(self._frames) - 1)
        linear = to_linear(self._frames[index], "srgb") * np.float32(0.9)
        height, width = linear.shape[:2]
        view = scene_to_view @ _centering(width, height)
        return np.asarray(cv2.warpPerspective(linear, view, size, borderMode=cv2.BORDER_REFLECT_101), dtype=np.float32)

    def foreground(
        self, time_seconds: float, scene_to_view: Homography, size: tuple[int, int]
    ) -> NDArray[np.float32] | None:
        """Return None: what is foreground in a real clip nobody knows."""
        return None
