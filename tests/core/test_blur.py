import numpy as np
import pytest

from rb2v.core.blur import mean_frame, window_means, window_steps


def test_the_paper_s_window_is_19_blur_track_frames():
    assert list(window_steps(4, 7, 3)) == list(range(12, 31))
    assert list(window_steps(0, 3, 1)) == [0, 1, 2]
    # x_0 and x_6 are its first and last, and each sharp frame is one of its samples.
    steps = window_steps(4, 7, 3)
    assert [step / 3 for step in steps[::3]] == [4, 5, 6, 7, 8, 9, 10]


def test_mean_frame():
    frames = list(np.random.default_rng(0).random((19, 4, 5, 3), dtype=np.float32))
    mean = mean_frame(frames)
    assert mean.dtype == np.float32
    np.testing.assert_allclose(mean, np.mean(np.array(frames, np.float64), axis=0), rtol=1e-6)
    np.testing.assert_array_equal(mean_frame(frames[:1]), frames[0])


@pytest.mark.parametrize(("frames_per_sequence", "blur_factor"), [(7, 3), (7, 1), (3, 2), (3, 1), (5, 4)])
@pytest.mark.parametrize("n_positions", [1, 2, 9])
def test_window_means_are_the_literal_means(frames_per_sequence, blur_factor, n_positions):
    n_steps = (frames_per_sequence - 1) * blur_factor + 1
    n_track = n_steps + (n_positions - 1) * blur_factor
    track = np.random.default_rng(1).random((n_track, 4, 5, 3), dtype=np.float32)
    means = list(window_means(iter(track), frames_per_sequence, blur_factor))
    assert len(means) == n_positions
    for position, mean in enumerate(means):
        steps = window_steps(position, frames_per_sequence, blur_factor)
        assert len(steps) == n_steps
        np.testing.assert_allclose(mean, track[steps.start : steps.stop].mean(axis=0, dtype=np.float64), rtol=1e-6)


def test_a_track_shorter_than_a_window_gives_none():
    track = np.zeros((18, 2, 2, 3), np.float32)
    assert list(window_means(track, 7, 3)) == []


def test_rounding_does_not_build_up_along_a_track():
    rng = np.random.default_rng(2)
    track = [rng.random((1, 1, 3), dtype=np.float32) * np.float32(1000 if i < 100 else 1) for i in range(3000)]
    *_, last = window_means(track, 7, 3)
    np.testing.assert_allclose(last, np.mean(track[-21:-2], axis=0, dtype=np.float64), rtol=1e-6)
