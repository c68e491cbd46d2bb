import numpy as np
import pandas as pd
import pytest

from rb2v.blur2vid.evaluate import keep_recorded, score_samples
from rb2v.errors import InputError
from rb2v.hypercut.evaluate import keep_pairs, score_predictions


def make_samples(recorded, n=4):
    """Measurements in which recorded frames have 30 dB, and interpolated ones 10."""
    rows = []
    for index in range(n):
        row = {"estimator": "network", "take": f"t{index}", "blurry_index": index, "recorded": recorded}
        for k, mark in enumerate(recorded):
            row[f"psnr_forward_{k}"] = 30.0 if mark == "1" else 10.0
            row[f"psnr_backward_{k}"] = 5.0
        rows.append({**row, "reblur_psnr": 40.0, "amplitude": 0.5})
    return pd.DataFrame(rows)


class TestKeepRecorded:
    @pytest.mark.parametrize(("recorded", "kept"), [("1010101", 4), ("1001001", 3), ("1111111", 7), ("1100001", 2)])
    def test_scores_are_of_recorded_frames_alone(self, recorded, kept):
        samples = make_samples(recorded)
        (scores,) = score_samples(keep_recorded(samples)).values()
        assert scores["ppsnr_seq"] == scores["ppsnr_pair"] == scores["ppsnr_frame"] == pytest.approx(30)
        assert scores["frames"]["psnr"] == [30.0] * kept
        assert (scores["reblur_psnr"], scores["amplitude"]) == (40.0, 0.5)
        everything = score_samples(samples)["network"]["ppsnr_seq"]
        assert everything == pytest.approx(10 + 20 * recorded.count("1") / 7)

    def test_asks_for_one_known_pattern(self):
        unknown = make_samples("1010101").drop(columns="recorded")
        mixed = pd.concat([make_samples("1010101"), make_samples("1001001")])
        for samples in (unknown, mixed, make_samples("0101010")[:1].assign(recorded="0000000")):
            with pytest.raises(InputError) as error:
                keep_recorded(samples, "samples.csv")
            assert (error.value.source, error.value.key) == ("samples.csv", "recorded")


def test_pairs_that_are_kept_are_scored_alone():
    scores = np.array([[1.0, -1.0, 1.0], [2.0, -2.0, 2.0], [1.0, -3.0, 1.0]])
    table = pd.DataFrame({"scorer": "network", "variant": "plain", "take": list("abc"), "blurry_index": [0, 1, 2]})
    for pair in range(3):
        table[f"s_{pair}"], table[f"r_{pair}"] = scores[:, pair], -scores[:, pair]
    assert score_predictions(table)["network"]["con@3"] == 0
    kept = keep_pairs(table, (0, 2))
    assert [name for name in kept if name.startswith("s_")] == ["s_0", "s_1"]
    assert score_predictions(kept)["network"]["con@2"] == 1
