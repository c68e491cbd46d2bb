"""Flip bits of a data set at random, and count what ``rb2v verify`` finds.

Run it with ``python tests/benchmarks/check_flips.py``: every flip hits a copy of the same shard, frames, tables and
all, and ``verify`` reads the copies as one data set. What it calls lost is compared with what plain
h5py reads. Ends with status 1 if a flip was missed, or cost other samples than it says.
"""

import argparse
import dataclasses
import sys
import tempfile
from collections import Counter
from pathlib import Path

import h5py
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
from rb2v.shards.layout import CHECKSUM_NAME, FRAME_NAMES, NUMBER_TYPES, TEXT_NAMES
from rb2v.stages import build_shards

N_SAMPLES = 4
SIZE = 96
NAMES = (*FRAME_NAMES, *TEXT_NAMES, *NUMBER_TYPES, CHECKSUM_NAME)


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


def read_rows(path):
    """Return what plain h5py reads of every sample, None of those that it cannot read."""
    rows = []
    try:
        with h5py.File(path) as file:
            for row in range(N_SAMPLES):
                try:
                    values = {name: (file[name].asstr() if name in TEXT_NAMES else file[name])[row] for name in NAMES}
                    rows.append({name: np.asarray(value).tobytes() for name, value in values.items()})
                except (AttributeError, OSError, RuntimeError, KeyError, TypeError, ValueError):
                    rows.append(None)
    except (OSError, RuntimeError):
        return [None] * N_SAMPLES
    return rows


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--flips", type=int, default=2000)
    options = parser.parse_args()
    rng = np.random.default_rng(0)
    with tempfile.TemporaryDirectory() as name:
        root, folder = Path(name), Path(name) / "shards"
        entry = write_sound_shard(root)
        sound, sound_rows = (root / entry.file).read_bytes(), read_rows(root / entry.file)
        folder.mkdir()
        entries, lost = [], {}
        for index in range(options.flips):
            damaged = bytearray(sound)
            damaged[rng.integers(len(sound))] ^= 1 << rng.integers(8)
            path = folder / f"train-{index:05d}.h5"
            path.write_bytes(damaged)
            entries.append(dataclasses.replace(entry, file=path.name))
            changed = zip(read_rows(path), sound_rows, strict=True)
            lost[path.name] = tuple(row for row, (found, wanted) in enumerate(changed) if found != wanted)
        provenance = Provenance("flips", {}, None, {}, "srgb")
        splits = {"train": SplitEntry(tuple(entries), {"street": N_SAMPLES * options.flips})}
        write_manifest(folder, Manifest("flips", (SIZE, SIZE), Crop(0, 0, SIZE, SIZE), splits, provenance))
        named = {fault.file: fault.rows for fault in verify(folder, executor=make_executor())}
    wrong = [name for name, rows in lost.items() if named.get(name) != rows]
    print(
        f"{len(sound)} bytes a shard; {len(named)} of {options.flips} flips found, {len(wrong)} with other samples lost"
    )
    for n_rows, n_shards in sorted(Counter(len(rows) for rows in lost.values()).items()):
        print(f"{n_shards} cost {n_rows} of {N_SAMPLES} samples")
    sys.exit(0 if len(named) == options.flips and not wrong else 1)


if __name__ == "__main__":
    main()
