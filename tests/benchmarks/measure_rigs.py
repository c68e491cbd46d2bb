"""Calibrate and align rigs of the second family, and compare what comes of them with what is true.

Run: python tests/benchmarks/measure_rigs.py --seed 101 --rig mirrored --rig misaligned

One line a rig: share of frames accepted, mean error of the sub-frame position and the largest error of an accepted
position in fine frames, error of the session's drift in ppm and its stated error, the PSNR of sharp frames against
ideal ones, and the least and the largest mean of sharp over blurry light in tenths of the picture, across and down. The
control has the same seed and nothing that may go wrong. `--siting` looks at six captures alone, which were recorded,
too: by how many luma pixels the measured siting of chroma, and the one that is used, lie off.
"""

import argparse
import dataclasses
import logging
import sys
import tempfile
from fractions import Fraction
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from second_rigs import SITINGS, SecondRig, SecondSession, describe

from rb2v.core.color import to_linear
from rb2v.core.resampling import FrameWarp
from rb2v.io.aligned import AlignedTakeReader, aligned_take_path
from rb2v.io.calibration import read_calibration
from rb2v.io.config import read_raw_directory
from rb2v.stages import align, calibrate
from rb2v.stages.calibrate.chroma import find_chroma

NTSC = (Fraction(30000, 1001), Fraction(120000, 1001))
RIGS = {
    "control": SecondRig(),
    "mirrored": SecondRig(mirrored=True),
    "centered": SecondRig(chroma="center"),
    "mirrored-centered": SecondRig(mirrored=True, chroma="center"),
    "stated": SecondRig(mirrored=True, chroma="center", states_chroma=True),
    "untagged": SecondRig(mirrored=True, matrix="bt601", tagged=False),
    "bt601": SecondRig(matrix="bt601"),
    "hevc10": SecondRig(codec="hevc10"),
    "ntsc": SecondRig(rates=NTSC),
    "rolling": SecondRig(readouts_ms=(12.0, 6.0)),
    "lenses": SecondRig(bending=(-0.12, -0.1)),
    "knocked": SecondRig(mirrored=True, knock_px=1.5),
    "knocked-far": SecondRig(knock_px=3.0),
    "knocked-little": SecondRig(knock_px=0.5),
    "knocked-inside": SecondRig(knock_inside_px=1.5),
    "shading": SecondRig(shading=0.12),
    "tone": SecondRig(tone=1.25),
    "flicker-100": SecondRig(flicker=0.05, flicker_hz=100.0),
    "flicker-120": SecondRig(flicker=0.25, flicker_hz=120.0),
    "flicker-100-strong": SecondRig(flicker=0.25, flicker_hz=100.0),
    "flicker-120-little": SecondRig(flicker=0.05, flicker_hz=120.0),
    "bands-100-little": SecondRig(flicker=0.05, flicker_hz=100.0, readouts_ms=(12.0, 6.0)),
    "bands-120-little": SecondRig(flicker=0.05, flicker_hz=120.0, readouts_ms=(12.0, 6.0)),
    "bands-100": SecondRig(flicker=0.25, flicker_hz=100.0, readouts_ms=(12.0, 6.0)),
    "bands-120": SecondRig(flicker=0.25, flicker_hz=120.0, readouts_ms=(12.0, 6.0)),
}
N_SITING_CAPTURES = 6
FRAMES_APART = 8  # ideal frames are drawn for every eighth accepted frame


def sharp_psnr(session, take, reader, calibration):
    """Return the mean PSNR of the first, middle and last sharp frames against ideal ones, in dB."""
    crop = dataclasses.astuple(calibration.crop)
    warp = FrameWarp(np.eye(3), crop, session.output_size, "srgb", calibration.lens_blurry)
    found = []
    for index in range(0, len(reader), FRAMES_APART):
        sample, position = reader.read(index), int(reader.position[index])
        for step in (0, 3, 6):
            ideal = warp(np.rint(session.ideal_frame(take, position + step) * 255).astype(np.uint8))
            found.append(-10 * np.log10(np.mean((ideal / 255.0 - sample.sharp[step] / 255.0) ** 2)))
    return float(np.mean(found)) if found else np.nan


def light_in_tenths(reader):
    """Return the mean of sharp over blurry light in ten columns and ten rows of the picture, (20, 3)."""
    sums = [0, 0]
    for index in range(len(reader)):
        sample = reader.read(index)
        lights = to_linear(sample.sharp, "srgb").mean(axis=0), to_linear(sample.blurry, "srgb")
        sums = [total + light for total, light in zip(sums, lights, strict=True)]
    tenths = [
        [part.mean(axis=(0, 1)) for axis in (1, 0) for part in np.array_split(light, 10, axis=axis)] for light in sums
    ]
    return np.divide(*tenths)


def measure(rig, seed, seconds, n_takes, root):
    """Return the figures of a rig, and the reasons for which frames were rejected."""
    session = SecondSession(rig, seed)
    session.write(root / "raw", n_takes, seconds)
    calibrate.run(root / "raw", root / "calibration.json")
    align.run(root / "raw", root / "calibration.json", root / "aligned")
    calibration = read_calibration(root / "calibration.json")
    accepted, errors, worst, psnrs, drifts, ratios, reasons = [], [], [], [], [], [], set()
    for take in session.takes:
        truth = session.positions(take)
        with AlignedTakeReader(aligned_take_path(root / "aligned", take.name)) as reader:
            for frame in reader.read_frames():
                accepted.append(frame.accepted)
                reasons.add(frame.reason)
                if frame.accepted:
                    errors.append(abs(frame.position_fine - truth[frame.blurry_index]))
                    worst.append(abs(frame.position - truth[frame.blurry_index]))
            if reader.timing.clock is not None:
                drifts.append((1e6 * reader.timing.clock.drift - rig.drift_ppm, 1e6 * reader.timing.clock.drift_error))
            psnrs.append(sharp_psnr(session, take, reader, calibration))
            if len(reader):
                ratios.append(light_in_tenths(reader))
    drift = np.mean(drifts, axis=0) if drifts else (np.nan, np.nan)
    mean, largest = (np.mean(errors), np.max(worst)) if errors else (np.nan, np.nan)
    evenness = (np.min(ratios), np.max(ratios)) if ratios else (np.nan, np.nan)
    return (np.mean(accepted), mean, largest, *drift, np.nanmean(psnrs), *evenness), reasons - {""}


def measure_siting(rig, seed, root):
    """Return by how many luma pixels measured and used sitings are off at most, over both cameras and axes."""
    session = SecondSession(dataclasses.replace(rig, captures_as_video=True), seed)
    session.write(root, n_takes=0, n_captures=N_SITING_CAPTURES)
    found = find_chroma(read_raw_directory(root), takes=False).values()
    places = [[one.measured for one in found], [(one.x, one.y) for one in found]]
    return np.abs(np.array(places) - SITINGS[rig.chroma]).max(axis=(1, 2))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seed", type=int, action="append")
    parser.add_argument("--rig", action="append", choices=RIGS)
    parser.add_argument("--seconds", type=float, default=2.0)
    parser.add_argument("--takes", type=int, default=1)
    parser.add_argument("--siting", action="store_true")
    options = parser.parse_args()
    logging.basicConfig(level=logging.ERROR)
    if options.siting:
        print("rig, seed: siting off by, as measured and as used [luma px]")
    else:
        print(
            "rig, seed: accepted, mean error, largest, drift error +- stated [ppm], sharp frames [dB], light in tenths"
        )
    for name in options.rig or RIGS:
        for seed in options.seed or [101]:
            with tempfile.TemporaryDirectory() as folder:
                if options.siting:
                    off = measure_siting(RIGS[name], seed, Path(folder))
                    print("{}, {}: {:.3f}, {:.3f}".format(name, seed, *off), flush=True)
                    continue
                figures, reasons = measure(RIGS[name], seed, options.seconds, options.takes, Path(folder))
            text = "{:.0%}, {:.4f}, {:.2f}, {:+.0f} +- {:.0f}, {:.2f}, {:.3f} to {:.3f}".format(*figures)
            print(f"{name} ({describe(RIGS[name])}), {seed}: {text} {' '.join(sorted(reasons))}", flush=True)


if __name__ == "__main__":
    main()
