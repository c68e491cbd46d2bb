"""Frames in an HDF5 file, cut into tiles that are compressed one by one.

A tile holds all frames of a sequence, so that what is static is stored once, and is small, so that a crop is read
without its surroundings. Tiles are ordinary HDF5 chunks that ``hdf5plugin`` decodes; they are compressed here, because
the filter cannot be asked to predict pixels from the row above.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from functools import lru_cache

import h5py
import hdf5plugin
import numpy as np
from numpy.typing import NDArray

MAX_TILE_WIDTH = 64
"""In pixels: a row of a tile is one element of the filter, which knows elements of at most 255 bytes."""
MAX_TILE_HEIGHT = 64  # with `MAX_TILE_WIDTH`, measured against half of it in docs/shard_format.md
MAX_TILE_ROWS = 224
"""Rows of all frames of a tile together, unless one frame alone has more than `MAX_TILE_HEIGHT`."""

LZ4_ALLOWANCE = 0.2
"""Share of a tile's bytes by which LZ4 may be larger than Zstandard, for being decoded in a third of the time."""

LZ4_MIN_REPEATED = 0.25  # of 4-byte words; 5 % of the tiles that LZ4 suits have fewer (docs/shard_format.md)
_SAMPLED_ROWS = 16  # of a tile's rows one of so many is looked at for repeats: a tenth of the time of compressing
_WORD_BYTES = 12  # 4 pixels, and 3 words: what LZ4 finds again is at least 4 bytes long
_INCOMPRESSIBLE = 1 - LZ4_ALLOWANCE  # of a tile's bytes; beyond, storing it by LZ4 is always within the allowance

_FLETCHER_BYTES = 4  # HDF5 appends 32 bits
_FLETCHER_WEIGHTS = np.arange(2**15, 0, -1, dtype=np.float64)  # of as many words as floats add up exactly
# A Blosc2 frame of one chunk is a header, the chunk and a trailer; of these only two sizes in the header vary.
_FRAME_SIZE_OFFSET = 16
_CHUNK_SIZE_OFFSET = 39  # the other one


def create_tiles(file: h5py.File, name: str, shape: tuple[int, ...]) -> h5py.Dataset:
    """Create an empty data set of tiled 8-bit frames that grows along its first axis.

    Every tile ends in a Fletcher-32 checksum, by which HDF5 finds a damaged tile when it is read.

    Parameters
    ----------
    file : h5py.File
        The file.
    name : str
        Name of the data set.
    shape : tuple of int
        Shape of one entry, (H, W, 3) or (T, H, W, 3).
    """
    tile = (*tile_size(shape), 3)
    return file.create_dataset(
        name,
        (0, *shape),
        np.uint8,
        maxshape=(None, *shape),
        chunks=(1, *shape[:-3], *tile),
        fletcher32=True,
        **hdf5plugin.Blosc2(cname="zstd", clevel=1, filters=hdf5plugin.Blosc2.NOFILTER),
    )


def _divide(length: int, at_most: int) -> int:
    """Return the length of the fewest equal parts of ``length`` that are no longer than ``at_most``."""
    return -(-length // -(-length // at_most))


def tile_size(shape: tuple[int, ...]) -> tuple[int, int]:
    """Return the height and width of the tiles of entries of a shape, (H, W, 3) or (T, H, W, 3)."""
    n_frames, height, width = (shape if len(shape) == 4 else (1, *shape))[:3]
    return _divide(height, max(MAX_TILE_HEIGHT, MAX_TILE_ROWS // n_frames)), _divide(width, MAX_TILE_WIDTH)


def append_tiles(dataset: h5py.Dataset, frames: NDArray[np.uint8]) -> None:
    """Write one more entry of a data set that `create_tiles` made.

    Parameters
    ----------
    dataset : h5py.Dataset
        The data set; it grows by one.
    frames : (H, W, 3) or (T, H, W, 3) ndarray of uint8
        The entry.
    """
    append_packed(dataset, pack_frames(frames))


def pack_frames(frames: NDArray[np.uint8]) -> tuple[bytes, ...]:
    """Return the tiles of an entry, (H, W, 3) or (T, H, W, 3), row by row, as a data set of `create_tiles` stores them.

    Each is compressed, and ends in its Fletcher-32 checksum.
    """
    tile_height, tile_width = tile_size(frames.shape)
    packed = []
    for y, x in _corners(frames.shape, (tile_height, tile_width)):
        tile = frames[..., y : y + tile_height, x : x + tile_width, :]
        missing = (tile_height - tile.shape[-3], tile_width - tile.shape[-2])
        if any(missing):  # HDF5 stores whole tiles; what lies beyond the frame is never read
            padding = [(0, 0)] * (tile.ndim - 3) + [(0, missing[0]), (0, missing[1]), (0, 0)]
            tile = np.pad(tile, padding, mode="edge")
        stored = compress_tile(np.ascontiguousarray(tile))
        packed.append(stored + fletcher32(stored))
    return tuple(packed)


def append_packed(dataset: h5py.Dataset, tiles: Sequence[bytes]) -> None:
    """Write one more entry of a data set that `create_tiles` made, of the tiles that `pack_frames` gives."""
    index = len(dataset)
    dataset.resize(index + 1, axis=0)
    *leading, tile_height, tile_width, _ = dataset.chunks
    corners = _corners(dataset.shape, (tile_height, tile_width))
    writer = dataset.id
    for (y, x), stored in zip(corners, tiles, strict=True):
        writer.write_direct_chunk((index, *(0,) * (len(leading) - 1), y, x, 0), stored)


def _corners(shape: tuple[int, ...], size: tuple[int, int]) -> list[tuple[int, int]]:
    """Return row and column of the first pixel of every tile, row by row, of frames (..., H, W, 3)."""
    height, width = shape[-3:-1]
    return [(y, x) for y in range(0, height, size[0]) for x in range(0, width, size[1])]


def compress_tile(tile: NDArray[np.uint8]) -> bytes:
    """Compress a tile as a Blosc2 frame, losslessly.

    Zstandard codes each pixel's difference from the one above it. Tiles in which little moves are stored by LZ4 as they
    are, where that is not much larger.

    Parameters
    ----------
    tile : (..., h, w, 3) ndarray of uint8
        At most 85 pixels wide.

    Returns
    -------
    bytes
        A contiguous Blosc2 frame of one chunk, which the HDF5 filter 32026 decodes.
    """
    import blosc2

    limit = LZ4_ALLOWANCE * tile.nbytes
    lz4 = _compress(tile, blosc2.Codec.LZ4, 5, (), 1) if _share_repeated(tile) >= LZ4_MIN_REPEATED else None
    if lz4 is not None and len(lz4) <= limit:
        return _framed(lz4, tile.nbytes)
    row = tile.shape[-2] * tile.shape[-1]
    zstd = _compress(tile, blosc2.Codec.ZSTD, 1, (blosc2.Filter.SHUFFLE, blosc2.Filter.BYTEDELTA), row)
    if lz4 is None and len(zstd) > _INCOMPRESSIBLE * tile.nbytes:
        lz4 = _compress(tile, blosc2.Codec.LZ4, 5, (), 1)
    return _framed(zstd if lz4 is None or len(lz4) > len(zstd) + limit else lz4, tile.nbytes)


def _share_repeated(tile: NDArray[np.uint8]) -> float:
    """Estimate the share of a tile's 4-byte words that equal those of the frame before, or of four pixels before.

    Of narrower tiles, which have no such words, 1.
    """
    *leading, height, width, channels = tile.shape
    row = width * channels
    if row < 2 * _WORD_BYTES:
        return 1.0
    rows = tile.reshape(-1, height, row)[:, ::_SAMPLED_ROWS, : row - row % _WORD_BYTES]
    words = np.ascontiguousarray(rows).view(np.uint32)
    is_repeated = np.zeros(words.shape, dtype=np.bool_)
    before = _WORD_BYTES // words.itemsize
    is_repeated[..., before:] = words[..., before:] == words[..., :-before]
    if leading:
        is_repeated[1:] |= words[1:] == words[:-1]
    return np.count_nonzero(is_repeated) / is_repeated.size


def _compress(tile: NDArray[np.uint8], codec: object, level: int, filters: tuple[object, ...], element: int) -> bytes:
    import blosc2

    compressed: bytes = blosc2.compress2(
        tile,
        codec=codec,
        clevel=level,
        filters=list(filters) or [blosc2.Filter.NOFILTER],
        filters_meta=[0] * max(1, len(filters)),
        typesize=element,
        blocksize=tile.nbytes,
        nthreads=1,
    )
    return compressed


def _framed(chunk: bytes, n_bytes: int) -> bytes:
    header, trailer = _frame_parts(n_bytes)
    framed = bytearray(header + chunk + trailer)
    struct.pack_into(">q", framed, _FRAME_SIZE_OFFSET, len(framed))
    struct.pack_into(">q", framed, _CHUNK_SIZE_OFFSET, len(chunk))
    return bytes(framed)


@lru_cache
def _frame_parts(n_bytes: int) -> tuple[bytes, bytes]:
    """Return what stands before and after the only chunk of a Blosc2 frame.

    The library takes five times as long to make a frame as to fill one in.

    References
    ----------
    .. [1] "Blosc2 Contiguous Frame Format", README_CFRAME_FORMAT of c-blosc2.
    """
    import blosc2

    chunk = _compress(np.zeros(n_bytes, np.uint8), blosc2.Codec.LZ4, 0, (), 1)
    settings = {"codec": blosc2.Codec.ZSTD, "clevel": 1, "filters": [blosc2.Filter.NOFILTER], "filters_meta": [0]}
    threads = {"nthreads": 1}  # both numbers are in the frame, and by default they are those of the machine's cores
    frame = blosc2.SChunk(n_bytes, contiguous=True, cparams={**settings, **threads, "typesize": 1}, dparams=threads)
    frame.insert_chunk(0, chunk)
    before, after = frame.to_cframe().split(chunk)
    return before, after


def fletcher32(data: bytes) -> bytes:
    """Return the Fletcher-32 checksum of ``data`` as HDF5 appends it to a chunk.

    Sums run over big-endian 16-bit words, an odd last byte counting as a word's upper half; a sum is 0 only where all
    words are.

    References
    ----------
    .. [1] Fletcher, "An Arithmetic Checksum for Serial Transmissions", IEEE Trans. Communications 30(1), 1982.
    """
    words = np.frombuffer(data + b"\0" * (len(data) % 2), dtype=">u2").astype(np.float64)
    first = second = 0
    for start in range(0, len(words), len(_FLETCHER_WEIGHTS)):
        block = words[start : start + len(_FLETCHER_WEIGHTS)]
        second += first * len(block) + int(block @ _FLETCHER_WEIGHTS[-len(block) :])
        first += int(block.sum())
    halves = [(total - 1) % 0xFFFF + 1 if total else 0 for total in (first, second)]
    return (halves[1] << 16 | halves[0]).to_bytes(_FLETCHER_BYTES, "little")
