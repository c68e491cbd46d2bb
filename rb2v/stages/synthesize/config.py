"""Configuration of data sets from recordings of one fast camera."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import Field

from rb2v.choices import BlurPresetName, Category, InterpolatorName, RejectionName, SourceLayoutName
from rb2v.configuration import OPTIONS_SOURCE, Count, NotNegative, Response, Seed, SidePx, config
from rb2v.errors import InputError


@dataclass(frozen=True)
class LayoutDefaults:
    """What a layout's published use decides."""

    upsampling: int = 1
    fps: float | None = None
    """Capture rate of folders of frames, which state none."""


LAYOUT_DEFAULTS: Mapping[SourceLayoutName, LayoutDefaults] = MappingProxyType(
    {
        "clips": LayoutDefaults(),
        "reds": LayoutDefaults(upsampling=2, fps=120.0),
        "vimeo90k-triplet": LayoutDefaults(upsampling=3),
        "gopro": LayoutDefaults(fps=240.0),
        "adobe240": LayoutDefaults(fps=240.0),
        "folders": LayoutDefaults(),
    }
)
"""By layout; four frames of REDS and three of Vimeo-90K become seven (HyperCUT, CVPR 2023, section 5.1)."""


@config
class SynthesizeConfig:
    """How recordings of one fast camera become a data set.

    Raises
    ------
    InputError
        If a value is out of range, or two do not go together.
    """

    layout: SourceLayoutName = "clips"
    """Layout of the source."""
    fps: Annotated[float, Field(gt=0, le=100_000)] | None = None
    """Capture rate in frames per second, where a file's own rate is not it; by default that of the file or layout."""
    output_size: tuple[SidePx, SidePx] | None = None
    """Width and height of the frames, in px: the largest central part of that aspect, area-resized; as recorded by
    default."""
    frames_per_sequence: Annotated[int, Field(ge=3, le=255)] = 7
    """Sharp frames of a sequence, an odd number."""
    upsampling: Annotated[int, Field(ge=1, le=64)] | None = None
    """Sharp frames per recorded frame; by default 2 for reds, 3 for vimeo90k-triplet, otherwise 1."""
    interpolator: InterpolatorName = "flow"
    """Interpolation method of the frames between recorded ones."""
    blur_samples: Annotated[int, Field(ge=3, le=1025)] = 19
    """Instants of a sequence that its blurry frame averages, an odd number: 7, 19, 25 or 65 for example."""
    exposure: Annotated[float, Field(ge=0.001, le=1)] = 1.0
    """Length of the exposure, as a share of the sequence; around its middle."""
    response: Response = "srgb"
    """Camera response that is undone to average light; linear averages coded values, as older sets do."""
    saturation: Annotated[float, Field(ge=1, le=1000)] = 1.0
    """Light that a clipped value stands for while averaging, in times white."""
    shot_noise: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Standard deviation of the blurry frame's photon noise at white, as a share of white."""
    read_noise: Annotated[float, Field(ge=0, le=1)] = 0.0
    """Standard deviation of the blurry frame's noise in the dark, as a share of white."""
    compression: Literal["none", "jpeg", "h264"] = "none"
    """Compression that the blurry frame has gone through."""
    jpeg_quality: Annotated[int, Field(ge=1, le=100)] = 90
    """Quality of the compression jpeg."""
    crf: Annotated[int, Field(ge=0, le=51)] = 23
    """Constant rate factor of the compression h264; lower is better."""
    stride: Count | None = None
    """Recorded frames from the start of one sequence to the next; by default sequences share none."""
    max_per_clip: Count | None = None
    """Largest number of samples of a clip, spread over it; all by default."""
    reject: bool = True
    """Reject sequences with faults; without it frames are not looked at before they are written."""
    keep: tuple[RejectionName, ...] = ()
    """Reasons for which no sample is rejected."""
    min_motion_levels: NotNegative = 1.0
    """Least difference within a sequence, in levels of 255 over the eighth of the image that changes most."""
    min_sharpness: Annotated[float, Field(ge=0, le=1)] = 0.75
    """Least sharpness of a recorded frame, relative to the median of its scene."""
    max_jitter: Annotated[float, Field(gt=0, le=10)] = 0.25
    """Largest deviation of a step between frames from the usual one, relative to it."""
    split: Literal["published", "seeded"] | None = None
    """How clips are split; published where the layout or the folders train and test say it, otherwise seeded."""
    test_share: Annotated[float, Field(ge=0, lt=1)] = 0.2
    """Share of the clips for the test split, where it is seeded."""
    category: Category = "street"
    """Category of all samples."""
    shard_samples: Count = 128
    """Largest number of samples in a shard."""
    seed: Seed = 0
    """Seed of the split and of the noise."""

    def __post_init__(self) -> None:
        for name in ("frames_per_sequence", "blur_samples"):
            if not getattr(self, name) % 2:
                raise InputError(OPTIONS_SOURCE, f"{getattr(self, name)} is even", name, "an odd number")
        steps = self.frames_per_sequence - 1
        if steps % self.sharp_per_recorded:
            expected = f"a divisor of {steps}, so that a sequence of {steps + 1} begins and ends on recorded frames"
            raise InputError(OPTIONS_SOURCE, f"is {self.sharp_per_recorded}", "upsampling", expected)
        if self.layout == "vimeo90k-triplet" and self.recorded_per_sequence > 3:
            problem = f"a sequence of {steps + 1} takes {self.recorded_per_sequence} recorded frames of a triplet"
            raise InputError(OPTIONS_SOURCE, problem, "upsampling", f"{steps // 2}, or {steps} for its first two")

    @property
    def sharp_per_recorded(self) -> int:
        """Sharp frames per recorded frame."""
        return self.upsampling or LAYOUT_DEFAULTS[self.layout].upsampling

    @property
    def recorded_per_sequence(self) -> int:
        """Recorded frames of a sequence."""
        return (self.frames_per_sequence - 1) // self.sharp_per_recorded + 1

    @property
    def frames_per_stride(self) -> int:
        """Recorded frames from the start of one sequence to the next."""
        return self.stride or self.recorded_per_sequence


PRESETS: Mapping[BlurPresetName, Mapping[str, Any]] = MappingProxyType(
    {
        # Section 5.1 names the seven frames; neither paper nor code states a camera response.
        "reds-hypercut": {"upsampling": 2, "blur_samples": 7, "response": "linear"},
        # Jin et al., CVPR 2018: seven recorded frames; coded values are assumed.
        "jin": {"upsampling": 1, "blur_samples": 7, "response": "linear"},
        # Nah et al., CVPR 2017, section 2: 7 to 13 recorded frames, averaged under a gamma of 2.2.
        "gopro": {"upsampling": 1, "blur_samples": 7, "response": 2.2},
        # By the table of docs/synthesize.md.
        "realistic": {
            "blur_samples": 65,
            "response": "srgb",
            "saturation": 1.5,
            # Of a small camera in fair light: 41 and 54 dB of noise. What a camera has can be measured, and given.
            "shot_noise": 0.009,
            "read_noise": 0.002,
            "compression": "h264",
        },
    }
)
"""Choices of published data sets, and those that come nearest to recorded blur; what is given besides prevails."""


def recommend(preset: BlurPresetName | None, **chosen: Any) -> SynthesizeConfig:  # noqa: ANN401 - the fields
    """Return a preset's configuration, but for what was chosen; None chooses nothing.

    Raises
    ------
    InputError
        If a value is out of range, two do not go together, or there is no such preset.
    """
    if preset is not None and preset not in PRESETS:
        raise InputError(OPTIONS_SOURCE, f"{preset!r} is not known", "preset", ", ".join(PRESETS))
    given = {name: value for name, value in chosen.items() if value is not None}
    return SynthesizeConfig(**{**(PRESETS[preset] if preset else {}), **given})
