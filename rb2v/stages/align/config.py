"""Configuration of ``rb2v align``: method, and thresholds of acceptance."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from rb2v.choices import InterpolatorName, MattingMethodName
from rb2v.configuration import NotNegative, Positive, Response, config

SyncChoice = Literal["auto", "sound", "gyro", "motion", "timecode"]

_RangeSeconds = Annotated[float, Field(gt=0, le=60)]  # s; farther than coarse offsets are looked for, only time is lost


@config
class AlignConfig:
    """How windows are looked for, how colors are mapped, and when a frame is accepted.

    Every threshold has its measure in the take's file (``checks``, ``scores``), so that any decision can be looked at.
    """

    interpolator: InterpolatorName = "flow"
    """Method that makes frames between frames; rife* and cdfi are networks, see 'rb2v models list'."""
    sync: SyncChoice = "auto"
    """Source of the coarse offset; auto takes the first of sound, gyro, motion, timecode that is clear."""
    response: Response | None = None
    """Camera response that is undone before averaging; None takes the rig's, ``"linear"`` averages coded values."""
    color: Literal["per-frame", "per-take"] = "per-frame"
    """One color map for each frame, or one for all frames of a take."""
    color_fit: Literal["robust", "plain"] = "robust"
    """Fit color maps to pixels that correspond and are not clipped, or to all pixels."""
    positions: Literal["clock", "independent"] = "clock"
    """Positions from the take's clock, or each frame's own best window, unchecked."""
    search: Literal["reduced", "full"] = "reduced"
    """Score windows on reduced frames, or at the output's size."""
    rolling_shutter: Literal["report", "compensate"] = "report"
    """Report a difference of the cameras' read-out, or compensate for it row by row."""
    registration: Literal["shared", "per-take"] = "per-take"
    """The calibration's homography for all takes, or one refined for each, as after a knock to the rig."""
    max_shift_px: Positive = 0.5
    """Displacement between the views of a take, in blurry-camera px, above which it is warned of."""
    min_psnr_db: Positive = 24.0
    """Reject frames whose color-mapped synthetic blur has a lower PSNR, in dB (``low-psnr``)."""
    min_margin_db: Positive = 0.5
    """Take a position from the clock where the score curve's peak stands out less than this, in dB."""
    tolerance_frames: Positive = 1.0
    """Reject frames whose own peak lies further from the clock line, in fine frames (``inconsistent``)."""
    max_clock_error_frames: Positive = 0.25
    """Reject frames where the clock's standard error is larger, in fine frames (``static``)."""
    max_clipped_share: Positive = 0.5
    """Reject frames with a larger share of clipped pixels (``clipped``)."""
    max_flash: Positive = 0.06
    """Reject frames where the light changes more, relative, between neighboring sharp frames (``flash``)."""
    max_gain_change: Positive = 0.15
    """Reject frames whose gain is further from the take's median, relative to it (``exposure``)."""
    min_interpolation_psnr_db: Positive = 16.0
    """Reject frames whose worst eighth, interpolated again, has a lower PSNR, in dB (``interpolation``)."""
    matter: MattingMethodName = "chroma"
    """Matting method of green-screen takes."""
    min_composite_psnr_db: NotNegative = 30.0
    """Reject green-screen frames that fulfil eq. (1) with a lower PSNR, in dB, on any background,
    and those without foreground (``matte``); 0 accepts all."""
    min_explained_psnr_db: NotNegative = 28.0
    """Reject green-screen frames whose foreground over the screen has a lower PSNR, in dB (``matte``);
    0 accepts all."""
    drift_ppm: float = 0.0
    """Drift of the sharp camera's clock against the blurry one's, in ppm, as far as it is known beforehand."""
    drift_sigma_ppm: Positive = 50.0
    """Standard deviation of that, in ppm: 43 and 50 ppm between two cameras are on record."""
    wide_range_seconds: _RangeSeconds = 2.5
    """Half-width, in s, of the wide search for frames without a clear window near the coarse offset."""

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
