import shutil

import cv2
import numpy as np
import pytest
from sessions import make_session, shared_session, write_rig

from rb2v.benchmark.session.calibration_section import homography_errors
from rb2v.core.homography import warp_points
from rb2v.core.lens import undistort_points
from rb2v.core.lens_fit import BoardView, fit_lens
from rb2v.io.calibration import read_calibration
from rb2v.io.video import read_image, write_image
from rb2v.stages.calibrate import CalibrateConfig, run
from rb2v.stages.calibrate.boards import CharucoSpec, board_grid, find_charuco, find_corners
from rb2v.stages.calibrate.precision import warn_of_bending

TERMS = ("k1", "k2", "cx", "cy")
SPEC = CharucoSpec("DICT_6X6_250", (5, 7), 0.5)


def record_through_lenses(root):
    made = make_session(root, seconds=0.04, categories=("street",), distortion=(-0.15, -0.06))
    for path in (made.raw / "calibration" / "geometry").glob("*/wall_01.png"):
        path.unlink()
    shutil.rmtree(made.raw / "calibration" / "color")
    run(made.raw, made.calibration)


@pytest.fixture(scope="module")
def bent(shared):
    """A session through two lenses that bend differently, calibrated."""
    return shared_session(shared, maker=record_through_lenses)


@pytest.fixture(scope="module")
def calibrated(bent):
    return read_calibration(bent.calibration)


def test_lenses_and_homography_take_pixels_where_they_belong(bent, calibrated):
    errors = homography_errors(calibrated, bent.truth.rig, 15)
    assert errors.mean() < 0.1
    assert errors.max() < 0.4
    assert calibrated.mirrored == bent.truth.rig.config.mirrored
    assert calibrated.quality.rms_px < 0.2


def test_without_the_lenses_they_do_not(bent, tmp_path, caplog):
    shutil.copytree(bent.raw, tmp_path / "raw", ignore=shutil.ignore_patterns("board_0[345].png"))
    shutil.copy(bent.root / "rig.yaml", tmp_path)
    straight = read_calibration(run(tmp_path / "raw", tmp_path / "c.json", CalibrateConfig(lenses="none")))
    assert straight.lens_blurry is straight.lens_sharp is None
    assert homography_errors(straight, bent.truth.rig, 15).mean() > 0.15
    assert any("lens" in record.getMessage() for record in caplog.records)


def test_only_what_a_lens_leaves_is_called_one(bent, calibrated, calibrated_session, caplog):
    for calibration in (calibrated, read_calibration(calibrated_session.calibration)):
        warn_of_bending(calibration.residuals, calibration.homography, calibration.size_sharp, calibration.size_blurry)
    assert caplog.records == []


def test_a_lens_that_is_found_undoes_the_true_one(bent, calibrated):
    for lens, true in (
        (calibrated.lens_blurry, bent.truth.rig.blurry.lens),
        (calibrated.lens_sharp, bent.truth.rig.sharp.lens),
    ):
        x, y = np.meshgrid(np.linspace(30, 160, 7), np.linspace(25, 135, 7))
        points = np.column_stack([x.ravel(), y.ravel()])
        found, straight = (undistort_points(points, one.matrix, one.distortion) for one in (lens, true))
        homography, _ = cv2.findHomography(found, straight, 0)
        assert np.linalg.norm(warp_points(homography, found) - straight, axis=1).mean() < 0.1


def test_a_rig_without_distortion_has_no_lenses(calibrated_session):
    calibration = read_calibration(calibrated_session.calibration)
    assert calibration.lens_blurry is calibration.lens_sharp is None


def draw_charuco(raw, spec, n=2):
    board = cv2.aruco.CharucoBoard(
        spec.squares, 1.0, spec.marker_share, cv2.aruco.getPredefinedDictionary(getattr(cv2.aruco, spec.dictionary))
    )
    picture = board.generateImage((500, 700), marginSize=40)
    rng = np.random.default_rng(0)
    truth = np.array([[0.98, -0.02, 10], [0.02, 0.98, -4], [1e-5, 0, 1]])
    mirror = np.array([[-1.0, 0, 479], [0, 1, 0], [0, 0, 1]])
    for index in range(n):
        pose = np.array([[0.42, 0.03, 60 + rng.uniform(0, 120)], [-0.03, 0.42, rng.uniform(10, 50)], [1e-5, 2e-5, 1]])
        for camera, view in (("sharp", mirror @ pose), ("blurry", truth @ pose)):
            seen = cv2.warpPerspective(picture, view, (480, 360), flags=cv2.INTER_AREA, borderValue=150)
            seen = np.clip(cv2.GaussianBlur(seen, (0, 0), 0.8) * 0.8 + 20, 0, 255).astype(np.uint8)
            write_image(raw / "calibration" / "geometry" / camera / f"{index}.png", cv2.merge([seen] * 3))
    return truth @ mirror


def test_marked_boards_are_read_in_a_mirror_too(tmp_path, rb2v):
    raw = tmp_path / "raw"
    truth = draw_charuco(raw, SPEC)
    write_rig(raw / "rig.yaml")
    (raw / "capture.yaml").write_text("schema: 1\nrig: rig.yaml\n")
    command = ["calibrate", "--raw-dir", str(raw), "--out", str(tmp_path / "c.json"), "--lenses", "none"]
    done = rb2v(*command, "--charuco", "DICT_6X6_250,5x7")
    assert done.status == 0, done.output
    calibration = read_calibration(tmp_path / "c.json")
    assert calibration.mirrored
    points = np.array([[x, y] for x in (120.0, 240, 360) for y in (90.0, 180, 270)])
    landed = warp_points(calibration.homography, points)
    assert np.abs(landed - warp_points(truth / truth[2, 2], points)).max() < 0.3


@pytest.mark.parametrize(
    "text",
    [
        *("DICT_6X6_250", "NONE,5x7", "DICT_6X6_250,5x7,2", "DICT_6X6_250,5x7,a", "DICT_6X6_250,5"),
        *("DICT_4X4_50,10x11", "DICT_6X6_250,99999x99999"),
    ],
)
def test_what_is_no_board_is_refused(tmp_path, text, rb2v):
    command = ["calibrate", "--raw-dir", "x", "--out", str(tmp_path / "c.json"), "--charuco", text]
    done = rb2v(*command)
    assert done.status == 2
    assert "--charuco" in done.err or "board" in done.err or "markers" in done.err


@pytest.mark.parametrize(
    ("option", "text", "example"), [("--board", "9", "9x6"), ("--charuco", "DICT_6X6_250,5", "5x7")]
)
def test_the_example_of_a_board_is_one(tmp_path, option, text, example, rb2v):
    done = rb2v("calibrate", "--raw-dir", "x", "--out", tmp_path / "c.json", option, text)
    assert done.err.endswith(f"expected WIDTHxHEIGHT, {example} for example\n")


@pytest.mark.parametrize("size", [(1, 1), (1, 60_000)])
def test_a_picture_of_a_pixel_s_width_holds_no_board(size):
    assert find_corners(np.zeros((*size, 3), np.uint8), (9, 6)) is None


@pytest.mark.parametrize("side", ["left", "right"])
def test_real_chessboards_are_fitted_as_opencv_fits_them(shared_data, side):
    views, seen = [], []
    for path in sorted((shared_data / "calib" / "stereo_chessboard").glob(f"{side}*.jpg")):
        corners = find_corners(read_image(path), (9, 6))
        assert corners is not None, path.name
        views.append(BoardView(board_grid((9, 6)), corners))
        seen.append(corners.astype(np.float32).reshape(-1, 1, 2))
    assert len(views) == 9
    board = np.column_stack([board_grid((9, 6)), np.zeros(54)]).astype(np.float32)
    opencv_rms_px = cv2.calibrateCamera([board] * 9, seen, (640, 480), None, None)[0]
    rms_px = fit_lens(views, (640, 480), TERMS).rms_px
    assert rms_px <= 1.02 * opencv_rms_px
    assert rms_px < 0.21


def straightness_px(points, board_corners):
    """Root mean square distance of corners from the straight lines through their rows and columns."""
    grid = points.reshape(board_corners[1], board_corners[0], 2)
    lines = [*grid, *grid.transpose(1, 0, 2)]
    left = [np.linalg.svd(line - line.mean(axis=0), compute_uv=False)[1] / np.sqrt(len(line)) for line in lines]
    return float(np.sqrt(np.mean(np.square(left))))


def test_strongly_bent_boards_are_found_and_made_straight(shared_data):
    board, views = (19, 13), []
    for path in sorted((shared_data / "calib" / "wide_checkerboard").glob("*.png")):
        image = read_image(path)
        corners = find_corners(image, board)
        assert corners is not None, path.name
        views.append(BoardView(board_grid(board), corners))
    assert len(views) == 3
    # The first board is a sheet of paper that is curled, and left out as no plane.
    flat = views[1:]
    fit = fit_lens(flat, image.shape[1::-1], TERMS)
    for view in flat:
        straight = undistort_points(view.points, fit.matrix, fit.distortion)
        assert straightness_px(straight, board) < 0.2 * straightness_px(view.points, board)
    assert fit_lens(views, image.shape[1::-1], TERMS).view_rms_px.argmax() == 0


def test_a_real_photograph_of_a_marked_board_is_read(shared_data):
    image = read_image(shared_data / "calib" / "charuco" / "choriginal.jpg")
    found, mirrored = (find_charuco(picture, SPEC) for picture in (image, np.ascontiguousarray(image[:, ::-1])))
    assert len(found.grid) == len(mirrored.grid) == 24
    np.testing.assert_allclose(639 - mirrored.points[:, 0], found.points[:, 0], atol=1e-9)
    fit = fit_lens([found], (640, 480), ())
    assert fit.rms_px < 1.0
