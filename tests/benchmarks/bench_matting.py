"""How many samples are keyed and composited a second: 8 frames of 448x448 each, from coded frames to coded composites.

Run it with ``python tests/benchmarks/bench_matting.py``. The face and hand takes that it simulates are keyed with
`chroma`, in one process and in two at once; beside it stand the conversion to linear light and back, which any
compositing has to do, and a plain key: a threshold on green less the greater of red and blue. Where pymatting is
installed, its multi-level estimation of the foreground (which the key's own foreground stands in for) is timed on the
same mattes.
"""

import multiprocessing
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np
from simulated_session import make_aligned

from rb2v.core.color import encode, to_linear
from rb2v.core.compositing import composite
from rb2v.io.aligned import AlignedTakeReader, aligned_take_path, read_aligned_manifest
from rb2v.matting import fit_to_take, make_matting_method

N_SAMPLES, N_ROUNDS, TARGET = 12, 3, 15.0
TAKES = ("face_train", "hand_train")


def read_take(folder, name):
    """Return the matting method of a take and some of its samples."""
    response = read_aligned_manifest(folder).response
    with AlignedTakeReader(aligned_take_path(folder, name)) as reader:
        matter = fit_to_take(reader, make_matting_method("chroma"), response)
        samples = [reader.read(index) for index in range(min(N_SAMPLES, len(reader)))]
    return response, matter, samples


def lay(sharp, blurry, background, response):
    """Return the coded composites of a sample's mattes."""
    pairs = [*zip(sharp.premultiplied_linear, sharp.alpha, strict=True), (blurry.premultiplied_linear, blurry.alpha)]
    return [encode(composite(light, alpha, background), response) for light, alpha in pairs]


def key(sample, matter, background, response):
    """Return the composites of a sample."""
    return lay(*matter.matte(sample.sharp, sample.blurry), background, response)


def convert(sample, _, background, response):
    """Return the frames as they are, by way of linear light."""
    return [encode(to_linear(frame, response), response) for frame in (*sample.sharp, sample.blurry)]


def key_plainly(sample, _, background, response):
    """Return composites by a threshold."""
    pictures = []
    for frame in (*sample.sharp, sample.blurry):
        red, green, blue = cv2.split(frame)
        alpha = (green < np.maximum(red, blue).astype(np.int16) + 35).astype(np.float32)
        light = to_linear(frame, response) * alpha[..., None]
        pictures.append(encode(composite(light, alpha, background), response))
    return pictures


def rate(folder, work, barrier=None):
    """Return the samples a second of the best of a few rounds over all takes, on one core."""
    cv2.setNumThreads(1)
    takes = [read_take(folder, name) for name in TAKES]
    height, width = takes[0][2][0].blurry.shape[:2]
    background = np.random.default_rng(0).uniform(size=(height, width, 3)).astype(np.float32)
    rates = []
    for _ in range(N_ROUNDS):
        if barrier is not None:
            barrier.wait()
        start = time.perf_counter()
        for response, matter, samples in takes:
            for sample in samples:
                work(sample, matter, background, response)
        rates.append(sum(len(samples) for *_, samples in takes) / (time.perf_counter() - start))
    return max(rates)


def rate_of_two(folder):
    """Return the samples a second of two processes that key at the same time."""
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(2), context.Queue()
    workers = [context.Process(target=_report, args=(folder, barrier, results)) for _ in range(2)]
    for worker in workers:
        worker.start()
    total = sum(results.get() for _ in workers)
    for worker in workers:
        worker.join()
    return total


def _report(folder, barrier, results):
    results.put(rate(folder, key, barrier))


def time_pymatting(folder):
    """Return the seconds that pymatting takes for the foregrounds of a sample; None where it is not installed."""
    try:
        from pymatting import estimate_foreground_ml
    except ImportError:
        return None
    response, matter, samples = read_take(folder, TAKES[0])
    mattes = matter.matte(samples[0].sharp, samples[0].blurry)
    linear = [to_linear(frame, response) for frame in (*samples[0].sharp, samples[0].blurry)]
    alphas = [*mattes[0].alpha, mattes[1].alpha]
    estimate_foreground_ml(linear[0].astype(np.float64), alphas[0].astype(np.float64))  # compiles
    start = time.perf_counter()
    for image, alpha in zip(linear, alphas, strict=True):
        estimate_foreground_ml(image.astype(np.float64), alpha.astype(np.float64))
    return time.perf_counter() - start


def main():
    with tempfile.TemporaryDirectory() as scratch:
        folder = make_aligned(Path(scratch), seconds=0.6, categories=("face", "hand"))
        one, plain, conversion = (rate(folder, work) for work in (key, key_plainly, convert))
        two = rate_of_two(folder)
        foregrounds = time_pymatting(folder)
    print(
        f"one process: {one:.1f} samples/s, {one / conversion:.2f} of the conversion alone ({conversion:.1f}), ", end=""
    )
    print(f"{one / plain:.2f} of the plain key ({plain:.1f})")
    print(
        f"two processes: {two:.1f} samples/s, {two / one:.2f} times one, {two / TARGET:.2f} of the target ({TARGET:g})"
    )
    if foregrounds is not None:
        print(
            f"pymatting's foregrounds alone take {foregrounds * one:.2f} of the time of keying and compositing a sample"
        )


if __name__ == "__main__":
    main()
