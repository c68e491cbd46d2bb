"""Samples of one clip: rendered from its frames, or restored from what was packed while the clip was judged."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from rb2v.device import Device
from rb2v.shards import ShardSample
from rb2v.shards.packing import PackedSample
from rb2v.stages.synthesize.config import SynthesizeConfig
from rb2v.stages.synthesize.layouts import Clip
from rb2v.stages.synthesize.rendering import Frame, Framing, Renderer, noise_generator


class SampleMaker:
    """Makes the samples of one clip.

    Parameters
    ----------
    clip : Clip
        The clip.
    config : SynthesizeConfig
        How to render.
    weights : Path, optional
        File of the interpolator's weights, for one that has some.
    device : {"auto", "cpu", "cuda"}
        Where an interpolator that is a network computes.
    """

    def __init__(
        self, clip: Clip, config: SynthesizeConfig, weights: Path | None = None, device: Device = "cpu"
    ) -> None:
        self._clip, self._config = clip, config
        self._renderer = Renderer(config, weights, device)
        self.framing = Framing(config.output_size, config.response, clip.source)

    def make(self, frames: Sequence[Frame], start: int) -> ShardSample:
        """Render a sequence.

        Parameters
        ----------
        frames : sequence of (H, W, 3) ndarray of uint8
            Its recorded frames.
        start : int
            Index of the first one in the clip.
        """
        noise = noise_generator(self._config.seed, self._clip.name, self._index_of(start))
        rendered = self._renderer.render(frames, start, noise)
        return ShardSample(
            blurry=rendered.blurry,
            sharp=rendered.sharp,
            is_interpolated=self._renderer.exposure.is_interpolated,
            **self._values(start, rendered.psnr),
        )

    def restore(
        self, start: int, psnr: float, size: tuple[int, int], tiles: Mapping[str, tuple[bytes, ...]], checksum: int
    ) -> PackedSample:
        """Return a sample as `make` has made it.

        Parameters
        ----------
        start : int
            Index of the sequence's first recorded frame in the clip.
        psnr : float
            PSNR of the sample in dB.
        size : tuple of int
            Width and height of its frames in pixels.
        tiles : mapping of str to tuple of bytes
            Its frames, see `PackedSample`.
        checksum : int
            That of the sample.
        """
        image = (size[1], size[0], 3)
        return PackedSample(
            shapes={"blurry": image, "sharp": (self._config.frames_per_sequence, *image)},
            tiles=tiles,
            values=self._values(start, psnr),
            is_interpolated=self._renderer.exposure.is_interpolated,
            checksum=checksum,
        )

    def _index_of(self, start: int) -> int:
        return start // self._config.frames_per_stride

    def _values(self, start: int, psnr: float) -> dict[str, Any]:
        return {
            "take": self._clip.name,
            "subject": self._clip.name,
            "category": self._config.category,
            "blurry_index": self._index_of(start),
            "position": start * self._config.sharp_per_recorded,
            "psnr": psnr,
            "color": np.eye(3, 4, dtype=np.float32),
            "order": 0,
            "composite_psnr": math.nan,
        }
