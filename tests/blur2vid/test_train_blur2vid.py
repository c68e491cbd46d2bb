import json
import shutil

import numpy as np
import pandas as pd
import pytest
import torch
from textures import write_data_set

from rb2v.blur2vid import train
from rb2v.blur2vid.backbones import BACKBONES, make_backbone
from rb2v.blur2vid.checkpoint import load_backbone
from rb2v.blur2vid.config import TrainBlur2VidConfig
from rb2v.blur2vid.guidance import Regularizer
from rb2v.blur2vid.losses import naive
from rb2v.errors import ConfigMismatchError, InputError
from rb2v.hypercut.checkpoint import load_order_network
from rb2v.hypercut.pair_order import sequence_pairs
from rb2v.hypercut.sequences import load_sequences
from rb2v.io.store import validate
from rb2v.lpips import Lpips
from rb2v.shards import ShardReader
from rb2v.stages import guidance
from rb2v.training.data import to_float


def config(**chosen):
    small = {"crop_size": 20, "batch_size": 2, "steps": 4, "warmup_steps": 1, "checkpoint_every": 2, "log_every": 1}
    return TrainBlur2VidConfig(**{**small, **chosen})


def contents(folder):
    names = ("checkpoint.safetensors", "metrics.csv", "metrics.json", "samples.csv", "config.json")
    return {name: (folder / name).read_bytes() for name in names}


@pytest.fixture(scope="session")
def order_run(tiny_shards, tmp_path_factory):
    from rb2v.hypercut.config import TrainHyperCutConfig
    from rb2v.hypercut.train import run

    folder = tmp_path_factory.mktemp("order") / "run"
    run(tiny_shards, folder, TrainHyperCutConfig(n_dimensions=8, image_size=20, batch_size=4, steps=2), device="cpu")
    return folder


@pytest.fixture(scope="module")
def few_shards(tmp_path_factory):
    """As few sequences as can be trained on and scored."""
    folder = tmp_path_factory.mktemp("few") / "shards"
    write_data_set(folder, 2, 1, 24)
    return folder


@pytest.fixture(scope="module")
def finished(tiny_shards, tmp_path_factory):
    """A finished run, to be read only."""
    folder = tmp_path_factory.mktemp("finished") / "run"
    assert train.run(tiny_shards, folder, config(), device="cpu") == folder / "checkpoint.safetensors"
    return folder


class TestRun:
    def test_what_it_writes(self, finished):
        trained = load_backbone(finished / "checkpoint.safetensors")
        assert trained.config == config()
        metrics = json.loads((finished / "metrics.json").read_text())
        assert (metrics["train_sequences"], metrics["test_sequences"]) == (10, 6)
        assert list(metrics["test"]) == ["network", "blurry", "mean_frame"]
        assert len(pd.read_csv(finished / "samples.csv")) == 18
        assert pd.read_csv(finished / "metrics.csv")["step"].tolist() == [1, 2, 3, 4]

    def test_a_stopped_run_ends_in_the_same_bytes(self, tiny_shards, tmp_path):
        train.run(tiny_shards, tmp_path / "whole", config(steps=9), device="cpu")

        class Stopped(Exception):
            pass

        def stop(done, total, label):
            if label == "training" and done == 7:
                raise Stopped

        with pytest.raises(Stopped):
            train.run(tiny_shards, tmp_path / "halves", config(steps=9), device="cpu", progress=stop)
        assert (tmp_path / "halves" / "state.pt").exists()
        train.run(tiny_shards, tmp_path / "halves", config(steps=9), device="cpu")
        assert contents(tmp_path / "halves") == contents(tmp_path / "whole")

    def test_readers_change_no_number(self, tiny_shards, finished, tmp_path):
        train.run(tiny_shards, tmp_path / "there", config(), device="cpu", workers=1)
        assert contents(finished) == contents(tmp_path / "there")

    def test_a_finished_run_is_left_as_it_is(self, tiny_shards, finished):
        before = contents(finished)
        train.run(tiny_shards, finished, config(), device="cpu", progress=lambda *_: pytest.fail("it ran"))
        assert contents(finished) == before

    def test_another_configuration_is_refused(self, tiny_shards, finished):
        with pytest.raises(ConfigMismatchError, match="loss"):
            train.run(tiny_shards, finished, config(loss="naive"), device="cpu")

    def test_batches_that_are_not_finite_are_skipped(self, tiny_shards, tmp_path):
        train.run(tiny_shards, tmp_path / "run", config(lr=1e30, ema_decay=0.0), device="cpu")
        table = pd.read_csv(tmp_path / "run" / "metrics.csv")
        assert table["skipped"].iloc[-1] >= 1
        weights = load_backbone(tmp_path / "run").network.state_dict()
        assert all(torch.isfinite(weight).all() for weight in weights.values())

    def test_frames_smaller_than_the_crop_are_refused(self, tiny_shards, tmp_path):
        with pytest.raises(InputError, match="crop_size: is 32; expected at most 24"):
            train.run(tiny_shards, tmp_path / "run", config(crop_size=32), device="cpu")

    def test_what_cannot_be_scored_is_not_trained(self, tiny_shards, tmp_path, monkeypatch):
        with pytest.raises(InputError, match="image_size: is 10; expected at least 11 pixels a side"):
            train.run(tiny_shards, tmp_path / "run", config(image_size=10, crop_size=8), device="cpu")
        monkeypatch.setenv("RB2V_CACHE", str(tmp_path / "cache"))
        with pytest.raises(InputError, match="rb2v models fetch lpips"):
            train.run(tiny_shards, tmp_path / "run", config(), lpips=True, device="cpu")
        assert not (tmp_path / "run").exists()

    def test_lpips_is_measured_of_a_finished_run(self, tmp_path, monkeypatch):
        write_data_set(tmp_path / "shards", 2, 2, 32)
        monkeypatch.setattr("rb2v.lpips.load_lpips", Lpips)
        train.run(tmp_path / "shards", tmp_path / "run", config(steps=1), device="cpu")
        weights = (tmp_path / "run" / "checkpoint.safetensors").read_bytes()
        for _ in range(2):
            train.run(tmp_path / "shards", tmp_path / "run", config(steps=1), lpips=True, device="cpu")
        assert "plpips_seq" in json.loads((tmp_path / "run" / "metrics.json").read_text())["test"]["network"]
        assert (tmp_path / "run" / "checkpoint.safetensors").read_bytes() == weights

    def test_sequences_of_another_length(self, tmp_path):
        write_data_set(tmp_path / "shards", 2, 0, 24, n_frames=5)
        checkpoint = train.run(tmp_path / "shards", tmp_path / "run", config(steps=1), device="cpu")
        assert load_backbone(checkpoint).n_frames == 5
        assert json.loads((tmp_path / "run" / "metrics.json").read_text())["test"] is None
        write_data_set(tmp_path / "even", 2, 0, 24, n_frames=4)
        with pytest.raises(InputError, match="frames_per_sequence: is 4; expected an odd number, 3 to 101"):
            train.run(tmp_path / "even", tmp_path / "none", config(steps=1), device="cpu")

    def test_shrunk_frames(self, tiny_shards, tmp_path):
        small = config(image_size=12, crop_size=8)
        dataset = train.make_dataset(tiny_shards, small, tmp_path / "none")
        assert dataset[0]["sharp"].shape == (7, 3, 8, 8)
        whole = train.make_dataset(tiny_shards, config(image_size=12, crop_size=None), tmp_path / "none")
        assert whole[0]["sharp"].shape == (7, 3, 12, 12)


TERMS = (
    ("naive", "none"),
    ("naive", "softplus"),
    ("order_invariant", "none"),
    ("order_invariant", "softplus"),
    ("order_invariant", "linear"),
    ("label", "none"),
    ("best_direction", "none"),
)
PLAIN, WITH_AUTOENCODER = "unet", "purohit"  # the two ways in which a step trains a backbone


@pytest.mark.parametrize(
    ("backbone", "loss", "regularizer"),
    [
        *((backbone, *terms) for backbone in (PLAIN, WITH_AUTOENCODER) for terms in TERMS),
        *(
            (backbone, "order_invariant", "softplus")
            for backbone in BACKBONES
            if backbone not in (PLAIN, WITH_AUTOENCODER)
        ),
    ],
)
def test_every_backbone_and_every_loss(few_shards, order_run, tmp_path, backbone, loss, regularizer):
    network = make_backbone(backbone, 7, 0)
    chosen = config(
        backbone=backbone,
        loss=loss,
        regularizer=regularizer,
        steps=2,
        batch_size=1,
        pretrain_steps=int(network.has_autoencoder),
    )
    needed = order_run if chosen.needs_order else None
    checkpoint = train.run(few_shards, tmp_path / "run", chosen, order_run=needed, device="cpu")
    trained = load_backbone(checkpoint)
    assert any(
        not torch.equal(one, other)
        for one, other in zip(network.parameters(), trained.network.parameters(), strict=True)
    )
    blurry = torch.rand(1, 3, 37, 51)
    inputs = (blurry, blurry) if trained.network.takes_center else (blurry,)
    with torch.inference_mode():
        torch.testing.assert_close(trained.network(*inputs), load_backbone(checkpoint).network(*inputs))


class TestOrder:
    def test_label_turns_sequences(self, tiny_shards, order_run, tmp_path):
        train.run(tiny_shards, tmp_path / "run", config(loss="label"), order_run=order_run, device="cpu")
        labels = pd.read_csv(tmp_path / "run" / "order_labels.csv")
        dataset = train.make_dataset(tiny_shards, config(loss="label"), tmp_path / "run" / "order_labels.csv")
        np.testing.assert_array_equal(dataset.orders, labels["order"])
        assert set(labels["split"]) == {"train"}

    @pytest.mark.parametrize("chosen", [{"loss": "label"}, {"regularizer": "softplus"}])
    def test_a_missing_order_run_is_named(self, tiny_shards, tmp_path, chosen):
        with pytest.raises(InputError, match="order_run: is missing"):
            train.run(tiny_shards, tmp_path / "run", config(**chosen), device="cpu")
        assert not (tmp_path / "run").exists()

    def test_an_order_run_that_nothing_uses_is_refused(self, tiny_shards, order_run, tmp_path):
        with pytest.raises(InputError, match="neither the loss nor the regularizer"):
            train.run(tiny_shards, tmp_path / "run", config(), order_run=order_run, device="cpu")

    def test_another_order_run_needs_another_folder(self, tiny_shards, order_run, tmp_path):
        train.run(tiny_shards, tmp_path / "run", config(loss="label"), order_run=order_run, device="cpu")
        other = tmp_path / "other"
        shutil.copytree(order_run, other)
        with (other / "checkpoint.safetensors").open("ab") as file:
            file.write(b" ")
        with pytest.raises(ConfigMismatchError, match="order_sha256"):
            train.run(tiny_shards, tmp_path / "run", config(loss="label"), order_run=other, device="cpu")

    def test_frames_too_small_for_the_order_network_are_refused(self, order_run, tmp_path):
        write_data_set(tmp_path / "shards", 2, 0, 12)
        chosen = config(crop_size=8, regularizer="softplus")
        with pytest.raises(InputError, match="output_size: frames are 12x12; expected at least 16 pixels a side"):
            train.run(tmp_path / "shards", tmp_path / "run", chosen, order_run=order_run, device="cpu")


class TestRegionLabel:
    def test_a_table_turns_the_regions(self, few_shards, tmp_path):
        table = tmp_path / "guidance.h5"
        guidance.run(few_shards, table)
        chosen = config(loss="region_label", steps=2)
        checkpoint = train.run(few_shards, tmp_path / "run", chosen, guidance=table, device="cpu")
        assert load_backbone(checkpoint).config == chosen
        assert not json.loads((tmp_path / "run" / "metrics.json").read_text())["true_guidance"]

    def test_it_needs_a_table_and_a_backbone_that_is_not_guided(self, few_shards, tmp_path):
        for chosen, key in (({}, "guidance"), ({"backbone": "zhong_small"}, "loss")):
            with pytest.raises(InputError) as caught:
                train.run(few_shards, tmp_path / "run", config(loss="region_label", **chosen), device="cpu")
            assert caught.value.key == key
        assert not (tmp_path / "run").exists()


class TestWindows:
    def test_windows_are_another_loss(self, few_shards, tmp_path):
        weights = []
        for windows in ({}, {"window_px": 8}, {"window_px": 8, "shared_windows": False}):
            chosen = config(loss="order_invariant", steps=2, ema_decay=0.0, **windows)
            checkpoint = train.run(few_shards, tmp_path / str(len(weights)), chosen, device="cpu")
            weights.append(load_backbone(checkpoint).network.ending.weight)
        assert not torch.equal(weights[0], weights[1])
        assert not torch.equal(weights[1], weights[2])

    def test_a_checkpoint_from_before_there_were_windows_is_of_equation_3(self, tmp_path):
        old = {"loss": "order_invariant", "steps": 5, "backbone": "unet", "augment": False}
        found = validate(TrainBlur2VidConfig, old, tmp_path)
        assert (found.window_px, found.shared_windows) == (1, True)


class TestConfig:
    @pytest.mark.parametrize(
        "chosen",
        [
            {"backbone": "vgg"},
            {"loss": "l2"},
            {"regularizer": "hinge"},
            {"steps": 0},
            {"crop_size": 0},
            {"alpha": float("nan")},
            {"ema_decay": 1.0},
            {"lr": 0.0},
            {"window_px": 0},
            {"window_px": 9},
            {"pretrain_steps": 5, "steps": 5},
        ],
    )
    def test_what_is_out_of_range_is_refused(self, chosen):
        with pytest.raises(InputError) as caught:
            TrainBlur2VidConfig(**chosen)
        assert caught.value.key.partition(".")[0] == next(iter(chosen))


class TestRegularizer:
    def test_units_are_those_of_the_training_sequences(self, tiny_shards, order_run):
        reader = ShardReader(tiny_shards, "train")
        penalty = Regularizer(order_run, reader, "linear", torch.device("cpu"))
        network, trained_with = load_order_network(order_run)
        sequences = to_float(load_sequences(reader, trained_with.image_size))
        scores = network.score(*sequence_pairs(sequences)).detach()
        assert penalty.score_scale == pytest.approx(float(scores.square().mean().sqrt()), rel=1e-5)
        assert penalty.distance_scale == pytest.approx(float(naive(sequences, sequences.flip(1)).mean()), rel=1e-5)
        expected = penalty.distance_scale * scores.mean(dim=1) / penalty.score_scale
        torch.testing.assert_close(penalty(sequences, sequences).detach(), expected)
        torch.testing.assert_close(penalty(sequences.flip(1), sequences).detach(), -expected)

    def test_signs_need_the_network_that_expects_them(self, tiny_shards, order_run):
        with pytest.raises(InputError) as caught:
            Regularizer(order_run, ShardReader(tiny_shards, "train"), "signs", torch.device("cpu"))
        assert caught.value.source == str(order_run)
