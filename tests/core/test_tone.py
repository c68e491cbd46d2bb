"""Exponents of tone curves: undone exactly, and found only where they explain scenes that they were not chosen for."""

import numpy as np
import pytest

from rb2v.core.color import to_linear
from rb2v.core.tone import fit_exponent, undo_tone


def test_an_exponent_of_coded_values_is_undone():
    light = np.linspace(0.02, 0.9, 60).reshape(-1, 1, 1) * np.ones(3)
    coded = np.where(light <= 0.0031308, 12.92 * light, 1.055 * light ** (1 / 2.4) - 0.055)
    image = np.rint(255 * coded**1.25).astype(np.uint8)
    np.testing.assert_allclose(undo_tone(image, "srgb", 1.25), light, atol=0.006)
    np.testing.assert_array_equal(undo_tone(image, "srgb", 1.0), to_linear(image, "srgb"))


def errors_about(truths, floor=0.01):
    return lambda exponent: np.array([floor + abs(np.log(exponent / truth)) for truth in truths])


def test_the_exponent_of_all_scenes_is_found():
    fit = fit_exponent(errors_about([1.23, 1.25, 1.27]))
    assert fit.exponent == pytest.approx(1.25, abs=0.02)
    assert fit.error_after < 0.5 * fit.error_before


@pytest.mark.parametrize("truths", [[1.25], [1.0, 1.0, 1.0], [0.7, 1.0, 1.4], [2.5, 2.5]], ids=str)
def test_one_scene_equal_cameras_and_scenes_that_do_not_agree_tell_none(truths):
    assert fit_exponent(errors_about(truths)) is None
