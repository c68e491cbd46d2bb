"""How long the stages of the demo and the steps of the trainings take, beside an earlier commit.

Run it with ``python tests/benchmarks/bench_loops.py --commit REV``. The earlier commit is checked out into a git
worktree with an environment of its own, both in a temporary folder; every stage then runs there and here in turn, and
its processor seconds, those of its worker processes included, and wall seconds are printed with their ratios. Stages
that were not asked for run once, unmeasured, where a later one needs what they write and it is not there.
``--keep FOLDER`` keeps the worktree, its environment and the artifacts for the next call. Without ``--commit`` this
checkout is timed alone, which is what ``make bench`` does.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAPER = ("align", "--paper", "--take", "street_test", "--raw-dir", "raw", "--calibration", "calibration.json")
ONE_NETWORK = ("--arch", "motion", "--no-dimensions")  # of the suite's dozen, which all begin and step alike
ONE_METHOD = ("--method", "order_invariant", "--no-alphas")  # likewise
DEBLUR_STEPS = 200  # of 1500: what a step takes shows in a hundred, and starting takes as long as some tens


@dataclass(frozen=True)
class Stage:
    """A command of `rb2v`, run in the folder of a session's artifacts."""

    arguments: tuple[str, ...]
    out: str
    """What it writes, removed before each run so that nothing is resumed."""
    needs: tuple[str, ...] = ()
    beside: tuple[str, ...] = ()
    """What it writes besides."""
    fresh_cache: bool = False
    """Whether what earlier runs prepared in rb2v's cache is removed first."""

    @property
    def command(self) -> tuple[str, ...]:
        return (*self.arguments, "--out", self.out)


STAGES = {
    "simulate": Stage(("simulate",), "raw", beside=("truth",)),
    "calibrate": Stage(("calibrate", "--raw-dir", "raw"), "calibration.json", needs=("simulate",)),
    "align": Stage(("align", "--raw-dir", "raw", "--calibration", "calibration.json"), "aligned", needs=("calibrate",)),
    "paper": Stage(PAPER, "compared/paper", needs=("calibrate",)),
    "linear-light": Stage((*PAPER, "--response", "srgb"), "compared/linear-light", needs=("calibrate",)),
    "robust-colors": Stage(
        (*PAPER, "--response", "srgb", "--color-fit", "robust"), "compared/robust-colors", needs=("calibrate",)
    ),
    "build-shards": Stage(("build-shards", "--aligned", "aligned"), "shards", needs=("align",)),
    "train-hypercut": Stage(
        ("train-hypercut", "--shards", "shards"), "hypercut", needs=("build-shards",), fresh_cache=True
    ),
    "benchmark": Stage(
        (
            *("benchmark", "--shards", "shards", "--run", "hypercut", "--aligned", "aligned"),
            *("--calibration", "calibration.json", "--raw-dir", "raw", "--truth", "truth"),
            *(f"--compare={name}=compared/{name}" for name in ("paper", "linear-light", "robust-colors")),
        ),
        "report",
        needs=("train-hypercut", "paper", "linear-light", "robust-colors"),
    ),
    "train-hypercut-again": Stage(
        ("train-hypercut", "--shards", "shards"), "hypercut-again", needs=("train-hypercut",)
    ),
    "train-blur2vid": Stage(
        ("train-blur2vid", "--shards", "shards", "--steps", str(DEBLUR_STEPS)), "blur2vid", needs=("build-shards",)
    ),
    "order-suite": Stage(
        ("benchmark", "--suite", "order", "--shards", "shards", "--seeds", "1", *ONE_NETWORK),
        "order-suite",
        needs=("build-shards",),
    ),
    "deblur-suite": Stage(
        ("benchmark", "--suite", "deblur", "--shards", "shards", "--seeds", "1", "--run", "hypercut", *ONE_METHOD),
        "deblur-suite",
        needs=("train-hypercut",),
    ),
}
"""Stages by name, each after what it needs."""


@dataclass(frozen=True)
class Cost:
    """Seconds that a command took."""

    processor: float
    wall: float


@dataclass(frozen=True)
class Tree:
    """A checkout with its environment, and a folder for what its commands write."""

    label: str
    source: Path
    python: Path
    folder: Path

    def run(self, stage: Stage) -> Cost:
        """Run a stage from the start and return what it took; its output goes to a log in the folder."""
        for name in (stage.out, *stage.beside):
            path = self.folder / name
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        cache = self.folder / "cache"
        if stage.fresh_cache:
            shutil.rmtree(cache, ignore_errors=True)
        self.folder.mkdir(parents=True, exist_ok=True)
        # Not the installed script: with the sources first on the path the same environment serves any checkout.
        command = [str(self.python), "-c", "from rb2v.cli import main; main()", *stage.command]
        environment = os.environ | {"PYTHONPATH": str(self.source), "RB2V_CACHE": str(cache)}
        environment.pop("RB2V_FRAME_CACHE", None)  # it would be shared, and stay full
        log_path = self.folder / "log.txt"
        with log_path.open("w") as log:
            start = time.perf_counter()
            process = subprocess.Popen(command, cwd=self.folder, env=environment, stdout=log, stderr=log)
            _, status, usage = os.wait4(process.pid, 0)
            wall = time.perf_counter() - start
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            sys.exit(f"{self.label}: rb2v {stage.arguments[0]} ended with {process.returncode}\n{log_path.read_text()}")
        # Of a command and of those of its workers that it has waited for.
        return Cost(usage.ru_utime + usage.ru_stime, wall)


def check_out(commit: str, root: Path) -> Tree:
    """Return the tree of an earlier commit: a worktree, with an environment made by its own list of dependencies."""
    folder = root / commit
    source, environment = folder / "source", folder / "venv"
    if not source.exists():
        git("worktree", "prune")
        git("worktree", "add", "--detach", str(source), commit)
    if not (environment / "ready").exists():
        subprocess.run([sys.executable, "-m", "venv", "--clear", environment], check=True)
        install = (environment / "bin" / "python", "-m", "pip", "install", "--quiet")
        subprocess.run([*install, "--constraint", source / "constraints.txt", "--editable", source], check=True)
        (environment / "ready").touch()
    return Tree(commit, source, environment / "bin" / "python", folder / "artifacts")


def git(*arguments: str) -> str:
    """Run git in this checkout and return what it prints."""
    done = subprocess.run(["git", "-C", ROOT, *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


def with_needs(names: Sequence[str]) -> list[str]:
    """Return stages and all that they need, in the order in which they run."""
    wanted = set(names)
    for name in reversed(STAGES):
        if name in wanted:
            wanted.update(STAGES[name].needs)
    return [name for name in STAGES if name in wanted]


def measure(trees: Sequence[Tree], names: Sequence[str], n_runs: int) -> None:
    """Run stages in every tree in turn and print a line for each that was asked for."""
    labels = [tree.label for tree in trees]
    header = [f"{what} {label} [s]" for what in ("processor", "wall") for label in labels]
    print(" | ".join(["stage", *header, *(["processor ratio", "wall ratio"] if len(trees) == 2 else [])]), flush=True)
    for name in with_needs(names):
        stage, asked = STAGES[name], name in names
        if not asked and all((tree.folder / stage.out).exists() for tree in trees):
            continue
        costs: dict[str, list[Cost]] = {tree.label: [] for tree in trees}
        for _ in range(n_runs if asked else 1):
            for tree in trees:  # A B A B: what else the machine does is shared between them
                costs[tree.label].append(tree.run(stage))
        if asked:
            rows = [
                [min(getattr(cost, what) for cost in costs[label]) for label in labels] for what in Cost.__annotations__
            ]
            ratios = [f"{row[0] / row[1]:.2f}" for row in rows] if len(trees) == 2 else []
            print(" | ".join([name, *(f"{value:.1f}" for row in rows for value in row), *ratios]), flush=True)


def main() -> None:
    """Measure the chosen stages at the chosen commit and at this one."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--commit", metavar="REV", help="the earlier commit; without it this checkout is timed alone")
    parser.add_argument("--stage", nargs="+", choices=STAGES, default=list(STAGES), help="stages to time; default all")
    parser.add_argument("--runs", type=int, default=1, metavar="N", help="runs of each, of which the best counts")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="a folder for everything, kept; default temporary")
    options = parser.parse_args()
    if options.runs < 1:
        parser.error("--runs must be at least 1")
    with tempfile.TemporaryDirectory() as temporary:
        root = (options.keep or Path(temporary)).resolve()
        trees = [Tree("present", ROOT, Path(sys.executable), root / "present")]
        try:
            if options.commit:
                trees.insert(0, check_out(git("rev-parse", "--short", f"{options.commit}^{{commit}}"), root))
            measure(trees, options.stage, options.runs)
        finally:
            if options.commit and options.keep is None and len(trees) == 2:
                git("worktree", "remove", "--force", str(trees[0].source))


if __name__ == "__main__":
    main()
