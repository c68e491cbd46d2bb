import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from rb2v.core.blur import STORED_LEVELS, CubicWindows, StepWindows, cubic_weights, window_steps


def test_the_paper_s_window_is_19_blur_track_frames():
    assert list(window_steps(4, 7, 3)) == list(range(12, 31))
    assert list(window_steps(0, 3, 1)) == [0, 1, 2]
    # x_0 and x_6 are its first and last, and each sharp frame is one of its samples.
    steps = window_steps(4, 7, 3)
    assert [step / 3 for step in steps[::3]] == [4, 5, 6, 7, 8, 9, 10]


def store(track):
    return np.rint(track * STORED_LEVELS).astype(np.uint16)


@pytest.mark.parametrize(("frames_per_sequence", "blur_factor"), [(7, 3), (7, 1), (3, 2), (3, 1), (5, 4)])
@pytest.mark.parametrize("n_positions", [1, 2, 9])
def test_window_means_are_the_literal_means(frames_per_sequence, blur_factor, n_positions):
    n_steps = (frames_per_sequence - 1) * blur_factor + 1
    n_track = n_steps + (n_positions - 1) * blur_factor
    track = np.random.default_rng(1).random((n_track, 20, 3))
    windows = StepWindows(store(track), frames_per_sequence, blur_factor)
    assert len(windows) == n_positions
    means = windows[0:n_positions]
    for position, mean in enumerate(means):
        steps = window_steps(position, frames_per_sequence, blur_factor)
        assert len(steps) == n_steps
        np.testing.assert_allclose(mean, track[steps.start : steps.stop].mean(axis=0), atol=1 / STORED_LEVELS)
        np.testing.assert_allclose(windows[position : position + 1][0], mean, rtol=1e-12)


def test_a_slice_ends_with_the_track():
    windows = StepWindows(store(np.random.default_rng(2).random((40, 5, 3))), 7, 3)
    assert len(windows) == 8
    assert windows[5:100].shape == (3, 5, 3)


def test_a_track_shorter_than_a_window_gives_none():
    assert len(StepWindows(np.zeros((18, 4, 3), np.uint16), 7, 3)) == 0


def test_rounding_does_not_build_up_along_a_track():
    rng = np.random.default_rng(3)
    track = rng.random((3000, 1, 3)) * np.where(np.arange(3000) < 2900, 1, 1e-3)[:, None, None]
    stored = store(track)
    windows = StepWindows(stored, 7, 3)
    last = windows[0 : len(windows)][-1]
    literal = stored[3 * (len(windows) - 1) :][:19].mean(axis=0, dtype=np.float64) / STORED_LEVELS
    np.testing.assert_allclose(last, literal, rtol=1e-9)


@pytest.mark.parametrize("n_frames", [1, 2, 3, 9])
def test_cubic_weights_sum_to_one_and_keep_the_frames_themselves(n_frames):
    places = np.linspace(0, n_frames - 1, 6 * (n_frames - 1) + 1)
    weights = cubic_weights(places, n_frames)
    np.testing.assert_allclose(weights.sum(axis=1), 1)
    np.testing.assert_allclose(weights[::6], np.eye(n_frames), atol=1e-12)


@given(arrays(np.float64, 3, elements=st.floats(-1, 1)))
def test_cubics_follow_a_parabola_in_time(coefficients):
    frames, places = np.polyval(coefficients, np.arange(8)), np.linspace(1, 6, 31)
    np.testing.assert_allclose(cubic_weights(places, 8) @ frames, np.polyval(coefficients, places), atol=1e-9)


@pytest.mark.parametrize(("upsampling", "frames_per_sequence", "blur_factor"), [(2, 7, 3), (1, 3, 2), (4, 5, 1)])
def test_windows_of_original_frames_are_the_means_of_the_cubics(upsampling, frames_per_sequence, blur_factor):
    originals = store(np.random.default_rng(4).random((14, 20, 3)))
    per_frame = upsampling * blur_factor
    steps = np.tensordot(cubic_weights(np.arange(13 * per_frame + 1) / per_frame, 14), originals, axes=1)
    windows = CubicWindows(originals, upsampling, frames_per_sequence, blur_factor)
    assert len(windows) == 13 * upsampling + 1 - frames_per_sequence + 1
    blocks = np.concatenate([windows[0:5], windows[5 : len(windows)]])
    for position, mean in enumerate(blocks):
        chosen = window_steps(position, frames_per_sequence, blur_factor)
        literal = steps[chosen.start : chosen.stop].mean(axis=0) / STORED_LEVELS
        np.testing.assert_allclose(mean, literal, rtol=1e-9)


def test_a_recording_shorter_than_a_window_gives_none():
    assert len(CubicWindows(np.zeros((3, 4, 3), np.uint16), 2, 7, 3)) == 0
