"""Crop of a frame, and replacement of the screen behind its foreground."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from rb2v.artifacts import CameraResponse, Crop, Split
from rb2v.core.color import encode
from rb2v.core.compositing import composite
from rb2v.errors import InputError
from rb2v.io.aligned import AlignedSample
from rb2v.io.store import validate
from rb2v.matting import FittedMatting, Matte
from rb2v.matting.backgrounds import Picture, draw_background, locate_pictures, match_light
from rb2v.shards import Manifest

Value = TypeVar("Value", np.uint8, np.float32)


@dataclass(frozen=True)
class Window:
    """The part of the aligned frames that is kept, and the size that it is brought to."""

    size: tuple[int, int]
    """Width and height of the aligned frames in pixels."""
    x: int
    y: int
    width: int
    height: int
    output_size: tuple[int, int]

    def cut(self, planes: NDArray[Value]) -> NDArray[Value]:
        """Return the part of (..., H, W, C) frames, or of (..., H, W) planes, as large as the aligned frames."""
        rows, columns = slice(self.y, self.y + self.height), slice(self.x, self.x + self.width)
        has_channels = planes.shape[-2:] != self.size[::-1]
        return np.ascontiguousarray(planes[..., rows, columns, :] if has_channels else planes[..., rows, columns])

    def shrink(self, crop: Crop) -> Crop:
        """Return the part of a crop, of which the aligned frames show the whole."""
        scale_x, scale_y = crop.width / self.size[0], crop.height / self.size[1]
        return Crop(
            crop.x + round(self.x * scale_x),
            crop.y + round(self.y * scale_y),
            max(1, round(self.width * scale_x)),
            max(1, round(self.height * scale_y)),
        )

    @property
    def keeps_all(self) -> bool:
        """Whether the part is the whole."""
        return (self.x, self.y, self.width, self.height) == (0, 0, *self.size)

    @property
    def resizes(self) -> bool:
        """Whether the part is not of the output size yet."""
        return (self.width, self.height) != self.output_size

    def finish(self, image_linear: NDArray[np.float32], response: CameraResponse) -> NDArray[np.uint8]:
        """Bring a part to the output size in linear light, where the mean of frames stays their mean, and code it."""
        if self.resizes:
            image_linear = np.asarray(cv2.resize(image_linear, self.output_size, interpolation=cv2.INTER_AREA))
        return encode(image_linear, response)


def fit_window(size: tuple[int, int], output_size: tuple[int, int] | None, source: Path) -> Window:
    """Return the largest central part that has the output's aspect.

    Raises
    ------
    InputError
        If the output is larger than the frames.
    """
    width, height = size
    out_width, out_height = output_size or size
    if out_width > width or out_height > height:
        raise InputError(
            source, f"its frames are {width}x{height}", expected=f"at least the output size, {out_width}x{out_height}"
        )
    scale = min(width / out_width, height / out_height)
    part = (min(width, round(out_width * scale)), min(height, round(out_height * scale)))
    return Window(size, (width - part[0]) // 2, (height - part[1]) // 2, *part, (out_width, out_height))


def replace_screen(
    sample: AlignedSample,
    matting: FittedMatting,
    background_linear: NDArray[np.float32],
    window: Window,
    response: CameraResponse,
    *,
    light_match: bool,
) -> AlignedSample:
    """Return a sample, of which the window was cut, before a background as large."""
    sharp, blurry = matting.matte(sample.sharp, sample.blurry)
    if light_match:
        background_linear = match_light(background_linear, blurry)
    return AlignedSample(
        window.finish(composite(blurry.premultiplied_linear, blurry.alpha, background_linear), response),
        np.stack(
            [
                window.finish(composite(foreground, alpha, background_linear), response)
                for foreground, alpha in zip(sharp.premultiplied_linear, sharp.alpha, strict=True)
            ]
        ),
    )


def draw_window(
    pictures: Sequence[Picture], window: Window, seed: int, take: str, blurry_index: int
) -> NDArray[np.float32]:
    """Return the background of a sample, as large as the window; see `rb2v.matting.backgrounds.draw_background`."""
    scale = window.width / window.output_size[0]
    return draw_background(pictures, (window.width, window.height), seed, take, blurry_index, scale)


@dataclass(frozen=True)
class _Drawn:
    """What a manifest says of the backgrounds."""

    seed: int
    light_match: bool
    backgrounds: Mapping[Split, Mapping[str, str]]


class Recompositor:
    """Lays other foregrounds over the very backgrounds that the samples of a data set have.

    Parameters
    ----------
    manifest : Manifest
        Of the data set.
    source : Path
        The manifest's file, which messages name.
    aligned_size : tuple of int
        Width and height of the aligned frames in pixels.
    response : {"linear", "srgb"} or float
        The camera's response.
    pictures_dir : Path, optional
        The folder that the data set was built with; the packaged images by default.

    Raises
    ------
    InputError
        If the manifest does not say what was drawn, or an image is not the one that was drawn from.
    """

    def __init__(
        self,
        manifest: Manifest,
        source: Path,
        aligned_size: tuple[int, int],
        response: CameraResponse,
        pictures_dir: Path | None = None,
    ) -> None:
        build = manifest.provenance.config.get("build_shards")
        names = {field.name for field in dataclasses.fields(_Drawn)}
        said = {name: value for name, value in build.items() if name in names} if isinstance(build, dict) else {}
        self._drawn = validate(_Drawn, said, source)
        self._pictures = {
            split: locate_pictures(digests, pictures_dir) for split, digests in self._drawn.backgrounds.items()
        }
        self._window = fit_window(aligned_size, manifest.output_size, source)
        self._response = response

    def cut(self, planes: NDArray[Value]) -> NDArray[Value]:
        """Return the part of aligned (..., H, W, C) frames, or (..., H, W) planes, that was kept, and keyed."""
        return self._window.cut(planes)

    def background(self, split: Split, take: str, blurry_index: int, blurry: Matte) -> NDArray[np.float32]:
        """Return the background of a sample.

        Parameters
        ----------
        split : {"train", "test"}
            Where the sample is.
        take : str
            Its take.
        blurry_index : int
            Index of its blurry frame.
        blurry : Matte
            Of that frame, to which the light was matched where that was asked for.

        Returns
        -------
        (H, W, 3) ndarray of float32
            RGB in linear light, as large as what `cut` returns.
        """
        pictures = self._pictures[split]
        background_linear = draw_window(pictures, self._window, self._drawn.seed, take, blurry_index)
        return match_light(background_linear, blurry) if self._drawn.light_match else background_linear

    def lay(self, matte: Matte, background_linear: NDArray[np.float32]) -> NDArray[np.uint8]:
        """Return the composite of one frame, as the data set would hold it.

        Parameters
        ----------
        matte : Matte
            Of one frame, as large as the aligned frames or as what `cut` returns.
        background_linear : (H, W, 3) ndarray of float32
            See `background`.

        Returns
        -------
        (height, width, 3) ndarray of uint8
            RGB, of the data set's size.
        """
        alpha, foreground = matte.alpha, matte.premultiplied_linear
        if alpha.shape != background_linear.shape[:2]:
            alpha, foreground = self.cut(alpha), self.cut(foreground)
        return self._window.finish(composite(foreground, alpha, background_linear), self._response)
