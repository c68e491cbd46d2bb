"""Kill builds of shards at any moment: they go on to the same bytes, and leave nothing behind.

Run it with ``python tests/benchmarks/check_kills.py --kills 200``. Every third kill comes just before a file is
renamed, every third just after, the others at a random time; a build is killed several times before it may finish.
Then two writers of one shard are killed while they write it over and over: what lies under its name is always whole.
"""

import argparse
import os
import signal
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import numpy as np
import yaml
from bench_alignment import RIG

from rb2v.shards import ShardSample, write_shard
from rb2v.simulator import SimulateConfig, simulate
from rb2v.stages import align, build_shards, calibrate

CONFIG = build_shards.BuildShardsConfig(shard_samples=4)
MOMENTS = ("before a rename", "after a rename", "at a random time")
# The shards of the session, config.json and manifest.json.
MOST_RENAMES = 8
MOST_KILLS_OF_A_BUILD = 8


def fork(work):
    """Run some work in a child of its own, which shares what is imported, and return its process id."""
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        status = 1
        try:
            work()
            status = 0
        finally:
            os._exit(status)
    return child


def finish(child):
    """Wait for a child, and return whether it was killed; an error of its own ends the check."""
    _, status = os.waitpid(child, 0)
    assert status in (0, signal.SIGKILL), f"a child failed with status {status}"
    return status == signal.SIGKILL


def make_session(root):
    """Write, calibrate and align small takes, one of them before a green screen."""
    (root / "rig.yaml").write_text(yaml.safe_dump(RIG | {"output_size": [96, 96], "search_range_seconds": 0.1}))
    config = SimulateConfig(
        rig=str(root / "rig.yaml"), size=(192, 160), seconds=0.6, categories=("street", "hand"), test_takes=False
    )
    simulate(root / "raw", config)
    calibrate.run(root / "raw", root / "calibration.json")
    align.run(root / "raw", root / "calibration.json", root / "aligned")


def tree_bytes(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def die_at_rename(index, *, before):
    """Have this process killed at one of its renames."""
    replace, calls = os.replace, []

    def replace_or_die(source, target, **folders):
        calls.append(target)
        if before and len(calls) == index:
            os.kill(os.getpid(), signal.SIGKILL)
        replace(source, target, **folders)
        if len(calls) == index:
            os.kill(os.getpid(), signal.SIGKILL)

    os.replace = replace_or_die


def build(aligned, out):
    build_shards.run(aligned, out, CONFIG)


def check_builds(aligned, root, n_kills, rng):
    """Kill builds, and return how many were killed at which moments, and how many were compared."""
    start = time.monotonic()
    assert not finish(fork(lambda: build(aligned, root / "whole")))
    seconds = time.monotonic() - start
    expected = tree_bytes(root / "whole")
    assert len(expected) <= MOST_RENAMES + 2
    print(f"a build of {len(expected) - 2} shards takes {seconds:.2f} s", flush=True)
    counts = Counter()
    n_builds = 0
    while counts.total() < n_kills:
        out = root / f"build-{n_builds}"
        for _ in range(int(rng.integers(1, MOST_KILLS_OF_A_BUILD))):
            moment = MOMENTS[counts.total() % len(MOMENTS)]
            index = int(rng.integers(1, MOST_RENAMES))

            def build_and_die(out=out, moment=moment, index=index):
                if moment != MOMENTS[2]:
                    die_at_rename(index, before=moment == MOMENTS[0])
                build(aligned, out)

            child = fork(build_and_die)
            if moment == MOMENTS[2]:
                time.sleep(rng.uniform(0, seconds))
                os.kill(child, signal.SIGKILL)
            counts[moment] += finish(child)
        assert not finish(fork(lambda out=out: build(aligned, out)))
        found = tree_bytes(out)
        assert found.keys() == expected.keys(), sorted(found)
        assert found == expected, [name for name in found if found[name] != expected[name]]
        n_builds += 1
    return counts, n_builds


def make_samples():
    rng = np.random.default_rng(1)
    for index in range(4):
        frames = rng.integers(0, 256, (8, 96, 96, 3), dtype=np.uint8)
        color = np.eye(3, 4, dtype=np.float32)
        yield ShardSample(frames[0], frames[1:], color, "take", "anna", "street", index, 8 * index, 30.0)


def check_writers(root, n_kills, rng):
    """Kill two writers of one shard in turns, and return how often the shard was looked at."""
    path = root / "shard" / "train-00000.h5"
    start = time.monotonic()
    assert not finish(fork(lambda: write_shard(root / "whole.h5", make_samples())))
    seconds = time.monotonic() - start
    expected = (root / "whole.h5").read_bytes()

    def write_for_ever():
        while True:
            write_shard(path, make_samples())

    writers = [fork(write_for_ever) for _ in range(2)]
    n_looks = 0
    for index in range(n_kills):
        deadline = time.monotonic() + rng.uniform(0, 6 * seconds)
        while time.monotonic() < deadline:
            if path.exists():
                assert path.read_bytes() == expected
                n_looks += 1
        os.kill(writers[index % 2], signal.SIGKILL)
        assert finish(writers[index % 2])
        writers[index % 2] = fork(write_for_ever)
    for writer in writers:
        os.kill(writer, signal.SIGKILL)
        assert finish(writer)
    assert not finish(fork(lambda: write_shard(path, make_samples())))
    assert tree_bytes(path.parent) == {path.name: expected}
    return n_looks


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=200, help="number of builds, and of writers, to kill")
    parser.add_argument("--aligned", type=Path, help="a folder that 'rb2v align' wrote; a simulated one by default")
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    rng = np.random.default_rng(arguments.seed)
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        if arguments.aligned is None:
            # In a child: threads of libraries do not come along to the children of a process that has started them.
            assert not finish(fork(lambda: make_session(root)))
        counts, n_builds = check_builds(arguments.aligned or root / "aligned", root, arguments.kills, rng)
        for moment in MOMENTS:
            print(f"{counts[moment]} kills {moment}")
        print(f"{n_builds} builds compared: the same bytes, nothing left")
        n_looks = check_writers(root, arguments.kills, rng)
        print(f"{arguments.kills} kills of two writers of one shard, looked at {n_looks} times: always whole")


if __name__ == "__main__":
    main()
