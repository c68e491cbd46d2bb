import itertools
from fractions import Fraction

import numpy as np
import pytest

from rb2v.core.color import to_linear
from rb2v.core.exposure import Exposure, add_noise, light_table, mean_light, raise_highlights


def edge_at(position, n_pixels=60):
    """A bright half to the left of an edge, sampled by the area of each pixel."""
    covered = np.clip(position + 0.5 - np.arange(n_pixels), 0, 1)
    return np.broadcast_to(covered[None, :, None], (2, n_pixels, 3)).astype(np.float32)


def edge_over_time(start, speed, n_pixels=60):
    """The mean of `edge_at` from a position on over one unit of time, in closed form."""

    def primitive(position):
        x = position + 0.5 - np.arange(n_pixels)
        return np.where(x < 0, 0, np.where(x < 1, x**2 / 2, x - 0.5))

    return (primitive(start + speed) - primitive(start)) / speed


class TestMeanLight:
    @pytest.mark.parametrize("speed", [8.0, 16.0, 32.0])
    def test_a_moving_edge_gives_the_blur_of_the_continuous_exposure(self, speed):
        n, start = 65, 10.3
        # Each instant stands for the time about it, so that 65 of them fill the exposure.
        frames = (edge_at(start + speed * (index + 0.5) / n) for index in range(n))
        expected = edge_over_time(start, speed)
        np.testing.assert_allclose(mean_light(frames)[0, :, 0], expected, atol=1e-3)

    def test_a_bright_point_keeps_its_energy_where_light_is_clipped_after_the_mean(self):
        frames = np.zeros((7, 5, 9, 3), np.float32)
        for index, frame in enumerate(frames):
            frame[2, 1 + index] = 6.0
        streak = mean_light(frames)
        assert streak[..., 0].sum() == pytest.approx(6.0, rel=1e-6)
        assert streak[2, 1:8, 0] == pytest.approx(6 / 7)
        lost = mean_light(frames, clip_before=True)
        assert lost[..., 0].sum() == pytest.approx(1.0, rel=1e-6)

    def test_never_exceeds_white(self):
        assert mean_light([np.full((2, 2, 3), 9.0, np.float32)] * 3).max() == 1

    def test_of_nothing_is_an_error(self):
        with pytest.raises(ValueError, match="no frame"):
            mean_light([])


class TestExposure:
    def test_nineteen_instants_of_seven_recorded_frames_lie_at_thirds(self):
        exposure = Exposure(7, 1, 19)
        assert list(exposure.instants) == [Fraction(index, 3) for index in range(19)]
        assert exposure.intervals[0].blur_times == pytest.approx((1 / 3, 2 / 3))
        assert all(interval.counts_start for interval in exposure.intervals)
        assert exposure.intervals[-1].times == ()

    def test_seven_of_four_use_the_very_frames_of_the_sequence(self):
        exposure = Exposure(4, 2, 7)
        assert exposure.is_interpolated.tolist() == [False, True] * 3 + [False]
        assert [interval.times for interval in exposure.intervals] == [(0.5,)] * 3 + [()]
        assert [interval.blur_times for interval in exposure.intervals] == [(0.5,)] * 3 + [()]

    @pytest.mark.parametrize("n", [25, 65])
    def test_dyadic_counts_need_halves_of_halves_alone(self, n):
        for instant in Exposure(7, 1, n).instants:
            assert instant.denominator & (instant.denominator - 1) == 0

    def test_seven_recorded_frames_need_nothing_between(self):
        assert not Exposure(7, 1, 7).interpolates
        assert Exposure(3, 3, 7).is_interpolated.tolist() == [False, True, True, False, True, True, False]

    @pytest.mark.parametrize("n_recorded", [3, 4, 7])
    @pytest.mark.parametrize("n", [7, 19, 65])
    @pytest.mark.parametrize("share", [0.1, 0.5, 0.999, 1.0])
    def test_instants_lie_evenly_about_the_middle_and_are_all_counted(self, n_recorded, n, share):
        exposure = Exposure(n_recorded, 1, n, share)
        instants, span = exposure.instants, n_recorded - 1
        assert len({after - before for before, after in itertools.pairwise(instants)}) == 1
        assert instants[0] + instants[-1] == span
        assert float(instants[-1] - instants[0]) == pytest.approx(share * span, abs=1e-9)
        counted = [
            index + time
            for index, interval in enumerate(exposure.intervals)
            for time in (*((0.0,) if interval.counts_start else ()), *interval.blur_times)
        ]
        assert counted == pytest.approx([float(instant) for instant in instants])

    @pytest.mark.parametrize(
        "wrong",
        [{"n_recorded": 1}, {"upsampling": 0}, {"n_samples": 8}, {"n_samples": 1}, {"share": 0}, {"share": 1.1}],
    )
    def test_refuses_what_cannot_be(self, wrong):
        with pytest.raises(ValueError, match=r"must|needs"):
            Exposure(**{"n_recorded": 4, "upsampling": 2, "n_samples": 7, "share": 1.0} | wrong)


class TestHighlights:
    @pytest.mark.parametrize("response", ["srgb", "linear", 2.2])
    def test_white_alone_is_raised_to_the_light_that_was_asked_for(self, response):
        table = light_table(response, 8.0)
        plain = to_linear(np.arange(256, dtype=np.uint8), response)
        assert table[255] == pytest.approx(8.0)
        np.testing.assert_array_equal(table[:251], plain[:251])
        assert (np.diff(table) > 0).all()

    def test_a_saturation_of_one_changes_nothing(self):
        light = np.linspace(0, 1, 9, dtype=np.float32)
        assert raise_highlights(light, "srgb", 1.0) is light


class TestNoise:
    @pytest.mark.parametrize(("light", "shot", "read"), [(0.0, 0.1, 0.02), (0.25, 0.1, 0.0), (1.0, 0.03, 0.04)])
    def test_variance_grows_with_the_light(self, light, shot, read):
        image = np.full((200, 200, 3), light, np.float32)
        noisy = add_noise(image, shot, read, np.random.default_rng(0))
        assert noisy.mean() == pytest.approx(light, abs=1e-3)
        assert noisy.var() == pytest.approx(shot**2 * light + read**2, rel=0.02)

    def test_none_leaves_the_image(self):
        image = np.zeros((2, 2, 3), np.float32)
        assert add_noise(image, 0, 0, np.random.default_rng(0)) is image
