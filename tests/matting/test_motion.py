"""Shares along the motion between sharp frames."""

import cv2
import numpy as np
import pytest

from rb2v.matting.foreground import most_probable_share
from rb2v.matting.motion import Motion, key_along
from rb2v.matting.screen import GREEN

SIZE = 96


def texture():
    rng = np.random.default_rng(0)
    return cv2.GaussianBlur(rng.uniform(0, 255, (SIZE, SIZE, 3)), (0, 0), 2) * 3 % 255


def disc(x):
    rows, columns = np.mgrid[:SIZE, :SIZE]
    return np.clip(20.5 - np.hypot(columns - x, rows - 48), 0, 1).astype(np.float32)


def shoot(alphas, shifts):
    """Frames of a textured thing that moves aside before a plain screen."""
    frames = []
    for alpha, shift in zip(alphas, shifts, strict=True):
        moved = np.roll(texture(), shift, axis=1)
        frames.append(np.rint(alpha[..., None] * moved + (1 - alpha[..., None]) * (20, 160, 40)).astype(np.uint8))
    return frames


class Keys:
    """The keys of frames whose alpha is known; they say which frames were asked."""

    def __init__(self, alphas):
        self.shares, self.keyed = [1 - alpha for alpha in alphas], []

    def key(self, index):
        self.keyed.append(index)
        return self.shares[index].copy()

    def key_pixels(self, index, chosen):
        return self.shares[index].take(chosen)

    def miss(self, index, share):
        return np.abs(cv2.blur(share - self.shares[index], (5, 5)))


def test_frames_between_have_what_their_neighbors_show_along_the_motion():
    shifts = [2 * index for index in range(7)]
    alphas = [disc(30 + shift) for shift in shifts]
    keys = Keys(alphas)
    shares = key_along(Motion(shoot(alphas, shifts)), keys)
    assert keys.keyed == [0, 2, 4, 6]
    for index in (1, 3, 5):
        still = np.abs((shares[index - 1] + shares[index + 1]) / 2 - keys.shares[index]).mean()
        assert np.abs(shares[index] - keys.shares[index]).mean() < 0.3 * still


def test_what_one_frame_alone_shows_is_kept():
    alphas = [np.zeros((SIZE, SIZE), np.float32) for _ in range(7)]
    alphas[3][20:60, 40:52] = 1
    shares = key_along(Motion(shoot(alphas, [0] * 7)), Keys(alphas))
    assert shares[3][25:55, 43:49].max() < 0.05
    assert shares[3][70:].min() == 1
    assert shares[2].min() == 1


@pytest.mark.parametrize("n_frames", [1, 2, 3, 4])
def test_short_sequences_and_small_parts_are_keyed(n_frames):
    alphas = [np.full((5, 8), 0.5, np.float32)] * n_frames
    frames = [np.zeros((5, 8, 3), np.uint8)] * n_frames
    shares = key_along(Motion(frames), Keys(alphas))
    assert len(shares) == n_frames
    for share in shares:
        np.testing.assert_allclose(share, 0.5)


def test_what_is_no_mixture_has_no_more_of_the_screen_than_its_hue_says():
    """White, and gray that is half the screen's, on black hair before green."""
    screen = np.float32([[0.05] * 3, [0.35] * 3, [0.08] * 3])
    hair = np.full((3, 3), 0.02, np.float32)
    covariance = np.zeros((6, 3), np.float32)
    covariance[[0, 3, 5]] = 1e-4
    half = 0.5 * screen[:, 0] + 0.5 * hair[:, 0]
    pixels = np.stack([[0.8, 0.8, 0.8], half, half + 0.3], axis=1).astype(np.float32)
    share = most_probable_share(pixels, screen, np.float32([0.9, 0.5, 0.9]), hair, covariance, GREEN)
    np.testing.assert_allclose(share, [0, 0.5, 0.5], atol=0.02)
