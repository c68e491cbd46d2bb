import dataclasses

import numpy as np
import pytest
from sessions import write_rig

from rb2v.artifacts import Crop
from rb2v.benchmark.reference import TruthRenderer
from rb2v.core.color import encode
from rb2v.simulator.rig import SimulateConfig, build_rig, plan_takes
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
