"""The flicker of lamps, from the light of frames."""

import numpy as np
import pytest

from rb2v.core.flicker import find_flicker


def changes_of(light):
    return light[1:] / light[:-1] - 1


@pytest.mark.parametrize(("lamps_hz", "fps"), [(120.0, 100.0), (100.0, 119.88), (100.3, 240.0), (119.8, 50.0)])
@pytest.mark.parametrize("amplitude", [0.02, 0.25])
def test_gains_are_those_of_the_lamps(lamps_hz, fps, amplitude):
    rng = np.random.default_rng(1)
    times = np.arange(round(3 * fps)) / fps
    light = 1 + amplitude * np.sin(2 * np.pi * lamps_hz * times + 0.4)
    found = find_flicker(changes_of(light * (1 + 0.001 * rng.standard_normal(len(times)))), fps)
    assert found.lamps_hz == pytest.approx(lamps_hz, abs=0.5)
    even = light / found.gains
    assert np.ptp(even[5:-5]) / even.mean() < 0.15 * amplitude + 0.004


def test_light_that_does_not_beat_is_left_alone():
    rng = np.random.default_rng(2)
    assert find_flicker(0.01 * rng.standard_normal(300), 100.0) is None
    flash = np.ones(300)
    flash[100:103] = 1.5
    assert find_flicker(changes_of(flash), 100.0) is None
    assert find_flicker(np.zeros(300), 100.0) is None


def test_lamps_in_step_with_the_frames_do_not_beat():
    light = 1 + 0.2 * np.sin(2 * np.pi * 100 * np.arange(300) / 100 + 0.5)
    assert find_flicker(changes_of(light), 100.0) is None
    assert find_flicker(changes_of(light[:20]), 100.0) is None
