"""Configuration of an ingest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from pydantic import Field

from rb2v.choices import Category, ScreenColor
from rb2v.configuration import OPTIONS_SOURCE, config
from rb2v.errors import InputError

if TYPE_CHECKING:
    from rb2v.artifacts import Camera


@config
class IngestConfig:
    """What is made of the recordings."""

    rig: str | None = None
    """Name or path of the capture configuration; that of a raw directory that is there, or gopro_hero8, by default."""
    category: Category = "street"
    """Category of all takes of these cards."""
    subject: str | None = None
    """Who or what is filmed in all of them; needed for faces and hands. Edit take.yaml for others."""
    green_screen: bool = False
    """The takes were filmed before a green screen, or a blue one."""
    screen: ScreenColor = "auto"
    """Its color, where it shall not be found in the frames."""
    link: bool = False
    """Link to the videos where they are, in place of copying them."""
    keep_refused: bool = False
    """Take in takes that the checks reject, too."""
    clock_offset_seconds: float | None = None
    """How far the sharp camera's clock is ahead, in s; estimated by default."""
    capture_fps_blurry: Annotated[float, Field(gt=0, le=100_000)] | None = None
    """Frames per second at which the blurry camera recorded, where its files play slow motion and do not state it."""
    capture_fps_sharp: Annotated[float, Field(gt=0, le=100_000)] | None = None
    """Frames per second at which the sharp camera recorded, likewise."""

    def capture_fps_of(self, camera: Camera) -> float | None:
        """Return at what rate a camera recorded, None where its files state it."""
        return self.capture_fps_blurry if camera == "blurry" else self.capture_fps_sharp

    def __post_init__(self) -> None:
        if self.subject is None and self.category != "street":
            raise InputError(OPTIONS_SOURCE, f"is missing for the category {self.category}", "subject", "who is filmed")
        if self.subject is not None and (not self.subject.strip() or not self.subject.isprintable()):
            raise InputError(OPTIONS_SOURCE, f"{self.subject!r} is not a line of text", "subject")
