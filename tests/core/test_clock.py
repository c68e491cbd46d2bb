import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rb2v.core.clock import CRYSTAL_DRIFT, DriftPrior, combine_drifts, fit_clock, turned_to

TOLERANCE = 0.005
TIMES = np.arange(60) / 25


@given(st.floats(-20, 20), st.floats(-5e-4, 5e-4))
def test_clean_estimates_give_offset_and_drift_exactly(offset, drift):
    fit = fit_clock(TIMES, offset + (1 + drift) * TIMES, TOLERANCE)
    assert fit.offset_seconds == pytest.approx(offset, abs=1e-9)
    assert fit.drift == pytest.approx(drift, abs=1e-9)
    assert fit.residual_seconds == pytest.approx(0, abs=1e-9)
    assert fit.inliers.all()
    assert fit.jumps == ()


@given(st.integers(0, 2**32 - 1))
def test_a_third_of_outliers_changes_nothing(seed):
    rng = np.random.default_rng(seed)
    sharp = 0.3 + (1 + 8e-5) * TIMES
    wrong = rng.permutation(60) < 18
    sharp[wrong] += rng.choice([-1, 1], 18) * rng.uniform(0.02, 0.25, 18)
    fit = fit_clock(TIMES, sharp, TOLERANCE)
    # By chance a run of them may lie together as behind a jump; the others are the line in any case.
    assert fit.inliers[~wrong].mean() > 0.9
    if not fit.jumps:
        np.testing.assert_array_equal(fit.inliers, ~wrong)
        assert fit.offset_seconds == pytest.approx(0.3, abs=1e-9)
        assert fit.drift == pytest.approx(8e-5, abs=1e-9)
        assert fit.residual_seconds == pytest.approx(0, abs=1e-9)


@given(st.integers(0, 2**32 - 1), st.sampled_from([-1.0, -0.04, 0.01, 0.1, 1.0]), st.integers(30, 220))
def test_a_jump_splits_the_line(seed, shift, place):
    rng = np.random.default_rng(seed)
    times = np.arange(250) / 25
    sharp = 0.3 + (1 - 5e-5) * times + rng.normal(0, 2e-4, 250)
    sharp[place:] += shift
    wrong = (rng.random(250) < 0.05) & (np.abs(np.arange(250) - place) > 2)
    sharp[wrong] += rng.uniform(0.02, 0.1, wrong.sum())
    fit = fit_clock(times, sharp, TOLERANCE)
    (jump,) = fit.jumps
    assert (jump.after_seconds, jump.before_seconds) == (times[place - 1], times[place])
    assert jump.shift_seconds == pytest.approx(shift, abs=3e-4)
    assert fit.drift == pytest.approx(-5e-5, abs=3e-5)
    np.testing.assert_array_equal(fit.inliers, ~wrong)


def test_two_jumps_and_the_frames_between():
    sharp = 0.3 + TIMES
    sharp[20:40] += 0.04
    sharp[40:] -= 1.0
    fit = fit_clock(TIMES, sharp, TOLERANCE)
    assert [jump.before_seconds for jump in fit.jumps] == [TIMES[20], TIMES[40]]
    np.testing.assert_allclose([jump.shift_seconds for jump in fit.jumps], [0.04, -1.04], atol=1e-9)
    assert fit.inliers.all()


@given(st.integers(0, 2**32 - 1))
def test_a_spoilt_stretch_is_no_jump(seed):
    rng = np.random.default_rng(seed)
    times = np.arange(300) / 25
    sharp = 0.3 + times + rng.normal(0, 2e-4, 300)
    sharp[100:140] += rng.uniform(-1, 1, 40)
    fit = fit_clock(times, sharp, TOLERANCE)
    assert fit.jumps == ()
    assert fit.inliers.sum() >= 260
    assert fit.offset_seconds == pytest.approx(0.3, abs=2e-4)


def test_what_lies_about_a_jump_is_told_by_frames_that_carry_the_line():
    times = np.arange(250) / 25
    sharp = 0.3 + times
    sharp[120:] += 1.0
    sharp[116:124] += np.linspace(-0.3, 0.3, 8)
    (jump,) = fit_clock(times, sharp, TOLERANCE).jumps
    assert jump.after_seconds <= times[119]
    assert jump.before_seconds >= times[120]
    assert times[110] < jump.after_seconds < jump.before_seconds < times[130]


def test_a_short_piece_is_known_less_well():
    rng = np.random.default_rng(3)
    times = np.arange(250) / 25
    sharp = 0.3 + times + rng.normal(0, 2e-4, 250)
    sharp[230:] += 0.2
    fit = fit_clock(times, sharp, TOLERANCE)
    (jump,) = fit.jumps
    assert jump.center_error_seconds == pytest.approx(fit.center_error_seconds * np.sqrt(230 / 20), rel=0.05)
    assert times[230] < jump.center_seconds < times[249]


def test_a_fast_clock_does_not_jump():
    fit = fit_clock(TIMES, 0.3 + 1.05 * TIMES, TOLERANCE)
    assert fit.jumps == ()
    assert fit.drift == pytest.approx(0.05, abs=1e-9)


def test_estimates_that_are_known_better_count_for_more():
    rng = np.random.default_rng(0)
    errors = []
    for _ in range(200):
        deviation = np.where(np.arange(60) % 2, 1e-3, 2e-4)
        sharp = 0.3 + TIMES + deviation * rng.standard_normal(60)
        weighted = fit_clock(TIMES, sharp, TOLERANCE, 1 / deviation**2)
        plain = fit_clock(TIMES, sharp, TOLERANCE)
        errors.append((weighted.offset_seconds - 0.3, plain.offset_seconds - 0.3))
    spread = np.std(errors, axis=0)
    assert spread[0] < 0.75 * spread[1]


def test_stated_errors_are_those_found():
    rng = np.random.default_rng(1)
    fits = [fit_clock(TIMES, 0.3 + TIMES + rng.normal(0, 4e-4, 60), TOLERANCE) for _ in range(300)]
    assert np.std([fit.drift for fit in fits]) == pytest.approx(np.mean([fit.drift_error for fit in fits]), rel=0.15)
    at_center = [fit.offset_seconds + fit.drift * fit.center_seconds for fit in fits]
    assert np.std(at_center) == pytest.approx(np.mean([fit.center_error_seconds for fit in fits]), rel=0.15)


def test_residual_is_the_spread_of_single_estimates():
    times = np.arange(2000) / 25
    sharp = 1.0 + times + np.random.default_rng(0).normal(0, 4e-4, 2000)
    fit = fit_clock(times, sharp, TOLERANCE)
    assert fit.residual_seconds == pytest.approx(4e-4, rel=0.1)
    assert fit.offset_seconds == pytest.approx(1.0, abs=5e-5)
    assert fit.drift == pytest.approx(0.0, abs=2e-6)
    assert fit.inliers.all()


def test_times_that_start_late_do_not_move_the_offset():
    times = 500 + TIMES
    fit = fit_clock(times, 0.25 + (1 + 1e-4) * times, TOLERANCE)
    assert fit.offset_seconds == pytest.approx(0.25, abs=1e-8)
    assert fit.drift == pytest.approx(1e-4, abs=1e-10)


def test_fewer_than_half_that_agree_are_no_clock():
    rng = np.random.default_rng(4)
    sharp = 0.3 + TIMES
    sharp[::2] += rng.choice([-1, 1], 30) * rng.uniform(0.02, 0.25, 30)
    assert fit_clock(TIMES, sharp, TOLERANCE).inliers.sum() == 30
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
    fit = fit_clock(times, sharp, TOLERANCE)
    assert (fit.offset_seconds, fit.drift) == (pytest.approx(0.3, abs=1e-8), pytest.approx(8e-5, abs=1e-10))
    assert fit.inliers.sum() == 22_500 * 3 // 4


@given(st.integers(0, 2**32 - 1))
def test_the_line_is_that_of_the_frames_returned(seed):
    rng = np.random.default_rng(seed)
    # As many estimates about the tolerance as on the line, so that every fit lets some in and others out.
    sharp = 0.3 + (1 + 8e-5) * TIMES + rng.normal(0, 1, 60) * rng.choice([0.2, 1], 60) * TOLERANCE
    try:
        fit = fit_clock(TIMES, sharp, TOLERANCE)
    except ValueError:
        return
    if fit.jumps:
        return
    assert fit.inliers.sum() >= 30
    slope, intercept = np.polyfit(TIMES[fit.inliers], sharp[fit.inliers], 1)
    assert fit.offset_seconds == pytest.approx(intercept, abs=1e-9)
    assert 1 + fit.drift == pytest.approx(slope, abs=1e-9)
    residuals = np.abs(sharp - fit.offset_seconds - (1 + fit.drift) * TIMES)
    np.testing.assert_array_equal(fit.inliers, residuals <= TOLERANCE)
    assert fit.residual_seconds == pytest.approx(1.4826 * np.median(residuals[fit.inliers]), rel=1e-6)


def test_few_frames_do_not_invent_a_drift():
    rng = np.random.default_rng(8)
    sharp = 0.3 + (1 + 8e-5) * TIMES + rng.normal(0, 1e-3, len(TIMES))
    alone, fit = (fit_clock(TIMES, sharp, TOLERANCE, prior=prior) for prior in (None, DriftPrior()))
    assert alone.drift_error > 2 * CRYSTAL_DRIFT
    assert abs(fit.drift - 8e-5) < 2 * CRYSTAL_DRIFT
    assert fit.drift_error < CRYSTAL_DRIFT
    assert (fit.own_drift, fit.own_drift_error) == (alone.drift, alone.drift_error)


def test_a_rate_that_no_crystal_has_is_believed_where_it_is_sure():
    fit = fit_clock(TIMES, 0.3 + 1.004 * TIMES, TOLERANCE, prior=DriftPrior())
    assert fit.drift == pytest.approx(0.004, rel=1e-6)


@pytest.mark.parametrize(("n", "correlation"), [(50, 0.0), (50, 0.4), (300, 0.4)])
def test_intervals_hold_where_errors_follow_the_motion(n, correlation):
    rng = np.random.default_rng(2)
    times = np.arange(n) / 25
    hits = []
    for _ in range(200):
        drift = CRYSTAL_DRIFT * rng.standard_normal()
        errors = rng.standard_normal(n)
        for index in range(1, n):
            errors[index] = correlation * errors[index - 1] + np.sqrt(1 - correlation**2) * errors[index]
        fit = fit_clock(times, 0.3 + (1 + drift) * times + 3e-4 * errors, TOLERANCE, prior=DriftPrior())
        hits.append(abs(fit.drift - drift) < 1.96 * fit.drift_error)
    assert 0.9 <= np.mean(hits) <= 0.98


def test_takes_of_a_session_share_their_drift():
    known, contradicting = combine_drifts([(9e-5, 4e-5), (6e-5, 4e-5), (-3e-3, 1e-4), (8e-5, 3e-5)], DriftPrior())
    assert contradicting == [2]
    weights = np.array([1 / 25, 1 / 16, 1 / 16, 1 / 9])
    assert known.drift == pytest.approx(weights @ [0, 9e-5, 6e-5, 8e-5] / weights.sum())
    assert known.sigma == pytest.approx(1e-5 / np.sqrt(weights.sum()))


def test_a_line_is_turned_about_the_middle_of_each_piece():
    sharp = 0.3 + TIMES
    sharp[30:] += 0.1
    fit = fit_clock(TIMES, sharp, TOLERANCE)
    turned = turned_to(fit, DriftPrior(1e-4, 1e-6))
    (before,), (after,) = fit.jumps, turned.jumps
    assert turned.drift == 1e-4
    assert turned.offset_seconds + (1 + 1e-4) * fit.center_seconds == pytest.approx(0.3 + fit.center_seconds)
    there = turned.offset_seconds + (1 + 1e-4) * before.center_seconds + after.shift_seconds
    assert there == pytest.approx(0.4 + before.center_seconds)
