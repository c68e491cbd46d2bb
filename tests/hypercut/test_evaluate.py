import json

import numpy as np
import pandas as pd
import pytest
import torch

from rb2v.hypercut.data import load_sequences
from rb2v.hypercut.evaluate import consistency, label_orders, load_order_network, predict, score_predictions
from rb2v.hypercut.networks import make_order_network
from rb2v.shards import ShardReader


def test_consistency_counts_the_choices_of_pairs():
    scores = np.array([[1, 2, 3], [-1, -2, -3], [1, 2, -3], [-1, 2, 3], [0, 1, 1]])
    shares = consistency(scores)
    assert shares["con@3"] == pytest.approx(2 / 5)
    assert shares["con@2_outer"] == pytest.approx(3 / 5)
    assert shares["con@2"] == pytest.approx((3 / 5 + 2 / 5 + 4 / 5) / 3)


def test_scores_come_from_the_predictions_alone():
    rows = {"plain": [(1, 1, 1), (1, 1, -1)], "contrast_reversed": [(1, 1, 1), (-1, -1, -1)]}
    predictions = pd.DataFrame(
        [
            {"scorer": "network", "variant": variant, **{f"s_{k}": s for k, s in enumerate(scores)}}
            | {"r_0": -1, "r_1": -1, "r_2": 1}
            for variant, sequences in rows.items()
            for scores in sequences
        ]
    )
    scores = score_predictions(predictions)["network"]
    assert scores["hit_pairs"] == [1, 1, 0.5]
    assert scores["hit"] == pytest.approx(5 / 6)
    assert scores["con@3"] == 0.5
    assert scores["contrast_reversed"] == 0.5


class ScoreOfFirst(torch.nn.Module):
    """Scores a pair by its first frame's mean."""

    normal = torch.zeros(1)

    def forward(self, first, second):
        return first.mean((-3, -2, -1)) - 0.5


def test_order_is_the_sign_of_the_sum_even_where_pairs_disagree():
    levels = torch.tensor([[255, 100, 100], [0, 155, 155], [0, 0, 0]], dtype=torch.uint8)
    sequences = torch.zeros(3, 7, 3, 16, 16, dtype=torch.uint8)
    sequences[:, :3] = levels[..., None, None, None]
    orders, margins, scores = label_orders(ScoreOfFirst(), sequences)
    assert orders.tolist() == [1, -1, -1]
    np.testing.assert_allclose(scores, levels.numpy() / 255 - 0.5, atol=1e-6)
    np.testing.assert_allclose(margins, np.abs(scores.sum(1)), atol=1e-6)


def test_a_still_sequence_has_no_order():
    orders, margins, _ = label_orders(make_order_network("motion", 8, 0), torch.full((2, 7, 3, 16, 16), 9).byte())
    assert orders.tolist() == [0, 0]
    assert margins.tolist() == [0, 0]


class TestTrained:
    def test_learned_the_direction_of_motion(self, trained):
        labels = pd.read_csv(trained.folder / "order_labels.csv")
        assert list(labels.columns) == [
            *("split", "take", "blurry_index", "order", "margin", "s_0", "s_1", "s_2", "consistent")
        ]
        for split, directions in trained.directions.items():
            orders = labels.loc[labels["split"] == split, "order"].to_numpy()
            share = np.mean(orders == directions)
            assert max(share, 1 - share) >= 0.85

    def test_reversal_flips_every_label(self, trained):
        network, config = load_order_network(trained.folder / "checkpoint.safetensors")
        sequences = load_sequences(ShardReader(trained.shards, "test"), config.image_size)
        orders, margins, scores = label_orders(network, sequences)
        reversed_orders, reversed_margins, reversed_scores = label_orders(network, sequences.flip(1))
        assert (orders != 0).all()
        np.testing.assert_array_equal(reversed_orders, -orders)
        np.testing.assert_array_equal(reversed_margins, margins)
        np.testing.assert_array_equal(reversed_scores, -scores)

    def test_metrics_stand_beside_trivial_controls(self, trained):
        metrics = json.loads((trained.folder / "metrics.json").read_text())
        assert (metrics["train_sequences"], metrics["test_sequences"]) == (200, 100)
        assert metrics["test"]["hit"] == 1
        assert metrics["test"]["con@3"] >= 0.9
        assert metrics["test"]["con@2"] >= metrics["test"]["con@3"]
        assert metrics["test"]["contrast_reversed"] >= 0.99
        assert metrics["test"]["brightness_shifted"] >= 0.99
        assert set(metrics["controls"]) == {"untrained", "mean_brightness", "brightness_center", "random_projection"}
        # Contrast says nothing of motion, and turns all that these two see.
        assert metrics["controls"]["mean_brightness"]["contrast_reversed"] < 0.05
        assert metrics["controls"]["random_projection"]["contrast_reversed"] < 0.05

    def test_scores_can_be_computed_again_from_the_predictions(self, trained):
        predictions = pd.read_csv(trained.folder / "predictions.csv")
        metrics = json.loads((trained.folder / "metrics.json").read_text())
        again = score_predictions(predictions)
        assert again["network"] == metrics["test"]
        assert len(predictions) == 5 * 3 * 100


def test_predict_without_sequences():
    network = make_order_network("motion", 8, 0)
    empty = pd.DataFrame({"take": [], "blurry_index": []})
    predictions = predict(network, "motion", 8, 0, torch.empty(0, 7, 3, 16, 16, dtype=torch.uint8), empty)
    assert len(predictions) == 0
    assert "r_2" in predictions
    assert score_predictions(predictions) == {}
