"""Configuration of ``rb2v deblur``."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from rb2v.blur2vid.config import OVERLAP_PX, TILE_PX
from rb2v.configuration import Seed, config

MAX_FPS = 1000.0  # what containers of videos can state


@config
class DeblurConfig:
    """How images are deblurred and written.

    Raises
    ------
    Rb2vError
        If a value is out of range, or makes no sense with another.
    """

    format: Literal["mp4", "gif", "png"] | None = None
    """What every image of a folder becomes: mp4 (the default), gif, or png, a folder of frames. Of a single image the
    output's suffix decides."""
    fps: Annotated[float, Field(ge=0.1, le=MAX_FPS)] | None = None
    """Frames per second; by default 10, and for a video as many times its own as there are frames in a sequence."""
    loop: bool = False
    """Play back to the first frame again."""
    tile: int = TILE_PX
    """Side of the tiles of larger images, in pixels; less needs less memory."""
    overlap: int | None = None
    """What neighboring tiles share, in pixels; 64 by default, and no more than half a tile."""

    def __post_init__(self) -> None:
        from rb2v.blur2vid.tiles import lay_tiles  # brings numpy, which a help text does not need

        lay_tiles(1, 1, self.tile, self.overlap_px)

    @property
    def overlap_px(self) -> int:
        """What neighboring tiles share, in pixels."""
        return min(OVERLAP_PX, max(self.tile // 2, 0)) if self.overlap is None else self.overlap


@config
class GuideConfig:
    """Where guidance comes from.

    Raises
    ------
    InputError
        If a value is out of range.
    """

    guidance: str
    """predicted, neighbor, a file, or a direction as DX,DY with x right and y down."""
    samples: Annotated[int, Field(ge=1, le=100)] | None = None
    """Guidance maps drawn of one image, each of which becomes a video named by it."""
    seed: Seed = 0
    """Seed of predicted guidance."""
