"""Common direction of several sequences; a blurry image does not tell its direction of time.

Neighboring tiles of one image share pixels, and their sequences have to agree there. Neighboring frames of one video
share a moment, almost: where one sequence ends the next begins.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from rb2v.blur2vid.tiles import TileGrid

Frames = NDArray[np.uint8]


def align_tiles(grid: TileGrid, tiles: Sequence[Frames]) -> list[bool]:
    """Find which tiles' sequences run against the others.

    Neighbors are joined in the order of how much their common pixels say, so that a tile in which nothing moves parts
    none that tell a direction. Of the two ways round, the image takes that of most of the motion.

    Parameters
    ----------
    grid : TileGrid
        Where the tiles lie.
    tiles : sequence of (T, h, w, 3) ndarray of uint8
        Their sequences.

    Returns
    -------
    list of bool
        Whether to turn each.
    """
    links = []
    for one, other in grid.neighbors:
        first, second = (_common(grid, one, other, tiles[one]), _common(grid, other, one, tiles[other]))
        # Half of how much larger the squared difference is the other way round.
        links.append((_inner(_change(first), _change(second)), one, other))
    groups = _Groups(len(tiles))
    for evidence, one, other in sorted(links, key=lambda link: -abs(link[0])):
        groups.join(one, other, against=evidence < 0)
    turned = [groups.find(index)[1] for index in range(len(tiles))]
    motion = [_inner(change, change) for change in map(_change, tiles)]
    against = sum(energy for energy, is_turned in zip(motion, turned, strict=True) if is_turned)
    return turned if 2 * against <= sum(motion) else [not is_turned for is_turned in turned]


def _common(grid: TileGrid, index: int, other: int, tile: Frames) -> Frames:
    """Return the part of a tile's sequence that another one covers too."""
    mine, yours = grid.boxes[index], grid.boxes[other]
    rows, columns = (
        slice(max(one.start, two.start) - one.start, max(min(one.stop, two.stop) - one.start, 0))
        for one, two in zip(mine, yours, strict=True)
    )
    return tile[:, rows, columns]


def _change(frames: Frames) -> NDArray[np.int16]:
    """Return what turning a sequence negates: the differences of its pairs (k, N - k)."""
    n_pairs = len(frames) // 2
    return np.asarray(frames[:n_pairs].astype(np.int16) - frames[: -n_pairs - 1 : -1])


def _inner(one: NDArray[np.int16], other: NDArray[np.int16]) -> float:
    # In parts: as floats a large tile would take four times its bytes.
    return float(sum(np.vdot(a.astype(np.float32), b.astype(np.float32)) for a, b in zip(one, other, strict=True)))


class _Groups:
    """Tiles whose directions are known relative to each other."""

    def __init__(self, n: int) -> None:
        self._parents = list(range(n))
        self._turned = [False] * n
        """Against the parent."""

    def find(self, index: int) -> tuple[int, bool]:
        """Return the group of a tile, and whether the tile runs against it."""
        turned = False
        while self._parents[index] != index:
            turned ^= self._turned[index]
            index = self._parents[index]
        return index, turned

    def join(self, one: int, other: int, *, against: bool) -> None:
        """Join the groups of two tiles that run with or against each other, unless they are one already."""
        first, first_turned = self.find(one)
        second, second_turned = self.find(other)
        if first != second:
            self._parents[second] = first
            self._turned[second] = first_turned ^ second_turned ^ against


def chain_sequences(sequences: Iterable[Frames]) -> Iterator[Frames]:
    """Turn the sequences of a video's frames so that each begins where the one before it ends.

    Parameters
    ----------
    sequences : iterable of (T, H, W, 3) ndarray of uint8
        In the order of the video.

    Yields
    ------
    (T, H, W, 3) ndarray of uint8
        The same sequences, some of them backward; the first follows the second.
    """
    previous: Frames | None = None
    is_first = True
    for sequence in sequences:
        if previous is not None:
            if is_first and min(_gaps(previous[0], sequence)) < min(_gaps(previous[-1], sequence)):
                previous = previous[::-1]
            is_first = False
            yield previous
            ahead, back = _gaps(previous[-1], sequence)
            previous = sequence if ahead <= back else sequence[::-1]
        else:
            previous = sequence
    if previous is not None:
        yield previous


def _gaps(end: Frames, sequence: Frames) -> tuple[float, float]:
    """Return the squared differences of a frame from the first of a sequence, and from the last."""
    ahead, back = (end.astype(np.float32) - frame for frame in (sequence[0], sequence[-1]))
    return float(np.vdot(ahead, ahead)), float(np.vdot(back, back))
