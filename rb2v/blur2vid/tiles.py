"""Images too large for one pass, cut into tiles that overlap and are blended again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rb2v.errors import InputError

MIN_TILE_PX = 32  # a smaller one holds less than the motion that it is to undo

Span = tuple[int, int]
"""First place and the one after the last, along one axis."""


@dataclass(frozen=True)
class TileGrid:
    """Where the tiles of an image lie: every span of rows with every span of columns, row by row."""

    rows: tuple[Span, ...]
    columns: tuple[Span, ...]

    @property
    def boxes(self) -> list[tuple[slice, slice]]:
        """Rows and columns of every tile."""
        return [(slice(*rows), slice(*columns)) for rows in self.rows for columns in self.columns]

    @property
    def neighbors(self) -> list[tuple[int, int]]:
        """Indices of the tiles that share an edge, as pairs."""
        n_columns, n_tiles = len(self.columns), len(self.rows) * len(self.columns)
        beside = [(index, index + 1) for index in range(n_tiles) if (index + 1) % n_columns]
        below = [(index, index + n_columns) for index in range(n_tiles - n_columns)]
        return beside + below


def lay_tiles(height: int, width: int, tile: int, overlap: int, multiple: int = 1) -> TileGrid:
    """Lay tiles over an image.

    Parameters
    ----------
    height, width : int
        Of the image, in pixels.
    tile : int
        Side of a tile, in pixels; an image that is not longer is one tile along that axis.
    overlap : int
        Least number of pixels that neighboring tiles share.
    multiple : int
        What tiles begin at multiples of, in pixels, so that a network's coarser levels fall on the same places in all.

    Raises
    ------
    InputError
        If the tile is smaller than 32 pixels or than twice the multiple, or the overlap is negative or more than half
        of the tile.

    Examples
    --------
    >>> lay_tiles(40, 100, 48, 8, 4)
    TileGrid(rows=((0, 40),), columns=((0, 48), (40, 88), (52, 100)))
    """
    least = max(MIN_TILE_PX, 2 * multiple)
    if tile < least:
        raise InputError("options", f"is {tile}", "tile", f"at least {least} pixels")
    if not 0 <= overlap <= tile // 2:
        raise InputError("options", f"is {overlap}", "overlap", f"0 to {tile // 2} pixels, half of the tile")
    return TileGrid(_spans(height, tile, overlap, multiple), _spans(width, tile, overlap, multiple))


def _spans(side: int, tile: int, overlap: int, multiple: int) -> tuple[Span, ...]:
    if side <= tile:
        return ((0, side),)
    step = max((tile - overlap) // multiple, 1) * multiple
    last = -(-(side - tile) // multiple) * multiple
    return (*((start, start + tile) for start in range(0, last, step)), (last, side))


def blend_weights(spans: Sequence[Span]) -> list[NDArray[np.float32]]:
    """Return the weights of every span's places, which rise and fall where spans overlap and sum to one everywhere.

    Examples
    --------
    >>> blend_weights([(0, 4), (2, 6)])[0].tolist()
    [1.0, 1.0, 0.75, 0.25]
    """
    total = np.zeros(spans[-1][1])
    ramps = []
    for index, (start, stop) in enumerate(spans):
        ramp = np.ones(stop - start)
        places = np.arange(stop - start) + 0.5
        if index:
            ramp = np.minimum(ramp, places / max(spans[index - 1][1] - start, 1))
        if index + 1 < len(spans):
            ramp = np.minimum(ramp, places[::-1] / max(stop - spans[index + 1][0], 1))
        total[start:stop] += ramp
        ramps.append(ramp)
    return [
        np.asarray(ramp / total[start:stop], dtype=np.float32) for ramp, (start, stop) in zip(ramps, spans, strict=True)
    ]


def blend_tiles(grid: TileGrid, tiles: Sequence[NDArray[np.uint8]], turned: Sequence[bool]) -> NDArray[np.uint8]:
    """Put the sequences of tiles together.

    Parameters
    ----------
    grid : TileGrid
        Where they lie.
    tiles : sequence of (T, h, w, 3) ndarray of uint8
        Their sequences.
    turned : sequence of bool
        Which of them run backward.

    Returns
    -------
    (T, H, W, 3) ndarray of uint8
    """
    height, width = grid.rows[-1][1], grid.columns[-1][1]
    n_frames = len(tiles[0])
    weights = [
        down[:, None, None] * across[None, :, None]
        for down in blend_weights(grid.rows)
        for across in blend_weights(grid.columns)
    ]
    frames = np.empty((n_frames, height, width, 3), dtype=np.uint8)
    # Frame by frame, so that there is only one in floats.
    for k in range(n_frames):
        total = np.zeros((height, width, 3), dtype=np.float32)
        for box, tile, weight, is_turned in zip(grid.boxes, tiles, weights, turned, strict=True):
            total[box] += weight * tile[n_frames - 1 - k if is_turned else k]
        frames[k] = np.rint(total)
    return frames
