"""Flip bits of a data set at random, and count what ``rb2v verify`` finds.

Run it with ``python tests/benchmarks/check_flips.py``: every flip hits a copy of the same shard, frames, tables and
all, and ``verify`` reads the copies as one data set. Ends with status 1 if one was missed.
"""

import argparse
import dataclasses
import sys
import tempfile
from collections import Counter
from pathlib import Path

import numpy as np
from simulated_session import frames_of, make_aligned, spread_samples

from rb2v.artifacts import Crop
from rb2v.execution import make_executor
from rb2v.shards import (
    Manifest,
    Provenance,
    ShardSample,
    SplitEntry,
    verify,
    write_manifest,
    write_shard,
)
from rb2v.stages import build_shards

N_SAMPLES = 4
SIZE = 96


def write_sound_shard(root):
    build_shards.run(make_aligned(root / "session"), root / "whole")
    frames = frames_of(spread_samples(root / "whole", N_SAMPLES))[:, :, 100 : 100 + SIZE, 100 : 100 + SIZE]
    samples = [
        ShardSample(
            blurry=sequence[0],
            sharp=sequence[1:],
            color=np.eye(3, 4, dtype=np.float32),
            take="take",
            subject="subject",
            category="street",
            blurry_index=index,
            position=8 * index,
            psnr=30.0,
        )
        for index, sequence in enumerate(frames)
    ]
    return write_shard(root / "sound.h5", samples)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--flips", type=int, default=2000)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as name:
        root, folder = Path(name), Path(name) / "shards"
        entry = write_sound_shard(root)
        sound = (root / entry.file).read_bytes()
        folder.mkdir()
        entries = []
        for index in range(options.flips):
            damaged = bytearray(sound)
            damaged[rng.integers(len(sound))] ^= 1 << rng.integers(8)
            entries.append(dataclasses.replace(entry, file=f"train-{index:05d}.h5"))
            (folder / entries[-1].file).write_bytes(damaged)
        provenance = Provenance("flips", {}, None, {}, "srgb")
        splits = {"train": SplitEntry(tuple(entries), {"street": N_SAMPLES * options.flips})}
        write_manifest(folder, Manifest("flips", (SIZE, SIZE), Crop(0, 0, SIZE, SIZE), splits, provenance))
        faults = verify(folder, executor=make_executor())
    found = {fault.file for fault in faults}
    lost = Counter(len(fault.rows) for fault in faults)
    print(f"{len(sound)} bytes a shard; {len(found)} of {options.flips} flips found")
    for n_rows, n_shards in sorted(lost.items()):
        print(f"{n_shards} cost {n_rows} of {N_SAMPLES} samples")
    sys.exit(0 if len(found) == options.flips else 1)


if __name__ == "__main__":
    main()
