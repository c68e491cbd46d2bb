import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rb2v.core.clock import fit_clock

TOLERANCE = 0.005
TIMES = np.arange(60) / 25


@given(st.floats(-20, 20), st.floats(-5e-4, 5e-4))
def test_clean_estimates_give_offset_and_drift_exactly(offset, drift):
    fitted = fit_clock(TIMES, offset + (1 + drift) * TIMES, TOLERANCE)
    assert fitted[0] == pytest.approx(offset, abs=1e-9)
    assert fitted[1] == pytest.approx(drift, abs=1e-9)
    assert fitted[2] == pytest.approx(0, abs=1e-9)
    assert fitted[3].all()


@given(st.integers(0, 2**32 - 1))
def test_a_third_of_outliers_changes_nothing(seed):
    rng = np.random.default_rng(seed)
    sharp = 0.3 + (1 + 8e-5) * TIMES
    wrong = rng.permutation(60) < 18
    sharp[wrong] += rng.choice([-1, 1], 18) * rng.uniform(0.02, 0.25, 18)
    offset, drift, residual, inliers = fit_clock(TIMES, sharp, TOLERANCE)
    np.testing.assert_array_equal(inliers, ~wrong)
    assert offset == pytest.approx(0.3, abs=1e-9)
    assert drift == pytest.approx(8e-5, abs=1e-9)
    assert residual == pytest.approx(0, abs=1e-9)


def test_outliers_all_to_one_side_at_the_end_do_not_turn_the_line():
    sharp = 0.3 + TIMES
    sharp[-18:] += 0.2
    offset, drift, _, inliers = fit_clock(TIMES, sharp, TOLERANCE)
    assert inliers.sum() == 42
    assert (offset, drift) == (pytest.approx(0.3, abs=1e-9), pytest.approx(0, abs=1e-9))


def test_residual_is_the_spread_of_single_estimates():
    times = np.arange(2000) / 25
    sharp = 1.0 + times + np.random.default_rng(0).normal(0, 4e-4, 2000)
    offset, drift, residual, inliers = fit_clock(times, sharp, TOLERANCE)
    assert residual == pytest.approx(4e-4, rel=0.1)
    assert offset == pytest.approx(1.0, abs=5e-5)
    assert drift == pytest.approx(0.0, abs=2e-6)
    assert inliers.all()


def test_times_that_start_late_do_not_move_the_offset():
    times = 500 + TIMES
    offset, drift, _, _ = fit_clock(times, 0.25 + (1 + 1e-4) * times, TOLERANCE)
    assert offset == pytest.approx(0.25, abs=1e-8)
    assert drift == pytest.approx(1e-4, abs=1e-10)


def test_fewer_than_half_that_agree_are_no_clock():
    rng = np.random.default_rng(4)
    sharp = 0.3 + TIMES
    sharp[::2] += rng.choice([-1, 1], 30) * rng.uniform(0.02, 0.25, 30)
    assert fit_clock(TIMES, sharp, TOLERANCE)[3].sum() == 30
    sharp[1] += 0.1
    with pytest.raises(ValueError, match=r"only \d+ of 60 frames agree"):
        fit_clock(TIMES, sharp, TOLERANCE)


@pytest.mark.parametrize("n", [0, 1, 2])
def test_too_few_frames_are_no_clock(n):
    with pytest.raises(ValueError, match=f"needs 3 frames, got {n}"):
        fit_clock(TIMES[:n], TIMES[:n], TOLERANCE)


def test_a_take_of_a_quarter_hour_fits_in_memory():
    times = np.arange(22_500) / 25
    sharp = 0.3 + (1 + 8e-5) * times
    sharp[::4] += 0.1
    offset, drift, _, inliers = fit_clock(times, sharp, TOLERANCE)
    assert (offset, drift) == (pytest.approx(0.3, abs=1e-8), pytest.approx(8e-5, abs=1e-10))
    assert inliers.sum() == 22_500 * 3 // 4


@given(st.integers(0, 2**32 - 1))
def test_the_line_is_that_of_the_frames_returned(seed):
    rng = np.random.default_rng(seed)
    # As many estimates about the tolerance as on the line, so that every fit lets some in and others out.
    sharp = 0.3 + (1 + 8e-5) * TIMES + rng.normal(0, 1, 60) * rng.choice([0.2, 1], 60) * TOLERANCE
    try:
        offset, drift, residual, inliers = fit_clock(TIMES, sharp, TOLERANCE)
    except ValueError:
        return
    assert inliers.sum() >= 30
    slope, intercept = np.polyfit(TIMES[inliers], sharp[inliers], 1)
    assert offset == pytest.approx(intercept, abs=1e-9)
    assert 1 + drift == pytest.approx(slope, abs=1e-9)
    residuals = np.abs(sharp - offset - (1 + drift) * TIMES)
    np.testing.assert_array_equal(inliers, residuals <= TOLERANCE)
    assert residual == pytest.approx(1.4826 * np.median(residuals[inliers]), rel=1e-6)


@pytest.mark.parametrize("seed", [550, 921, 1331])
def test_frames_that_later_rounds_lose_are_counted(seed):
    times = TIMES[:33]
    sharp = times + np.random.default_rng(seed).normal(0, 1.5 * TOLERANCE, 33)
    with pytest.raises(ValueError, match=r"only 1[56] of 33 frames agree"):
        fit_clock(times, sharp, TOLERANCE)
