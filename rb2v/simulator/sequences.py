"""Short sequences straight from scenes, without cameras: what networks can be trained on within minutes.

The scenes are street-like: a camera that pans before a wall of photographs, and objects before it. Every sequence
comes with the true motion of the picture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from rb2v.core.color import from_linear
from rb2v.errors import Rb2vError
from rb2v.simulator import textures
from rb2v.simulator.scene import LayeredScene, Motion, Mover, Wave

MotionKind = Literal["single", "mixed"]

FINE_SECONDS = 1 / 200
"""Time from one sharp frame to the next."""
N_FRAMES = 7
_BLUR_STEPS = 3
_SCENE_SECONDS = 20.0
_NOISE_LEVELS = 0.7
_MARGIN = 1.7

# Shares of the frame's side, from the first frame of a sequence to the last.
_PAN = {"single": (0.04, 0.14), "mixed": (0.02, 0.1)}
_OBJECT = {"single": (0.0, 0.02), "mixed": (0.03, 0.14)}
_N_OBJECTS = {"single": (0, 2), "mixed": (3, 7)}


@dataclass(frozen=True)
class SequencesConfig:
    """What is simulated.

    Raises
    ------
    Rb2vError
        If a value is out of range.
    """

    motion: MotionKind = "mixed"
    """``single``: the camera pans, and at most one object moves a little of its own; ``mixed``: the camera pans, and
    three to six objects move each its own way."""
    train: int = 2000
    """Sequences to train on."""
    test: int = 400
    """Sequences of other photographs to test on."""
    size: int = 96
    """Side of the square frames in pixels."""
    per_scene: int = 8
    """Sequences of one scene, which are a take."""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.motion not in get_args(MotionKind):
            raise Rb2vError(f"motion: {self.motion!r} is not known; expected {' or '.join(get_args(MotionKind))}")
        for name, least, most in (
            *(("train", 1, 10**6), ("test", 0, 10**6)),
            *(("size", 32, 1024), ("per_scene", 1, 10**4), ("seed", 0, 2**32 - 1)),
        ):
            if not least <= getattr(self, name) <= most:
                raise Rb2vError(f"{name} must be {least} to {most}, got {getattr(self, name)}")


@dataclass(frozen=True, eq=False)
class SimulatedSequence:
    """A blurry frame, its sharp sequence, and how the picture moves."""

    blurry: NDArray[np.uint8]
    """(H, W, 3) RGB: the mean in linear light of the 19 instants of the blur track."""
    sharp: NDArray[np.uint8]
    """(7, H, W, 3) RGB."""
    motion_px: NDArray[np.float64]
    """(2,) x and y from the first frame to the last, mean over all pixels."""


def split_photos(photos: Sequence[Path], split: str) -> tuple[Path, ...]:
    """Return the photographs of a split: every third one, and the last of fewer, is for testing."""
    tested = [path for index, path in enumerate(photos) if index % 3 == 2] or list(photos[-1:])
    return tuple(tested if split == "test" else [path for path in photos if path not in tested] or photos)


def build_scene(config: SequencesConfig, photos: Sequence[Path], seed: Sequence[int]) -> LayeredScene:
    """Build the scene of one take.

    Parameters
    ----------
    config : SequencesConfig
        What is simulated.
    photos : sequence of Path
        Textures.
    seed : sequence of int
        Decides everything else.
    """
    rng = np.random.default_rng(tuple(seed))
    size, kind = config.size, config.motion
    pictures = [_load_photo(path) for path in photos]
    side = int(_MARGIN * size)
    wall = textures.photo_wall(pictures, (side, side), rng)
    movers = []
    for index in range(int(rng.integers(*_N_OBJECTS[kind]))):
        extent = max(int(size * rng.uniform(0.3, 0.6)), 16)
        shape = (extent, max(int(extent * rng.uniform(0.8, 1.2)), 16))
        alpha = textures.ellipse_alpha(shape) if index % 2 else textures.polygon_alpha(shape, rng)
        place = size * rng.uniform(-0.35, 0.35, 2)
        motion = _draw_motion(rng, size, _OBJECT[kind], place, turn_degrees=20.0)
        photo = pictures[int(rng.integers(len(pictures)))]
        movers.append(Mover(textures.sprite(photo, alpha, rng), motion))
    rig_motion = _draw_motion(rng, size, _PAN[kind], np.zeros(2), turn_degrees=4.0)
    return LayeredScene(wall, movers, rig_motion)


@lru_cache(maxsize=32)
def _load_photo(path: Path) -> NDArray[np.float32]:
    return textures.load_photo(path)


def _draw_motion(
    rng: np.random.Generator,
    size: int,
    shares: tuple[float, float],
    place: NDArray[np.float64],
    turn_degrees: float,
) -> Motion:
    """Draw an elliptic path whose speed, wherever on it, lies about within limits."""
    seconds = (N_FRAMES - 1) * FINE_SECONDS
    speed = size * rng.uniform(*shares) / seconds
    radius = size * rng.uniform(0.08, 0.2)
    frequency = speed / (2 * np.pi * radius)
    phase, quarter = rng.uniform(), rng.choice([-0.25, 0.25])
    x = Wave(place[0], radius * rng.uniform(0.85, 1.15), frequency, phase)
    y = Wave(place[1], radius * rng.uniform(0.85, 1.15), frequency, phase + quarter)
    angle = Wave(rng.uniform(-180, 180) if turn_degrees > 10 else 0.0, turn_degrees, rng.uniform(0.3, 1), rng.uniform())
    return Motion(x, y, angle, Wave(1.0, 0.05, rng.uniform(0.3, 1), rng.uniform()))


def render_sequence(scene: LayeredScene, size: int, rng: np.random.Generator) -> SimulatedSequence:
    """Render one sequence of a scene, at an instant drawn at random.

    Parameters
    ----------
    scene : LayeredScene
        The scene.
    size : int
        Side of the frames in pixels.
    rng : numpy.random.Generator
        Decides the instant and the noise of the frames.
    """
    start = rng.uniform(0, _SCENE_SECONDS)
    n_instants = _BLUR_STEPS * (N_FRAMES - 1) + 1
    times = start + np.arange(n_instants) * FINE_SECONDS / _BLUR_STEPS
    view = np.array([[1, 0, (size - 1) / 2], [0, 1, (size - 1) / 2], [0, 0, 1]], dtype=np.float64)
    track = np.stack([scene.render(float(time), view, (size, size)) for time in times])
    moved = scene.displacement(float(times[0]), float(times[-1]), view, (size, size))
    return SimulatedSequence(
        blurry=_develop(track.mean(axis=0), rng),
        sharp=np.stack([_develop(frame, rng) for frame in track[::_BLUR_STEPS]]),
        motion_px=moved.mean(axis=(0, 1), dtype=np.float64),
    )


def _develop(linear: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.uint8]:
    levels = 255 * from_linear(linear, "srgb")
    noise = rng.standard_normal(levels.shape, dtype=np.float32) * _NOISE_LEVELS
    return np.asarray(np.clip(np.rint(levels + noise), 0, 255), dtype=np.uint8)
