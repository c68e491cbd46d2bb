"""Table 5 on real faces and hands: data sets from real clips, held-out clips, three seeds.

Run it with ``python tests/benchmarks/measure_trajectories.py --data DATA --out OUT``. Of every clip the parts are cut
out in which a face or a hand is found, each with a square around it that is static; slow clips are played faster.
``rb2v synthesize`` makes data sets of them, whose test split is other clips, and ``rb2v benchmark trajectories``
trains and compares. What is there already is kept.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np

from rb2v.io.encoder import write_video
from rb2v.io.video import iter_frames
from rb2v.landmarks import LandmarkConfig, Tracker, load_models

# Clip, split, and every how many of its frames is taken: of slow clips few, so that something moves.
CLIPS = {
    "face": [
        ("greenscreen/mdn_chroma_60fps.mp4", "train", 2),
        ("faces/head-pose-female.gif", "train", 1),
        *((f"hands/asl_{name}.mkv", "train", 1) for name in ("hungry", "milk", "no", "please", "thanks", "walk")),
        ("faces/carphone_pristine.mp4", "test", 1),
        *((f"hands/asl_{name}.mkv", "test", 1) for name in ("again", "book", "yes")),
    ],
    "hand": [
        ("video/02_cups.mp4", "train", 1),
        ("video/cup.mp4", "train", 1),
        *((f"hands/asl_{name}.mkv", "train", 1) for name in ("hungry", "milk", "no", "please", "thanks", "walk")),
        ("hands/hand_open.mp4", "test", 3),
        ("video/04_coffee.mp4", "test", 2),
        *((f"hands/asl_{name}.mkv", "test", 1) for name in ("again", "book", "yes")),
    ],
}
SIDE_PX = 128  # of the cut clips; the data set's frames have 96
PART_FRAMES = (14, 35)  # least for two sequences, most before whoever moves has left the square
ROOM = 1.5  # of the square around all points of a part
SYNTHESIZE = (
    *("--output-size", "96x96", "--stride", "2", "--max-per-clip", "12"),
    *("--keep", "blurred", "--keep", "static"),
)


def parts_of(model, frames):
    """Yield frames of the clip's parts in which something is tracked, and the corners around all of its points."""
    tracker = Tracker(model, LandmarkConfig(max_instances=1, passes=1))
    part, corners = [], []
    for frame in [*frames, None]:
        found = [] if frame is None else list(tracker.update(frame).values())
        if found:
            part.append(frame)
            corners.append(found[0].corners)
        if (not found or len(part) == PART_FRAMES[1]) and part:
            if len(part) >= PART_FRAMES[0]:
                yield part, np.array(corners)
            part, corners = [], []


def cut_square(part, corners):
    height, width = part[0].shape[:2]
    low, high = corners[:, 0].min(axis=0), corners[:, 1].max(axis=0)
    side = int(min(ROOM * (high - low).max(), height, width))
    left, top = (
        int(np.clip(middle - side / 2, 0, length - side))
        for middle, length in zip((low + high) / 2, (width, height), strict=True)
    )
    interpolation = cv2.INTER_AREA if side > SIDE_PX else cv2.INTER_CUBIC
    for frame in part:
        square = frame[top : top + side, left : left + side]
        yield cv2.resize(square, (SIDE_PX, SIDE_PX), interpolation=interpolation)


def cut_clips(data, out, target):
    (model,) = load_models([target])
    for name, split, step in CLIPS[target]:
        done = out / f"{Path(name).stem}.done"
        if done.exists():
            continue
        frames = [frame.image for frame in iter_frames([data / name])][::step]
        n_parts = 0
        for part, corners in parts_of(model, frames):
            path = out / "clips" / split / f"{Path(name).stem}-{n_parts:02d}.mp4"
            path.parent.mkdir(parents=True, exist_ok=True)
            write_video(path, cut_square(part, corners), 30, crf=6)
            n_parts += 1
        done.parent.mkdir(parents=True, exist_ok=True)
        done.touch()
        print(f"{target}: {name}: {len(frames)} frames, {n_parts} parts", flush=True)


def rb2v(*arguments):
    code = "from rb2v.cli import main; main()"
    subprocess.run([sys.executable, "-c", code, *map(str, arguments)], check=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--target", choices=("face", "hand"), action="append")
    parser.add_argument("--only", choices=("clips", "shards", "table"), action="append")
    parser.add_argument("rest", nargs="*", help="Options of 'rb2v benchmark trajectories', after --.")
    options = parser.parse_args()
    for target in options.target or ("face", "hand"):
        folder = options.out / target
        wanted = options.only or ("clips", "shards", "table")
        if "clips" in wanted:
            cut_clips(options.data, folder, target)
        shards = folder / "shards"
        if "shards" in wanted:
            rb2v("synthesize", folder / "clips", "--out", shards, "--category", target, *SYNTHESIZE)
        if "table" in wanted:
            rb2v("benchmark", "trajectories", "--shards", shards, "--out", folder / "report", *options.rest)


if __name__ == "__main__":
    main()
