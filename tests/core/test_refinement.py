import cv2
import numpy as np
import pytest
from skimage import data as skimage_data

from rb2v.core.displacement import local_displacements
from rb2v.core.homography import mirror_homography, normalized, warp_points
from rb2v.core.refinement import ImagePair, gradient_correlation, refine_jointly

SIZE = (240, 180)
OVERSAMPLING = 4
RNG_NOISE = 0.01


def gray(name, crop):
    picture = cv2.cvtColor(getattr(skimage_data, name)(), cv2.COLOR_RGB2GRAY)[crop]
    return picture.astype(np.float32) / 255


@pytest.fixture(scope="module")
def scenes():
    """Images finer than the cameras' pixels, so that neither view is a resampling of the other."""
    pictures = [gray("astronaut", np.s_[:360, :480]), gray("coffee", np.s_[:360, :480]), gray("chelsea", np.s_[:300])]
    size = (SIZE[0] * OVERSAMPLING, SIZE[1] * OVERSAMPLING)
    return [cv2.resize(picture, size, interpolation=cv2.INTER_CUBIC) for picture in pictures]


def mount(rng, *, mirrored=False, size=1.0):
    angle = size * rng.uniform(-0.03, 0.03)
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    turn[:2, 2] = size * rng.uniform(-5, 5, 2)
    turn[2, :2] = size * rng.uniform(-5e-5, 5e-5, 2)
    return normalized(turn @ mirror_homography(SIZE[0])) if mirrored else turn


def shoot(scene, view, rng, gain=1.0):
    """The scene as a camera sees it: area pixels and noise."""
    k = OVERSAMPLING
    to_fine = np.array([[k, 0, (k - 1) / 2], [0, k, (k - 1) / 2], [0, 0, 1]])
    fine = cv2.warpPerspective(scene, to_fine @ view @ np.linalg.inv(to_fine), (SIZE[0] * k, SIZE[1] * k))
    pixels = cv2.resize(fine, SIZE, interpolation=cv2.INTER_AREA)
    return (gain * pixels + RNG_NOISE * rng.standard_normal(pixels.shape)).astype(np.float32)


def shoot_pairs(scenes, truth, seed=0):
    rng = np.random.default_rng(seed)
    return [ImagePair(shoot(scene, np.eye(3), rng), shoot(scene, truth, rng, gain=0.8)) for scene in scenes]


def mean_distance(first, second):
    x, y = np.meshgrid(np.linspace(20, SIZE[0] - 20, 9), np.linspace(20, SIZE[1] - 20, 9))
    grid = np.column_stack([x.ravel(), y.ravel()])
    at_source = warp_points(np.linalg.inv(second), grid)
    return np.linalg.norm(warp_points(first, at_source) - grid, axis=1).mean()


@pytest.mark.parametrize("mirrored", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_all_pairs_together_give_the_homography_to_hundredths(scenes, seed, mirrored):
    rng = np.random.default_rng(seed)
    truth = mount(rng, mirrored=mirrored)
    pairs = shoot_pairs(scenes, truth, seed)
    start = mount(rng) @ truth
    assert mean_distance(start, truth) > 0.5
    refined = refine_jointly(start, pairs)
    assert mean_distance(refined.homography, truth) < 0.02
    assert refined.homography[2, 2] == 1
    assert refined.correlation_before < refined.correlation <= 1
    errors = refined.standard_error_px(np.array([[120.0, 90.0], [10.0, 10.0]]))
    assert 0 < errors[0] < errors[1] < 0.1


def test_what_is_left_out_and_how_far_it_is_off(scenes):
    truth = mount(np.random.default_rng(5))
    pairs = shoot_pairs(scenes, truth)
    pairs.append(shoot_pairs(scenes[:1], np.array([[1, 0, 0.3], [0, 1, 0], [0, 0, 1.0]]) @ truth)[0])
    refined = refine_jointly(truth, pairs)
    assert mean_distance(refined.without(3), truth) < 0.02 < mean_distance(refined.homography, truth)
    assert refined.shift_px(3)[0] == pytest.approx(0.3, abs=0.1)
    with pytest.raises(ValueError, match="no other pair"):
        refine_jointly(truth, pairs[:1]).without(0)


def test_masked_pixels_and_what_moved_do_not_count(scenes):
    truth = mount(np.random.default_rng(8))
    (pair,) = shoot_pairs(scenes[:1], truth)
    moved = pair.target.copy()
    moved[50:130, 80:170] = np.roll(pair.target, (7, 11), axis=(0, 1))[50:130, 80:170]
    mask = np.ones(moved.shape, bool)
    mask[45:135, 75:175] = False
    assert mean_distance(refine_jointly(truth, [ImagePair(pair.source, moved, None, mask)]).homography, truth) < 0.05
    assert mean_distance(refine_jointly(truth, [ImagePair(pair.source, moved)]).homography, truth) < 0.1


def test_pictures_that_fix_nothing_are_refused(scenes):
    flat = np.full((SIZE[1], SIZE[0]), 0.5, np.float32)
    with pytest.raises(ValueError, match="do not fix a homography"):
        refine_jointly(np.eye(3), [ImagePair(flat, flat)])
    stripes = np.tile(0.5 + 0.4 * np.sin(np.arange(SIZE[0]) / 4), (SIZE[1], 1)).astype(np.float32)
    with pytest.raises(ValueError, match="do not fix a homography"):
        refine_jointly(np.eye(3), [ImagePair(stripes, stripes)])


def test_pictures_of_two_scenes_do_not_pass_for_one(scenes):
    rng = np.random.default_rng(0)
    pair = ImagePair(shoot(scenes[0], np.eye(3), rng), shoot(scenes[1], np.eye(3), rng))
    try:
        refined = refine_jointly(np.eye(3), [pair])
    except ValueError:
        return
    assert refined.correlation < 0.3


def test_a_contrast_of_the_other_sign_is_not_the_same(scenes):
    (pair,) = shoot_pairs(scenes[:1], np.eye(3))
    assert gradient_correlation([pair], np.eye(3)) > 0.9
    assert gradient_correlation([ImagePair(1 - pair.source, pair.target)], np.eye(3)) < -0.9


def test_local_displacements_are_those_that_were_made(scenes):
    truth = mount(np.random.default_rng(4), mirrored=True)
    (pair,) = shoot_pairs(scenes[1:2], truth)
    off = np.array([[1, 0, 2.4], [0, 1, -1.3], [0, 0, 1.0]]) @ truth
    places = np.array([[60.0, 50], [120, 50], [120, 90], [60, 130], [170, 130]])
    found = [one for one in local_displacements(pair, off, places, 24) if one is not None]
    assert len(found) >= 4
    for one in found:
        assert one.error_px < 0.25
        assert one.dx == pytest.approx(2.4, abs=max(0.1, 4 * one.error_px))
        assert one.dy == pytest.approx(-1.3, abs=max(0.1, 4 * one.error_px))


def test_no_displacement_where_nothing_is_seen(scenes):
    flat = np.full((SIZE[1], SIZE[0]), 0.5, np.float32)
    (pair,) = shoot_pairs(scenes[:1], np.eye(3))
    assert local_displacements(ImagePair(flat, flat), np.eye(3), np.array([[120.0, 90.0]]), 24) == [None]
    assert local_displacements(pair, np.eye(3), np.array([[-20.0, 0.0]]), 24) == [None]
    hidden = ImagePair(pair.source, pair.target, None, np.zeros(pair.target.shape, bool))
    assert local_displacements(hidden, np.eye(3), np.array([[120.0, 90.0]]), 24) == [None]
