"""The sound of recordings, and the offset between two cameras that it tells."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import av
import numpy as np
from av.stream import Disposition
from numpy.typing import NDArray

from rb2v.artifacts import FormatOverride, Take
from rb2v.core.sync import OffsetEstimate, offset_from_sound
from rb2v.errors import InputError
from rb2v.io.container import open_container
from rb2v.io.picture_track import NO_OVERRIDE, start_seconds_of, time_scale_of

# Of the blurry and of the sharp recording: memory must not grow with the take. Offsets up to a minute are found.
HEARD_SECONDS = (120.0, 180.0)
MIN_SOUND_CONFIDENCE = 1 / 3
"""Less than this and the sound is not believed."""
_SILENT = 1e-4  # of full scale; three steps of 16 bits, which the noise of any microphone exceeds
_CANCELED = 1e-3  # of the power; independent channels lose half of it


@dataclass(frozen=True, eq=False)
class Sound:
    """The sound track of a recording, mixed to one channel."""

    samples: NDArray[np.float32]
    """(n,) in -1..1."""
    rate: int
    """Samples per second."""
    start_seconds: float
    """Presentation time of the first sample."""

    @property
    def is_silent(self) -> bool:
        """Whether nothing is heard: a microphone that is switched off, or not plugged in, leaves an empty track."""
        return not self.samples.size or float(np.abs(self.samples).max()) < _SILENT


def read_sound(
    paths: Sequence[Path], *, max_seconds: float = math.inf, override: FormatOverride = NO_OVERRIDE
) -> Sound | None:
    """Decode the sound of a recording, or return None where its first file has none that runs with its frames.

    Channels are averaged; where they cancel out, as those of a microphone that is wired for balance do, the first one
    is taken. Of several tracks the default one is read, or the first in which something is heard. The sound of a file
    that plays slower than it was recorded does not run with its frames.

    Parameters
    ----------
    paths : sequence of Path
        The files of one recording in order.
    max_seconds : float, optional
        Reading ends about there; all is read by default.
    override : FormatOverride, optional
        What is known better than the files state it.

    Raises
    ------
    InputError
        If a file cannot be decoded.
    """
    with open_container(paths[0]) as container:
        if time_scale_of(paths[0], container, override) != 1:
            return None
        ranked = sorted(range(len(container.streams.audio)), key=lambda track: _audio_rank(container, track))
    sound: Sound | None = None
    for track in ranked:
        heard = _read_sound_track(paths, track, max_seconds)
        sound = sound or heard
        if heard is not None and not heard.is_silent:
            return heard
    return sound


def _audio_rank(container: av.container.InputContainer, track: int) -> tuple[bool, int]:
    return not Disposition(container.streams.audio[track].disposition) & Disposition.default, track


def _read_sound_track(paths: Sequence[Path], track: int, max_seconds: float) -> Sound | None:
    mixed: list[NDArray[np.float32]] = []
    left: list[NDArray[np.float32]] = []
    rate, start_seconds, n_samples = 0, 0.0, 0
    for path in paths:
        with open_container(path) as container:
            stream = container.streams.audio[track] if len(container.streams.audio) > track else None
            if stream is None or getattr(stream, "codec_context", None) is None:
                break
            resampler = av.AudioResampler(format="fltp")
            try:
                for packet in container.decode(stream):
                    if n_samples > max_seconds * rate > 0:
                        break
                    for block in resampler.resample(packet):
                        if not mixed:
                            rate, start_seconds = (
                                block.sample_rate,
                                float(block.time or 0.0) - start_seconds_of(container),
                            )
                        channels = block.to_ndarray()
                        mixed.append(channels.mean(axis=0, dtype=np.float32))
                        left.append(channels[0])
                        n_samples += len(mixed[-1])
            except av.FFmpegError as error:
                raise InputError(path, f"its sound cannot be decoded ({error.strerror})") from error
    if not mixed:
        return None
    mean, first = np.concatenate(mixed), np.concatenate(left)
    do_cancel = float(np.square(mean).mean()) < _CANCELED * float(np.square(first).mean())
    return Sound(first if do_cancel else mean, rate, start_seconds)


def read_sound_offset(take: Take, warn: Callable[[str], None]) -> OffsetEstimate | None:
    """Estimate the offset of a take's recordings by their sound.

    Parameters
    ----------
    take : Take
        Of its recordings the first minutes are heard.
    warn : callable
        Is told of a microphone that was off.

    Returns
    -------
    OffsetEstimate or None
        None where a recording has no sound, or silence.

    Raises
    ------
    InputError
        If the sound of a recording cannot be decoded.
    ValueError
        If a track is too short to tell.
    """
    blurry, sharp = (
        read_sound(paths, max_seconds=seconds, override=override)
        for paths, override, seconds in zip(
            (take.blurry, take.sharp), (take.blurry_format, take.sharp_format), HEARD_SECONDS, strict=True
        )
    )
    if blurry is None or sharp is None:
        return None
    for camera, sound in (("blurry", blurry), ("sharp", sharp)):
        if sound.is_silent:
            warn(f"the {camera} camera recorded silence: was its microphone off?")
            return None
    found = offset_from_sound(blurry.samples, sharp.samples, blurry.rate, sharp_rate=sharp.rate)
    return OffsetEstimate(found.seconds + sharp.start_seconds - blurry.start_seconds, found.confidence)
