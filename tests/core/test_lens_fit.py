import numpy as np
import pytest

from rb2v.core.homography import fit_homography, mirror_homography, warp_points
from rb2v.core.lens import distort_points, undistort_points
from rb2v.core.lens_fit import BoardView, assumed_lens, fit_lens, fit_pair, held_out_rms_px

SIZE = (640, 480)
GRID = np.stack(np.meshgrid(np.arange(9.0), np.arange(6.0)), axis=-1).reshape(-1, 2)
TERMS = ("k1", "cx", "cy")


def lens_of(k1, center=(325.0, 236.0)):
    return np.array([[640.0, 0, center[0]], [0, 640.0, center[1]], [0, 0, 1]]), np.array([k1, 0, 0, 0, 0])


def views_through(matrix, distortion, noise_px=0.02, n=5, seed=0):
    rng = np.random.default_rng(seed)
    views = []
    for _ in range(n):
        tilt = np.array([[45, 0, rng.uniform(40, 200)], [0, 45, rng.uniform(30, 150)], [0, 0, 1.0]])
        tilt[:2, :2] += rng.uniform(-8, 8, (2, 2))
        tilt[2, :2] = rng.uniform(-0.01, 0.01, 2)
        recorded = distort_points(warp_points(tilt, GRID), matrix, distortion)
        views.append(BoardView(GRID, recorded + rng.normal(0, noise_px, recorded.shape)))
    return views


@pytest.mark.parametrize("k1", [-0.2, -0.03, 0.1])
def test_a_known_lens_is_found_from_its_boards(k1):
    matrix, distortion = lens_of(k1)
    fit = fit_lens(views_through(matrix, distortion), SIZE, TERMS)
    assert fit.rms_px == pytest.approx(0.02 * np.sqrt(2), rel=0.15)
    points = np.stack(np.meshgrid(np.linspace(60, 580, 9), np.linspace(50, 430, 7)), axis=-1).reshape(-1, 2)
    found, true = (undistort_points(points, *lens) for lens in ((fit.matrix, fit.distortion), (matrix, distortion)))
    # A shift of the principal point is one of the image, too, but for what is asked for here.
    homography, _ = fit_homography(found, true, threshold_px=3.0)
    assert np.linalg.norm(warp_points(homography, found) - true, axis=1).mean() < 0.03


def test_boards_that_are_left_out_tell_a_lens_from_none():
    bent = views_through(*lens_of(-0.1))
    assert held_out_rms_px(bent, SIZE, TERMS) < 0.04
    assert held_out_rms_px(bent, SIZE, ()) > 0.3
    straight = views_through(*lens_of(0.0))
    assert held_out_rms_px(straight, SIZE, ()) < 1.05 * held_out_rms_px(straight, SIZE, TERMS)


def test_a_few_wrong_corners_do_not_bend_a_lens():
    matrix, distortion = lens_of(-0.1)
    views = views_through(matrix, distortion)
    views[2].points[:4] += 3.0
    fit = fit_lens(views, SIZE, TERMS)
    assert fit.distortion[0] == pytest.approx(-0.1, abs=0.002)
    assert fit.view_rms_px.argmax() == 2


def test_wrong_input_is_named():
    with pytest.raises(ValueError, match="no view"):
        fit_lens([], SIZE, TERMS)
    with pytest.raises(ValueError, match="held out"):
        held_out_rms_px(views_through(*lens_of(0.0), n=1), SIZE, TERMS)


@pytest.mark.parametrize("flip", [np.eye(3), mirror_homography(640)])
def test_two_lenses_are_found_from_pairs_of_points(flip):
    rng = np.random.default_rng(0)
    true = np.array([[0.98, -0.03, 12], [0.02, 0.99, -7], [1e-5, -2e-5, 1]]) @ flip
    source_lens, target_lens = assumed_lens(SIZE, -0.08), assumed_lens(SIZE, -0.15)
    source = rng.uniform([30, 30], [610, 450], (250, 2))
    target = distort_points(warp_points(true, undistort_points(source, *source_lens)), *target_lens)
    target += rng.normal(0, 0.3, target.shape)
    target[:10] += 20
    plain = fit_pair(source, target, SIZE, SIZE, true, with_lenses=False)
    bent = fit_pair(source, target, SIZE, SIZE, true, with_lenses=True)
    errors = [np.median(fit.errors_px(source, target, SIZE, SIZE)) for fit in (plain, bent)]
    assert errors[1] < 0.45 < 0.65 < errors[0]
    assert bent.target_k1 - bent.source_k1 == pytest.approx(-0.07, abs=0.01)
    assert plain.source_k1 == plain.target_k1 == 0
