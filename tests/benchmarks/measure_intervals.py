"""Count how often the intervals of the clock hold what is true, over many simulated takes.

Run: python tests/benchmarks/measure_intervals.py --takes 200 --seed 701

Takes of the second family, each with a scene, an offset and a drift of its own (normal, 50 ppm). Frames are drawn at
the output's size and encoded as H.264; nothing has to be registered, so that the search and the clock alone are looked
at. Prints the share of takes whose 95 % intervals hold the sharp camera's time where the line is known best, the drift
by the frames alone, and the drift under the prior; by how many standard errors each is off, root mean square; and the
error of the first in fine frames. Intervals of what frames alone tell are Student's, of `n_effective` frames.
"""

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np
from scipy.special import ndtri, stdtrit

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from second_rigs import SecondRig, SecondSession

from rb2v.artifacts import Calibration, CalibrationQuality, Crop, Take
from rb2v.core.color import to_linear
from rb2v.io.config import read_rig
from rb2v.io.frame_file import FrameFile
from rb2v.io.video import iter_frames
from rb2v.stages.align import AlignConfig, Resources
from rb2v.stages.align.context import RunContext, TakeContext
from rb2v.stages.align.search import search_windows
from rb2v.stages.align.timing import fit_take_clock
from rb2v.stages.align.track import BlurryTrack, Reducer, SharpSource, Track, Tracks, append_reduced

SIZE = (96, 96)
LEAST_FREEDOM = 3  # as where frames are judged
DRIFT_PPM = 50.0


def record_take(seed, seconds, root):
    """Return a session of one take, and the decoded frames, (n, H, W, 3) uint8, of its blurry and its sharp camera."""
    rng = np.random.default_rng([seed, 9])
    session = SecondSession(SecondRig(size=SIZE, drift_ppm=float(rng.normal(0, DRIFT_PPM))), seed, SIZE)
    session.homography = np.eye(3)
    session.write(root, 1, seconds, captures=False)
    (take,) = session.takes
    paths = [root / "takes" / take.name / f"{camera}.mp4" for camera in ("blurry", "sharp")]
    return session, [np.stack([frame.image for frame in iter_frames([path])]) for path in paths]


def fit_clock_of(session, frames, root):
    """Return the clock that the search finds, given the coarse offset to within 20 ms."""
    rig, size = read_rig(root / "rig.yaml"), SIZE
    calibration = Calibration(
        np.eye(3), False, size, size, Crop(0, 0, *size), None, CalibrationQuality(0.0, 1, 4, None)
    )
    run = RunContext(rig, calibration, AlignConfig(interpolator="linear"), Resources(device="cpu"), root)
    context = TakeContext(Take("take", "street", "take", False, None, (), ()), run, root)
    tracks = [
        Track(some, np.arange(len(some)) / fps, np.zeros(len(some), dtype=np.bool_))
        for some, fps in zip(frames, (rig.blurry_fps, rig.sharp_fps), strict=True)
    ]
    sizes = (context.track_size, context.reduced_size)
    reduced = FrameFile(root / "small", np.uint16)
    for frame in frames[0]:
        append_reduced(reduced, to_linear(frame, "srgb"), sizes)
    sharp = SharpSource(tracks[1], rig, context.interpolator)
    small = sharp.reduce(Reducer(sizes, root / "reduced", None))
    made = Tracks(BlurryTrack(tracks[0], reduced, None), sharp, small, small.windows(rig), None, None)
    (take,) = session.takes
    coarse = take.offset_seconds + np.random.default_rng(take.motion_seed).uniform(-0.02, 0.02)
    return fit_take_clock(context, made, search_windows(context, made, coarse))


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--takes", type=int, default=200)
    parser.add_argument("--seed", type=int, default=701)
    parser.add_argument("--seconds", type=float, default=2.0)
    options = parser.parse_args()
    offs, frames_off, widths = [], [], []
    for number in range(options.takes):
        with tempfile.TemporaryDirectory() as folder:
            session, frames = record_take(1000 * options.seed + number, options.seconds, Path(folder))
            clock = fit_clock_of(session, frames, Path(folder))
        (take,), drift = session.takes, 1e-6 * session.rig.drift_ppm
        true = take.offset_seconds + (1 + drift) * clock.center_seconds
        freedom = max(round(clock.n_effective) - 2, LEAST_FREEDOM)
        widths.append((stdtrit(freedom, 0.975), stdtrit(freedom, 0.975), ndtri(0.975)))
        off_seconds = clock.sharp_time(clock.center_seconds) - true
        frames_off.append(2 * float(session.rig.rates[1]) * off_seconds)
        offs.append(
            (
                off_seconds / clock.center_error_seconds,
                (clock.own_drift - drift) / clock.own_drift_error,
                (clock.drift - drift) / clock.drift_error,
            )
        )
    table = np.abs(offs)
    shares, rms = (table <= widths).mean(axis=0), np.sqrt(np.square(table).mean(axis=0))
    for name, share, off in zip(("time", "drift alone", "drift under the prior"), shares, rms, strict=True):
        print(f"{name}: {share:.1%} of {len(table)} takes, {off:.2f} standard errors")
    print(f"time: {np.sqrt(np.square(frames_off).mean()):.4f} fine frames, {np.abs(frames_off).max():.4f} at most")


if __name__ == "__main__":
    main()
