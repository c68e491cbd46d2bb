"""What can be set about a simulated session."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from rb2v.artifacts import CATEGORIES, Category

Screen = Literal["full", "small"]

_MAX_DRIFT_PPM = 1e5  # a tenth of the time; real clocks differ by 100 ppm
_MAX_SECONDS = 3600.0  # an hour, so that a slip of a unit does not fill the disk
_MAX_MOTION = 10.0  # times the usual amplitudes, which throws things out of the picture already
_MAX_CRF = 51  # H.264's largest
_MAX_BUMP_PX = 100.0  # more than a rig can be knocked and still show the same
_MAX_DISTORTION = 0.3  # of k1; from -0.24 on a 4:3 picture's corners lie beyond the lens already


@dataclass(frozen=True)
class SimulateConfig:
    """What is simulated; every key has the unit in its name."""

    rig: str = "gopro_hero8"
    """Name or path of the capture configuration."""
    size: tuple[int, int] = (720, 540)
    """Width and height of both cameras' frames in pixels; a square of 448 pixels fits between the borders."""
    seconds: float = 3.0
    """Length of a training take as the blurry camera records it."""
    test_seconds: float = 1.0
    """Length of a test take."""
    categories: tuple[Category, ...] = CATEGORIES
    """One training and one test take of each."""
    test_takes: bool = True
    """Whether each category has a test take beside its training take."""
    mirrored: bool = True
    drift_ppm: float = 80.0
    """How much faster the sharp camera's clock runs."""
    max_offset_seconds: float = 0.4
    """The sharp camera starts earlier by a random time up to this."""
    noise: bool = True
    crf: int = 18
    """Constant rate factor of the H.264 encoder."""
    n_instants: int = 24
    """Instants over which a blurry exposure is integrated."""
    blurry_exposure_seconds: float | None = None
    """Shutter of the blurry camera; None for the rig's own, which its blur samples make up."""
    blurry_readout_seconds: float = 0.0
    """Rolling shutter of the blurry camera: from the first row's centre of exposure to the last row's."""
    sharp_readout_seconds: float = 0.0
    """Rolling shutter of the sharp camera, likewise."""
    motion: float = 1.0
    """Multiplies the amplitude of every movement, the rig's included; with 0 takes stand still."""
    screen: Screen = "full"
    """How far the green screen reaches: over the whole picture, or over its middle with a studio around it."""
    bump_px: float = 0.0
    """How far the sharp camera is knocked out of place in each take after the calibration, at the picture's middle."""
    distortion: tuple[float, float] = (0.0, 0.0)
    """k1 of the lenses of the blurry and the sharp camera, at a focal length of 0.8 widths of the picture; 0 for a
    perfect one. Below 0 the picture's middle bulges."""
    plates: bool = True
    """Whether there are clean plates of green-screen takes."""
    seed: int = 0

    def __post_init__(self) -> None:
        if self.size[0] % 2 or self.size[1] % 2 or min(self.size) < 64:
            raise ValueError(f"size must be even and at least 64 pixels, got {self.size[0]}x{self.size[1]}")
        if self.n_instants < 24:
            raise ValueError(f"n_instants must be at least 24, got {self.n_instants}")
        for name in ("seconds", "test_seconds"):
            if not 0 < getattr(self, name) <= _MAX_SECONDS:
                limits = f"a number above 0, at most {_MAX_SECONDS:.0f}"
                raise ValueError(f"{name} must be {limits}, got {getattr(self, name)}")
        if not abs(self.drift_ppm) <= _MAX_DRIFT_PPM:
            raise ValueError(f"drift_ppm must lie within +-{_MAX_DRIFT_PPM:.0f}, got {self.drift_ppm}")
        if not 0 <= self.max_offset_seconds <= _MAX_SECONDS:
            limits = f"a number of at least 0, at most {_MAX_SECONDS:.0f}"
            raise ValueError(f"max_offset_seconds must be {limits}, got {self.max_offset_seconds}")
        if not 0 <= self.crf <= _MAX_CRF:
            raise ValueError(f"crf must lie within 0..{_MAX_CRF}, got {self.crf}")
        if self.blurry_exposure_seconds is not None and not 0 < self.blurry_exposure_seconds <= _MAX_SECONDS:
            raise ValueError(f"blurry_exposure_seconds must be a number above 0, got {self.blurry_exposure_seconds}")
        for name in ("blurry_readout_seconds", "sharp_readout_seconds"):
            if not 0 <= getattr(self, name) <= _MAX_SECONDS:
                raise ValueError(f"{name} must be a number of at least 0, got {getattr(self, name)}")
        if not 0 <= self.motion <= _MAX_MOTION:
            raise ValueError(f"motion must lie within 0..{_MAX_MOTION:g}, got {self.motion}")
        if not 0 <= self.bump_px <= _MAX_BUMP_PX:
            raise ValueError(f"bump_px must lie within 0..{_MAX_BUMP_PX:g}, got {self.bump_px}")
        if len(self.distortion) != 2 or not all(abs(k1) <= _MAX_DISTORTION for k1 in self.distortion):
            raise ValueError(f"distortion must be two numbers within +-{_MAX_DISTORTION:g}, got {self.distortion}")
        if self.screen not in get_args(Screen):
            raise ValueError(f"screen must be one of {', '.join(get_args(Screen))}, got {self.screen!r}")
        if not self.categories:
            raise ValueError("categories must name at least one category")
