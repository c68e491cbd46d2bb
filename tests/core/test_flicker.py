"""The flicker of lamps, from the light of frames."""

import itertools

import numpy as np
import pytest

from rb2v.core.flicker import N_BANDS, band_changes, find_flicker, find_standing_flicker


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
    even = light / [found.row_gains(index, 1)[0] for index in range(len(light))]
    assert np.ptp(even[5:-5]) / even.mean() < 0.15 * amplitude + 0.004


@pytest.mark.parametrize(("lamps_hz", "fps"), [(120.0, 100.0), (100.0, 119.88), (100.3, 240.0)])
@pytest.mark.parametrize("readout_seconds", [-0.016, 0.004, 0.012, 0.016])
def test_rows_have_gains_of_their_own_under_a_rolling_shutter(lamps_hz, fps, readout_seconds):
    rng = np.random.default_rng(3)
    rows = (np.arange(96) + 0.5) / 96 - 0.5
    times = np.arange(round(2 * fps))[:, None] / fps + readout_seconds * rows
    light = 1 + 0.2 * np.sin(2 * np.pi * lamps_hz * times + 0.4)
    frames = 0.3 * light[:, :, None, None] * (1 + 0.002 * rng.standard_normal((*times.shape, 8, 3)))
    changes = [band_changes(*pair) for pair in itertools.pairwise(frames)]
    assert np.shape(changes) == (len(times) - 1, N_BANDS)
    found = find_flicker(np.array(changes), fps)
    assert found.lamps_hz == pytest.approx(lamps_hz, abs=0.5)
    assert found.amplitude == pytest.approx(0.2, abs=0.03)
    even = light / [found.row_gains(index, 96) for index in range(len(light))]
    assert np.ptp(even[5:-5]) / even.mean() < 0.06


def test_dark_bands_tell_nothing():
    light = 1 + 0.2 * np.sin(2 * np.pi * 120 * np.arange(200) / 100)
    frames = light[:, None, None, None] * np.full((32, 8, 3), 0.3)
    frames[:, 8:16] = 0.001
    changes = np.array([band_changes(*pair) for pair in itertools.pairwise(frames)])
    assert np.isnan(changes[0]).tolist() == [False] * 2 + [True] * 2 + [False] * 4
    found = find_flicker(changes, 100.0)
    assert found.amplitude == pytest.approx(0.2, rel=0.05)
    assert abs(found.turn) < 0.01
    assert find_flicker(np.full((199, 8), np.nan), 100.0) is None


def test_light_that_does_not_beat_is_left_alone():
    rng = np.random.default_rng(2)
    assert find_flicker(0.01 * rng.standard_normal(300), 100.0) is None
    flash = np.ones(300)
    flash[100:103] = 1.5
    assert find_flicker(changes_of(flash), 100.0) is None
    assert find_flicker(np.zeros(300), 100.0) is None


def standing(amplitude, readout_seconds, lamps_hz=100.1, n_rows=56):
    """Light of rows of 100 frames a second under lamps in step with them, (200, n_rows)."""
    rows = (np.arange(n_rows) + 0.5) / n_rows - 0.5
    times = np.arange(200)[:, None] / 100 + readout_seconds * rows
    return 1 + amplitude * np.sin(2 * np.pi * lamps_hz * times + 0.4)


@pytest.mark.parametrize("readout_seconds", [-0.012, 0.006, 0.015])
@pytest.mark.parametrize("amplitude", [0.05, 0.25])
def test_bands_that_creep_are_told_by_frames_without_flicker(readout_seconds, amplitude):
    light = standing(amplitude, readout_seconds)
    times = np.arange(200) / 100
    seen = light[2::4] * (1 + 0.003 * np.random.default_rng(4).standard_normal((50, 56)))
    seen[7] = np.nan
    found = find_standing_flicker(seen, times[2::4], times, 100.0)
    assert found.lamps_hz == 100
    assert found.amplitude == pytest.approx(amplitude, rel=0.15)
    even = light / [found.row_gains(index, 56) for index in range(200)]
    even /= even.mean(axis=1, keepdims=True)
    assert np.abs(even - 1).max() < 0.012 + 0.15 * amplitude**2
    assert find_standing_flicker(seen, times[2::4], times, 90.0) is None, "lamps would beat"
    assert find_standing_flicker(seen[:4], times[2:18:4], times, 100.0) is None


def test_slopes_and_noise_along_the_rows_are_no_lamps():
    times, rng = np.arange(50) / 25, np.random.default_rng(5)
    for light in (
        np.ones((50, 56)) + 0.02 * rng.standard_normal((50, 56)),
        np.tile(np.linspace(0.99, 1.01, 56), (50, 1)),
        np.full((50, 56), np.nan),
    ):
        assert find_standing_flicker(light, times, times, 100.0) is None


def test_lamps_in_step_with_the_frames_do_not_beat():
    light = 1 + 0.2 * np.sin(2 * np.pi * 100 * np.arange(300) / 100 + 0.5)
    assert find_flicker(changes_of(light), 100.0) is None
    assert find_flicker(changes_of(light[:20]), 100.0) is None
