"""The search of a 20 s take against Algorithm 1 as it is written: numpy's least squares and a PSNR for every window.

Run it with ``python tests/benchmarks/bench_search.py``. Both get the same frames, 448x448, in memory: the fine track,
500 blurry frames and a range of one second to either side. The literal search is timed on a few windows, evenly spread,
and scaled to all of them; a full one takes hours. Reading is timed twice: copying every frame once, and turning every
frame into linear light, which is the least that a search has to do with it. The first lines give the peak memory of
scoring takes of 20 and of 200 s whose reduced frames lie on disk.
"""

import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

from rb2v.core.blur import STORED_LEVELS, StepWindows
from rb2v.core.color import to_linear
from rb2v.core.temporal import errors_to_psnr, find_peak, search_errors
from rb2v.io.frame_file import FrameFile
from rb2v.stages.align.track import quantize, shrink

SIZE, SMALL, RADIUS, SECONDS = 448, 56, 200, 20
N_SAMPLES, BLUR_FACTOR, STRIDE = 7, 3, 8
N_LITERAL_FRAMES, N_LITERAL_WINDOWS = 4, 9
TRACK_SIZE = (112, 112)


def make_take(rng):
    """A texture on a path that does not repeat itself; every blurry frame the mean of its 19 blur-track frames."""
    n_blurry = 25 * SECONDS
    n_fine = STRIDE * n_blurry
    noise = rng.random((700, 700, 3), dtype=np.float32)
    texture = sum(cv2.GaussianBlur(noise, (0, 0), sigma) * sigma for sigma in (1.5, 6, 20))
    texture = (texture - texture.min()) / np.ptp(texture)
    t = np.arange(n_fine) / 200
    path = np.stack([60 * np.sin(2.1 * t) + 40 * np.sin(5.3 * t), 60 * np.cos(1.7 * t) + 40 * np.sin(4.1 * t + 1)], 1)
    fine = np.empty((n_fine, SIZE, SIZE, 3), np.uint8)
    for frame, (x, y) in zip(fine, path, strict=True):
        shift = np.array([[1, 0, -126 - x], [0, 1, -126 - y]])
        np.copyto(frame, np.rint(255 * cv2.warpAffine(texture, shift, (SIZE, SIZE))).astype(np.uint8))
    mixing = np.array([[0.9, 0.05, 0.0], [0.02, 0.93, 0.0], [0.0, 0.03, 0.9]])
    positions = np.minimum(STRIDE * np.arange(n_blurry), n_fine - N_SAMPLES)
    blurry = np.empty((n_blurry, SIZE, SIZE, 3), np.uint8)
    for frame, position in zip(blurry, positions, strict=True):
        window = synthetic_blur(fine, position) @ mixing.T + 0.02
        np.copyto(frame, np.rint(np.clip(window * 255 + rng.normal(0, 1, window.shape), 0, 255)).astype(np.uint8))
    return fine, blurry, positions


def synthetic_blur(fine, position):
    """The mean of the 19 blur-track frames of a window; those between fine frames are cross-faded."""
    weights = np.array([2, 3, 3, 3, 3, 3, 2]) / 19
    return np.tensordot(weights, fine[position : position + N_SAMPLES] / np.float32(255), axes=1)


def search_literally(fine, frame, positions):
    """Algorithm 1 (with its best window kept), for some positions."""
    target = (frame / 255).reshape(-1, 3)
    scores = []
    for position in positions:
        window = synthetic_blur(fine, position).reshape(-1, 3)
        design = np.column_stack([window, np.ones(len(window))])
        color_map = np.linalg.lstsq(design, target, rcond=None)[0]
        scores.append(-10 * np.log10(np.mean((np.clip(design @ color_map, 0, 1) - target) ** 2)))
    return np.array(scores)


def reduce(frames):
    """What the stage compares: linear light (here the coded values), reduced by way of the size for flow."""
    return np.stack([quantize(shrink(shrink(to_linear(f, "linear"), TRACK_SIZE), (SMALL, SMALL))) for f in frames])


def blur_track(reduced):
    """Cross-fade two frames between every two of the fine track."""
    steps = np.empty(((len(reduced) - 1) * BLUR_FACTOR + 1, *reduced.shape[1:]), np.uint16)
    a, b = reduced[:-1].astype(np.uint32), reduced[1:].astype(np.uint32)
    steps[::BLUR_FACTOR] = reduced
    steps[1::BLUR_FACTOR], steps[2::BLUR_FACTOR] = (2 * a + b) // 3, (a + 2 * b) // 3
    return steps


def search(steps, small, expected):
    windows = StepWindows(steps, N_SAMPLES, BLUR_FACTOR)
    return search_errors(windows, small / STORED_LEVELS, expected - RADIUS, 2 * RADIUS + 1)


def timed(function, *arguments):
    start = time.perf_counter()
    result = function(*arguments)
    return result, time.perf_counter() - start


def copy_all(*stacks):
    buffer = np.empty_like(stacks[0][0])
    for stack in stacks:
        for frame in stack:
            np.copyto(buffer, frame)


def convert_all(*stacks):
    for stack in stacks:
        for frame in stack:
            to_linear(frame, "srgb")


def compare():
    rng = np.random.default_rng(0)
    fine, blurry, positions = make_take(rng)
    expected = positions + rng.integers(-150, 150, len(positions))
    copying = min(timed(copy_all, fine, blurry)[1] for _ in range(3))
    converting = timed(convert_all, fine, blurry)[1]
    (reduced, small), reducing = timed(lambda: (reduce(fine), reduce(blurry)))
    steps = blur_track(reduced)
    errors, scoring = min((timed(search, steps, small, expected) for _ in range(3)), key=lambda pair: pair[1])
    peaks = [find_peak(row) for row in errors]
    found = np.array([first + peak.index for first, peak in zip(expected - RADIUS, peaks, strict=True)])
    fine_found = found + np.array([peak.offset for peak in peaks])

    n_windows = int(np.isfinite(errors).sum())
    literal_seconds, same = 0.0, 0
    chosen = np.linspace(20, len(blurry) - 20, N_LITERAL_FRAMES).astype(int)
    for index in chosen:
        near = found[index] + np.arange(-(N_LITERAL_WINDOWS // 2), N_LITERAL_WINDOWS // 2 + 1)
        scores, seconds = timed(search_literally, fine, blurry[index], near)
        literal_seconds += seconds
        same += near[int(scores.argmax())] == found[index]
    literal = literal_seconds / (N_LITERAL_FRAMES * N_LITERAL_WINDOWS) * n_windows
    total = reducing + scoring
    print(f"{len(blurry)} blurry frames, {n_windows} windows of {SIZE}x{SIZE}")
    print(f"literal search {literal:8.0f} s (scaled from {N_LITERAL_FRAMES * N_LITERAL_WINDOWS} windows)")
    print(f"closed form    {total:8.2f} s: reducing the frames {reducing:.2f} s, scoring {scoring:.2f} s")
    print(f"               {literal / total:.0f} times as fast with reducing, {literal / scoring:.0f} times without")
    print(f"reading once   {copying:8.2f} s as a copy, {converting:.2f} s into linear light")
    print(f"               scoring takes {scoring / copying:.1f} and {scoring / converting:.2f} times as long,")
    print(f"               with reducing {total / copying:.1f} and {total / converting:.2f} times")
    right = np.abs(found - positions) == 0
    print(f"same best window as the literal search: {same} of {N_LITERAL_FRAMES} frames tried")
    print(f"the true window: {right.mean():.1%} of all frames")
    print(f"sub-frame error: {np.abs(fine_found - positions)[right].mean():.4f} fine frames in the mean")


def score_from_disk(seconds):
    """Score a take whose frames are all the same, and print the peak memory in MB."""
    n_blurry = 25 * seconds
    with tempfile.TemporaryDirectory() as folder:
        steps, small = (FrameFile(Path(folder, name), np.uint16) for name in ("steps", "small"))
        frame = np.random.default_rng(0).integers(0, 65535, (SMALL * SMALL, 3), dtype=np.uint16)
        for _ in range(n_blurry):
            small.append(frame)
            for _ in range(STRIDE * BLUR_FACTOR):
                steps.append(frame)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        windows = StepWindows(steps, N_SAMPLES, BLUR_FACTOR)
        scores = []
        for start in range(0, n_blurry, 256):
            first = STRIDE * np.arange(start, min(start + 256, n_blurry)) - RADIUS
            some = small[start : start + 256] / STORED_LEVELS
            scores.append(errors_to_psnr(search_errors(windows, some, first, 2 * RADIUS + 1)).astype(np.float32))
    after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    print(f"{after / 1024:.0f} MB at the peak, {before / 1024:.0f} MB before", end="")


def main():
    if len(sys.argv) > 1:
        score_from_disk(int(sys.argv[1]))
        return
    # First, while this process is still small: a child begins with its parent's peak.
    for seconds in (20, 200):
        command = [sys.executable, __file__, str(seconds)]
        told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        print(f"scoring a take of {seconds:3d} s: {told}")
    compare()


if __name__ == "__main__":
    main()
