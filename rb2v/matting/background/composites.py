"""Composites with known alpha, to train and test on: cut-outs over backgrounds, and plates that are not quite right.

Light adds up in linear light, as it does in a camera; what comes out is coded as sRGB in 8 bits.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from rb2v.core.color import from_linear, to_linear
from rb2v.errors import InputError
from rb2v.io.config import IMAGE_SUFFIXES
from rb2v.io.video import read_image
from rb2v.matting.backgrounds import list_pictures, packaged_picture
from rb2v.progress import Count

logger = logging.getLogger(__name__)

Picture = NDArray[np.float32]

# Free to use and to show: of NASA and SpaceX in the public domain, the others CC0. None of those behind test splits.
_PACKAGED_PHOTOS = (
    *("coffee.png", "astronaut.png", "brick.png", "camera.png", "grass.png", "hubble_deep_field.jpg"),
    "rocket.jpg",
)
_HELD_OUT_EVERY = 8  # an eighth of the images is kept for scores
_MAX_SIDE_PX = 1024  # of images as they are kept; more than any composite shows of one
_LEAST_ALPHA = np.float32(1 / 512)
_MOST_NOISE = 0.03  # standard deviation, of coded values
_MOST_SHIFT = 0.01  # of the plate, relative to the image's size


@dataclass(frozen=True)
class Pictures:
    """What composites are made of."""

    cutouts: tuple[Path, ...] | None
    """RGBA images; None for shapes cut out of the backgrounds' photographs."""
    backgrounds: tuple[Path, ...]

    def split(self) -> tuple[Pictures, Pictures]:
        """Return the images to train on, and those held out: one of every eight, and at least one."""
        sources = (self.cutouts, self.backgrounds)
        training = [paths and tuple(p for i, p in enumerate(paths) if i % _HELD_OUT_EVERY) for paths in sources]
        held_out = [paths and paths[::_HELD_OUT_EVERY] for paths in sources]
        return Pictures(training[0], training[1] or ()), Pictures(held_out[0], held_out[1] or ())


@dataclass(frozen=True, eq=False)
class Composite:
    """A composite and its truth; coded values in 0..1."""

    picture: Picture
    """(H, W, 3)"""
    plate: Picture
    """(H, W, 3) the background as another frame shows it."""
    alpha: Picture
    """(H, W)"""
    foreground: Picture
    """(H, W, 3) color, where alpha is above 0."""


def find_pictures(
    foregrounds: Path | None,
    backgrounds: Path | None,
    progress: Count | None = None,
) -> tuple[Pictures, str]:
    """Return what composites can be made of, and a digest of it all.

    An image that cannot be used is left out with a warning.

    Parameters
    ----------
    foregrounds : Path, optional
        Folder of RGBA images; by default random shapes are cut out of photographs.
    backgrounds : Path, optional
        Folder of images; photographs that scikit-image ships by default.
    progress : callable, optional
        Called with the number of images read, and of all.

    Raises
    ------
    InputError
        If there is no such folder, or fewer than two images of it can be used; cut-outs have to have an alpha.
    """
    cutouts = None if foregrounds is None else list_pictures(foregrounds)
    photos = tuple(map(packaged_picture, _PACKAGED_PHOTOS)) if backgrounds is None else list_pictures(backgrounds)
    n_pictures = len(cutouts or ()) + len(photos)
    sha256 = hashlib.sha256()
    n_read = 0

    def check(
        folder: Path | None, paths: tuple[Path, ...], read: Callable[[Path], NDArray[np.uint8]]
    ) -> tuple[Path, ...]:
        nonlocal n_read
        found = []
        for path in paths:
            n_read += 1
            if progress is not None:
                progress(n_read, n_pictures)
            try:
                read(path)
            except InputError as error:
                logger.warning("%s; it is left out", error)
                continue
            sha256.update(f"{read.__name__} {path.name}\n".encode() + hashlib.sha256(path.read_bytes()).digest())
            found.append(path)
        if len(found) < 2:
            expected = f"at least 2, one of them to test on: {', '.join(IMAGE_SUFFIXES)}"
            raise InputError(folder or "skimage", f"holds {len(found)} images that can be used", expected=expected)
        return tuple(found)

    used_cutouts = None if cutouts is None else check(foregrounds, cutouts, _read_cutout)
    return Pictures(used_cutouts, check(backgrounds, photos, _read_photo)), sha256.hexdigest()


def _read_photo(path: Path) -> NDArray[np.uint8]:
    return _shrink(read_image(path))


def _read_cutout(path: Path) -> NDArray[np.uint8]:
    """Return (H, W, 4) RGBA."""
    color = read_image(path)
    whole = cv2.imdecode(np.fromfile(path, dtype=np.uint8), cv2.IMREAD_UNCHANGED)
    if whole is None or whole.ndim != 3 or whole.shape[2] != 4 or whole.shape[:2] != color.shape[:2]:
        raise InputError(path, "has no alpha channel", expected="an RGBA image of a foreground")
    alpha = whole[..., 3:] if whole.dtype == np.uint8 else (whole[..., 3:] // 257).astype(np.uint8)
    if alpha.min() == alpha.max():
        raise InputError(path, "its alpha is the same everywhere", expected="an RGBA image of a foreground")
    return _shrink(np.concatenate([color, alpha], axis=-1))


def _shrink(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    scale = _MAX_SIDE_PX / max(image.shape[:2])
    if scale >= 1:
        return image
    return np.asarray(cv2.resize(image, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA), dtype=np.uint8)


_photo = lru_cache(maxsize=64)(_read_photo)
_cutout = lru_cache(maxsize=64)(_read_cutout)


def draw_composite(pictures: Pictures, size_px: int, rng: np.random.Generator) -> Composite:
    """Draw a square composite; depends on nothing but its arguments."""
    background = _draw_background(pictures.backgrounds, size_px, rng)
    if pictures.cutouts is None:
        alpha = _draw_shape(size_px, rng)
        premultiplied = alpha[..., None] * _draw_photo(pictures.backgrounds, size_px, rng)
    else:
        cutout = _cutout(pictures.cutouts[int(rng.integers(len(pictures.cutouts)))])
        alpha, premultiplied = _place_cutout(cutout, size_px, rng)
    if rng.random() < 0.3:
        premultiplied, alpha = _smear([premultiplied, alpha], 0.06 * size_px, rng)
    # Filtering by Fourier transforms leaves dust, which is no foreground.
    alpha = np.where(alpha < _LEAST_ALPHA, 0, np.minimum(alpha, 1))
    foreground = np.clip(premultiplied / np.maximum(alpha, _LEAST_ALPHA)[..., None], 0, 1)

    behind = background * _draw_shadow(alpha, rng)[..., None]
    picture = alpha[..., None] * foreground + (1 - alpha[..., None]) * behind
    plate = _disturb_plate(background, rng)
    noise = rng.uniform(0, _MOST_NOISE) if rng.random() < 0.5 else 0.0
    coded_picture, coded_plate = _record(picture, noise, rng), _record(plate, noise, rng)
    return Composite(coded_picture, coded_plate, alpha, from_linear(foreground, "srgb"))


def _draw_background(photos: Sequence[Path], size_px: int, rng: np.random.Generator) -> Picture:
    if rng.random() < 0.25:
        # A screen, or a wall: one color, shaded.
        shading = _draw_clouds(size_px, rng, cells=3)[..., None]
        return np.asarray(np.clip(rng.uniform(0.03, 0.8, 3) * (0.7 + 0.5 * shading), 0, 1), dtype=np.float32)
    image = _draw_photo(photos, size_px, rng)
    if rng.random() < 0.3:
        image = np.asarray(cv2.GaussianBlur(image, (0, 0), rng.uniform(0.5, 4)), dtype=np.float32)
    return image


def _draw_photo(photos: Sequence[Path], size_px: int, rng: np.random.Generator) -> Picture:
    """Draw a part of a photograph in other colors; linear light."""
    photo = to_linear(_photo(photos[int(rng.integers(len(photos)))]), "srgb")
    height, width = photo.shape[:2]
    scale = size_px / min(height, width) * rng.uniform(1.05, 2.0)
    # Soft enough for bilinear sampling where the photograph is made smaller.
    softness = 0.4 / scale
    if softness > 0.3:
        photo = np.asarray(cv2.GaussianBlur(photo, (0, 0), softness), dtype=np.float32)
    center = [rng.uniform(0.5 * size_px / scale, side - 0.5 * size_px / scale) for side in (width, height)]
    image = _warp(photo, center, scale, rng.uniform(-5, 5), size_px, rng.random() < 0.5, cv2.BORDER_REFLECT_101)
    if rng.random() < 0.3:
        image = image[..., rng.permutation(3)]
    gains = rng.uniform(0.6, 1.4) * np.exp(rng.normal(0, 0.2, 3))
    return np.asarray(np.clip(np.clip(image, 0, 1) ** rng.uniform(0.7, 1.3) * gains, 0, 1), dtype=np.float32)


def _place_cutout(cutout: NDArray[np.uint8], size_px: int, rng: np.random.Generator) -> tuple[Picture, Picture]:
    alpha = cutout[..., 3].astype(np.float32) / 255
    premultiplied: Picture = np.dstack([to_linear(cutout[..., :3], "srgb") * alpha[..., None], alpha])
    height, width = alpha.shape
    scale = size_px / max(height, width) * rng.uniform(0.4, 1.2)
    if scale < 1:
        premultiplied = np.asarray(cv2.GaussianBlur(premultiplied, (0, 0), 0.4 / scale), dtype=np.float32)
    reach = 0.25 * size_px / scale
    center = [side / 2 + rng.uniform(-reach, reach) for side in (width, height)]
    placed = _warp(premultiplied, center, scale, rng.uniform(-5, 5), size_px, rng.random() < 0.5, cv2.BORDER_CONSTANT)
    gains = np.exp(rng.normal(0, 0.1, 3)).clip(0.7, 1.3)
    share = placed[..., 3].clip(0, 1)
    return share, np.asarray(np.minimum(placed[..., :3] * gains, share[..., None]), dtype=np.float32)


def _warp(
    image: Picture,
    center: Sequence[float],
    scale: float,
    degrees: float,
    size_px: int,
    mirrored: bool,
    border: int,
) -> Picture:
    matrix = cv2.getRotationMatrix2D((float(center[0]), float(center[1])), degrees, scale)
    matrix += np.outer([size_px / 2 - center[0], size_px / 2 - center[1]], [0, 0, 1])
    warped = cv2.warpAffine(image, matrix, (size_px, size_px), flags=cv2.INTER_LINEAR, borderMode=border)
    return np.ascontiguousarray(warped[:, ::-1] if mirrored else warped, dtype=np.float32)


def _draw_shape(size_px: int, rng: np.random.Generator) -> Picture:
    """Draw the alpha of a body with limbs or without, soft-edged and, half of the time, with hair."""
    mask = np.zeros((size_px, size_px), dtype=np.uint8)
    center = rng.uniform(0.25, 0.75, 2) * size_px
    radius = rng.uniform(0.12, 0.35) * size_px
    angles = np.linspace(0, 2 * np.pi, 96, endpoint=False)
    waves = sum(rng.normal(0, 0.25 / k) * np.cos(k * angles + rng.uniform(0, 2 * np.pi)) for k in range(1, 7))
    outline = center + (radius * np.clip(1 + waves, 0.3, 2))[:, None] * np.stack([np.cos(angles), np.sin(angles)], 1)
    _fill(mask, outline)
    if rng.random() < 0.4:  # shoulders
        top, half_width = center[1] + 0.8 * radius, rng.uniform(1.0, 2.0) * radius
        _fill(mask, _ellipse(center[0], top + 1.5 * half_width, half_width, 1.5 * half_width))
    for _ in range(int(rng.integers(0, 6))):  # fingers, arms
        tip = center + radius * rng.uniform(1.0, 2.2) * _direction(rng)
        width = max(round(rng.uniform(0.05, 0.35) * radius), 1)
        cv2.line(mask, _fixed(center), _fixed(tip), 255, width, cv2.LINE_AA, _FRACTION_BITS)
    alpha: Picture = mask.astype(np.float32) / np.float32(255)
    if rng.random() < 0.5:
        alpha = np.maximum(alpha, _draw_hair(size_px, outline, radius, rng))
    if rng.random() < 0.8:
        alpha = np.asarray(cv2.GaussianBlur(alpha, (0, 0), rng.uniform(0.4, 0.8 + size_px / 150)), dtype=np.float32)
    return alpha.clip(0, 1)


def _draw_hair(size_px: int, outline: NDArray[np.floating], radius: float, rng: np.random.Generator) -> Picture:
    hair = np.zeros((size_px, size_px), dtype=np.uint8)
    middle = outline.mean(axis=0)
    for root in outline[rng.integers(0, len(outline), int(rng.integers(20, 120)))]:
        outward = (root - middle) / max(float(np.hypot(*(root - middle))), 1.0) + 0.6 * _direction(rng)
        steps = np.linspace(-0.2, 1, 8)[:, None]
        bend = steps**2 * rng.normal(0, 0.3, 2)
        curve = root + radius * rng.uniform(0.15, 0.7) * (steps * outward + bend)
        points = np.rint(curve * (1 << _FRACTION_BITS)).astype(np.int32)
        strand = np.zeros_like(hair)
        cv2.polylines(strand, [points], False, float(rng.uniform(80, 255)), 1, cv2.LINE_AA, _FRACTION_BITS)
        np.maximum(hair, strand, out=hair)
    return hair.astype(np.float32) / np.float32(255)


_FRACTION_BITS = 4  # of OpenCV's coordinates: 1/16 px


def _fixed(point: NDArray[np.floating]) -> tuple[int, int]:
    x, y = np.rint(point * (1 << _FRACTION_BITS)).astype(int)
    return int(x), int(y)


def _fill(mask: NDArray[np.uint8], outline: NDArray[np.floating]) -> None:
    points = np.rint(outline * (1 << _FRACTION_BITS)).astype(np.int32)
    cv2.fillPoly(mask, [points], 255, cv2.LINE_AA, _FRACTION_BITS)


def _ellipse(x: float, y: float, half_width: float, half_height: float) -> NDArray[np.float64]:
    angles = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    return np.stack([x + half_width * np.cos(angles), y + half_height * np.sin(angles)], axis=1)


def _direction(rng: np.random.Generator) -> NDArray[np.float64]:
    angle = rng.uniform(0, 2 * np.pi)
    return np.array([np.cos(angle), np.sin(angle)])


def _draw_clouds(size_px: int, rng: np.random.Generator, cells: int) -> Picture:
    coarse = rng.uniform(0, 1, (cells, cells)).astype(np.float32)
    return np.asarray(cv2.resize(coarse, (size_px, size_px), interpolation=cv2.INTER_CUBIC), dtype=np.float32)


def _smear(images: Sequence[Picture], length_px: float, rng: np.random.Generator) -> list[Picture]:
    """Blur by a straight motion."""
    shift = rng.uniform(0.2, 1) * length_px * _direction(rng)
    n_px = int(np.ceil(np.abs(shift).max())) + 1
    kernel = np.zeros((2 * n_px + 1, 2 * n_px + 1), dtype=np.uint8)
    middle = np.full(2, n_px, dtype=np.float64)
    cv2.line(kernel, _fixed(middle - shift / 2), _fixed(middle + shift / 2), 255, 1, cv2.LINE_AA, _FRACTION_BITS)
    weights = kernel.astype(np.float32) / kernel.sum()
    return [np.asarray(cv2.filter2D(image, -1, weights), dtype=np.float32) for image in images]


def _draw_shadow(alpha: Picture, rng: np.random.Generator) -> Picture:
    """Return the share of light that the foreground leaves on the background."""
    if rng.random() < 0.6:
        return np.ones_like(alpha)
    size_px = len(alpha)
    shift = rng.uniform(-0.2, 0.2, 2) * size_px
    moved = cv2.warpAffine(alpha, np.array([[1, 0, shift[0]], [0, 1, shift[1]]]), alpha.shape[::-1])
    soft = cv2.GaussianBlur(moved, (0, 0), rng.uniform(0.03, 0.1) * size_px)
    return np.asarray(1 - rng.uniform(0.1, 0.5) * soft, dtype=np.float32)


def _disturb_plate(background: Picture, rng: np.random.Generator) -> Picture:
    plate = background
    if rng.random() < 0.8:
        plate = plate * (rng.uniform(0.85, 1.15) * rng.uniform(0.95, 1.05, 3)).astype(np.float32)
    if rng.random() < 0.3:
        size_px = len(plate)
        center = size_px / 2 + rng.uniform(-_MOST_SHIFT, _MOST_SHIFT, 2) * size_px
        degrees = rng.uniform(-0.5, 0.5)
        plate = _warp(plate, [float(c) for c in center], 1.0, degrees, size_px, False, cv2.BORDER_REPLICATE)
    return plate


def _record(image_linear: NDArray[np.floating], noise: float, rng: np.random.Generator) -> Picture:
    coded = from_linear(image_linear, "srgb") + noise * rng.standard_normal(image_linear.shape, dtype=np.float32)
    return np.asarray(np.rint(coded.clip(0, 1) * 255) / 255, dtype=np.float32)
