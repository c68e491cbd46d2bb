import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rb2v.core.homography import (
    choose_crop,
    crop_homography,
    fit_homography,
    mirror_homography,
    normalized,
    warp_image,
    warp_points,
)

WIDTH, HEIGHT = 240, 180


def make_homography(rng, *, mirrored=False, size=1.0):
    angle = size * rng.uniform(-0.03, 0.03)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    turn[:2, 2] = size * rng.uniform(-4, 4, 2)
    turn[2, :2] = size * rng.uniform(-5e-5, 5e-5, 2)
    return normalized(turn @ mirror_homography(WIDTH)) if mirrored else turn


def max_distance(first, second):
    x, y = np.meshgrid(np.linspace(0, WIDTH - 1, 9), np.linspace(0, HEIGHT - 1, 9))
    grid = np.column_stack([x.ravel(), y.ravel()])
    return np.linalg.norm(warp_points(first, grid) - warp_points(second, grid), axis=1).max()


@given(st.integers(0, 2**32 - 1), st.booleans())
def test_exact_point_pairs_give_the_homography(seed, mirrored):
    rng = np.random.default_rng(seed)
    truth = make_homography(rng, mirrored=mirrored)
    points = rng.uniform((0, 0), (WIDTH, HEIGHT), (30, 2))
    fitted, inliers = fit_homography(points, warp_points(truth, points))
    assert fitted[2, 2] == 1
    assert max_distance(fitted, truth) < 1e-4
    assert inliers.all()


@pytest.mark.parametrize("mirrored", [False, True])
def test_wrong_pairs_are_left_out(mirrored):
    rng = np.random.default_rng(0)
    truth = make_homography(rng, mirrored=mirrored)
    points = rng.uniform((0, 0), (WIDTH, HEIGHT), (200, 2))
    target = warp_points(truth, points) + rng.normal(0, 0.1, points.shape)
    target[:80] = rng.uniform((0, 0), (WIDTH, HEIGHT), (80, 2))
    fitted, inliers = fit_homography(points, target)
    assert inliers[:80].sum() <= 1
    assert inliers[80:].mean() > 0.97
    assert max_distance(fitted, truth) < 0.15
    assert (np.linalg.det(fitted) < 0) == mirrored


def test_points_that_fix_no_homography_are_refused():
    with pytest.raises(ValueError, match="4 point pairs, got 3"):
        fit_homography(np.zeros((3, 2)), np.zeros((3, 2)))
    with pytest.raises(ValueError, match="no homography"):
        fit_homography(np.zeros((10, 2)), np.zeros((10, 2)))
    with pytest.raises(ValueError, match="infinity"):
        normalized(np.array([[1.0, 0, 0], [0, 1, 0], [0.1, 0, 0]]))


def test_points_go_through_the_projective_division():
    homography = np.array([[2.0, 0, 1], [0, 4, 0], [0.5, 0, 1]])
    np.testing.assert_allclose(warp_points(homography, np.array([[2.0, 3.0]])), [[5 / 2, 12 / 2]])


def test_the_mirror_is_about_the_picture_s_middle():
    image = np.random.default_rng(0).integers(0, 256, (10, 12, 3), dtype=np.uint8)
    np.testing.assert_array_equal(warp_image(image, mirror_homography(12), (12, 10)), image[:, ::-1])


def test_warped_pictures_agree_with_warped_points():
    spot = np.zeros((HEIGHT, WIDTH), np.float32)
    cv2.circle(spot, (70, 50), 6, 1.0, -1)
    homography = make_homography(np.random.default_rng(3), mirrored=True)
    warped = warp_image(cv2.GaussianBlur(spot, (0, 0), 2), homography, (WIDTH, HEIGHT))
    assert warped.dtype == np.float32
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    center = [(x * warped).sum() / warped.sum(), (y * warped).sum() / warped.sum()]
    np.testing.assert_allclose(center, warp_points(homography, np.array([[70.0, 50.0]]))[0], atol=0.05)


def test_what_a_picture_does_not_reach_is_zero():
    shift = np.array([[1.0, 0, 30], [0, 1, 0], [0, 0, 1]])
    warped = warp_image(np.ones((20, 40), np.float32), shift, (60, 20))
    assert warped[:, :30].max() == 0
    assert warped[:, 30:].min() == 1


def test_crop_homography_maps_corners_to_corners():
    corners = np.array([[99.5, 49.5], [139.5, 79.5]])
    np.testing.assert_allclose(
        warp_points(crop_homography((100, 50, 40, 30), (80, 90)), corners), [[-0.5, -0.5], [79.5, 89.5]]
    )


def all_crops(valid, aspect):
    height, width = valid.shape
    for h in range(height, 0, -1):
        w = max(round(h * aspect), 1)
        corners = [
            (x, y) for y in range(height - h + 1) for x in range(width - w + 1) if valid[y : y + h, x : x + w].all()
        ]
        if corners:
            return h, w, corners
    return 0, 0, []


@given(st.integers(0, 2**32 - 1), st.sampled_from([0.5, 1.0, 4 / 3]))
def test_choose_crop_is_the_largest_and_most_central(seed, aspect):
    rng = np.random.default_rng(seed)
    valid = rng.random((12, 15)) < rng.uniform(0.5, 1.0)
    h, w, corners = all_crops(valid, aspect)
    if not corners:
        with pytest.raises(ValueError, match="no pixel"):
            choose_crop(valid, aspect)
        return
    x, y, width, height = choose_crop(valid, aspect)
    assert (width, height) == (w, h)
    assert (x, y) in corners

    def off_center(corner):
        return (corner[0] + w / 2 - 7.5) ** 2 + (corner[1] + h / 2 - 6) ** 2

    assert off_center((x, y)) == min(map(off_center, corners))
