"""Green-screen scenes: an uneven screen, and before it a head with its hair or a fast hand with a fringed sleeve.

Lengths are shares of the image's height; the finest things have the widths they would have at the data set's 448
pixels.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from rb2v.simulator import textures
from rb2v.simulator.config import SimulatedColor
from rb2v.simulator.scene import LayeredScene, Motion, Mover, Shadow, Wave, orbit

Values = NDArray[np.float64]
Texture = NDArray[np.float32]
Light = TypeVar("Light", np.float32, np.float64)

_SCREEN_LINEAR: dict[SimulatedColor, Texture] = {
    "green": np.array([0.045, 0.36, 0.075], dtype=np.float32),
    "blue": np.array([0.03, 0.09, 0.36], dtype=np.float32),  # chroma-key blue: more green in it than red
}
_LEAD = {"green": 1, "blue": 2}  # the channel in which a screen stands above the others
_HAIR_LINEAR = np.array([(0.02, 0.014, 0.011), (0.09, 0.05, 0.028), (0.42, 0.29, 0.16), (0.24, 0.07, 0.025)])
_CLOTH_LINEAR = np.array([(0.5, 0.47, 0.44), (0.35, 0.06, 0.07), (0.05, 0.07, 0.2), (0.03, 0.03, 0.035)])

_SPILL = (0.03, 0.12)  # of the screen's light, well inside the foreground and at its edges
_SHADOW = 0.25  # of the screen's light, at most
_WRINKLES = 0.02  # standard deviation, relative to the screen's light
_SMALL_SCREEN_HALF = 0.36  # its width, at most; narrower where that is more than three tenths of the image's width
_SMALL_SCREEN_TOP = -0.36  # from the middle
_STRAND_WIDTHS = (0.5 / 500, 2.0 / 500)  # the data set shows about nine tenths of the height in 448 pixels
_N_STRAND_POINTS = 24  # of a hair: a polygon that looks like a curve


@dataclass(frozen=True)
class StudioScreen:
    """The screen of a studio."""

    is_small: bool = False
    """Over the middle of the image only, in a studio that stands around it; the foreground now and then moves over its
    edge."""
    color: SimulatedColor = "green"

    @property
    def linear(self) -> Texture:
        """(3,) its light."""
        return _SCREEN_LINEAR[self.color]

    def without_its_color(self, photo: NDArray[Light]) -> NDArray[Light]:
        """Return a photograph with the screen's channel held to the larger of the others: nobody wears its color."""
        lead = _LEAD[self.color]
        first, second = (channel for channel in range(3) if channel != lead)
        limited = photo.copy()
        np.minimum(limited[..., lead], np.maximum(limited[..., first], limited[..., second]), out=limited[..., lead])
        return limited


def studio_scene(
    photos: Sequence[Path], size: tuple[int, int], seed: int, *, hand: bool, screen: StudioScreen = StudioScreen()
) -> LayeredScene:
    """Build a green-screen scene: an unevenly lit screen and before it a face-like or a hand-like foreground.

    Parameters
    ----------
    photos : sequence of Path
        Textures.
    size : tuple of int
        Width and height of the reference view in pixels.
    seed : int
        Decides everything else.
    hand : bool
        A fast hand in place of a head on its shoulders.
    screen : StudioScreen
        What stands behind.
    """
    rng = np.random.default_rng(seed)
    pictures = [textures.load_photo(path) for path in photos]
    wall = _shade(screen.linear, (int(size[0] * 1.2), int(size[1] * 1.2)), rng)
    movers = (_hand if hand else _head_and_shoulders)(pictures, size[1], screen, rng)
    if screen.is_small:
        around = textures.photo_wall(pictures, wall.shape[1::-1], rng)
        wall = _set_up_in_studio(wall, size, screen.without_its_color(around), rng)
        aside_px = size[1] * (0.1 if hand else 0.05) * rng.choice([-1, 1])
        movers = [replace(mover, motion=mover.motion.moved(aside_px, 0)) for mover in movers]
    shadow = _cast_shadow(movers, size[1])
    return LayeredScene(wall, movers, Motion(Wave(), Wave()), green_screen=True, shadows=[shadow])


def _shade(color: Texture, size: tuple[int, int], rng: np.random.Generator) -> Texture:
    width, height = size
    x, y = np.meshgrid(np.linspace(-1, 1, width, dtype=np.float32), np.linspace(-1, 1, height, dtype=np.float32))
    tilt_x, tilt_y, fall = rng.uniform(-0.12, 0.12), rng.uniform(-0.12, 0.12), rng.uniform(0.05, 0.15)
    shading = 1.0 + tilt_x * x + tilt_y * y - fall * (x**2 + y**2)
    # Wrinkles hang down from the rail, a little aslant.
    folds = cv2.resize(rng.standard_normal((5, 24)).astype(np.float32), size, interpolation=cv2.INTER_CUBIC)
    aslant = np.array([[1, rng.uniform(-0.3, 0.3), 0], [0, 1, 0]])
    folds = cv2.warpAffine(folds, aslant, size, borderMode=cv2.BORDER_REFLECT_101)
    shading *= 1 + np.float32(_WRINKLES) * np.clip(folds / folds.std(), -2.5, 2.5)
    return np.asarray(shading[..., None] * color, dtype=np.float32)


def _set_up_in_studio(screen: Texture, view: tuple[int, int], around: Texture, rng: np.random.Generator) -> Texture:
    """Return a cluttered studio wall, and before its middle a part of the screen between two stands."""
    height, width = screen.shape[:2]
    x = (np.arange(width)[None, :] - (width - 1) / 2) / view[1]
    y = (np.arange(height)[:, None] - (height - 1) / 2) / view[1]
    half, top = min(0.3 * view[0] / view[1], _SMALL_SCREEN_HALF), _SMALL_SCREEN_TOP
    wall = np.float32(0.7) * around
    for side in (-1, 1):
        from_stand = np.abs(x - side * (half + rng.uniform(0.01, 0.04)))
        wall[(from_stand < 0.006) & (y > top - 0.05)] = 0.02
        wall[(from_stand < 0.04) & (np.abs(y - top + 0.09) < 0.04)] = 0.85  # the lamp on it
    wall[(np.abs(x) < half + 0.045) & (np.abs(y - top) < 0.008)] = 0.3  # the rail from which the screen hangs
    is_screen = (np.abs(x) < half) & (y > top)
    wall[is_screen] = screen[is_screen]
    return np.asarray(cv2.GaussianBlur(wall, (0, 0), textures.LENS_SIGMA_PX), dtype=np.float32)


def _head_and_shoulders(
    pictures: Sequence[Texture], height: int, screen: StudioScreen, rng: np.random.Generator
) -> list[Mover]:
    x, y = orbit(rng, height * 0.07, 0.6)
    body, head = (int(height * 0.75), int(height * 0.55)), (int(height * 0.42), int(height * 0.55))
    photo = screen.without_its_color(pictures[int(rng.integers(len(pictures)))])
    torso = textures.sprite(photo, textures.ellipse_alpha(body), rng)
    shoulders = Motion(Wave(0.0, x.amplitude / 2, x.frequency_hz, x.phase), Wave(height * 0.34))
    # The first photograph that scikit-image ships is a portrait.
    face = textures.sprite(screen.without_its_color(pictures[0]), textures.ellipse_alpha(head), rng)
    nod = Wave(0.0, 12.0, rng.uniform(0.5, 0.8), rng.uniform())
    return [
        _lit_by_screen(torso, shoulders, screen, height),
        _lit_by_screen(_with_hair(face, height, screen, rng), Motion(x, y.moved(-height * 0.08), nod), screen, height),
    ]


def _hand(pictures: Sequence[Texture], height: int, screen: StudioScreen, rng: np.random.Generator) -> list[Mover]:
    shape = (int(height * 0.5), int(height * 0.62))
    x, y = orbit(rng, height * 0.17, 1.55)
    swing = Wave(0.0, 16.0, rng.uniform(0.8, 1.2), rng.uniform())
    photo = screen.without_its_color(pictures[int(rng.integers(len(pictures)))])
    hand = textures.sprite(photo, textures.hand_alpha(shape), rng)
    return [_lit_by_screen(_with_sleeve(hand, height, screen, rng), Motion(x, y, swing), screen, height)]


def _with_hair(face: Texture, height: int, screen: StudioScreen, rng: np.random.Generator) -> Texture:
    """Return a head on a larger ground, with hair behind it, a parting over it, and loose strands around it."""
    head_height, head_width = face.shape[:2]
    half = np.array([0.42 * head_width, 0.42 * head_height])
    width_px, height_px = int(height * 0.76), int(height * 0.92)
    hair = np.zeros((height_px, width_px, 4), dtype=np.float32)
    center = np.array([(width_px - 1) / 2, (height_px - 1) / 2])
    colors = screen.without_its_color(_shades(_HAIR_LINEAR[int(rng.integers(len(_HAIR_LINEAR)))], 8, rng))

    def lay(
        n: int,
        reach_degrees: float,
        depth: tuple[float, float],
        length: tuple[float, float],
        comb: float,
        pull: float,
        curl: float,
    ) -> None:
        angles = np.deg2rad(rng.uniform(-reach_degrees, reach_degrees, n))
        outward = np.column_stack([np.sin(angles), -np.cos(angles)])
        # Combed to either side, away from a parting at the top.
        aside = np.sign(angles)[:, None] * np.column_stack([np.cos(angles), np.sin(angles)])
        roots = center + rng.uniform(*depth, (n, 1)) * half * outward
        lengths_px = rng.uniform(*length, n) * height
        paths = _grow(roots, outward + comb * aside, lengths_px, pull, curl, rng)
        textures.lay_strands(hair, paths, _strand_widths(n, height, rng), colors, rng)

    cap = textures.ellipse_alpha((int(head_width * 1.06), int(head_height * 0.9)))
    top, left = int(center[1] - 0.56 * cap.shape[0]), int(center[0] - 0.5 * cap.shape[1])
    hair[top : top + cap.shape[0], left : left + cap.shape[1]] = cap[..., None] * np.append(colors.mean(axis=0), 1.0)
    lay(900, 110, (0.8, 1.02), (0.06, 0.16), comb=1.0, pull=2.5, curl=0.4)
    top, left = (height_px - head_height) // 2, (width_px - head_width) // 2
    under = hair[top : top + head_height, left : left + head_width]
    under[:] = face + under * (1 - face[..., 3:])
    lay(300, 80, (0.75, 1.0), (0.05, 0.14), comb=2.5, pull=1.5, curl=0.4)
    lay(120, 130, (0.9, 1.05), (0.03, 0.1), comb=0.3, pull=0.5, curl=1.4)
    return hair


def _with_sleeve(hand: Texture, height: int, screen: StudioScreen, rng: np.random.Generator) -> Texture:
    """Return a hand on a larger ground, in a sleeve with a fringe all around its cuff and a few loose threads."""
    margin = int(height * 0.1)
    dressed = np.pad(hand, ((margin, margin), (margin, margin), (0, 0)))
    wrist = np.array([(dressed.shape[1] - 1) / 2, margin + 0.86 * hand.shape[0]])
    half = np.array([0.09, 0.06]) * height
    colors = screen.without_its_color(_shades(_CLOTH_LINEAR[int(rng.integers(len(_CLOTH_LINEAR)))], 6, rng))
    cuff = textures.ellipse_alpha((int(2 * half[0] / 0.84), int(2 * half[1] / 0.84)))
    top, left = int(wrist[1] - cuff.shape[0] / 2), int(wrist[0] - cuff.shape[1] / 2)
    under = dressed[top : top + cuff.shape[0], left : left + cuff.shape[1]]
    under *= 1 - cuff[..., None]
    under += cuff[..., None] * np.append(colors.mean(axis=0), 1.0).astype(np.float32)
    for n, length, pull, curl in ((320, (0.03, 0.09), 0.5, 0.5), (40, (0.06, 0.12), 1.2, 1.2)):
        angles = rng.uniform(0, 2 * np.pi, n)
        outward = np.column_stack([np.sin(angles), -np.cos(angles)])
        roots = wrist + rng.uniform(0.6, 1.0, (n, 1)) * half * outward
        paths = _grow(roots, outward, rng.uniform(*length, n) * height, pull, curl, rng)
        textures.lay_strands(dressed, paths, _strand_widths(n, height, rng), colors, rng)
    return dressed


def _grow(
    roots: Values, directions: Values, lengths_px: Values, pull: float, curl: float, rng: np.random.Generator
) -> Values:
    """Return the (n, k, 2) paths of strands that leave their roots in a direction, bend down and curl."""
    n = len(roots)
    phase, turns = rng.uniform(0, 2 * np.pi, n), rng.uniform(0.5, 1.5, n)
    angles = np.arctan2(directions[:, 1], directions[:, 0]) + 0.3 * curl * rng.standard_normal(n)
    points = [roots]
    for share in np.linspace(0, 1, _N_STRAND_POINTS - 1):
        bent = angles + curl * np.sin(phase + 2 * np.pi * turns * share) * share
        step = np.column_stack([np.cos(bent), np.sin(bent) + pull * share])
        step *= (lengths_px / (_N_STRAND_POINTS - 1) / np.linalg.norm(step, axis=1))[:, None]
        points.append(points[-1] + step)
    return np.stack(points, axis=1)


def _strand_widths(n: int, height: int, rng: np.random.Generator) -> Values:
    return np.asarray(rng.uniform(*_STRAND_WIDTHS, n) * height, dtype=np.float64)


def _shades(color: Values, n: int, rng: np.random.Generator) -> Values:
    """Return darker and lighter versions of a color, the most of them near it."""
    return np.asarray(color * np.exp(rng.normal(0, 0.45, (n, 1))), dtype=np.float64).clip(0.004, 0.85)


def _lit_by_screen(rgba: Texture, motion: Motion, screen: StudioScreen, height: int) -> Mover:
    """Return a mover on which the screen throws some of its light, the more the nearer to its edges."""
    alpha = rgba[..., 3]
    depth = cv2.GaussianBlur(alpha, (0, 0), 0.02 * height, borderType=cv2.BORDER_CONSTANT)
    inside, edge = _SPILL
    share = inside + (edge - inside) * np.clip(2 * (1 - depth), 0, 1)
    seen = rgba.copy()
    seen[..., :3] += (share * alpha)[..., None] * screen.linear
    return Mover(rgba, motion, seen)


def _cast_shadow(movers: Sequence[Mover], height: int) -> Shadow:
    """Return the soft shadow of the last mover on the screen, aside of it and lower."""
    last = movers[-1]
    softness_px = 0.03 * height
    alpha = np.pad(last.rgba[..., 3], int(2.5 * softness_px))
    shade = np.float32(_SHADOW) * cv2.GaussianBlur(alpha, (0, 0), softness_px)
    return Shadow(np.asarray(shade, dtype=np.float32), last.motion.moved(0.05 * height, 0.04 * height))
