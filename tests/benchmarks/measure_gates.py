"""How well ``rb2v synthesize`` tells faulty sequences from good ones, on clips with faults put in.

Run it with ``python tests/benchmarks/measure_gates.py [VIDEO ...]``; the table of docs/synthesize.md is its output. By
default clips are simulated streets at two speeds; recorded ones can be given, whose own sequences count as good. In
every clip each fault is put into every third sequence, and the share of these, and of the others, that is rejected with
the fault's reason is printed, with the spread of the quantity that decides.
"""

import sys
from pathlib import Path

import cv2
import numpy as np
from bench_synthesize import FPS, iter_street

from rb2v.io.video import iter_frames
from rb2v.stages.synthesize import REJECTIONS, SynthesizeConfig
from rb2v.stages.synthesize.gates import ClipMeter, judge_sequences

N_FRAMES, SIDE = 7 * 30, 320
CONFIG = SynthesizeConfig(blur_samples=7)


def motion_blur(image, length, *, vertical=False):
    kernel = np.zeros((length, length), np.float32)
    kernel[length // 2] = 1 / length
    return cv2.filter2D(image, -1, kernel.T if vertical else kernel, borderType=cv2.BORDER_REPLICATE)


def spoil(frames, other, fault):
    """Return frames of which every third sequence has a fault, and their times."""
    made, times = [frame.copy() for frame in frames], np.arange(len(frames)) / FPS
    kind, _, amount = fault.partition(" ")
    for start in range(7, len(frames) - 6, 21):
        if kind == "cut":
            made[start + 3 : start + 7] = other[start + 3 : start + 7]
        elif kind == "repeat":
            for index in range(start + 1, start + 7, int(amount)):
                made[index] = made[index - 1]
        elif kind == "static":
            rng = np.random.default_rng(start)
            for index in range(start, start + 7):
                noisy = frames[start] + rng.normal(0, float(amount), frames[start].shape)
                made[index] = np.clip(np.rint(noisy), 0, 255).astype(np.uint8)
        elif kind == "blurred":
            for index in range(start + 2, start + 5):
                made[index] = motion_blur(frames[index], int(amount), vertical=start % 2 == 0)
        elif kind == "variable-rate":
            times[start + 3 :] += float(amount) / FPS
        elif kind == "slow-motion":
            times[start + 1 : start + 7] += np.arange(1, 7) * (float(amount) - 1) / FPS
            times[start + 7 :] += 6 * (float(amount) - 1) / FPS
    if kind == "bars":
        rows = int(amount)
        for frame in made:
            frame[:rows] = frame[-rows:] = 0
    return made, times


FAULTS = (
    *("cut", "repeat 2", "repeat 5", "static 0", "static 0.7", "static 1.5"),
    *("blurred 3", "blurred 5", "blurred 7", "blurred 11", "blurred 15"),
    *("variable-rate 0.2", "variable-rate 0.5", "variable-rate 1", "slow-motion 2", "slow-motion 8"),
    *("bars 2", "bars 4", "bars 20"),
)


def judge(frames, times):
    meter = ClipMeter(7, tick_seconds=1e-5, has_times=True)
    for time, frame in zip(times, frames, strict=True):
        meter.add(time, cv2.cvtColor(frame, cv2.COLOR_RGB2GRAY))
    return judge_sequences(meter.measures(), CONFIG)


def clips():
    if sys.argv[1:]:
        for name in sys.argv[1:]:
            frames = [frame.image for frame, _ in zip(iter_frames([Path(name)]), range(N_FRAMES), strict=False)]
            scale = SIDE / min(frames[0].shape[:2])
            yield name, [cv2.resize(one, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA) for one in frames]
        return
    for index in range(6):
        yield f"street {index}", list(iter_street(index, N_FRAMES, SIDE))


def main():
    found = {fault: [0, 0, 0, 0] for fault in FAULTS}
    good_reasons = dict.fromkeys(REJECTIONS, 0)
    n_good, sharp, motion = 0, [], []
    loaded = list(clips())
    for place, (_, frames) in enumerate(loaded):
        other = loaded[(place + 1) % len(loaded)][1]
        usable = min(len(frames), len(other)) if len(loaded) > 1 else len(frames)
        frames = frames[:usable]
        same_size = other[0].shape == frames[0].shape and len(loaded) > 1
        plain = judge(frames, np.arange(len(frames)) / FPS)
        n_good += len(plain)
        for one in plain:
            sharp.append(one.sharpness)
            motion.append(one.motion_levels)
            if one.reason:
                good_reasons[one.reason] += 1
        for fault in FAULTS:
            if fault == "cut" and not same_size:
                continue
            reason = fault.partition(" ")[0]
            judged = judge(*spoil(frames, other, fault))
            for index, one in enumerate(judged):
                is_spoilt = index % 3 == 1 or reason == "bars"
                # A sequence that is rejected as it is tells nothing of the fault.
                if plain[index].reason:
                    continue
                found[fault][0 if is_spoilt else 2] += one.reason == reason
                found[fault][1 if is_spoilt else 3] += 1
    print(f"{n_good} good sequences, rejected: { ({name: n for name, n in good_reasons.items() if n}) }")
    for label, values in (("sharpness of the least sharp frame", sharp), ("motion in levels", motion)):
        low, middle = np.nanpercentile(values, [1, 50])
        print(f"{label}: least {np.nanmin(values):.3f}, 1st percentile {low:.3f}, median {middle:.3f}")
    for fault, (hits, n_spoilt, false, n_other) in found.items():
        print(f"{fault:20s} {hits:4d} of {n_spoilt:4d} found, {false:4d} of {n_other:4d} others rejected as this")


if __name__ == "__main__":
    main()
