"""Damage whole files and read them: every reader has to end in its result or in one message, and soon.

``python tests/benchmarks/fuzz_readers.py --n 10000`` prints a table of counts; docs/recordings.md has it. Exits with 1
where a reader raises anything but Rb2vError, takes longer than the limit, or writes.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from fuzz_targets import Target, make_targets
from mutations import mutate

from rb2v.errors import Rb2vError

_MAX_SECONDS = 5.0  # of processor time; whole files of these sizes take less than 0.1 s


def main() -> int:
    """Run the mutations and print the counts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=10_000, help="Mutated files per reader.")
    parser.add_argument("--seed", type=int, default=0, help="Seed of the mutations.")
    parser.add_argument("--only", nargs="*", default=[], help="Names of readers.")
    options = parser.parse_args()
    sys.stdout.write("| reader | files | read | one message | anything else | slowest [ms] |\n")
    sys.stdout.write("| --- | --- | --- | --- | --- | --- |\n")
    n_bad = 0
    with tempfile.TemporaryDirectory() as scratch:
        for target in make_targets(Path(scratch) / "whole"):
            if not options.only or target.name in options.only:
                n_bad += fuzz(target, Path(scratch) / "damaged", options.n, options.seed)
    return 1 if n_bad else 0


def fuzz(target: Target, folder: Path, n_files: int, seed: int) -> int:
    """Read mutations of one file, print a row, and return how many ended in anything but a result or a message."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(target.file.parent, folder)
    path, whole = folder / target.file.name, target.file.read_bytes()
    names = sorted(file.name for file in folder.rglob("*"))
    n_read = n_told = n_bad = 0
    slowest = 0.0
    for index in range(n_files):
        rng = np.random.default_rng((seed, index))
        path.write_bytes(mutate(whole, rng))
        start = time.process_time()
        try:
            target.read(path)
            n_read += 1
        except Rb2vError:
            n_told += 1
        except Exception as error:
            n_bad += 1
            sys.stderr.write(f"{target.name}: seed {seed}, file {index}: {type(error).__name__}: {error}\n")
        seconds = time.process_time() - start
        slowest = max(slowest, seconds)
        if seconds > _MAX_SECONDS:
            n_bad += 1
            sys.stderr.write(f"{target.name}: seed {seed}, file {index}: took {seconds:.1f} s\n")
    if sorted(file.name for file in folder.rglob("*")) != names:
        n_bad += 1
        sys.stderr.write(f"{target.name}: wrote into its folder\n")
    sys.stdout.write(f"| {target.name} | {n_files} | {n_read} | {n_told} | {n_bad} | {1e3 * slowest:.0f} |\n")
    sys.stdout.flush()
    return n_bad


if __name__ == "__main__":
    sys.exit(main())
