import numpy as np
import pytest
import safetensors.torch
from bgm_files import random_state

from rb2v.core.color import encode, from_linear, to_linear
from rb2v.core.compositing import blur_residual_psnr, composite
from rb2v.core.metrics import alpha_errors
from rb2v.errors import Rb2vError
from rb2v.matting import MATTING_METHODS, make_matting_method
from rb2v.matting.recurrent.network import RecurrentNetwork
from rb2v.matting.screen import estimate_screen

SIZE = 64
GREEN = np.array([0.08, 0.45, 0.12])
COLORS = {
    "skin": (0.5, 0.25, 0.18),
    "grey": (0.3, 0.3, 0.3),
    "black": (0.01, 0.01, 0.01),
    "white": (0.8, 0.8, 0.8),
    "red": (0.5, 0.03, 0.03),
    "blue": (0.05, 0.08, 0.5),
    "yellow": (0.6, 0.5, 0.05),
}


def make_screen(color=GREEN):
    """A screen that is darker towards one side and the corners."""
    y, x = np.mgrid[:SIZE, :SIZE] / SIZE - 0.5
    return color * (1 - 0.6 * (x**2 + y**2) + 0.1 * x)[..., None]


def make_alpha(center_x):
    y, x = np.mgrid[:SIZE, :SIZE]
    return np.clip(13.5 - np.hypot(x - center_x, y - SIZE / 2), 0, 1)


def make_scene(color, *, noise=0.0, response="srgb", screen=None, seed=0):
    """A disc that moves over a screen: sharp frames, their mean in linear light, and the true alphas."""
    rng = np.random.default_rng(seed)
    screen = make_screen() if screen is None else screen
    alpha = np.stack([make_alpha(20 + 2 * k) for k in range(7)])
    frames = alpha[..., None] * np.array(color) + (1 - alpha[..., None]) * screen
    coded = from_linear(np.concatenate([frames, frames.mean(axis=0)[None]]), response)
    noisy = np.rint(coded * 255 + rng.normal(0, noise, coded.shape)).clip(0, 255).astype(np.uint8)
    return noisy[:7], noisy[7], alpha


def linear_light(frames, response="srgb"):
    return np.stack([to_linear(frame, response) for frame in frames])


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    """Files of random weights, for matters that need some."""
    folder = tmp_path_factory.mktemp("weights")
    safetensors.torch.save_file(random_state(), folder / "background.safetensors")
    safetensors.torch.save_file(RecurrentNetwork().state_dict(), folder / "rvm.safetensors")
    return {name: folder / f"{name}.safetensors" for name in ("background", "rvm")}


@pytest.mark.parametrize("name", MATTING_METHODS)
def test_every_matter_gives_mattes_of_the_right_form(name, weights):
    sharp, blurry, _ = make_scene(COLORS["skin"])
    plate = encode(make_screen(), "srgb")
    matter = make_matting_method(name, weights.get(name)).fit(sharp, "srgb", plate)
    sharp_matte, blurry_matte = matter.matte(sharp, blurry)
    for matte, shape in ((sharp_matte, (7, SIZE, SIZE)), (blurry_matte, (SIZE, SIZE))):
        assert matte.alpha.dtype == matte.premultiplied_linear.dtype == np.float32
        assert matte.alpha.shape == shape
        assert matte.premultiplied_linear.shape == (*shape, 3)
        assert matte.alpha.min() >= 0
        assert matte.alpha.max() <= 1
    again = matter.matte(sharp, blurry)[0]
    np.testing.assert_array_equal(again.alpha, sharp_matte.alpha)


def test_the_foreground_of_a_plain_scene_is_found_with_its_plate():
    sharp, blurry, alpha = make_scene(COLORS["skin"])
    matter = make_matting_method("chroma").fit(sharp, "srgb", encode(make_screen(), "srgb"))
    sharp_matte, blurry_matte = matter.matte(sharp, blurry)
    assert alpha_errors(sharp_matte.alpha, alpha).mad < 0.03
    assert alpha_errors(blurry_matte.alpha, alpha.mean(axis=0)).mad < 0.03


def test_an_unknown_matter_is_refused():
    with pytest.raises(Rb2vError, match="'green' is not a matting method; expected one of chroma"):
        make_matting_method("green")


@pytest.mark.parametrize("noise", [0, 2])
@pytest.mark.parametrize("color", COLORS)
def test_alpha_is_right_for_sharp_and_blurry_frames(color, noise):
    sharp, blurry, alpha = make_scene(COLORS[color], noise=noise)
    sharp_matte, blurry_matte = make_matting_method("chroma").fit(sharp, "srgb").matte(sharp, blurry)
    assert alpha_errors(sharp_matte.alpha, alpha).mad < 0.01
    assert alpha_errors(blurry_matte.alpha, alpha.mean(axis=0)).mad < 0.012


@pytest.mark.parametrize("color", COLORS)
def test_the_composite_stays_the_mean_of_the_sharp_composites(color):
    sharp, blurry, alpha = make_scene(COLORS[color], noise=2)
    background = np.random.default_rng(3).uniform(size=(8, 8, 3)).repeat(8, axis=0).repeat(8, axis=1)
    sharp_matte, blurry_matte = make_matting_method("chroma").fit(sharp, "srgb").matte(sharp, blurry)
    composites = composite(sharp_matte.premultiplied_linear, sharp_matte.alpha, background)
    blurred = composite(blurry_matte.premultiplied_linear, blurry_matte.alpha, background)
    before = blur_residual_psnr(linear_light(sharp), to_linear(blurry, "srgb"))
    assert blur_residual_psnr(composites, blurred) > before - 2.5
    truth = alpha[..., None] * np.array(COLORS[color]) + (1 - alpha[..., None]) * background
    assert np.abs(composites - truth).mean() < 0.02


@pytest.mark.parametrize("response", ["linear", "srgb", 2.2])
def test_the_camera_response_is_undone(response):
    sharp, blurry, alpha = make_scene(COLORS["skin"], response=response)
    sharp_matte, blurry_matte = make_matting_method("chroma").fit(sharp, response).matte(sharp, blurry)
    assert alpha_errors(sharp_matte.alpha, alpha).mad < 0.01
    assert alpha_errors(blurry_matte.alpha, alpha.mean(axis=0)).mad < 0.01


def test_a_blurry_frame_shows_what_the_sharp_frames_leave_out():
    """A thin bar moves twice its width per frame: the seven frames see it in stripes, the exposure as a ramp."""

    def bar(start):
        row = np.clip(np.arange(SIZE) - start + 0.5, 0, 1) * np.clip(start + 3.5 - np.arange(SIZE), 0, 1)
        return np.broadcast_to(row, (SIZE, SIZE))

    screen = make_screen()
    starts = 8 + 6 * np.linspace(0, 6, 61)
    fine = np.stack([bar(start) for start in starts])
    frames = fine[..., None] * np.array(COLORS["skin"]) + (1 - fine[..., None]) * screen
    sharp, blurry = np.stack([encode(frame, "srgb") for frame in frames[::10]]), encode(frames.mean(axis=0), "srgb")
    sharp_matte, blurry_matte = make_matting_method("chroma").fit(sharp, "srgb").matte(sharp, blurry)
    error = alpha_errors(blurry_matte.alpha, fine.mean(axis=0)).mad
    assert error < 0.3 * alpha_errors(sharp_matte.alpha.mean(axis=0), fine.mean(axis=0)).mad


def test_green_light_on_the_foreground_is_taken_off():
    spilled = np.array(COLORS["skin"]) + 0.12 * GREEN
    sharp, blurry, alpha = make_scene(spilled)
    matte, _ = make_matting_method("chroma").fit(sharp, "srgb").matte(sharp, blurry)
    inside = matte.premultiplied_linear[alpha == 1]
    assert (inside[:, 1] <= inside[:, 0] + 0.01).all()
    edge = (alpha > 0.2) & (alpha < 0.8)
    color = matte.premultiplied_linear[edge] / np.maximum(matte.alpha[edge], 0.1)[:, None]
    np.testing.assert_allclose(np.median(color, axis=0), spilled, atol=0.06)


def test_lamps_that_flicker_leave_alpha_alone():
    sharp, blurry, alpha = make_scene(COLORS["skin"])
    matter = make_matting_method("chroma").fit(sharp, "srgb")
    dimmed = encode(0.7 * linear_light(sharp), "srgb")
    matte, _ = matter.matte(dimmed, encode(0.7 * to_linear(blurry, "srgb"), "srgb"))
    assert alpha_errors(matte.alpha, alpha).mad < 0.01


def test_the_screen_is_found_behind_a_foreground_that_never_leaves():
    sharp, *_ = make_scene(COLORS["skin"])
    screen = make_matting_method("chroma").fit(sharp[3:4], "srgb").screen.linear
    np.testing.assert_allclose(screen, make_screen(), atol=0.04)


def test_a_yellow_green_cloth_is_a_screen_too():
    sharp, blurry, alpha = make_scene(COLORS["black"], screen=make_screen(np.array([0.5, 0.55, 0.01])))
    matte, _ = make_matting_method("chroma").fit(sharp, "srgb").matte(sharp, blurry)
    assert alpha_errors(matte.alpha, alpha).mad < 0.02


@pytest.mark.parametrize("color", [(0.3, 0.3, 0.3), (0.5, 0.25, 0.18), (0.3, 0.35, 0.45), (0.0, 0.0, 0.0)])
def test_a_scene_without_a_screen_is_refused(color):
    frames = encode(np.broadcast_to(color, (3, SIZE, SIZE, 3)), "srgb")
    with pytest.raises(Rb2vError, match="no green screen is seen"):
        make_matting_method("chroma").fit(frames, "srgb")


BLUE = np.array([0.03, 0.09, 0.42])
BEFORE_BLUE = {name: COLORS[name] for name in ("skin", "grey", "black", "white", "yellow")} | {
    "grass": (0.1, 0.35, 0.06)
}


@pytest.mark.parametrize("color", BEFORE_BLUE)
def test_a_blue_screen_is_keyed_like_a_green_one(color):
    sharp, blurry, alpha = make_scene(BEFORE_BLUE[color], noise=2, screen=make_screen(BLUE))
    matter = make_matting_method("chroma").fit(sharp, "srgb")
    sharp_matte, blurry_matte = matter.matte(sharp, blurry)
    assert alpha_errors(sharp_matte.alpha, alpha).mad < 0.01
    assert alpha_errors(blurry_matte.alpha, alpha.mean(axis=0)).mad < 0.012


def test_blue_light_on_the_foreground_is_taken_off():
    spilled = np.array(COLORS["grey"]) + 0.12 * BLUE
    sharp, blurry, alpha = make_scene(spilled, screen=make_screen(BLUE))
    matte, _ = make_matting_method("chroma").fit(sharp, "srgb").matte(sharp, blurry)
    inside = matte.premultiplied_linear[alpha == 1]
    assert (inside[:, 2] <= inside[:, :2].max(axis=1) + 0.01).all()


def test_a_screen_of_another_color_than_the_stated_one_is_refused():
    green, blue = ([np.tile(np.float32(color), (40, 40, 1))] * 2 for color in (GREEN, BLUE))
    assert estimate_screen(blue, color="blue").high == estimate_screen(blue).high == (2,)
    assert estimate_screen(green, color="green").high == (1,)
    with pytest.raises(Rb2vError, match="no green screen is seen"):
        estimate_screen(blue, color="green")
    with pytest.raises(Rb2vError, match="no blue screen is seen"):
        estimate_screen(green, color="blue")


def test_a_shirt_of_the_other_color_is_no_screen():
    """The screen is what lies along the borders."""
    sharp, blurry, alpha = make_scene((0.05, 0.08, 0.5))
    matte, _ = make_matting_method("chroma").fit(sharp, "srgb").matte(sharp, blurry)
    assert alpha_errors(matte.alpha, alpha).mad < 0.01


def test_dark_hair_before_a_dark_screen():
    sharp, blurry, alpha = make_scene((0.02, 0.015, 0.012), noise=1, screen=make_screen(0.3 * GREEN))
    matte, _ = make_matting_method("chroma").fit(sharp, "srgb").matte(sharp, blurry)
    assert alpha_errors(matte.alpha, alpha).mad < 0.012
