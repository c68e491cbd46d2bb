import numpy as np
import pandas as pd
import pytest

from rb2v.blur2vid.evaluate import score_samples


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
