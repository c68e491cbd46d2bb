import json

import numpy as np
import pandas as pd
import pytest
import safetensors.torch
import torch

from rb2v.errors import InputError
from rb2v.hypercut.checkpoint import save_order_network
from rb2v.hypercut.config import TrainHyperCutConfig
from rb2v.hypercut.data import load_sequences
from rb2v.hypercut.evaluate import consistency, label_orders, load_order_network, predict, score_predictions
from rb2v.hypercut.order import make_order_network
from rb2v.shards import ShardReader

CONFIG = TrainHyperCutConfig(n_dimensions=8)


@pytest.fixture
def checkpoint(tmp_path):
    network = make_order_network(CONFIG.arch, 8, 0)
    return save_order_network(tmp_path / "checkpoint.safetensors", network.state_dict(), CONFIG, "0" * 64)


def rewrite(checkpoint, header=None, **tensors):
    """Change a checkpoint's header or tensors; a tensor of None is left out."""
    with safetensors.safe_open(checkpoint, framework="pt") as file:
        old_header = json.loads(file.metadata()["rb2v"])
    new = safetensors.torch.load_file(checkpoint) | {name.replace("__", "."): value for name, value in tensors.items()}
    new = {name: value for name, value in new.items() if value is not None}
    safetensors.torch.save_file(new, checkpoint, metadata={"rb2v": json.dumps(old_header | (header or {}))})


class TestCheckpoint:
    def test_round_trip(self, checkpoint):
        network, config = load_order_network(checkpoint)
        assert config == CONFIG
        assert not network.training
        expected = make_order_network(CONFIG.arch, 8, 0).state_dict()
        assert all(torch.equal(value, expected[name]) for name, value in network.state_dict().items())

    def test_same_weights_same_bytes(self, checkpoint, tmp_path):
        network, config = load_order_network(checkpoint)
        again = save_order_network(tmp_path / "again.safetensors", network.state_dict(), config, "0" * 64)
        assert again.read_bytes() == checkpoint.read_bytes()

    def test_missing(self, tmp_path):
        with pytest.raises(InputError, match="there is no such file"):
            load_order_network(tmp_path / "no.safetensors")

    def test_a_pickle_is_refused(self, tmp_path):
        path = tmp_path / "checkpoint.safetensors"
        torch.save({"normal": torch.zeros(8)}, path)
        with pytest.raises(InputError, match="no safetensors file"):
            load_order_network(path)

    def test_cut_short(self, checkpoint):
        checkpoint.write_bytes(checkpoint.read_bytes()[:-100])
        with pytest.raises(InputError, match="cut short"):
            load_order_network(checkpoint)

    def test_foreign_safetensors(self, tmp_path):
        path = tmp_path / "other.safetensors"
        safetensors.torch.save_file({"weight": torch.zeros(3)}, path)
        with pytest.raises(InputError, match=r"other\.safetensors: rb2v: holds no rb2v header"):
            load_order_network(path)

    @pytest.mark.parametrize(
        ("header", "message"),
        [
            ({"schema": 2}, "schema: is 2"),
            ({"kind": "blur2vid"}, "kind: is 'blur2vid'"),
            ({"config": {"arch": "resnet"}}, "'resnet' is not known"),
            ({"config": None}, "config|None"),
            ({"config": {"n_dimensions": 10**12}}, "n_dimensions must be at most"),
            ({"config": {"n_dimensions": 64}}, "normal"),
            ({"config": {"n_dimensions": "many"}}, "n_dimensions"),
        ],
    )
    def test_wrong_header(self, checkpoint, header, message):
        rewrite(checkpoint, header)
        with pytest.raises(InputError, match=message):
            load_order_network(checkpoint)

    @pytest.mark.parametrize(
        ("tensors", "message"),
        [
            ({"trunk__0__weight": None}, r"trunk\.0\.weight: is missing"),
            ({"trunk__0__bias": torch.zeros(5)}, r"trunk\.0\.bias: is float32 \(5,\); expected float32 \(32,\)"),
            ({"trunk__0__bias": torch.zeros(32, dtype=torch.int64)}, r"trunk\.0\.bias: is int64"),
            ({"trunk__0__bias": torch.full((32,), torch.nan)}, "not finite"),
            ({"extra": torch.zeros(1)}, "extra: is no tensor of a 'motion' network"),
            ({"normal": None}, "normal: is missing"),
        ],
    )
    def test_wrong_tensor(self, checkpoint, tensors, message):
        rewrite(checkpoint, **tensors)
        with pytest.raises(InputError, match=message):
            load_order_network(checkpoint)


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
