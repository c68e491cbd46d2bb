import dataclasses

import numpy as np
import pytest
from sessions import write_rig

from rb2v.artifacts import Crop
from rb2v.benchmark.truth.reference import TruthRenderer
from rb2v.core.color import encode, to_linear
from rb2v.simulator.config import SimulateConfig
from rb2v.simulator.plans import plan_takes
from rb2v.simulator.rig import build_rig
from rb2v.simulator.textures import list_photos

CROP = Crop(40, 30, 96, 96)


@pytest.fixture(scope="module")
def mount(tmp_path_factory):
    """The two cameras of a mirrored rig with nothing recorded, and the plan of a take."""
    path = write_rig(tmp_path_factory.mktemp("mount") / "rig.yaml")
    config = SimulateConfig(rig=str(path), size=(192, 160), categories=("street",), test_takes=False)
    return build_rig(config, tuple(list_photos())), plan_takes(config)[0]


def with_readout(rig, blurry_seconds, sharp_seconds):
    return dataclasses.replace(
        rig,
        blurry=dataclasses.replace(rig.blurry, readout_seconds=blurry_seconds),
        sharp=dataclasses.replace(rig.sharp, readout_seconds=sharp_seconds),
    )


def difference(one, other, rows):
    return np.abs(one[rows].astype(float) - other[rows]).mean()


def test_a_rolling_blurry_frame_is_the_crop_of_what_the_whole_sensor_reads_out(mount):
    rig, plan = mount
    rolling = with_readout(rig, 0.03, 0.0)
    found = TruthRenderer(rolling, plan, CROP, (96, 96)).blurry(0.4)
    whole = encode(rolling.blurry.expose(rig.scene(plan), 0.4), "srgb")[30:126, 40:136]
    assert difference(found, whole, slice(None)) < 0.3
    assert difference(found, TruthRenderer(rig, plan, CROP, (96, 96)).blurry(0.4), slice(0, 20)) > 1


def test_a_rolling_sharp_frame_has_the_times_of_the_sharp_camera_s_rows(mount):
    rig, plan = mount
    rolling = TruthRenderer(with_readout(rig, 0.03, 0.01), plan, CROP, (96, 96)).sharp(90)
    still = TruthRenderer(rig, plan, CROP, (96, 96))
    # The middle rows of both cameras are seen at the frame's time; 40 rows above it is a quarter of the read-out.
    assert difference(rolling, still.sharp(90), slice(47, 52)) < 0.7
    assert difference(rolling, still.sharp(90), slice(2, 8)) > 1.5
    # A quarter of the read-out, 2.5 ms, is half a frame of the fine track.
    earlier = still._warp(encode(still._sharp.expose(rig.scene(plan), still._scene_time(90) - 0.0028), "srgb"))
    assert difference(rolling, earlier, slice(2, 8)) < 0.7


def test_synthetic_blur_is_the_mean_over_its_window(mount):
    rig, plan = mount
    renderer = TruthRenderer(rig, plan, CROP, (96, 96))
    sharp = [to_linear(renderer.sharp(90 + k), "srgb") for k in range(7)]
    mean = encode(np.mean(sharp, axis=0), "srgb")
    blur = renderer.synthetic_blur(90)
    assert difference(blur, mean, slice(None)) < 2
    assert difference(blur, renderer.synthetic_blur(94), slice(None)) > 2 * difference(blur, mean, slice(None))


@pytest.fixture(scope="module")
def studio(mount):
    """The same cameras, and the plan of a hand before a green screen."""
    rig, _ = mount
    return rig, plan_takes(dataclasses.replace(rig.config, categories=("hand",)))[0]


@pytest.mark.parametrize("kind", ["sharp", "blurry"])
def test_a_true_matte_explains_the_true_frame(studio, kind):
    rig, plan = studio
    renderer = TruthRenderer(rig, plan, CROP, (96, 96))
    frame, matte = (
        (renderer.sharp(100), renderer.sharp_matte(100))
        if kind == "sharp"
        else (renderer.blurry(0.3), renderer.blurry_matte(0.3))
    )
    alpha, foreground = matte.alpha, matte.premultiplied_linear
    assert (alpha.shape, foreground.shape) == ((96, 96), (96, 96, 3))
    assert (alpha.dtype, foreground.dtype) == (np.float32, np.float32)
    assert alpha.min() == 0
    assert alpha.max() == 1
    assert foreground.min() == 0
    assert ((alpha > 0.05) & (alpha < 0.95)).mean() > 0.02
    # The rest is the screen's light: of what is seen of it a shadow may take a quarter, and 3 to 12 % is spilled.
    screen = rig.blurry.expose(rig.scene(plan).without_movers(), 0.0)[30:126, 40:136]
    rest = (to_linear(frame, "srgb") - foreground)[..., 1] / screen[..., 1]
    assert (rest > 0.75 * (1 - alpha) + 0.03 * alpha - 0.03).all()
    assert (rest < 1 - alpha + 0.13 * alpha + 0.03).all()
    assert rest[alpha > 0.999].mean() == pytest.approx(0.05, abs=0.02)
    # Nothing is rounded to 8 bits.
    soft = alpha[(alpha > 0.1) & (alpha < 0.9)] * 255
    assert np.abs(soft - np.rint(soft)).mean() == pytest.approx(0.25, abs=0.03)


def test_true_mattes_are_in_the_blurry_camera_s_colors_and_in_any_size(studio):
    rig, plan = studio
    gray = dataclasses.replace(rig, blurry=dataclasses.replace(rig.blurry, mixing=np.full((3, 3), 1 / 3)))
    plain, whole, small = (
        TruthRenderer(r, plan, CROP, size).blurry_matte(0.3)
        for r, size in ((rig, (96, 96)), (gray, (96, 96)), (rig, (48, 48)))
    )
    np.testing.assert_array_equal(whole.alpha, plain.alpha)
    np.testing.assert_allclose(whole.premultiplied_linear, whole.premultiplied_linear[..., :1].repeat(3, -1), atol=1e-6)
    assert np.ptp(plain.premultiplied_linear, axis=-1).max() > 0.05
    halved = plain.alpha.reshape(48, 2, 48, 2).mean(axis=(1, 3))
    assert np.abs(small.alpha - halved).mean() < 0.01
    assert small.premultiplied_linear.mean(axis=(0, 1)) == pytest.approx(
        plain.premultiplied_linear.mean(axis=(0, 1)), rel=0.02
    )


def test_true_mattes_of_what_stands_still_are_alike(studio):
    rig, plan = studio
    still = dataclasses.replace(rig, config=dataclasses.replace(rig.config, motion=0.0))
    renderer = TruthRenderer(still, plan, CROP, (96, 96))
    sharp, blurry = renderer.sharp_matte(100), renderer.blurry_matte(0.3)
    np.testing.assert_allclose(sharp.alpha, blurry.alpha, atol=1e-5)
    np.testing.assert_allclose(sharp.premultiplied_linear, blurry.premultiplied_linear, atol=1e-5)
    assert np.abs(TruthRenderer(rig, plan, CROP, (96, 96)).blurry_matte(0.3).alpha - blurry.alpha).mean() > 0.02


def test_a_true_matte_has_the_rows_of_its_frame(studio):
    rig, plan = studio
    rolling = TruthRenderer(with_readout(rig, 0.0, 0.01), plan, CROP, (96, 96))
    still = TruthRenderer(rig, plan, CROP, (96, 96)).sharp_matte(100).alpha
    np.testing.assert_array_equal(rolling.sharp_matte(100, "blurry").alpha, still)
    moved = np.abs(rolling.sharp_matte(100).alpha - still).mean(axis=1)
    # The middle row is seen at the frame's time, and the lowest rows 3 ms later.
    assert moved[-8:].mean() > 0.008
    assert moved[45:53].mean() < 0.3 * moved[-8:].mean()


def test_a_street_has_no_true_matte(mount):
    renderer = TruthRenderer(*mount, CROP, (96, 96))
    assert renderer.sharp_matte(90) is None
    assert renderer.blurry_matte(0.4) is None
