"""Kill a command at random moments and start it again: it ends in the same bytes as one that nobody stopped.

``python tests/benchmarks/check_command_kills.py --kills 20 --work FOLDER -- run --raw-dir RAW --out {out}`` kills a
whole session. What follows ``--`` is a command of rb2v; ``{out}`` stands for its output. The command first runs
undisturbed, which tells how long it takes. Moments are drawn evenly over that time, from the start of each process.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

# TensorBoard's events hold the time of each entry, by which its viewer orders them.
TIMED = ("tensorboard",)


def start(arguments: list[str], out: Path) -> subprocess.Popen:
    command = [
        sys.executable,
        "-c",
        "from rb2v.cli import main; main()",
        *(part.replace("{out}", str(out)) for part in arguments),
    ]
    return subprocess.Popen(
        command, start_new_session=True, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )


def run_to_end(arguments: list[str], out: Path) -> float:
    begun = time.monotonic()
    process = start(arguments, out)
    output, _ = process.communicate()
    if process.returncode:
        sys.exit(f"status {process.returncode}:\n{output}")
    return time.monotonic() - begun


def kill_after(arguments: list[str], out: Path, seconds: float) -> bool:
    """Start the command and kill its whole group; return whether it was still at work."""
    process = start(arguments, out)
    try:
        process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        return True
    return False


def digests(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and not set(TIMED) & set(path.parts)
    }


def report_differences(expected: dict[str, str], found: dict[str, str]) -> int:
    """Print the files that differ, and return their number."""
    differing = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
    for name in differing:
        print(f"  {name}: {'absent' if name not in found else 'left over' if name not in expected else 'other bytes'}")
    return len(differing)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--work", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("arguments", nargs="+", help="a command of rb2v, after --")
    given = parser.parse_args()
    whole = given.work / "whole" / "out"
    whole.parent.mkdir(parents=True)
    seconds = run_to_end(given.arguments, whole)
    print(f"undisturbed: {seconds:.1f} s", flush=True)
    expected = digests(whole)
    rng = np.random.default_rng(given.seed)
    n_kills, n_runs, differing = 0, 0, 0
    while n_kills < given.kills:
        n_runs += 1
        out = given.work / f"killed_{n_runs}" / "out"
        out.parent.mkdir()
        # What was done before a kill is not done again: a run ends after some kills, and the next begins anew.
        while n_kills < given.kills and kill_after(given.arguments, out, rng.uniform(0, seconds)):
            n_kills += 1
        run_to_end(given.arguments, out)
        differing += report_differences(expected, digests(out))
    print(f"{n_kills} kills in {n_runs} runs; {len(expected)} files; {differing} differ")
    sys.exit(bool(differing))


if __name__ == "__main__":
    main()
