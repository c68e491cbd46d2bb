import dataclasses

import numpy as np
import pytest

from rb2v.core.lens import undistort_points
from rb2v.io.video import read_image
from rb2v.simulator import SimulateConfig, read_truth
from rb2v.simulator.rig import build_rig
from rb2v.simulator.scene import LayeredScene, Motion, Mover, Wave

STILL = Motion(Wave(), Wave())
SIZE = (192, 160)


def rig_with(**changes):
    return build_rig(dataclasses.replace(SimulateConfig(size=SIZE), **changes), ())


def spot_scene(x, y):
    spot = np.exp(-(((np.indices((31, 31)) - 15.0) ** 2).sum(axis=0)) / 8).astype(np.float32)
    mover = Mover(np.dstack([spot] * 4), Motion(Wave(x), Wave(y)))
    return LayeredScene(np.zeros((400, 400, 3), np.float32), [mover], STILL)


def center_of(light):
    rows, columns = np.indices(light.shape)
    return np.array([[(columns * light).sum(), (rows * light).sum()]]) / light.sum()


@pytest.mark.parametrize("mirrored", [True, False])
@pytest.mark.parametrize("readout_seconds", [0.0, 0.004])
def test_a_point_is_recorded_where_the_lenses_say(mirrored, readout_seconds):
    rig = rig_with(distortion=(-0.15, 0.1), mirrored=mirrored, sharp_readout_seconds=readout_seconds)
    for x, y in ((0, 0), (62, 45), (-70, -40), (50, -52)):
        scene = spot_scene(x, y)
        blurry, sharp = (center_of(camera.expose(scene, 0.0)[..., 1]) for camera in (rig.blurry, rig.sharp))
        np.testing.assert_allclose(rig.to_sharp(blurry), sharp, atol=0.05)


def test_the_two_lenses_bend_as_they_are_told_to():
    rig = rig_with(distortion=(-0.12, 0.0))
    assert rig.sharp.lens is None
    lens = rig.blurry.lens
    np.testing.assert_array_equal(lens.distortion, [-0.12, 0, 0, 0, 0])
    recorded = center_of(rig.blurry.expose(spot_scene(70, 0), 0.0)[..., 1])
    seen = undistort_points(recorded, lens.matrix, lens.distortion)
    np.testing.assert_allclose(seen, [[95.5 + 70, 79.5]], atol=0.05)
    assert np.abs(recorded - seen).max() > 1


def test_a_perfect_lens_changes_no_picture():
    plain = rig_with()
    assert plain.blurry.lens is plain.sharp.lens is None
    scene = spot_scene(20, 10)
    bent = rig_with(distortion=(1e-9, 1e-9))
    difference = plain.sharp.expose(scene, 0.0) - bent.sharp.expose(scene, 0.0)
    assert np.abs(difference).max() < 0.03, "the detail that a second interpolation takes"


def test_the_command_and_its_truth(tmp_path, rb2v):
    command = ["simulate", "--size", "96x64", "--categories", "street", "--seconds", "0.1", "--test-seconds", "0"]
    done = rb2v(*command, "--distortion", "-0.1,-0.05", "--out", tmp_path / "raw")
    assert done.status == 0, done.output
    truth = read_truth(tmp_path / "truth")
    assert truth.rig.config.distortion == (-0.1, -0.05)
    assert truth.rig.sharp.lens.distortion[0] == -0.05
    assert read_image(tmp_path / "raw" / "calibration" / "geometry" / "sharp" / "board_00.png").shape == (64, 96, 3)
    assert rb2v(*command, "--distortion", "-0.1,x", "--out", tmp_path / "other").status == 2
    assert not (tmp_path / "other").exists()


@pytest.mark.parametrize("distortion", [(0.4, 0.0), (float("nan"), 0.0), (0.1,)])
def test_impossible_lenses_are_refused(distortion):
    with pytest.raises(ValueError, match="distortion"):
        rig_with(distortion=distortion)
