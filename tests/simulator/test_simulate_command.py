import json

import numpy as np
import pytest
from sessions import write_rig

from rb2v.artifacts import Crop
from rb2v.benchmark.truth.reference import TruthRenderer
from rb2v.io.config import read_takes
from rb2v.io.encoder import write_video
from rb2v.simulator import read_truth


@pytest.fixture
def run(tmp_path, rb2v):
    """Run ``rb2v simulate`` on a tiny rig; return its exit status and standard error."""
    rig = write_rig(tmp_path / "rig.yaml")
    tiny = f"--rig {rig} --size 64x64 --seconds 0.04 --test-seconds 0 --categories hand --workers 1".split()

    def run(*options):
        done = rb2v("simulate", "--out", tmp_path / "session" / "raw", *tiny, *options)
        return done.status, done.err

    return run


def test_options_are_what_is_simulated(run, tmp_path):
    options = (
        "--blurry-exposure-ms 12.5 --readout-ms 8,4.5 --motion 0.5 --max-offset-seconds 0.06 --crf 30 --screen small"
    )
    assert run(*options.split()) == (0, "")
    document = json.loads((tmp_path / "session" / "truth" / "truth.json").read_text())
    stated = {
        "blurry_exposure_seconds": 0.0125,
        "blurry_readout_seconds": 0.008,
        "sharp_readout_seconds": 0.0045,
        "motion": 0.5,
        "max_offset_seconds": 0.06,
        "crf": 30,
    }
    assert {key: document["config"][key] for key in stated} == pytest.approx(stated)
    assert document["config"]["screen"] == "small"
    assert document["readout_seconds"] == pytest.approx({"blurry": 0.008, "sharp": 0.0045})
    assert 0.05 <= document["takes"][0]["offset_seconds"] <= 0.06


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("--blurry-exposure-ms 0", "blurry_exposure_seconds: 0.0 is out of range; expected more than 0"),
        ("--blurry-exposure-ms 41", "blurry_exposure_seconds must be at most a frame of rig 'tiny', 0.04 s"),
        ("--readout-ms 8", "--readout-ms: '8' is no pair of times; expected BLURRY,SHARP in milliseconds"),
        ("--readout-ms 8,fast", "--readout-ms: '8,fast' is no pair"),
        ("--readout-ms 8,11", "sharp_readout_seconds must be at most a frame of rig 'tiny', 0.01 s"),
        ("--readout-ms 8,nan", "sharp_readout_seconds: nan: "),
        ("--motion -1", "--motion: -1 is out of range; expected at least 0"),
        ("--max-offset-seconds -1", "--max-offset-seconds: -1 is out of range; expected at least 0"),
        ("--green-screen", "green_screen is about a clip, and none is given"),
        ("--crf 52", "--crf: 52 is out of range; expected at most 51"),
    ],
)
def test_options_that_cannot_be_simulated_are_named(run, tmp_path, options, message):
    status, said = run(*options.split())
    assert status == 2
    assert said.startswith("error: ")
    assert message in said
    assert len(said.splitlines()) == 1
    assert not (tmp_path / "session").exists()


def test_a_clip_with_a_shutter_of_its_own_is_refused(run, tmp_path):
    clip = write_video(tmp_path / "clip.mp4", [np.zeros((48, 64, 3), np.uint8)] * 3, 30.0)
    status, said = run("--video", str(clip), "--readout-ms", "0,5")
    assert status == 2
    assert "clip.mp4: a clip cannot be shown with sharp_readout_seconds = 0.005; expected " in said


def test_plates_are_left_out_where_they_are_not_wanted(run, tmp_path):
    assert run("--no-plates") == (0, "")
    take = tmp_path / "session" / "raw" / "takes" / "hand_train"
    assert sorted(path.name for path in take.iterdir()) == ["blurry.mp4", "sharp.mp4", "take.yaml"]
    status, said = run("--plates")
    assert status == 2
    assert "plates" in said
    assert not list(take.glob("*.png"))


def test_a_clip_that_was_filmed_before_a_green_screen(run, tmp_path):
    frames = np.full((30, 48, 64, 3), (30, 160, 60), np.uint8)
    for index, frame in enumerate(frames):
        frame[10:30, index : index + 20] = 90
    clip = write_video(tmp_path / "clip.mp4", frames, 30.0)
    assert run("--video", str(clip), "--green-screen") == (0, "")
    (take,) = read_takes(tmp_path / "session" / "raw")
    assert (take.category, take.green_screen, take.plate_blurry, take.plate_sharp) == ("hand", True, None, None)
    truth = read_truth(tmp_path / "session" / "truth")
    (plan,) = truth.takes
    assert plan.green_screen
    assert truth.rig.blurry.expose_foreground(truth.rig.scene(plan), 0.0) is None
    renderer = TruthRenderer(truth.rig, plan, Crop(8, 8, 48, 48), (48, 48))
    assert renderer.sharp_matte(8) is None
    assert renderer.blurry_matte(0.0) is None
    status, said = run("--video", str(clip))
    assert status == 2
    assert "green_screen" in said
