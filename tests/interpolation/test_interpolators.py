import cv2
import numpy as np
import pytest
from skimage import data as skimage_data

from rb2v.core.color import to_linear
from rb2v.core.metrics import psnr
from rb2v.errors import InputError
from rb2v.interpolation import INTERPOLATORS, make_interpolator

SIZE = (96, 72)


@pytest.fixture(params=sorted(INTERPOLATORS), scope="module")
def interpolator(request):
    try:
        return make_interpolator(request.param)
    except InputError as error:
        if "rb2v models fetch" not in str(error):
            raise
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def photo():
    return to_linear(cv2.GaussianBlur(skimage_data.astronaut(), (0, 0), 1.0), "srgb")


def view(photo, x, y=0.0):
    """The photograph seen from a place, to a fraction of a pixel."""
    shift = np.array([[1, 0, -150 - x], [0, 1, -60 - y]], dtype=np.float64)
    return cv2.warpAffine(photo, shift, SIZE, flags=cv2.INTER_CUBIC)


def inner_psnr(first, second):
    return psnr(first[8:-8, 8:-8], second[8:-8, 8:-8])


def test_frames_are_of_the_same_kind(interpolator, photo):
    frame_a, frame_b = view(photo, 0), view(photo, 2)
    copies = frame_a.copy(), frame_b.copy()
    times = [0.0, 1 / 6, 0.5, 0.9, 1.0]
    frames = interpolator.between(frame_a, frame_b, times)
    assert isinstance(frames, list)
    assert len(frames) == len(times)
    for frame in frames:
        assert frame.shape == frame_a.shape
        assert frame.dtype == np.float32
        assert frame.min() >= 0
        assert frame.max() <= 1
    np.testing.assert_array_equal(frames[0], frame_a)
    np.testing.assert_array_equal(frames[-1], frame_b)
    np.testing.assert_array_equal(frame_a, copies[0])
    np.testing.assert_array_equal(frame_b, copies[1])
    assert interpolator.between(frame_a, frame_b, []) == []


def test_between_equal_frames_is_that_frame(interpolator, photo):
    frame = view(photo, 0)
    for between in interpolator.between(frame, frame.copy(), [0.2, 0.5, 0.8]):
        assert np.abs(between - frame).max() < 2e-3


def test_the_same_frames_give_the_same_answer(interpolator, photo):
    frame_a, frame_b = view(photo, 0), view(photo, 2, 1)
    once = interpolator.between(frame_a, frame_b, [0.25, 0.75])
    interpolator.between(frame_b[:50], frame_a[:50], [0.5])
    for first, again in zip(once, interpolator.between(frame_a, frame_b, [0.25, 0.75]), strict=True):
        np.testing.assert_array_equal(first, again)


def test_a_frame_depends_on_its_time_alone(interpolator, photo):
    frame_a, frame_b = view(photo, 0), view(photo, 3)
    (alone,) = interpolator.between(frame_a, frame_b, [1 / 3])
    np.testing.assert_array_equal(interpolator.between(frame_a, frame_b, [2 / 3, 1 / 3])[1], alone)


def test_time_runs_from_the_first_frame_to_the_second(interpolator, photo):
    frame_a, frame_b = view(photo, 0), view(photo, 4)
    frames = interpolator.between(frame_a, frame_b, [0.1, 0.9])
    for near, far, frame in ((frame_a, frame_b, frames[0]), (frame_b, frame_a, frames[1])):
        assert inner_psnr(frame, near) > inner_psnr(frame, far) + 10


@pytest.mark.parametrize(
    "interpolator", ["flow", "linear", "rife-symmetric", "rife-3.5", "rife-4.6-symmetric", "combined"], indirect=True
)
def test_backwards_is_forwards_with_the_times_turned_round(interpolator, photo):
    frame_a, frame_b = view(photo, 0), view(photo, 3, 1)
    forwards = interpolator.between(frame_a, frame_b, [0.25])[0]
    backwards = interpolator.between(frame_b, frame_a, [0.75])[0]
    np.testing.assert_allclose(forwards, backwards, atol=1e-5)


@pytest.mark.parametrize("time", [1 / 6, 1 / 3, 0.5, 2 / 3])
def test_flow_follows_a_translation_that_blending_doubles(photo, time):
    frame_a, frame_b, truth = view(photo, 0), view(photo, 5, 3), view(photo, 5 * time, 3 * time)
    flow = make_interpolator("flow").between(frame_a, frame_b, [time])[0]
    linear = make_interpolator("linear").between(frame_a, frame_b, [time])[0]
    assert inner_psnr(flow, truth) > 34
    assert inner_psnr(flow, truth) > inner_psnr(linear, truth) + 10


def test_flow_keeps_a_still_background_still(photo):
    frame_a, frame_b, truth = (view(photo, 0).copy() for _ in range(3))
    for frame, x in ((frame_a, 30), (frame_b, 36), (truth, 33)):
        frame[25:45, x : x + 20] = view(photo, 100, 80)[25:45, 30:50]
    flow = make_interpolator("flow").between(frame_a, frame_b, [0.5])[0]
    far = np.ones(truth.shape[:2], bool)
    far[15:55, 20:66] = False
    assert psnr(flow[far], truth[far]) > 45
    assert psnr(flow[27:43, 37:49], truth[27:43, 37:49]) > 30


def test_linear_is_the_weighted_mean():
    rng = np.random.default_rng(0)
    frame_a, frame_b = rng.random((2, 8, 9, 3), dtype=np.float32)
    frame = make_interpolator("linear").between(frame_a, frame_b, [0.25])[0]
    np.testing.assert_allclose(frame, 0.75 * frame_a + 0.25 * frame_b, atol=1e-6)


def test_an_unknown_method_is_told_the_known_ones():
    with pytest.raises(InputError, match="'cubic' is not known; expected cdfi or combined or flow or linear") as caught:
        make_interpolator("cubic")
    assert caught.value.source == "interpolator"
