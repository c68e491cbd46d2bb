import dataclasses
import logging

import cv2
import numpy as np
import pytest
import yaml
from checkers import CheckerRig
from sessions import write_rig
from skimage import data as skimage_data

from rb2v.artifacts import Crop, Lens, RawDirectory
from rb2v.benchmark.session import calibration_section
from rb2v.errors import InputError
from rb2v.io.calibration import read_calibration, write_calibration
from rb2v.io.config import read_rig, read_settings
from rb2v.io.video import read_image, write_image
from rb2v.simulator.targets import wall_scene
from rb2v.stages.align import AlignConfig
from rb2v.stages.align.photometry import known_color_map
from rb2v.stages.calibrate import CalibrateConfig
from rb2v.stages.calibrate.captures import Capture
from rb2v.stages.calibrate.colors import add_colors
from rb2v.stages.calibrate.light import compare_light
from rb2v.stages.calibrate.response import estimate_from_captures


def raw_directory(folder, rig, *, checker=True):
    return RawDirectory(folder, rig.rig.rig, (), rig.write() if checker else None)


def wall_capture(rig, photos, seed=0):
    scene = wall_scene(photos, rig.size, seed)
    views = {}
    for which in ("blurry", "sharp"):
        camera = dataclasses.replace(rig.rig.camera(which), response=rig.response)
        views[which] = camera.develop(camera.expose(scene, 0.0), None)
    return Capture("wall.png", views["blurry"], views["sharp"], None)


@pytest.mark.parametrize("written", [2.2, {"gamma": 2.2}])
def test_settings_take_a_gamma_as_a_rig_does(tmp_path, written):
    path = tmp_path / "align.yaml"
    path.write_text(yaml.safe_dump({"response": written}))
    assert read_settings(AlignConfig, path).response == 2.2
    assert read_rig(write_rig(tmp_path / "rig.yaml", response={"gamma": 2.2})).response == 2.2


@pytest.mark.parametrize("written", [{"gamma": -1}, {"gama": 2.2}, "log", {"gamma": 2.2, "more": 1}])
def test_settings_with_no_response_are_named(tmp_path, written):
    path = tmp_path / "align.yaml"
    path.write_text(yaml.safe_dump({"response": written}))
    with pytest.raises(InputError) as caught:
        read_settings(AlignConfig, path)
    assert caught.value.source == str(path)


@pytest.mark.parametrize("response", ["log", 0.0, 20.0])
def test_calibration_takes_no_other_response(response):
    with pytest.raises(InputError) as caught:
        CalibrateConfig(response=response)
    assert caught.value.key == "response"


def test_align_wants_a_calibration_that_states_one(tmp_path, rb2v):
    rig = CheckerRig(tmp_path)
    path = write_calibration(tmp_path / "c.json", rig.calibration)
    arguments = ("align", "--raw-dir", tmp_path, "--calibration", path, "--out", tmp_path / "aligned")
    found = rb2v(*arguments, "--response", "calibration")
    assert found.status == 2
    assert "c.json: response: states none" in found.err
    found = rb2v(*arguments, "--response", "film")
    assert found.status == 2
    assert "expected calibration, linear, srgb or the exponent" in found.err
    assert not (tmp_path / "aligned").exists()


def test_align_starts_from_the_map_of_the_light_that_it_averages(tmp_path):
    rig = CheckerRig(tmp_path)
    color, coded = np.full((3, 4), 0.2), np.full((3, 4), 0.3)
    older = dataclasses.replace(rig.calibration, color=color)
    newer = dataclasses.replace(older, color_coded=coded, color_response=1.8)
    for calibration, response, wanted in (
        (older, "srgb", color),
        (older, 1.8, np.eye(3, 4)),
        (older, "linear", np.eye(3, 4)),
        (newer, 1.8, color),
        (newer, "linear", coded),
        (newer, "srgb", np.eye(3, 4)),
        (rig.calibration, "srgb", np.eye(3, 4)),
    ):
        np.testing.assert_array_equal(known_color_map(calibration, rig.rig.rig, response), wanted)


def test_calibrate_names_what_is_no_response(tmp_path, rb2v):
    arguments = ("calibrate", "--raw-dir", tmp_path, "--out", tmp_path / "c.json", "--response")
    found = rb2v(*arguments, "film")
    assert found.status == 2
    assert "expected linear, srgb, auto or the exponent" in found.err
    found = rb2v(*arguments, "0")
    assert found.status == 2
    assert "; expected linear or srgb or at least 0.1 or auto" in found.err


def test_what_was_found_is_written_and_drawn(tmp_path):
    rig = CheckerRig(tmp_path, 1, 2.2, mirrored=False)
    out = tmp_path / "c.json"
    calibration, _ = add_colors(out, raw_directory(tmp_path, rig), (), rig.calibration, "auto")
    read = read_calibration(write_calibration(out, calibration))
    assert read.response == read.color_response == calibration.response == pytest.approx(2.2, abs=0.05)
    assert read.color_coded.shape == (3, 4)
    assert read.quality.delta_e < 0.3 < 1 < read.quality.delta_e_before
    picture = tmp_path / "c_colors.png"
    assert read_image(picture).shape == (426, 1168, 3)
    section = calibration_section.report(read, None, None, 3, picture)
    names = [score.metric for score in section.scores]
    in_order = [name for name in names if name.startswith("delta_e")]
    assert in_order == ["delta_e_before", "delta_e", "delta_e_coded"]
    # Without a checker there is neither a map nor an image of an earlier one.
    without, _ = add_colors(out, raw_directory(tmp_path, rig, checker=False), (), rig.calibration)
    assert without.color is None
    assert not picture.exists()


def test_the_gray_row_tells_the_camera_whose_tone_curve_is_another(tmp_path, caplog):
    rig = CheckerRig(tmp_path, 2, mirrored=False, exposure=(0.9, 0.9))
    raw = raw_directory(tmp_path, rig)
    sharp = read_image(rig.pair[1]) / 255.0
    write_image(rig.pair[1], np.rint(255 * sharp**1.2).astype(np.uint8))
    with caplog.at_level(logging.WARNING):
        calibration, undone = add_colors(tmp_path / "c.json", raw, (), rig.calibration, "srgb")
    assert undone == "srgb"
    assert calibration.gray_blurry is None
    assert calibration.gray_sharp.exponent == pytest.approx(1.2, abs=0.03)
    assert "the sharp camera's gray row" in caplog.text
    read = read_calibration(write_calibration(tmp_path / "c.json", calibration))
    assert read.gray_sharp == calibration.gray_sharp
    # One capture is too few to find a tone curve, and enough to confirm it.
    scene = np.random.default_rng(4).uniform(0.1, 0.8, (20, 24, 3)).repeat(10, axis=0).repeat(10, axis=1)
    homography = rig.calibration.homography
    views = [scene, cv2.warpPerspective(scene, np.linalg.inv(homography), rig.size) ** 1.2]
    capture = Capture("wall.png", *(np.rint(255 * view).astype(np.uint8) for view in views), None)
    tone, _ = compare_light([capture], dataclasses.replace(calibration, crop=Crop(30, 30, 160, 130)), "srgb")
    assert tone.exponent == calibration.gray_sharp.exponent
    assert compare_light([capture], rig.calibration, "srgb")[0] is None


def test_without_a_checker_the_captures_tell_the_response(tmp_path, caplog):
    photos = []
    for name in ("astronaut", "coffee", "chelsea"):
        photos.append(tmp_path / f"{name}.png")
        write_image(photos[-1], getattr(skimage_data, name)())
    rig = CheckerRig(tmp_path, 3, "linear", size=(320, 260))
    # Channels that mix tell what a gain alone does not.
    mixing = np.array([[0.5, 0.3, 0.1], [0.2, 0.6, 0.1], [0.0, 0.3, 0.5]])
    rig.rig = dataclasses.replace(rig.rig, sharp=dataclasses.replace(rig.rig.sharp, mixing=mixing))
    rig.calibration = dataclasses.replace(rig.calibration, crop=Crop(25, 25, 250, 200))
    captures = [wall_capture(rig, photos, seed) for seed in (0, 1)]
    raw = raw_directory(tmp_path, rig, checker=False)
    with caplog.at_level(logging.WARNING):
        calibration, _ = add_colors(tmp_path / "c.json", raw, captures, rig.calibration)
    assert calibration.response == "linear"
    assert not caplog.text
    # Captures come without their lenses' distortion, so that a lens changes nothing.
    lens = Lens(np.array([[320.0, 0, 159.5], [0, 320, 129.5], [0, 0, 1]]), np.array([-0.3, 0, 0, 0, 0]))
    told = estimate_from_captures(captures, rig.calibration)
    assert told == estimate_from_captures(captures, dataclasses.replace(rig.calibration, lens_sharp=lens))
    # One camera's image twice tells nothing.
    same = [Capture("a", one.blurry, one.blurry, None) for one in captures]
    plain = dataclasses.replace(rig.calibration, homography=np.eye(3), mirrored=False)
    with caplog.at_level(logging.WARNING):
        made, _ = add_colors(tmp_path / "c.json", raw, same, plain, "auto")
    assert made.response is None
    assert "does not tell the cameras' response; the rig's is taken: linear" in caplog.text
