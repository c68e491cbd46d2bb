"""What the thresholds of AlignConfig are measured against: each quantity over good simulated frames and faulty ones.

Run it with ``python tests/benchmarks/measure_thresholds.py [seeds [field=value ...]]``; the tables of docs/alignment.md
are its output, and other thresholds can be tried by the names of AlignConfig's fields.
Faults are put into a few frames of each take, so that the rest still tells the clock.
"""

import dataclasses
import itertools
import logging
import math
import shutil
import sys
import tempfile
from collections import defaultdict
from pathlib import Path

import bench_alignment
import numpy as np
import yaml
from scipy.stats import t

from rb2v.core.color import encode, to_linear
from rb2v.io.aligned import AlignedTakeReader, aligned_take_path
from rb2v.io.encoder import write_video
from rb2v.io.sound import read_sound
from rb2v.io.video import iter_frames
from rb2v.simulator import SimulateConfig, read_truth, simulate
from rb2v.simulator.camera import NoiseBank
from rb2v.simulator.rig import build_rig, frame_times
from rb2v.stages.align import AlignConfig, run
from rb2v.stages.calibrate import run as calibrate

CATEGORIES = ("street", "face", "hand")
SECONDS = 1.0
FPS = {"blurry": 25.0, "sharp": 100.0}
RIG = bench_alignment.RIG | {"search_range_seconds": 0.1}
SPOILT = {
    "replaced": (3, 15),
    "out of its time": (5, 17),
    "clipped": (7, 19),
    "lit by a flash": (9, 21),
    "of another exposure": (11, 23),
    "with a part that jumps": (13,),
}
"""Frames of the faulty take, by fault."""
STOPS_AT_SECONDS = 0.26
LATE_SECONDS, CLIPPING_GAIN, FLASH_GAIN, OTHER_GAIN = 0.01, 20.0, 1.2, 0.75


def photograph(rig, scene, which, times):
    noise = NoiseBank(np.random.default_rng([rig.config.seed, which == "sharp"]))
    camera = rig.camera(which)
    return [camera.develop(camera.expose(scene, float(time)), noise) for time in times]


def stand_still(rig, scene, which, n):
    camera = dataclasses.replace(rig.camera(which), n_instants=1)
    light, noise = (
        camera.expose(scene, STOPS_AT_SECONDS),
        NoiseBank(np.random.default_rng([rig.config.seed, which == "sharp"])),
    )
    return [camera.develop(light.copy(), noise) for _ in range(n)]


def relit(picture, gain):
    return encode(np.clip(to_linear(picture, "srgb") * np.float32(gain), 0, 1), "srgb")


def spoil(rig, plan, pictures):
    """Put every fault into the frames that SPOILT names."""
    blurry, sharp = list(pictures["blurry"]), list(pictures["sharp"])
    sharp_times = frame_times(rig, plan, "sharp")
    scene, exposure = rig.scene(plan), rig.blurry.exposure_seconds
    rng = np.random.default_rng(plan.scene_seed)
    for index in SPOILT["replaced"]:
        blurry[index] = np.ascontiguousarray(blurry[index][::-1, ::-1])
    late = [index / 25 + LATE_SECONDS for index in SPOILT["out of its time"]]
    for index, picture in zip(SPOILT["out of its time"], photograph(rig, scene, "blurry", late), strict=True):
        blurry[index] = picture
    for index in SPOILT["clipped"]:
        blurry[index] = relit(blurry[index], CLIPPING_GAIN)
    for index in SPOILT["lit by a flash"]:
        lit = int(np.abs(sharp_times - index / 25).argmin())
        sharp[lit] = relit(sharp[lit], FLASH_GAIN)
        blurry[index] = relit(blurry[index], 1 + (FLASH_GAIN - 1) * 0.01 / exposure)
    for index in SPOILT["of another exposure"]:
        blurry[index] = relit(blurry[index], OTHER_GAIN)
    for index in SPOILT["with a part that jumps"]:
        for jumping in np.flatnonzero(np.abs(sharp_times - index / 25) < 0.02):
            x, y = rng.integers(40, 100), rng.integers(40, 80)
            spot = sharp[jumping][y : y + 40, x : x + 40]
            sharp[jumping] = sharp[jumping].copy()
            sharp[jumping][y : y + 40, x : x + 40] = 255 - spot
    return {"blurry": blurry, "sharp": sharp}


def write_take(folder, pictures, sounds, description):
    folder.mkdir(parents=True)
    (folder / "take.yaml").write_text(description)
    for which, fps in FPS.items():
        write_video(folder / f"{which}.mp4", pictures[which], fps, sound=sounds[which], crf=18)


def make_session(root, seed):
    """Simulate a take per category, and beside it a faulty one, a slow one, a still one and one that stops."""
    rig_path = root / "rig.yaml"
    root.mkdir(parents=True)
    rig_path.write_text(yaml.safe_dump(RIG, sort_keys=False))
    config = SimulateConfig(
        *(str(rig_path), (192, 160), SECONDS),
        categories=CATEGORIES,
        test_takes=False,
        max_offset_seconds=0.3,
        seed=seed,
    )
    truth = read_truth(simulate(root / "raw", config))
    calibrate(root / "raw", root / "calibration.json")
    slow_rig = build_rig(dataclasses.replace(config, motion=0.1), truth.rig.photos)
    for plan in truth.takes:
        folder = root / "raw" / "takes" / plan.name
        paths = {which: folder / f"{which}.mp4" for which in FPS}
        pictures = {which: [frame.image for frame in iter_frames([path])] for which, path in paths.items()}
        sounds = {which: read_sound([path]) for which, path in paths.items()}
        description = (folder / "take.yaml").read_text()
        still = {which: stand_still(truth.rig, truth.rig.scene(plan), which, len(pictures[which])) for which in FPS}
        stops = {
            which: pictures[which][: round((shift + STOPS_AT_SECONDS) * fps)]
            + still[which][round((shift + STOPS_AT_SECONDS) * fps) :]
            for (which, fps), shift in zip(FPS.items(), (0.0, plan.offset_seconds), strict=True)
        }
        slow = {
            which: photograph(slow_rig, slow_rig.scene(plan), which, frame_times(slow_rig, plan, which))
            for which in FPS
        }
        faulty = spoil(truth.rig, plan, pictures)
        for kind, changed in (("faulty", faulty), ("slow", slow), ("still", still), ("stops", stops)):
            write_take(folder.with_name(f"{plan.name}_{kind}"), changed, sounds, description)
    return truth


def measure_take(path, config):
    """Return each quantity of a take, one value per blurry frame, and the reasons."""
    with AlignedTakeReader(path) as reader:
        rows, checks, curves = reader.read_frames(), reader.read_checks(), reader.read_curves()
        clock = reader.timing.clock
    times = np.array([row.blurry_time for row in rows])
    clock_error = np.full(len(rows), np.nan)
    if clock is not None:
        caution = float(t.ppf(0.975, max(clock.n_inliers - 2, 1)) / t.ppf(0.975, math.inf))
        clock_error = np.array([caution * clock.error_seconds(time) * 200 for time in times])
    curve = np.nan_to_num(curves.psnr, nan=-np.inf)
    best = np.where(np.isfinite(curve).any(axis=1), curves.first_position + curve.argmax(axis=1), np.nan)
    return {
        "best": best,
        "psnr": np.array([row.psnr for row in rows]),
        "margin_db": np.array([row.margin_db for row in rows]),
        "off the line": np.abs(curves.peak - [row.position_fine for row in rows]),
        "clock error": np.where(np.isfinite(clock_error), clock_error, np.nan),
        "clipped_share": checks.clipped_share,
        "flash": checks.flash,
        "gain": np.abs(checks.gain_change),
        "interpolation_psnr": checks.interpolation_psnr,
        "reason": np.array([row.reason or "accepted" for row in rows]),
        "position": np.array([row.position for row in rows]),
    }


MARGINS_DB = (0.0, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0, math.inf)
ROWS = (
    # quantity, field of AlignConfig, whether larger is worse, which frames are faulty
    ("psnr", "min_psnr_db", False, "replaced"),
    ("margin_db", "min_margin_db", False, "still"),
    ("off the line", "tolerance_frames", True, "out of its time"),
    ("clock error", "max_clock_error_frames", True, "stops"),
    ("clipped_share", "max_clipped_share", True, "clipped"),
    ("flash", "max_flash", True, "lit by a flash"),
    ("gain", "max_gain_change", True, "of another exposure"),
    ("interpolation_psnr", "min_interpolation_psnr_db", False, "with a part that jumps"),
)


def percentiles(values):
    values = values[np.isfinite(values)]
    return " / ".join(f"{value:.3g}" for value in np.percentile(values, [1, 50, 99])) if len(values) else "-"


def share(values, threshold, *, larger_is_worse):
    known = values[np.isfinite(values)]
    beyond = known > threshold if larger_is_worse else known < threshold
    return f"{100 * beyond.mean():.1f} %" if len(known) else "-"


def main():
    logging.disable(logging.WARNING)
    n_seeds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    config = AlignConfig(**{name: float(value) for name, value in (one.split("=") for one in sys.argv[2:])})
    good, slow, faulty = defaultdict(list), defaultdict(list), defaultdict(list)
    reasons, wrong = defaultdict(list), defaultdict(list)
    margins, peak_errors = [], []
    root = Path(tempfile.mkdtemp())
    for seed in range(n_seeds):
        truth = make_session(root / str(seed), seed)
        run(root / str(seed) / "raw", root / str(seed) / "calibration.json", root / str(seed) / "out", config)
        for plan in truth.takes:
            true = np.array([truth.rig.true_position(plan, index / 25) for index in range(25)])
            for kind in ("", "_faulty", "_slow", "_still", "_stops"):
                measured = measure_take(aligned_take_path(root / str(seed) / "out", plan.name + kind), config)
                name = f"{plan.category}{kind}"
                reasons[name] += measured["reason"].tolist()
                is_kept = measured["reason"] == "accepted"
                wrong[name] += np.abs(measured["position"] - true)[is_kept].tolist()
                if kind != "_faulty":
                    margins.append(measured["margin_db"])
                    peak_errors.append(np.abs(measured["best"] - true))
                for quantity, *_, fault in ROWS:
                    values = measured[quantity]
                    if kind == "":
                        good[quantity].append(values)
                    elif kind == "_slow":
                        slow[quantity].append(values)
                    elif kind == "_faulty" and fault in SPOILT:
                        faulty[quantity].append(values[list(SPOILT[fault])])
                    elif kind == f"_{fault}":
                        faulty[quantity].append(values[7:] if fault == "stops" else values)
    shutil.rmtree(root)
    print("| quantity | threshold | good | slow | faulty | good beyond | slow beyond | faulty beyond |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    for quantity, field, larger_is_worse, fault in ROWS:
        threshold = getattr(config, field)
        groups = [np.concatenate(one[quantity]) for one in (good, slow, faulty)]
        shares = [share(values, threshold, larger_is_worse=larger_is_worse) for values in groups]
        cells = [f"{quantity} ({fault})", f"{field} {threshold:g}", *map(percentiles, groups), *shares]
        print("| " + " | ".join(cells) + " |")
    print()
    for name, found in reasons.items():
        counts = ", ".join(f"{reason} {found.count(reason)}" for reason in sorted(set(found)))
        off = np.array(wrong[name])
        print(f"{name}: {counts}; {(off > 0.55).sum()} accepted lie off, by up to {max(off, default=0):.2f} frames")
    print("\n| margin in dB | frames | best window more than 1 frame off |\n| --- | --- | --- |")
    every_margin, every_error = np.concatenate(margins), np.concatenate(peak_errors)
    for low, high in itertools.pairwise(MARGINS_DB):
        inside = (every_margin >= low) & (every_margin < high) & np.isfinite(every_error)
        off = f"{100 * (every_error[inside] > 1).mean():.0f} %" if inside.any() else "-"
        print(f"| {low:g} to {high:g} | {inside.sum()} | {off} |")


if __name__ == "__main__":
    main()
