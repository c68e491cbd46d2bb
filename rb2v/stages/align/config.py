"""How takes are aligned, and when a frame is accepted."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from rb2v.artifacts import CameraResponse
from rb2v.interpolation import INTERPOLATORS
from rb2v.matting import check_matter

SyncChoice = Literal["auto", "sound", "gyro", "motion", "timecode"]


@dataclass(frozen=True)
class AlignConfig:
    """How windows are looked for, how colours are mapped, and when a frame is accepted.

    Every threshold has its measure in the take's file (``checks``, ``scores``), so that any decision can be looked at.
    """

    interpolator: str = "flow"
    """Name of the interpolation method."""
    sync: SyncChoice = "auto"
    """Where the coarse offset comes from; auto takes the first of sound, gyro, motion, timecode that is clear."""
    response: CameraResponse | None = None
    """Transfer that is undone before averaging; None takes the rig's, ``"linear"`` averages coded values."""
    color: Literal["per-frame", "per-take"] = "per-frame"
    """Whether every frame has a colour map of its own, or all frames of a take share one."""
    color_fit: Literal["robust", "plain"] = "robust"
    """Plain least squares over all pixels, or without those that are clipped or do not correspond."""
    positions: Literal["clock", "independent"] = "clock"
    """Whether positions come from the clock of the take, or every frame keeps its own best window unchecked."""
    search: Literal["reduced", "full"] = "reduced"
    """Whether windows are scored on reduced frames or at the output's size."""
    rolling_shutter: Literal["report", "compensate"] = "report"
    """Whether a difference of the cameras' read-out is made up for row by row."""
    registration: Literal["shared", "per-take"] = "shared"
    """Whether all takes have the calibration's homography, or each its own where that brings its views together."""
    max_shift_px: float = 0.5
    """A take whose views lie further off each other, in blurry-camera pixels, is warned of."""
    min_psnr_db: float = 24.0
    """Lower PSNR of the colour-mapped synthetic blur means ``low-psnr``."""
    min_margin_db: float = 0.5
    """A score curve whose peak stands out less than this tells no position; the clock does."""
    tolerance_frames: float = 1.0
    """A frame whose own peak lies further off the clock line, in fine frames, is ``inconsistent``."""
    max_clock_error_frames: float = 0.25
    """A frame is ``static`` where the standard error of the clock, in fine frames, is larger."""
    max_clipped_share: float = 0.5
    """More clipped pixels mean ``clipped``."""
    max_flash: float = 0.06
    """A larger relative change of the light between neighbouring sharp frames means ``flash``."""
    max_gain_change: float = 0.15
    """A gain between the cameras further off the take's median, relative to it, means ``exposure``."""
    min_interpolation_psnr_db: float = 16.0
    """Lower PSNR of the worst eighth of a frame made again from frames between means ``interpolation``."""
    matter: str = "chroma"
    """What tells the foreground of green-screen takes."""
    min_composite_psnr_db: float = 30.0
    """Lower PSNR of eq. (1) with the green screen replaced, by whatever, means ``matte``, and so does a sample without
    any foreground; 0 takes all."""
    min_explained_psnr_db: float = 28.0
    """Lower PSNR of the blurry frame's foreground laid back over the screen means ``matte``; 0 takes all."""
    wide_range_seconds: float = 2.5
    """How far is looked, to either side, for frames of which no window near the coarse offset is clear."""

    def __post_init__(self) -> None:
        if self.interpolator not in INTERPOLATORS:
            raise ValueError(f"interpolator must be one of {', '.join(INTERPOLATORS)}, got {self.interpolator!r}")
        if self.sync not in get_args(SyncChoice):
            raise ValueError(f"sync must be auto, sound, gyro, motion or timecode, got {self.sync!r}")
        for name, choices in (
            ("color", ("per-frame", "per-take")),
            ("color_fit", ("robust", "plain")),
            ("positions", ("clock", "independent")),
            ("search", ("reduced", "full")),
            ("rolling_shutter", ("report", "compensate")),
            ("registration", ("shared", "per-take")),
        ):
            if getattr(self, name) not in choices:
                raise ValueError(f"{name} must be {' or '.join(choices)}, got {getattr(self, name)!r}")
        if isinstance(self.response, str) and self.response not in ("linear", "srgb"):
            raise ValueError(f"response must be linear, srgb or the exponent of a gamma, got {self.response!r}")
        if isinstance(self.response, (int, float)) and not 0.1 <= self.response <= 10:
            raise ValueError(f"response must be an exponent of 0.1 to 10, got {self.response}")
        check_matter(self.matter)
        for name in ("min_composite_psnr_db", "min_explained_psnr_db"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be a number of at least 0, got {getattr(self, name)}")
        for name in _POSITIVE:
            if not 0 < getattr(self, name) < math.inf:
                raise ValueError(f"{name} must be a number above 0, got {getattr(self, name)}")
        if self.wide_range_seconds > _MAX_RANGE_SECONDS:
            limit = f"at most {_MAX_RANGE_SECONDS:g}"
            raise ValueError(f"wide_range_seconds must be {limit}, got {self.wide_range_seconds:g}")

    @classmethod
    def paper(cls) -> AlignConfig:
        """Return what the paper describes: each frame by itself, on coded values, nothing rejected that has a window.

        Unlike Algorithm 1 as it is printed, which returns the last window, the search keeps its best one.

        References
        ----------
        .. [1] Pham et al., "HyperCUT", CVPR 2023, section 4.2, Algorithm 1; supplementary eq. (1).
        """
        return cls(
            response="linear",
            color="per-frame",
            color_fit="plain",
            positions="independent",
            search="full",
            min_composite_psnr_db=0.0,
            min_explained_psnr_db=0.0,
        )


_MAX_RANGE_SECONDS = 60.0  # the farthest that coarse offsets are looked for; more would only cost time
_POSITIVE = (
    "max_shift_px",
    "min_psnr_db",
    "min_margin_db",
    "tolerance_frames",
    "max_clock_error_frames",
    "max_clipped_share",
    "max_flash",
    "max_gain_change",
    "min_interpolation_psnr_db",
    "wide_range_seconds",
)
