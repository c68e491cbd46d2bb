"""What a studio does to a key: shadows, wrinkles, screens that are too small, hair, and real images."""

import cv2
import numpy as np
import pytest

from rb2v.core.color import encode, to_linear
from rb2v.core.metrics import alpha_errors
from rb2v.errors import Rb2vError
from rb2v.io.video import iter_frames
from rb2v.matting import make_matting_method

SIZE = 160
GREEN = np.array([0.05, 0.36, 0.08])
SKIN = np.array([0.5, 0.25, 0.18])
Y, X = np.mgrid[:SIZE, :SIZE].astype(np.float64)


def disc(center_x, center_y, radius=30.0):
    return np.clip(radius + 0.5 - np.hypot(X - center_x, Y - center_y), 0, 1)


def shoot(alphas, screens, color=SKIN, seed=0):
    """Return sharp frames and their mean, of a foreground of one color over screens, with the noise of a camera."""
    rng = np.random.default_rng(seed)
    frames = alphas[..., None] * color + (1 - alphas[..., None]) * screens
    coded = np.concatenate([frames, frames.mean(axis=0)[None]])
    noisy = encode(coded, "srgb") + rng.normal(0, 1.5, coded.shape)
    pictures = np.rint(noisy).clip(0, 255).astype(np.uint8)
    return pictures[:-1], pictures[-1]


def key(sharp, blurry, frames=None, plate=None):
    matter = make_matting_method("chroma").fit(sharp if frames is None else frames, "srgb", plate)
    return matter.matte(sharp, blurry)


@pytest.fixture
def alphas():
    return np.stack([disc(60 + 3 * k, 90) for k in range(7)])


def test_a_soft_shadow_is_screen(alphas):
    shade = np.stack([1 - 0.25 * cv2.GaussianBlur(disc(105 + 3 * k, 70), (0, 0), 12) for k in range(7)])
    plate = encode(np.broadcast_to(GREEN, (SIZE, SIZE, 3)), "srgb")
    sharp, blurry = shoot(alphas, shade[..., None] * GREEN)
    matte, blurry_matte = key(sharp, blurry, plate=plate)
    assert alpha_errors(matte.alpha, alphas).mad < 0.008
    assert alpha_errors(blurry_matte.alpha, alphas.mean(axis=0)).mad < 0.008
    deep = (shade < 0.85) & (cv2.dilate(alphas.max(axis=0), np.ones((25, 25))) == 0)
    assert deep.any()
    assert matte.alpha[deep].mean() < 0.03


@pytest.mark.parametrize("with_plate", [True, False])
def test_wrinkles_are_screen(alphas, with_plate):
    folds = 1 + 0.08 * np.sin(2 * np.pi * (X + 0.3 * Y) / 40)
    screen = folds[..., None] * GREEN
    sharp, blurry = shoot(alphas, screen)
    matte, _ = key(sharp, blurry, plate=encode(screen, "srgb") if with_plate else None)
    assert alpha_errors(matte.alpha, alphas).mad < 0.008


@pytest.mark.parametrize("with_plate", [True, False])
def test_the_studio_beside_a_small_screen_is_no_foreground(with_plate):
    rng = np.random.default_rng(2)
    tiles = rng.uniform(0.02, 0.7, (10, 10, 3))
    tiles[..., 1] = tiles[..., [0, 2]].max(axis=-1)  # nothing green
    clutter = cv2.resize(tiles, (SIZE, SIZE), interpolation=cv2.INTER_NEAREST)
    on_screen = (X > 30) & (X < 130) & (Y > 25)
    wall = np.where(on_screen[..., None], GREEN, clutter)
    alphas = np.stack([disc(80 + 3 * k, 90, 22) for k in range(7)])
    sharp, blurry = shoot(alphas, wall)
    before, _ = shoot(np.stack([disc(60 + 5 * k, 100, 22) for k in range(7)]), wall, seed=1)
    matte, blurry_matte = key(
        sharp, blurry, np.concatenate([before, sharp]), encode(wall, "srgb") if with_plate else None
    )
    assert alpha_errors(matte.alpha, alphas).mad < 0.01
    assert alpha_errors(blurry_matte.alpha, alphas.mean(axis=0)).mad < 0.01


def test_a_hand_that_reaches_beyond_a_small_screen_is_kept():
    on_screen = (X > 30) & (X < 130) & (Y > 25)
    wall = np.where(on_screen[..., None], GREEN, np.array([0.1, 0.1, 0.12]))
    alphas = np.stack([disc(125 + 2 * k, 90, 20) for k in range(7)])
    sharp, blurry = shoot(alphas, wall)
    matte, _ = key(sharp, blurry, plate=encode(wall, "srgb"))
    beyond = (alphas == 1) & (X > 138)
    assert beyond.any()
    assert matte.alpha[beyond].mean() > 0.95
    assert alpha_errors(matte.alpha, alphas).mad < 0.012


def test_a_subject_on_the_lower_border_that_never_moves_is_kept():
    body = np.clip(np.minimum(Y - 95, 60 - np.abs(X - 80)) + 0.5, 0, 1)
    alphas = np.stack([np.maximum(body, disc(80 + k, 60, 25)) for k in range(7)])
    sharp, blurry = shoot(alphas, np.broadcast_to(GREEN, (SIZE, SIZE, 3)), np.array([0.02, 0.02, 0.025]))
    matte, _ = key(sharp, blurry)
    assert matte.alpha[alphas == 1].mean() > 0.99
    assert alpha_errors(matte.alpha, alphas).mad < 0.01


def test_the_black_border_of_a_housing_is_neither_screen_nor_foreground(alphas):
    framed = np.where((np.hypot(X - 80, Y - 80) < 105)[..., None], GREEN, 0.003)
    sharp, blurry = shoot(alphas, framed)
    matte, _ = key(sharp, blurry, plate=encode(framed, "srgb"))
    assert alpha_errors(matte.alpha, alphas).mad < 0.01


@pytest.mark.parametrize("with_plate", [True, False])
def test_dark_strands_stay_and_the_screen_between_them_goes(with_plate):
    rng = np.random.default_rng(3)
    strands = np.zeros((4 * SIZE, 4 * SIZE), np.uint8)
    for angle in rng.uniform(0, 2 * np.pi, 90):
        start, end = (
            (int(4 * (80 + reach * np.cos(angle))), int(4 * (80 + reach * np.sin(angle)))) for reach in (28, 50)
        )
        cv2.line(strands, start, end, 255, 4, cv2.LINE_AA)
    hair = cv2.resize(strands, (SIZE, SIZE), interpolation=cv2.INTER_AREA) / 255
    alpha = np.maximum(hair, disc(80, 80))
    screen = np.broadcast_to(GREEN, (SIZE, SIZE, 3))
    sharp, blurry = shoot(np.stack([alpha] * 7), screen, np.array([0.02, 0.015, 0.012]))
    matte, _ = key(sharp, blurry, plate=encode(screen, "srgb") if with_plate else None)
    fringe = (np.hypot(X - 80, Y - 80) > 32) & (np.hypot(X - 80, Y - 80) < 50)
    assert np.corrcoef(matte.alpha[0][fringe], alpha[fringe])[0, 1] > 0.95
    assert alpha_errors(matte.alpha[0], alpha).mad < 0.015


def test_one_key_serves_a_whole_sequence(alphas):
    """Where nothing is clipped, a frame's share of the screen does not depend on its place in the sequence."""
    sharp, blurry = shoot(alphas, np.broadcast_to(GREEN, (SIZE, SIZE, 3)))
    forward, of_blurry = key(sharp, blurry)
    matter = make_matting_method("chroma").fit(sharp, "srgb")
    backward, of_reversed = matter.matte(sharp[::-1], blurry)
    np.testing.assert_allclose(backward.alpha[::-1], forward.alpha, atol=2e-3)
    np.testing.assert_allclose(of_reversed.alpha, of_blurry.alpha, atol=2e-3)


@pytest.mark.parametrize("at", ["upper corner", "both sides", "top"])
def test_dark_cloth_at_the_border_of_a_full_screen_is_kept(at):
    """Outside the outline of what is seen of the screen, and hardly changing."""
    sway = 2 * np.arange(7)
    masks = {
        "upper corner": [np.clip(60 + k - X - Y, 0, 1) for k in sway],
        "both sides": [np.clip(np.maximum(Y - 70 - k, 0), 0, 1) for k in sway / 7],
        "top": [np.clip(50 + k - Y, 0, 1) for k in sway],
    }
    alphas = np.stack(masks[at])
    sharp, blurry = shoot(alphas, np.broadcast_to(GREEN, (SIZE, SIZE, 3)), np.array([0.012, 0.012, 0.02]))
    matte, _ = key(sharp, blurry)
    assert matte.alpha[alphas == 1].mean() > 0.97


@pytest.mark.parametrize("color", [(0.45, 0.25, 0.17), (0.75, 0.52, 0.35), (0.45, 0.33, 0.15), (0.5, 0.38, 0.22)])
@pytest.mark.parametrize("screen", [(0.3, 0.36, 0.08), (0.15, 0.18, 0.04), (0.2, 0.2, 0.05)])
def test_skin_and_fair_hair_before_a_yellow_green_cloth(alphas, screen, color):
    sharp, blurry = shoot(alphas, np.broadcast_to(np.array(screen), (SIZE, SIZE, 3)), np.array(color))
    matte, blurry_matte = key(sharp, blurry)
    assert matte.alpha[alphas == 1].mean() > 0.95
    assert alpha_errors(matte.alpha, alphas).mad < 0.02
    assert blurry_matte.explained_psnr > 35


@pytest.mark.parametrize("lamps", ["of the screen", "of the studio"])
def test_bright_foregrounds_keep_their_colour_when_lamps_fade(alphas, lamps):
    bright = np.array([0.8, 0.78, 0.75])
    matter = make_matting_method("chroma").fit(
        shoot(alphas, np.broadcast_to(GREEN, (SIZE, SIZE, 3)), bright)[0], "srgb"
    )
    color = bright if lamps == "of the screen" else 0.5 * bright
    sharp, blurry = shoot(alphas, np.broadcast_to(0.5 * GREEN, (SIZE, SIZE, 3)), color)
    for matte, where in zip(matter.matte(sharp, blurry), (alphas == 1, alphas.min(axis=0) == 1), strict=True):
        np.testing.assert_allclose(matte.premultiplied_linear[where].mean(axis=0), color, atol=0.02)


@pytest.mark.parametrize("gray", [0.0, 0.2])
def test_a_plate_without_a_screen_is_named(alphas, gray):
    sharp, _ = shoot(alphas, np.broadcast_to(GREEN, (SIZE, SIZE, 3)))
    plate = encode(np.full((SIZE, SIZE, 3), gray), "srgb")
    with pytest.raises(Rb2vError, match=r"clean plate .*: no green screen is seen: 0% of the image is green"):
        make_matting_method("chroma").fit(sharp, "srgb", plate)


def test_a_plate_of_a_screen_that_the_take_does_not_show_is_refused(alphas):
    sharp, _ = shoot(alphas, np.full((SIZE, SIZE, 3), 0.2))
    plate = encode(np.broadcast_to(GREEN, (SIZE, SIZE, 3)), "srgb")
    with pytest.raises(Rb2vError, match="the screen of the clean plate is not seen"):
        make_matting_method("chroma").fit(sharp, "srgb", plate)


def test_a_lost_foreground_is_told(alphas):
    screen = np.broadcast_to(GREEN, (SIZE, SIZE, 3))
    matter = make_matting_method("chroma").fit(shoot(alphas, screen)[0], "srgb")
    _, sane = matter.matte(*shoot(alphas, screen))
    assert sane.explained_psnr > 40
    sharp, blurry = shoot(alphas, screen, np.array([0.3, 0.95, 0.4]))  # a foreground of the screen's own color
    assert matter.matte(sharp, blurry)[1].explained_psnr < 25


@pytest.mark.parametrize("with_plate", [True, False])
def test_a_lemur_over_shaded_green(shared_data, with_plate):
    pictures = shared_data / "matting"
    foreground = to_linear(cv2.imread(str(pictures / "lemur_foreground.png"))[..., ::-1], "srgb")
    alpha = cv2.imread(str(pictures / "lemur_alpha.png"), cv2.IMREAD_GRAYSCALE) / 255
    height, width = alpha.shape
    x, y = np.meshgrid(np.linspace(-1, 1, width), np.linspace(-1, 1, height))
    screen = (1 + 0.25 * x - 0.15 * y - 0.2 * (x * x + y * y))[..., None] * GREEN
    picture = encode(alpha[..., None] * foreground + (1 - alpha[..., None]) * screen, "srgb")
    noisy = np.clip(np.rint(picture + np.random.default_rng(0).normal(0, 1.5, picture.shape)), 0, 255).astype(np.uint8)
    sharp = np.stack([noisy] * 7)
    matte, blurry_matte = key(sharp, noisy, plate=encode(screen, "srgb") if with_plate else None)
    assert alpha_errors(matte.alpha[3], alpha).mad < 0.015
    assert alpha_errors(blurry_matte.alpha, alpha).mad < 0.015


def test_a_real_person_before_a_yellow_green_screen(shared_data):
    frames = []
    for frame in iter_frames([shared_data / "greenscreen" / "mdn_chroma_60fps.mp4"]):
        frames.append(frame.image)
        if len(frames) == 330:
            break
    clip = np.stack(frames)
    matter = make_matting_method("chroma").fit(clip[::30], "srgb")
    for start in (20, 280, 320):  # the last two are half as bright, and hands come up before the black sweater
        sharp = clip[start : start + 7]
        blurry = encode(
            to_linear(sharp.reshape(-1, *sharp.shape[2:]), "srgb").reshape(sharp.shape).mean(axis=0), "srgb"
        )
        matte, blurry_matte = matter.matte(sharp, blurry)
        for alpha in (*matte.alpha, blurry_matte.alpha):
            assert alpha[20:60, 5:60].max() < 0.05  # the screen beside the head
            assert alpha[50:90, 135:170].mean() > 0.97  # the face
            assert alpha[175:, 100:200].mean() > 0.9  # the sweater


@pytest.mark.parametrize("name", ["asl_book.mkv", "hand_open.mp4"])
def test_people_before_a_wall_are_refused(shared_data, name):
    frames = [frame.image for frame in iter_frames([shared_data / "hands" / name])][::40]
    with pytest.raises(Rb2vError, match=r"no green screen is seen: [01]% of the image is green"):
        make_matting_method("chroma").fit(np.stack(frames), "srgb")
