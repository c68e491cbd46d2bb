"""What a take tells of its light: shadows on the screen, and the screen's light on the foreground."""

import cv2
import numpy as np
import pytest

from rb2v.core.color import encode
from rb2v.core.metrics import alpha_errors
from rb2v.matting import make_matting_method
from rb2v.matting.screen import GREEN, YELLOW
from rb2v.matting.shadow import Shadow
from rb2v.matting.spill import measure_spill, nearness_to_edge

CELLS = 56
SCREEN = np.array([0.05, 0.36, 0.08], dtype=np.float32)


def disc(x, y, radius, side=CELLS):
    rows, columns = np.mgrid[:side, :side]
    return np.clip(radius + 0.5 - np.hypot(columns - x, rows - y), 0, 1).astype(np.float32)


def cast(alpha, depth=0.25, softness=2.0, aside=(3, 2)):
    """The brightness of a screen in a soft shadow, aside of what throws it."""
    soft = depth * cv2.GaussianBlur(alpha, (0, 0), softness)
    moved = cv2.warpAffine(soft, np.float64([[1, 0, aside[0]], [0, 1, aside[1]]]), soft.shape[::-1])
    return 1 - moved


def test_a_shadow_is_foretold_where_the_foreground_hides_it():
    alphas = [disc(15 + 3 * k, 20 + 2 * k, 9) for k in range(8)]
    shades = [cast(alpha) for alpha in alphas]
    seen = [(alpha == 0).astype(np.float32) for alpha in alphas]
    shadow = Shadow(alphas, shades, seen)
    for alpha, shade in zip(alphas, shades, strict=True):
        assert np.abs(shadow.brightness(alpha) - shade).max() < 0.03
        hidden = alpha > 0
        assert shade[hidden].min() < 0.8
    elsewhere = disc(40, 12, 9)
    assert np.abs(shadow.brightness(elsewhere) - cast(elsewhere)).max() < 0.03


@pytest.mark.parametrize("what", ["nothing seen", "no shadow", "a shadow of something else"])
def test_no_shadow_is_made_up(what):
    alphas = [disc(15 + 3 * k, 20 + 2 * k, 9) for k in range(8)]
    shades = [np.ones_like(alpha) for alpha in alphas]
    if what == "a shadow of something else":
        shades = [cast(disc(45, 45, 8), depth=0.4) for _ in alphas]
    seen = [(alpha == 0).astype(np.float32) * (what != "nothing seen") for alpha in alphas]
    np.testing.assert_array_equal(Shadow(alphas, shades, seen).brightness(alphas[3]), 1)


def make_lit_frames(inside, slope, seed=0):
    """Foregrounds with many colors, one of them gray, lit by a screen the more the nearer to their edges."""
    rng = np.random.default_rng(seed)
    for k in range(3):
        alpha = cv2.GaussianBlur(disc(95 + 5 * k, 100, 70, 200), (0, 0), 1)
        stripes = cv2.resize(rng.uniform(0, 1, (1, 40)).astype(np.float32), (200, 200), interpolation=cv2.INTER_CUBIC)
        colors = 0.1 + stripes[..., None] * np.float32([0.5, 0.3, 0.2])
        colors[60:140, 60:140] = 0.1 + 0.4 * stripes[60:140, 60:140, None]
        lit = colors + (inside + slope * nearness_to_edge(alpha))[..., None] * SCREEN
        frame = alpha[..., None] * lit + (1 - alpha[..., None]) * SCREEN
        yield (frame + rng.normal(0, 0.002, frame.shape)).astype(np.float32), alpha


@pytest.mark.parametrize(("inside", "slope"), [(0.03, 0.18), (0.0, 0.0), (0.05, 0.1)])
def test_the_screen_s_light_on_the_foreground_is_measured(inside, slope):
    spill = measure_spill(make_lit_frames(inside, slope), SCREEN, GREEN)
    assert spill.inside == pytest.approx(inside, abs=0.012)
    assert spill.slope == pytest.approx(slope, abs=0.03)


def test_gray_tells_the_screen_s_light_beside_green_clothes():
    frames = []
    for frame, alpha in make_lit_frames(0.04, 0.15):
        frame[120:140, 60:140] += np.float32([0.0, 0.15, 0.0])
        frames.append((frame, alpha))
    assert measure_spill(frames, SCREEN, GREEN).inside == pytest.approx(0.04, abs=0.012)


def test_where_nothing_is_gray_the_edges_tell_what_lies_inside():
    red = [(frame + np.float32([0.4, 0, 0]) * alpha[..., None], alpha) for frame, alpha in make_lit_frames(0.03, 0.15)]
    spill = measure_spill(red, SCREEN, GREEN)
    assert spill.inside == pytest.approx(0.2 * spill.slope)
    assert spill.slope == pytest.approx(0.15, abs=0.03)


def test_clothes_of_the_screen_s_hue_are_not_its_light():
    frames = [(np.full((60, 60, 3), (0.1, 0.3, 0.1), np.float32), np.ones((60, 60), np.float32))]
    assert measure_spill(frames, SCREEN, GREEN).inside == 0
    assert measure_spill(frames, SCREEN, YELLOW).slope == 0
    nothing = [(np.zeros((60, 60, 3), np.float32), np.zeros((60, 60), np.float32))]
    assert measure_spill(nothing, SCREEN, GREEN).share(np.ones((2, 2), np.float32)).max() == 0


def test_a_shadow_beside_a_moving_hand_is_no_veil():
    side = 160
    alphas = np.stack([disc(60 + 3 * k, 80, 28, side) for k in range(7)])
    shades = np.stack([cast(alpha, softness=6, aside=(10, 8)) for alpha in alphas])
    frames = alphas[..., None] * np.float32([0.5, 0.25, 0.18]) + ((1 - alphas) * shades)[..., None] * SCREEN
    sharp, blurry = np.stack([encode(frame, "srgb") for frame in frames]), encode(frames.mean(axis=0), "srgb")
    plate = encode(np.broadcast_to(SCREEN, (side, side, 3)), "srgb")
    matte, of_blurry = make_matting_method("chroma").fit(sharp, "srgb", plate).matte(sharp, blurry)
    assert alpha_errors(matte.alpha, alphas).mad < 0.005
    assert alpha_errors(of_blurry.alpha, alphas.mean(axis=0)).mad < 0.005
