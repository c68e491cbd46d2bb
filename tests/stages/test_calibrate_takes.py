"""Takes that begin with what is static: more captures, and witnesses of a misaligned rig and of exchanged folders."""

import dataclasses
import shutil

import numpy as np
import pytest
from sessions import shared_session

from rb2v.core.homography import warp_points
from rb2v.errors import InputError
from rb2v.io.calibration import read_calibration
from rb2v.io.encoder import write_video
from rb2v.io.video import iter_frames, read_image, write_image
from rb2v.stages.calibrate import CalibrateConfig, run

SIZE = (240, 180)
STILL = {"size": SIZE, "seconds": 0.3, "categories": ("street",), "motion": 0.0, "max_offset_seconds": 0.05}


@pytest.fixture(scope="module")
def still(shared):
    """A rig that nobody moved, and a take of what is static."""
    return shared_session(shared, **STILL, seed=4)


@pytest.fixture(scope="module")
def knocked(shared):
    """A rig that was moved after its captures."""
    return shared_session(shared, **STILL, bump_px=2.0, mirrored=False, seed=5)


def without_boards(made, folder):
    """Copy a raw directory with its captures of walls alone, and no checker."""
    shutil.copytree(made.raw, folder, ignore=shutil.ignore_patterns("color", "board*"))
    shutil.copy(made.root / "rig.yaml", folder.parent / "rig.yaml")
    return folder


def calibrate(raw, tmp_path, **settings):
    return run(raw, tmp_path / "c.json", CalibrateConfig(lenses="none", **settings))


def errors_px(made, path):
    calibration = read_calibration(path)
    return made.homography_errors_px(calibration.homography, dataclasses.astuple(calibration.crop))


def test_a_take_that_stands_still_counts_as_a_capture(still, tmp_path):
    raw = without_boards(still, tmp_path / "raw")
    path = calibrate(raw, tmp_path)
    assert read_calibration(path).quality.takes == 1
    assert errors_px(still, path).mean() < 0.03
    alone = calibrate(raw, tmp_path, takes=False)
    assert read_calibration(alone).quality.takes == 0


def test_a_take_that_moves_does_not(still, tmp_path, caplog):
    raw = without_boards(still, tmp_path / "raw")
    path = raw / "takes" / "street_train" / "sharp.mp4"
    frames = [np.roll(frame.image, index // 2, axis=1) for index, frame in enumerate(iter_frames([path]))]
    path.unlink()
    write_video(path, frames, 100)
    assert read_calibration(calibrate(raw, tmp_path)).quality.takes == 0
    assert "first frames" not in caplog.text


def test_a_knock_is_told_in_pixels(knocked, tmp_path, caplog):
    raw = without_boards(knocked, tmp_path / "raw")
    path = calibrate(raw, tmp_path)
    truth = knocked.truth.rig
    x, y = np.meshgrid(np.linspace(48, 191, 3), np.linspace(36, 143, 3))
    grid = np.column_stack([x.ravel(), y.ravel()])
    bumped = truth.during(knocked.truth.take("street_train")).homography
    true_px = np.median(np.linalg.norm(warp_points(bumped @ np.linalg.inv(truth.homography), grid) - grid, axis=1))
    said = caplog.text.split("takes/street_train: its still first frames lie ")[1].split(" px off")[0]
    assert float(said) == pytest.approx(true_px, abs=0.15)
    assert read_calibration(path).quality.takes == 0
    assert errors_px(knocked, path).mean() < 0.03, "the captures' own homography stays"


def exchange_folders(raw):
    geometry = raw / "calibration" / "geometry"
    for source, target in (("blurry", "aside"), ("sharp", "blurry"), ("aside", "sharp")):
        (geometry / source).rename(geometry / target)


def test_exchanged_folders_are_noticed_by_the_takes(still, tmp_path):
    raw = without_boards(still, tmp_path / "raw")
    exchange_folders(raw)
    with pytest.raises(InputError, match=r"geometry/blurry: holds the sharp camera's images.*takes/street_train"):
        calibrate(raw, tmp_path)
    assert not list(tmp_path.glob("c*"))


def resize_take(raw, camera, height):
    path = raw / "takes" / "street_train" / f"{camera}.mp4"
    frames = [frame.image[:height] for frame in iter_frames([path])]
    path.unlink()
    write_video(path, frames, 25 if camera == "blurry" else 100)


def test_exchanged_folders_are_noticed_by_sizes(still, tmp_path):
    raw = without_boards(still, tmp_path / "raw")
    for camera, height in (("blurry", 160), ("sharp", 180)):
        resize_take(raw, camera, height)
    for path in (raw / "calibration" / "geometry" / "sharp").iterdir():
        write_image(path, read_image(path)[:160])
    with pytest.raises(InputError, match="holds images of 240x180, the size of the sharp recording"):
        calibrate(raw, tmp_path)
    assert not list(tmp_path.glob("c*"))


def test_takes_of_other_sizes_are_named_and_left(still, tmp_path, caplog):
    raw = without_boards(still, tmp_path / "raw")
    resize_take(raw, "blurry", 160)
    assert read_calibration(calibrate(raw, tmp_path)).quality.takes == 0
    assert "takes/street_train: its first frames are not looked at: its recordings are 240x160" in caplog.text


def test_takes_that_cannot_be_read_are_no_matter_of_the_calibration(still, tmp_path, caplog):
    raw = without_boards(still, tmp_path / "raw")
    (raw / "takes" / "street_train" / "sharp.mp4").write_bytes(b"no video")
    assert read_calibration(calibrate(raw, tmp_path)).quality.takes == 0
    assert "takes/street_train: its first frames are not looked at" in caplog.text
