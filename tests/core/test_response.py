import numpy as np
import pytest
from examples import draws
from hypothesis import given
from hypothesis import strategies as st

from rb2v.core.color import CHECKER_SRGB, from_linear, to_linear
from rb2v.core.response import CodedColorPairs, GraySteps, estimate_gray_exponent, estimate_response

LIGHT = to_linear(CHECKER_SRGB, "srgb").astype(np.float64)
GRAY = LIGHT[18:].mean(axis=1)
MIXING = np.array([[0.95, 0.05, 0.0], [0.03, 0.9, 0.04], [0.0, 0.06, 0.86]])


def code(light, response, rng, noise=5e-4):
    return np.clip(from_linear(light, response) + rng.normal(0, noise, light.shape), 0, 1).astype(np.float64)


@given(gamma=st.floats(1.2, 3.0), gain=st.floats(0.3, 1.05), seed=st.integers(0, 99))
@draws(10)
def test_the_gray_row_tells_a_gamma(gamma, gain, seed):
    rng = np.random.default_rng(seed)
    made = estimate_response([GraySteps(code(gain * LIGHT[18:], gamma, rng), GRAY)], [])
    assert made.gamma == pytest.approx(gamma, rel=0.05)
    assert made.gamma_error < 0.1 * gamma
    assert made.excludes("linear")
    assert not made.excludes(made.response)


@pytest.mark.parametrize("response", ["linear", "srgb"])
@pytest.mark.parametrize("gain", [1.0, 0.4])
def test_the_gray_row_tells_the_named_ones(response, gain):
    rng = np.random.default_rng(1)
    made = estimate_response([GraySteps(code(gain * LIGHT[18:], response, rng), GRAY)], [])
    assert made.response == response
    assert made.excludes("linear" if response == "srgb" else "srgb")


@pytest.mark.parametrize("response", ["linear", "srgb", 1.7])
def test_two_cameras_tell_it_without_a_known_surface(response):
    rng = np.random.default_rng(2)
    light = rng.uniform(0.01, 0.9, (300, 3))
    pairs = CodedColorPairs(code(light, response, rng), code(0.6 * light @ MIXING.T, response, rng))
    # Some do not correspond.
    pairs.target[:30] = pairs.target[30:60]
    made = estimate_response([], [pairs])
    if isinstance(response, str):
        assert made.response == response
    else:
        assert made.gamma == pytest.approx(response, abs=0.1)


def test_a_gain_alone_leaves_a_gamma_open():
    # The square of a gain is a gain as well.
    rng = np.random.default_rng(3)
    light = rng.uniform(0.01, 0.9, (300, 3))
    pairs = CodedColorPairs(code(light, 2.0, rng), code(0.6 * light, 2.0, rng))
    assert estimate_response([], [pairs]) is None


def test_too_few_colors_tell_nothing():
    assert estimate_response([], []) is None
    assert estimate_response([GraySteps(np.full((3, 3), 0.5), GRAY[:3])], []) is None
    assert estimate_response([], [CodedColorPairs(np.full((5, 3), 0.5), np.full((5, 3), 0.4))]) is None


def test_colors_of_one_level_tell_nothing():
    flat = CodedColorPairs(np.full((50, 3), 0.5), np.full((50, 3), 0.4))
    assert estimate_response([], [flat]) is None


@given(exponent=st.floats(0.75, 1.4), gain=st.floats(0.4, 1.0), seed=st.integers(0, 99))
@draws(6)
def test_the_gray_row_tells_an_exponent_of_one_camera(exponent, gain, seed):
    coded = code(gain * LIGHT[18:], "srgb", np.random.default_rng(seed))
    made = estimate_gray_exponent(GraySteps(coded**exponent, GRAY), "srgb")
    if made is None:
        assert exponent == pytest.approx(1, abs=0.08)
    else:
        assert made.exponent == pytest.approx(exponent, abs=max(0.02, 3 * made.error))


@pytest.mark.parametrize("response", ["linear", "srgb", 2.2])
def test_a_gray_row_of_the_assumed_response_tells_none(response):
    for seed in range(4):
        coded = code(0.9 * LIGHT[18:], response, np.random.default_rng(seed))
        assert estimate_gray_exponent(GraySteps(coded, GRAY), response) is None
    assert estimate_gray_exponent(GraySteps(coded[:4] ** 1.2, GRAY[:4]), response) is None
