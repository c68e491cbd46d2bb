import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from rb2v.core.color import (
    apply_color_map,
    delta_e_2000,
    encode,
    fit_color_map,
    fit_color_map_robustly,
    from_linear,
    to_linear,
)

RESPONSES = ["linear", "srgb", 0.5, 1.8, 2.2, 2.4, 3.0, 4.5]

# Sharma, Wu, Dalal: "The CIEDE2000 color-difference formula", table 1: two colors in L*a*b* and their difference.
SHARMA = np.array(
    [
        (50.0000, 2.6772, -79.7751, 50.0000, 0.0000, -82.7485, 2.0425),
        (50.0000, 3.1571, -77.2803, 50.0000, 0.0000, -82.7485, 2.8615),
        (50.0000, 2.8361, -74.0200, 50.0000, 0.0000, -82.7485, 3.4412),
        (50.0000, -1.3802, -84.2814, 50.0000, 0.0000, -82.7485, 1.0000),
        (50.0000, 0.0000, 0.0000, 50.0000, -1.0000, 2.0000, 2.3669),
        (50.0000, 2.4900, -0.0010, 50.0000, -2.4900, 0.0009, 7.1792),
        (50.0000, 2.5000, 0.0000, 50.0000, 0.0000, -2.5000, 4.3065),
        (50.0000, 2.5000, 0.0000, 73.0000, 25.0000, -18.0000, 27.1492),
        (50.0000, 2.5000, 0.0000, 61.0000, -5.0000, 29.0000, 22.8977),
        (50.0000, 2.5000, 0.0000, 56.0000, -27.0000, -3.0000, 31.9030),
        (50.0000, 2.5000, 0.0000, 58.0000, 24.0000, 15.0000, 19.4535),
        (50.0000, 2.5000, 0.0000, 50.0000, 3.1736, 0.5854, 1.0000),
        (60.2574, -34.0099, 36.2677, 60.4626, -34.1751, 39.4387, 1.2644),
        (63.0109, -31.0961, -5.8663, 62.8187, -29.7946, -4.0864, 1.2630),
        (61.2901, 3.7196, -5.3901, 61.4292, 2.2480, -4.9620, 1.8731),
        (35.0831, -44.1164, 3.7933, 35.0232, -40.0716, 1.5901, 1.8645),
        (22.7233, 20.0904, -46.6940, 23.0331, 14.9730, -42.5619, 2.0373),
        (36.4612, 47.8580, 18.3852, 36.2715, 50.5065, 21.2231, 1.4146),
        (90.8027, -2.0831, 1.4410, 91.1528, -1.6435, 0.0447, 1.4441),
        (90.9257, -0.5406, -0.9208, 88.6381, -0.8985, -0.7239, 1.5381),
        (6.7747, -0.2908, -2.4247, 5.8714, -0.0985, -2.2286, 0.6377),
        (2.0776, 0.0795, -1.1350, 0.9033, -0.0636, -0.5514, 0.9082),
    ]
)


def lab_to_srgb(lab):
    """The inverse of L*a*b* under D65 and of sRGB, its linear part going on below zero."""
    fy = (lab[:, 0] + 16) / 116
    f = np.stack([fy + lab[:, 1] / 500, fy, fy - lab[:, 2] / 200], axis=1)
    xyz = np.where(f > 6 / 29, f**3, (f - 4 / 29) * 3 * (6 / 29) ** 2) * [0.95047, 1.0, 1.08883]
    to_xyz = [[0.412453, 0.357580, 0.180423], [0.212671, 0.715160, 0.072169], [0.019334, 0.119193, 0.950227]]
    linear = xyz @ np.linalg.inv(to_xyz).T
    return np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * np.maximum(linear, 0) ** (1 / 2.4) - 0.055)


def test_srgb_curve_at_published_values():
    coded = np.array([0.0, 0.02, 0.04045, 0.5, 1.0])
    linear = np.array([0.0, 0.02 / 12.92, 0.0031308, 0.21404114, 1.0])
    np.testing.assert_allclose(to_linear(coded, "srgb"), linear, atol=1e-7)
    np.testing.assert_allclose(from_linear(linear, "srgb"), coded, atol=2e-6)
    np.testing.assert_allclose(to_linear(np.array([188, 255], np.uint8), "srgb"), [0.50288646, 1.0], rtol=1e-6)


def test_gamma_is_the_exponent_from_coded_to_linear():
    np.testing.assert_allclose(to_linear(np.array([0.5]), 2.2), [0.5**2.2], rtol=1e-6)
    np.testing.assert_allclose(from_linear(np.array([0.5]), 2.2), [0.5 ** (1 / 2.2)], rtol=1e-6)


@pytest.mark.parametrize("response", RESPONSES)
@pytest.mark.parametrize("shape", [(256,), (16, 16), (16, 16, 1), (4, 4, 4, 4)])
def test_bytes_are_levels_of_255_in_any_shape(response, shape):
    levels = np.arange(256, dtype=np.uint8).reshape(shape)
    linear = to_linear(levels, response)
    assert linear.dtype == np.float32
    assert linear.size == 256
    np.testing.assert_allclose(linear.ravel(), to_linear(levels.ravel() / 255, response), atol=1e-6)


def test_pictures_are_decoded_channel_by_channel():
    image = np.random.default_rng(0).integers(0, 256, (5, 7, 3), dtype=np.uint8)
    np.testing.assert_array_equal(to_linear(image, "srgb"), to_linear(image[None], "srgb")[0])
    np.testing.assert_array_equal(to_linear(image[..., 1], "srgb"), to_linear(image, "srgb")[..., 1])


@pytest.mark.parametrize("response", RESPONSES)
@given(st.lists(st.floats(0, 1, width=32), min_size=1, max_size=20))
def test_response_round_trip(response, values):
    linear = to_linear(np.array(values), response)
    assert linear.dtype == np.float32
    np.testing.assert_allclose(from_linear(linear, response), values, atol=5e-6 if response != 4.5 else 1e-5)


@pytest.mark.parametrize("response", RESPONSES)
def test_encode_is_within_one_level_of_the_curve(response):
    linear = np.concatenate([np.linspace(-0.1, 1.1, 5001), np.geomspace(1e-12, 1, 5000)])
    exact = np.rint(from_linear(linear, response) * 255).astype(int)
    coded = encode(linear, response)
    assert coded.dtype == np.uint8
    assert np.abs(coded.astype(int) - exact).max() <= 1


@pytest.mark.parametrize("response", ["linear", "srgb", 0.5, 1.8])
def test_every_byte_survives_decoding_and_encoding(response):
    levels = np.arange(256, dtype=np.uint8)
    np.testing.assert_array_equal(encode(to_linear(levels, response), response), levels)


def test_encode_clips():
    assert encode(np.array([-3.0, 0.0, 1.0, 7.0]), "srgb").tolist() == [0, 0, 255, 255]


@given(st.integers(0, 2**32 - 1))
def test_color_map_of_exact_pairs_is_recovered(seed):
    rng = np.random.default_rng(seed)
    truth = np.column_stack([np.eye(3) + rng.uniform(-0.2, 0.2, (3, 3)), rng.uniform(-0.1, 0.1, 3)])
    source = rng.random((6, 7, 3))
    fitted = fit_color_map(source, source @ truth[:, :3].T + truth[:, 3])
    np.testing.assert_allclose(fitted, truth, atol=1e-9)


def test_color_map_is_the_least_squares_solution():
    rng = np.random.default_rng(1)
    source, target, weights = rng.random((200, 3)), rng.random((200, 3)), rng.random(200)
    design = np.column_stack([source, np.ones(200)])
    np.testing.assert_allclose(fit_color_map(source, target), np.linalg.lstsq(design, target)[0].T, atol=1e-10)
    root = np.sqrt(weights)[:, None]
    weighted = np.linalg.lstsq(root * design, root * target)[0].T
    np.testing.assert_allclose(fit_color_map(source, target, weights), weighted, atol=1e-10)


def test_pairs_of_no_weight_do_not_count():
    rng = np.random.default_rng(2)
    source = rng.random((50, 3))
    target = 0.5 * source + 0.1
    target[:20] = rng.random((20, 3))
    fitted = fit_color_map(source, target, np.repeat([0.0, 1.0], [20, 30]))
    np.testing.assert_allclose(fitted, np.column_stack([0.5 * np.eye(3), np.full(3, 0.1)]), atol=1e-9)


def test_colors_that_tell_no_map_are_refused():
    grey = np.repeat(np.linspace(0, 1, 30)[:, None], 3, axis=1)
    noisy = grey + 1e-5 * np.random.default_rng(0).standard_normal(grey.shape)
    for source in (grey, noisy, np.full((10, 3), 0.5)):
        with pytest.raises(ValueError, match="do not span RGB"):
            fit_color_map(source, source)
    with pytest.raises(ValueError, match="equal shapes"):
        fit_color_map(np.zeros((5, 3)), np.zeros((4, 3)))
    with pytest.raises(ValueError, match="equal shapes"):
        fit_color_map(np.zeros((5, 4)), np.zeros((5, 4)))
    with pytest.raises(ValueError, match="weight"):
        fit_color_map(np.random.default_rng(0).random((5, 3)), np.zeros((5, 3)), np.zeros(5))


@given(st.integers(0, 2**32 - 1), st.floats(0, 0.3))
def test_a_robust_map_is_that_of_the_pairs_that_correspond(seed, share):
    rng = np.random.default_rng(seed)
    source = rng.random((2000, 3))
    mixing = np.eye(3) * 0.9 + rng.uniform(-0.05, 0.05, (3, 3))
    target = source @ mixing.T + 0.02 + rng.normal(0, 0.004, (2000, 3))
    wrong = rng.random(2000) < share
    target[wrong] = rng.random((wrong.sum(), 3))
    fitted = fit_color_map_robustly(source, target, np.eye(3, 4))
    np.testing.assert_allclose(fitted, np.column_stack([mixing, np.full(3, 0.02)]), atol=0.004)
    if share > 0.1:
        assert np.abs(fit_color_map(source, target) - fitted).max() > 0.01, "least squares is led astray"


def test_where_the_colors_say_nothing_the_robust_map_is_the_prior():
    prior = np.column_stack([np.diag([0.8, 0.9, 0.7]), np.zeros(3)])
    grey = np.repeat(np.linspace(0.1, 0.9, 200)[:, None], 3, axis=1)
    fitted = fit_color_map_robustly(grey, grey @ prior[:, :3].T, prior)
    np.testing.assert_allclose(fitted, prior, atol=2e-3)
    one_color = np.full((50, 3), 0.5)
    fitted = fit_color_map_robustly(one_color, one_color * 0.9, prior)
    np.testing.assert_allclose(fitted[:, :3], prior[:, :3], atol=1e-9)
    np.testing.assert_allclose(one_color @ fitted[:, :3].T + fitted[:, 3], 0.45, atol=1e-9)


def test_a_flat_majority_does_not_make_outliers_of_the_rest():
    # Nine tenths are a green screen with hardly any noise, the rest a hand whose edges are interpolated less well.
    rng = np.random.default_rng(0)
    screen = np.tile([0.05, 0.35, 0.08], (4500, 1)) + rng.normal(0, 3e-4, (4500, 3))
    hand = rng.uniform(0.1, 0.6, (500, 3))
    source, errors = np.concatenate([screen, hand]), np.repeat([3e-4, 0.015], [4500, 500])[:, None]
    mixing = np.diag([0.9, 0.95, 0.85]) + 0.03
    target = source @ mixing.T + errors * rng.standard_normal((5000, 3))
    fitted = fit_color_map_robustly(source, target, np.eye(3, 4))
    assert np.abs(hand @ (fitted[:, :3] - mixing).T + fitted[:, 3]).mean() < 0.002


def test_robust_maps_need_pairs():
    with pytest.raises(ValueError, match="no color pair"):
        fit_color_map_robustly(np.zeros((0, 3)), np.zeros((0, 3)), np.eye(3, 4))
    with pytest.raises(ValueError, match="equal shapes"):
        fit_color_map_robustly(np.zeros((5, 3)), np.zeros((4, 3)), np.eye(3, 4))


@given(arrays(np.float32, (3, 4), elements=st.floats(-2, 2, width=32)))
def test_color_map_is_applied_alike_to_lists_pictures_and_stacks(color_map):
    colors = np.random.default_rng(0).random((2, 5, 4, 3)).astype(np.float32)
    expected = np.concatenate([colors, np.ones((2, 5, 4, 1))], axis=-1) @ color_map.T
    for part, wanted in ((colors, expected), (colors[0], expected[0]), (colors[0, 0], expected[0, 0])):
        mapped = apply_color_map(color_map, part)
        assert mapped.dtype == np.float32
        np.testing.assert_allclose(mapped, wanted, atol=1e-5)


def test_ciede2000_at_the_published_pairs():
    first, second = lab_to_srgb(SHARMA[:, :3]), lab_to_srgb(SHARMA[:, 3:6])
    np.testing.assert_allclose(delta_e_2000(first, second), SHARMA[:, 6], atol=2e-3)
    np.testing.assert_allclose(delta_e_2000(second, first), SHARMA[:, 6], atol=2e-3)
    assert delta_e_2000(np.ones((2, 3)), np.ones((2, 3))).tolist() == [0.0, 0.0]
