import dataclasses

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, gaussian_gradient_magnitude
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from rb2v.core.metrics import (
    alpha_errors,
    ppsnr_frame,
    ppsnr_pair,
    ppsnr_seq,
    psnr,
    pssim_frame,
    pssim_pair,
    pssim_seq,
    screen_hue_share,
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


@pytest.mark.parametrize("shape", [(11, 11, 3), (24, 40, 3)])
def test_ssim_is_that_of_scikit_image(shape):
    rng = np.random.default_rng(2)
    truth = rng.random(shape)
    estimate = np.clip(truth + rng.normal(0, 0.1, shape), 0, 1)
    expected = structural_similarity(
        *(estimate, truth), data_range=1.0, channel_axis=-1, gaussian_weights=True, use_sample_covariance=False
    )
    assert ssim(estimate, truth) == pytest.approx(expected, abs=1e-12)


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


@pytest.fixture
def mattes():
    """Two different mattes with soft edges and all levels."""
    noise = np.random.default_rng(4).normal(size=(2, 40, 50))
    soft = gaussian_filter(noise, (0, 3, 3))
    return np.clip(0.5 + 6 * soft, 0, 1)


def test_equal_mattes_have_no_errors_and_errors_have_no_direction(mattes):
    first, second = mattes
    assert dataclasses.astuple(alpha_errors(first, first)) == (0, 0, 0, 0, 0)
    ahead, back = alpha_errors(first, second), alpha_errors(second, first)
    assert dataclasses.astuple(ahead) == pytest.approx(dataclasses.astuple(back))
    assert min(dataclasses.astuple(ahead)) > 0
    for turn in (np.transpose, np.flipud, np.fliplr):
        turned = alpha_errors(turn(first), turn(second))
        assert (turned.gradient, turned.sad) == pytest.approx((ahead.gradient, ahead.sad))
        assert turned.connectivity == pytest.approx(ahead.connectivity)


def test_errors_of_several_frames_are_summed_and_averaged(mattes):
    first, second = mattes
    one, several = alpha_errors(first, second), alpha_errors([[first, first, first]], [[second, second, first]])
    sums = (several.sad, several.gradient, several.connectivity)
    assert sums == pytest.approx((2 * one.sad, 2 * one.gradient, 2 * one.connectivity))
    assert (several.mad, several.mse) == pytest.approx((2 / 3 * one.mad, 2 / 3 * one.mse))
    for wrong in (first[0], np.zeros((0, 4, 4))):
        with pytest.raises(ValueError, match="expected frames of alpha"):
            alpha_errors(wrong, wrong)


def test_a_lone_pixel_shows_the_gradient_filters_whole():
    # Both filters have unit norm, so that a lone pixel leaves 1 of each.
    truth = np.zeros((30, 30))
    estimate = truth.copy()
    estimate[10, 12] = 1
    assert alpha_errors(estimate, truth).gradient == pytest.approx(2)
    estimate[10, 12] = 0.5
    assert alpha_errors(estimate, truth).gradient == pytest.approx(0.5)
    estimate[22, 20] = 0.5
    assert alpha_errors(estimate, truth).gradient == pytest.approx(1)


def test_gradients_are_those_of_a_gaussian_of_1_4_pixels(mattes):
    first, second = (gaussian_gradient_magnitude(m, 1.4, mode="nearest", truncate=4 / 1.4) for m in mattes)
    # A filter's norm is the only thing that is ours.
    lone = np.zeros((30, 30))
    lone[15, 15] = 1
    scale = 2 / np.square(gaussian_gradient_magnitude(lone, 1.4, truncate=4 / 1.4)).sum()
    assert alpha_errors(*mattes).gradient == pytest.approx(scale * np.square(first - second).sum(), rel=1e-6)


def test_gradients_do_not_see_a_veil_and_see_a_softened_edge():
    step = np.zeros((20, 40))
    step[:, 20:] = 0.8
    assert alpha_errors(step + 0.1, step).gradient == pytest.approx(0, abs=1e-12)
    softened = gaussian_filter(step, 2)
    assert alpha_errors(softened, step).gradient > 10 * alpha_errors(gaussian_filter(step, 0.5), step).gradient


def body_and(*spots):
    """A body of 4 x 5 opaque pixels, and (row, column, alpha) spots beside it."""
    alpha = np.zeros((12, 16))
    alpha[4:8, 2:7] = 1
    for row, column, value in spots:
        alpha[row, column] = value
    return alpha


@pytest.mark.parametrize(
    ("estimate", "truth", "expected"),
    [
        # Three pixels far from the body hang together with nothing.
        (body_and((1, 12, 1), (1, 13, 1), (2, 13, 1)), body_and(), 3),
        (body_and((1, 12, 0.6)), body_and(), 0.6),
        # Both have them: nothing is torn off that should not be.
        (body_and((1, 12, 1)), body_and((1, 12, 1)), 0),
        # Up to 0.15 above its level a pixel counts as connected.
        (body_and((1, 12, 0.14)), body_and(), 0),
        (body_and((1, 12, 0.16)), body_and(), 0.16),
        # Touching the body by a corner is not hanging together with it.
        (body_and((3, 7, 1)), body_and((3, 7, 0.5)), 0.5),
        # By a side it is: up to 0.5 both belong to the body, and the truth stands 0.5 above.
        (body_and((4, 7, 0.5)), body_and((4, 7, 1)), 0.5),
        (body_and((4, 7, 0.9)), body_and((4, 7, 1)), 0),
        # A strand that is opaque in truth and broken at its root.
        (body_and((4, 8, 1), (4, 9, 1)), body_and((4, 7, 1), (4, 8, 1), (4, 9, 1)), 1),
        # One that is thin at its root: 0.7 of the rest stands above the 0.3 by which both hold it.
        (body_and((4, 7, 0.3), (4, 8, 1)), body_and((4, 7, 1), (4, 8, 1)), 0.7),
        (body_and((4, 7, 0.3), (4, 8, 0.3)), body_and((4, 7, 1), (4, 8, 1)), 1.4),
    ],
)
def test_connectivity_of_mattes_by_hand(estimate, truth, expected):
    assert alpha_errors(estimate, truth).connectivity == pytest.approx(expected)
    assert alpha_errors(truth, estimate).connectivity == pytest.approx(expected)


GREY, GREEN = (128, 128, 128), (60, 160, 80)


def grey_with(color, pixels):
    picture = np.full((20, 20, 3), GREY, np.uint8)
    for row, column in pixels:
        picture[row, column] = color
    return picture


def test_a_fringe_is_the_share_of_pixels_near_edges_with_the_screen_s_hue():
    alpha = np.zeros((20, 20))
    alpha[:, 10:] = 1
    assert np.isnan(screen_hue_share(grey_with(GREEN, []), alpha, GREEN))
    alpha[:, 10] = 0.5
    # Near are the columns 7 to 13, seven of twenty.
    assert screen_hue_share(grey_with(GREEN, []), alpha, GREEN) == 0
    all_green = np.full((20, 20, 3), GREEN, np.uint8)
    assert screen_hue_share(all_green, alpha, GREEN) == 1
    some = [(3, 7), (4, 13), (5, 10), (6, 6), (7, 14), (8, 0)]
    assert screen_hue_share(grey_with(GREEN, some), alpha, GREEN) == pytest.approx(3 / 140)
    for end in (0.019, 0.981):
        alpha[:, 10] = end
        assert np.isnan(screen_hue_share(all_green, alpha, GREEN))
    alpha[5, 5] = 0.02
    # Around one pixel lie 29 within 3 pixels of it.
    assert screen_hue_share(grey_with(GREEN, [(5, 8), (3, 3), (8, 8)]), alpha, GREEN) == pytest.approx(2 / 29)


@pytest.mark.parametrize(
    ("color", "screen", "counts"),
    [
        ((100, 200, 100), (60, 160, 60), True),
        ((100, 118, 100), (60, 160, 60), True),  # a saturation of 0.153
        ((100, 117, 100), (60, 160, 60), False),
        ((100, 200, 124), (60, 160, 60), True),  # 14.4 degrees
        ((126, 200, 100), (60, 160, 60), False),  # 15.6 degrees to the other side
        ((200, 100, 100), (60, 160, 60), False),
        # About red the hue begins anew: 354 and 6 degrees.
        ((200, 100, 110), (200, 110, 100), True),
        ((100, 190, 200), (0, 190, 200), True),
        ((10, 20, 10), (60, 160, 60), True),
        ((0, 0, 0), (60, 160, 60), False),
    ],
)
def test_what_has_a_screen_s_hue(color, screen, counts):
    picture = np.full((5, 5, 3), color, np.uint8)
    assert screen_hue_share(picture, np.full((5, 5), 0.5), screen) == counts


def test_a_fringe_of_another_size_is_refused():
    with pytest.raises(ValueError, match="shapes differ"):
        screen_hue_share(np.zeros((4, 5, 3), np.uint8), np.zeros((5, 4)), GREEN)
