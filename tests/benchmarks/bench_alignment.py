"""Alignment of simulated takes whose answer is known, beside the paper's own search on the same takes.

Run it with ``python tests/benchmarks/bench_alignment.py --seeds 20``. Every seed is a street take with noise, sRGB and
H.264, an offset of up to 10 s and a drift of -100 to 100 ppm, at a small size: 192x160 from the cameras, 96x96 in the
output, so that 20 takes of 20 s are done within half an hour on two cores. The search reaches one second to either side
of the coarse offset. A table of all takes goes to standard output, and to ``--out`` as CSV.
"""

import argparse
import tempfile
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import yaml

from rb2v.benchmark.session.fidelity import TakeComparison
from rb2v.benchmark.session.inputs import Aligned
from rb2v.benchmark.truth.reference import TruthRenderer
from rb2v.execution import SerialExecutor, make_executor
from rb2v.io.aligned import AlignedTakeReader, aligned_take_path
from rb2v.io.calibration import read_calibration
from rb2v.io.config import read_raw_directory, read_takes
from rb2v.simulator import SimulateConfig, read_truth, simulate
from rb2v.stages import align, calibrate

RIG = {
    "schema": 1,
    "name": "small",
    "blurry": {"model": "simulated", "frame_rate": 25},
    "sharp": {"model": "simulated", "frame_rate": 100},
    "mirrored": "auto",
    "response": "srgb",
    "upsampling": 2,
    "frames_per_sequence": 7,
    "blur_samples": 19,
    "output_size": [96, 96],
    "search_range_seconds": 1.0,
}
TAKE = "street_train"
WAYS = {"rb2v": align.AlignConfig(), "paper": align.AlignConfig.paper()}
N_COMPARED = 4


def run_seed(seed, seconds):
    """Simulate one take, align it in every way, and return a row of figures for each."""
    rng = np.random.default_rng([seed, 20])
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        (root / "rig.yaml").write_text(yaml.safe_dump(RIG))
        config = SimulateConfig(
            rig=str(root / "rig.yaml"),
            size=(192, 160),
            seconds=seconds,
            categories=("street",),
            test_takes=False,
            drift_ppm=float(rng.uniform(-100, 100)),
            max_offset_seconds=10.0,
            seed=seed,
        )
        truth = read_truth(simulate(root / "raw", config, executor=SerialExecutor()))
        calibrate.run(root / "raw", root / "calibration.json")
        rows = []
        for name, way in WAYS.items():
            align.run(root / "raw", root / "calibration.json", root / name, way)
            rows.append({"seed": seed, "search": name} | measure(root, root / name, truth, way))
        return rows


def measure(root, folder, truth, way):
    plan, calibration = truth.take(TAKE), read_calibration(root / "calibration.json")
    raw = read_raw_directory(root / "raw")
    (take,) = read_takes(root / "raw")
    aligned = Aligned(folder, raw.rig, calibration.crop, "", way, (TAKE,))
    renderer = TruthRenderer(truth.rig, plan, calibration.crop, raw.rig.output_size)
    with AlignedTakeReader(aligned_take_path(folder, TAKE)) as reader:
        frames, timing = reader.read_frames(), reader.timing
        sharp = TakeComparison([reader], take, aligned, renderer=renderer, n_samples=N_COMPARED).compare(reader)
    accepted = [frame for frame in frames if frame.accepted]
    true = np.array([truth.rig.true_position(plan, frame.blurry_time) for frame in accepted])
    whole = np.abs([frame.position for frame in accepted] - true)
    fine = np.abs([frame.position_fine for frame in accepted] - true)
    sound = [1e3 * abs(offset.seconds - plan.offset_seconds) for offset in timing.offsets if offset.source == "sound"]
    clock = timing.clock
    return {
        "accepted_percent": 100 * len(accepted) / len(frames),
        "sound_error_ms": sound[0] if sound else np.nan,
        "fine_error_mean": fine.mean(),
        "whole_error_mean": whole.mean(),
        "whole_error_max": whole.max(),
        "over_055_percent": 100 * np.mean(whole > 0.55),
        "drift_ppm": truth.rig.config.drift_ppm,
        "drift_error_ppm": np.nan if clock is None else abs(1e6 * clock.drift - truth.rig.config.drift_ppm),
        "exposure_ms": np.nan if timing.exposure is None else 1e3 * timing.exposure.seconds,
        "sharp_db": sharp.ours_db.mean(),
        "oracle_db": sharp.oracle_db.mean(),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--seconds", type=float, default=20.0)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    rows = []
    for some in make_executor(arguments.workers).map(
        partial(run_seed, seconds=arguments.seconds), range(arguments.seeds)
    ):
        rows += some
        print(f"seed {some[0]['seed']} done", flush=True)
    table = pd.DataFrame(rows)
    table["below_oracle_db"] = table["oracle_db"] - table["sharp_db"]
    print(table.round(3).to_string(index=False))
    print(table.drop(columns=["seed", "drift_ppm"]).groupby("search").agg(["mean", "max"]).round(3).T.to_string())
    if arguments.out is not None:
        table.round(4).to_csv(arguments.out, index=False)


if __name__ == "__main__":
    main()
