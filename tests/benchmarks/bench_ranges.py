"""One long take on several workers: processor time of every task, and the schedule that follows for 1 to 16 workers.

The take is aligned once, its ranges one after the other in this process, and each task is timed by its processor time,
so that other work on the machine counts little. Workers take the tasks of a step in order, each when it is free, and
wait for each other between the steps. A worker's start, measured once, is added to every step, as each begins with new
processes.

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

import yaml
from bench_alignment import RIG

from rb2v.simulator import SimulateConfig, simulate
from rb2v.stages import align, calibrate

CHANGES = {"output_size": [256, 256], "search_range_seconds": 0.25}
N_WORKERS = (1, 2, 4, 8, 16)


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


def makespan(tasks, n_workers):
    free = [0.0] * n_workers
    for seconds in tasks:
        first = free.index(min(free))
        free[first] += seconds
    return max(free)


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
        align.run(raw, calibration, root / "aligned", execution=align.Execution(executor=executor))
    start = start_seconds()
    for name, tasks in zip(("windows", "ranges", "joining"), executor.steps, strict=False):
        print(f"{name}: {len(tasks)} tasks, {sum(tasks):.1f} s of processor, the longest {max(tasks):.1f} s")
    print(f"start of a worker: {start:.1f} s")
    alone = start + sum(map(sum, executor.steps))
    for n_workers in N_WORKERS:
        steps = [makespan(tasks, n_workers) for tasks in executor.steps]
        total = alone if n_workers == 1 else sum(steps) + start * len(steps)
        print(f"{n_workers} workers: {total:.1f} s, {alone / total:.2f} times as fast as one")


if __name__ == "__main__":
    main()
