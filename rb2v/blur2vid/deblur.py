"""The sharp frames of any blurry image, with a trained network: ``rb2v.deblur``."""

from __future__ import annotations

import math
from os import PathLike
from pathlib import Path

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from rb2v.blur2vid.backbones import Backbone
from rb2v.blur2vid.checkpoint import CHECKPOINT_NAME, load_backbone
from rb2v.blur2vid.config import OVERLAP_PX, TILE_PX
from rb2v.blur2vid.direction import align_tiles
from rb2v.blur2vid.tiles import blend_tiles, lay_tiles
from rb2v.core.metrics import mse_to_psnr
from rb2v.device import check_torch_device, torch_device_of
from rb2v.errors import InputError
from rb2v.models import shipped_path
from rb2v.progress import Count
from rb2v.training.tensor_files import check_file

DEFAULT_MODEL = "deblur_unet"
"""Of the weights that the project ships, those that are taken where no run is given."""

_MAX_OVERSHOOT = 0.1  # resampled images leave 0..1 by less, and values that go to 255 by more
_ALPHA_BACKDROP = 1.0  # white, as most viewers show it
_EXPECTED_IMAGE = "(H, W, 3), (H, W) or (H, W, 4) of uint8, uint16 or floats in 0..1"

Frames = NDArray[np.uint8]
Image = NDArray[np.float32]


def deblur(
    image: ArrayLike,
    run: str | PathLike[str] | None = None,
    *,
    device: str = "auto",
    tile: int = TILE_PX,
    overlap: int = OVERLAP_PX,
) -> Frames:
    """Recover the sharp frames of a blurry image, of any size.

    Parameters
    ----------
    image : (H, W, 3), (H, W) or (H, W, 4) array_like of uint8, uint16 or float
        RGB, grey, or RGB and alpha; floats in [0, 1]. What is not opaque is laid over white.
    run : str or path, optional
        A checkpoint of ``rb2v train-blur2vid``, or the folder of its run; the weights that rb2v ships by default.
    device : {"auto", "cpu", "cuda"}
        Where to compute; "auto" takes CUDA where there is one.
    tile : int
        Larger images are computed in tiles of this side, in pixels, and blended. Memory grows with its square.
    overlap : int
        Pixels that neighboring tiles share, at least.

    Returns
    -------
    (7, H, W, 3) ndarray of uint8
        RGB, one frame after the other in time, or the other way round: a blurry image does not tell. A run on sequences
        of another length gives as many frames as it was trained on.

    Raises
    ------
    InputError
        If the image is no such array or holds what is not finite, a size is out of range, the run cannot be read, there
        is none, or its network needs the true center frame, or there is no such device.

    Examples
    --------
    >>> frames = rb2v.deblur(PIL.Image.open("photo.jpg"), "session/blur2vid")  # doctest: +SKIP
    """
    prepared = prepare_image(image)
    network = load_network(None if run is None else Path(run), device)
    return recover_frames(network, prepared, tile=tile, overlap=overlap)


def find_run(run: Path | None) -> Path:
    """Return the checkpoint of a run, or of what rb2v ships where none is given.

    Raises
    ------
    InputError
        If there is none.
    """
    if run is None:
        return shipped_path(DEFAULT_MODEL)
    path = run / CHECKPOINT_NAME if run.is_dir() else run
    check_file(path, "what 'rb2v train-blur2vid' wrote")
    return path


def load_network(run: Path | None = None, device: str = "auto") -> Backbone:
    """Return the network of a run, ready to compute.

    Parameters
    ----------
    run : Path, optional
        A checkpoint or the folder of a run; the weights that rb2v ships by default.
    device : {"auto", "cpu", "cuda"}
        Where it is to compute.

    Raises
    ------
    InputError
        If it cannot be read, there is none, it needs the true center frame, or there is no such device.
    """
    check_torch_device(device)
    path = find_run(run)
    network = load_backbone(path).network
    if network.takes_center:
        problem = "its network is given the true center frame, which nobody has of a photograph"
        raise InputError(path, problem, "config.backbone", "a run of unet, jin or purohit")
    return network.to(torch_device_of(device))


def prepare_image(image: ArrayLike, source: str | PathLike[str] = "image") -> Image:
    """Turn an image into what networks take.

    Parameters
    ----------
    image : (H, W, 3), (H, W) or (H, W, 4) array_like of uint8, uint16 or float
        RGB, grey, or RGB and alpha; floats in [0, 1], and beyond by no more than a tenth, which is clipped.
    source : str or path
        What messages call it.

    Returns
    -------
    (H, W, 3) ndarray of float32
        RGB in [0, 1]; grey in all three channels alike, and what is not opaque laid over white.

    Raises
    ------
    InputError
        If it is none of these, or holds values that are not finite.
    """
    try:
        given = np.asarray(image)
    except ValueError as error:
        raise InputError(source, f"is no array ({error})", expected=_EXPECTED_IMAGE) from error
    is_float = np.issubdtype(given.dtype, np.floating)
    if given.dtype not in (np.uint8, np.uint16) and not is_float:
        raise InputError(source, f"holds {given.dtype}", expected=_EXPECTED_IMAGE)
    if given.ndim not in (2, 3) or (given.ndim == 3 and given.shape[2] not in (3, 4)) or not given.size:
        raise InputError(source, f"has the shape {given.shape}", expected=_EXPECTED_IMAGE)
    if is_float:
        values = given.astype(np.float32)
        _check_values(values, source)
    else:
        values = given.astype(np.float32) / np.float32(np.iinfo(given.dtype).max)
    values = np.clip(values, 0, 1)
    if values.ndim == 2:
        return np.repeat(values[..., None], 3, axis=2)
    if values.shape[2] == 4:
        alpha = values[..., 3:]
        return np.asarray(alpha * values[..., :3] + (1 - alpha) * np.float32(_ALPHA_BACKDROP), dtype=np.float32)
    return values


def _check_values(values: Image, source: str | PathLike[str]) -> None:
    known = np.isfinite(values)
    if not known.all():
        row, column = (int(place) for place in np.argwhere(~known)[0][:2])
        problem = f"{known.size - np.count_nonzero(known)} of its values are not finite"
        raise InputError(source, problem, f"row {row}, column {column}")
    low, high = float(values.min()), float(values.max())
    if low < -_MAX_OVERSHOOT or high > 1 + _MAX_OVERSHOOT:
        raise InputError(source, f"its floats go from {low:.3g} to {high:.3g}", expected="0 to 1")


def recover_frames(
    network: Backbone,
    image: Image,
    *,
    tile: int = TILE_PX,
    overlap: int = OVERLAP_PX,
    progress: Count | None = None,
) -> Frames:
    """Recover the sharp frames of a prepared image, tile by tile where it is larger than one.

    The network's share of the memory depends on the tile alone; the image, the tiles' frames and the result take some
    90 bytes per pixel beside it.

    Parameters
    ----------
    network : Backbone
        In evaluation mode, on the device that is to compute.
    image : (H, W, 3) ndarray of float32
        What `prepare_image` returned.
    tile, overlap : int
        Side of a tile, and what neighbors share, in pixels.
    progress : callable, optional
        Called with the tiles that are done, and their number.

    Returns
    -------
    (T, H, W, 3) ndarray of uint8
        RGB. Tiles whose sequences run against the others are turned.

    Raises
    ------
    InputError
        If a size is out of range, the GPU's memory is too small for the tile, or the network gives what is not finite.
    """
    height, width = image.shape[:2]
    grid = lay_tiles(height, width, tile, overlap, network.multiple_px)
    tiles = []
    for box in grid.boxes:
        tiles.append(_recover_tile(network, image[box], tile))
        if progress is not None:
            progress(len(tiles), len(grid.boxes))
    if len(tiles) == 1:
        return tiles[0]
    return blend_tiles(grid, tiles, align_tiles(grid, tiles))


def _recover_tile(network: Backbone, image: Image, tile: int) -> Frames:
    device = next(network.parameters()).device
    blurry = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)[None])).to(device)
    try:
        with torch.inference_mode():
            frames = network(blurry)[0]
            if not torch.isfinite(frames).all():
                raise InputError("the network", "gives values that are not finite", expected="another run")
            rounded = frames.clamp(0, 1).mul(255).round().to(torch.uint8)
    except torch.OutOfMemoryError as error:
        raise InputError("options", f"{tile} pixels need more memory than there is", "tile", "a smaller one") from error
    return np.ascontiguousarray(rounded.permute(0, 2, 3, 1).cpu().numpy())


def reblur_psnr(frames: Frames, image: Image) -> float:
    """Return how well the mean of the frames explains the blurry image, as PSNR in dB; infinite where it is equal.

    Parameters
    ----------
    frames : (T, H, W, 3) ndarray of uint8
        What `recover_frames` returned.
    image : (H, W, 3) ndarray of float32
        What it was given.
    """
    squares = 0.0
    # Row by row, as a large image would else stand in memory several times.
    for row, blurry in enumerate(image):
        difference = frames[:, row].mean(axis=0, dtype=np.float32) / np.float32(255) - blurry
        squares += float(np.vdot(difference, difference))
    return mse_to_psnr(squares / image.size) if squares else math.inf
