"""What a data set of 38,000 samples costs on 1, 8 and 64 workers, on paper, from stages measured here.

Run it with ``python tests/benchmarks/bench_scaling.py --raw-dir RAW --calibration CALIBRATION``; without, the session
of ``make demo`` is simulated and calibrated. The recordings are aligned and built into shards by one worker; processor
seconds count, so that whatever else the machine does matters little. It prints the rates and the rows of the table in
docs/scaling.md.
"""

import argparse
import csv
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

N_SAMPLES = 38_000
N_WORKERS = (1, 8, 64)
SHARD_SAMPLES = 128
TAKE_FRAMES = 25 * 60
RB2V = (sys.executable, "-c", "from rb2v.cli import main; main()")
ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}


@dataclass(frozen=True)
class Cost:
    """What one worker's run of a stage took."""

    seconds: float
    memory_bytes: int
    scratch_bytes: int


def tree_size(folder, *, is_scratch=False):
    """Return the bytes of all files, or of those in folders that are removed when a take is done."""
    sizes = []
    for path in folder.rglob("*"):
        if is_scratch and not any(part.startswith(".partial-") for part in path.relative_to(folder).parts[:-1]):
            continue
        try:
            sizes.append(path.stat().st_size if path.is_file() else 0)
        except FileNotFoundError:  # renamed or removed meanwhile
            continue
    return sum(sizes)


def make_recordings(root):
    """Simulate and calibrate a session; return its folder and the calibration's path."""
    # In processes of their own: the memory that this one has ever taken would count as that of the stages.
    subprocess.run([*RB2V, "simulate", "--out", root / "raw"], check=True)
    subprocess.run([*RB2V, "calibrate", "--raw-dir", root / "raw", "--out", root / "calibration.json"], check=True)
    return root / "raw", root / "calibration.json"


def run_stage(arguments, out):
    """Run a stage, and look every tenth of a second at what it lays aside."""
    command = [*RB2V, *arguments, "--out", out, "--executor", "serial"]
    process = subprocess.Popen(command, env=os.environ | ENVIRONMENT)
    scratch = 0
    while True:
        pid, status, usage = os.wait4(process.pid, os.WNOHANG)
        if pid:
            break
        scratch = max(scratch, tree_size(out, is_scratch=True))
        time.sleep(0.1)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return Cost(usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024, scratch)


def start_seconds():
    """Return what starting the program takes, which a worker does once."""
    command = [sys.executable, "-c", "import rb2v.stages.align, rb2v.stages.build_shards"]
    before = os.times()
    subprocess.run(command, check=True, env=os.environ | ENVIRONMENT)
    after = os.times()
    return after.children_user + after.children_system - before.children_user - before.children_system


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--raw-dir", type=Path, help="recordings; simulated ones by default")
    parser.add_argument("--calibration", type=Path, help="of these recordings")
    arguments = parser.parse_args()
    if (arguments.raw_dir is None) != (arguments.calibration is None):
        parser.error("--raw-dir and --calibration go together")
    with tempfile.TemporaryDirectory() as name:
        root = Path(name)
        if arguments.raw_dir is None:
            raw, calibration = make_recordings(root)
        else:
            raw, calibration = shutil.copytree(arguments.raw_dir, root / "raw"), arguments.calibration
        start = start_seconds()
        align = run_stage(["align", "--raw-dir", raw, "--calibration", calibration], root / "aligned")
        build = run_stage(["build-shards", "--aligned", root / "aligned"], root / "shards")
        with (root / "aligned" / "alignment.csv").open(newline="") as file:
            rows = list(csv.DictReader(file))
        accepted = [row["accepted"] == "1" for row in rows]
        n_frames, n_samples = len(accepted), sum(accepted)
        n_takes = len(list((raw / "takes").iterdir()))
        raw_bytes, aligned_bytes, shard_bytes = (
            tree_size(folder) / n_samples for folder in (raw / "takes", root / "aligned", root / "shards")
        )
    frames_per_sample = n_frames / n_samples
    frame_seconds, sample_seconds = (align.seconds - start) / n_frames, (build.seconds - start) / n_samples
    scratch_frame = align.scratch_bytes / max(Counter(row["take"] for row in rows).values())  # of the longest take
    print(
        f"{n_frames} blurry frames of {n_takes} takes, {n_samples} samples ({frames_per_sample:.2f} frames per sample)"
    )
    print(f"align: {frame_seconds:.2f} s per blurry frame, {align.memory_bytes / 1e9:.2f} GB of memory")
    print(f"align lays aside {scratch_frame / 1e6:.1f} MB per blurry frame of a take")
    print(f"build-shards: {sample_seconds:.3f} s per sample, {build.memory_bytes / 1e9:.2f} GB of memory")
    print(
        f"per sample: {raw_bytes / 1e6:.2f} MB raw, {aligned_bytes / 1e6:.2f} MB aligned, "
        f"{shard_bytes / 1e6:.2f} MB shards"
    )
    print()
    disk = N_SAMPLES * (raw_bytes + aligned_bytes + shard_bytes)
    traffic = N_SAMPLES * (raw_bytes + 2 * aligned_bytes + shard_bytes)
    n_all_takes = -(-N_SAMPLES * frames_per_sample // TAKE_FRAMES)
    n_shards = -(-N_SAMPLES // SHARD_SAMPLES)
    for n in N_WORKERS:
        # Rounds, because a worker takes whole takes and whole shards.
        align_seconds = -(-n_all_takes // n) * TAKE_FRAMES * frame_seconds
        build_seconds = -(-n_shards // n) * SHARD_SAMPLES * sample_seconds
        total = align_seconds + build_seconds
        scratch = min(n, n_all_takes) * TAKE_FRAMES * scratch_frame
        memory = n * max(align.memory_bytes, build.memory_bytes)
        cells = (
            f"{n}",
            f"{align_seconds / 3600:.1f} h",
            f"{build_seconds / 3600:.2f} h",
            f"{disk / 1e9:.0f} GB + {scratch / 1e9:.0f} GB",
            f"{memory / 1e9:.1f} GB",
            f"{traffic / 1e9:.0f} GB, {traffic / total / 1e6:.1f} MB/s",
        )
        print("| " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
