"""One long take on several workers: processor time of every task, and the schedule that follows for 1 to 16 workers.

The take is aligned cut, its tasks one after the other in this process, and each is timed by its processor time, so that
other work on the machine counts little. One worker is given the same tasks: a whole take is spared what pieces decode
twice, a hundredth of the time. Workers take the tasks of a step in order, each when it is free, and wait for each other
between the steps. A worker's start, measured once, is added once, as workers stay. Then every task waits for a while
before it begins, drawn at random, as a busy cluster would have it. The longest idle share is that of the worker that
has least to do, over all steps of several tasks.

Run it with ``python tests/benchmarks/bench_ranges.py --raw-dir RAW --calibration CALIBRATION``; without, a street take
of 60 s at 400x320 is simulated, 256x256 in the output.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import yaml
from bench_alignment import RIG

from rb2v.simulator import SimulateConfig, simulate
from rb2v.stages import align, calibrate

CHANGES = {"output_size": [256, 256], "search_range_seconds": 0.25}
N_WORKERS = (2, 4, 8, 16)
STEPS = ("cutting", "pieces", "windows", "ranges", "joining")
MAX_LATENCY_SECONDS = 2.0  # as long as most tasks
N_DRAWS = 20


class TimedExecutor:
    """Do everything here, and note how long it takes, step by step."""

    def __init__(self):
        self.steps = []

    def map(self, fn, items):
        seconds = []
        self.steps.append(seconds)
        for item in items:
            start = time.process_time()
            result = fn(item)
            seconds.append(time.process_time() - start)
            yield result


def make_session(root, seconds):
    (root / "rig.yaml").write_text(yaml.safe_dump(RIG | CHANGES))
    size = {"size": (400, 320), "seconds": seconds, "categories": ("street",), "test_takes": False}
    simulate(root / "raw", SimulateConfig(rig=str(root / "rig.yaml"), **size))
    calibrate.run(root / "raw", root / "calibration.json")
    return root / "raw", root / "calibration.json"


def start_seconds():
    """Return what a worker takes to load the program."""
    before = os.times()
    subprocess.run([sys.executable, "-c", "import rb2v.stages.align.stage"], check=True)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def schedule(tasks, n_workers):
    """Return when each worker is done."""
    free = [0.0] * n_workers
    for seconds in tasks:
        first = free.index(min(free))
        free[first] += seconds
    return free


def idle_shares(steps, n_workers, rng):
    """Return for how much of the time workers wait for others, on average and the least busy one, with latency."""
    busy, total = np.zeros(n_workers), 0.0
    for tasks in steps:
        if len(tasks) > 1:
            ends = schedule(np.array(tasks) + rng.uniform(0, MAX_LATENCY_SECONDS, len(tasks)), n_workers)
            busy, total = busy + np.sort(ends), total + max(ends)
    return 1 - busy.mean() / total, 1 - busy.min() / total


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--raw-dir", type=Path)
    parser.add_argument("--calibration", type=Path)
    parser.add_argument("--seconds", type=float, default=60.0, help="of the simulated take")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        raw, calibration = options.raw_dir, options.calibration
        if raw is None:
            raw, calibration = make_session(root, options.seconds)
        executor = TimedExecutor()
        align.run(raw, calibration, root / "cut", execution=align.Execution(executor=executor))
    start = start_seconds()
    print(f"start of a worker: {start:.1f} s")
    for name, tasks in zip(STEPS, executor.steps, strict=True):
        print(f"{name}: {len(tasks)} tasks, {sum(tasks):.1f} s of processor, the longest {max(tasks):.1f} s")
    alone, rng = start + sum(map(sum, executor.steps)), np.random.default_rng(0)
    for n_workers in N_WORKERS:
        total = start + sum(max(schedule(tasks, n_workers)) for tasks in executor.steps)
        print(f"{n_workers} workers: {total:.1f} s, {alone / total:.2f} times as fast as one")
    mean, worst = np.transpose([idle_shares(executor.steps, 8, rng) for _ in range(N_DRAWS)])
    waits = f"workers wait for {mean.mean():.0%} on average, one for {worst.max():.0%} at most"
    print(f"8 workers with up to {MAX_LATENCY_SECONDS:g} s before every task: {waits}")


if __name__ == "__main__":
    main()
