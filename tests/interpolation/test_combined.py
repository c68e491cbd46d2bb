"""The combination: weights of known proposals, both directions of time, and the motion that flow's proposal has."""

import cv2
import numpy as np
import pytest
import torch
from skimage import data as skimage_data

from rb2v.core.color import to_linear
from rb2v.interpolation.flow import FlowInterpolator
from rb2v.interpolation.learned.combined import CombinedInterpolator, combine
from rb2v.interpolation.learned.rife import VERSIONS, Proposal, RifeInterpolator

SIZE = (48, 64)


def propose(value, disagreement=0.0):
    return Proposal(np.full((*SIZE, 3), value, np.float32), np.full(SIZE, disagreement, np.float32))


class TestCombine:
    def test_where_all_agree_the_mean_is_by_shares(self):
        made = combine([propose(0.5), propose(0.5), propose(0.5)], [1, 2, 3])
        np.testing.assert_allclose(made, 0.5, atol=1e-6)

    def test_the_lone_one_counts_less_than_its_share(self):
        made = combine([propose(0.2), propose(0.2), propose(0.8)], [1, 1, 1])
        assert (made < 0.25).all()

    def test_who_is_disagreed_on_counts_less(self):
        even = combine([propose(0.2), propose(0.4)], [1, 1])
        np.testing.assert_allclose(even, 0.3, atol=1e-6)
        assert (combine([propose(0.2), propose(0.4, 0.1)], [1, 1]) < 0.21).all()

    def test_weights_are_local(self):
        doubted = np.zeros(SIZE, np.float32)
        doubted[:, 40:] = 0.5
        first, second = propose(0.2), Proposal(propose(0.4).frame, doubted)
        made = combine([first, second], [1, 1])
        np.testing.assert_allclose(made[:, :8], 0.3, atol=0.01)
        np.testing.assert_allclose(made[:, -8:], 0.2, atol=0.01)


@pytest.fixture(scope="module")
def photo():
    return to_linear(cv2.GaussianBlur(skimage_data.astronaut(), (0, 0), 1.0), "srgb")


def view(photo, x, y):
    shift = np.array([[1, 0, -150 - x], [0, 1, -60 - y]], dtype=np.float64)
    return cv2.warpAffine(photo, shift, (96, 80), flags=cv2.INTER_CUBIC)


def test_the_motion_of_a_translation_is_traced(photo):
    (motion,) = FlowInterpolator().trace(view(photo, 0, 0), view(photo, 4, 2), [0.3])
    np.testing.assert_allclose(motion[16:-16, 16:-16].mean(axis=(0, 1)), (-4, -2), atol=0.1)
    (still,) = FlowInterpolator().trace(view(photo, 0, 0), view(photo, 0, 0), [0.3])
    assert not still.any()


def test_untrained_networks_that_agree_on_nothing_leave_flow_in_charge(photo):
    torch.manual_seed(0)
    networks = {version: RifeInterpolator(VERSIONS[version]().eval()) for version in ("3.1", "4.6")}
    combined = CombinedInterpolator(networks)
    frame_a, frame_b = view(photo, 0, 0), view(photo, 6, 3)
    forwards = combined.between(frame_a, frame_b, [0.0, 0.25, 1.0])
    backwards = combined.between(frame_b, frame_a, [0.75])
    np.testing.assert_array_equal(forwards[0], frame_a)
    np.testing.assert_array_equal(forwards[2], frame_b)
    np.testing.assert_allclose(forwards[1], backwards[0], atol=1e-3)
    truth, of_flow = view(photo, 1.5, 0.75), FlowInterpolator().between(frame_a, frame_b, [0.25])[0]
    blend = 0.75 * frame_a + 0.25 * frame_b

    def error(frame):
        return np.square(frame - truth)[16:-16, 16:-16].mean()

    assert error(of_flow) < error(forwards[1]) < error(blend)
    for frame in combined.between(frame_a, frame_a.copy(), [0.2, 0.5]):
        np.testing.assert_array_equal(frame, frame_a)
