"""Configuration of a simulated session."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from rb2v.choices import CATEGORIES, Category
from rb2v.configuration import Seed, config

Screen = Literal["full", "small"]
SimulatedColor = Literal["green", "blue"]
MotionKind = Literal["single", "mixed", "opposed", "blocks"]

_Seconds = Annotated[float, Field(ge=0, le=3600)]  # an hour, so that a slip of a unit does not fill the disk
_Length = Annotated[float, Field(gt=0, le=3600)]
_Distortion = Annotated[float, Field(ge=-0.3, le=0.3)]  # from -0.24 on a 4:3 image's corners lie beyond the lens
_DriftPpm = Annotated[float, Field(ge=-1e5, le=1e5)]  # a tenth of the time; real clocks differ by 100 ppm
_Motion = Annotated[float, Field(ge=0, le=10)]  # times the usual amplitudes, which moves things out of the image
_Crf = Annotated[int, Field(ge=0, le=51)]  # H.264's range
_BumpPx = Annotated[float, Field(ge=0, le=100)]  # more than a rig can be moved and still show the same
_FrameSide = Annotated[int, Field(ge=64, multiple_of=2)]  # encoders halve the chroma


@config
class SimulateConfig:
    """What is simulated; every key has the unit in its name."""

    rig: str = "gopro_hero8"
    """Name or path of the capture configuration."""
    size: tuple[_FrameSide, _FrameSide] = (720, 540)
    """Width and height of both cameras' frames, in px; a square of 448 px fits between the borders."""
    seconds: _Length = 3.0
    """Length of a training take, in s, as the blurry camera records it."""
    test_seconds: _Length = 1.0
    """Length of a test take, in s."""
    categories: Annotated[tuple[Category, ...], Field(min_length=1)] = CATEGORIES
    """Categories; each has one training take and one test take. A single one is also that of a clip."""
    test_takes: bool = True
    """Whether each category has a test take beside its training take."""
    mirrored: bool = True
    """Mirror one of the views, as a beam splitter does."""
    drift_ppm: _DriftPpm = 80.0
    """How much faster the sharp camera's clock runs, in parts per million."""
    max_offset_seconds: _Seconds = 0.4
    """The sharp camera starts earlier by a random time up to this, in s."""
    noise: bool = True
    """Add shot and read noise."""
    crf: _Crf = 18
    """Constant rate factor of the H.264 encoder; lower is better."""
    n_instants: Annotated[int, Field(ge=24)] = 24
    """Instants over which a blurry exposure is integrated, at most; fewer where nothing moves far between them."""
    blurry_exposure_seconds: _Length | None = None
    """Shutter of the blurry camera; None for the rig's own, which its blur samples make up."""
    blurry_readout_seconds: _Seconds = 0.0
    """Rolling shutter of the blurry camera: from the first row's center of exposure to the last row's."""
    sharp_readout_seconds: _Seconds = 0.0
    """Rolling shutter of the sharp camera, likewise."""
    motion: _Motion = 1.0
    """Factor on the amplitude of every movement; with 0 takes are static."""
    screen: Screen = "full"
    """Green screen of face and hand takes: over the full image, or a small one with a studio around it."""
    screen_color: SimulatedColor = "green"
    """Its color; take.yaml then states no other, so that it has to be found."""
    bump_px: _BumpPx = 0.0
    """Displacement of the sharp camera in each take after the captures, in px at the image's center."""
    distortion: tuple[_Distortion, _Distortion] = (0.0, 0.0)
    """Radial distortion k1 of the blurry and the sharp camera's lens, at a focal length of 0.8 image widths;
    below 0 the image's center bulges."""
    plates: bool = True
    """Record clean plates of green-screen takes."""
    seed: Annotated[int, Field(ge=0)] = 0
    """Seed of everything random."""


@config
class SequencesConfig:
    """Configuration of a data set written straight from simulated scenes.

    Raises
    ------
    InputError
        If a value is out of range.
    """

    motion: MotionKind = "mixed"
    """single: the camera pans, at most one object moves a little; mixed: it pans more slowly, and three to six objects
    move each its own way; opposed: it is static or hardly pans, and two to four objects move against each other;
    blocks: a plain block moves before a dark wall."""
    train: Annotated[int, Field(ge=1, le=10**6)] = 2000
    """Sequences to train on."""
    test: Annotated[int, Field(ge=0, le=10**6)] = 400
    """Sequences to test on, of other photographs."""
    size: Annotated[int, Field(ge=32, le=1024)] = 96
    """Side of the square frames, in px."""
    per_scene: Annotated[int, Field(ge=1, le=10**4)] = 8
    """Sequences of one scene, which are a take."""
    seed: Seed = 0
    """Seed of everything random."""
