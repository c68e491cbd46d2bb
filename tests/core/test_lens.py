import cv2
import numpy as np
import pytest
from examples import draws
from hypothesis import example, given
from hypothesis import strategies as st

from rb2v.artifacts import Lens
from rb2v.core.lens import border_points, distort_points, largest_displacement_px, undistort_points

SIZE = (720, 540)
MATRIX = np.array([[576.0, 0, 355.0], [0, 580.0, 274.0], [0, 0, 1]])


def coefficient(limit):
    return st.floats(-limit, limit, allow_nan=False)


@draws(60)
@example(0.0, 0.0, 0.0, 0.0, 2e-311)
@example(1e-310, 0.0, 0.0, 0.0, -1e-300)
@example(-0.25, 2e-311, 0.0, 0.0, 5e-324)
@given(coefficient(0.25), coefficient(0.05), coefficient(0.004), coefficient(0.004), coefficient(0.01))
def test_undistorting_undoes_distorting(k1, k2, p1, p2, k3):
    distortion = np.array([k1, k2, p1, p2, k3])
    points = border_points(SIZE) * 0.9 + 20
    recorded = distort_points(points, MATRIX, distortion)
    seen = np.isfinite(recorded).all(axis=1)
    back = undistort_points(recorded[seen], MATRIX, distortion)
    found = np.isfinite(back).all(axis=1)
    np.testing.assert_allclose(back[found], points[seen][found], atol=1e-6)
    assert found.mean() > 0.95, "decentering moves the fold a little"
    again = undistort_points(border_points(SIZE), MATRIX, distortion)
    found = np.isfinite(again).all(axis=1)
    np.testing.assert_allclose(distort_points(again[found], MATRIX, distortion), border_points(SIZE)[found], atol=1e-6)


def test_distortion_is_opencv_s():
    distortion = np.array([-0.15, 0.03, 0.002, -0.001, 0.004])
    points = border_points(SIZE)
    rays = np.column_stack([(points - MATRIX[:2, 2]) / np.diag(MATRIX)[:2], np.ones(len(points))])
    projected, _ = cv2.projectPoints(rays, np.zeros(3), np.zeros(3), MATRIX, distortion)
    np.testing.assert_allclose(distort_points(points, MATRIX, distortion), projected.reshape(-1, 2), atol=1e-9)


def test_known_radii():
    # r' = r (1 - 0.1 r^2) at r = 1, and at the fold, r = sqrt(1 / 0.3), beyond which nothing is recorded.
    lens = np.diag([100.0, 100.0, 1.0]), np.array([-0.1, 0, 0, 0, 0])
    fold = 100 / np.sqrt(0.3)
    np.testing.assert_allclose(distort_points(np.array([[100.0, 0], [0, 50]]), *lens), [[90, 0], [0, 48.75]])
    assert np.isfinite(distort_points(np.array([[fold * 0.999, 0]]), *lens)).all()
    assert np.isnan(distort_points(np.array([[fold * 1.001, 0]]), *lens)).all()
    farthest = fold * 2 / 3
    assert undistort_points(np.array([[farthest * 0.999, 0]]), *lens)[0, 0] == pytest.approx(fold, rel=0.05)
    assert np.isnan(undistort_points(np.array([[farthest * 1.01, 0]]), *lens)).all()


@pytest.mark.parametrize("tiny", [5e-324, -2e-311, 1e-200, -1e-30, 1e-16])
def test_coefficients_too_small_to_matter_change_nothing(tiny):
    # Beside a fold, and where there is none.
    points = border_points(SIZE)
    for k1 in (-0.25, 0.0, 0.2):
        for places in ((1,), (4,), (1, 4)):
            distortion = np.array([k1, 0.0, 0.0, 0.0, 0.0])
            plain = undistort_points(points, MATRIX, distortion)
            distortion[list(places)] = tiny
            np.testing.assert_allclose(undistort_points(points, MATRIX, distortion), plain, atol=1e-9)


def test_a_perfect_lens_moves_nothing():
    points = border_points(SIZE)
    np.testing.assert_allclose(distort_points(points, MATRIX, np.zeros(5)), points, atol=1e-9)
    np.testing.assert_allclose(undistort_points(points, MATRIX, np.zeros(5)), points, atol=1e-9)
    assert undistort_points(np.empty((0, 2)), MATRIX, np.zeros(5)).shape == (0, 2)
    assert largest_displacement_px(Lens(MATRIX, np.zeros(5)), SIZE) == pytest.approx(0, abs=1e-9)


def test_the_largest_displacement_is_the_farthest_corner_s():
    lens = Lens(np.array([[100.0, 0, 0], [0, 100, 0], [0, 0, 1]]), np.array([0.1, 0, 0, 0, 0]))
    corner = distort_points(np.array([[100.0, 0]]), lens.matrix, lens.distortion)
    assert corner[0, 0] == pytest.approx(110)
    assert largest_displacement_px(lens, (111, 1)) == pytest.approx(10)
