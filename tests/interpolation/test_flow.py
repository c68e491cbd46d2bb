"""Flow on scenes whose answer is known: shifts, a rim that only one frame sees, something that hides what is behind."""

import cv2
import numpy as np
import pytest
from examples import draws
from hypothesis import given
from hypothesis import strategies as st
from skimage import data as skimage_data

from rb2v.core.color import to_linear
from rb2v.core.metrics import psnr
from rb2v.interpolation import make_interpolator

SIZE = (128, 96)
PHOTOS = {
    name: to_linear(cv2.GaussianBlur(picture, (0, 0), 1.0), "srgb")
    for name, picture in (("front", skimage_data.astronaut()), ("behind", skimage_data.coffee()))
}


def view(x, y=0.0, name="front", size=SIZE):
    shift = np.array([[1, 0, -150 - x], [0, 1, -60 - y]], dtype=np.float64)
    return np.clip(cv2.warpAffine(PHOTOS[name], shift, size, flags=cv2.INTER_CUBIC), 0, 1)


def disk_before_picture(center_x):
    """A disk of one photograph, moving with its texture, before another one that is static."""
    y, x = np.mgrid[: SIZE[1], : SIZE[0]]
    alpha = np.clip(20.5 - np.hypot(x - center_x, y - 48), 0, 1)[..., None].astype(np.float32)
    return alpha * view(200 - center_x, 60) + (1 - alpha) * view(0, 40, "behind")


@draws(12)
@given(x=st.floats(-6, 6), y=st.floats(-6, 6), time=st.floats(0.05, 0.95))
def test_shifts_are_followed_at_any_time(x, y, time):
    (made,) = make_interpolator("flow").between(view(0), view(x, y), [time])
    inside = (slice(12, -12), slice(12, -12))
    assert psnr(made[inside], view(time * x, time * y)[inside]) > 36


def test_the_rim_is_taken_from_the_frame_that_sees_it():
    frame_a, frame_b, truth = view(0), view(10), view(5)
    (flow,), (quick,) = (make_interpolator(name).between(frame_a, frame_b, [0.5]) for name in ("flow", "quick-flow"))
    # Of the left columns only the first frame shows what is there between, of the right ones only the last.
    for rim in (np.s_[:, :5], np.s_[:, -5:]):
        assert psnr(flow[rim], truth[rim]) > psnr(quick[rim], truth[rim]) + 2


@pytest.mark.parametrize("time", [1 / 3, 0.5])
def test_something_fast_before_a_still_picture(time):
    frame_a, frame_b, truth = (disk_before_picture(x) for x in (54, 70, 54 + 16 * time))
    made = {
        name: make_interpolator(name).between(frame_a, frame_b, [time])[0] for name in ("flow", "quick-flow", "linear")
    }
    quality = {name: psnr(frame, truth) for name, frame in made.items()}
    assert quality["flow"] > quality["quick-flow"] + 0.5
    assert quality["flow"] > quality["linear"] + 4
    assert psnr(made["flow"][:, :24], truth[:, :24]) > 45  # what is static far from it stays as it is


def test_coded_frames_are_taken_as_they_are():
    coded_a, coded_b, truth = (np.sqrt(view(x)) for x in (0, 4, 2))
    (made,) = make_interpolator("flow", response="linear").between(coded_a, coded_b, [0.5])
    assert psnr(made[12:-12, 12:-12], truth[12:-12, 12:-12]) > 38


def test_samples_do_not_overshoot():
    edge = np.zeros((96, 128, 3), np.float32)
    edge[:, 40:] = 1
    for frame in make_interpolator("flow").between(edge, np.roll(edge, 3, axis=1), [0.25, 0.5]):
        assert frame.min() >= 0
        assert frame.max() <= 1


@pytest.mark.parametrize("method", ["flow", "quick-flow"])
def test_frames_seen_before_change_nothing(method):
    frame_a, frame_b = view(0, size=(448, 448)), view(3, 1, size=(448, 448))
    alone, used = make_interpolator(method), make_interpolator(method)
    used.between(view(0, size=(64, 64)), view(2, size=(64, 64)), [0.5])
    np.testing.assert_array_equal(used.between(frame_a, frame_b, [0.5])[0], alone.between(frame_a, frame_b, [0.5])[0])


@pytest.mark.parametrize("method", ["flow", "quick-flow"])
def test_what_stands_still_is_blended_and_only_the_rest_is_moved(method):
    size = (320, 256)
    rng = np.random.default_rng(0)
    behind = view(0, name="behind", size=size)
    frames, truth = [], behind.copy()
    for x, frame in ((100, behind.copy()), (108, behind.copy()), (104, truth)):
        frame[80:140, x : x + 60] = view(0, 40, size=(60, 60))
        frames.append(frame)
    frame_a, frame_b = (
        to_linear(
            (255 * frame ** (1 / 2.2) + rng.normal(0, 0.4, frame.shape)).clip(0, 255).round().astype(np.uint8), 2.2
        )
        for frame in frames[:2]
    )
    made = make_interpolator(method).between(frame_a, frame_b, [0.5])[0]
    still = np.s_[190:, 220:]
    np.testing.assert_array_equal(made[still], cv2.addWeighted(frame_a, 0.5, frame_b, 0.5, 0)[still])
    assert psnr(made[84:136, 108:160], truth[84:136, 108:160]) > 35
    nothing_moved = make_interpolator(method).between(frame_a[still].copy(), frame_b[still].copy(), [0.25])[0]
    np.testing.assert_array_equal(nothing_moved, cv2.addWeighted(frame_a[still], 0.75, frame_b[still], 0.25, 0))


@draws(8)
@given(x=st.floats(-6, 6), y=st.floats(-6, 6), time=st.floats(0.05, 0.95))
def test_averaged_frames_are_nearly_the_others(x, y, time):
    frame_a, frame_b = view(0), view(x, y)
    (made,) = make_interpolator("flow").between(frame_a, frame_b, [time])
    (averaged,) = make_interpolator("flow").between(frame_a, frame_b, [time], averaged=[time])
    inside = (slice(12, -12), slice(12, -12))
    assert psnr(averaged[inside], made[inside]) > 40


@pytest.mark.parametrize("method", ["flow", "quick-flow", "linear"])
@pytest.mark.parametrize("part", [np.s_[:], np.s_[60:140]])
def test_a_sum_is_that_of_the_averaged_frames(method, part):
    frame_a, frame_b = view(0), view(0)
    frame_b[part, 50:130] = view(4)[part, 50:130]
    times, summed = [0.0, 0.5], [1 / 6, 1 / 3, 2 / 3, 5 / 6]
    frames = make_interpolator(method).between(frame_a, frame_b, [*times, *summed], averaged=summed)
    frame_b.flags.writeable = False
    interpolator = make_interpolator(method)
    for _ in range(2):  # the second time with what is known of the second frame
        made, total = interpolator.between_and_sum(frame_a, frame_b, times, summed)
        np.testing.assert_allclose(made, frames[:2], atol=1e-6)
        np.testing.assert_allclose(total, np.sum(frames[2:], axis=0), atol=1e-3)
        made, some = interpolator.between_and_sum(frame_a, frame_b, times, summed, 3)
        np.testing.assert_allclose(made, frames[:2], atol=1e-6)
        assert psnr(some / 4, total[::3, ::3] / 4) > 48
    made, total = interpolator.between_and_sum(frame_b, frame_a, [0.5], summed)
    backwards = make_interpolator(method).between(frame_b.copy(), frame_a, [0.5, *summed], averaged=summed)
    np.testing.assert_allclose(made[0], backwards[0], atol=1e-6)
    np.testing.assert_allclose(total, np.sum(backwards[1:], axis=0), atol=1e-3)
