import numpy as np
import pytest
from examples import draws
from hypothesis import given
from hypothesis import strategies as st

from rb2v.core.color import CHECKER_SRGB, apply_color_map, fit_color_map_by_consensus, to_linear

LIGHT = to_linear(CHECKER_SRGB, "srgb").astype(np.float64)


def random_map(rng):
    return np.column_stack([np.eye(3) * rng.uniform(0.5, 1) + rng.uniform(-0.05, 0.05, (3, 3)), rng.normal(0, 0.01, 3)])


@given(seed=st.integers(0, 10_000), n_spoiled=st.integers(0, 6), amount=st.floats(0.03, 0.8))
@draws(30)
def test_most_pairs_decide_whatever_the_others_are(seed, n_spoiled, amount):
    rng = np.random.default_rng(seed)
    truth = random_map(rng)
    target = apply_color_map(truth, LIGHT) + rng.normal(0, 4e-4, LIGHT.shape)
    spoiled = rng.permutation(24)[:n_spoiled]
    target[spoiled] += amount
    found, kept = fit_color_map_by_consensus(LIGHT, target)
    assert set(np.flatnonzero(~kept)) == set(spoiled)
    np.testing.assert_allclose(apply_color_map(found, LIGHT), apply_color_map(truth, LIGHT), atol=0.006)


def test_few_pairs_leave_the_rest_to_the_prior():
    # All pairs are gray: what turns into what beside gray, the prior says.
    source = np.repeat(np.linspace(0.1, 0.9, 9)[:, None], 3, axis=1)
    found, kept = fit_color_map_by_consensus(source, 0.5 * source + 0.02)
    assert kept.all()
    np.testing.assert_allclose(apply_color_map(found, source), 0.5 * source + 0.02, atol=0.005)
    np.testing.assert_allclose(np.diag(found[:, :3]) - found[:, :3].sum(axis=1), 0, atol=0.1)
    prior = np.column_stack([np.diag([0.5, 0.5, 0.5]), np.full(3, 0.02)])
    np.testing.assert_allclose(fit_color_map_by_consensus(source, 0.5 * source + 0.02, prior)[0], prior, atol=1e-3)


@pytest.mark.parametrize(
    ("source", "target", "said"),
    [
        (np.zeros((3, 3)), np.zeros((3, 3)), "3 color pairs"),
        (np.zeros((8, 3)), np.zeros((7, 3)), "equal shapes"),
        (np.zeros((8, 4)), np.zeros((8, 4)), "equal shapes"),
        (np.zeros((2, 4, 3)), np.zeros((2, 4, 3)), "equal shapes"),
    ],
)
def test_what_gives_no_map_is_refused(source, target, said):
    with pytest.raises(ValueError, match=said):
        fit_color_map_by_consensus(source, target)
