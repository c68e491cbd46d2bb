"""Gain fields: found where scenes agree on one, and only there."""

import numpy as np
import pytest

from rb2v.core.gain_field import ViewPair, fit_gain_field, gain_image, gains_at

COEFFICIENTS = np.array([[0.06, 0.0, -0.01, 0.0, 0.02], [0.0, -0.03, 0.0, 0.01, 0.0], [-0.08, 0.02, 0.0, 0.0, -0.01]])
CROSSTALK = np.array([[0.9, 0.08, 0.02], [0.05, 1.1, -0.02], [0.0, 0.04, 0.95]])


def scenes(coefficients, n, *, gray=False, seed=0):
    """Static scenes of which the blurry camera sees other colors, another exposure each, and the sharp one a field."""
    rng = np.random.default_rng(seed)
    across, down = np.meshgrid((2 * np.arange(20) + 1) / 20 - 1, (2 * np.arange(15) + 1) / 15 - 1)
    places = np.stack([across, down], axis=-1).reshape(-1, 2)
    made = []
    for index in range(n):
        light = rng.uniform(0.05, 0.7, (len(places), 1 if gray else 3)) * np.ones(3)
        blurry = (0.8 + 0.1 * index) * light @ CROSSTALK.T + 0.01
        sharp = light / gains_at(coefficients, places)
        made.append(ViewPair(places, *(view + rng.normal(0, 0.002, view.shape) for view in (sharp, blurry))))
    return made


@pytest.mark.parametrize("gray", [False, True])
def test_a_field_is_found_under_colors_and_exposures_of_each_scene(gray):
    fit = fit_gain_field(scenes(COEFFICIENTS, 4, gray=gray))
    np.testing.assert_allclose(fit.coefficients, COEFFICIENTS, atol=0.003)
    assert fit.error_after < 0.7 * fit.error_before


@pytest.mark.parametrize("n", [1, 4])
def test_even_light_or_one_scene_tells_no_field(n):
    assert fit_gain_field(scenes(COEFFICIENTS if n == 1 else np.zeros((3, 5)), n)) is None


def test_scenes_that_do_not_agree_tell_no_field():
    opposed = zip(scenes(COEFFICIENTS, 4), scenes(-COEFFICIENTS, 4), strict=True)
    assert fit_gain_field([pair[index % 2] for index, pair in enumerate(opposed)]) is None


def test_what_differs_in_a_part_of_a_scene_does_not_draw_the_field():
    pairs = scenes(COEFFICIENTS, 4)
    pairs[1].blurry[:60] = 0.9  # glare
    np.testing.assert_allclose(fit_gain_field(pairs).coefficients, COEFFICIENTS, atol=0.005)


def test_an_image_of_a_field_has_its_factors_at_the_middles_of_pixels():
    image = gain_image(COEFFICIENTS, (40, 30))
    assert image.shape == (30, 40, 3)
    places = np.array([[-39 / 40, 29 / 30]])
    np.testing.assert_allclose(image[-1, 0], gains_at(COEFFICIENTS, places)[0], rtol=1e-6)
    assert np.abs(np.log(gain_image(COEFFICIENTS, (200, 200))).mean(axis=(0, 1))).max() < 1e-4, "as bright as without"
