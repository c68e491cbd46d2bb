"""A sequence's sharp frames and the blur that a long exposure of them gives."""

from __future__ import annotations

import zlib
from collections import OrderedDict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from rb2v.core.color import Response, code_levels, encode, to_linear
from rb2v.core.exposure import Exposure, Interval, Light, add_noise, light_table, raise_highlights
from rb2v.core.metrics import mse_to_psnr
from rb2v.core.planes import Planes
from rb2v.device import Device
from rb2v.interpolation import Interpolator, make_interpolator
from rb2v.io.recompression import compress_h264, compress_jpeg
from rb2v.stages.build_shards.compositing import Window, fit_window
from rb2v.stages.synthesize.config import SynthesizeConfig

Frame = NDArray[np.uint8]

_ROWS_AT_ONCE = 32  # of a frame, which a core's cache then holds: half the time of a whole frame
_MAX_CACHED = 8  # intervals; sequences overlap in as many as their recorded frames, at most a few


@dataclass(frozen=True, eq=False)
class RenderedSequence:
    """A blurry frame and its sharp sequence."""

    blurry: Frame
    """(H, W, 3) RGB."""
    sharp: Frame
    """(N + 1, H, W, 3) RGB."""
    psnr: float
    """PSNR, in dB, of the synthetic blur before noise and compression against the blurry frame, both as coded."""


class Framing:
    """Cuts frames to the output's aspect and brings them to its size.

    Parameters
    ----------
    output_size : tuple of int or None
        Width and height in pixels; None keeps frames as they are.
    response : {"linear", "srgb"} or float
        In whose light frames are resized.
    source : Path
        The clip, for messages.
    """

    def __init__(self, output_size: tuple[int, int] | None, response: Response, source: Path) -> None:
        self._output_size, self._response, self._source = output_size, response, source
        self._window: Window | None = None

    def place(self, shape: tuple[int, ...]) -> Window:
        """Return the part of frames of a shape (H, W, 3) that is kept, which the first one decides.

        Raises
        ------
        InputError
            If the frames are smaller than the output.
        """
        if self._window is None:
            self._window = fit_window((shape[1], shape[0]), self._output_size, self._source)
        return self._window

    def cut_luma(self, image: Frame | Planes) -> Frame:
        """Return the luma of the part that is kept, at the size that it was recorded with."""
        window = self.place(image.shape)
        luma = image.luma if isinstance(image, Planes) else np.asarray(cv2.cvtColor(image, cv2.COLOR_RGB2GRAY))
        return np.asarray(luma[window.y : window.y + window.height, window.x : window.x + window.width])

    def finish(self, image: Frame | Planes) -> Frame:
        """Return the (H, W, 3) RGB frame of the output; bit-equal to the recorded one where nothing is resized."""
        window = self.place(image.shape)
        part = window.cut(image.rgb() if isinstance(image, Planes) else image)
        return window.finish(to_linear(part, self._response), self._response) if window.resizes else part


class Renderer:
    """Renders the sequences of one clip; what overlapping ones share is interpolated once.

    Parameters
    ----------
    config : SynthesizeConfig
        How to render.
    weights : Path, optional
        File of the interpolator's weights, for one that has some.
    device : {"auto", "cpu", "cuda"}
        Where an interpolator that is a network computes.
    """

    def __init__(self, config: SynthesizeConfig, weights: Path | None = None, device: Device = "cpu") -> None:
        self._config, self._weights, self._device = config, weights, device
        self.exposure = Exposure(
            config.recorded_per_sequence, config.sharp_per_recorded, config.blur_samples, config.exposure
        )
        self._table = light_table(config.response, config.saturation)
        self._cached: OrderedDict[tuple[int, Interval], tuple[list[Frame], Light | None]] = OrderedDict()

    def render(self, frames: Sequence[Frame], start: int, rng: np.random.Generator) -> RenderedSequence:
        """Render a sequence.

        Parameters
        ----------
        frames : sequence of (H, W, 3) ndarray of uint8
            Its recorded frames.
        start : int
            Index of the first one in its clip.
        rng : numpy.random.Generator
            Draws the noise.
        """
        sharp: list[Frame] = []
        recorded: list[Frame] = []
        between: list[Light] = []
        for index, (interval, frame) in enumerate(zip(self.exposure.intervals, frames, strict=True)):
            sharp.append(frame)
            recorded += [frame] if interval.counts_start else []
            if interval.times:
                made, added = self._fill(interval, start + index, frame, frames[index + 1])
                sharp += made
                between += [] if added is None else [added]
        light = self._average(recorded, between)
        coded = code_levels(light, self._config.response)
        blurry = self._record(light, coded, rng)
        squares = cv2.norm(cv2.subtract(coded, blurry, dtype=cv2.CV_32F), cv2.NORM_L2SQR)
        return RenderedSequence(blurry, np.stack(sharp), mse_to_psnr(squares / (coded.size * 255**2)))

    def _average(self, recorded: Sequence[Frame], between: Sequence[Light]) -> Light:
        """Return the mean of recorded frames and of sums of frames between them, as light that is not clipped."""
        light = np.empty((recorded or between)[0].shape, dtype=np.float32)
        for start in range(0, len(light), _ROWS_AT_ONCE):
            rows = slice(start, start + _ROWS_AT_ONCE)
            total = light[rows]
            total[...] = 0
            for frame in recorded:
                cv2.add(total, cv2.LUT(frame[rows], self._table), dst=total)
            for added in between:
                cv2.add(total, added[rows], dst=total)
            total *= np.float32(1 / self.exposure.n_samples)
        return light

    def _fill(self, interval: Interval, index: int, before: Frame, after: Frame) -> tuple[list[Frame], Light | None]:
        """Return the sharp frames between two recorded ones, and the sum of those that are averaged."""
        key = index, interval
        if key in self._cached:
            self._cached.move_to_end(key)
            return self._cached[key]
        response = self._config.response
        ends = to_linear(before, response), to_linear(after, response)
        only_averaged = set(interval.blur_times) - set(interval.sharp_times)
        made = self._interpolator.between(*ends, interval.times, averaged=only_averaged)
        by_time = dict(zip(interval.times, made, strict=True))
        total: Light | None = None
        for time in interval.blur_times:
            light = raise_highlights(by_time[time], response, self._config.saturation)
            total = light.copy() if total is None else np.asarray(cv2.add(total, light, dst=total))
        sharp = [encode(by_time[time], response) for time in interval.sharp_times]
        self._cached[key] = sharp, total
        while len(self._cached) > _MAX_CACHED:
            self._cached.popitem(last=False)
        return sharp, total

    @cached_property
    def _interpolator(self) -> Interpolator:
        return make_interpolator(
            self._config.interpolator, response=self._config.response, device=self._device, weights=self._weights
        )

    def _record(self, light: Light, coded: Light, rng: np.random.Generator) -> Frame:
        """Return the frame that a camera makes of light, which is given as coded, too."""
        config = self._config
        if config.shot_noise or config.read_noise:
            blurry = encode(add_noise(light, config.shot_noise, config.read_noise, rng), config.response)
        else:
            blurry = np.asarray(cv2.convertScaleAbs(coded), dtype=np.uint8)
        if config.compression == "jpeg":
            return compress_jpeg(blurry, config.jpeg_quality)
        return compress_h264(blurry, config.crf) if config.compression == "h264" else blurry


def noise_generator(seed: int, clip: str, index: int) -> np.random.Generator:
    """Return what draws the noise of a sample: the same wherever and whenever it is rendered."""
    return np.random.default_rng((seed, zlib.crc32(clip.encode()), index))


def group_sequences(
    frames: Iterable[tuple[int, Frame | Planes]], starts: Sequence[int], n_recorded: int, framing: Framing
) -> Iterator[tuple[int, list[Frame]]]:
    """Yield the recorded frames of sequences; no more frames are held than the sequences at a time share.

    Parameters
    ----------
    frames : iterable of (int, image)
        Index and image of the clip's frames, from the first start on.
    starts : sequence of int
        Indices of the first frames of the sequences, ascending.
    n_recorded : int
        Frames of a sequence.
    framing : Framing
        Finishes the frames that are needed; the others are passed over.

    Yields
    ------
    start : int
    frames : list of (H, W, 3) ndarray of uint8
    """
    held: dict[int, Frame] = {}
    waiting = iter(starts)
    start = next(waiting, None)
    for index, image in frames:
        if start is None:
            return
        if index < start:
            continue
        held[index] = framing.finish(image)
        while start is not None and index == start + n_recorded - 1:
            yield start, [held[place] for place in range(start, index + 1)]
            start = next(waiting, None)
        held = {place: frame for place, frame in held.items() if start is not None and place >= start}
