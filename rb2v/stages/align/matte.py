"""Whether a take's samples stay samples when the green screen behind them is replaced."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rb2v.artifacts import AlignedFrame
from rb2v.core.color import Response
from rb2v.core.compositing import lowest_composite_psnr
from rb2v.io.aligned import AlignedSample
from rb2v.io.frame_file import FrameFile
from rb2v.matting import Matter, SampleSource, fit_to_take
from rb2v.shards import sha256_of


def digest_weights(weights: Path | None) -> str | None:
    """Return the SHA-256 of a matter's weights as 64 hex digits; None where it has none."""
    return None if weights is None else sha256_of(weights)


def measure_composites(
    samples: SampleSource,
    matter: Matter,
    response: Response,
    cut: Callable[[NDArray[np.uint8]], NDArray[np.uint8]] | None = None,
) -> Iterator[float]:
    """Yield, for each sample of a take, the PSNR of eq. (1) that its composites reach over any background.

    Parameters
    ----------
    samples : SampleSource
        The take's samples, at least one; the mattes of one are in memory at a time.
    matter : Matter
        What tells the foreground.
    response : {"linear", "srgb"} or float
        The camera's response.
    cut : callable, optional
        Takes the part of (..., H, W, 3) frames that is kept; the whole by default.

    Yields
    ------
    float
        In dB, in linear light, see `rb2v.core.compositing.lowest_composite_psnr`.

    Raises
    ------
    InputError
        If the take shows no such background.
    """
    fitted = fit_to_take(samples, matter, response, cut)
    for index in range(len(samples)):
        sample = samples.read(index)
        frames, image = sample.sharp, sample.blurry
        if cut is not None:
            frames, image = cut(frames), cut(image)
        sharp, blurry = fitted.matte(frames, image)
        yield lowest_composite_psnr(sharp.premultiplied_linear, sharp.alpha, blurry.premultiplied_linear, blurry.alpha)


@dataclass(frozen=True, eq=False)
class LaidAside:
    """Samples of a take that is being aligned, on disk."""

    path: Path
    """The take's description, which messages name."""
    plate: NDArray[np.uint8] | None
    """(H, W, 3) clean background plate."""
    frames: FrameFile[np.uint8]
    """(n, N + 2, H, W, 3): blurry frame and sharp sequence of all that were laid aside."""
    indices: Sequence[int]
    """Which of those are the samples."""

    def __len__(self) -> int:
        """Return the number of samples."""
        return len(self.indices)

    def read(self, index: int) -> AlignedSample:
        """Return a sample."""
        pictures = self.frames[self.indices[index]]
        return AlignedSample(pictures[0], pictures[1:])

    def __iter__(self) -> Iterator[AlignedSample]:
        return (self.read(index) for index in range(len(self)))


def reject_broken_composites(
    frames: Sequence[AlignedFrame], samples: LaidAside, matter: Matter, response: Response, least_db: float
) -> tuple[list[AlignedFrame], LaidAside]:
    """Measure the samples of a green-screen take, and leave out those whose composites are not what eq. (1) says.

    Parameters
    ----------
    frames : sequence of AlignedFrame
        Every blurry frame of the take.
    samples : LaidAside
        One for each accepted frame, in order.
    matter : Matter
        What tells the foreground.
    response : {"linear", "srgb"} or float
        The camera's response.
    least_db : float
        Samples of a lower PSNR are not accepted.

    Returns
    -------
    frames, samples
        With the PSNR of those that were measured, and without the samples that are not accepted.

    Raises
    ------
    InputError
        If the take shows no screen.
    """
    judged = list(frames)
    while len(samples):
        places = [place for place, frame in enumerate(judged) if frame.accepted]
        kept = []
        for index, psnr_db in enumerate(measure_composites(samples, matter, response)):
            sound = psnr_db >= least_db
            judged[places[index]] = dataclasses.replace(
                judged[places[index]], composite_psnr=psnr_db, accepted=sound, reason="" if sound else "matte"
            )
            if sound:
                kept.append(samples.indices[index])
        if len(kept) == len(samples):
            break
        # What is left is keyed by what is left, here as when shards are built of it, and so is measured again.
        samples = dataclasses.replace(samples, indices=kept)
    return judged, samples
