"""The clock and a shift solved together, from frames of a moving texture whose views lie beside each other."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, shift

from rb2v.core.clock import DriftPrior
from rb2v.core.joint import frame_terms, solve_jointly

RATE = 200.0
SHIFT = np.array([0.4, -0.25])


@pytest.fixture(scope="module")
def frames():
    """Frames that each take the best of windows shifted by `SHIFT`, as a search does; motion goes round."""
    rng = np.random.default_rng(3)
    texture = gaussian_filter(rng.standard_normal((60, 60)), 2.5) * 5

    def view(time, offset=(0.0, 0.0)):
        x, y = 8 * np.sin(6 * time), 6 * np.cos(5 * time)
        return shift(texture, (y + offset[1], x + offset[0]), order=3, mode="wrap")[10:50, 10:50]

    made = []
    for index in range(24):
        time = index / 25
        # The sharp camera sees at x + SHIFT what the blurry one sees at x; it runs 60 ppm fast and 0.3 frames ahead.
        truth = 0.3 + 6e-5 * RATE * time
        frame = 0.8 * view(time) + 0.05
        lags = truth + np.linspace(-2, 2, 81)
        errors = []
        for lag in lags:
            window = view(time + (lag - truth) / RATE, SHIFT)
            gain = np.polyfit(window.ravel(), frame.ravel(), 1)
            errors.append(np.square(np.polyval(gain, window) - frame).mean())
        best = lags[int(np.argmin(errors))]
        windows = np.stack([view(time + (best - truth + step) / RATE, SHIFT) for step in (-1, 0, 1)])
        made.append((windows, frame, best, time))
    return made


def linearize(frames, light=1.0):
    return [
        frame_terms(windows, (1 + frame) * light, np.ones(frame.shape, bool), best, time)
        for windows, frame, best, time in frames
    ]


@pytest.fixture(scope="module")
def terms(frames):
    return linearize(frames)


def test_a_shift_and_the_clock_are_told_apart(terms):
    lags = np.array([one.lag for one in terms])
    assert np.abs(lags - 0.3).max() > 0.5, "the shift moves single frames in time"
    fit = solve_jointly(terms, RATE, DriftPrior())
    np.testing.assert_allclose(fit.shift, SHIFT, atol=0.03)
    # To first order: not where motion turns and single frames move by as much as the clock's own frames.
    assert np.median(np.abs(lags - fit.time_errors - 0.3)) < 0.05
    assert np.sqrt(np.diag(fit.covariance)).max() < 0.05
    assert fit.inliers.mean() > 0.8
    assert fit.line[1] == pytest.approx(0.3, abs=0.05)


def test_frames_fit_a_shift_that_they_have_better_than_another(terms):
    fit = solve_jointly(terms, RATE, DriftPrior())
    is_better = [fit.misfit(one, SHIFT) < fit.misfit(one, -SHIFT) for one in terms]
    assert np.mean(is_better) > 0.9


def test_a_shaded_rim_is_no_shift(frames):
    light = np.ones((40, 40))
    light[:3] = [[0.2], [0.5], [0.8]]
    fit = solve_jointly(linearize(frames, light), RATE, DriftPrior())
    np.testing.assert_allclose(fit.shift, SHIFT, atol=0.03)


def test_frames_of_another_time_do_not_count(terms):
    spoilt = list(terms)
    for index in (3, 11, 17):
        one = spoilt[index]
        spoilt[index] = type(one)(one.lag + 7, one.time_seconds, one.matrix, one.vector)
    fit = solve_jointly(spoilt, RATE, DriftPrior())
    np.testing.assert_allclose(fit.shift, SHIFT, atol=0.04)
    assert not fit.inliers[[3, 11, 17]].any()


def test_too_few_frames_tell_nothing(terms):
    with pytest.raises(ValueError, match="need"):
        solve_jointly(terms[:7], RATE, DriftPrior())
