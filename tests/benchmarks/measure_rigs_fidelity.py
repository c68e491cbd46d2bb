"""Compare positions and sharp frames of rigs of other frame rates with the truth, and with those of the PAL rig.

``python tests/benchmarks/measure_rigs_fidelity.py`` prints a table; docs/rigs.md has it.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))

from sessions import make_session

from rb2v.benchmark.session.fidelity import TakeComparison
from rb2v.benchmark.session.inputs import Aligned
from rb2v.benchmark.truth.reference import TruthRenderer
from rb2v.io.calibration import read_calibration
from rb2v.io.config import read_raw_directory, read_takes
from rb2v.stages import align, calibrate

TAKE = "street_train"
RIGS = {  # frame rates, upsampling, frames per sequence, blur samples: as in capture_configs
    "25 / 100": (25, 100, 2, 7, 19),
    "29.97 / 119.88": ("30000/1001", "120000/1001", 2, 9, 25),
    "24 / 120": (24, 120, 2, 9, 25),
    "25 / 200": (25, 200, 1, 7, 19),
}
N_COMPARED = 5


def main() -> None:
    """Simulate, align and compare a street take of each rig, under the calibration of the first."""
    sys.stdout.write(
        "| rig | accepted | largest error [fine frames] | sharp frames [dB] | oracle's [dB] | deficit [dB] |\n"
    )
    sys.stdout.write("| --- | --- | --- | --- | --- | --- |\n")
    with tempfile.TemporaryDirectory() as scratch:
        calibration_path = Path(scratch) / "calibration.json"
        for name, (blurry, sharp, upsampling, n_frames, blur_samples) in RIGS.items():
            root = Path(scratch) / name.replace(" / ", "_")
            changes = {
                "blurry": {"model": "simulated", "frame_rate": blurry},
                "sharp": {"model": "simulated", "frame_rate": sharp},
                "upsampling": upsampling,
                "frames_per_sequence": n_frames,
                "blur_samples": blur_samples,
            }
            made = make_session(root, changes, seconds=0.6, categories=("street",))
            if not calibration_path.exists():
                calibrate.run(made.raw, calibration_path)
            config = align.AlignConfig()
            align.run(made.raw, calibration_path, made.aligned, config)
            calibration, rig = read_calibration(calibration_path), read_raw_directory(made.raw).rig
            aligned = Aligned(made.aligned, rig, calibration.crop, "", config, (TAKE,))
            plan = made.truth.take(TAKE)
            renderer = TruthRenderer(made.truth.rig, plan, calibration.crop, rig.output_size)
            (take,) = read_takes(made.raw)
            with aligned.open_take(TAKE) as reader:
                frames = reader.read_frames()
                result = TakeComparison([reader], take, aligned, renderer=renderer, n_samples=N_COMPARED).compare(
                    reader
                )
            accepted = [frame for frame in frames if frame.accepted]
            errors = [abs(f.position - made.truth.rig.true_position(plan, f.blurry_time)) for f in accepted]
            ours, oracle = result.ours_db.mean(), result.oracle_db.mean()
            sys.stdout.write(
                f"| {name} | {len(accepted)}/{len(frames)} | {np.max(errors):.2f} | {ours:.2f} | {oracle:.2f} | "
                f"{oracle - ours:.2f} |\n"
            )
            sys.stdout.flush()


if __name__ == "__main__":
    main()
