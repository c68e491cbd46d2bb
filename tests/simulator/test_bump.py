import dataclasses

import numpy as np
import pytest
from sessions import shared_session

from rb2v.core.homography import warp_points
from rb2v.core.metrics import psnr
from rb2v.io.store import read_json
from rb2v.io.video import iter_frames
from rb2v.simulator import SimulateConfig, read_truth

MIDDLE = np.array([[63.5, 47.5]])


@pytest.fixture(scope="module")
def bumped(shared):
    return shared_session(
        shared,
        size=(128, 96),
        seconds=0.08,
        categories=("street", "face"),
        bump_px=3.0,
        motion=0.0,
        max_offset_seconds=0.06,
    )


def middle_in_blurry(made, homography):
    return warp_points(np.array(homography), warp_points(np.linalg.inv(made.truth.rig.homography), MIDDLE))


def test_the_truth_states_each_take_s_own_homography(bumped):
    takes = read_json(bumped.root / "truth" / "truth.json")["takes"]
    moved = [middle_in_blurry(bumped, take["homography"]) - MIDDLE for take in takes]
    assert len(moved) == 2
    for shift in moved:
        assert np.linalg.norm(shift) == pytest.approx(3.0, rel=0.1)
    assert np.abs(moved[0] - moved[1]).max() > 0.3
    again = read_truth(bumped.root / "truth")
    for take in takes:
        during = again.rig.during(again.take(take["name"]))
        np.testing.assert_allclose(during.homography, take["homography"])


def test_the_recordings_show_the_bump_and_the_captures_do_not(bumped):
    rig, plan = bumped.truth.rig, bumped.truth.take("street_train")
    frame = next(iter(iter_frames([bumped.raw / "takes" / plan.name / "sharp.mp4"]))).image
    scores = []
    for one in (rig, rig.during(plan)):
        camera = dataclasses.replace(one.sharp, n_instants=2)
        scores.append(psnr(camera.develop(camera.expose(rig.scene(plan), 0.0), None), frame))
    assert scores[1] > scores[0] + 3
    assert rig.during(plan).blurry is rig.blurry


def test_nothing_is_knocked_unless_asked(bumped):
    rig = dataclasses.replace(bumped.truth.rig, config=dataclasses.replace(bumped.truth.rig.config, bump_px=0.0))
    assert all(rig.during(plan) is rig for plan in bumped.truth.takes)


@pytest.mark.parametrize("bump_px", [-1.0, 1e3, float("nan")])
def test_bumps_that_cannot_be(bump_px):
    with pytest.raises(ValueError, match="bump_px"):
        SimulateConfig(bump_px=bump_px)
