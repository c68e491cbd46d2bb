import numpy as np
import pytest
from skimage.metrics import peak_signal_noise_ratio

from rb2v.core.metrics import (
    alpha_errors,
    ppsnr_frame,
    ppsnr_pair,
    ppsnr_seq,
    psnr,
    pssim_frame,
    pssim_pair,
    pssim_seq,
    ssim,
)


@pytest.fixture
def sequence():
    return np.random.default_rng(0).uniform(0.2, 0.8, (7, 16, 16, 3))


def test_psnr_of_known_errors():
    black = np.zeros((5, 5, 3))
    assert psnr(black + 1, black) == pytest.approx(0)
    assert psnr(black + 0.01, black) == pytest.approx(40)
    assert psnr(black, black) == np.inf
    assert psnr(black + 7, black + 1) == np.inf, "values are clipped to 0..1"
    with pytest.raises(ValueError, match="shapes differ"):
        psnr(black, black[:4])


def test_psnr_takes_bytes_as_unit_range():
    first, second = np.random.default_rng(0).integers(0, 256, (2, 9, 9, 3), dtype=np.uint8)
    assert psnr(first, second) == pytest.approx(peak_signal_noise_ratio(second, first, data_range=255))
    assert psnr(first, second) == pytest.approx(psnr(first / 255, second / 255))


def test_ssim_is_one_for_equal_images_and_follows_its_luminance_term():
    flat = np.full((16, 16, 3), 0.4)
    assert ssim(flat, flat) == pytest.approx(1)
    expected = (2 * 0.4 * 0.6 + 1e-4) / (0.4**2 + 0.6**2 + 1e-4)
    assert ssim(flat + 0.2, flat) == pytest.approx(expected)


@pytest.mark.parametrize("metric", [ppsnr_frame, ppsnr_pair, ppsnr_seq, pssim_frame, pssim_pair, pssim_seq])
def test_a_sequence_scores_the_same_in_reverse(metric, sequence):
    estimate = np.clip(sequence + np.random.default_rng(1).normal(0, 0.02, sequence.shape), 0, 1)
    scores = metric(estimate, sequence)
    assert scores.shape == (7,)
    np.testing.assert_allclose(metric(estimate[::-1], sequence), scores[::-1])
    np.testing.assert_allclose(metric(estimate, sequence[::-1]), scores)


@pytest.mark.parametrize(
    ("by_frame", "by_pair", "by_sequence"), [(ppsnr_frame, ppsnr_pair, ppsnr_seq), (pssim_frame, pssim_pair, pssim_seq)]
)
def test_more_freedom_scores_no_less(by_frame, by_pair, by_sequence, sequence):
    estimate = np.clip(sequence + np.random.default_rng(1).normal(0, 0.1, sequence.shape), 0, 1)
    assert by_frame(estimate, sequence).mean() >= by_pair(estimate, sequence).mean()
    assert by_pair(estimate, sequence).mean() >= by_sequence(estimate, sequence).mean()


def test_frames_choose_alone_and_sequences_as_a_whole():
    truth = np.broadcast_to((np.arange(7) / 10)[:, None, None, None], (7, 4, 4, 3))
    # It runs to the middle and back: x_0 x_1 x_2 x_3 x_2 x_1 x_0.
    mirror = truth[[0, 1, 2, 3, 2, 1, 0]]
    assert np.isinf(ppsnr_frame(mirror, truth)).all(), "eq. (11) takes it for the true motion"
    for metric in (ppsnr_pair, ppsnr_seq):
        scores = metric(mirror, truth)
        assert np.isinf(scores[:4]).all()
        np.testing.assert_allclose(scores[4:], -20 * np.log10([0.2, 0.4, 0.6]))


def test_pairs_may_differ_in_direction_and_the_sequence_may_not(sequence):
    swapped = sequence[[6, 1, 2, 3, 4, 5, 0]]
    assert np.isinf(ppsnr_pair(swapped, sequence)).all()
    np.testing.assert_array_equal(np.isinf(ppsnr_seq(swapped, sequence)), [0, 1, 1, 1, 1, 1, 0])


def test_alpha_errors_of_a_known_difference():
    truth = np.zeros((10, 10))
    estimate = truth.copy()
    estimate[0, :5] = 0.5
    errors = alpha_errors(estimate, truth)
    assert (errors.mad, errors.mse, errors.sad) == pytest.approx((0.025, 0.0125, 2.5))
