"""How long every interpolation method takes for a frame, on the CPU and on a GPU where there is one.

Run it with ``python tests/benchmarks/bench_interpolation.py``; ``--methods flow,linear --sizes 128x96 --repeats 1`` is
a matter of seconds. For every size: seconds for one time between two frames, for each further time of the same pair
(``align`` asks for five, of which most methods estimate motion once), the ratio to blending, and how many times longer
the five take when each is asked for by itself. One thread, processor time on the CPU, so that others' work on the
machine counts little; the best of the repeats. Methods whose weights are not there are named. Images are two views of
one photograph, a few pixels apart.
"""

from __future__ import annotations

import argparse
import platform
import time

import cv2
import numpy as np
import torch
from skimage import data as skimage_data

from rb2v.errors import InputError
from rb2v.interpolation import INTERPOLATORS, make_interpolator

TIMES = (1 / 6, 1 / 3, 0.5, 2 / 3, 5 / 6)
SHIFT_PX = (5.0, 2.0)


def make_pair(width, height):
    photo = cv2.resize(skimage_data.astronaut(), (width + 16, height + 16), interpolation=cv2.INTER_CUBIC)
    views = []
    for share in (0.0, 1.0):
        x, y = (8 + share * shift for shift in SHIFT_PX)
        moved = cv2.warpAffine(photo, np.array([[1, 0, -x], [0, 1, -y]]), (width, height), flags=cv2.INTER_CUBIC)
        views.append((moved.astype(np.float32) / 255) ** 2)
    return views


def seconds(interpolator, pair, times, device, repeats):
    clock = time.perf_counter if device == "cuda" else time.process_time
    measured = []
    interpolator.between(*pair, times[:1])  # which loads what is loaded once
    for _ in range(repeats):
        start = clock()
        interpolator.between(*pair, times)
        if device == "cuda":
            torch.cuda.synchronize()
        measured.append(clock() - start)
    return min(measured)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--methods", default=",".join(INTERPOLATORS), help="names, with commas between")
    parser.add_argument("--sizes", default="448x448,1280x720")
    parser.add_argument("--devices", default="cpu,cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--repeats", type=int, default=3)
    options = parser.parse_args()
    cv2.setNumThreads(1)
    torch.set_num_threads(1)
    methods = options.methods.split(",")
    for device in options.devices.split(","):
        print(f"\n{device}: {torch.cuda.get_device_name() if device == 'cuda' else platform.machine()}")
        columns = f"{'one time [s]':>13}{'each further':>14}{'all five':>10}{'ratio':>8}{'apart':>8}"
        print(f"{'size':<11}{'method':<20}{columns}")
        for size in options.sizes.split(","):
            width, height = map(int, size.split("x"))
            pair = make_pair(width, height)
            linear = seconds(make_interpolator("linear"), pair, TIMES, device, options.repeats)
            for name in methods:
                try:
                    interpolator = make_interpolator(name, device=device)
                except InputError as error:
                    print(f"{size:<11}{name:<20}  {error}")
                    continue
                one, five = (seconds(interpolator, pair, times, device, options.repeats) for times in ([0.5], TIMES))
                further = max(five - one, 0) / (len(TIMES) - 1)
                cells = f"{one:>13.4f}{further:>14.4f}{five:>10.4f}{five / linear:>8.1f}{len(TIMES) * one / five:>8.2f}"
                print(f"{size:<11}{name:<20}{cells}", flush=True)


if __name__ == "__main__":
    main()
