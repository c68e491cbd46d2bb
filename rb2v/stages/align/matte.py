"""Check that a take's samples stay samples when the green screen behind them is replaced."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from rb2v.artifacts import AlignedFrame
from rb2v.choices import ScreenColor
from rb2v.core.color import Response
from rb2v.core.compositing import lowest_composite_psnr
from rb2v.io.aligned import AlignedSample
from rb2v.io.frame_file import FrameFile
from rb2v.matting import Matte, MattingMethod, SampleSource, fit_to_take
from rb2v.stages.align.context import give_memory_back

logger = logging.getLogger(__name__)

_MAX_ROUNDS = 3  # in which a take is keyed, so that none takes endless time


@dataclass(frozen=True)
class CompositeCheck:
    """What the composites of one sample are judged by."""

    composite_psnr: float
    """PSNR of eq. (1) that they reach over any background, see `rb2v.core.compositing.lowest_composite_psnr`."""
    explained_psnr: float
    """See `rb2v.matting.Matte.explained_psnr`."""
    is_empty: bool
    """Whether no frame shows any foreground."""


@dataclass(frozen=True)
class CompositeLimits:
    """What composites have to reach; 0 takes all."""

    composite_psnr_db: float
    explained_psnr_db: float

    def admit(self, check: CompositeCheck) -> bool:
        """Return whether a sample stays one; what a matting method does not tell speaks against none."""
        if check.composite_psnr < self.composite_psnr_db or check.explained_psnr < self.explained_psnr_db:
            return False
        return self.composite_psnr_db == 0 or not check.is_empty


def measure_composites(
    samples: SampleSource,
    matting: MattingMethod,
    response: Response,
    cut: Callable[[NDArray[np.uint8]], NDArray[np.uint8]] | None = None,
) -> Iterator[CompositeCheck]:
    """Yield, for each sample of a take, what its composites are judged by.

    Parameters
    ----------
    samples : SampleSource
        The take's samples, at least one; the mattes of one are in memory at a time.
    matting : MattingMethod
        What tells the foreground.
    response : {"linear", "srgb"} or float
        The camera's response.
    cut : callable, optional
        Takes the part of (..., H, W, 3) frames that is kept; the whole by default.

    Raises
    ------
    InputError
        If the take shows no such background.
    """
    give_memory_back()
    fitted = fit_to_take(samples, matting, response, cut)
    give_memory_back()
    for index in range(len(samples)):
        sample = samples.read(index)
        frames, image = sample.sharp, sample.blurry
        if cut is not None:
            frames, image = cut(frames), cut(image)
        yield _check(*fitted.matte(frames, image))


def _check(sharp: Matte, blurry: Matte) -> CompositeCheck:
    # A function of its own, so that the mattes of one sample are gone before the next one's are made.
    return CompositeCheck(
        lowest_composite_psnr(sharp.premultiplied_linear, sharp.alpha, blurry.premultiplied_linear, blurry.alpha),
        blurry.explained_psnr,
        is_empty=not sharp.alpha.any() and not blurry.alpha.any(),
    )


class StoredSamples(Protocol):
    """Samples on disk, by the order in which they were stored."""

    def __len__(self) -> int: ...

    def append(self, sample: AlignedSample, /) -> None:
        """Add a sample behind the others."""
        ...

    def read(self, index: int, /) -> AlignedSample:
        """Return a sample."""
        ...


class SampleFile:
    """Stored samples of one size in a scratch file.

    Parameters
    ----------
    path : Path
        The file.
    """

    def __init__(self, path: Path) -> None:
        self._frames = FrameFile(path, np.uint8, is_compressed=True)

    def __len__(self) -> int:
        return len(self._frames)

    def append(self, sample: AlignedSample) -> None:
        """Add a sample behind the others."""
        self._frames.append(np.concatenate([sample.blurry[None], sample.sharp]))

    def read(self, index: int) -> AlignedSample:
        """Return a sample."""
        images = self._frames[index]
        return AlignedSample(images[0], images[1:])


@dataclass(frozen=True, eq=False)
class SampleSpool:
    """Samples of a take that is being aligned, on disk."""

    path: Path
    """The take's description, which messages name."""
    plate: NDArray[np.uint8] | None
    """(H, W, 3) clean background plate."""
    stored: StoredSamples
    indices: Sequence[int]
    """Which of those are the samples."""
    screen: ScreenColor = "auto"
    """The screen's color, where the take states it."""

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.indices)

    def read(self, index: int) -> AlignedSample:
        """Return a sample."""
        return self.stored.read(self.indices[index])

    def __iter__(self) -> Iterator[AlignedSample]:
        return (self.read(index) for index in range(len(self)))


def reject_broken_composites(
    frames: Sequence[AlignedFrame],
    samples: SampleSpool,
    matting: MattingMethod,
    response: Response,
    limits: CompositeLimits,
) -> tuple[list[AlignedFrame], SampleSpool]:
    """Measure the samples of a green-screen take, and leave out those that are none with the screen replaced.

    Parameters
    ----------
    frames : sequence of AlignedFrame
        Every blurry frame of the take.
    samples : SampleSpool
        One for each accepted frame, in order.
    matting : MattingMethod
        What tells the foreground.
    response : {"linear", "srgb"} or float
        The camera's response.
    limits : CompositeLimits
        What composites have to reach.

    Returns
    -------
    frames, samples
        With what was measured, and without the samples that are not accepted.

    Raises
    ------
    InputError
        If the take shows no screen.
    """
    judged = list(frames)
    for n_rounds in range(1, _MAX_ROUNDS + 1):
        places = [place for place, frame in enumerate(judged) if frame.accepted]
        if not places:
            break
        kept = []
        for index, check in enumerate(measure_composites(samples, matting, response)):
            sound = limits.admit(check)
            judged[places[index]] = dataclasses.replace(
                judged[places[index]],
                composite_psnr=check.composite_psnr,
                explained_psnr=check.explained_psnr,
                accepted=sound,
                reason="" if sound else "matte",
            )
            if sound:
                kept.append(samples.indices[index])
        if len(kept) == len(samples):
            break
        if kept and n_rounds == _MAX_ROUNDS:
            name, n_rejected = judged[0].take, len(samples) - len(kept)
            problem = f"{n_rejected} more samples were rejected when it was keyed by what was left"
            logger.warning("%s: %s; build-shards may key the rest a little differently", name, problem)
        # What is left is keyed by what is left, here as when shards are built of it, and so is measured again.
        samples = dataclasses.replace(samples, indices=kept)
    return judged, samples
