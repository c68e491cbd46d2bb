"""Published layouts, built from real clips."""

import itertools
import re
from collections import Counter, defaultdict
from pathlib import Path

import cv2
import numpy as np
import pytest

from rb2v.io.video import read_image, write_image
from rb2v.shards import ShardReader, verify
from rb2v.stages.synthesize import SynthesizeConfig, run
from rb2v.stages.synthesize.footage import Footage
from rb2v.stages.synthesize.layouts import Clip

SIDE = 96
CLIPS = {
    "cups": ("video/02_cups.mp4", 14),
    "road": ("video/car-detection.mp4", 14),
    "person": ("greenscreen/mdn_chroma_60fps.mp4", 42),
    "pan": ("highspeed/pan_240fps.mp4", 21),
    "phone": ("highspeed/phone_4k60_vfr.mp4", 7),
}
"""By name: a recording, and how many of its frames."""
TEST = "cups"
"""The clip of the test split, where a layout says it."""


@pytest.fixture(scope="module")
def recorded(shared_data, tmp_path_factory):
    """The frames of each clip as PNG, by name of the clip."""
    root = tmp_path_factory.mktemp("recorded")
    paths = {}
    for name, (place, n_frames) in CLIPS.items():
        footage = Footage(Clip(name, shared_data / place))
        paths[name] = []
        for index, _, image in itertools.islice(footage.frames(), n_frames):
            height, width, _ = image.shape
            side = min(height, width, 720)
            y, x = ((length - side) // 4 * 2 for length in (height, width))
            square = image.part(slice(y, y + side), slice(x, x + side)).rgb()
            small = cv2.resize(square, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
            paths[name].append(write_image(root / f"{name}-{index}.png", small))
    return paths


def place_reds(root: Path, name: str, number: int, index: int) -> Path:
    split = "val" if name == TEST else "train"
    return root / split / f"{split}_orig" / f"{number:03d}" / f"{index:08d}.png"


def place_gopro(root: Path, name: str, number: int, index: int) -> Path:
    split = "test" if name == TEST else "train"
    return root / split / f"GOPR{number:04d}_11_00" / f"{index + 47:06d}.png"


def place_adobe240(root: Path, name: str, number: int, index: int) -> Path:
    return root / name / f"{index}.png"


def place_folders(root: Path, name: str, number: int, index: int) -> Path:
    return root / ("test" if name == TEST else "train") / name / f"frame_{index:05d}.png"


def place_triplets(root: Path, name: str, number: int, index: int) -> Path:
    return root / "sequences" / f"{number:05d}" / f"{index // 3 + 1:04d}" / f"im{index % 3 + 1}.png"


PLACES = {
    "reds": place_reds,
    "gopro": place_gopro,
    "adobe240": place_adobe240,
    "folders": place_folders,
    "vimeo90k-triplet": place_triplets,
}


SEVENS = {
    "cups": {"": 2},
    "road": {"": 2},
    "person": {"": 5, "repeat": 1},
    "pan": {"": 3},
    "phone": {"": 1},
}
"""Sequences of seven recorded frames, by clip and reason."""
EXPECTED = {
    "gopro": SEVENS,
    "adobe240": SEVENS,
    "folders": SEVENS,
    "reds": SEVENS | {"cups": {"": 3}, "road": {"static": 3}, "person": {"": 9, "repeat": 1}, "pan": {"": 5}},
    "vimeo90k-triplet": {
        "cups": {"": 4},
        "road": {"static": 4},
        "person": {"": 13, "repeat": 1},
        "pan": {"": 7},
        "phone": {"": 2},
    },
}


def write_lists(root: Path, layout: str, folders: list[Path]) -> None:
    names = {
        "adobe240": ("adobe240fps_folder_train.txt", "adobe240fps_folder_test.txt"),
        "vimeo90k-triplet": ("tri_trainlist.txt", "tri_testlist.txt"),
    }
    for name, is_test in zip(names.get(layout, ()), (False, True), strict=False):
        shown = ["/".join(folder.relative_to(root).parts[-2:]) for folder in folders]
        held = [one.removeprefix("sequences/") for one in shown if (clip_of(one) == TEST) == is_test]
        (root / name).write_text("\n".join(held) + "\n")


def clip_of(name: str) -> str:
    """Return the clip that a folder, or a clip of the data set, was made of."""
    named = next((clip for clip in CLIPS if clip in name), None)
    numbers = re.search(r"GOPR(\d+)|(\d+)", name)
    return named or list(CLIPS)[int(numbers[1] or numbers[2])]


@pytest.mark.parametrize("layout", list(PLACES))
def test_a_published_layout_of_real_clips(recorded, tmp_path, layout):
    frames_of = defaultdict(list)
    for number, (name, paths) in enumerate(recorded.items()):
        for index, path in enumerate(paths[: len(paths) // 3 * 3] if layout == "vimeo90k-triplet" else paths):
            place = PLACES[layout](tmp_path / "source", name, number, index)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.hardlink_to(path)
            frames_of[place.parent].append(path)
    write_lists(tmp_path / "source", layout, list(frames_of))

    config = SynthesizeConfig(layout=layout, blur_samples=7, interpolator="linear", max_per_clip=1)
    made = run(tmp_path / "source", tmp_path / "out", config)

    counts = defaultdict(Counter)
    for clip in made.clips:
        assert clip.split == ("test" if clip_of(clip.name) == TEST else "train")
        counts[clip_of(clip.name)].update({"": clip.accepted + clip.surplus} | dict(clip.reasons))
    assert {name: {reason: n for reason, n in found.items() if n} for name, found in counts.items()} == EXPECTED[layout]
    assert verify(tmp_path / "out", read_all=True) == []
    folder_of = {"-".join(folder.relative_to(tmp_path / "source").parts): folder for folder in frames_of}
    step = config.sharp_per_recorded
    for split in ("train", "test"):
        for sample in ShardReader(tmp_path / "out", split).iterate(shuffle=False):
            assert sample.is_interpolated.tolist() == [bool(place % step) for place in range(7)]
            (folder,) = {one for name, one in folder_of.items() if name.replace("_orig", "").endswith(sample.take)}
            first = sample.position // step
            recorded_frames = [read_image(path) for path in frames_of[folder][first : first + 6 // step + 1]]
            np.testing.assert_array_equal(sample.sharp[::step], recorded_frames)
