"""How shards are best stored: size, writing and reading of the same samples under several filters and tiles.

Run it with ``python tests/benchmarks/bench_shard_format.py --shards DIR`` on samples of any data set; without, a small
session is simulated and aligned. Each line is an HDF5 file of the same samples, with a checksum per chunk, read through
plain h5py; sizes are shares of the PNG files that ``cv2.imwrite`` makes of the frames. One thread, everything in the
page cache.
"""

import argparse
import tempfile
import time
from pathlib import Path

import cv2
import h5py
import hdf5plugin
import numpy as np
from simulated_session import frames_of, make_shards, spread_samples
from threadpoolctl import threadpool_limits

from rb2v.shards import tiles

CROP = 256
REPEATS = 3


def time_best(function):
    times = []
    for _ in range(REPEATS):
        start = time.perf_counter()
        function()
        times.append(time.perf_counter() - start)
    return min(times)


def measure_png(samples, corners):
    encoded = []
    write = time_best(lambda: encoded.append([cv2.imencode(".png", frame[..., ::-1])[1] for frame in flat(samples)]))
    read = time_best(lambda: [cv2.imdecode(data, cv2.IMREAD_COLOR) for data in encoded[0]])
    print_line("PNG, cv2's default", 1.0, write, read, read, len(samples))
    return sum(len(data) for data in encoded[0])


def flat(samples):
    return samples.reshape(-1, *samples.shape[2:])


def measure(label, path, samples, corners, png_bytes, create, append):
    def write():
        with h5py.File(path, "w", libver=("v110", "v112")) as file:
            blurry, sharp = (create(file, name, samples[0, part].shape) for name, part in parts)
            for sample in samples:
                append(blurry, sample[0])
                append(sharp, sample[1:])

    parts = (("blurry", 0), ("sharp", slice(1, None)))
    write_seconds = time_best(write)
    height, width = samples.shape[2:4]
    with h5py.File(path, locking=False, rdcc_nbytes=0) as file:
        blurry, sharp = file["blurry"], file["sharp"]
        for index, sample in enumerate(samples):
            assert np.array_equal(sharp[index], sample[1:])
            assert np.array_equal(blurry[index], sample[0])

        def read(size, places):
            for index, (y, x) in enumerate(places):
                blurry[index, y : y + size[0], x : x + size[1]]
                sharp[index, :, y : y + size[0], x : x + size[1]]

        crop = time_best(lambda: read((CROP, CROP), corners))
        whole = time_best(lambda: read((height, width), np.zeros_like(corners)))
    print_line(label, path.stat().st_size / png_bytes, write_seconds, whole, crop, len(samples))


def print_line(label, share, write, whole, crop, n_samples):
    milliseconds = [1000 * seconds / n_samples for seconds in (write, whole, crop)]
    print(f"{label:48s} {share:9.2f} " + " ".join(f"{value:9.1f}" for value in milliseconds), flush=True)


def plain(chunk_of, **compression):
    def create(file, name, shape):
        chunks = (1, *chunk_of(shape))
        return file.create_dataset(
            name, (0, *shape), np.uint8, maxshape=(None, *shape), chunks=chunks, fletcher32=True, **compression
        )

    def append(dataset, frames):
        dataset.resize(len(dataset) + 1, axis=0)
        dataset[len(dataset) - 1] = frames

    return create, append


def one_frame(shape):
    return (*(1,) * (len(shape) - 3), *shape[-3:])


def one_tile(shape):
    return (*shape[:-3], min(64, shape[-3]), min(64, shape[-2]), 3)


def ours(
    allowance=tiles.LZ4_ALLOWANCE,
    least=tiles.LZ4_MIN_REPEATED,
    height=tiles.MAX_TILE_HEIGHT,
    width=tiles.MAX_TILE_WIDTH,
):
    def create(*arguments):
        tiles.MAX_TILE_HEIGHT, tiles.MAX_TILE_WIDTH = height, width
        return tiles.create_tiles(*arguments)

    def append(*arguments):
        tiles.LZ4_ALLOWANCE = allowance
        tiles.LZ4_MIN_REPEATED = least
        tiles.append_tiles(*arguments)

    return create, append


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--shards", type=Path)
    parser.add_argument("--samples", type=int, default=24)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    with tempfile.TemporaryDirectory() as name, threadpool_limits(1):
        root = Path(name)
        samples = frames_of(spread_samples(options.shards or make_shards(root), options.samples))
        limits = np.array(samples.shape[2:4]) - CROP + 1
        corners = np.random.default_rng(1).integers(0, limits, (len(samples), 2))
        print(f"{len(samples)} samples of {samples.shape[1:]}, {samples[0].nbytes / 1e6:.1f} MB each; ms a sample")
        print(f"{'':48s} {'size/PNG':>9s} {'write':>9s} {'read':>9s} {'crop':>9s}")
        png_bytes = measure_png(samples, corners)
        plugin = hdf5plugin
        variants = {
            "frames, Blosc LZ4": plain(one_frame, **plugin.Blosc(cname="lz4", clevel=5, shuffle=1)),
            "frames, Blosc Zstandard 1": plain(one_frame, **plugin.Blosc(cname="zstd", clevel=1, shuffle=1)),
            "frames, HTJ2K": plain(one_frame, **plugin.Htj2k()),
            "tiles of 64x64, Bitshuffle LZ4": plain(one_tile, **plugin.Bitshuffle(cname="lz4")),
            "tiles of 64x64, Blosc2 Zstandard 1": plain(
                one_tile, **plugin.Blosc2(cname="zstd", clevel=1, filters=plugin.Blosc2.NOFILTER)
            ),
            "tiles of 64x64, LZ4": ours(allowance=1e9, least=0),
            "tiles of 64x64, predicted Zstandard 1": ours(allowance=-1e9, least=2),
            "tiles of 64x64, LZ4 where it may": ours(least=0),
            "the same, LZ4 tried where words repeat (as stored)": ours(),
            "the same, 32x64": ours(height=32),
            "the same, 64x32": ours(width=32),
            "the same, 128x64": ours(height=128),
        }
        for label, (create, append) in variants.items():
            measure(label, root / "samples.h5", samples, corners, png_bytes, create, append)


if __name__ == "__main__":
    main()
