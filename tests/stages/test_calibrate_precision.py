"""What a calibration says of its own precision."""

import cv2
import numpy as np
import pytest
from sessions import make_session, shared_session, write_rig

from rb2v.core.displacement import local_displacements
from rb2v.core.homography import mirror_homography, warp_image, warp_points
from rb2v.core.refinement import ImagePair
from rb2v.io.calibration import read_calibration
from rb2v.io.video import read_image, write_image
from rb2v.stages.calibrate import CalibrateConfig, draw_residuals, run

SIZE = (240, 180)
SEEDS = [(3, False, "linear"), (0, True, "srgb")]


def calibrate_by_fewer_boards(folder, response, **changes):
    made = make_session(folder, {"response": response}, seconds=0.04, categories=("street",), **changes)
    for path in (made.raw / "calibration").glob("*/*/board_0[345].png"):
        path.unlink()
    run(made.raw, made.calibration)


@pytest.fixture(scope="module", params=SEEDS, ids=lambda param: f"seed{param[0]}")
def made(request, shared):
    """Two of the rigs of the benchmark's sweep, smaller."""
    seed, mirrored, response = request.param
    changes = {"size": SIZE, "mirrored": mirrored, "response": response, "seed": seed}
    return shared_session(shared, maker=calibrate_by_fewer_boards, **changes)


def test_the_homography_is_right_to_hundredths_and_the_quality_says_so(made):
    calibration = read_calibration(made.calibration)
    crop, quality = calibration.crop, calibration.quality
    errors = made.homography_errors_px(calibration.homography, (crop.x, crop.y, crop.width, crop.height))
    assert errors.mean() < 0.03
    assert calibration.mirrored == made.truth.rig.config.mirrored
    assert quality.refined
    assert quality.correlation > 0.95
    assert 0 < quality.leave_one_out_px < 0.3
    assert 0 < quality.p95_px < 0.3


def in_camera(rig, which, homography):
    """Where the housing lets all light through, in blurry-camera pixels."""
    camera = rig.camera(which)
    clear = (camera.aperture >= 1).astype(np.float32)
    return warp_image(clear, homography, camera.size) > 0.999


def test_the_crop_is_free_of_the_housing_in_both_views_and_not_wasteful(made):
    rig, crop = made.truth.rig, read_calibration(made.calibration).crop
    clear = in_camera(rig, "blurry", np.eye(3)) & in_camera(rig, "sharp", rig.homography)
    assert clear[crop.y : crop.y + crop.height, crop.x : crop.x + crop.width].all()
    assert crop.width == crop.height, "the output is square"
    assert crop.height >= 0.85 * clear.any(axis=1).sum()


def test_the_color_map_is_the_rig_s(made):
    np.testing.assert_allclose(read_calibration(made.calibration).color, made.truth.rig.color, atol=0.02)


def test_residuals_lie_over_the_crop_and_are_small(made):
    calibration = read_calibration(made.calibration)
    crop = calibration.crop
    assert len(calibration.residuals) >= 40
    for one in calibration.residuals:
        assert crop.x <= one.x <= crop.x + crop.width
        assert crop.y <= one.y <= crop.y + crop.height
        assert 1 <= one.pairs <= 8
    assert np.median([np.hypot(one.dx, one.dy) for one in calibration.residuals]) < 0.05


def test_pictures_to_judge_by_lie_beside_it(made):
    for name in ("calibration_overlay.png", "calibration_residuals.png", "calibration_flicker.gif"):
        assert (made.root / name).stat().st_size > 1000
    calibration = read_calibration(made.calibration)
    picture = draw_residuals(np.zeros((SIZE[1], SIZE[0], 3), np.uint8), calibration)
    assert picture.max() == 255
    assert picture.shape == (4 * SIZE[1], 4 * SIZE[0], 3)


FAN = np.array([162.0, 152.0])
FAN_RADIUS_PX = 135


def median_beside_the_fan_px(blurry, sharp, homography):
    """What is left of the displacement on the ground, which is static."""
    x, y = np.meshgrid(np.arange(15, 310, 15.0), np.arange(15, 310, 15.0))
    places = np.column_stack([x.ravel(), y.ravel()])
    places = places[np.linalg.norm(places - FAN, axis=1) > FAN_RADIUS_PX]
    grays = [cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY).astype(np.float32) / 255 for picture in (sharp, blurry)]
    found = [one for one in local_displacements(ImagePair(*grays), homography, places, 14) if one is not None]
    assert len(found) > 60
    return np.median([np.hypot(one.dx, one.dy) for one in found])


@pytest.mark.parametrize(("knock_px", "mirrored"), [(0.0, True), (6.0, False)])
def test_two_real_views_come_together_where_they_stand_still(tmp_path, shared_data, knock_px, mirrored):
    # A fan turns, with more contrast than all the rest, between the rolling shutters of two real co-axial cameras.
    write_rig(tmp_path / "rig.yaml", mirrored="auto" if mirrored else False)
    (tmp_path / "capture.yaml").write_text("schema: 1\nrig: rig.yaml\n")
    blurry, sharp = (
        cv2.resize(read_image(shared_data / "rigpair" / f"r0_{name}.png"), (320, 320), interpolation=cv2.INTER_AREA)
        for name in ("t2b", "b2t")
    )
    turn = np.array([[1.0, -0.01, knock_px], [0.01, 1.0, -0.5 * knock_px], [0, 0, 1]]) if knock_px else np.eye(3)
    sharp = cv2.warpPerspective(sharp, turn, (320, 320), flags=cv2.INTER_CUBIC, borderMode=cv2.BORDER_REFLECT)
    flip = mirror_homography(320) if mirrored else np.eye(3)
    seen = np.ascontiguousarray(sharp[:, ::-1]) if mirrored else sharp
    for camera, picture in (("blurry", blurry), ("sharp", seen)):
        write_image(tmp_path / "calibration" / "geometry" / camera / "a.png", picture)
    calibration = read_calibration(run(tmp_path, tmp_path / "c.json", CalibrateConfig(lenses="none")))
    assert calibration.mirrored == mirrored
    assert calibration.quality.points >= 30
    # Without a knock they lay nearly on each other as recorded; the rest is what the rolling shutters do.
    found = calibration.homography @ flip
    before, after = (median_beside_the_fan_px(blurry, sharp, one) for one in (np.eye(3), found))
    assert after < 0.15
    assert after < (0.05 if knock_px else 0.8) * before
    corners = np.array([[20.0, 20], [300, 20], [20, 300], [300, 300]])
    back = warp_points(found @ turn, corners)
    assert np.abs(back - corners).max() < 1.5, "the fan draws nothing"
    lengths = sorted(np.hypot(one.dx, one.dy) for one in calibration.residuals)
    assert lengths[len(lengths) // 4] < 0.3
    assert lengths[-1] > 2, "the fan"
