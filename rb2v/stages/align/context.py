"""The context of a take: what all steps of its alignment share, resolved once."""

from __future__ import annotations

import ctypes
import functools
import logging
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rb2v.artifacts import Calibration, FormatOverride, Rig, Take
from rb2v.core.color import Response
from rb2v.core.gain_field import gain_image
from rb2v.core.temporal import MatrixProduct
from rb2v.core.tone import undo_tone
from rb2v.device import Device, make_matrix_product
from rb2v.interpolation import GuardedInterpolator, make_interpolator
from rb2v.io.gopro import Telemetry, read_telemetry
from rb2v.io.video import probe_video
from rb2v.stages.align.config import AlignConfig

TelemetryReader = Callable[[tuple[Path, ...], FormatOverride], Telemetry | None]

_MIN_TRACK_SIZE_PX = 64  # of the shorter side, below which little is left to tell windows apart
_PREVIEW_STRIDE = 10  # blurry frames, of which a preview looks at one
_MIN_PREVIEW_FRAMES = 15  # of shorter takes more are looked at: a clock needs some, and their time is short anyway
_MAX_TRACK_SCALE = 4  # by which frames are made smaller at most; motion of a frame's step is to stay visible

_logger = logging.getLogger(__name__)


def give_memory_back() -> None:
    """Give the system what is freed, between steps whose arrays differ in size.

    The C library keeps it otherwise, in pieces that the next step's arrays hardly fit in: a quarter of a take's peak.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)  # of glibc
    if trim is not None:
        trim(0)


@dataclass(frozen=True)
class Resources:
    """What takes are aligned with, beside the configuration."""

    device: Device = "auto"
    """Where windows are scored, and where an interpolating network computes."""
    matting_weights: Path | None = None
    interpolator_weights: Path | None = None
    """In place of the interpolator's usual ones."""


@dataclass(frozen=True, eq=False)
class RunContext:
    """What all takes of a run share."""

    rig: Rig
    calibration: Calibration
    config: AlignConfig
    resources: Resources
    out_dir: Path
    """Folder of the aligned takes."""
    is_profiled: bool = False
    """Whether takes are profiled by stage."""
    is_preview: bool = False
    """Whether only some of a take's blurry frames are looked at."""


class _TakeLogger(logging.LoggerAdapter[logging.Logger]):
    """Begin messages with the name of a take."""

    def __init__(self, take_name: str) -> None:
        super().__init__(_logger, {})
        self._prefix = take_name.replace("%", "%%")

    def process(self, msg: str, kwargs: MutableMapping[str, Any]) -> tuple[str, MutableMapping[str, Any]]:
        """Return the message with the take's name before it."""
        return f"{self._prefix}: {msg}", kwargs


@dataclass(frozen=True, eq=False)
class TakeContext:
    """What all steps of a take's alignment share."""

    take: Take
    run: RunContext
    scratch: Path
    """Folder for what does not fit in memory."""

    @property
    def rig(self) -> Rig:
        """The rig that recorded the take."""
        return self.run.rig

    @property
    def calibration(self) -> Calibration:
        """The calibration that all takes share."""
        return self.run.calibration

    @property
    def config(self) -> AlignConfig:
        """How the take is aligned."""
        return self.run.config

    @cached_property
    def blurry_stride(self) -> int:
        """How many blurry frames lie between two that are aligned, plus one: 1 but in a preview."""
        if not self.run.is_preview:
            return 1
        return max(min(self.n_blurry_frames // _MIN_PREVIEW_FRAMES, _PREVIEW_STRIDE), 1)

    @cached_property
    def n_blurry_frames(self) -> int:
        """How many blurry frames the files state."""
        stored = [probe_video(path, self.take.blurry_format) for path in self.take.blurry]
        return sum(
            one.n_stated or round((one.duration_seconds or 0.0) * one.time_scale * self.rig.blurry_fps)
            for one in stored
        )

    @cached_property
    def response(self) -> Response:
        """The camera response that is undone before averaging."""
        return self.rig.response if self.config.response is None else self.config.response

    @property
    def tone(self) -> float:
        """Exponent of the sharp camera's coded values against the response; 1 in the paper's way."""
        tone = self.calibration.tone_sharp
        return 1.0 if tone is None or self.config.positions != "clock" else tone.exponent

    def sharp_light(self, frame: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return a warped sharp frame, (H, W, 3), as linear light in the blurry camera's tone, as even as there."""
        linear = undo_tone(frame, self.response, self.tone)
        return linear if self.evening is None else linear * self.evening

    @cached_property
    def evening(self) -> NDArray[np.float32] | None:
        """What sharp light is multiplied by, (H, W, 3), to be as even as the blurry camera's.

        None where that is not known, or is known of light while coded values are averaged.
        """
        field = self.calibration.gain_field
        if field is None or (field.response == "linear") != (self.response == "linear"):
            return None
        if self.config.positions != "clock":
            return None  # the paper's way takes the light as it is
        return gain_image(field.coefficients, self.rig.output_size)

    @cached_property
    def track_size(self) -> tuple[int, int]:
        """Width and height at which frames are interpolated where they need not be whole."""
        output_size = self.rig.output_size
        scale = max(1, min(_MAX_TRACK_SCALE, min(output_size) // _MIN_TRACK_SIZE_PX))
        return output_size[0] // scale, output_size[1] // scale

    @cached_property
    def reduced_size(self) -> tuple[int, int]:
        """Width and height at which frames are compared where they need not be whole."""
        return max(self.track_size[0] // 2, 1), max(self.track_size[1] // 2, 1)

    @cached_property
    def interpolator(self) -> GuardedInterpolator:
        """The interpolation method."""
        # A network is shown what was recorded, whatever of it is undone for averaging.
        resources = self.run.resources
        return make_interpolator(
            self.config.interpolator,
            response=self.response,
            device=resources.device,
            weights=resources.interpolator_weights,
        )

    @cached_property
    def matrix_product(self) -> MatrixProduct:
        """What multiplies large matrices."""
        return make_matrix_product(self.run.resources.device)

    @cached_property
    def read_telemetry(self) -> TelemetryReader:
        """The reader of a recording's telemetry, which reads each recording once."""
        # The gyro and the shutter stand in the same track, and reading it means reading the whole file.
        return functools.cache(read_telemetry)

    @cached_property
    def logger(self) -> logging.LoggerAdapter[logging.Logger]:
        """A logger whose messages begin with the take's name."""
        return _TakeLogger(self.take.name)
