"""Material of simulated scenes: photographs in linear light, and soft-edged shapes."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from rb2v.core.color import to_linear
from rb2v.errors import InputError
from rb2v.io.config import IMAGE_SUFFIXES
from rb2v.io.video import read_image

# Free to use and to show: NASA and SpaceX in the public domain, the others CC0.
_PACKAGED_PHOTOS = ("astronaut.png", "brick.png", "chelsea.png", "coffee.png", "rocket.jpg")
_MORE_PHOTOS = ("grass.png", "gravel.png", "hubble_deep_field.jpg", "retina.jpg")

# The lens: a point of the scene is at least this wide, so that bilinear sampling of a texture loses nothing more.
LENS_SIGMA_PX = 0.8
_RIM_PX = 4  # empty around a shape


def list_photos(folder: Path | None = None, *, more: bool = False) -> list[Path]:
    """Return the photographs that textures are cut from: a folder's, or those that scikit-image ships.

    Parameters
    ----------
    folder : Path, optional
        Folder of images.
    more : bool
        Whether images of ground, stars and an eye are among those of scikit-image; a session's scenes have none.

    Raises
    ------
    InputError
        If it is not a folder, holds no image, or a file with an image's suffix that cannot be read.
    """
    if folder is None:
        names = sorted(_PACKAGED_PHOTOS + _MORE_PHOTOS) if more else _PACKAGED_PHOTOS
        return [_packaged_folder() / name for name in names]
    if not folder.is_dir():
        raise InputError(folder, "is not a folder", expected="a folder of images")
    paths = sorted(path for path in folder.glob("*") if path.suffix.lower() in IMAGE_SUFFIXES)
    if not paths:
        raise InputError(folder, "holds no image", expected=", ".join(IMAGE_SUFFIXES))
    for path in paths:
        read_image(path)
    return paths


def load_photo(path: Path) -> NDArray[np.float32]:
    """Read a photograph as (H, W, 3) float32 linear light, softened by the lens and kept off black and clipping."""
    return _load_packaged(path) if path.parent == _packaged_folder() else _load(path)


@cache
def _load_packaged(path: Path) -> NDArray[np.float32]:
    # Nine small ones, which every scene of a session shows again.
    photo = _load(path)
    photo.setflags(write=False)
    return photo


@cache
def _packaged_folder() -> Path:
    return Path(str(files("skimage").joinpath("data")))


def _load(path: Path) -> NDArray[np.float32]:
    linear = to_linear(read_image(path), "srgb")
    return np.asarray(0.02 + 0.88 * cv2.GaussianBlur(linear, (0, 0), LENS_SIGMA_PX), dtype=np.float32)


def photo_wall(
    photos: Sequence[NDArray[np.float32]], size: tuple[int, int], rng: np.random.Generator
) -> NDArray[np.float32]:
    """Cover a wall with photographs: random crops side by side, each with its own place, flip and brightness.

    Parameters
    ----------
    photos : sequence of (H, W, 3) ndarray of float32
        Linear light.
    size : tuple of int
        Width and height of the wall in pixels.
    rng : numpy.random.Generator
        Decides what hangs where.

    Returns
    -------
    (height, width, 3) ndarray of float32
        Linear light.
    """
    width, height = size
    wall = np.empty((height, width, 3), dtype=np.float32)
    tile_height = max(height // 4, 32)
    for top in range(0, height, tile_height):
        left = -int(rng.integers(0, tile_height // 2))
        while left < width:
            photo = photos[int(rng.integers(len(photos)))]
            tile = _random_crop(photo, (int(tile_height * rng.uniform(1.0, 1.6)), tile_height), rng)
            visible = wall[top : top + tile_height, max(left, 0) : left + tile.shape[1]]
            visible[:] = tile[: visible.shape[0], max(-left, 0) :][:, : visible.shape[1]]
            left += tile.shape[1]
    return np.asarray(cv2.GaussianBlur(wall, (0, 0), LENS_SIGMA_PX), dtype=np.float32)


def _random_crop(photo: NDArray[np.float32], size: tuple[int, int], rng: np.random.Generator) -> NDArray[np.float32]:
    width, height = size
    scale = max(width / photo.shape[1], height / photo.shape[0]) * rng.uniform(1.0, 1.3)
    resized = cv2.resize(
        photo, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    )
    top = int(rng.integers(0, max(resized.shape[0] - height, 0) + 1))
    left = int(rng.integers(0, max(resized.shape[1] - width, 0) + 1))
    tile = cv2.resize(resized[top : top + height, left : left + width], (width, height))
    flipped = tile[:, ::-1] if rng.random() < 0.5 else tile
    return np.asarray(np.clip(flipped * rng.uniform(0.7, 1.1), 0.02, 0.9), dtype=np.float32)


def sprite(photo: NDArray[np.float32], alpha: NDArray[np.float32], rng: np.random.Generator) -> NDArray[np.float32]:
    """Cut a shape out of a photograph.

    Parameters
    ----------
    photo : (H, W, 3) ndarray of float32
        Linear light.
    alpha : (h, w) ndarray of float32
        Opacity in 0..1, 0 along the edge.
    rng : numpy.random.Generator
        Decides which part of the photograph is cut.

    Returns
    -------
    (h, w, 4) ndarray of float32
        Linear light times opacity, and opacity.
    """
    height, width = alpha.shape
    # The liveliest of a few crops: a shape without texture shows no motion.
    color = max((_random_crop(photo, (width, height), rng) for _ in range(5)), key=lambda crop: float(crop.std()))
    return np.asarray(np.dstack([color * alpha[..., None], alpha]), dtype=np.float32)


def ellipse_alpha(size: tuple[int, int]) -> NDArray[np.float32]:
    """Return a soft-edged ellipse as (height, width) float32 opacity; ``size`` is (width, height) in pixels."""
    width, height = size
    mask = np.zeros((height, width), dtype=np.uint8)
    center, axes = (width // 2, height // 2), (int(width * 0.42), int(height * 0.42))
    cv2.ellipse(mask, center, axes, 0, 0, 360, 255, -1, cv2.LINE_AA)
    return _soften(mask)


def polygon_alpha(size: tuple[int, int], rng: np.random.Generator) -> NDArray[np.float32]:
    """Return a soft-edged star-shaped polygon as (height, width) float32 opacity; ``size`` is (width, height)."""
    width, height = size
    angles = np.linspace(0, 2 * np.pi, int(rng.integers(5, 10)), endpoint=False) + rng.uniform(0, 2 * np.pi)
    radii = rng.uniform(0.25, 0.43, len(angles))
    points = np.stack([width * (0.5 + radii * np.cos(angles)), height * (0.5 + radii * np.sin(angles))], axis=1)
    return _fill([points], (width, height))


def hand_alpha(size: tuple[int, int]) -> NDArray[np.float32]:
    """Return a soft-edged open hand as (height, width) float32 opacity; ``size`` is (width, height) in pixels."""
    width, height = size
    mask = np.zeros((height, width), dtype=np.uint8)

    def at(x: float, y: float) -> tuple[int, int]:
        return round(x * width), round(y * height)

    cv2.ellipse(mask, at(0.5, 0.62), (int(0.2 * width), int(0.22 * height)), 0, 0, 360, 255, -1, cv2.LINE_AA)
    cv2.line(mask, at(0.5, 0.75), at(0.5, 0.93), 255, int(0.2 * width), cv2.LINE_AA)
    fingers = [((0.36, 0.5), (0.27, 0.2)), ((0.46, 0.45), (0.43, 0.12)), ((0.55, 0.45), (0.58, 0.13))]
    fingers += [((0.63, 0.5), (0.73, 0.23)), ((0.34, 0.66), (0.15, 0.5))]
    for root, tip in fingers:
        cv2.line(mask, at(*root), at(*tip), 255, max(int(0.085 * width), 1), cv2.LINE_AA)
    return _soften(mask)


def lay_strands(
    rgba: NDArray[np.float32],
    paths: NDArray[np.float64],
    widths_px: NDArray[np.float64],
    colors: NDArray[np.float64],
    rng: np.random.Generator,
) -> None:
    """Lay strands of hair or thread over a texture in place; the later half of each is half as wide.

    Parameters
    ----------
    rgba : (h, w, 4) ndarray of float32
        Linear light times opacity, and opacity.
    paths : (n, k, 2) ndarray of float64
        Places (x, y) along every strand in pixels, from its root to its tip. Strands that leave the texture are left
        out.
    widths_px : (n,) ndarray of float64
        Widths at the roots. The lens spreads a strand that is narrower than a pixel, so that much is seen through it.
    colors : (m, 3) ndarray of float64
        Linear light; each is given to an equal part of the strands, one over the other.
    rng : numpy.random.Generator
        Decides how opaque the strands of a color are.
    """
    height, width = rgba.shape[:2]
    # What would be cut off at the rim is left out.
    within = ((paths > _RIM_PX) & (paths < np.array([width, height]) - 1 - _RIM_PX)).all(axis=(1, 2))
    paths, widths_px = paths[within], widths_px[within]
    oversampling = max(4, -(-1200 // height))
    # OpenCV counts in sixteenths of a pixel here.
    points = np.rint(16 * ((paths + 0.5) * oversampling - 0.5)).astype(np.int32)
    thickness = np.maximum(np.rint(widths_px * oversampling), 1).astype(int)
    half = points.shape[1] // 2
    for color, chosen in zip(colors, np.array_split(np.arange(len(paths)), len(colors)), strict=True):
        mask = np.zeros((height * oversampling, width * oversampling), dtype=np.uint8)
        for index in chosen:
            root, tip, n = points[index, : half + 1], points[index, half:], int(thickness[index])
            cv2.polylines(mask, [root], False, 255, n, cv2.LINE_8, 4)
            cv2.polylines(mask, [tip], False, 255, max(n // 2, 1), cv2.LINE_8, 4)
        cover = cv2.resize(mask.astype(np.float32) / 255, (width, height), interpolation=cv2.INTER_AREA)
        opacity = np.float32(rng.uniform(0.7, 1.0))
        alpha = np.asarray(opacity * cv2.GaussianBlur(cover, (0, 0), LENS_SIGMA_PX), dtype=np.float32)
        _clear_rim(alpha)
        rgba *= 1 - alpha[..., None]
        rgba += alpha[..., None] * np.append(color, 1.0).astype(np.float32)


def _fill(polygons: Sequence[NDArray[np.float64]], size: tuple[int, int]) -> NDArray[np.float32]:
    mask = np.zeros((size[1], size[0]), dtype=np.uint8)
    cv2.fillPoly(mask, [np.rint(points).astype(np.int32) for points in polygons], 255, cv2.LINE_AA)
    return _soften(mask)


def _soften(mask: NDArray[np.uint8]) -> NDArray[np.float32]:
    # Edges are twice as soft as the lens, and nothing of the shape touches the rim of its image.
    mask[:_RIM_PX] = mask[-_RIM_PX:] = 0
    mask[:, :_RIM_PX] = mask[:, -_RIM_PX:] = 0
    alpha = np.asarray(cv2.GaussianBlur(mask.astype(np.float32) / 255, (0, 0), 2 * LENS_SIGMA_PX), dtype=np.float32)
    _clear_rim(alpha)
    return alpha


def _clear_rim(alpha: NDArray[np.float32]) -> None:
    alpha[0] = alpha[-1] = 0
    alpha[:, 0] = alpha[:, -1] = 0
