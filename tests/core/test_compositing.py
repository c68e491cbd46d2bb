import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rb2v.core.compositing import blur_residual_psnr, composite


def make_parts(seed, n_frames=7):
    rng = np.random.default_rng(seed)
    alpha = rng.uniform(size=(n_frames, 5, 4))
    return alpha[..., None] * rng.uniform(size=(n_frames, 5, 4, 3)), alpha, rng.uniform(size=(5, 4, 3))


def test_the_extremes_are_foreground_and_background():
    premultiplied, _, background = make_parts(0)
    opaque, nothing = np.ones((7, 5, 4)), np.zeros((7, 5, 4))
    np.testing.assert_allclose(composite(premultiplied, opaque, background), premultiplied, rtol=1e-6)
    transparent = composite(0 * premultiplied, nothing, background)
    np.testing.assert_allclose(transparent, np.broadcast_to(background, transparent.shape), rtol=1e-6)


@given(seed=st.integers(0, 1000), n_frames=st.integers(1, 9))
def test_the_composite_of_the_means_is_the_mean_of_composites(seed, n_frames):
    premultiplied, alpha, background = make_parts(seed, n_frames)
    sharp = composite(premultiplied, alpha, background)
    blurry = composite(premultiplied.mean(axis=0), alpha.mean(axis=0), background)
    np.testing.assert_allclose(blurry, sharp.mean(axis=0), atol=1e-6)
    assert blur_residual_psnr(sharp, blurry) > 120


def test_the_residual_of_a_known_error():
    sharp = np.random.default_rng(0).uniform(0, 0.5, (7, 5, 4, 3))
    assert blur_residual_psnr(sharp, sharp.mean(axis=0)) == np.inf
    assert blur_residual_psnr(sharp, sharp.mean(axis=0) + 0.1) == pytest.approx(20)


def test_sizes_that_do_not_fit_are_refused():
    premultiplied, alpha, background = make_parts(0)
    with pytest.raises(ValueError, match="not of one size"):
        composite(premultiplied, alpha, background[:3])
    with pytest.raises(ValueError, match="not of one size"):
        composite(premultiplied, alpha[:3], background)
