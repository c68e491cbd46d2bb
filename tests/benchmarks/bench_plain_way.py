"""Alignment beside the public way written plainly: processor time per blurry frame of the same take, in one run.

The plain way decodes both recordings to PNG files, reads and warps each by OpenCV, makes the five frames between every
two recorded ones by the library's own ``flow``, and gives each blurry frame the window within the same range, out of
all, whose mean has the least error behind a 3x4 color map fitted by numpy's least squares. Its cost per frame of each
kind is measured over some frames from the middle of the take, and counted as often as the take has them. It is spared
the coarse offset, which it takes from the alignment, and the writing of its result.

Run it with ``python tests/benchmarks/bench_plain_way.py``; a street take at 1920x1080 is simulated. ``--raw-dir`` and
``--calibration`` name another session, of which the first take is aligned.
"""

import argparse
import dataclasses
import itertools
import math
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import av
import cv2
import numpy as np

from rb2v.core.homography import crop_homography
from rb2v.interpolation import make_interpolator
from rb2v.io.aligned import AlignedTakeReader, aligned_take_path
from rb2v.io.calibration import read_calibration
from rb2v.io.config import read_raw_directory, read_takes

RB2V = (sys.executable, "-c", "from rb2v.cli import main; main()")
ENVIRONMENT = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1", "OPENCV_FOR_THREADS_NUM": "1"}


def run(*arguments):
    """Run a command of rb2v and return its processor seconds."""
    process = subprocess.Popen([*RB2V, *map(str, arguments)], stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return usage.ru_utime + usage.ru_stime


def simulate(root, seconds):
    size = ("--size", "1920x1080", "--categories", "street", "--seconds", seconds, "--test-seconds", 0)
    run("simulate", "--out", root / "raw", *size)
    run("calibrate", "--raw-dir", root / "raw", "--out", root / "calibration.json")
    return root / "raw", root / "calibration.json"


def to_png(path, folder, stop):
    """Decode the first frames of a video to PNG files, and return the files."""
    folder.mkdir()
    files = []
    with av.open(str(path)) as container:
        for index, frame in enumerate(container.decode(video=0)):
            if index == stop:
                break
            files.append(folder / f"{index:06d}.png")
            cv2.imwrite(str(files[-1]), frame.to_ndarray(format="bgr24"))
    return files


def warp(file, homography, size):
    image = cv2.cvtColor(cv2.imread(str(file)), cv2.COLOR_BGR2RGB)
    return cv2.warpPerspective(image, homography, size, flags=cv2.INTER_LINEAR)


def search(steps, blurry, positions, first, rig):
    """Return the best of some positions, as Algorithm 1 of the paper goes through them."""
    best, least = None, math.inf
    target = blurry.reshape(-1, 3) / 255
    for position in positions:
        start = (position - first) * rig.blur_factor
        mean = np.mean(steps[start : start + rig.blur_samples], axis=0).reshape(-1, 3) / 255
        source = np.column_stack([mean, np.ones(len(mean))])
        color = np.linalg.lstsq(source, target, rcond=None)[0]
        error = np.mean((source @ color - target) ** 2)
        if error < least:
            best, least = position, error
    return best


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--raw-dir", type=Path)
    parser.add_argument("--calibration", type=Path)
    parser.add_argument("--seconds", type=float, default=3.0, help="of the simulated take")
    parser.add_argument("--frames", type=int, default=2, help="blurry frames that the plain way searches")
    parser.add_argument("--pairs", type=int, default=8, help="pairs of sharp frames that it is timed on")
    options = parser.parse_args()
    if not ENVIRONMENT.items() <= os.environ.items():  # which libraries read when they are loaded
        os.execve(sys.executable, [sys.executable, *sys.argv], os.environ | ENVIRONMENT)
    with tempfile.TemporaryDirectory() as temporary:
        root = Path(temporary)
        raw_dir, calibration_path = options.raw_dir, options.calibration
        if raw_dir is None:
            raw_dir, calibration_path = simulate(root, options.seconds)
        rig, take = read_raw_directory(raw_dir).rig, read_takes(raw_dir)[0]
        calibration = read_calibration(calibration_path)
        arguments = ("--raw-dir", raw_dir, "--calibration", calibration_path, "--out", root / "aligned")
        ours = run("align", *arguments, "--take", take.name, "--executor", "serial")
        with AlignedTakeReader(aligned_take_path(root / "aligned", take.name)) as reader:
            frames, n_sharp = reader.read_frames(), None
        with av.open(str(take.sharp[0])) as container:
            n_sharp = container.streams.video[0].frames
        n_blurry, per_frame = len(frames), rig.blur_steps_per_frame
        radius = math.ceil(rig.search_range_seconds * rig.fine_fps)
        n_windows = 2 * radius + 1
        inside = [one for one in frames if radius <= one.position < 2 * n_sharp - radius - rig.frames_per_sequence - 1]
        chosen = inside[len(inside) // 2 :][: options.frames]
        to_output = crop_homography(dataclasses.astuple(calibration.crop), rig.output_size)

        # Every image to PNG, back, and warped.
        first = (chosen[0].position - radius) // rig.upsampling
        last = -(-(chosen[-1].position + radius + rig.frames_per_sequence) // rig.upsampling) + 1
        start = time.process_time()
        sharp_files = to_png(take.sharp[0], root / "sharp", last + 1)
        blurry_files = to_png(take.blurry[0], root / "blurry", chosen[-1].blurry_index + 1)
        decoding = (time.process_time() - start) / (len(sharp_files) + len(blurry_files))
        start = time.process_time()
        homography = to_output @ calibration.homography
        sharp = [warp(file, homography, rig.output_size) for file in sharp_files[first:]]
        blurry = [warp(blurry_files[one.blurry_index], to_output, rig.output_size) for one in chosen]
        warping = (time.process_time() - start) / (len(sharp) + len(blurry))

        # Five frames between every two, from the library.
        interpolator = make_interpolator("flow", response=rig.response)
        times = [step / per_frame for step in range(1, per_frame)]
        n_pairs = min(options.pairs, len(sharp) - 1)
        interpolator.between(sharp[0], sharp[1], times)
        start, steps = time.process_time(), []
        for first_image, second_image in itertools.pairwise(sharp[: n_pairs + 1]):
            steps += [first_image, *interpolator.between(first_image, second_image, times)]
        between = (time.process_time() - start) / n_pairs
        # For what the search costs blends do as well.
        blending = make_interpolator("linear", response=rig.response)
        for first_image, second_image in itertools.pairwise(sharp[n_pairs:]):
            steps += [first_image, *blending.between(first_image, second_image, times)]
        steps = np.stack([*steps, sharp[-1]])

        start, found = time.process_time(), []
        for one, image in zip(chosen, blurry, strict=True):
            positions = range(one.position - radius, one.position + radius + 1)
            found.append(search(steps, image, positions, first * rig.upsampling, rig))
        searching = (time.process_time() - start) / len(chosen)

    images = (n_sharp + n_blurry) / n_blurry
    plain = images * (decoding + warping) + n_sharp / n_blurry * between + searching
    print(f"{n_blurry} blurry and {n_sharp} sharp frames, {n_windows} windows for each; processor per blurry frame:")
    print(f"plain way {plain:.2f} s: to PNG {images * decoding:.2f}, reading and warping {images * warping:.2f}, ")
    print(f"  interpolation {n_sharp / n_blurry * between:.2f}, windows {searching:.2f}")
    print(f"rb2v align {ours / n_blurry:.3f} s, starting included")
    print(f"ratio {plain * n_blurry / ours:.1f}")
    print("positions:", ", ".join(f"{place} ({one.position})" for place, one in zip(found, chosen, strict=True)))


if __name__ == "__main__":
    main()
