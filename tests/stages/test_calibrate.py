import shutil

import cv2
import numpy as np
import pytest
import yaml
from sessions import write_rig
from skimage import data as skimage_data

from rb2v.core.color import apply_color_map, delta_e_2000, from_linear, to_linear
from rb2v.core.homography import warp_image
from rb2v.errors import InputError
from rb2v.io.calibration import read_calibration
from rb2v.io.video import read_image, write_image
from rb2v.simulator.targets import CHECKER_SRGB
from rb2v.stages.calibrate import CalibrateConfig, run


@pytest.fixture
def raw(session, tmp_path):
    """A copy of some of the captures, without the checker, to be changed."""
    ignore = shutil.ignore_patterns("board_0[345].png", "color")
    shutil.copytree(session.raw / "calibration", tmp_path / "raw" / "calibration", ignore=ignore)
    write_rig(tmp_path / "raw" / "rig.yaml")
    (tmp_path / "raw" / "capture.yaml").write_text("schema: 1\nrig: rig.yaml\n")
    return tmp_path / "raw"


@pytest.fixture
def raw_with_checker(session, raw):
    shutil.copytree(session.raw / "calibration" / "color", raw / "calibration" / "color")
    return raw


def captures(raw, camera, pattern="*.png"):
    return sorted((raw / "calibration" / "geometry" / camera).glob(pattern))


def remove(raw, pattern):
    for camera in ("blurry", "sharp"):
        for path in captures(raw, camera, pattern):
            path.unlink()


def write_captures(raw, **pictures):
    remove(raw, "*")
    for camera, picture in pictures.items():
        write_image(raw / "calibration" / "geometry" / camera / "a.png", picture)


def in_camera(rig, which, homography):
    """Where the housing lets all light through, in blurry-camera pixels."""
    camera = rig.camera(which)
    clear = (camera.aperture >= 1).astype(np.float32)
    return warp_image(clear, homography, camera.size) > 0.999


@pytest.fixture(params=["session", "clean_session"])
def calibrated(request):
    made = request.getfixturevalue(request.param)
    return made, read_calibration(made.calibration)


def test_the_homography_is_right_to_a_fraction_of_a_pixel(calibrated):
    made, calibration = calibrated
    crop = calibration.crop
    errors = made.homography_errors_px(calibration.homography, (crop.x, crop.y, crop.width, crop.height))
    assert errors.mean() < 0.03
    assert errors.max() < 0.08
    assert calibration.mirrored == made.truth.rig.config.mirrored
    assert calibration.homography[2, 2] == 1
    assert (calibration.size_blurry, calibration.size_sharp) == ((192, 160), (192, 160))


def test_the_crop_is_free_of_the_housing_in_both_views_and_not_wasteful(calibrated):
    made, calibration = calibrated
    rig, crop = made.truth.rig, calibration.crop
    clear = in_camera(rig, "blurry", np.eye(3)) & in_camera(rig, "sharp", rig.homography)
    assert clear[crop.y : crop.y + crop.height, crop.x : crop.x + crop.width].all()
    assert crop.width == crop.height, "the output is square"
    assert crop.height >= 0.85 * clear.any(axis=1).sum()


def test_the_crop_has_the_output_s_aspect(raw, tmp_path):
    write_rig(raw / "rig.yaml", output_size=[160, 96])
    crop = read_calibration(run(raw, tmp_path / "c.json")).crop
    assert crop.width == round(crop.height * 160 / 96)


def test_the_color_map_takes_sharp_colors_to_blurry_colors(calibrated):
    made, calibration = calibrated
    scene = to_linear(CHECKER_SRGB, "srgb")
    sharp, blurry = (scene @ made.truth.rig.camera(which).mixing.T for which in ("sharp", "blurry"))
    np.testing.assert_allclose(apply_color_map(calibration.color, sharp), blurry, atol=0.004)
    np.testing.assert_allclose(calibration.color, made.truth.rig.color, atol=0.01)
    before = delta_e_2000(from_linear(sharp, "srgb"), from_linear(blurry, "srgb")).mean()
    assert calibration.quality.delta_e < 0.3 < 1.0 < before


def test_the_quality_tells_how_many_captures_and_points(calibrated):
    quality = calibrated[1].quality
    assert 0.005 < quality.rms_px < 0.3
    assert quality.pairs >= 2
    assert quality.points >= 0.9 * 54 * quality.pairs


def test_a_picture_to_judge_by_is_written_beside_it(session):
    picture = read_image(session.root / "calibration_overlay.png")
    assert picture.shape == (160, 384, 3)


def test_the_same_captures_give_the_same_bytes(session, tmp_path):
    again = run(session.raw, tmp_path / "calibration.json")
    assert again.read_bytes() == session.calibration.read_bytes()
    assert (tmp_path / "calibration_overlay.png").read_bytes() == (
        session.root / "calibration_overlay.png"
    ).read_bytes()


def test_any_static_scene_will_do(session, raw, tmp_path):
    remove(raw, "board*")
    calibration = read_calibration(run(raw, tmp_path / "c.json"))
    crop = calibration.crop
    errors = session.homography_errors_px(calibration.homography, (crop.x, crop.y, crop.width, crop.height))
    assert errors.mean() < 0.2
    assert errors.max() < 0.5
    assert calibration.mirrored


def test_refinement_makes_it_better(session, raw, tmp_path):
    remove(raw, "board*")
    boxes = []
    for refine in (False, True):
        calibration = read_calibration(run(raw, tmp_path / "c.json", CalibrateConfig(refine=refine)))
        boxes.append(session.homography_errors_px(calibration.homography, (40, 30, 110, 100)).mean())
    assert boxes[1] < boxes[0] < 1.0


def test_without_a_checker_there_is_no_color_map(raw, tmp_path):
    calibration = read_calibration(run(raw, tmp_path / "c.json"))
    assert calibration.color is None
    assert calibration.quality.delta_e is None


def test_a_picture_without_a_checker_is_named(raw_with_checker, tmp_path):
    raw = raw_with_checker
    path = raw / "calibration" / "color" / "blurry.png"
    write_image(path, np.full((160, 192, 3), 90, np.uint8))
    with pytest.raises(InputError, match=r"color/blurry\.png: no 24-patch colour checker"):
        run(raw, tmp_path / "c.json")
    assert not (tmp_path / "c.json").exists()


@pytest.mark.parametrize("mirrored", [True, False])
def test_what_the_rig_says_of_the_mirror_is_believed(raw, tmp_path, mirrored):
    write_rig(raw / "rig.yaml", mirrored=mirrored)
    if mirrored:
        assert read_calibration(run(raw, tmp_path / "c.json")).mirrored
    else:
        with pytest.raises(InputError, match=r"no common structure.*; expected .*mirrored: false as the rig says"):
            run(raw, tmp_path / "c.json")


def test_color_differences_are_those_of_the_light_whatever_the_response(raw_with_checker, tmp_path):
    raw = raw_with_checker
    # A blurry camera whose colors no affine map gives leaves a difference; the same light is coded in two ways.
    light = {
        which: to_linear(read_image(raw / "calibration" / "color" / f"{which}.png"), "srgb")
        for which in ("blurry", "sharp")
    }
    light["blurry"] = light["blurry"] ** 1.2
    delta_e = []
    for response in ("srgb", 1.5):
        for which, picture in light.items():
            coded = np.rint(255 * from_linear(picture, response)).astype(np.uint8)
            write_image(raw / "calibration" / "color" / f"{which}.png", coded)
        write_rig(raw / "rig.yaml", response=response if response == "srgb" else {"gamma": response})
        delta_e.append(read_calibration(run(raw, tmp_path / "c.json")).quality.delta_e)
    assert delta_e[0] > 1
    assert delta_e[1] == pytest.approx(delta_e[0], rel=0.05)


def test_a_board_that_moved_between_the_cameras_is_left_out(session, raw, tmp_path):
    path = captures(raw, "sharp", "board*")[0]
    write_image(path, np.roll(read_image(path), 25, axis=1))
    calibration = read_calibration(run(raw, tmp_path / "c.json"))
    assert session.homography_errors_px(calibration.homography, (40, 30, 110, 100)).max() < 0.2


def test_views_of_different_sizes_are_no_fault(raw, tmp_path):
    for path in captures(raw, "sharp"):
        write_image(path, cv2.resize(read_image(path), (240, 200), interpolation=cv2.INTER_CUBIC))
    calibration = read_calibration(run(raw, tmp_path / "c.json"))
    assert (calibration.size_blurry, calibration.size_sharp) == ((192, 160), (240, 200))
    assert np.linalg.det(calibration.homography[:2, :2]) == pytest.approx(-(0.8**2), rel=0.1)


def test_captures_of_one_camera_that_differ_in_size_are_named(raw, tmp_path):
    path = captures(raw, "sharp")[2]
    write_image(path, read_image(path)[:-2])
    with pytest.raises(InputError, match=r"is 192x158; expected 192x160 as the other captures") as caught:
        run(raw, tmp_path / "c.json")
    assert caught.value.source == str(path)


def test_a_capture_of_one_view_only_is_named(raw, tmp_path):
    path = captures(raw, "blurry")[1]
    path.unlink()
    with pytest.raises(InputError, match=rf"sharp/{path.name}: has no partner"):
        run(raw, tmp_path / "c.json")


def test_a_capture_that_is_no_picture_is_named(raw, tmp_path):
    path = captures(raw, "blurry")[1]
    path.write_bytes(b"")
    with pytest.raises(InputError, match=rf"blurry/{path.name}: cannot be read as a picture"):
        run(raw, tmp_path / "c.json")


def test_no_capture_at_all(raw, tmp_path):
    remove(raw, "*")
    with pytest.raises(InputError, match="geometry: holds no capture pair"):
        run(raw, tmp_path / "c.json")


@pytest.mark.parametrize(
    ("blurry", "sharp"),
    [
        (skimage_data.astronaut()[:320, :400], skimage_data.coffee()[:320, :400]),
        (skimage_data.chelsea()[:300, :400], np.full((300, 400, 3), 90, np.uint8)),
        (np.zeros((300, 400, 3), np.uint8), np.zeros((300, 400, 3), np.uint8)),
        (np.random.default_rng(0).integers(0, 256, (2, 300, 400, 3), dtype=np.uint8)),
    ],
    ids=["photographs", "blank", "black", "noise"],
)
def test_views_that_share_nothing_are_told(raw, tmp_path, blurry, sharp):
    write_captures(raw, blurry=blurry, sharp=sharp)
    with pytest.raises(InputError, match="geometry: the two views of the captures show no common structure"):
        run(raw, tmp_path / "c.json")
    assert not (tmp_path / "c.json").exists()


def test_real_photographs_of_two_scenes_share_nothing(raw, tmp_path, shared_data):
    matting = shared_data / "matting"
    write_captures(raw, blurry=read_image(matting / "beach.png"), sharp=read_image(matting / "lemur.png"))
    with pytest.raises(InputError, match="no common structure"):
        run(raw, tmp_path / "c.json")


def test_a_real_pair_of_coaxial_cameras_of_which_one_is_mirrored(raw, tmp_path, shared_data):
    # The rolling shutters run in opposite directions while the camera moves: no homography fits to the pixel.
    pictures = (read_image(shared_data / "rigpair" / f"r0_{name}.png") for name in ("t2b", "b2t"))
    blurry, sharp = (cv2.resize(picture, (320, 320), interpolation=cv2.INTER_AREA) for picture in pictures)
    write_captures(raw, blurry=blurry, sharp=np.ascontiguousarray(sharp[:, ::-1]))
    calibration = read_calibration(run(raw, tmp_path / "c.json"))
    assert calibration.mirrored
    assert calibration.quality.points >= 30
    assert calibration.quality.rms_px < 2
    corners = np.abs(np.linalg.det(calibration.homography[:2, :2]))
    assert corners == pytest.approx(1, abs=0.2)


def test_boards_of_other_sizes():
    with pytest.raises(ValueError, match="board_corners"):
        CalibrateConfig(board_corners=(9, 2))


def test_the_rig_s_file_is_told_where_it_is_wrong(raw, tmp_path):
    (raw / "rig.yaml").write_text(yaml.safe_dump({"schema": 1}))
    with pytest.raises(InputError, match=r"rig\.yaml: name: is missing"):
        run(raw, tmp_path / "c.json")
