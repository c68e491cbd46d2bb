"""What building shards spends its time on, and what a second process brings.

Run it with ``python tests/benchmarks/bench_build.py --aligned DIR`` on a folder that ``rb2v align`` wrote; without, a
session is simulated and aligned. Copies of one take that has no green screen are built into shards, once in one process
under a profiler, once without, and once in two processes; with the time that the processes take to start, and without.
"""

import argparse
import cProfile
import dataclasses
import pstats
import shutil
import tempfile
import time
from pathlib import Path

import cv2
import h5py
from simulated_session import make_aligned
from threadpoolctl import threadpool_limits

from rb2v.execution import ProcessExecutor, SerialExecutor
from rb2v.io.aligned import AlignedTakeReader, aligned_take_path, read_aligned_manifest, write_aligned_manifest
from rb2v.stages import build_shards

CONFIG = build_shards.BuildShardsConfig(shard_samples=32)
# By parts of the names under which the profiler knows functions; each counts with what it calls.
PARTS = {
    "compression (Blosc2)": ("compress2",),
    "checksums (CRC-32, SHA-256, Fletcher-32)": ("crc32", "_hashlib", "fletcher32"),
    "reading aligned takes (h5py)": ("__getitem__",),
    "writing (write, fsync)": ("_io.FileIO' objects", "posix.fsync", "write_direct_chunk"),
}


def copy_takes(source, target, n_copies):
    """Copy the first take without a green screen under other names."""
    manifest = read_aligned_manifest(source)
    for name in manifest.takes:
        with AlignedTakeReader(aligned_take_path(source, name)) as reader:
            if not reader.green_screen and len(reader):
                break
    names = tuple(f"copy_{index:02d}" for index in range(n_copies))
    for copy in names:
        path = aligned_take_path(target, copy)
        path.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(aligned_take_path(source, name), path)
        with h5py.File(path, "a") as file:
            file.attrs["take"] = copy
    write_aligned_manifest(target, dataclasses.replace(manifest, takes=names))
    return target


def build(aligned, out, n_workers):
    """Return samples per second, of the whole build and from the time when every worker has written its first shard."""
    executor = SerialExecutor() if n_workers == 1 else ProcessExecutor(n_workers)
    start = time.perf_counter()
    marks = []
    build_shards.run(
        aligned, out, CONFIG, executor=executor, progress=lambda done, _: marks.append((done, time.perf_counter()))
    )
    seconds = time.perf_counter() - start
    shutil.rmtree(out)
    (first_done, first_time), (done, end) = marks[n_workers - 1], marks[-1]
    return done / seconds, (done - first_done) / (end - first_time)


def print_profile(aligned, out):
    profile = cProfile.Profile()
    profile.enable()
    build_shards.run(aligned, out, CONFIG)
    profile.disable()
    shutil.rmtree(out)
    entries = pstats.Stats(profile).stats
    total = sum(own for _, _, own, _, _ in entries.values())
    named = 0.0
    for label, functions in PARTS.items():
        found = [entry for (_, _, name), entry in entries.items() if any(part in name for part in functions)]
        seconds = sum(cumulative for _, _, _, cumulative, _ in found)
        named += seconds
        print(f"{label:44s} {100 * seconds / total:5.1f} %")
    print(f"{'everything else':44s} {100 * (1 - named / total):5.1f} %")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--aligned", type=Path)
    parser.add_argument("--copies", type=int, default=6)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, threadpool_limits(1):
        cv2.setNumThreads(1)
        root = Path(name)
        aligned = copy_takes(options.aligned or make_aligned(root, seconds=2.0), root / "aligned", options.copies)
        print_profile(aligned, root / "shards")
        serial, parallel = build(aligned, root / "shards", 1), build(aligned, root / "shards", 2)
        for label, one, two in zip(("with its start", "once it runs"), serial, parallel, strict=True):
            print(f"{label:16s} one process {one:5.1f} samples/s, two {two:5.1f}: {two / one:.2f} times as many")


if __name__ == "__main__":
    main()
