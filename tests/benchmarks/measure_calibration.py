"""How exact the homography of simulated rigs is, over many seeds: prints a table.

Every seed is a rig of its own: mirrored or not, a camera that codes sRGB or linear light, with noise; captures are
stills as `rb2v simulate` writes them, or frames of H.264. Errors are between recorded pixels, lenses included. Run it
as ``python tests/benchmarks/measure_calibration.py --seeds 20 --h264 --distortion``.
"""

import argparse
import dataclasses
import tempfile
import time
from pathlib import Path

import numpy as np
import yaml

from rb2v.benchmark.session.calibration_section import homography_errors
from rb2v.io.calibration import read_calibration
from rb2v.io.config import find_rig
from rb2v.io.encoder import write_video
from rb2v.io.video import iter_frames, read_image, write_image
from rb2v.simulator import SimulateConfig, read_truth, simulate
from rb2v.stages import calibrate

LIMIT_PX, MEDIAN_LIMIT_PX, LENS_LIMIT_PX = 0.15, 0.05, 0.2
LARGEST_K1 = -0.15
CRF = 18


def draw_distortion(seed):
    """Return k1 of both cameras."""
    return tuple(np.random.default_rng([seed, 31]).uniform(LARGEST_K1, 0, 2).round(3).tolist())


def encode_captures(raw, scratch):
    """Make every capture a frame that H.264 has coded."""
    for path in sorted((raw / "calibration").glob("**/*.png")):
        write_video(scratch, [read_image(path)], 25, crf=CRF)
        (frame,) = iter_frames([scratch])
        write_image(path, frame.image)


def measure(seed, size, folder, *, h264=False, **changes):
    """Return what the seed is, and the errors over the crop in pixels."""
    mirrored, response = seed % 2 == 0, ("srgb", "linear")[seed // 2 % 2]
    rig = yaml.safe_load(find_rig("gopro_hero8").read_text()) | {"response": response, "mirrored": "auto"}
    path = folder / "rig.yaml"
    path.write_text(yaml.safe_dump(rig))
    config = SimulateConfig(
        rig=str(path), size=size, seconds=0.04, test_takes=False, categories=("street",), mirrored=mirrored, seed=seed
    )
    truth = read_truth(simulate(folder / "raw", dataclasses.replace(config, **changes))).rig
    if h264:
        encode_captures(folder / "raw", folder / "scratch.mp4")
    started = time.process_time()
    found = read_calibration(calibrate.run(folder / "raw", folder / "calibration.json"))
    seconds = time.process_time() - started
    return mirrored, response, found, homography_errors(found, truth, 15), seconds


def main():
    """Print a line per seed and the summary."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seeds", type=int, default=20)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--size", default="480x360")
    parser.add_argument("--h264", action="store_true", help=f"captures are frames of H.264, crf {CRF}")
    parser.add_argument("--distortion", action="store_true", help=f"k1 of each lens is drawn from {LARGEST_K1} to 0")
    arguments = parser.parse_args()
    size = tuple(int(part) for part in arguments.size.split("x"))
    print("seed  mirrored  response  mean px  max px   rms px  p95 px  left out  Delta E  CPU s")
    means = []
    for seed in range(arguments.first, arguments.first + arguments.seeds):
        changes = {"distortion": draw_distortion(seed)} if arguments.distortion else {}
        with tempfile.TemporaryDirectory() as folder:
            mirrored, response, found, errors, seconds = measure(
                seed, size, Path(folder), h264=arguments.h264, **changes
            )
        means.append(errors.mean())
        quality = found.quality
        delta_e = "-" if quality.delta_e is None else f"{quality.delta_e:.2f}"
        print(
            f"{seed:4d}  {'yes' if mirrored else 'no ':8s}  {response:8s}  {errors.mean():7.4f}  {errors.max():6.4f}  "
            f"{quality.rms_px:7.3f}  {quality.p95_px:6.3f}  {quality.leave_one_out_px:8.3f}  "
            f"{delta_e:>7s}  {seconds:5.1f}" + (f"  k1 {changes['distortion']}" if changes else ""),
            flush=True,
        )
    limits = ("none", LENS_LIMIT_PX) if arguments.distortion else (MEDIAN_LIMIT_PX, LIMIT_PX)
    print(
        f"mean error: median {np.median(means):.4f} px (limit {limits[0]}), "
        f"largest {np.max(means):.4f} px (limit {limits[1]})"
    )


if __name__ == "__main__":
    main()
