"""Scores of trajectories: known answers, and what has to hold of any sequence."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rb2v.landmarks.trajectories import score_sequence, stack_points


def make_hand(tip_x, size=50.0):
    """Return hands that are static but for the tip of the index finger."""
    points = np.zeros((len(tip_x), 21, 2))
    points[:, 9, 1] = size
    points[:, 8, 0] = tip_x
    return points


def make_face(shift, width=100.0):
    points = np.zeros((len(shift), 68, 2))
    points[:, 45, 0] = width
    points[:, :, 1] += np.asarray(shift, dtype=float)[:, None]
    return points


def test_the_truth_itself_has_no_error():
    true = make_hand([0, 1, 2, 3, 4, 5, 6])
    score = score_sequence("hand", true, true)
    assert (score.true_found, score.found) == (7, 7)
    assert score.error == score.error_fixed == score.error_penalized == 0
    assert (score.path_px, score.true_path_px, score.cosine) == (6, 6, 1)


def test_a_reversed_sequence_is_as_good_in_the_better_direction_alone():
    true = make_hand([0, 1, 2, 3, 4, 5, 6])
    score = score_sequence("hand", true, true[::-1])
    assert score.error == 0
    assert score.cosine == 1
    assert score.error_fixed == pytest.approx((6 + 4 + 2) * 2 / 7)
    assert score.normalized_fixed == pytest.approx(score.error_fixed / 50)


def test_what_stands_still_has_no_path():
    score = score_sequence("hand", make_hand([0, 2, 4]), make_hand([2, 2, 2]))
    assert score.error == pytest.approx(4 / 3)
    assert (score.path_px, score.true_path_px) == (0, 4)
    assert math.isnan(score.cosine)


def test_faces_are_measured_by_squared_distances():
    score = score_sequence("face", make_face([0, 0]), make_face([3, 5]))
    assert score.error == pytest.approx((9 + 25) / 2)
    assert score.normalized == pytest.approx(score.error / 100**2)


def test_failures_count_one_size_each_and_are_stated():
    true, recovered = make_hand([0, 0, 0, 0]), make_hand([1, 1, 1, 1])
    true[3] = np.nan
    recovered[1] = np.nan
    score = score_sequence("hand", true, recovered)
    assert (score.true_found, score.found) == (3, 2)
    assert score.error == 1
    assert score.error_penalized == pytest.approx((50 + 1 + 1) / 3)
    face = score_sequence("face", make_face([0, 0]), np.full((2, 68, 2), np.nan))
    assert (face.true_found, face.found) == (2, 0)
    assert math.isnan(face.error)
    assert face.error_penalized == 100**2
    assert face.normalized_penalized == 1


def test_another_hand_counts_as_not_found():
    score = score_sequence("hand", make_hand([0, 0]), make_hand([50.5, 49.5]))
    assert score.found == 1
    assert score.error == 49.5
    assert score.error_penalized == (50 + 49.5) / 2


def test_without_a_true_hand_nothing_can_be_said():
    score = score_sequence("hand", np.full((7, 21, 2), np.nan), make_hand(range(7)))
    assert (score.true_found, score.found) == (0, 0)
    assert math.isnan(score.error)
    assert math.isnan(score.error_penalized)


@given(st.lists(st.tuples(st.integers(-50, 50), st.booleans(), st.booleans()), min_size=2, max_size=7))
def test_the_direction_of_the_recovered_sequence_changes_no_score_but_the_fixed_ones(frames):
    true, recovered = make_hand([0] * len(frames)), make_hand([x for x, _, _ in frames])
    true[[not there for _, there, _ in frames]] = np.nan
    recovered[[not there for _, _, there in frames]] = np.nan
    one, other = (score_sequence("hand", true, sequence) for sequence in (recovered, recovered[::-1]))
    np.testing.assert_allclose(one.error_penalized, other.error_penalized)


def test_frames_without_points_are_stacked_as_missing():
    stacked = stack_points("hand", [None, np.ones((21, 2))])
    assert stacked.shape == (2, 21, 2)
    assert np.isnan(stacked[0]).all()
    assert (stacked[1] == 1).all()
