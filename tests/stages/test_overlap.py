"""What the cameras' housings leave of their images."""

import numpy as np
import pytest

from rb2v.stages.calibrate.overlap import BORDER_MARGIN_PX, lit_pixels

HEIGHT, WIDTH = 60, 80


def scene(shares=()):
    """A bright textured image, (60, 80, 3), whose first rows have shares of their light."""
    light = np.random.default_rng(0).uniform(0.7, 1.0, (HEIGHT, WIDTH, 1))
    light[: len(shares)] *= np.reshape(shares, (-1, 1, 1))
    return np.repeat(np.rint(220 * light), 3, axis=2).astype(np.uint8)


def test_an_image_without_a_housing_is_lit_to_its_rim():
    assert lit_pixels([scene(), scene()]).all()


@pytest.mark.parametrize("n_covered", [1, 3])
def test_a_margin_is_kept_from_what_the_housing_covers(n_covered):
    lit = lit_pixels([scene([0.0] * n_covered + [0.4, 0.8])])
    assert not lit[: n_covered + BORDER_MARGIN_PX - 1].any()
    assert lit[n_covered + BORDER_MARGIN_PX + 1 :].all()


@pytest.mark.parametrize("turns", range(4))
def test_a_rim_that_is_shaded_and_not_covered_has_the_margin_too(turns):
    image = np.rot90(scene([0.3, 0.5, 0.7, 0.9]), turns)
    lit = np.rot90(lit_pixels([image]), -turns)
    assert not lit[:BORDER_MARGIN_PX].any()
    assert lit[BORDER_MARGIN_PX + 1 :].all()
