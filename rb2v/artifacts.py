"""Records that travel between the stages: frozen, checked once when they are made.

Units stand in the names; pixel coordinates follow OpenCV (x right, y down, center of the top-left pixel at the origin).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

from rb2v.choices import CATEGORIES as CATEGORIES
from rb2v.choices import SCREEN_COLORS as SCREEN_COLORS
from rb2v.choices import SPLITS as SPLITS
from rb2v.choices import Category as Category
from rb2v.choices import ScreenColor as ScreenColor
from rb2v.choices import Split as Split

_MIN_EXPONENT, _MAX_EXPONENT = 0.5, 2.0  # beyond what picture profiles do
_MAX_LOG_GAIN = 1.0  # no beam splitter makes a color three times as bright from the middle to the border

Camera = Literal["blurry", "sharp"]
ColorMatrix = Literal["bt601", "bt709", "bt2020"]
ColorRange = Literal["full", "limited"]
CameraResponse = Literal["linear", "srgb"] | float
ChromaChoice = Literal["auto", "left", "center", "topleft"]
"""Where a camera's encoder puts chroma; auto takes what the stream states, or else what calibration measures."""

CAMERAS: tuple[Camera, ...] = get_args(Camera)


@dataclass(frozen=True)
class Rig:
    """A beam-splitter rig, as ``capture_configs/<rig>.yaml`` describes it."""

    name: str
    """Name of the rig."""
    blurry_model: str
    """Model of the long-exposure camera."""
    sharp_model: str
    """Model of the short-exposure camera."""
    blurry_fps: float
    """Nominal frame rate of the blurry camera."""
    sharp_fps: float
    """Nominal frame rate of the sharp camera."""
    mirrored: bool | None
    """Whether one view is the mirror image of the other; None lets calibration find out."""
    response: CameraResponse
    """Transfer from linear light to coded values: ``"linear"``, ``"srgb"`` or the exponent of a pure gamma."""
    upsampling: int
    """Fine-track frames per original frame."""
    frames_per_sequence: int
    """Sharp frames of one blurry frame (N + 1)."""
    blur_samples: int
    """Blur-track frames whose mean is the synthetic blur."""
    output_size: tuple[int, int]
    """Width and height of the frames in the data set, in pixels."""
    search_range_seconds: float
    """How far from the coarse offset a window is looked for, to either side."""
    blurry_chroma: ChromaChoice = "auto"
    """Where the blurry camera's encoder puts chroma."""
    sharp_chroma: ChromaChoice = "auto"
    """Where the sharp camera's encoder puts chroma."""

    def __post_init__(self) -> None:
        steps, sequence_steps = self.blur_samples - 1, self.frames_per_sequence - 1
        if sequence_steps < 2 or sequence_steps % 2:
            raise ValueError(f"frames_per_sequence must be an odd number of at least 3, got {self.frames_per_sequence}")
        if steps < sequence_steps or steps % sequence_steps:
            raise ValueError(
                f"blur_samples - 1 must be a multiple of frames_per_sequence - 1 ({sequence_steps}), got {steps}"
            )
        if self.upsampling < 1:
            raise ValueError(f"upsampling must be at least 1, got {self.upsampling}")

    @property
    def fine_fps(self) -> float:
        """Frame rate of the fine track."""
        return self.sharp_fps * self.upsampling

    @property
    def blur_factor(self) -> int:
        """Blur-track steps per fine-track step."""
        return (self.blur_samples - 1) // (self.frames_per_sequence - 1)

    @property
    def blur_steps_per_frame(self) -> int:
        """Blur-track steps per original frame."""
        return self.upsampling * self.blur_factor


@dataclass(frozen=True)
class FormatOverride:
    """What ``take.yaml`` states of a camera's files, in place of what they state themselves."""

    capture_fps: float | None = None
    """Frames per second at which the camera recorded, where the file plays slower or faster."""
    color_matrix: ColorMatrix | None = None
    color_range: ColorRange | None = None


@dataclass(frozen=True)
class Take:
    """One simultaneous recording of both cameras."""

    name: str
    category: Category
    subject: str
    green_screen: bool
    split: Split | None
    blurry: tuple[Path, ...]
    """The blurry video; several files are the chapters of one recording."""
    sharp: tuple[Path, ...]
    """The sharp video, likewise."""
    plate_blurry: Path | None = None
    """A clean background plate seen by the blurry camera."""
    plate_sharp: Path | None = None
    """A clean background plate seen by the sharp camera."""
    blurry_format: FormatOverride = FormatOverride()
    """What is stated of the blurry video in place of what it states."""
    sharp_format: FormatOverride = FormatOverride()
    """What is stated of the sharp video, likewise."""
    screen: ScreenColor = "auto"
    """Color of the green screen, which may be blue; found in the frames by default."""


@dataclass(frozen=True)
class RawDirectory:
    """A raw directory: the rig and the calibration captures; its takes are read apart."""

    root: Path
    rig: Rig
    geometry_pairs: tuple[tuple[Path, Path], ...]
    """Captures of one static scene as (blurry, sharp)."""
    color_pair: tuple[Path, Path] | None
    """Captures of the color checker as (blurry, sharp)."""


@dataclass(frozen=True)
class Crop:
    """A rectangle of whole pixels in the blurry camera's frame."""

    x: int
    y: int
    width: int
    height: int

    def __post_init__(self) -> None:
        if self.width <= 0 or self.height <= 0 or self.x < 0 or self.y < 0:
            raise ValueError(f"a crop needs a positive size and no negative corner, got {self}")


@dataclass(frozen=True)
class CalibrationQuality:
    """How well a calibration fits the captures that it was made from."""

    rms_px: float
    """Root mean square reprojection error in blurry-camera pixels."""
    pairs: int
    """Capture pairs used."""
    points: int
    """Point pairs used."""
    delta_e: float | None
    """Mean CIEDE2000 difference of the checker's patches after the color map; None without a checker."""
    p95_px: float | None = None
    """Reprojection error that 95 of 100 point pairs stay below."""
    leave_one_out_px: float | None = None
    """Root mean square error at the points of captures that were left out of the fit; None with fewer than two."""
    delta_e_before: float | None = None
    """As ``delta_e``, without a color map."""
    delta_e_coded: float | None = None
    """As ``delta_e``, after ``color_coded``."""
    refined: bool | None = None
    """Whether the homography was refined on the images; None in files of versions that did not say."""
    correlation: float | None = None
    """Correlation of the registered views' gradients; None where it was not refined."""
    takes: int | None = None
    """Takes whose still first frames count among the captures; None in files of versions that did not look."""
    images: int | None = None
    """Captures whose images agree, with or without points of their own; None in files of versions that did not say."""


@dataclass(frozen=True)
class ChromaSiting:
    """Where a camera's encoder puts chroma, in luma pixels from the first sample of luma to the first of chroma."""

    x: float
    y: float
    source: Literal["rig", "stream", "measured", "assumed"]
    """Who says so: the rig's file, the streams, their frames; or nobody, and it is where H.264 has it by default."""
    measured: tuple[float, float] | None = None
    """Where the frames show it, whoever is believed; None where they tell too little."""
    error: tuple[float, float] | None = None
    """Standard errors of that."""

    def describe(self) -> str:
        """Return where chroma lies, who says so, and what was measured."""
        said = f"({self.x:.2f}, {self.y:.2f}), {self.source}"
        if self.measured is None or self.error is None:
            return said
        (x, y), (x_error, y_error) = self.measured, self.error
        return f"{said}; frames show ({x:.2f} +- {x_error:.2f}, {y:.2f} +- {y_error:.2f})"


@dataclass(frozen=True, eq=False)
class Lens:
    """How a camera's lens bends straight lines: a pinhole camera and Brown's distortion.

    Undistorted pixels are those of the pinhole camera of the same matrix, without distortion.
    """

    matrix: NDArray[np.float64]
    """(3, 3) focal lengths and principal point in pixels, no skew."""
    distortion: NDArray[np.float64]
    """(5,) k1, k2, p1, p2, k3 in OpenCV's order."""

    def __post_init__(self) -> None:
        if self.matrix.shape != (3, 3) or not np.all(np.isfinite(self.matrix)):
            raise ValueError("the lens's matrix must be a 3x3 matrix of finite numbers")
        if min(self.matrix[0, 0], self.matrix[1, 1]) <= 0 or not np.array_equal(self.matrix[2], [0, 0, 1]):
            raise ValueError("the lens's matrix must have positive focal lengths and end with the row 0 0 1")
        if self.distortion.shape != (5,) or not np.all(np.isfinite(self.distortion)):
            raise ValueError("the lens's distortion must be five finite numbers: k1, k2, p1, p2, k3")


@dataclass(frozen=True)
class GrayTone:
    """A camera's tone curve against the response that is undone, as the checker's gray row tells it."""

    exponent: float
    """Of coded values: the camera has ``coded ** exponent`` where that response has ``coded``."""
    error: float
    """Its standard error."""


@dataclass(frozen=True)
class SharpTone:
    """The sharp camera's tone curve against the blurry camera's, as other picture profiles make it."""

    exponent: float
    """Of coded values: the sharp camera has ``coded ** exponent`` where the response that is undone has ``coded``."""
    error_before: float
    """Median relative difference between the views of captures that were left out, each under its own color map."""
    error_after: float
    """The same with the exponent of the others."""

    def __post_init__(self) -> None:
        if not _MIN_EXPONENT <= self.exponent <= _MAX_EXPONENT:
            raise ValueError(f"tone_sharp's exponent must be {_MIN_EXPONENT:g} to {_MAX_EXPONENT:g}")


@dataclass(frozen=True, eq=False)
class GainField:
    """How light differs between the cameras from place to place, as a beam splitter or vignetting makes it."""

    coefficients: NDArray[np.float64]
    """(3, 5), see `rb2v.core.gain_field.gains_at`: what sharp light is multiplied by, over the crop."""
    response: CameraResponse
    """The response that was undone."""
    error_before: float
    """Median relative difference between the views of captures that were left out, each under its own color map."""
    error_after: float
    """The same with the field of the others."""

    def __post_init__(self) -> None:
        if self.coefficients.shape != (3, 5) or not np.all(np.abs(self.coefficients) <= _MAX_LOG_GAIN):
            raise ValueError(f"gain_field must be 3 rows of 5 numbers of at most {_MAX_LOG_GAIN:g}")


@dataclass(frozen=True)
class LocalResidual:
    """What is left of the displacement between the registered views around a place of the crop."""

    x: float
    y: float
    """Place in blurry-camera pixels."""
    dx: float
    dy: float
    """Where the registered sharp view lies beside the blurry one there, in blurry-camera pixels."""
    pairs: int
    """Captures that tell it."""


@dataclass(frozen=True, eq=False)
class Calibration:
    """Where the sharp camera's pixels lie in the blurry camera's frame, and what is seen by both."""

    homography: NDArray[np.float64]
    """(3, 3), sharp-camera pixels to blurry-camera pixels, h33 = 1; negative determinant where mirrored."""
    mirrored: bool
    size_blurry: tuple[int, int]
    """Width and height of the blurry camera's frames in pixels."""
    size_sharp: tuple[int, int]
    """Width and height of the sharp camera's frames in pixels."""
    crop: Crop
    """Free of the housing's black border in both views; has the output's aspect."""
    color: NDArray[np.float64] | None
    """(3, 4) color map from the color checker, in linear light."""
    quality: CalibrationQuality
    lens_blurry: Lens | None = None
    """Where given, the homography and the crop are in undistorted pixels of this camera."""
    lens_sharp: Lens | None = None
    """Where given, the homography is from undistorted pixels of this camera."""
    color_coded: NDArray[np.float64] | None = None
    """(3, 4) color map from the color checker, in coded values."""
    color_response: CameraResponse | None = None
    """The response that was undone for ``color``; None in files of versions that took the rig's."""
    response: CameraResponse | None = None
    """The cameras' response as the captures tell it or the user states it; None where neither does."""
    residuals: tuple[LocalResidual, ...] = ()
    """Over the crop; parallax shows there."""
    chroma_blurry: ChromaSiting | None = None
    """None in files of versions that did not look."""
    chroma_sharp: ChromaSiting | None = None
    tone_sharp: SharpTone | None = None
    """None where the captures tell of none, and in files of versions that did not look."""
    gray_blurry: GrayTone | None = None
    """None where no checker's gray row contradicts the response, and in files of versions that did not look."""
    gray_sharp: GrayTone | None = None
    gain_field: GainField | None = None
    """None where the captures tell none, and in files of versions that did not look."""

    def __post_init__(self) -> None:
        if self.homography.shape != (3, 3) or not np.all(np.isfinite(self.homography)):
            raise ValueError("homography must be a 3x3 matrix of finite numbers")
        determinant = np.linalg.det(self.homography)
        if abs(determinant) < 1e-12:
            raise ValueError("homography is singular")
        if (determinant < 0) != self.mirrored:
            raise ValueError(f"mirrored is {self.mirrored}, but the homography's determinant is {determinant:.3g}")
        for name, color in (("color", self.color), ("color_coded", self.color_coded)):
            if color is not None and color.shape != (3, 4):
                raise ValueError(f"{name} must be a 3x4 matrix, got shape {color.shape}")
        width, height = self.size_blurry
        if self.crop.x + self.crop.width > width or self.crop.y + self.crop.height > height:
            raise ValueError(f"crop {self.crop} reaches out of the blurry camera's {width}x{height} frame")


@dataclass(frozen=True)
class ClockJump:
    """A place where one recording lacks time that the other has."""

    after_seconds: float
    """Blurry time of the last frame that is known to lie before it."""
    before_seconds: float
    """Blurry time of the first frame that is known to lie behind it."""
    shift_seconds: float
    """What the sharp camera's time gains there; negative where the sharp recording lost time."""
    center_seconds: float
    """Blurry-camera time at which the line behind it is known best."""
    center_error_seconds: float
    """Standard error of the sharp-camera time there."""


@dataclass(frozen=True)
class ClockModel:
    """The line that takes times of the blurry camera to times of the sharp camera (centers of exposure)."""

    offset_seconds: float
    """Sharp-camera time at blurry-camera time 0, before any jump."""
    drift: float
    """Relative rate difference: sharp time runs ``1 + drift`` times as fast as blurry time."""
    residual_seconds: float
    """Robust standard deviation of single-frame estimates about the line."""
    n_inliers: int
    """Frames that carry the line."""
    drift_error: float = 0.0
    """Standard error of the drift."""
    center_seconds: float = 0.0
    """Blurry-camera time at which the line, before any jump, is known best."""
    center_error_seconds: float = 0.0
    """Standard error of the sharp-camera time there."""
    jumps: tuple[ClockJump, ...] = ()
    """Where the line goes on beside itself, in the order of time."""
    own_drift: float | None = None
    """The drift by this take's frames alone, before what crystals do and other takes say; None in older files."""
    own_drift_error: float | None = None
    """Standard error of that."""
    n_effective: float | None = None
    """Independent estimates that the inliers are worth; None in older files."""

    def sharp_time(self, blurry_time_seconds: float) -> float:
        """Return the sharp camera's time at a time of the blurry camera, in seconds."""
        shift = sum(jump.shift_seconds for jump in self._jumps_before(blurry_time_seconds))
        return self.offset_seconds + (1.0 + self.drift) * blurry_time_seconds + shift

    def error_seconds(self, blurry_time_seconds: float) -> float:
        """Return the standard error of `sharp_time`; infinite within a jump, where either side may be right."""
        if any(jump.after_seconds < blurry_time_seconds < jump.before_seconds for jump in self.jumps):
            return math.inf
        center, error = self.center_seconds, self.center_error_seconds
        for jump in self._jumps_before(blurry_time_seconds):
            center, error = jump.center_seconds, jump.center_error_seconds
        return math.hypot(error, self.drift_error * (blurry_time_seconds - center))

    def _jumps_before(self, blurry_time_seconds: float) -> list[ClockJump]:
        middles = [(jump.after_seconds + jump.before_seconds) / 2 for jump in self.jumps]
        return [jump for jump, middle in zip(self.jumps, middles, strict=True) if blurry_time_seconds > middle]


@dataclass(frozen=True)
class SessionClock:
    """The drift that the takes of a session agree on: one pair of cameras has one pair of crystals."""

    drift: float
    """Relative rate difference, as `ClockModel.drift`."""
    drift_error: float
    """Standard error of that."""
    takes: int
    """Takes that agree."""


OffsetSource = Literal["sound", "gyro", "motion", "timecode"]


@dataclass(frozen=True)
class SourceOffset:
    """What one source says of the coarse offset between two recordings."""

    source: OffsetSource
    seconds: float
    """Sharp-camera time at blurry-camera time 0."""
    confidence: float
    """0..1: 0 where nothing stands out, 1 where nothing else comes near."""


@dataclass(frozen=True)
class ExposureEstimate:
    """The exposure of the blurry camera that explains the blur of a take best."""

    seconds: float
    error_seconds: float
    """Standard error."""
    assumed_seconds: float
    """What the synthetic blur of the rig spans."""
    shutter_seconds: float | None
    """What the blurry camera's telemetry says; None without telemetry."""


@dataclass(frozen=True)
class RollingShutter:
    """How much later the rows of one camera are exposed than the same rows of the other."""

    skew_seconds: float
    """What the blurry camera's last output row lags behind its first, less the same of the sharp camera."""
    error_seconds: float
    """Standard error of the skew."""
    band_rows: tuple[float, ...]
    """Middle of each band of rows, in output pixels."""
    band_shifts_seconds: tuple[float, ...]
    """How much later than the clock line each band of the blurry camera is exposed, in sharp-camera time."""
    compensated: bool
    """Whether the sharp frames were made row by row for it."""

    def __post_init__(self) -> None:
        if len(self.band_rows) != len(self.band_shifts_seconds):
            raise ValueError(f"{len(self.band_rows)} band_rows have {len(self.band_shifts_seconds)} shifts")


@dataclass(frozen=True)
class Timing:
    """All that is known of how a take's two recordings lie in time."""

    offsets: tuple[SourceOffset, ...] = ()
    """What the sources of the coarse offset say."""
    offset_source: OffsetSource | None = None
    """The source that the search started from; None where none tells enough."""
    clock: ClockModel | None = None
    """None where too few frames agree on one."""
    exposure: ExposureEstimate | None = None
    """None where too little moves to tell it."""
    rolling_shutter: RollingShutter | None = None
    """None where too little moves to tell it."""
    flicker_hz: float | None = None
    """100 or 120, where the light of the sharp frames beats with lamps on mains current; None where it does not."""
    flicker_amplitude: float | None = None
    """Of that light, relative to its mean."""


@dataclass(frozen=True)
class RegistrationStep:
    """A step by which the views of a take shifted against each other, and where they lie behind it."""

    after_seconds: float
    """Blurry time of the last frame that may lie before it."""
    before_seconds: float
    """Blurry time of the first frame that may lie behind it."""
    shift_px: float
    """As `TakeRegistration.shift_px`, behind the step."""
    error_px: float
    frames: int
    homography: tuple[tuple[float, float, float], tuple[float, float, float], tuple[float, float, float]]
    """In place of the calibration's."""


@dataclass(frozen=True)
class TakeRegistration:
    """Where a take's registered views lie beside each other, as its own matched frames tell."""

    shift_px: float
    """How far the sharp view lies off the blurry one under the calibration: median over the crop, in blurry-camera
    pixels."""
    error_px: float
    """Standard error of that."""
    frames: int
    """Blurry frames that tell it."""
    homography: tuple[tuple[float, float, float], tuple[float, float, float], tuple[float, float, float]] | None = None
    """The take's own homography in place of the calibration's, where it was refined."""
    steps: tuple[RegistrationStep, ...] = ()
    """Steps inside of the take, in the order of time: all else holds before the first one."""


REASONS: Mapping[str, str] = {
    "": "accepted",
    "out-of-range": "the window reaches beyond the sharp recording",
    "dropped-frames": "the sharp recording lacks frames inside the window, or a frame repeats the one before it",
    "cut": "the sharp recording changes its scene inside the window",
    "clipped": "too bright: too few pixels are below clipping",
    "flash": "the light changes inside the window",
    "exposure": "one camera's exposure is not what it is in the rest of the take",
    "interpolation": "frames between the recorded ones cannot be made well enough",
    "registration": "the views of the take lie too far off each other to tell time, or shift inside the window",
    "static": "the clock is not known well enough there, as where nothing moves",
    "low-psnr": "no window explains the blurry frame well enough",
    "inconsistent": "the frame's own best window lies off the take's clock line",
    "no-clock": "too few frames of the take agree on a clock",
    "matte": "with the green screen replaced, the blurry frame would not be the mean of the sharp ones, or the "
    "foreground would be lost",
}
"""Why a blurry frame was rejected, by the code in the table's ``reason`` column."""

REMEDIES: Mapping[str, str] = {
    "out-of-range": "start the sharp camera first and stop it last; --sync motion finds an offset without sound",
    "dropped-frames": "use the cameras' own files from a card that is fast enough",
    "cut": "record without a pause; cut nothing out of the middle",
    "clipped": "shorten the shutter or close the aperture",
    "flash": "light the scene with lamps that do not flicker",
    "exposure": "lock both cameras' exposure",
    "interpolation": "record slower motion, or with a sharp camera of more frames per second",
    "registration": "fasten both cameras, and capture stills anew",
    "static": "record something that moves",
    "low-psnr": "look at calibration_overlay.png, and run 'rb2v doctor' for shutter and rig",
    "inconsistent": "look at calibration_overlay.png, and run 'rb2v doctor' for shutter and rig",
    "no-clock": "run 'rb2v doctor', look at calibration_overlay.png, and see that both videos show one scene",
    "matte": "light the screen evenly, record a clean plate, and avoid clothes of the screen's color",
}
"""Remedy for the next recording, by reason."""


@dataclass(frozen=True, eq=False)
class AlignedFrame:
    """One row of ``alignment.csv``: a blurry frame and the window of sharp frames that it integrated."""

    take: str
    blurry_index: int
    blurry_time: float
    """Presentation time in seconds."""
    position: int
    """Fine-track index of ``x_0``."""
    position_fine: float
    """The same, to a fraction of a fine frame."""
    psnr: float
    """PSNR of the color-mapped synthetic blur against the blurry frame, in dB."""
    margin_db: float
    """How far the best window stands above the best one that is not its neighbor."""
    accepted: bool
    reason: str
    """A key of ``REASONS``."""
    color: NDArray[np.float64] = field(default_factory=lambda: np.eye(3, 4))
    """(3, 4) color map in linear light."""
    composite_psnr: float = math.nan
    """The least PSNR, in dB, in linear light, of the mean of the sharp composites against the blurry one, whatever
    background stands behind; NaN where no green screen is replaced."""
    explained_psnr: float = math.nan
    """PSNR, in dB, in linear light, of the blurry frame's foreground laid back over the screen against the frame; NaN
    where no green screen is replaced, or the matting method does not tell."""
