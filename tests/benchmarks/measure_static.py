"""Measure the threshold of static pixels in motion guidance: what DIS sees where nothing moves, and what copying costs.

Usage: python tests/benchmarks/measure_static.py SHARDS [VIDEO ...]

SHARDS is a data set of ``rb2v simulate-shards``; each VIDEO is a clip of a static camera.
"""

from __future__ import annotations

import argparse
from itertools import islice, pairwise
from pathlib import Path

import numpy as np

from rb2v.interpolation.dense_flow import mean_flow
from rb2v.io.video import iter_frames
from rb2v.shards import ShardReader

N_FRAMES = 7  # of a sequence
THRESHOLDS_PX = (0.25, 0.5, 1.0, 2.0, 4.0)  # of motion over a sequence
NOISE_LEVELS = (0.7, 2.0, 4.0)  # of 255, standard deviation; 0.7 is that of simulated sequences


def lengths(sharp):
    """Return how far each pixel moves over a sequence, by DIS."""
    return np.linalg.norm(mean_flow(sharp), axis=-1) * (len(sharp) - 1)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shards", type=Path)
    parser.add_argument("videos", type=Path, nargs="*")
    options = parser.parse_args()
    reader = ShardReader(options.shards, "test")
    chosen = range(0, len(reader), max(len(reader) // 40, 1))
    rng = np.random.default_rng(0)
    print("static scenes: share of pixels above a threshold, %")
    print("noise ", *(f"{limit:6.2f} px" for limit in THRESHOLDS_PX))
    for level in NOISE_LEVELS:
        moved = []
        for index in chosen:
            still = np.repeat(reader.read_sharp(index, [3]).astype(np.float32), N_FRAMES, axis=0)
            noisy = np.clip(np.rint(still + level * rng.standard_normal(still.shape)), 0, 255).astype(np.uint8)
            moved.append(lengths(noisy))
        print(f"{level:5.1f} ", *(f"{100 * np.mean(np.array(moved) >= limit):9.2f}" for limit in THRESHOLDS_PX))
    for path in options.videos:
        frames = [frame.image for frame in islice(iter_frames([path]), 3 * N_FRAMES)]
        moved = [lengths(np.stack(frames[start : start + N_FRAMES])) for start in range(0, len(frames) - N_FRAMES, 5)]
        print(f"{path.name}:", *(f"{100 * np.mean(np.array(moved) >= limit):9.2f}" for limit in THRESHOLDS_PX))
    print("PSNR of the blurry image against the first and the last frame, by a pixel's motion, dB")
    edges = (0.0, *THRESHOLDS_PX, 8.0, 16.0)
    errors = [[] for _ in edges[1:]]
    for index in range(0, len(reader), max(len(reader) // 120, 1)):
        sharp, blurry = reader.read_sharp(index), reader.read_blurry(index).astype(np.float64)
        moved = lengths(sharp)
        square = np.mean([(blurry - sharp[k]) ** 2 for k in (0, -1)], axis=(0, -1))
        for place, (low, high) in enumerate(pairwise(edges)):
            errors[place].append(square[(moved >= low) & (moved < high)])
    for (low, high), found in zip(pairwise(edges), errors, strict=True):
        values = np.concatenate(found)
        if len(values):
            print(f"{low:5.2f} to {high:5.2f} px: {10 * np.log10(255**2 / values.mean()):6.2f} ({len(values)} pixels)")


if __name__ == "__main__":
    main()
