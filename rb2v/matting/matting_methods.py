"""The protocol of matting methods, and the methods by name.

To add one, write a module with a class like `MattingMethod` and give it a line in `MATTING_METHODS`; values are
loaders, which get the file of weights, if any, so that listing the names imports nothing heavy.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from rb2v.choices import ScreenColor
from rb2v.core.color import Response
from rb2v.errors import InputError, Rb2vError
from rb2v.io.aligned import AlignedSample

_FIT_SAMPLES = 8  # of a take, from which its screen is learnt


@dataclass(frozen=True, eq=False)
class Matte:
    """The foreground of one or more frames."""

    alpha: NDArray[np.float32]
    """(..., H, W) share of the foreground in 0..1."""
    premultiplied_linear: NDArray[np.float32]
    """(..., H, W, 3) foreground's light times its share: linear RGB, freed from the old background's light."""
    explained_psnr: float = math.nan
    """PSNR, in dB, in linear light, of the foreground laid back over what stood behind it, against the image: low
    where a part of the foreground was lost. Of blurry frames only; NaN elsewhere."""


class FittedMatting(Protocol):
    """A matting method that knows the background of a take."""

    def matte(self, sharp: NDArray[np.uint8], blurry: NDArray[np.uint8]) -> tuple[Matte, Matte]:
        """Return the mattes of a sharp sequence and of its blurry frame.

        Parameters
        ----------
        sharp : (N + 1, H, W, 3) ndarray of uint8
            RGB, coded.
        blurry : (H, W, 3) ndarray of uint8
            RGB, coded.

        Returns
        -------
        sharp, blurry : Matte
            With shapes (N + 1, H, W) and (H, W). Where the blurry frame is the mean of the sharp ones in linear light,
            so are alpha and foreground, but for what a matting method does to settle noise.
        """
        ...


class MattingMethod(Protocol):
    """A way to tell a take's foreground from its background."""

    needs: str
    """What a take has to have, for the message where it has it not."""

    def fit(
        self,
        frames: NDArray[np.uint8],
        response: Response,
        plate: NDArray[np.uint8] | None = None,
        color: ScreenColor = "auto",
    ) -> FittedMatting:
        """Learn the background of a take.

        Parameters
        ----------
        frames : (T, H, W, 3) ndarray of uint8
            A few frames from all over the take.
        response : {"linear", "srgb"} or float
            The camera response that is coded in the frames.
        plate : (H, W, 3) ndarray of uint8, optional
            A frame without foreground.
        color : {"auto", "green", "blue"}
            The screen's color, where it is known.

        Raises
        ------
        Rb2vError
            If the frames do not show what the matting method needs (a green screen, say).
        """
        ...


class SampleSource(Protocol):
    """The samples of a take that is aligned, or being aligned."""

    @property
    def path(self) -> Path:
        """The file that messages name."""
        ...

    @property
    def plate(self) -> NDArray[np.uint8] | None:
        """(H, W, 3) clean background plate in the samples' geometry and colors."""
        ...

    @property
    def screen(self) -> ScreenColor:
        """The screen's color, where the take states it."""
        ...

    def __len__(self) -> int: ...

    def read(self, index: int, /) -> AlignedSample:
        """Return a sample."""
        ...


def _load_chroma(weights: Path | None) -> MattingMethod:
    from rb2v.matting.chroma import ChromaMatting

    if weights is not None:
        raise Rb2vError(f"{weights}: the matting method 'chroma' takes no weights; expected without --weights")
    return ChromaMatting()


def _load_background(weights: Path | None) -> MattingMethod:
    from rb2v.matting.background import load_background_matting

    return load_background_matting(weights)


def _load_recurrent(weights: Path | None) -> MattingMethod:
    from rb2v.matting.recurrent import load_recurrent_matting

    return load_recurrent_matting(weights)


MATTING_METHODS: Mapping[str, Callable[[Path | None], MattingMethod]] = {
    "chroma": _load_chroma,
    "background": _load_background,
    "rvm": _load_recurrent,
}
"""Loaders of the matting methods, by name; they are given the file of weights, or None."""


def check_matting_method(name: str) -> None:
    """Check that there is a matting method of a name.

    Raises
    ------
    Rb2vError
        If there is none.

    Examples
    --------
    >>> check_matting_method("crhoma")
    Traceback (most recent call last):
    ...
    rb2v.errors.Rb2vError: 'crhoma' is not a matting method; expected one of chroma, background, rvm
    """
    if name not in MATTING_METHODS:
        raise Rb2vError(f"{name!r} is not a matting method; expected one of {', '.join(MATTING_METHODS)}")


def make_matting_method(name: str, weights: Path | None = None) -> MattingMethod:
    """Return a matting method by its name.

    Parameters
    ----------
    name : str
        A key of ``MATTING_METHODS``.
    weights : Path, optional
        File of the network's weights, for a matting method that has one.

    Raises
    ------
    Rb2vError
        If there is none of this name, weights are given that it does not take or are missing, or they cannot be read.
    """
    check_matting_method(name)
    return MATTING_METHODS[name](weights)


def fit_to_take(
    samples: SampleSource,
    matting: MattingMethod,
    response: Response,
    cut: Callable[[NDArray[np.uint8]], NDArray[np.uint8]] | None = None,
) -> FittedMatting:
    """Return a matting method that has learnt the background of a take.

    It learns from the same frames whoever asks, so that a take is keyed alike wherever it is keyed.

    Parameters
    ----------
    samples : SampleSource
        The take's samples.
    matting : MattingMethod
        What is to learn it.
    response : {"linear", "srgb"} or float
        The camera's response.
    cut : callable, optional
        Takes the part of (..., H, W, 3) frames that will be matted; the whole by default.

    Raises
    ------
    InputError
        If the take shows no such background.
    """
    indices = np.unique(np.linspace(0, len(samples) - 1, _FIT_SAMPLES).round().astype(int))
    ends = []
    for index in indices.tolist():
        sharp = samples.read(index).sharp
        ends.append(sharp[:: len(sharp) - 1].copy())  # so that no whole sequence is kept
    frames = np.concatenate(ends)
    plate = samples.plate
    if cut is not None:
        frames, plate = cut(frames), None if plate is None else cut(plate)
    try:
        if samples.screen == "auto":
            return matting.fit(frames, response, plate)
        return matting.fit(frames, response, plate, samples.screen)
    except Rb2vError as error:
        raise InputError(samples.path, str(error), "green_screen", matting.needs) from error
