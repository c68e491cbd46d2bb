import numpy as np
import pandas as pd
import pytest

from rb2v.blur2vid.evaluate import measure_difference, score_samples


def samples(ahead, back, estimator="network"):
    """Return the table of measurements of as many samples as there are rows, each a take of its own."""
    columns = {f"psnr_forward_{k}": column for k, column in enumerate(np.transpose(ahead))}
    columns |= {f"psnr_backward_{k}": column for k, column in enumerate(np.transpose(back))}
    takes = [f"take_{k}" for k in range(len(ahead))]
    return pd.DataFrame(
        {"estimator": estimator, "take": takes, "blurry_index": 0, **columns, "reblur_psnr": 30.0, "amplitude": 0.5}
    )


class TestScoreSamples:
    def test_who_chooses_the_direction(self):
        ahead, back = [[30.0, 20.0, 25.0, 21.0, 28.0]], [[20.0, 24.0, 25.0, 22.0, 27.0]]
        scored = score_samples(samples(ahead, back))["network"]
        assert scored["ppsnr_seq"] == pytest.approx(np.mean(ahead))
        assert scored["ppsnr_pair"] == pytest.approx(np.mean([30, 24, 25, 22, 28]))
        assert scored["ppsnr_frame"] == pytest.approx(np.mean([30, 24, 25, 22, 28]))
        assert scored["ppsnr_seq_border"] == pytest.approx(29)
        assert scored["frames"]["psnr"] == ahead[0]
        assert scored["intervals"]["ppsnr_seq"] is None

    def test_agreement_is_of_all_pairs(self):
        ahead = [[30.0, 30.0, 25.0, 30.0, 30.0], [30.0, 20.0, 25.0, 20.0, 30.0], [20.0, 20.0, 25.0, 20.0, 20.0]]
        back = [[20.0, 20.0, 25.0, 20.0, 20.0], [20.0, 30.0, 25.0, 30.0, 20.0], [30.0, 30.0, 25.0, 30.0, 30.0]]
        assert score_samples(samples(ahead, back))["network"]["direction_agreement"] == pytest.approx(2 / 3)

    def test_what_stands_still_names_no_direction(self):
        ahead = np.random.default_rng(0).uniform(20, 40, (500, 7))
        scored = score_samples(samples(ahead, ahead[:, ::-1], "blurry"))["blurry"]
        assert scored["direction_agreement"] == 0

    def test_samples_without_motion_have_no_amplitude(self):
        table = samples(np.full((4, 3), 30.0), np.full((4, 3), 20.0))
        table.loc[1, "amplitude"] = np.nan
        assert score_samples(table)["network"]["amplitude"] == pytest.approx(0.5)

    def test_no_sample(self):
        assert score_samples(pd.DataFrame()) == {}


class TestDifference:
    """What the difference of the first and the last frame tells."""

    def frames(self, difference):
        """Return three frames of which the first is by ``difference`` (H, W, 3) brighter than the last."""
        difference = np.asarray(difference)
        return np.stack([128 + difference // 2, np.full_like(difference, 128), 128 - difference // 2]).astype(np.uint8)

    def ramp(self, size=8):
        return np.broadcast_to(2 * np.arange(-size // 2, size // 2)[:, None, None], (size, size, 3))

    def board(self, size=8):
        return np.broadcast_to(np.indices((size, size)).sum(axis=0)[..., None] % 2 * 40 - 20, (size, size, 3))

    def test_a_checkerboard_vanishes_and_what_is_smooth_does_not(self):
        found = measure_difference(self.frames(self.board()), self.frames(self.ramp() + 1))
        assert found["survival"] == 0
        assert found["true_survival"] > 0.9
        even = self.frames(np.full((5, 7, 3), 6))
        assert measure_difference(even, even)["survival"] == 1

    def test_correlation_by_hand(self):
        truth = self.frames(self.ramp())
        assert measure_difference(truth, truth)["correlation"] == pytest.approx(1)
        assert measure_difference(truth[::-1], truth)["correlation"] == pytest.approx(-1)
        both = self.frames(self.ramp() + self.board())
        energy = [np.square(one.astype(float)).mean() for one in (self.ramp(), self.board())]
        expected = np.sqrt(energy[0] / sum(energy))
        assert measure_difference(both, truth)["correlation"] == pytest.approx(expected, abs=0.02)

    def test_signs_are_told_by_color_and_place(self):
        found = measure_difference(self.frames(self.board()), self.frames(self.ramp()))
        for color in range(3):
            shares = [found[f"brighter_{color}_{y}_{x}"] for y, x in np.ndindex(2, 2)]
            assert shares == [0, 1, 1, 0]

    def test_what_does_not_differ_has_none(self):
        still = self.frames(np.zeros((8, 8, 3), dtype=int))
        found = measure_difference(still, self.frames(self.ramp()))
        assert {name for name, value in found.items() if not np.isnan(value)} == {"true_survival"}

    def test_scores_of_a_table(self):
        ahead, back = np.full((3, 3), 30.0), np.full((3, 3), 20.0)
        ahead[1], back[1] = back[1].copy(), ahead[1].copy()
        table = samples(ahead, back).assign(
            correlation=[0.5, -0.3, 0.1],
            survival=[0.2, 0.4, np.nan],
            order=[1, -1, -1],
            brighter_0_0_0=[0.1, 0.0, 0.2],
            brighter_0_0_1=[0.4, 0.5, np.nan],
        )
        scored = score_samples(table)["network"]
        assert scored["correlation"] == pytest.approx(0.3)
        assert scored["survival"] == pytest.approx(0.3)
        assert scored["follows_order"] == pytest.approx(2 / 3)
        assert scored["one_sign"] == pytest.approx(0.9)
