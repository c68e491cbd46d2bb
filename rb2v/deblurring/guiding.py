"""Origins of the motion guidance of an image: a predictor, a file, one direction, or a neighboring image."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rb2v.blur2vid.checkpoint import CHECKPOINT_NAME
from rb2v.blur2vid.deblur import Image, prepare_guidance
from rb2v.blur2vid.predictor.checkpoint import load_predictor
from rb2v.blur2vid.predictor.networks import Predictor
from rb2v.blur2vid.predictor.sampling import sample_guidance
from rb2v.core.motion_classes import classes_of_flow, classes_of_vectors
from rb2v.deblurring.config import GuideConfig
from rb2v.device import torch_device_of
from rb2v.errors import InputError
from rb2v.interpolation.dense_flow import estimate_dis
from rb2v.io.arrays import check_finite, read_npy
from rb2v.io.photo import read_photo
from rb2v.io.store import sha256_of
from rb2v.stages.guidance.config import STATIC_PX

PREDICTED, NEIGHBOR = "predicted", "neighbor"
_EXPECTED = f"{PREDICTED}, {NEIGHBOR}, a .png or .npy file, or a direction as DX,DY"
_EXPECTED_FILE = "an image of the five colors, or a .npy array of (H, W, 2) vectors or (H, W) classes"

Classes = NDArray[np.uint8]


class Guide(ABC):
    """A source of guidance."""

    is_guess: bool = False
    """Whether its direction in time is drawn by chance."""
    needs_neighbor: bool = False
    """Whether `guide` has to be given the image that follows or precedes."""
    is_named: bool = False
    """Whether every map's output is named by the map."""
    described: str = ""
    """The source as a text, for the configuration of an output folder."""

    @abstractmethod
    def guide(
        self, image: Image, index: int = 0, neighbor: Image | None = None, *, is_next: bool = True
    ) -> list[Classes]:
        """Return the guidance of an image, one or several maps.

        Parameters
        ----------
        image : (H, W, 3) ndarray of float32
            RGB in [0, 1].
        index : int
            Of the image among several.
        neighbor : (H, W, 3) ndarray of float32, optional
            The image that comes next, or the one before.
        is_next : bool
            Whether the neighbor comes next.

        Returns
        -------
        list of (H, W) ndarray of uint8

        Raises
        ------
        InputError
            If the guidance does not suit the image.
        """


class ConstantGuide(Guide):
    """One direction for all pixels."""

    def __init__(self, x: float, y: float) -> None:
        self._direction = np.array([x, y])

    def guide(
        self, image: Image, index: int = 0, neighbor: Image | None = None, *, is_next: bool = True
    ) -> list[Classes]:
        """Return the direction's class everywhere; see `Guide.guide`."""
        return [prepare_guidance(self._direction, image.shape[:2])]


class FileGuide(Guide):
    """Guidance that a person painted, or a program wrote."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._given = read_guidance_file(path)

    def guide(
        self, image: Image, index: int = 0, neighbor: Image | None = None, *, is_next: bool = True
    ) -> list[Classes]:
        """Return the file's guidance; see `Guide.guide`."""
        return [prepare_guidance(self._given, image.shape[:2], self._path)]


class PredictedGuide(Guide):
    """Samples of a trained predictor."""

    is_guess = True

    def __init__(self, network: Predictor, n_samples: int | None, seed: int) -> None:
        self._network, self._n_samples, self._seed = network, n_samples or 1, seed
        self.is_named = n_samples is not None

    def guide(
        self, image: Image, index: int = 0, neighbor: Image | None = None, *, is_next: bool = True
    ) -> list[Classes]:
        """Draw the samples; see `Guide.guide`."""
        return list(sample_guidance(self._network, image, self._n_samples, seed=self._seed, index=index))


class NeighborGuide(Guide):
    """Optical flow to the next image, or from the one before."""

    needs_neighbor = True

    def guide(
        self, image: Image, index: int = 0, neighbor: Image | None = None, *, is_next: bool = True
    ) -> list[Classes]:
        """Return the flow's classes; see `Guide.guide`."""
        if neighbor is None:
            raise InputError("options", "is missing", "neighbor", "the image that follows this one in time")
        if neighbor.shape != image.shape:
            found, wanted = ("x".join(str(side) for side in one.shape[1::-1]) for one in (neighbor, image))
            raise InputError("options", f"is {found}", "neighbor", f"{wanted}, the size of the image")
        here, there = (np.rint(255 * one).astype(np.uint8) for one in (image, neighbor))
        flow = estimate_dis(here, there)
        return [classes_of_flow(flow if is_next else -flow, STATIC_PX)]


def read_guidance_file(path: Path) -> NDArray[np.uint8]:
    """Read guidance as classes, (H, W), or colors, (H, W, 3 or 4), of uint8.

    Raises
    ------
    InputError
        If the file is missing or damaged, or holds other things.
    """
    if path.suffix.lower() != ".npy":
        image = read_photo(path)
        if image.dtype != np.uint8:
            raise InputError(path, f"holds {image.dtype}", expected=_EXPECTED_FILE)
        return np.repeat(image[..., None], 3, axis=2) if image.ndim == 2 else image
    values = read_npy(path, _EXPECTED_FILE)
    check_finite(values, path)
    if values.ndim == 3 and values.shape[2] == 2:
        return classes_of_vectors(values, path)
    if values.ndim != 2 or values.dtype.kind not in "iu" or values.min(initial=0) < 0 or values.max(initial=0) > 255:
        raise InputError(path, f"holds {values.dtype} of {values.shape}", "shape", _EXPECTED_FILE)
    return values.astype(np.uint8)


def make_guide(config: GuideConfig, predictor: Path | None = None, device: str = "auto") -> Guide:
    """Return the source of guidance that a configuration names.

    Parameters
    ----------
    config : GuideConfig
        The source.
    predictor : Path, optional
        Folder that ``rb2v train-guidance`` wrote, or its checkpoint, for predicted guidance.
    device : {"auto", "cpu", "cuda"}
        Where a predictor computes.

    Raises
    ------
    InputError
        If there is no such source, a file cannot be read, or a predictor is missing or not needed.
    """
    guide, digest = _find_source(config, predictor, device)
    guide.described = f"{config.guidance} {digest}".strip() + (f" seed {config.seed}" if guide.is_guess else "")
    return guide


def _find_source(config: GuideConfig, predictor: Path | None, device: str) -> tuple[Guide, str]:
    """Return the source, and the digest of what it is read from."""
    text = config.guidance
    if text == PREDICTED:
        if predictor is None:
            raise InputError("options", "is missing", "predictor", "what 'rb2v train-guidance' wrote")
        network = load_predictor(predictor).network.to(torch_device_of(device))
        path = predictor / CHECKPOINT_NAME if predictor.is_dir() else predictor
        return PredictedGuide(network, config.samples, config.seed), sha256_of(path)
    for name, value in (("predictor", predictor), ("samples", config.samples)):
        if value is not None:
            raise InputError("options", f"is given, and the guidance is {text!r}", name, f"--guidance {PREDICTED}")
    if text == NEIGHBOR:
        return NeighborGuide(), ""
    direction = _parse_direction(text)
    if direction is not None:
        return ConstantGuide(*direction), ""
    path = Path(text)
    if not path.suffix and not path.exists():
        raise InputError("options", f"is {text!r}", "guidance", _EXPECTED)
    return FileGuide(path), sha256_of(path)


def _parse_direction(text: str) -> tuple[float, float] | None:
    parts = text.split(",")
    try:
        numbers = [float(part) for part in parts]
    except ValueError:
        return None
    if len(numbers) != 2 or not np.isfinite(numbers).all():
        return None
    return numbers[0], numbers[1]
