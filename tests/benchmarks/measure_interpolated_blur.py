"""How near the blur of 19 interpolated frames comes to the true one, by every interpolation method.

Run it with ``python tests/benchmarks/measure_interpolated_blur.py --methods flow,combined``. Scenes are generated:
photographs and shapes that move, turn and cover each other. A window is four frames in a row of the sharp camera, 100 a
second; with two, or five, frames between neighbors it has 19 frames, whose mean is the synthetic blur (contract: fine
track and blur track). It is compared with the mean of 64 renders over the same time. PSNR of linear light and of coded
values, each method's difference from the first, and processor seconds a frame that was made.
"""

from __future__ import annotations

import argparse
import itertools
import time

import numpy as np
import torch

from rb2v.core.color import from_linear
from rb2v.core.metrics import psnr
from rb2v.interpolation import make_interpolator
from rb2v.interpolation.learned.cdfi.triplets import generated_triplets
from rb2v.simulator.sequences import SequencesConfig, build_scene

N_RENDERS = 64
SECONDS_BETWEEN = 1 / 100  # of the sharp camera
N_PAIRS = 3
N_PARTS = 6  # that the blur track divides the time between two frames into
TIMES = tuple(part / N_PARTS for part in range(1, N_PARTS))
AVERAGED = tuple(time for time in TIMES if time != 0.5)
"""The middle is a frame of the sharp sequences."""


def draw_window(photos, size, seed):
    """Four frames and the true blur, (H, W, 3) float32 in linear light."""
    random = np.random.default_rng(seed)
    scene = build_scene(SequencesConfig(motion="mixed", size=size), photos, random)
    start = random.uniform(0, 0.1)
    middle = (size - 1) / 2
    view = np.array([[1, 0, middle], [0, 1, middle], [0, 0, 1]], dtype=np.float64)

    def render(seconds):
        return np.asarray(scene.render(float(seconds), view, (size, size)), dtype=np.float32)

    frames = [render(start + index * SECONDS_BETWEEN) for index in range(N_PAIRS + 1)]
    # 19 samples stand for times of equal length: half a sample before the first, half a sample after the last.
    half = SECONDS_BETWEEN / N_PARTS / 2
    edges = np.linspace(start - half, start + N_PAIRS * SECONDS_BETWEEN + half, N_RENDERS + 1)
    return frames, np.mean([render(seconds) for seconds in (edges[1:] + edges[:-1]) / 2], axis=0, dtype=np.float32)


def make_blur(interpolator, frames):
    made = [frames[0]]
    for first, second in itertools.pairwise(frames):
        made += [*interpolator.between(first, second, TIMES, averaged=AVERAGED), second]
    assert len(made) == 19
    return np.mean(made, axis=0, dtype=np.float32)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--methods", default="flow,linear,rife,rife-4.6-symmetric,combined")
    parser.add_argument("--windows", type=int, default=12)
    parser.add_argument("--size", type=int, default=192, help="pixels a side")
    parser.add_argument("--device", default="cpu")
    options = parser.parse_args()
    torch.set_num_threads(1)
    photos = generated_triplets(options.size, 0, held_out=True)[0].photos
    windows = [draw_window(photos, options.size, seed) for seed in range(options.windows)]
    clock = time.process_time if options.device == "cpu" else time.perf_counter
    first = None
    print(f"{'method':<20}{'linear [dB]':>12}{'coded [dB]':>12}{'difference':>12}{'s/frame':>9}")
    for name in options.methods.split(","):
        interpolator = make_interpolator(name, device=options.device)
        scores, began = [], clock()
        for frames, truth in windows:
            blur = make_blur(interpolator, frames)
            pairs = ((blur, truth), (from_linear(blur, "srgb"), from_linear(truth, "srgb")))
            scores.append([psnr(*pair) for pair in pairs])
        seconds = (clock() - began) / (len(windows) * N_PAIRS * len(TIMES))
        linear, coded = np.mean(scores, axis=0)
        first = linear if first is None else first
        print(f"{name:<20}{linear:>12.2f}{coded:>12.2f}{linear - first:>+12.2f}{seconds:>9.3f}", flush=True)


if __name__ == "__main__":
    main()
