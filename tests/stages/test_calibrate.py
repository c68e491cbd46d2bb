import shutil

import cv2
import numpy as np
import pytest
import yaml
from sessions import write_rig
from skimage import data as skimage_data

from rb2v.core.color import apply_color_map, delta_e_2000, from_linear, to_linear
from rb2v.errors import InputError
from rb2v.io.calibration import read_calibration
from rb2v.io.video import read_image, write_image
from rb2v.simulator.targets import CHECKER_SRGB
from rb2v.stages.calibrate import CalibrateConfig, run
from rb2v.stages.calibrate.boards import CharucoSpec
from rb2v.stages.calibrate.checker import fit_checker

PERFECT = CalibrateConfig(lenses="none")


def copy_captures(made, folder, ignored):
    """Copy captures, without the checker, to be changed."""
    ignore = shutil.ignore_patterns(*ignored, "color")
    shutil.copytree(made.raw / "calibration", folder / "calibration", ignore=ignore)
    write_rig(folder / "rig.yaml")
    (folder / "capture.yaml").write_text("schema: 1\nrig: rig.yaml\n")
    return folder


@pytest.fixture
def raw(calibrated_session, tmp_path):
    """Two boards and a wall."""
    return copy_captures(calibrated_session, tmp_path / "raw", ("board_0[2345].png", "wall_01.png"))


@pytest.fixture
def raw_of_walls(calibrated_session, tmp_path):
    return copy_captures(calibrated_session, tmp_path / "walls", ("board*",))


@pytest.fixture
def raw_with_checker(calibrated_session, raw_of_walls):
    shutil.copytree(calibrated_session.raw / "calibration" / "color", raw_of_walls / "calibration" / "color")
    return raw_of_walls


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


@pytest.fixture
def calibrated(calibrated_session):
    return calibrated_session, read_calibration(calibrated_session.calibration)


def test_the_homography_is_right_to_a_fraction_of_a_pixel(calibrated):
    made, calibration = calibrated
    crop = calibration.crop
    errors = made.homography_errors_px(calibration.homography, (crop.x, crop.y, crop.width, crop.height))
    assert errors.mean() < 0.03
    assert errors.max() < 0.08
    assert calibration.mirrored == made.truth.rig.config.mirrored
    assert calibration.homography[2, 2] == 1
    assert (calibration.size_blurry, calibration.size_sharp) == ((192, 160), (192, 160))


def test_the_crop_has_the_output_s_aspect(raw_of_walls, tmp_path):
    write_rig(raw_of_walls / "rig.yaml", output_size=[160, 96])
    crop = read_calibration(run(raw_of_walls, tmp_path / "c.json", PERFECT)).crop
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
    assert quality.images == 8, "six boards and two walls"


def test_a_picture_to_judge_by_is_written_beside_it(calibrated_session):
    picture = read_image(calibrated_session.root / "calibration_overlay.png")
    assert picture.shape == (160, 384, 3)


def test_the_same_captures_give_the_same_bytes(calibrated_session, tmp_path):
    made = calibrated_session
    again = run(made.raw, tmp_path / "calibration.json")
    for name in ("calibration.json", "calibration_overlay.png", "calibration_colors.png"):
        assert again.with_name(name).read_bytes() == (made.root / name).read_bytes()


def test_any_static_scene_will_do_and_refinement_makes_it_better(calibrated_session, raw_of_walls, tmp_path):
    means = []
    for refine in (False, True):
        config = CalibrateConfig(lenses="none", refine=refine)
        calibration = read_calibration(run(raw_of_walls, tmp_path / "c.json", config))
        means.append(calibrated_session.homography_errors_px(calibration.homography, (40, 30, 110, 100)).mean())
        assert calibration.mirrored
        assert calibration.quality.refined == refine
    assert means[1] < 0.5 * means[0] < 0.5
    assert means[1] < 0.03
    assert calibration.color is None, "there is no checker"
    assert calibration.quality.delta_e is None


def test_a_picture_without_a_checker_is_named(raw_with_checker, tmp_path):
    raw = raw_with_checker
    path = raw / "calibration" / "color" / "blurry.png"
    write_image(path, np.full((160, 192, 3), 90, np.uint8))
    with pytest.raises(InputError, match=r"color/blurry\.png: no 24-patch color checker"):
        run(raw, tmp_path / "c.json", PERFECT)
    assert not (tmp_path / "c.json").exists()


@pytest.mark.parametrize("mirrored", [True, False])
def test_what_the_rig_says_of_the_mirror_is_believed(raw_of_walls, tmp_path, mirrored):
    write_rig(raw_of_walls / "rig.yaml", mirrored=mirrored)
    if mirrored:
        assert read_calibration(run(raw_of_walls, tmp_path / "c.json", PERFECT)).mirrored
    else:
        with pytest.raises(InputError, match=r"no common structure.*; expected .*mirrored: false as the rig says"):
            run(raw_of_walls, tmp_path / "c.json", PERFECT)


def test_color_differences_are_those_of_the_light_whatever_the_response(calibrated_session, tmp_path):
    # A blurry camera whose colors no affine map gives leaves a difference; the same light is coded in two ways.
    folder = calibrated_session.raw / "calibration" / "color"
    light = {which: to_linear(read_image(folder / f"{which}.png"), "srgb") for which in ("blurry", "sharp")}
    light["blurry"] = light["blurry"] ** 1.2
    calibration = read_calibration(calibrated_session.calibration)
    delta_e = []
    for response in ("srgb", 1.5):
        pair = tuple(tmp_path / f"{which}.png" for which in light)
        for path, picture in zip(pair, light.values(), strict=True):
            write_image(path, np.rint(255 * from_linear(picture, response)).astype(np.uint8))
        delta_e.append(fit_checker(pair, calibration, response).complete(calibration).quality.delta_e)
    assert delta_e[0] > 1
    assert delta_e[1] == pytest.approx(delta_e[0], rel=0.05)


def test_a_board_that_moved_between_the_cameras_is_left_out(calibrated_session, raw, tmp_path):
    path = captures(raw, "sharp", "board*")[0]
    write_image(path, np.roll(read_image(path), 25, axis=1))
    calibration = read_calibration(run(raw, tmp_path / "c.json", PERFECT))
    assert calibrated_session.homography_errors_px(calibration.homography, (40, 30, 110, 100)).max() < 0.2


def test_views_of_different_sizes_are_no_fault(raw, tmp_path):
    for path in captures(raw, "sharp"):
        write_image(path, cv2.resize(read_image(path), (240, 200), interpolation=cv2.INTER_CUBIC))
    calibration = read_calibration(run(raw, tmp_path / "c.json", PERFECT))
    assert (calibration.size_blurry, calibration.size_sharp) == ((192, 160), (240, 200))
    assert np.linalg.det(calibration.homography[:2, :2]) == pytest.approx(-(0.8**2), rel=0.1)


@pytest.mark.parametrize("odd", [0, 2])
def test_the_capture_of_another_size_is_named(raw, tmp_path, odd):
    path = captures(raw, "sharp")[odd]
    write_image(path, read_image(path)[:-2])
    with pytest.raises(InputError, match=r"is 192x158; expected 192x160 as the other captures") as caught:
        run(raw, tmp_path / "c.json")
    assert caught.value.source == str(path)


def test_a_capture_of_one_view_only_is_named(raw, tmp_path):
    path = captures(raw, "blurry")[1]
    path.unlink()
    with pytest.raises(InputError, match=rf"sharp/{path.name}: has no partner"):
        run(raw, tmp_path / "c.json")


@pytest.mark.parametrize(("share", "problem"), [(0.0, "cannot be read as an image"), (0.5, "is cut short or damaged")])
def test_a_capture_that_is_no_whole_picture_is_named(raw, tmp_path, capfd, share, problem):
    path = captures(raw, "blurry")[1]
    data = path.read_bytes()
    path.write_bytes(data[: int(share * len(data))])
    with pytest.raises(InputError, match=rf"blurry/{path.name}: {problem}"):
        run(raw, tmp_path / "c.json")
    assert not capfd.readouterr().err, "no decoder speaks of it, too"


def test_captures_that_are_strips(raw, tmp_path):
    strip = np.zeros((1, 4000, 3), np.uint8)
    write_captures(raw, blurry=strip, sharp=strip)
    with pytest.raises(InputError, match=r"blurry/a\.png: is 4000x1; expected 32 pixels each way at least"):
        run(raw, tmp_path / "c.json")


@pytest.mark.parametrize(
    ("named", "text"),
    [
        ({"board_corners": (40, 40)}, "no capture shows the chessboard of 40x40 inner corners"),
        (
            {"charuco": CharucoSpec("DICT_4X4_50", (5, 7))},
            "no capture shows the ChArUco board of 5x7 squares of DICT_4",
        ),
    ],
)
def test_a_board_that_is_named_and_not_there(raw, tmp_path, named, text):
    with pytest.raises(InputError, match=rf"calibration/geometry: {text}"):
        run(raw, tmp_path / "c.json", CalibrateConfig(**named))
    assert not list(tmp_path.glob("c*"))


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
        run(raw, tmp_path / "c.json", PERFECT)
    assert not (tmp_path / "c.json").exists()


def test_real_photographs_of_two_scenes_share_nothing(raw, tmp_path, shared_data):
    matting = shared_data / "matting"
    write_captures(raw, blurry=read_image(matting / "beach.png"), sharp=read_image(matting / "lemur.png"))
    with pytest.raises(InputError, match="no common structure"):
        run(raw, tmp_path / "c.json", PERFECT)


def test_boards_of_other_sizes():
    with pytest.raises(ValueError, match="board_corners"):
        CalibrateConfig(board_corners=(9, 2))
    with pytest.raises(ValueError, match="searched for one of them"):
        CalibrateConfig(board_corners=(9, 6), charuco=CharucoSpec("DICT_4X4_50", (5, 7)))


def test_the_rig_s_file_is_told_where_it_is_wrong(raw, tmp_path):
    (raw / "rig.yaml").write_text(yaml.safe_dump({"schema": 1}))
    with pytest.raises(InputError, match=r"rig\.yaml: name: is missing"):
        run(raw, tmp_path / "c.json")
