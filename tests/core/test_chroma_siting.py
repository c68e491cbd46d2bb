"""The siting of chroma, found from images whose encoder is known."""

import numpy as np
import pytest
from second_rigs import SITINGS, SecondRig, paint, srgb, to_planes

from rb2v.core.chroma import estimate_siting
from rb2v.core.planes import Planes


def pictures(rig, n=2, side=120):
    """Return still images of different scenes as the rig's encoder leaves them."""
    rng = np.random.default_rng(5)
    made = []
    for _ in range(n):
        coded = srgb(paint(rng, side, side)[::2, ::2])
        luma, *chroma = to_planes(coded + rng.normal(0, 0.5 / 255, coded.shape), rig, 8)
        made.append(Planes(luma, tuple(chroma), np.eye(3, 4)))
    return made


@pytest.mark.parametrize("chroma", SITINGS)
@pytest.mark.parametrize("matrix", ["bt601", "bt709"])
def test_siting_is_found_within_its_errors(chroma, matrix):
    found = estimate_siting([[one] for one in pictures(SecondRig(chroma=chroma, matrix=matrix))])
    offsets = np.array([found.x, found.y]) - SITINGS[chroma]
    errors = np.array([found.error_x, found.error_y])
    assert np.abs(offsets).max() < 0.1
    assert np.abs(offsets / errors).max() < 3.5
    assert errors.max() < 0.08


def test_more_frames_of_one_scene_are_not_worth_more():
    frames = pictures(SecondRig())
    once, twice = (estimate_siting([[one] * n for one in frames]) for n in (1, 2))
    assert (twice.x, twice.y) == pytest.approx((once.x, once.y), abs=1e-4)
    assert (twice.error_x, twice.error_y) == pytest.approx((once.error_x, once.error_y), rel=1e-3)


def test_gray_pictures_tell_no_siting():
    one = pictures(SecondRig(), n=1)[0]
    gray = tuple(np.full_like(plane, 128) for plane in one.chroma)
    with pytest.raises(ValueError, match="places"):
        estimate_siting([[Planes(one.luma, gray, one.to_rgb)]])
    with pytest.raises(ValueError, match="places"):
        estimate_siting([])
