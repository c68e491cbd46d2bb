"""How fast shards are synthesized, compared with frames as PNG and a mean of numpy, and with ``rb2v align``.

Run it with ``python tests/benchmarks/bench_synthesize.py [--part blur|flow|memory]``. Two clips of a simulated street,
448x448 at 240 fps, H.264, are made into samples by two processes, each with one thread: by the public way (every frame
to a PNG, `numpy.mean` of seven of them as they are read back, eight PNGs a sample), and by ``rb2v synthesize`` with the
same blur. The public way is also timed without the frames' own PNG, as if a data set came so, and then compared with
shards from those PNG. With flow, nineteen instants of four recorded frames are averaged, and the rate is compared with
that of ``rb2v align`` on a simulated session of the same output size. Memory is the peak of a process of its own, for
clips of two lengths.
"""

import argparse
import itertools
import os
import resource
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np
from threadpoolctl import threadpool_limits

from rb2v.core.color import encode
from rb2v.execution import ProcessExecutor
from rb2v.io.encoder import write_video
from rb2v.io.video import iter_frames
from rb2v.shards import ShardReader
from rb2v.simulator import SimulateConfig, simulate
from rb2v.simulator.config import SequencesConfig
from rb2v.simulator.sequences import build_take, split_photos
from rb2v.simulator.textures import list_photos
from rb2v.stages import align, calibrate
from rb2v.stages.synthesize import SynthesizeConfig, run

SIDE, FPS, N_WORKERS = 448, 240, 2
N_FRAMES = 7 * 200  # of a clip: 400 samples in all, so that the start of the processes counts little
N_RENDERED = 30  # frames of a clip, which is played there and back: rendering takes longer than all else
SESSION_SECONDS = 4.0  # of each of two takes
MEMORY_FRAMES = (7 * 40, 7 * 320)


def iter_street(index, n_frames, side=SIDE):
    config = SequencesConfig(size=side, seed=5)
    take = build_take(config, split_photos(list_photos(more=True), "train"), "train", index)
    rng = np.random.default_rng(index)
    for frame in range(n_frames):
        light = take.scene.render(frame / FPS, take.scene_to_view, (side, side))
        noisy = encode(light, "srgb") + rng.normal(0, 0.7, light.shape)  # levels, as the simulator's cameras have
        yield np.clip(np.rint(noisy), 0, 255).astype(np.uint8)


def write_clip(path, index, n_frames):
    few = list(iter_street(index, N_RENDERED))
    there_and_back = [*few, *few[-2:0:-1]]
    write_video(path, itertools.islice(itertools.cycle(there_and_back), n_frames), FPS)
    return path


def make_clips(folder, n_frames):
    folder.mkdir()
    for index in range(N_WORKERS):
        write_clip(folder / f"clip{index}.mp4", index, n_frames)
    return folder


def extract(path, folder):
    """Write every frame of a video as PNG."""
    cv2.setNumThreads(1)
    folder = folder / path.stem
    folder.mkdir(parents=True)
    for index, frame in enumerate(iter_frames([path])):
        cv2.imwrite(str(folder / f"{index:06d}.png"), cv2.cvtColor(frame.image, cv2.COLOR_RGB2BGR))
    return folder


def average(frames, out):
    """Write the mean of every seven PNG, and the seven, as PNG."""
    cv2.setNumThreads(1)
    paths = sorted(frames.iterdir())
    out = out / frames.name
    (out / "blur").mkdir(parents=True)
    (out / "sharp").mkdir()
    for start in range(0, len(paths) - 6, 7):
        sharp = [cv2.imread(str(path)) for path in paths[start : start + 7]]
        cv2.imwrite(str(out / "blur" / f"{start:06d}.png"), np.mean(sharp, axis=0).round().astype(np.uint8))
        for index, frame in enumerate(sharp):
            cv2.imwrite(str(out / "sharp" / f"{start:06d}_{index}.png"), frame)


def spent():
    """Return the wall clock, and the processor time of this process and its children, in seconds."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return np.array([time.perf_counter(), sum(one.ru_utime + one.ru_stime for one in used)])


def time_of(function, *arguments):
    """Return the seconds that a call takes, and those of processors, which others that run hardly change."""
    start = spent()
    function(*arguments)
    return spent() - start


def show(name, label, n_ours, ours, n_theirs, theirs):
    for kind, one, other in zip(("wall clock", "processor"), ours, theirs, strict=True):
        rates = n_ours / one, n_theirs / other
        print(f"{name}, {kind}: {rates[0]:.2f} samples/s, {label} {rates[1]:.2f}: {rates[0] / rates[1]:.2f} times")
    sys.stdout.flush()


def in_processes(function, items):
    with ProcessPoolExecutor(N_WORKERS, get_context("spawn")) as pool:
        list(pool.map(function, items))


def synthesize(source, out, **options):
    run(source, out, SynthesizeConfig(shard_samples=30, **options), executor=ProcessExecutor(N_WORKERS))


def compare_blur(root, n_frames):
    clips = make_clips(root / "clips", n_frames)
    videos = sorted(clips.iterdir())
    n_samples = N_WORKERS * (n_frames // 7)
    extraction = time_of(in_processes, partial(extract, folder=root / "png"), videos)
    averaging = time_of(in_processes, partial(average, out=root / "public"), sorted((root / "png").iterdir()))
    options = {"blur_samples": 7, "response": "linear", "test_share": 0.0}
    from_video = time_of(partial(synthesize, **options), clips, root / "shards")
    from_png = time_of(partial(synthesize, **options, layout="folders"), root / "png", root / "shards-png")
    label = "the public way"
    show("from videos", label, n_samples, from_video, n_samples, extraction + averaging)
    show("from PNG frames", label, n_samples, from_png, n_samples, averaging)
    alone = (extraction + averaging)[1]  # what two processes compute, one after the other
    print(f"the public way in one process, as scripts run it: {n_samples / alone:.2f} samples/s", flush=True)


def compare_flow(root, n_frames, seconds):
    simulated = SimulateConfig(seconds=seconds, categories=("street",))  # two takes: one to train, one to test
    simulate(root / "raw", simulated, executor=ProcessExecutor(N_WORKERS))
    calibrate.run(root / "raw", root / "calibration.json")
    records = []

    def align_session():
        align.run(
            root / "raw",
            root / "calibration.json",
            root / "aligned",
            execution=align.Execution(
                executor=ProcessExecutor(N_WORKERS), on_take=lambda record, _: records.append(record)
            ),
        )

    aligned = time_of(align_session)
    clips = root / "clips" if (root / "clips").is_dir() else make_clips(root / "clips", n_frames)
    # Every tenth recorded frame begins a sequence of four.
    made = time_of(partial(synthesize, upsampling=2, blur_samples=19, test_share=0.0, stride=10), clips, root / "flow")
    n_samples = len(ShardReader(root / "flow"))
    show("with flow", "align", n_samples, made, sum(record.n_frames for record in records), aligned)


def measure_memory(root):
    for n_frames in MEMORY_FRAMES:
        clips = write_clip(root / f"memory{n_frames}.mp4", 0, n_frames)
        for options in ("plain", "flow"):
            command = [sys.executable, __file__, "--run", str(clips), str(root / f"out-{n_frames}-{options}"), options]
            shown = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
            print(f"{n_frames} frames, {options}: {shown}", flush=True)


def run_alone(source, out, options):
    chosen = {"blur_samples": 7} if options == "plain" else {"blur_samples": 19, "stride": 70}
    run(Path(source), Path(out), SynthesizeConfig(shard_samples=30, **chosen))
    print(f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB at the peak")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--part", choices=("blur", "flow", "memory"))
    parser.add_argument("--frames", type=int, default=N_FRAMES, help="of each clip, for the parts blur and flow")
    parser.add_argument("--seconds", type=float, default=SESSION_SECONDS, help="of the session that align is timed on")
    parser.add_argument("--run", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    if options.run:
        run_alone(*options.run)
        return
    with tempfile.TemporaryDirectory() as name, threadpool_limits(1):
        parts = {
            "blur": partial(compare_blur, n_frames=options.frames),
            "flow": partial(compare_flow, n_frames=options.frames, seconds=options.seconds),
            "memory": measure_memory,
        }
        for part, measure in parts.items():
            if options.part in (None, part):
                measure(Path(name))


if __name__ == "__main__":
    main()
