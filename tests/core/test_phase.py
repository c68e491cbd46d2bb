import cv2
import numpy as np
import pytest
from skimage import data as skimage_data

from rb2v.core.homography import warp_image, warp_points
from rb2v.core.phase import similarity_candidates

SIZE = (240, 180)


@pytest.fixture(scope="module")
def photo():
    gray = cv2.cvtColor(skimage_data.astronaut(), cv2.COLOR_RGB2GRAY)
    return cv2.resize(gray[:360, :480], SIZE, interpolation=cv2.INTER_AREA).astype(np.float32) / 255


def least_error_px(candidates, truth):
    x, y = np.meshgrid(np.linspace(40, 200, 5), np.linspace(30, 150, 5))
    grid = np.column_stack([x.ravel(), y.ravel()])
    return min(np.abs(warp_points(h, grid) - warp_points(truth, grid)).max() for h in candidates)


@pytest.mark.parametrize(
    ("angle", "scale", "shift"),
    [(0, 1, (0, 0)), (0, 1, (31, -17)), (4, 1, (5, 3)), (-12, 1.08, (-9, 6)), (175, 1, (4, 2)), (20, 0.93, (0, 10))],
)
def test_turn_scale_and_shift_are_found(photo, angle, scale, shift):
    truth = np.eye(3)
    truth[:2] = cv2.getRotationMatrix2D((119.5, 89.5), angle, scale)
    truth[:2, 2] += shift
    target = 0.1 + 0.6 * warp_image(photo, truth, SIZE)
    assert least_error_px(similarity_candidates(photo, target), truth) < 3


def test_pictures_may_differ_in_size(photo):
    shift = np.array([[1.0, 0, -20], [0, 1, -8], [0, 0, 1]])
    target = warp_image(photo, shift, (200, 150))
    assert least_error_px(similarity_candidates(photo, target), shift) < 2


def test_what_shows_nothing_gives_finite_candidates():
    flat = np.zeros((60, 80), np.float32)
    for candidate in similarity_candidates(flat, flat):
        assert np.isfinite(candidate).all()
