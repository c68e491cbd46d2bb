"""Static images behind green-screen takes: which can be used, which split they serve, what a sample gets of them."""

from __future__ import annotations

import hashlib
import io
import logging
import stat
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
from numpy.typing import NDArray
from PIL import ImageOps

from rb2v.artifacts import Split
from rb2v.core.color import to_linear
from rb2v.errors import InputError
from rb2v.io.config import IMAGE_SUFFIXES
from rb2v.matting import Matte

logger = logging.getLogger(__name__)

DEFAULT_PICTURES: Mapping[Split, tuple[str, ...]] = {
    "train": ("brick.png", "coffee.png", "grass.png", "hubble_deep_field.jpg", "rocket.jpg"),
    "test": ("chelsea.png", "gravel.png", "retina.jpg"),
}
"""Photographs that come with scikit-image, CC0 or in the public domain, by the split that they serve."""

_MIN_SHARE = 0.6  # of an image's height or width that a crop shows, where it is large enough
_MIN_COVER = 0.5  # of a frame, that an image has to have in pixels each way
_MAX_DEFOCUS_PX = 2.0  # radius in the frame
_MAX_PICTURES = 4096  # whose names travel with every shard to be built
_MAX_BYTES = 512 << 20  # of a file
_MAX_BRIGHTENING = 2.0  # either way: one stop, as a camera's exposure would do
_MAX_TINT = 1.2  # of a channel against the others: another white balance, but no other color
_THUMBNAIL = 16  # px a side: what scaling and JPEG leave alike
_MAX_LIKENESS = 0.03  # root mean square of the difference of two images' thumbnails, up to which they are one


@dataclass(frozen=True)
class Picture:
    """An image that can stand behind a take."""

    path: Path
    sha256: str


def find_pictures(
    folder: Path | None, splits: set[Split], size: tuple[int, int], test_share: float
) -> dict[Split, tuple[Picture, ...]]:
    """Return the images for each split, sorted by name; each is decoded once to see that it can be used.

    An image that cannot be used is left out with a warning. Images that look alike are one group, and a group serves
    one split: test, if a number in 0..1 that its content alone decides is below the share. Neither names nor other
    images count, so that an image which comes later moves no other, unless a split had none: it then takes the group
    whose number is nearest to it.

    Parameters
    ----------
    folder : Path or None
        Holds the images; None for `DEFAULT_PICTURES`. Hidden files, other suffixes and folders in it are ignored.
    splits : set of {"train", "test"}
        Those that need images.
    size : tuple of int
        Width and height of the frames in pixels.
    test_share : float
        Share of the images that go to the test split.

    Raises
    ------
    InputError
        If there is no such folder, or too few different images of it can be used, or it holds more than 4096.
    """
    if not splits:
        return {}
    if folder is None:
        packaged = {split: map(packaged_picture, DEFAULT_PICTURES[split]) for split in sorted(splits)}
        return {
            split: tuple(Picture(path, _digest(_read_bytes(path))) for path in packaged[split]) for split in packaged
        }
    pictures, thumbnails = [], []
    for path in list_pictures(folder):
        try:
            picture, image = _check_picture(path, size)
        except InputError as error:
            logger.warning("%s; it is left out", error)
            continue
        pictures.append(picture)
        thumbnails.append(_shrink_to_thumbnail(image))
    groups = _group_alike(thumbnails)
    if len(groups) < len(splits):
        raise InputError(
            folder,
            f"holds {len(groups)} different images that can be used",
            expected=f"at least {len(splits)}, one per split, as PNG, JPEG or TIFF",
        )
    return _assign([[pictures[index] for index in group] for group in groups], splits, test_share)


def list_pictures(folder: Path) -> tuple[Path, ...]:
    """Return a folder's images, sorted by name; hidden files, other suffixes and folders in it are ignored.

    Raises
    ------
    InputError
        If there is no such folder, or it holds more than 4096.
    """
    if not folder.is_dir():
        raise InputError(folder, "there is no such folder", expected="a folder of images")
    paths = sorted(
        path
        for path in folder.iterdir()
        if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".") and not path.is_dir()
    )
    if len(paths) > _MAX_PICTURES:
        raise InputError(folder, f"holds {len(paths)} images", expected=f"at most {_MAX_PICTURES}")
    return tuple(paths)


def packaged_picture(name: str) -> Path:
    """Return where an image of `DEFAULT_PICTURES` is installed."""
    spec = find_spec("skimage")
    data = Path(spec.origin).parent / "data" if spec is not None and spec.origin else Path()
    return data / name


def locate_pictures(digests: Mapping[str, str], folder: Path | None = None) -> tuple[Picture, ...]:
    """Return the images that a manifest lists for a split, as `find_pictures` returned them.

    Those of a folder are compared with their digests when they are drawn, for there may be thousands of which few are.

    Parameters
    ----------
    digests : mapping of str to str
        SHA-256 by file name.
    folder : Path, optional
        Holds the images; the packaged ones by default.

    Raises
    ------
    InputError
        If an image is missing, or a packaged one is another.
    """
    located = []
    for name, sha256 in sorted(digests.items()):
        if name in ("", ".", "..") or set(name) & set("/\\\0"):
            raise InputError("backgrounds", f"{name!r} is not a file name")
        picture = Picture(packaged_picture(name) if folder is None else folder / name, sha256)
        if folder is None:
            _read_listed(picture)
        elif not picture.path.is_file():
            raise InputError(picture.path, "cannot be read", expected="an image")
        located.append(picture)
    return tuple(located)


def draw_background(
    pictures: Sequence[Picture], size: tuple[int, int], seed: int, take: str, blurry_index: int, scale: float = 1.0
) -> NDArray[np.float32]:
    """Draw a sample's background: a part of an image, perhaps mirrored, and slightly out of focus.

    Parameters
    ----------
    images : sequence of Image
        Those of the sample's split, in the order of `find_pictures`.
    size : tuple of int
        Width and height of the background in pixels.
    seed : int
        Decides, with the two below, what is drawn; who draws it, and what was drawn before, does not count.
    take : str
        The sample's take.
    blurry_index : int
        Index of its blurry frame.
    scale : float
        Pixels of the background per pixel of the data set's frames, in which the defocus is at most 2.

    Returns
    -------
    (H, W, 3) ndarray of float32
        RGB in linear light, 0..1.

    Raises
    ------
    InputError
        If the image cannot be read any more, or is another.
    """
    name_words = np.frombuffer(hashlib.sha256(take.encode()).digest(), dtype=np.uint32)
    rng = np.random.default_rng([seed, blurry_index, *name_words.tolist()])
    picture_linear = _load_linear(pictures[int(rng.integers(len(pictures)))], size)
    width, height = size
    cover = min(picture_linear.shape[1] / width, picture_linear.shape[0] / height)
    # Not enlarged for the sake of a smaller part.
    zoom = cover * rng.uniform(min(max(1 / cover, _MIN_SHARE), 1.0), 1.0)
    part_width, part_height = max(1, round(width * zoom)), max(1, round(height * zoom))
    x = int(rng.integers(picture_linear.shape[1] - part_width + 1))
    y = int(rng.integers(picture_linear.shape[0] - part_height + 1))
    part = picture_linear[y : y + part_height, x : x + part_width]
    if rng.random() < 0.5:
        part = np.ascontiguousarray(part[:, ::-1])
    background = cv2.resize(part, size, interpolation=cv2.INTER_AREA if zoom > 1 else cv2.INTER_LINEAR)
    # A disc of radius r spreads light as far, in the root mean square along an axis, as a Gaussian of sigma r / 2.
    sigma = rng.uniform(0, _MAX_DEFOCUS_PX) * scale / 2
    return np.asarray(np.clip(cv2.GaussianBlur(background, (0, 0), max(sigma, 0.01)), 0, 1), dtype=np.float32)


def match_light(background_linear: NDArray[np.float32], blurry: Matte) -> NDArray[np.float32]:
    """Bring a background nearer to the foreground's brightness and white balance.

    One gain per channel for the whole image, so that it stays the same behind all frames. The brightness changes by
    a factor of 2 at most and a channel relative to it by 1.2, for a face is not the color of the light on it.

    Parameters
    ----------
    background_linear : (H, W, 3) ndarray of float32
        RGB in linear light.
    blurry : Matte
        The blurry frame's.

    Returns
    -------
    (H, W, 3) ndarray of float32
        RGB in linear light, 0..1: what is clipped when it is coded would break eq. (1) where it is half covered.
    """
    share = blurry.alpha.mean(dtype=np.float64)
    if share < 1e-3:
        return background_linear
    foreground = np.maximum(blurry.premultiplied_linear.mean(axis=(0, 1), dtype=np.float64) / share, 0) + 1e-3
    behind = background_linear.mean(axis=(0, 1), dtype=np.float64) + 1e-3
    brightening = foreground.mean() / behind.mean()
    tint = foreground / behind / brightening
    gain = np.clip(brightening, 1 / _MAX_BRIGHTENING, _MAX_BRIGHTENING) * np.clip(tint, 1 / _MAX_TINT, _MAX_TINT)
    return np.asarray(np.minimum(background_linear * gain, 1), dtype=np.float32)


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _check_picture(path: Path, size: tuple[int, int]) -> tuple[Picture, NDArray[np.uint8]]:
    data = _read_bytes(path)
    image = _decode(path, data, size)
    height, width = image.shape[:2]
    if width < _MIN_COVER * size[0] or height < _MIN_COVER * size[1]:
        expected = f"at least half the size of the frames, {size[0]}x{size[1]}"
        raise InputError(path, f"is only {width}x{height}", expected=expected)
    return Picture(path, _digest(data)), image


def _read_bytes(path: Path) -> bytes:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            # A pipe would wait for ever, a device never end.
            raise InputError(path, "is not a regular file", expected="an image")
        if status.st_size > _MAX_BYTES:
            raise InputError(path, "is too large", expected=f"at most {_MAX_BYTES >> 20} MiB")
        return path.read_bytes()
    except OSError as error:
        raise InputError(path, "cannot be read", expected="an image") from error


def _read_listed(picture: Picture) -> bytes:
    data = _read_bytes(picture.path)
    if _digest(data) != picture.sha256:
        expected = f"SHA-256 {picture.sha256}"
        raise InputError(picture.path, "is not the image that the data set was built with", expected=expected)
    return data


def _decode(path: Path, data: bytes, size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return an image upright and as RGB; a JPEG no larger than crops of it need."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of metadata, say, that nobody needs
            warnings.simplefilter("error", PIL.Image.DecompressionBombWarning)
            with PIL.Image.open(io.BytesIO(data), formats=("PNG", "JPEG", "TIFF")) as opened:
                if opened.mode in ("CMYK", "LAB", "F"):
                    raise InputError(path, f"has {opened.mode} values", expected="RGB or gray")
                opened.draft(None, (_side(size), _side(size)))
                opened.load()
                picture = ImageOps.exif_transpose(opened)
            if picture.mode.startswith("I"):
                deep = np.asarray(picture)
                if deep.min() < 0 or deep.max() > 65535:
                    raise InputError(path, "has more than 16 bits", expected="8 or 16 bits per channel")
                picture = PIL.Image.fromarray(np.rint(deep / 257).astype(np.uint8))
            if np.asarray(picture.convert("RGBA"))[..., 3].min() < 255:
                raise InputError(path, "is transparent in places", expected="an opaque image")
            return np.asarray(picture.convert("RGB"), dtype=np.uint8)
    except InputError:
        raise
    except (PIL.Image.DecompressionBombWarning, PIL.Image.DecompressionBombError) as error:
        raise InputError(path, "is too large", expected="at most 89 megapixels") from error
    except Exception as error:  # decoders raise whatever a broken file leads them to
        raise InputError(path, "cannot be read as an image", expected="PNG, JPEG or TIFF") from error


def _side(size: tuple[int, int]) -> int:
    """Return the height and width up to which an image gives crops anything."""
    return int(np.ceil(max(size) / _MIN_SHARE))


@lru_cache(maxsize=8)
def _load_linear(picture: Picture, size: tuple[int, int]) -> NDArray[np.float32]:
    """Return an image in linear light, no larger than crops of it need."""
    image_linear = to_linear(_decode(picture.path, _read_listed(picture), size), "srgb")
    height, width = image_linear.shape[:2]
    excess = min(width / size[0], height / size[1]) * _MIN_SHARE
    if excess > 1:
        smaller = (max(1, round(width / excess)), max(1, round(height / excess)))
        image_linear = np.asarray(cv2.resize(image_linear, smaller, interpolation=cv2.INTER_AREA), dtype=np.float32)
    image_linear.flags.writeable = False  # shared by all samples
    return image_linear


def _shrink_to_thumbnail(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    small = cv2.resize(image.astype(np.float32) / 255, (_THUMBNAIL, _THUMBNAIL), interpolation=cv2.INTER_AREA)
    return np.asarray(small, dtype=np.float32)


def _group_alike(thumbnails: Sequence[NDArray[np.float32]]) -> list[list[int]]:
    """Group the indices of images that look alike, mirrored or not, directly or through others."""
    groups: list[list[int]] = []
    if not thumbnails:
        return groups
    stack = np.stack(thumbnails)
    for index, thumbnail in enumerate(stack):
        earlier = stack[:index]
        distances = [
            np.sqrt(np.mean(np.square(earlier - view), axis=(1, 2, 3))) for view in (thumbnail, thumbnail[:, ::-1])
        ]
        alike = set(np.flatnonzero(np.minimum(*distances) < _MAX_LIKENESS).tolist())
        joined = [group for group in groups if alike.intersection(group)]
        groups = [group for group in groups if group not in joined]
        groups.append(sorted([index, *(one for group in joined for one in group)]))
    return groups


def _assign(
    groups: Sequence[Sequence[Picture]], splits: set[Split], test_share: float
) -> dict[Split, tuple[Picture, ...]]:
    ordered = sorted(groups, key=_place)
    n_test = sum(_place(group) < test_share for group in ordered)
    if "test" in splits:
        n_test = max(n_test, 1)
    if "train" in splits:
        n_test = min(n_test, len(ordered) - 1)
    parts = {"test": ordered[:n_test], "train": ordered[n_test:]}
    return {
        split: tuple(sorted((picture for group in parts[split] for picture in group), key=lambda one: one.path.name))
        for split in sorted(splits)
    }


def _place(group: Sequence[Picture]) -> float:
    """Return a number in 0..1 that the content of a group's images decides."""
    least = min(picture.sha256 for picture in group)
    # Hashed again, for the least of many would be nearer to 0 the larger the group.
    return int(_digest(least.encode())[:12], 16) / 16**12
