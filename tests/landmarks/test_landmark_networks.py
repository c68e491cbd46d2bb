"""The published networks: known points, turned and mirrored copies, known motion, real clips. They need the weights."""

import itertools

import cv2
import numpy as np
import pytest

from rb2v.io.video import iter_frames, read_image
from rb2v.landmarks import LandmarkConfig, find_landmarks, load_models
from rb2v.landmarks.tracking import track
from rb2v.models import CATALOGUE, fetched_file

INDEX_TIP = 8
ONE = LandmarkConfig(max_instances=1)


@pytest.fixture(scope="module")
def models():
    for file in CATALOGUE["landmarks"].files:
        if not fetched_file("landmarks", file.save_as).is_file():
            pytest.skip("the weights of the landmark networks are not here; run 'rb2v models fetch landmarks'")
    hand, face = load_models(["hand", "face"])
    return {"hand": hand, "face": face}


def read_frames(path, step=1, count=None):
    return [frame.image for frame in itertools.islice(iter_frames([path]), 0, count, step)]


# As MediaPipe 0.10.21 gives them, by the note beside the images.
@pytest.mark.parametrize(("name", "tip"), [("hand_thumb_up", (277.2, 265.3)), ("hand_test_image", (175.6, 239.9))])
def test_the_tip_of_the_index_finger_is_where_mediapipe_finds_it(models, shared_data, name, tip):
    image = read_image(shared_data / "hands" / "still" / f"{name}.jpg")
    (found,) = find_landmarks(models["hand"], image, ONE)
    assert np.linalg.norm(found.points[INDEX_TIP] - tip) < 1


@pytest.mark.parametrize(
    ("target", "path", "step"), [("hand", "hands/hand_open.mp4", 12), ("face", "faces/carphone_pristine.mp4", 2)]
)
def test_real_clips_are_tracked_in_every_frame(models, shared_data, target, path, step):
    found = track(models[target], read_frames(shared_data / path, step), ONE)
    assert [sorted(one) for one in found] == [[0]] * len(found)


def read_still(shared_data, target):
    if target == "hand":
        return read_image(shared_data / "hands" / "still" / "hand_thumb_up.jpg")
    (image,) = read_frames(shared_data / "faces" / "carphone_pristine.mp4", count=1)
    return cv2.resize(image, None, fx=2, fy=2, interpolation=cv2.INTER_CUBIC)


def mirror(image):
    return np.ascontiguousarray(image[:, ::-1]), lambda points: points * [-1, 1] + [image.shape[1] - 1, 0]


def halve(image):
    height, width = image.shape[:2]
    half = cv2.resize(image, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    scale = np.array([width / half.shape[1], height / half.shape[0]])
    return half, lambda points: (points + 0.5) * scale - 0.5


def turn_quarter(image):
    return np.ascontiguousarray(np.rot90(image)), lambda points: points[:, ::-1] * [-1, 1] + [image.shape[1] - 1, 0]


@pytest.mark.parametrize(
    ("target", "change"),
    [("hand", mirror), ("hand", halve), ("hand", turn_quarter), ("face", halve), ("face", turn_quarter)],
)
def test_copies_have_the_same_points_within_2_percent_of_the_size(models, shared_data, target, change):
    image = read_still(shared_data, target)
    several = LandmarkConfig(max_instances=1, passes=3)
    copy, back = change(image)
    (here,), (there,) = (find_landmarks(models[target], one, several) for one in (image, copy))
    off = np.linalg.norm(back(there.points) - here.points, axis=1)
    assert off.mean() < 0.02 * np.ptp(here.points, axis=0).max()


@pytest.mark.parametrize("target", ["hand", "face"])
def test_a_known_motion_is_found_within_half_a_pixel(models, shared_data, target):
    image = read_still(shared_data, target)
    height, width = image.shape[:2]
    steps = np.arange(12)
    path = np.stack([8 * np.sin(steps / 2), 5 * np.cos(steps / 3) + 0.37 * steps], axis=1)
    moved = [
        cv2.warpAffine(
            image,
            np.array([[1, 0, x], [0, 1, y]]),
            (width, height),
            flags=cv2.INTER_LANCZOS4,
            borderMode=cv2.BORDER_REPLICATE,
        )
        for x, y in path
    ]
    points = np.stack([one[0].points for one in track(models[target], moved, ONE)])
    left = (points - points.mean(axis=0)) - (path - path.mean(axis=0))[:, None]
    assert np.sqrt(np.square(left).sum(axis=-1).mean()) < 0.5


@pytest.mark.parametrize("size", [(1, 1), (20, 20), (300, 20)])
def test_nothing_is_found_where_nothing_is(models, size):
    image = np.full((*size, 3), 128, dtype=np.uint8)
    for model in models.values():
        assert find_landmarks(model, image) == []


def test_two_faces_are_two(models, shared_data):
    (image,) = read_frames(shared_data / "faces" / "carphone_pristine.mp4", count=1)
    both = find_landmarks(models["face"], np.hstack([image, image]))
    assert len(both) == 2
    assert abs(both[0].points[:, 0].mean() - both[1].points[:, 0].mean()) == pytest.approx(image.shape[1], abs=5)


def test_a_face_and_a_hand_are_found_by_the_command(rb2v, tmp_path, models, shared_data):
    status, output, _ = rb2v("landmarks", shared_data / "hands" / "still", "--out", tmp_path / "table.csv")
    assert status == 0
    assert "hand: found in 2 of 2 frames" in output
