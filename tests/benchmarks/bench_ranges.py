"""One long take on several workers: processor time of every task, the schedule that follows, and one on a cluster.

The take is aligned cut, its tasks one after the other in this process, and each is timed by its processor time, so that
other work on the machine counts little. One worker is given the same tasks: a whole take is spared what pieces decode
twice, a hundredth of the time. Workers take the tasks of a step in order, each when it is free, and wait for each other
between the steps. A worker's start, measured once, is added once, as workers stay.

Then eight processes of a Dask cluster align the take. Before each task they sleep for a while, drawn at random, as
storage and network of a busy cluster would have it. They share the cores of this machine, so that tasks take longer
than on cores of their own, and the more the more of them run. So the same cluster is given tasks that sleep as long as
those timed above, with the same latency: its schedule is that of eight cores. For each step of several tasks it prints
how long each worker has nothing to do, and how long the first one to be done waits for the last. Where that is longer
than the longest task, a task waited behind another one while a worker had nothing to do.

Run it with ``python tests/benchmarks/bench_ranges.py --raw-dir RAW --calibration CALIBRATION``; without, a street take
of 60 s at 400x320 is simulated, 256x256 in the output.
"""

import argparse
import filecmp
import os
import subprocess
import sys
import tempfile
import time
from functools import partial
from pathlib import Path

import numpy as np
import yaml
from bench_alignment import RIG, TAKE

from rb2v.execution import keep_workers
from rb2v.execution.cluster import LocalClusterExecutor
from rb2v.io.aligned import aligned_take_path
from rb2v.simulator import SimulateConfig, simulate
from rb2v.stages import align, calibrate

CHANGES = {"output_size": [256, 256], "search_range_seconds": 0.25}
N_WORKERS = (2, 4, 8, 16)
STEPS = ("cutting", "pieces", "windows", "ranges", "joining")
MAX_LATENCY_SECONDS = 2.0  # as long as most tasks
N_CLUSTER_WORKERS = 8


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


class LateCluster(LocalClusterExecutor):
    """A Dask cluster of this machine whose workers sleep before every task, and note when each begins and ends."""

    def __init__(self, n_workers):
        super().__init__(n_workers)
        self.begin(0)

    def begin(self, seed):
        self.steps = []
        self._rng = np.random.default_rng(seed)

    def map(self, fn, items):
        spans = []
        self.steps.append(spans)
        late = [(item, self._rng.uniform(0, MAX_LATENCY_SECONDS)) for item in items]
        for result, span in super().map(partial(perform_late, fn=fn), late):
            spans.append(span)
            yield result


def perform_late(late, fn):
    """Return what comes of an item, and who did it, from when to when."""
    item, latency = late
    begin = time.time()
    time.sleep(latency)
    result = fn(item)
    return result, (os.getpid(), begin, time.time())


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


def print_waits(steps):
    """Print who waits for how long in the steps of a cluster that have several tasks."""
    workers = {pid for spans in steps for pid, _, _ in spans}
    for name, spans in zip(STEPS, steps, strict=True):
        if len(spans) < len(workers):
            continue
        first, last = min(begin for _, begin, _ in spans), max(end for _, _, end in spans)
        longest = max(end - begin for _, begin, end in spans)
        idle, waits = [], []
        for worker in workers:
            own = [(begin, end) for pid, begin, end in spans if pid == worker]
            idle.append(last - first - sum(end - begin for begin, end in own))
            waits.append(last - max((end for _, end in own), default=first))
        listed = " ".join(f"{seconds:.1f}" for seconds in sorted(idle))
        print(f"  {name}: {len(spans)} tasks in {last - first:.1f} s, {len(workers)} workers idle for {listed} s")
        relation = "no longer" if max(waits) <= longest else "longer"
        print(f"    at the end one waits for {max(waits):.1f} s, {relation} than the longest task, {longest:.1f} s")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--raw-dir", type=Path)
    parser.add_argument("--calibration", type=Path)
    parser.add_argument("--seconds", type=float, default=60.0, help="of the simulated take")
    parser.add_argument("--draws", type=int, default=8, help="of the latency, where tasks sleep")
    options = parser.parse_args()
    if (options.raw_dir is None) != (options.calibration is None):
        parser.error("--raw-dir and --calibration go together")
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        raw, calibration = options.raw_dir, options.calibration
        if raw is None:
            raw, calibration = make_session(root, options.seconds)
        executor, cluster = TimedExecutor(), LateCluster(N_CLUSTER_WORKERS)
        for name, one in (("cut", executor), ("late", cluster)):
            align.run(raw, calibration, root / name, execution=align.Execution(executor=one))
        assert filecmp.cmp(*(aligned_take_path(root / name, TAKE) for name in ("cut", "late")), shallow=False)
    start = start_seconds()
    print(f"start of a worker: {start:.1f} s")
    for name, tasks in zip(STEPS, executor.steps, strict=True):
        print(f"{name}: {len(tasks)} tasks, {sum(tasks):.1f} s of processor, the longest {max(tasks):.1f} s")
    alone = start + sum(map(sum, executor.steps))
    for n_workers in N_WORKERS:
        total = start + sum(max(schedule(tasks, n_workers)) for tasks in executor.steps)
        print(f"{n_workers} workers: {total:.1f} s, {alone / total:.2f} times as fast as one")
    print(f"{N_CLUSTER_WORKERS} workers of a cluster, up to {MAX_LATENCY_SECONDS:g} s before every task, same file:")
    print_waits(cluster.steps)
    print(f"{N_CLUSTER_WORKERS} workers of a cluster that sleep as long as these tasks take:")
    cores = LateCluster(N_CLUSTER_WORKERS)
    with keep_workers(cores):
        list(cores.map(time.sleep, [1.0] * 2 * N_CLUSTER_WORKERS))  # the first task of each loads libraries
        for draw in range(options.draws):
            cores.begin(draw)
            for tasks in executor.steps:
                list(cores.map(time.sleep, tasks))
            print_waits(cores.steps)


if __name__ == "__main__":
    main()
