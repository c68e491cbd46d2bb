import cv2
import numpy as np
import pytest

from rb2v.core.frame_quality import find_bars, sharpness
from rb2v.stages.synthesize.config import SynthesizeConfig


@pytest.fixture(scope="module")
def texture():
    noise = np.random.default_rng(0).uniform(0, 255, (40, 60)).astype(np.uint8)
    return cv2.resize(noise, (240, 160), interpolation=cv2.INTER_NEAREST)


class TestSharpness:
    @pytest.mark.parametrize("size", [(9, 1), (1, 9), (7, 7)])
    def test_falls_with_blur_in_any_direction(self, texture, size):
        # By more than what a sequence is rejected for.
        assert sharpness(cv2.blur(texture, size)) < SynthesizeConfig.min_sharpness * sharpness(texture)

    def test_does_not_depend_on_contrast_and_brightness(self, texture):
        assert sharpness((texture // 3 + 90).astype(np.uint8)) == pytest.approx(sharpness(texture), abs=0.03)

    def test_of_nothing_is_not_known(self):
        assert np.isnan(sharpness(np.full((40, 40), 90, np.uint8)))

    @pytest.mark.parametrize("shape", [(1, 1), (1, 50), (3, 2000)])
    def test_takes_any_size(self, shape):
        sharpness(np.zeros(shape, np.uint8))


class TestBars:
    @pytest.mark.parametrize("bars", [(0, 0, 0, 0), (12, 9, 0, 0), (0, 0, 7, 20), (3, 4, 5, 6)])
    @pytest.mark.parametrize("black", [0, 16])
    def test_finds_each_side(self, texture, bars, black):
        top, bottom, left, right = bars
        image = np.maximum(texture, 40)
        framed = cv2.copyMakeBorder(image, top, bottom, left, right, cv2.BORDER_CONSTANT, value=black)
        assert find_bars(framed) == bars

    def test_a_dark_textured_border_is_none(self, texture):
        image = texture.copy()
        image[:20] //= 12
        assert find_bars(image).top == 0

    def test_a_black_image_has_bars_up_to_its_middle(self):
        assert find_bars(np.zeros((40, 60), np.uint8)) == (20, 20, 30, 30)
