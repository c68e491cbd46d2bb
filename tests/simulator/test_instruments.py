import dataclasses
import json

import numpy as np
import pytest
from sessions import shared_session

from rb2v.errors import InputError
from rb2v.io.gopro import read_telemetry, read_timecode
from rb2v.io.store import read_json
from rb2v.simulator import read_truth
from rb2v.simulator.instruments import read_gyro, rotation_speed, timecode
from rb2v.simulator.scene import Motion, Wave

BOTH = pytest.mark.parametrize("which", ["blurry", "sharp"])


@pytest.fixture(scope="module")
def recorded(shared):
    """A street and a studio, a second each; the sharp camera's clock runs 2 % fast."""
    return shared_session(
        shared,
        size=(64, 64),
        seconds=1.0,
        categories=("street", "face"),
        drift_ppm=2e4,
        motion=3.0,
        sharp_readout_seconds=0.006,
    )


def telemetry_of(session, plan, which):
    return read_telemetry([session.raw / "takes" / plan.name / f"{which}.mp4"])


def true_speed(session, plan, which, times):
    """The rig's rotation by finite differences of where its images are, with a focal length of 1.2 widths."""
    rig = session.truth.rig
    motion = rig.scene(plan).rig_motion
    rows = []
    for time in times:
        at = time if which == "blurry" else rig.scene_time(plan, time)
        before, after = motion.at(at - 1e-4), motion.at(at + 1e-4)
        across, down = (after - before)[:2, 2] / 2e-4 / (1.2 * rig.config.size[0])
        turn = np.arctan2(after[1, 0], after[0, 0]) - np.arctan2(before[1, 0], before[0, 0])
        rows.append((down, across, turn / 2e-4))
    return np.array(rows)


def fit_gyro(speed, gyro):
    """Return the matrix and the bias that take the rig's rotation to the gyroscope's values, and what is left."""
    known = np.column_stack([speed, np.ones(len(speed))])
    solution = np.linalg.lstsq(known, gyro, rcond=None)[0]
    return solution[:3].T, solution[3], gyro - known @ solution


@BOTH
def test_a_gyroscope_turns_with_the_rig_in_axes_of_its_own(recorded, which):
    plan = recorded.truth.take("street_train")
    telemetry = telemetry_of(recorded, plan, which)
    assert np.diff(telemetry.gyro_times) == pytest.approx(1 / 200, abs=1e-6)
    assert telemetry.gyro_times[0] == pytest.approx(0, abs=1e-12)
    assert telemetry.gyro_times[-1] > (1.0 if which == "sharp" else 0.99)
    speed = true_speed(recorded, plan, which, telemetry.gyro_times)
    assert np.abs(speed).max() > 0.6
    matrix, bias, rest = fit_gyro(speed, telemetry.gyro)
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=0.06)
    assert np.linalg.det(matrix) == pytest.approx(1, abs=0.1)
    assert rest.std() == pytest.approx(2e-3, rel=0.15)
    assert 1e-4 < np.linalg.norm(bias) < 0.012


def test_each_gyroscope_has_an_orientation_and_a_bias_of_its_own():
    speed = np.random.default_rng(0).normal(size=(50, 3))

    def read(camera_seed, noise_seed):
        return read_gyro(speed, np.random.default_rng(camera_seed), np.random.default_rng(noise_seed))

    matrix, bias, _ = fit_gyro(speed, read(1, 2))
    same_matrix, same_bias, _ = fit_gyro(speed, read(1, 3))
    other_matrix, _, _ = fit_gyro(speed, read(2, 2))
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), atol=0.01)
    np.testing.assert_allclose(same_matrix, matrix, atol=0.01)
    np.testing.assert_allclose(same_bias, bias, atol=2e-3)
    assert np.abs(other_matrix - matrix).max() > 0.2
    assert np.array_equal(read(1, 2), read(1, 2))
    assert not np.array_equal(read(1, 2), read(1, 3))


@BOTH
def test_the_gyroscope_of_a_rig_that_stands_still_has_noise_only(recorded, which):
    telemetry = telemetry_of(recorded, recorded.truth.take("face_train"), which)
    assert len(telemetry.gyro) >= 200
    assert np.abs(telemetry.gyro).max() < 0.02
    assert telemetry.gyro.std(axis=0) == pytest.approx([2e-3] * 3, rel=0.3)


@BOTH
def test_exposure_readout_and_model_are_stated(recorded, which):
    telemetry = telemetry_of(recorded, recorded.truth.takes[0], which)
    assert telemetry.model == "simulated"
    exposure_seconds = 19 / 600 if which == "blurry" else 1 / 1200
    assert telemetry.shutter_seconds == pytest.approx(exposure_seconds)
    assert len(telemetry.shutter_seconds) >= 25
    assert telemetry.settings == {"EISE": "N", "SROT": pytest.approx(0.006 if which == "sharp" else 0.0)}


def test_timecodes_differ_by_the_start_and_by_the_clocks_errors(recorded):
    errors = read_json(recorded.root / "truth" / "truth.json")["clock_error_seconds"]
    assert recorded.truth.rig.clock_error_seconds == errors
    assert all(abs(error) <= 1 for error in errors.values())
    assert abs(errors["blurry"] - errors["sharp"]) > 0.01
    days = []
    for plan in recorded.truth.takes:
        blurry, sharp = (
            read_timecode(recorded.raw / "takes" / plan.name / f"{which}.mp4") for which in ("blurry", "sharp")
        )
        # The sharp camera started earlier, by its own clock; timecodes are to the nearest frame of 40 and 10 ms.
        later = -plan.offset_seconds / 1.02 + errors["sharp"] - errors["blurry"]
        assert sharp - blurry == pytest.approx(later, abs=0.025 + 1e-6)
        assert 8 * 3600 - 2 < blurry < 18 * 3600 + 2
        days.append(blurry)
    assert abs(days[0] - days[1]) > 10


def test_speeds_of_rotation_are_those_of_a_lens_of_1_2_widths():
    motion = Motion(Wave(0.0, 12.0, 0.5), Wave(3.0, 24.0, 0.5, 0.5), Wave(0.0, 1.0, 0.25))
    (speed,) = rotation_speed(motion, np.zeros(1), 100)
    np.testing.assert_allclose(speed, [-24 * np.pi / 120, 12 * np.pi / 120, np.deg2rad(0.5 * np.pi)])
    assert not rotation_speed(None, np.zeros(4), 100).any()


def test_the_slope_of_a_wave_is_its_change():
    wave = Wave(2.0, 3.0, 0.7, 0.2)
    for time in (0.0, 0.4, 1.3):
        assert wave.slope(time) == pytest.approx((wave(time + 1e-5) - wave(time - 1e-5)) / 2e-5, rel=1e-6)


def test_a_rate_without_a_timecode():
    assert timecode(36000.5, 240) == "10:00:00:120"
    assert timecode(36000.5, 600) is None
    assert timecode(36000.5, 0.4) is None


def test_a_truth_of_an_older_simulator_is_refused(recorded, tmp_path):
    for name in ("truth.json", "config.json"):
        (tmp_path / name).write_bytes((recorded.root / "truth" / name).read_bytes())
    document = json.loads((tmp_path / "truth.json").read_text())
    for key in ("blurry_exposure_seconds", "blurry_readout_seconds", "motion"):
        del document["config"][key]
    for key in ("readout_seconds", "clock_error_seconds"):
        del document[key]
    (tmp_path / "truth.json").write_text(json.dumps(document))
    read = read_truth(tmp_path)
    assert read.takes == recorded.truth.takes
    assert read.rig.config == dataclasses.replace(recorded.truth.rig.config, motion=1.0)
    record = json.loads((tmp_path / "config.json").read_text()) | {"scenes_version": 1}
    (tmp_path / "config.json").write_text(json.dumps(record))
    with pytest.raises(InputError, match=r"config\.json: scenes_version: is not what this machine has"):
        read_truth(tmp_path)
