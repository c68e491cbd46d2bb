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
from rb2v.blur2vid.zhong_weights import STAGE_FILES, read_zhong
from rb2v.core.metrics import mse_to_psnr
from rb2v.core.motion_classes import N_CLASSES, class_of_direction, half_size, read_paint, resample
from rb2v.device import check_torch_device, torch_device_of
from rb2v.errors import InputError
from rb2v.io.store import sha256_of, sha256_of_files
from rb2v.models import shipped_path
from rb2v.progress import Count
from rb2v.training.tensor_files import check_file
from rb2v.training.transforms import to_vectors

DEFAULT_MODEL = "deblur_unet"
"""Of the weights that the project ships, those that are taken where no run is given."""

_MAX_OVERSHOOT = 0.1  # resampled images leave 0..1 by less, and values that go to 255 by more
_ALPHA_BACKDROP = 1.0  # white, as most viewers show it
_VISIBLE = 128  # of an alpha of 255; soft edges of a brush belong to the half that shows
_EXPECTED_GUIDANCE = "a direction (x, y), classes (H, W) of 0 to 4, or an image of the five colors"
_EXPECTED_IMAGE = "(H, W, 3), (H, W) or (H, W, 4) of uint8, uint16 or floats in 0..1"

Frames = NDArray[np.uint8]
Image = NDArray[np.float32]


def deblur(
    image: ArrayLike,
    run: str | PathLike[str] | None = None,
    *,
    guidance: ArrayLike | None = None,
    device: str = "auto",
    tile: int = TILE_PX,
    overlap: int = OVERLAP_PX,
) -> Frames:
    """Recover the sharp frames of a blurry image, of any size.

    Parameters
    ----------
    image : (H, W, 3), (H, W) or (H, W, 4) array_like of uint8, uint16 or float
        RGB, gray, or RGB and alpha; floats in [0, 1]. What is not opaque is laid over white.
    run : str or path, optional
        A checkpoint of ``rb2v train-blur2vid``, or the folder of its run; the weights that rb2v ships by default.
    guidance : (2,), (H, W) or (H, W, 3) array_like, optional
        For a network that was trained with motion guidance: one direction, x and y; or the class of every pixel, 0 to
        4 (`rb2v.core.motion_classes`), or its color.
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
        is none, or its network needs the true center frame, or guidance that is not given, or there is no such device.

    Examples
    --------
    >>> frames = rb2v.deblur(PIL.Image.open("photo.jpg"), "session/blur2vid")  # doctest: +SKIP
    """
    prepared = prepare_image(image)
    network = load_network(None if run is None else Path(run), device)
    classes = None if guidance is None else prepare_guidance(guidance, prepared.shape[:2])
    check_guided(network, "guidance", is_given=classes is not None)
    return recover_frames(network, prepared, guidance=classes, tile=tile, overlap=overlap)


def check_guided(network: Backbone, key: str, *, is_given: bool) -> None:
    """Check that a network is given guidance where it needs it, and only there.

    Raises
    ------
    InputError
        If it is not; the key is what messages call the guidance.
    """
    if network.needs_guidance and not is_given:
        raise InputError("options", "is missing: the network was trained with guidance", key, _EXPECTED_GUIDANCE)
    if is_given and not network.needs_guidance:
        problem = "is given, and the network was trained without"
        raise InputError("options", problem, key, "a run of zhong or zhong_small that was trained with guidance")


def prepare_guidance(
    guidance: ArrayLike, size: tuple[int, ...], source: str | PathLike[str] = "guidance"
) -> NDArray[np.uint8]:
    """Turn guidance into the classes of an image's pixels.

    Parameters
    ----------
    guidance : (2,), (H, W), (H, W, 3) or (H, W, 4) array_like
        One direction, classes, or colors; what is not opaque is static.
    size : (int, int)
        Height and width of the image; guidance may also have half of them, rounded up.
    source : str or path
        What messages call it.

    Returns
    -------
    (H, W) ndarray of uint8

    Raises
    ------
    InputError
        If it is none of these, of another size, or holds other classes or colors.
    """
    given = np.asarray(guidance)
    if given.shape == (2,):
        if not np.isfinite(given).all():
            raise InputError(source, "holds numbers that are not finite", expected="a direction: x and y")
        return np.full(size, class_of_direction(float(given[0]), float(given[1])), dtype=np.uint8)
    height, width = size[0], size[1]
    if given.shape[:2] not in ((height, width), half_size(height, width)):
        found = "x".join(str(side) for side in given.shape[:2][::-1])
        expected = "{1}x{0}, the size of the image, or {3}x{2}, half of it".format(*size, *half_size(height, width))
        raise InputError(source, f"is {found}", "size", expected)
    if given.ndim == 2 and given.dtype.kind in "iu":
        if given.min(initial=0) < 0 or given.max(initial=0) >= N_CLASSES:
            raise InputError(source, f"holds the class {given.max()}", "classes", f"0 to {N_CLASSES - 1}")
        classes = given.astype(np.uint8)
    elif given.ndim == 3 and given.shape[2] in (3, 4) and given.dtype == np.uint8:
        visible = given[..., 3] >= _VISIBLE if given.shape[2] == 4 else np.ones(given.shape[:2], dtype=bool)
        painted = np.where(visible[..., None], given[..., :3], np.uint8(0)).astype(np.uint8)
        classes = read_paint(painted, str(source))
    else:
        raise InputError(source, f"holds {given.dtype} of {given.shape}", expected=_EXPECTED_GUIDANCE)
    return resample(classes, (height, width))


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


def digest_run(run: Path | None) -> str:
    """Return the SHA-256 of what `load_network` reads, as 64 hex digits.

    Raises
    ------
    InputError
        If there is none.
    """
    if _holds_stages(run):
        assert run is not None
        return sha256_of_files([run / name for name in STAGE_FILES if (run / name).is_file()])
    return sha256_of(find_run(run))


def _holds_stages(run: Path | None) -> bool:
    """Tell whether a folder holds the two decomposers as their authors publish them."""
    return run is not None and run.is_dir() and any((run / name).is_file() for name in STAGE_FILES)


def load_network(run: Path | None = None, device: str = "auto") -> Backbone:
    """Return the network of a run, ready to compute.

    Parameters
    ----------
    run : Path, optional
        A checkpoint or the folder of a run, or of the two files of Animation from Blur's decomposers; the weights that
        rb2v ships by default.
    device : {"auto", "cpu", "cuda"}
        Where it is to compute.

    Raises
    ------
    InputError
        If it cannot be read, there is none, it needs the true center frame, or there is no such device.
    """
    check_torch_device(device)
    if run is not None and _holds_stages(run):
        return read_zhong(run).to(torch_device_of(device))
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
        RGB, gray, or RGB and alpha; floats in [0, 1], and beyond by no more than a tenth, which is clipped.
    source : str or path
        What messages call it.

    Returns
    -------
    (H, W, 3) ndarray of float32
        RGB in [0, 1]; gray in all three channels alike, and what is not opaque laid over white.

    Raises
    ------
    InputError
        If it is none of these, or holds values that are not finite.
    """
    try:
        given = np.asarray(image)
    except ValueError as error:
        raise InputError(source, f"is not an array ({error})", expected=_EXPECTED_IMAGE) from error
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
    guidance: NDArray[np.uint8] | None = None,
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
    guidance : (H, W) ndarray of uint8, optional
        What `prepare_guidance` returned, for a network that needs it.
    tile, overlap : int
        Side of a tile, and what neighbors share, in pixels.
    progress : callable, optional
        Called with the tiles that are done, and their number.

    Returns
    -------
    (T, H, W, 3) ndarray of uint8
        RGB. Tiles whose sequences run against the others are turned; guidance tells the direction of all.

    Raises
    ------
    InputError
        If a size is out of range, the GPU's memory is too small for the tile, or the network gives what is not finite.
    """
    height, width = image.shape[:2]
    grid = lay_tiles(height, width, tile, overlap, network.multiple_px)
    tiles = []
    for box in grid.boxes:
        tiles.append(_recover_tile(network, image[box], tile, None if guidance is None else guidance[box]))
        if progress is not None:
            progress(len(tiles), len(grid.boxes))
    if len(tiles) == 1:
        return tiles[0]
    turned = align_tiles(grid, tiles) if guidance is None else [False] * len(tiles)
    return blend_tiles(grid, tiles, turned)


def _recover_tile(network: Backbone, image: Image, tile: int, guidance: NDArray[np.uint8] | None) -> Frames:
    device = next(network.parameters()).device
    blurry = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1)[None])).to(device)
    given = {} if guidance is None else {"guidance": to_vectors(torch.from_numpy(guidance[None].copy())).to(device)}
    try:
        with torch.inference_mode():
            frames = network(blurry, **given)[0]
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
