"""Peak memory of aligning a short and a long take: it must not grow with the take.

Run it with ``python tests/benchmarks/bench_memory.py``. The images are small, so that what does not depend on their
size stands out; what does depend on it (a few frames at a time) is the same for every length.
"""

import resource
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml
from bench_alignment import RIG

from rb2v.execution import SerialExecutor
from rb2v.simulator import SimulateConfig, simulate
from rb2v.stages import align, calibrate

SECONDS = (10, 60)
N_CHAPTERS = 6


def simulate_take(root, seconds):
    root.mkdir()
    (root / "rig.yaml").write_text(yaml.safe_dump(RIG))
    config = SimulateConfig(
        rig=str(root / "rig.yaml"), size=(128, 112), seconds=seconds, categories=("street",), test_takes=False
    )
    simulate(root / "raw", config, executor=SerialExecutor())
    calibrate.run(root / "raw", root / "calibration.json")


def align_take(root):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    align.run(root / "raw", root / "calibration.json", root / "aligned")
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"{after / 1024:.0f} MB at the peak, {before / 1024:.0f} MB before")


def repeat(root):
    """Make a recording of many chapters, all the same; most of its frames have no clock, which costs no memory."""
    shutil.rmtree(root / "aligned")
    (folder,) = (root / "raw" / "takes").iterdir()
    listed = {}
    for which in ("blurry", "sharp"):
        listed[which] = [f"{which}{index}.mp4" for index in range(N_CHAPTERS)]
        for name in listed[which]:
            shutil.copy(folder / f"{which}.mp4", folder / name)
        (folder / f"{which}.mp4").unlink()
    description = folder / "take.yaml"
    description.write_text(description.read_text() + yaml.safe_dump(listed))


def run_apart(*arguments):
    # In a process of its own, which this one must stay smaller than: a child begins with its parent's peak.
    command = [sys.executable, __file__, *map(str, arguments)]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def main():
    if sys.argv[1:2] == ["simulate"]:
        simulate_take(Path(sys.argv[2]), float(sys.argv[3]))
        return
    if sys.argv[1:2] == ["align"]:
        align_take(Path(sys.argv[2]))
        return
    with tempfile.TemporaryDirectory() as folder:
        for seconds in SECONDS:
            root = Path(folder, str(seconds))
            run_apart("simulate", root, seconds)
            print(f"a take of {seconds} s: {run_apart('align', root)}", flush=True)
        repeat(root)
        print(f"{N_CHAPTERS} times the last, as chapters: {run_apart('align', root)}", flush=True)


if __name__ == "__main__":
    main()
