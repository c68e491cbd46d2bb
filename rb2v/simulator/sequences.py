"""Short sequences straight from scenes, without cameras: what networks can be trained on within minutes.

The scenes are street-like: a camera that pans before a wall of photographs, and objects before it. How the image
moves is known of every sequence.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from rb2v.artifacts import SPLITS, Split
from rb2v.core.blur import window_steps
from rb2v.core.color import Response, from_linear
from rb2v.core.homography import Homography
from rb2v.errors import Rb2vError
from rb2v.simulator import textures
from rb2v.simulator.config import SequencesConfig
from rb2v.simulator.scene import LayeredScene, Motion, Mover, Wave

FINE_SECONDS = 1 / 200
"""Time from one sharp frame to the next."""
N_FRAMES = 7  # of a sequence, as in the paper
RESPONSE: Response = "srgb"
"""Camera response of the frames."""
BLUR_STEPS = 3
"""Instants of the blur track from one sharp frame to the next."""
_SCENE_SECONDS = 20.0  # from which instants are drawn: long enough that hardly two are alike
_NOISE_LEVELS = 0.7  # of 255, standard deviation
_MAX_PHOTOS = 6  # of a scene, so that no folder of photographs takes long to read

# Shares of the frame's side: what a path of the largest radius, turn and zoom out needs of the wall is 2.0.
_WALL = 2.1
_PAN_RADIUS = (0.2, 0.35)  # shares of the side, likewise
_OBJECT_RADIUS = (0.1, 0.2)  # shares of the side, likewise
# And from the first frame of a sequence to the last.
_PAN = {"single": (0.06, 0.2), "mixed": (0.04, 0.16), "blocks": (0.0, 0.0)}
_OBJECT = {"single": (0.0, 0.03), "mixed": (0.04, 0.2), "blocks": (0.2, 0.35)}
_N_OBJECTS = {"single": (0, 2), "mixed": (3, 7), "blocks": (1, 2)}
# Of opposed motion: slow pans, objects in a ring that share an orbit, every second one half a turn ahead.
_OPPOSED_PAN = (0.0, 0.03)
_OPPOSED = (0.06, 0.14)  # shares of the side that an object covers in a sequence, like the pan of mixed
_OPPOSED_RADIUS = (0.1, 0.16)  # shares of the side, so that hardly two objects meet
_OPPOSED_EXTENT = (0.5, 0.7)  # of an object, shares of the side: two to four fill most of the image
_OPPOSED_RING = (0.24, 0.32)  # from the middle of the image to that of an object
_OPPOSED_JITTER = 0.06  # of a turn, by which an object is ahead or behind
_BLOCK_RADIUS = (0.2, 0.26)  # shares of the side; a block stays in the image
_BLOCK_LIGHT = (0.3, 1.0)  # linear, of each channel
_BLOCK_WALL_LIGHT = 0.02  # nearly black, and darker than any block


@dataclass(frozen=True, eq=False)
class SimulatedSequence:
    """A blurry frame and its sharp sequence."""

    blurry: NDArray[np.uint8]
    """(H, W, 3) RGB: the mean in linear light of the 19 instants of the blur track."""
    sharp: NDArray[np.uint8]
    """(7, H, W, 3) RGB."""


@dataclass(frozen=True, eq=False)
class SimulatedTake:
    """A scene and the instants at which it is shown; everything of a sequence depends on its index alone."""

    name: str
    scene: LayeredScene
    size: int
    """Side of the frames in pixels."""
    seed: tuple[int, ...]

    @property
    def scene_to_view(self) -> Homography:
        """From the scene's plane to the frames' pixels."""
        middle = (self.size - 1) / 2
        return np.array([[1, 0, middle], [0, 1, middle], [0, 0, 1]], dtype=np.float64)

    def render(self, index: int) -> SimulatedSequence:
        """Return a sequence."""
        rng = self._rng(index)
        view, size = self.scene_to_view, (self.size, self.size)
        track = np.stack([self.scene.render(float(time), view, size) for time in _draw_instants(rng)])
        return SimulatedSequence(
            blurry=_develop(track.mean(axis=0), rng),
            sharp=np.stack([_develop(frame, rng) for frame in track[::BLUR_STEPS]]),
        )

    def instants(self, index: int) -> NDArray[np.float64]:
        """Return the times of a sequence's blur track: 19, of which every third one is a sharp frame's, in seconds."""
        return _draw_instants(self._rng(index))

    def motion_px(self, index: int) -> NDArray[np.float64]:
        """Return how far the image moves from the first sharp frame of a sequence to the last, without rendering.

        Returns
        -------
        (2,) ndarray of float64
            x and y in pixels, mean over all pixels; positive where what is seen moves right and down.
        """
        return np.asarray(self.displacement(index).mean(axis=(0, 1), dtype=np.float64))

    def displacement(self, index: int) -> NDArray[np.float32]:
        """Return how far what is seen at every pixel moves from the first sharp frame of a sequence to the last.

        Returns
        -------
        (size, size, 2) ndarray of float32
            x and y in pixels, at what covers the pixel half-way.
        """
        times = self.instants(index)
        size = (self.size, self.size)
        return self.scene.displacement(float(times[0]), float(times[-1]), self.scene_to_view, size)

    def layers(self, index: int) -> NDArray[np.uint8]:
        """Return what covers every pixel half-way through a sequence, (size, size): 0 the wall, k the k-th object."""
        times = self.instants(index)
        return self.scene.layers(float(times[0] + times[-1]) / 2, self.scene_to_view, (self.size, self.size))

    def _rng(self, index: int) -> np.random.Generator:
        return np.random.default_rng((*self.seed, 1, index))


def split_photos(photos: Sequence[Path], split: Split) -> tuple[Path, ...]:
    """Return the photographs of a split: every third one, or the last of two, is for testing, the others for training.

    Raises
    ------
    Rb2vError
        If there are less than two.
    """
    if len(photos) < 2:
        raise Rb2vError(f"the splits share no photograph, and there is {len(photos)}; expected 2 or more")
    tested = set(photos[2::3] or photos[-1:])
    return tuple(path for path in photos if (path in tested) == (split == "test"))


def build_take(config: SequencesConfig, photos: Sequence[Path], split: Split, index: int) -> SimulatedTake:
    """Build a take, which is one scene.

    Parameters
    ----------
    config : SequencesConfig
        What is simulated.
    photos : sequence of Path
        Textures of the split.
    split : {"train", "test"}
        The split.
    index : int
        Of the take within the split.
    """
    seed = (config.seed, SPLITS.index(split), index)
    scene = build_scene(config, photos, np.random.default_rng((*seed, 0)))
    return SimulatedTake(f"street-{split}-{index:04d}", scene, config.size, seed)


def build_scene(config: SequencesConfig, photos: Sequence[Path], rng: np.random.Generator) -> LayeredScene:
    """Build a scene.

    Parameters
    ----------
    config : SequencesConfig
        What is simulated.
    photos : sequence of Path
        Textures, of which a few are used.
    rng : numpy.random.Generator
        Decides everything else.
    """
    if config.motion == "blocks":
        return _build_toy(config.size, rng)
    size, kind = config.size, config.motion
    pictures = [_load_photo(photos[index], size) for index in rng.permutation(len(photos))[:_MAX_PHOTOS]]
    side = int(_WALL * size)
    wall = textures.photo_wall(pictures, (side, side), rng)
    if kind == "opposed":
        return _build_opposed(wall, pictures, size, rng)
    movers = []
    for index in range(int(rng.integers(*_N_OBJECTS[kind]))):
        extent = max(int(size * rng.uniform(0.3, 0.6)), 16)
        shape = (extent, max(int(extent * rng.uniform(0.8, 1.2)), 16))
        alpha = textures.ellipse_alpha(shape) if index % 2 else textures.polygon_alpha(shape, rng)
        place = size * rng.uniform(-0.35, 0.35, 2)
        motion = _draw_motion(rng, size, _OBJECT[kind], _OBJECT_RADIUS, place, turn_degrees=20.0)
        photo = pictures[int(rng.integers(len(pictures)))]
        movers.append(Mover(textures.sprite(photo, alpha, rng), motion))
    rig_motion = _draw_motion(rng, size, _PAN[kind], _PAN_RADIUS, np.zeros(2), turn_degrees=4.0)
    return LayeredScene(wall, movers, rig_motion)


def _build_opposed(
    wall: NDArray[np.float32], pictures: Sequence[NDArray[np.float32]], size: int, rng: np.random.Generator
) -> LayeredScene:
    """Build a scene of objects that move against each other all the time, before a wall that hardly moves."""
    seconds = (N_FRAMES - 1) * FINE_SECONDS
    frequency = rng.uniform(*_OPPOSED) / seconds / (2 * np.pi * rng.uniform(*_OPPOSED_RADIUS))
    phase, quarter, first = rng.uniform(), rng.choice([-0.25, 0.25]), rng.uniform()
    n_objects = int(rng.integers(2, 5))
    movers = []
    for index in range(n_objects):
        extent = max(int(size * rng.uniform(*_OPPOSED_EXTENT)), 12)
        shape = (extent, max(int(extent * rng.uniform(0.8, 1.2)), 12))
        alpha = textures.ellipse_alpha(shape) if index % 2 else textures.polygon_alpha(shape, rng)
        angle = 2 * np.pi * (first + index / n_objects)
        x, y = size * rng.uniform(*_OPPOSED_RING) * np.array([np.cos(angle), np.sin(angle)])
        ahead = phase + 0.5 * (index % 2) + rng.uniform(-_OPPOSED_JITTER, _OPPOSED_JITTER)
        radius = size * rng.uniform(*_OPPOSED_RADIUS)
        motion = Motion(
            Wave(x, radius, frequency, ahead),
            Wave(y, radius, frequency, ahead + quarter),
            Wave(rng.uniform(-180, 180), 8.0, rng.uniform(0.3, 1), rng.uniform()),
            Wave(1.0, 0.05, rng.uniform(0.3, 1), rng.uniform()),
        )
        movers.append(Mover(textures.sprite(pictures[int(rng.integers(len(pictures)))], alpha, rng), motion))
    pan = _draw_motion(rng, size, _OPPOSED_PAN, _PAN_RADIUS, np.zeros(2), turn_degrees=0.0)
    return LayeredScene(wall, movers, pan.scaled(float(rng.integers(2))))


def _build_toy(size: int, rng: np.random.Generator) -> LayeredScene:
    wall = np.full((size, size, 3), _BLOCK_WALL_LIGHT, dtype=np.float32)
    movers = []
    for _ in range(int(rng.integers(*_N_OBJECTS["blocks"]))):
        width, height = (max(int(size * rng.uniform(0.2, 0.32)), 6) for _ in range(2))
        block = np.zeros((height, width, 4), dtype=np.float32)
        block[1:-1, 1:-1, :3] = rng.uniform(*_BLOCK_LIGHT, 3)
        block[1:-1, 1:-1, 3] = 1
        place = size * rng.uniform(-0.08, 0.08, 2)
        motion = _draw_motion(rng, size, _OBJECT["blocks"], _BLOCK_RADIUS, place, turn_degrees=0.0)
        movers.append(Mover(block, motion))
    still = _draw_motion(rng, size, _PAN["blocks"], _PAN_RADIUS, np.zeros(2), turn_degrees=0.0).scaled(0.0)
    return LayeredScene(wall, movers, still)


@lru_cache(maxsize=64)
def _load_photo(path: Path, size: int) -> NDArray[np.float32]:
    """Read a photograph, reduced to about the size of frames: what is cut from it is hardly ever shown larger."""
    photo = textures.load_photo(path)
    scale = max(size, 64) / min(photo.shape[:2])
    if scale >= 1:
        return photo
    return np.asarray(cv2.resize(photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), dtype=np.float32)


def _draw_motion(
    rng: np.random.Generator,
    size: int,
    distances: tuple[float, float],
    radii: tuple[float, float],
    place: NDArray[np.float64],
    turn_degrees: float,
) -> Motion:
    """Draw an elliptic path on which a sequence covers about a distance within limits; both are shares of the side."""
    seconds = (N_FRAMES - 1) * FINE_SECONDS
    speed = size * rng.uniform(*distances) / seconds
    radius = size * rng.uniform(*radii)
    frequency = speed / (2 * np.pi * radius)
    phase, quarter = rng.uniform(), rng.choice([-0.25, 0.25])
    x = Wave(place[0], radius * rng.uniform(0.85, 1.15), frequency, phase)
    y = Wave(place[1], radius * rng.uniform(0.85, 1.15), frequency, phase + quarter)
    angle = Wave(rng.uniform(-180, 180) if turn_degrees > 10 else 0.0, turn_degrees, rng.uniform(0.3, 1), rng.uniform())
    return Motion(x, y, angle, Wave(1.0, 0.05, rng.uniform(0.3, 1), rng.uniform()))


def _draw_instants(rng: np.random.Generator) -> NDArray[np.float64]:
    steps = np.array(window_steps(0, N_FRAMES, BLUR_STEPS), dtype=np.float64)
    return np.asarray(rng.uniform(0, _SCENE_SECONDS) + steps * FINE_SECONDS / BLUR_STEPS, dtype=np.float64)


def _develop(linear: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.uint8]:
    levels = 255 * from_linear(linear, RESPONSE)
    noise = rng.standard_normal(levels.shape, dtype=np.float32) * _NOISE_LEVELS
    return np.asarray(np.clip(np.rint(levels + noise), 0, 255), dtype=np.uint8)
