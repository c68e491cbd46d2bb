"""Captures that are not what they should be: each is named, and nothing wrong is written."""

import shutil

import cv2
import numpy as np
import pytest
from sessions import shared_session, write_rig

from rb2v.errors import InputError
from rb2v.io.calibration import read_calibration
from rb2v.io.video import read_image, write_image
from rb2v.simulator.targets import BOARD_CORNERS
from rb2v.stages import calibrate
from rb2v.stages.calibrate import CalibrateConfig

SIZE = (192, 160)


@pytest.fixture(scope="module")
def recorded(shared):
    """Captures of a mirrored rig."""
    return shared_session(shared, seconds=0.04, categories=("street",), seed=3)


@pytest.fixture
def raw(recorded, tmp_path):
    ignore = shutil.ignore_patterns("board_0[1345].png")
    folder = tmp_path / "raw"
    shutil.copytree(recorded.raw / "calibration" / "geometry", folder / "calibration" / "geometry", ignore=ignore)
    write_rig(folder / "rig.yaml")
    (folder / "capture.yaml").write_text("schema: 1\nrig: rig.yaml\n")
    return folder


def run(raw, path):
    return calibrate.run(raw, path, CalibrateConfig(lenses="none"))


def capture(raw, camera, name):
    return raw / "calibration" / "geometry" / camera / f"{name}.png"


def names(raw):
    return sorted(path.stem for path in (raw / "calibration" / "geometry" / "sharp").glob("*.png"))


def change(raw, camera, name, function):
    path = capture(raw, camera, name)
    write_image(path, np.ascontiguousarray(function(read_image(path))))


def exchange(first, second):
    aside = first.with_suffix(".aside")
    first.rename(aside)
    second.rename(first)
    aside.rename(second)


def blur(image):
    return cv2.GaussianBlur(image, (0, 0), 9)


def refused(raw, tmp_path, match):
    with pytest.raises(InputError, match=match) as caught:
        run(raw, tmp_path / "c.json")
    assert not list(tmp_path.glob("c*"))
    return caught.value


def right(recorded, path, limit_px=0.1):
    calibration = read_calibration(path)
    crop = calibration.crop
    errors = recorded.homography_errors_px(calibration.homography, (crop.x, crop.y, crop.width, crop.height))
    assert errors.mean() < limit_px
    return calibration


def test_a_pair_whose_cameras_are_exchanged(raw, tmp_path):
    exchange(capture(raw, "blurry", "board_02"), capture(raw, "sharp", "board_02"))
    refused(raw, tmp_path, r"blurry/board_02\.png: is the sharp camera's image")


def test_pairs_whose_names_are_exchanged(raw, tmp_path):
    exchange(capture(raw, "sharp", "board_00"), capture(raw, "sharp", "wall_01"))
    refused(raw, tmp_path, r"blurry/board_00\.png: shows the scene of sharp/wall_01\.png")


def test_a_blurred_capture_is_left_out(recorded, raw, tmp_path, caplog):
    change(raw, "blurry", "wall_00", blur)
    path = run(raw, tmp_path / "c.json")
    assert "blurry/wall_00.png: is blurred beyond use and left out" in caplog.text
    right(recorded, path)


def test_nothing_but_blurred_captures(raw, tmp_path):
    for name in names(raw):
        change(raw, "sharp", name, blur)
    refused(raw, tmp_path, r"sharp/board_00\.png: is blurred beyond use; expected a capture in focus")


def test_boards_in_one_view_only_are_named(raw, tmp_path, caplog):
    for name in names(raw):
        if name.startswith("wall"):
            for camera in ("blurry", "sharp"):
                capture(raw, camera, name).unlink()
        else:
            change(raw, "sharp", name, lambda image: np.roll(image[::-1], 60, axis=1) // 4 * 0 + 90)
    refused(raw, tmp_path, r"no common structure \(.*board_02\.png.*: a board is found in one view only\)")
    assert "board_02.png: the board is found in the blurry view only" in caplog.text


def test_a_board_that_one_camera_sees_in_part_is_no_reason_to_fail(recorded, raw, tmp_path, caplog):
    change(raw, "sharp", "board_02", lambda image: cv2.rectangle(image.copy(), (60, 50), (90, 80), (90, 90, 90), -1))
    path = run(raw, tmp_path / "c.json")
    assert "board_02.png: the board is found in the blurry view only" in caplog.text
    right(recorded, path)


def test_a_capture_that_was_taken_after_a_knock(recorded, raw, tmp_path, caplog):
    change(raw, "sharp", "wall_00", lambda image: np.roll(image, 3, axis=1))
    path = run(raw, tmp_path / "c.json")
    assert "wall_00.png" in caplog.text
    assert "left out" in caplog.text
    right(recorded, path)


def test_two_captures_that_contradict_each_other(raw, tmp_path):
    for name in names(raw):
        if name not in ("wall_00", "wall_01"):
            for camera in ("blurry", "sharp"):
                capture(raw, camera, name).unlink()
    change(raw, "sharp", "wall_01", lambda image: np.roll(image, 25, axis=0))
    refused(raw, tmp_path, r"blurry/wall_0\d\.png: this pair contradicts wall_0\d\.png")


def plain_board(mirrored_rows=False):
    """A chessboard on a plain wall, its margins alike on all sides."""
    columns, rows = BOARD_CORNERS[0] + 1, BOARD_CORNERS[1] + 1
    cells = np.indices((rows, columns)).sum(axis=0) % 2
    board = np.kron(np.where(cells, 210, 30), np.ones((13, 13))).astype(np.uint8)
    if mirrored_rows:
        board = board[::-1]
    picture = np.full((SIZE[1], SIZE[0]), 210, np.uint8)
    top, left = (SIZE[1] - board.shape[0]) // 2, (SIZE[0] - board.shape[1]) // 2
    picture[top : top + board.shape[0], left : left + board.shape[1]] = board
    noise = np.random.default_rng(mirrored_rows).normal(0, 1, (*picture.shape, 3))
    return np.clip(np.rint(cv2.GaussianBlur(picture, (0, 0), 0.7)[..., None] + noise), 0, 255).astype(np.uint8)


def write_only(raw, **pictures):
    for name in names(raw):
        for camera in ("blurry", "sharp"):
            capture(raw, camera, name).unlink()
    for camera, picture in pictures.items():
        write_image(capture(raw, camera, "a"), picture)


def test_a_symmetric_board_alone_does_not_tell_the_mirror(raw, tmp_path):
    write_only(raw, blurry=plain_board(), sharp=plain_board(mirrored_rows=True))
    error = refused(raw, tmp_path, "the captures fit mirrored and unmirrored alike")
    assert "the rig's mirrored: true or false" in str(error)
    write_rig(raw / "rig.yaml", mirrored=True)
    assert read_calibration(run(raw, tmp_path / "c.json")).mirrored
    write_rig(raw / "rig.yaml", mirrored=False)
    assert not read_calibration(run(raw, tmp_path / "c.json")).mirrored


@pytest.mark.parametrize("mirrored", [True, False])
def test_a_symmetric_board_with_something_beside_it_tells_the_mirror(raw, tmp_path, mirrored):
    pictures = [plain_board(), plain_board(mirrored_rows=True)]
    for picture in pictures:
        cv2.circle(picture, (20, 20), 11, (60, 120, 60), -1)
        cv2.rectangle(picture, (150, 6), (185, 20), (90, 60, 60), -1)
    sharp = pictures[1][:, ::-1] if mirrored else pictures[1]
    write_only(raw, blurry=pictures[0], sharp=np.ascontiguousarray(sharp))
    assert read_calibration(run(raw, tmp_path / "c.json")).mirrored == mirrored


def test_captures_that_show_next_to_nothing(raw, tmp_path):
    rng = np.random.default_rng(0)
    views = []
    for _ in range(2):
        view = np.full((SIZE[1], SIZE[0], 3), 120.0)
        view[:, 96:] += 40
        views.append(np.clip(np.rint(view + rng.normal(0, 1.5, view.shape)), 0, 255).astype(np.uint8))
    write_only(raw, blurry=views[0], sharp=views[1])
    refused(raw, tmp_path, "geometry: ")


def test_a_scene_with_few_features_is_registered_by_phase_correlation(raw, tmp_path):
    y, x = np.mgrid[: SIZE[1], : SIZE[0] + 12].astype(np.float32)
    discs = 110 + sum(
        a * (0.5 - 0.5 * np.tanh((np.hypot(x - cx, y - cy) - s) / 1.4))
        for a, cx, cy, s in [
            (90, 60, 50, 9),
            (70, 130, 110, 12),
            (-60, 150, 40, 8),
            (80, 40, 120, 7),
            (-50, 95, 80, 10),
        ]
    )
    rng = np.random.default_rng(1)
    views = [discs[:, 12:], discs[:, :-12][:, ::-1]]
    noisy = [np.clip(np.rint(v[..., None] + rng.normal(0, 1, (*v.shape, 3))), 0, 255).astype(np.uint8) for v in views]
    write_only(raw, blurry=noisy[0], sharp=noisy[1])
    calibration = read_calibration(run(raw, tmp_path / "c.json"))
    assert calibration.mirrored
    expected = np.array([[-1, 0, SIZE[0] - 1 - 12], [0, 1, 0], [0, 0, 1]])
    np.testing.assert_allclose(calibration.homography[:2], expected[:2], atol=0.3)
    assert calibration.quality.refined
