"""What every method keeps to, whatever it is given; methods whose weights are not fetched are skipped."""

import cv2
import numpy as np
import pytest
from skimage import data as skimage_data

from rb2v.core.color import encode, to_linear
from rb2v.core.metrics import psnr
from rb2v.errors import InputError
from rb2v.interpolation import INTERPOLATORS, is_scene_cut, make_interpolator

# The versions of a network differ in their weights alone.
METHODS = sorted(name for name in INTERPOLATORS if not name.startswith("rife-"))


@pytest.fixture(scope="module", params=METHODS)
def interpolator(request):
    try:
        return make_interpolator(request.param, device="cpu")
    except InputError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def photo():
    return cv2.GaussianBlur(skimage_data.astronaut(), (0, 0), 1.0)


def coded_view(photo, x, size=(96, 72), y=0.0):
    shift = np.array([[1, 0, -150 - x], [0, 1, -60 - y]], dtype=np.float64)
    return cv2.warpAffine(photo, shift, size, flags=cv2.INTER_CUBIC)


def view(photo, x, size=(96, 72)):
    return to_linear(coded_view(photo, x, size), "srgb")


@pytest.mark.parametrize("size", [(97, 71), (33, 65), (31, 17), (5, 3), (1, 1), (1, 40)])
def test_frames_of_any_size(interpolator, photo, size):
    frame_a, frame_b = view(photo, 0, size), view(photo, 1, size)
    for frame in interpolator.between(frame_a, frame_b, [0.25, 0.5]):
        assert frame.shape == frame_a.shape
        assert frame.dtype == np.float32
        assert np.isfinite(frame).all()
        assert psnr(frame, frame_a) > 12


def test_a_frame_between_equal_ones_is_that_frame(interpolator, photo):
    frame = view(photo, 0)
    for made in interpolator.between(frame, frame.copy(), [1 / 6, 1 / 3, 0.5, 2 / 3]):
        assert np.abs(made - frame).max() < 1e-3


def test_frames_of_8_bits_are_coded_values(interpolator, photo):
    frame_a, frame_b = coded_view(photo, 0), coded_view(photo, 2)
    first, half, last = interpolator.between(frame_a, frame_b, [0.0, 0.5, 1.0])
    assert half.dtype == np.uint8
    (linear,) = interpolator.between(to_linear(frame_a, "srgb"), to_linear(frame_b, "srgb"), [0.5])
    assert np.abs(half.astype(int) - encode(linear, "srgb")).max() <= 1
    np.testing.assert_array_equal(first, frame_a)
    np.testing.assert_array_equal(last, frame_b)


def test_doubles_are_taken(interpolator, photo):
    frame_a, frame_b = view(photo, 0), view(photo, 2)
    (made,) = interpolator.between(frame_a.astype(np.float64), frame_b.astype(np.float64), [0.5])
    np.testing.assert_array_equal(made, interpolator.between(frame_a, frame_b, [0.5])[0])


def test_a_cut_is_not_smeared(interpolator, photo, caplog):
    frame_a, frame_b = view(photo, 0), to_linear(coded_view(skimage_data.coffee(), 20), "srgb")
    early, late = interpolator.between(frame_a, frame_b, [0.3, 0.7])
    np.testing.assert_array_equal(early, frame_a)
    np.testing.assert_array_equal(late, frame_b)
    assert "the scene changes between two frames" in caplog.text


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_values_that_are_none_are_refused(interpolator, photo, value):
    frame_a, frame_b = view(photo, 0), view(photo, 2)
    frame_b[3, 4, 1] = value
    with pytest.raises(InputError, match=r"frame_b: holds values that are not finite"):
        interpolator.between(frame_a, frame_b, [0.5])


@pytest.mark.parametrize("time", [-0.01, 1.01, np.nan])
def test_times_beyond_the_frames_are_refused(interpolator, photo, time):
    frame_a, frame_b = view(photo, 0), view(photo, 2)
    with pytest.raises(InputError, match=r"times: .* lies outside of the two frames; expected 0 to 1"):
        interpolator.between(frame_a, frame_b, [0.5, time])


def test_frames_that_do_not_belong_together_are_refused(interpolator, photo):
    frame = view(photo, 0)
    with pytest.raises(InputError, match=r"frame_b: is of shape \(71, 96, 3\); expected \(72, 96, 3\)"):
        interpolator.between(frame, frame[1:], [0.5])
    with pytest.raises(InputError, match=r"frame_b: is of type uint8; expected float32"):
        interpolator.between(frame, coded_view(photo, 0), [0.5])
    with pytest.raises(InputError, match=r"frame_a: is of shape \(72, 96\)"):
        interpolator.between(frame[..., 0], frame[..., 0], [0.5])
    with pytest.raises(InputError, match=r"frame_a: is of type int64"):
        interpolator.between(frame.astype(int), frame.astype(int), [0.5])


class TestSceneCut:
    def test_motion_noise_and_flashes_are_none(self, photo):
        frame = view(photo, 0, (160, 120))
        rng = np.random.default_rng(0)
        for other in (
            view(photo, 12, (160, 120)),
            np.clip(frame + rng.normal(0, 0.03, frame.shape), 0, 1).astype(np.float32),
            frame * np.float32(0.3),
            frame[::, ::].copy(),
        ):
            assert not is_scene_cut(frame, other)

    def test_other_scenes_are(self, photo):
        views = [photo, skimage_data.coffee(), skimage_data.chelsea(), skimage_data.rocket()]
        frames = [to_linear(cv2.resize(picture, (160, 120)), "srgb") for picture in views]
        for i, frame in enumerate(frames):
            assert all(is_scene_cut(frame, other) for other in frames[:i])

    def test_tiny_frames_are_never_told_to_be_cut(self):
        first, second = np.random.default_rng(0).random((2, 31, 60, 3), dtype=np.float32)
        assert not is_scene_cut(first, second)
