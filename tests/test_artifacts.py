import dataclasses
import math
import pickle

import numpy as np
import pytest

from rb2v.artifacts import Calibration, CalibrationQuality, ClockJump, ClockModel, Crop, Rig
from rb2v.errors import ConfigMismatchError, InputError, Rb2vError

RIG = Rig("r", "a", "b", 25.0, 100.0, None, "srgb", 2, 7, 19, (448, 448), 0.25)
QUALITY = CalibrationQuality(rms_px=0.1, pairs=2, points=108, delta_e=None)


def make_calibration(**changes):
    values = {
        "homography": np.eye(3),
        "mirrored": False,
        "size_blurry": (80, 60),
        "size_sharp": (80, 60),
        "crop": Crop(10, 5, 40, 40),
        "color": None,
        "quality": QUALITY,
    }
    return Calibration(**(values | changes))


def test_the_paper_s_rig_has_a_fine_track_of_200_and_a_blur_track_of_600():
    assert RIG.fine_fps == 200
    assert RIG.blur_factor == 3
    assert RIG.blur_steps_per_frame * RIG.sharp_fps == 600


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"frames_per_sequence": 6}, "frames_per_sequence must be an odd number"),
        ({"frames_per_sequence": 1}, "frames_per_sequence must be an odd number"),
        ({"blur_samples": 20}, r"blur_samples - 1 must be a multiple of .* \(6\), got 19"),
        ({"blur_samples": 1}, "blur_samples - 1"),
        ({"upsampling": 0}, "upsampling must be at least 1"),
    ],
)
def test_rigs_whose_tracks_do_not_fit_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        dataclasses.replace(RIG, **changes)


@pytest.mark.parametrize("box", [(0, 0, 0, 5), (0, 0, 5, -1), (-1, 0, 5, 5), (0, -2, 5, 5)])
def test_crops_are_within_the_first_quadrant_and_not_empty(box):
    with pytest.raises(ValueError, match="positive size and no negative corner"):
        Crop(*box)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"homography": np.eye(4)}, "homography must be a 3x3"),
        ({"homography": np.full((3, 3), np.nan)}, "finite"),
        ({"homography": np.ones((3, 3))}, "singular"),
        ({"mirrored": True}, "mirrored is True, but the homography's determinant is 1"),
        ({"homography": np.diag([-1.0, 1, 1])}, "mirrored is False"),
        ({"color": np.eye(3)}, "color must be a 3x4"),
        ({"crop": Crop(41, 0, 40, 40)}, "out of the blurry camera's 80x60"),
        ({"crop": Crop(0, 21, 40, 40)}, "out of the blurry camera's 80x60"),
    ],
)
def test_calibrations_that_contradict_themselves_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        make_calibration(**changes)


def test_a_crop_may_touch_the_frame_s_edge():
    assert make_calibration(crop=Crop(40, 20, 40, 40)).crop.x == 40


def test_sharp_time_is_the_clock_s_line():
    clock = ClockModel(offset_seconds=0.5, drift=1e-3, residual_seconds=0.0, n_inliers=3)
    assert clock.sharp_time(2.0) == pytest.approx(0.5 + 2.002)


def test_sharp_time_jumps_half_way_between_the_frames_that_are_known():
    jumps = (ClockJump(1.0, 1.2, -0.5, 2.0, 0.0), ClockJump(3.0, 3.0, 0.25, 4.0, 0.0))
    clock = ClockModel(0.5, 0.0, 0.0, 9, jumps=jumps)
    found = [clock.sharp_time(seconds) for seconds in (0.0, 1.09, 1.11, 2.9, 3.1)]
    assert found == pytest.approx([0.5, 1.59, 1.11, 2.9, 3.35])


def test_the_clock_is_known_best_at_its_center_and_not_within_a_jump():
    clock = ClockModel(0.5, 0.0, 0.0, 9, 3e-5, 2.0, 4e-5, (ClockJump(1.0, 1.2, -0.5, 5.0, 8e-5),))
    assert clock.error_seconds(0.0) == pytest.approx(np.hypot(4e-5, 6e-5))
    assert clock.error_seconds(5.0) == pytest.approx(8e-5)
    assert clock.error_seconds(7.0) == pytest.approx(1e-4)
    assert clock.error_seconds(1.1) == math.inf
    assert np.isfinite([clock.error_seconds(1.0), clock.error_seconds(1.2)]).all()


@pytest.mark.parametrize("kind", [InputError, ConfigMismatchError])
def test_errors_cross_process_boundaries_unchanged(kind):
    error = kind("a/take.yaml", "'steet' is not a category", key="category", expected="street")
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is kind
    assert (copy.source, copy.problem, copy.key, copy.expected) == (
        "a/take.yaml",
        "'steet' is not a category",
        "category",
        "street",
    )
    assert str(copy) == str(error) == "a/take.yaml: category: 'steet' is not a category; expected street"
    assert isinstance(copy, Rb2vError)
    assert isinstance(copy, ValueError)


def test_an_error_s_parts_are_optional():
    assert str(InputError("x.mp4", "is empty")) == "x.mp4: is empty"
    assert str(InputError("x.mp4", "is empty", expected="a video")) == "x.mp4: is empty; expected a video"
