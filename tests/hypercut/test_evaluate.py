import json

import numpy as np
import pandas as pd
import pytest
import torch

from rb2v.errors import InputError
from rb2v.hypercut.controls import CONTROLS
from rb2v.hypercut.evaluate import VARIANTS, consistency, predict, read_predictions, score_predictions
from rb2v.hypercut.networks import make_order_network


def test_consistency_counts_the_choices_of_pairs():
    scores = np.array([[1, 2, 3], [-1, -2, -3], [1, 2, -3], [-1, 2, 3], [0, 1, 1]])
    shares = consistency(scores)
    assert shares["con@3"] == pytest.approx(2 / 5)
    assert shares["con@2_outer"] == pytest.approx(3 / 5)
    assert shares["con@2"] == pytest.approx((3 / 5 + 2 / 5 + 4 / 5) / 3)


def make_predictions(scores, reversed_scores=None, takes=None, **variants):
    """Return predictions of one scorer, of sequences that are each a take of its own unless told."""
    scores = np.asarray(scores, dtype=float)
    backward = -scores if reversed_scores is None else np.asarray(reversed_scores, dtype=float)
    takes = [str(index) for index in range(len(scores))] if takes is None else takes
    tables = []
    for variant, values in {"plain": scores, **variants}.items():
        table = pd.DataFrame({"scorer": "network", "variant": variant, "take": takes})
        table["blurry_index"] = range(len(scores))
        table[[f"s_{k}" for k in range(scores.shape[1])]] = values
        table[[f"r_{k}" for k in range(scores.shape[1])]] = backward if variant == "plain" else np.nan
        tables.append(table)
    return pd.concat(tables, ignore_index=True)


def score(*args, motion=None, **kwargs):
    return score_predictions(make_predictions(*args, **kwargs), motion)["network"]


def test_scores_come_from_the_predictions_alone():
    found = score(
        [(1, 1, 1), (1, 1, -1)],
        reversed_scores=[(-1, -1, -4), (-1, -1, 1)],
        contrast_reversed=[(1, 1, 1), (-1, -1, -1)],
        contrast_scaled=[(1, 1, 1), (5, -1, -1)],
    )
    assert found["hit_pairs"] == [1, 1, 1]
    assert found["con@3"] == 0.5
    assert found["labels_flipped"] == 1
    assert (found["contrast_reversed"], found["contrast_scaled"]) == (0.5, 1)
    stuck = score([(1, 1, 1), (1, 1, -1)], reversed_scores=[(-1, -1, 4), (-1, -1, 1)])
    assert stuck["hit_pairs"] == [1, 1, 0.5]
    assert stuck["hit"] == pytest.approx(5 / 6)
    assert stuck["labels_flipped"] == 0.5


def test_an_order_of_zero_is_not_kept():
    found = score(
        [(0, 0, 0), (1, 1, 1), (1, 1, -2), (1, 1, 1)], contrast_scaled=[(0, 0, 0), (0, 0, 0), (1, 1, 1), (1, 1, 1)]
    )
    assert found["contrast_scaled"] == 0.25
    collapsed = score(np.zeros((2, 3)), contrast_reversed=np.zeros((2, 3)))
    assert collapsed["contrast_reversed"] == collapsed["labels_flipped"] == 0


class TestIntervals:
    def test_hold_what_takes_differ_by(self):
        # The spread of a share over n takes of one sequence is that of a binomial share.
        rng = np.random.default_rng(0)
        scores = np.ones((400, 3))
        scores[rng.random(400) < 0.2, 2] = -1
        found = score(scores)
        low, high = found["intervals"]["con@3"]
        half = 1.96 * np.sqrt(0.8 * 0.2 / 400)
        assert low < found["con@3"] < high
        assert (high - low) / 2 == pytest.approx(half, rel=0.2)

    def test_sequences_of_a_take_are_drawn_together(self):
        rng = np.random.default_rng(0)
        scores = np.ones((400, 3))
        takes = np.repeat(np.arange(20), 20)
        scores[np.isin(takes, rng.choice(20, 4, replace=False)), 2] = -1  # whole takes fail
        together, apart = score(scores, takes=takes), score(scores)
        assert together["con@3"] == apart["con@3"] == 0.8
        wide, narrow = (np.ptp(found["intervals"]["con@3"]) for found in (together, apart))
        assert wide > 3 * narrow

    def test_same_seed_same_interval(self):
        predictions = make_predictions(np.random.default_rng(0).standard_normal((50, 3)))
        one, two, other = (score_predictions(predictions, seed=seed)["network"]["intervals"] for seed in (0, 0, 1))
        assert one == two != other
        assert set(one) == {
            "hit",
            "hit_pair_0",
            "hit_pair_1",
            "hit_pair_2",
            "con@2",
            "con@3",
            "con@2_outer",
            "labels_flipped",
        }

    @pytest.mark.parametrize(("n_takes", "known"), [(2, False), (3, True)])
    def test_need_three_takes(self, n_takes, known):
        found = score(np.ones((9, 3)), takes=[f"take-{index % n_takes}" for index in range(9)])
        assert {interval is not None for interval in found["intervals"].values()} == {known}


def motion_of(vectors, split="test"):
    table = pd.DataFrame(vectors, columns=["motion_x_px", "motion_y_px"])
    table.insert(0, "split", split)
    table.insert(1, "take", [str(index) for index in range(len(vectors))])
    table.insert(2, "blurry_index", range(len(vectors)))
    return table


class TestAgreement:
    def test_finds_the_half_plane(self):
        rng = np.random.default_rng(0)
        vectors = rng.standard_normal((300, 2)) * 4
        sides = np.sign(vectors @ [np.cos(2.5), np.sin(2.5)])
        sides[:30] *= -1  # a tenth of the labels are wrong
        found = score(np.outer(sides, [1, 2, 3]), motion=motion_of(vectors))
        assert found["agreement"] == pytest.approx(0.9, abs=0.01)
        assert found["agreement_n"] == 300
        low, high = found["intervals"]["agreement"]
        assert 0.8 < low < 0.9 < high < 0.97

    def test_of_labels_that_know_nothing_is_chance(self):
        rng = np.random.default_rng(1)
        found = score(rng.standard_normal((300, 3)), motion=motion_of(rng.standard_normal((300, 2))))
        assert 0.5 < found["agreement_chance"] < 0.62
        assert found["agreement"] == pytest.approx(found["agreement_chance"], abs=0.06)

    @pytest.mark.parametrize("seed", range(4))
    def test_of_labels_that_know_nothing_lies_within_its_interval(self, seed):
        rng = np.random.default_rng(seed)
        found = score(rng.standard_normal((300, 3)), motion=motion_of(rng.standard_normal((300, 2))))
        low, high = found["intervals"]["agreement"]
        # About the estimate, as wide as that of a share of 300.
        assert (low + high) / 2 == pytest.approx(found["agreement"], abs=0.01)
        assert (high - low) / 2 == pytest.approx(1.96 * np.sqrt(0.25 / 300), rel=0.2)

    def test_of_a_single_sequence_is_certain_and_so_is_chance(self):
        found = score([(1, 1, 1)], motion=motion_of([(3, 0)]))
        assert (found["agreement"], found["agreement_chance"], found["agreement_n"]) == (1, 1, 1)

    def test_leaves_out_what_is_unknown_still_or_of_another_split(self):
        vectors = [(1, 0), (-1, 0), (np.nan, 1), (0, 0)]
        scores = np.outer([1, -1, 1, 1], [1, 1, 1])
        found = score(scores, motion=motion_of(vectors))
        assert (found["agreement"], found["agreement_n"]) == (1, 2)
        for motion in (motion_of(vectors, "train"), motion_of(vectors[2:]), motion_of([])):
            nothing = score(scores[2:], motion=motion)
            assert nothing["agreement"] is nothing["agreement_chance"] is nothing["intervals"]["agreement"] is None
            assert nothing["agreement_n"] == 0

    def test_a_sequence_without_a_side_agrees_with_nothing(self):
        found = score([(1, 1, 1), (1, 0, -1)], motion=motion_of([(1, 0), (1, 0)]))
        assert found["agreement"] == 0.5


def pair_of_ramps(shift):
    """Return two frames (3, 24, 24) of waves, the second ``shift`` pixels further right."""
    x = torch.arange(24.0)
    frames = [(0.5 + 0.3 * torch.sin((x - at) / 2)).expand(3, 24, 24) for at in (0, shift)]
    return frames[0], frames[1]


class TestControls:
    @pytest.mark.parametrize("name", CONTROLS)
    def test_are_antisymmetric(self, name):
        first, second = torch.rand((2, 4, 3, 3, 20, 24), generator=torch.Generator().manual_seed(0))
        scores = CONTROLS[name](first, second)
        assert scores.shape == (4, 3)
        torch.testing.assert_close(CONTROLS[name](second, first), -scores, rtol=1e-4, atol=1e-5)
        assert scores.abs().min() > 0

    @pytest.mark.parametrize("name", CONTROLS)
    def test_score_blank_pairs_with_zero(self, name):
        assert CONTROLS[name](torch.zeros(1, 3, 16, 16), torch.zeros(1, 3, 16, 16)).tolist() == [0]

    @pytest.mark.parametrize("shift", [-0.5, 0.25, 0.5])
    def test_normal_flow_is_the_shift_of_a_picture(self, shift):
        first, second = pair_of_ramps(shift)
        assert CONTROLS["normal_flow"](first, second).item() == pytest.approx(shift, rel=0.1)
        assert CONTROLS["normal_flow"](1 - first, 1 - second).item() == pytest.approx(shift, rel=0.1)

    def test_brightness_is_what_the_others_see(self):
        dark, bright = torch.full((3, 16, 16), 0.2), torch.full((3, 16, 16), 0.6)
        assert CONTROLS["mean_brightness"](dark, bright).item() == pytest.approx(0.4)
        left, right = torch.zeros(3, 8, 9), torch.zeros(3, 8, 9)
        left[..., 0], right[..., -1] = 1, 1
        assert CONTROLS["brightness_center"](left, right).item() == pytest.approx(2)


class TestTrained:
    def test_learned_the_direction_of_motion(self, trained):
        labels = pd.read_csv(trained.folder / "order_labels.csv")
        for split, directions in trained.directions.items():
            orders = labels.loc[labels["split"] == split, "order"].to_numpy()
            share = np.mean(orders == directions)
            assert max(share, 1 - share) >= 0.85

    def test_reversal_turns_every_score(self, trained):
        predictions = read_predictions(trained.folder / "predictions.csv")
        rows = predictions.query("scorer == 'network' and variant == 'plain'")
        ahead, back = (rows[[f"{prefix}_{k}" for k in range(3)]].to_numpy() for prefix in "sr")
        assert (ahead != 0).all()
        np.testing.assert_array_equal(back, -ahead)

    def test_metrics_stand_beside_trivial_controls(self, trained):
        metrics = json.loads((trained.folder / "metrics.json").read_text())
        assert (metrics["train_sequences"], metrics["test_sequences"]) == (200, 100)
        assert metrics["collapsed"] is False
        tested = metrics["test"]
        assert tested["hit"] == tested["labels_flipped"] == 1
        assert tested["con@3"] >= 0.9
        assert tested["con@2"] >= tested["con@3"]
        assert min(tested[variant] for variant in VARIANTS if variant != "plain") >= 0.99
        low, high = tested["intervals"]["con@3"]
        assert low <= tested["con@3"] <= high
        assert set(metrics["controls"]) == {"untrained", *CONTROLS}
        # Contrast says nothing of motion, and turns all that these two see.
        assert metrics["controls"]["mean_brightness"]["contrast_reversed"] < 0.05
        assert metrics["controls"]["random_projection"]["contrast_reversed"] < 0.05
        assert metrics["controls"]["normal_flow"]["contrast_reversed"] >= 0.95

    def test_scores_can_be_computed_again_from_the_predictions(self, trained):
        predictions = read_predictions(trained.folder / "predictions.csv")
        metrics = json.loads((trained.folder / "metrics.json").read_text())
        again = score_predictions(predictions)
        assert again.pop("network") == metrics["test"]
        assert again == metrics["controls"]
        assert len(predictions) == (2 + len(CONTROLS)) * len(VARIANTS) * 100

    def test_labels_are_the_sides_of_the_predictions(self, trained):
        predictions = read_predictions(trained.folder / "predictions.csv")
        rows = predictions.query("scorer == 'network' and variant == 'plain'")
        labels = pd.read_csv(trained.folder / "order_labels.csv").query("split == 'test'")
        np.testing.assert_array_equal(-np.sign(rows[["s_0", "s_1", "s_2"]].sum(axis=1)), labels["order"])

    def test_agreement_with_the_true_motion(self, trained):
        predictions = read_predictions(trained.folder / "predictions.csv")
        keys = predictions.query("scorer == 'network' and variant == 'plain'")
        motion = keys[["take", "blurry_index"]].assign(split="test", motion_y_px=0.0)
        motion["motion_x_px"] = 5.0 * trained.directions["test"]
        scores = score_predictions(predictions, motion)
        assert scores["network"]["agreement"] >= 0.85
        assert scores["normal_flow"]["agreement"] >= 0.85
        assert scores["mean_brightness"]["agreement"] <= 0.7


def test_predict_without_sequences():
    network = make_order_network("motion", 8, 0)
    empty = pd.DataFrame({"take": [], "blurry_index": []})
    predictions = predict(network, "motion", 8, 0, torch.empty(0, 7, 3, 16, 16, dtype=torch.uint8), empty)
    assert len(predictions) == 0
    assert "r_2" in predictions
    assert score_predictions(predictions) == {}


class TestReadPredictions:
    def test_takes_keep_their_names(self, tmp_path):
        predictions = make_predictions(
            np.ones((4, 2)), takes=["001", "nan", "", "1e3"], contrast_reversed=np.ones((4, 2))
        )
        predictions.to_csv(tmp_path / "p.csv", index=False)
        found = read_predictions(tmp_path / "p.csv")
        pd.testing.assert_frame_equal(found, predictions, check_dtype=False)

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            (None, "there is no such file"),
            ("", "is not a table"),
            ("scorer,variant,take\n", "blurry_index: column is missing"),
            ("scorer,variant,take,blurry_index,s_0\n", "r_0: column is missing"),
            ("scorer,variant,take,blurry_index,s_0,r_0\na,plain,t,0,x,1\n", "s_0: holds what is no number"),
        ],
    )
    def test_what_is_no_table_of_predictions_is_named(self, text, message, tmp_path):
        path = tmp_path / "predictions.csv"
        if text is not None:
            path.write_text(text)
        with pytest.raises(InputError, match=message):
            read_predictions(path)
