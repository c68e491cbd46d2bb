"""A rig that was moved between takes: how far is said, and a take may have a homography of its own."""

import dataclasses
import json
import logging
import shutil
from types import SimpleNamespace

import cv2
import h5py
import numpy as np
import pytest
from sessions import QUICK, collect_warnings, make_session, shared_session
from skimage import data as skimage_data

from rb2v.artifacts import Calibration, CalibrationQuality, Crop
from rb2v.core.color import encode, to_linear
from rb2v.core.homography import warp_points
from rb2v.errors import InputError
from rb2v.io.aligned import AlignedTakeReader, aligned_take_path
from rb2v.io.calibration import write_calibration
from rb2v.stages import align
from rb2v.stages.align.registration import MatchedFrame, measure_registration


def record_truly_calibrated(root, **changes):
    """Record a take and write the true calibration of before the knock."""
    made = make_session(root, seconds=0.4, categories=("street",), seed=2, captures=False, **changes)
    rig = made.truth.rig
    write_calibration(
        made.calibration,
        Calibration(
            homography=rig.homography,
            mirrored=rig.config.mirrored,
            size_blurry=rig.config.size,
            size_sharp=rig.config.size,
            crop=Crop(24, 8, 144, 144),
            color=None,
            quality=CalibrationQuality(0.0, 1, 4, None),
        ),
    )


@pytest.fixture(scope="module", params=["moving", "still"])
def knocked(request, shared):
    changes = {"bump_px": 2.5, "motion": float(request.param == "moving")}
    return shared_session(shared, maker=record_truly_calibrated, **changes)


@pytest.fixture(scope="module")
def steady(shared):
    return shared_session(shared, maker=record_truly_calibrated)


def align_take(made, out, **settings):
    align.run(made.raw, made.calibration, out, dataclasses.replace(QUICK, **settings))
    with AlignedTakeReader(aligned_take_path(out, "street_train")) as reader:
        return reader.registration, len(reader), reader.psnr


@pytest.fixture(scope="module")
def steady_aligned(steady, tmp_path_factory):
    """The folder of the take of the rig that nobody misaligned, what `align_take` says of it, and the warnings."""
    out = tmp_path_factory.mktemp("steady_aligned") / "aligned"
    with collect_warnings() as messages:
        said = align_take(steady, out, registration="shared")
    return out, said, messages


def errors_px(made, homography):
    truth = made.truth.rig.during(made.truth.take("street_train")).homography
    x, y = np.meshgrid(np.linspace(24, 167, 9), np.linspace(8, 151, 9))
    grid = np.column_stack([x.ravel(), y.ravel()])
    return np.linalg.norm(warp_points(np.array(homography), warp_points(np.linalg.inv(truth), grid)) - grid, axis=1)


def test_a_knock_is_said_and_refined(knocked, tmp_path, caplog):
    true_px = np.median(errors_px(knocked, knocked.truth.rig.homography))
    assert true_px > 2
    registration, n_accepted, _ = align_take(knocked, tmp_path / "shared", registration="shared")
    assert n_accepted == 0, "the views of a take lie so far apart that windows may be wrong"
    assert registration.homography is None
    assert registration.shift_px == pytest.approx(true_px, abs=3 * registration.error_px + 0.2)
    assert "street_train: the views lie" in caplog.text
    assert "--per-take refines it" in caplog.text
    refined, _, _ = align_take(knocked, tmp_path / "own", registration="per-take")
    assert refined.shift_px == pytest.approx(true_px, abs=0.2)
    assert errors_px(knocked, refined.homography).mean() < 0.3


def test_what_stands_still_is_left_as_it_is(steady, steady_aligned, tmp_path):
    _, (registration, n_accepted, psnr), messages = steady_aligned
    assert registration.shift_px < 0.15
    assert 0 < registration.error_px < 0.2
    assert registration.frames >= 4
    assert not [message for message in messages if "the views lie" in message]
    again, n_again, psnr_again = align_take(steady, tmp_path / "own", registration="per-take")
    assert again.homography is None, "windows at whole positions look like a shift along the motion"
    assert n_again == n_accepted
    assert np.median(psnr_again) > np.median(psnr) - 0.3


def test_what_the_registration_says_is_read_back_whole_or_named(steady_aligned, tmp_path):
    path = aligned_take_path(shutil.copytree(steady_aligned[0], tmp_path / "a"), "street_train")
    with h5py.File(path, "r+") as file:
        record = json.loads(file["registration"].asstr()[()])
        del file["registration"]
        file["registration"] = json.dumps(record | {"shift_px": "far"})
    with pytest.raises(ValueError, match="shift_px"):
        AlignedTakeReader(path)
    with h5py.File(path, "r+") as file:
        del file["registration"]
    with AlignedTakeReader(path) as reader:
        assert reader.registration is None, "files of versions before have none"


@pytest.mark.parametrize(
    ("shift_px", "max_shift_px", "is_refined"), [(0.0625, 0.5, False), (0.1875, 0.5, True), (0.0625, 0.06, True)]
)
def test_a_shift_that_the_smaller_output_does_not_show_is_left_if_it_is_allowed(shift_px, max_shift_px, is_refined):
    side, photo = 96, to_linear(skimage_data.astronaut(), "srgb")

    def view(number, x):
        moved = np.array([[1, 0, x - 40 * number], [0, 1, -30 * number]], dtype=np.float64)
        return cv2.warpAffine(cv2.GaussianBlur(photo, (0, 0), 1.0), moved, (side, side), flags=cv2.INTER_LANCZOS4)

    # A pixel of the output is two of the crop.
    matched = [MatchedFrame(encode(view(n, shift_px / 2), "srgb"), view(n, 0.0)) for n in range(8)]
    context = SimpleNamespace(
        calibration=SimpleNamespace(crop=Crop(0, 0, 2 * side, 2 * side)),
        response="srgb",
        config=align.AlignConfig(max_shift_px=max_shift_px),
        logger=logging.getLogger(),
    )
    registration, own = measure_registration(context, matched, np.eye(3))
    assert registration.shift_px == pytest.approx(shift_px, abs=0.02)
    assert (own is not None) == is_refined


def test_settings_that_cannot_be():
    for change in ({"registration": "own"}, {"max_shift_px": 0}):
        with pytest.raises(InputError) as caught:
            align.AlignConfig(**change)
        assert caught.value.key == next(iter(change))
