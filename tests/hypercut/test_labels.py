import dataclasses
import json

import numpy as np
import pandas as pd
import pytest
import torch
from data_sets import write_samples
from textures import write_data_set

import rb2v
from rb2v.core.motion_classes import vectors_of
from rb2v.errors import InputError
from rb2v.hypercut import labels, scoring, train
from rb2v.hypercut.checkpoint import save_order_network
from rb2v.hypercut.config import TrainHyperCutConfig, recommend
from rb2v.hypercut.labels import write_labels
from rb2v.hypercut.networks import make_order_network
from rb2v.hypercut.pair_order import sequence_pairs
from rb2v.hypercut.regions import find_sides, write_regions
from rb2v.hypercut.sequences import load_sequences
from rb2v.shards import ShardReader
from rb2v.shards.exchange import export_shards
from rb2v.shards.guidance_table import GuidanceReader
from rb2v.training.data import to_float

N_TRAIN, N_TEST, SIZE = 7, 3, 36


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    folder = tmp_path_factory.mktemp("labels") / "shards"
    write_data_set(folder, N_TRAIN, N_TEST, SIZE)
    return folder


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    """A folder with the checkpoint of a network that was never trained."""
    folder = tmp_path_factory.mktemp("run")
    config = recommend("motion", n_dimensions=4, image_size=32)
    weights = make_order_network("motion", 4, 0).state_dict()
    save_order_network(folder / "checkpoint.safetensors", weights, config, "0" * 64)
    return folder


class Scripted:
    """Scores sequences, one after the other, with given numbers."""

    normal = torch.zeros(1)
    min_size_px = 16

    def __init__(self, scores):
        self.scores = list(scores)
        self.batches = []

    def score(self, first, second):
        self.batches.append(first.shape)
        given, self.scores = self.scores[: len(first)], self.scores[len(first) :]
        return torch.tensor(given)


class TestTable:
    def test_says_what_the_network_says_of_whole_frames(self, shards, tmp_path):
        network = make_order_network("motion", 4, 0)
        table = write_labels(tmp_path / "labels.csv", network, shards, 20)
        assert list(table) == [
            *("split", "take", "blurry_index", "order", "side", "margin", "consistent"),
            *("s_0", "s_1", "s_2", "data_sha256"),
        ]
        assert table["split"].tolist() == ["train"] * N_TRAIN + ["test"] * N_TEST
        for name in ("take", "blurry_index"):
            assert table[name].tolist() == ShardReader(shards).table[name].tolist()
        sequences = load_sequences(ShardReader(shards), 20)
        with torch.no_grad():
            expected = network.score(*sequence_pairs(to_float(sequences))).numpy()
        scores = table[["s_0", "s_1", "s_2"]].to_numpy()
        np.testing.assert_allclose(scores, expected, rtol=1e-4, atol=1e-6)
        written = pd.read_csv(tmp_path / "labels.csv")
        np.testing.assert_array_equal(written[["s_0", "s_1", "s_2"]].astype(np.float32), scores)
        pd.testing.assert_frame_equal(written, table, check_dtype=False)

    def test_negative_sums_are_kept_and_positive_ones_reversed(self, shards, tmp_path):
        scores = [
            *([-1.0, -2.0, -3.0], [1.0, 2.0, 3.0], [-4.0, 1.0, 1.0], [4.0, -1.0, -1.0]),
            *([1.0, -1.0, 0.0], [float("inf"), 1.0, 1.0], [0.0, -1.0, -1.0]),
        ]
        table = write_labels(tmp_path / "labels.csv", Scripted(scores), shards, 32, splits=("train",))
        assert table["order"].tolist() == [1, -1, 1, -1, 0, 0, 1]
        assert table["side"].tolist() == [-1, 1, -1, 1, 0, 0, -1]
        assert table["margin"].tolist() == [6, 6, 2, 2, 0, 0, 2]
        assert table["consistent"].tolist() == [1, 1, 0, 0, 0, 0, 0]

    def test_a_few_sequences_are_in_memory_at_a_time(self, shards, tmp_path, monkeypatch):
        monkeypatch.setattr(scoring, "MAX_BATCH_PIXELS", 3 * 32 * 32 * 3 + 5)
        network = Scripted([[0.0] * 3] * (N_TRAIN + N_TEST))
        write_labels(tmp_path / "labels.csv", network, shards, 32)
        assert [shape[0] for shape in network.batches] == [3, 3, 1, 3]
        monkeypatch.setattr(scoring, "MAX_BATCH_PIXELS", 1)
        network = Scripted([[0.0] * 3] * (N_TRAIN + N_TEST))
        write_labels(tmp_path / "labels.csv", network, shards, 32)
        assert [shape[0] for shape in network.batches] == [1] * (N_TRAIN + N_TEST)

    def test_progress_ends_with_every_split(self, shards, tmp_path):
        calls = []
        network = Scripted([[1.0] * 3] * (N_TRAIN + N_TEST))
        write_labels(tmp_path / "labels.csv", network, shards, 32, progress=lambda *call: calls.append(call))
        assert (N_TRAIN, N_TRAIN, "labeling train sequences") in calls
        assert calls[-1] == (N_TEST, N_TEST, "labeling test sequences")

    def test_same_bytes_again(self, shards, tmp_path):
        path, network = tmp_path / "labels.csv", make_order_network("antisymmetric", 4, 0)
        write_labels(path, network, shards, 32)
        before = path.read_bytes()
        write_labels(path, network, shards, 32)
        assert path.read_bytes() == before

    def test_a_split_without_a_sequence(self, tmp_path):
        write_data_set(tmp_path / "shards", 2, 0, 24)
        table = write_labels(tmp_path / "labels.csv", make_order_network("motion", 4, 0), tmp_path / "shards", 20)
        assert len(table) == len(pd.read_csv(tmp_path / "labels.csv")) == 2

    def test_what_fails_on_the_way_leaves_nothing(self, shards, tmp_path):
        with pytest.raises(ValueError, match="shape"):
            write_labels(tmp_path / "labels.csv", Scripted([[1.0] * 3] * N_TRAIN), shards, 32)
        assert list(tmp_path.iterdir()) == []


class TestRefusals:
    @pytest.mark.parametrize("content", ["", "step,lr,loss\n1,2,3\n", "split,take,blurry_index,order,margin\n"])
    def test_a_file_that_is_no_table_of_labels_stays(self, shards, tmp_path, content):
        (tmp_path / "metrics.csv").write_text(content)
        with pytest.raises(InputError, match=r"metrics\.csv: is there already and holds no labels"):
            write_labels(tmp_path / "metrics.csv", Scripted([]), shards, 32)
        assert (tmp_path / "metrics.csv").read_text() == content

    def test_a_folder(self, shards, tmp_path):
        with pytest.raises(InputError, match="is a folder"):
            write_labels(tmp_path, Scripted([]), shards, 32)

    def test_frames_smaller_than_the_network_takes(self, tiny_shards, tmp_path):
        network = make_order_network("upstream", 4, 0)
        with pytest.raises(InputError, match="output_size: frames are 24x24; expected at least 33 pixels a side"):
            write_labels(tmp_path / "labels.csv", network, tiny_shards, 448)
        assert not (tmp_path / "labels.csv").exists()

    def test_frames_that_are_shown_smaller_than_the_network_takes(self, shards, tmp_path):
        with pytest.raises(InputError, match="image_size: is 32; expected at least 33 pixels a side for this network"):
            write_labels(tmp_path / "labels.csv", make_order_network("paper", 4, 0), shards, 32)


@pytest.fixture
def call(rb2v):
    """Runs the program; returns its exit status and all that it printed."""

    def run_program(*arguments):
        done = rb2v(*arguments, columns=80)
        return done.status, done.output

    return run_program


class TestCommand:
    def test_labels_by_a_run_or_its_checkpoint(self, call, shards, run_folder, tmp_path):
        by_run, by_file = tmp_path / "a.csv", tmp_path / "b.csv"
        status, output = call("label-order", "--shards", shards, "--run", run_folder, "--out", by_run)
        assert status == 0, output
        table = pd.read_csv(by_run)
        train = table[table["split"] == "train"]
        share = f"{100 * train['consistent'].mean():.1f} % consistent"
        counts = f"{(train['order'] == 1).sum()} keep, {(train['order'] == -1).sum()} reverse"
        assert f"train: {N_TRAIN} sequences, {share}, {counts}" in output
        assert f"test: {N_TEST} sequences" in output
        checkpoint = run_folder / "checkpoint.safetensors"
        assert call("label-order", "--shards", shards, "--run", checkpoint, "--out", by_file)[0] == 0
        assert by_file.read_bytes() == by_run.read_bytes()

    def test_labels_of_a_run_are_those_that_training_wrote(self, call, tiny_shards, tiny_config, tmp_path):
        train.run(tiny_shards, tmp_path / "run", tiny_config, device="cpu")
        out = tmp_path / "labels.csv"
        arguments = ("--shards", tiny_shards, "--run", tmp_path / "run", "--out", out, "--device", "cpu")
        status, output = call("label-order", *arguments)
        assert status == 0, output
        assert out.read_bytes() == (tmp_path / "run" / "order_labels.csv").read_bytes()

    def test_labels_by_the_weights_that_the_authors_released(self, call, shards, tmp_path):
        network = make_order_network("upstream", 16, 0)
        torch.save(network.state_dict(), tmp_path / "street.pth")
        out = tmp_path / "labels.csv"
        arguments = ("--shards", shards, "--run", tmp_path / "street.pth", "--split", "test", "--out", out)
        status, output = call("label-order", *arguments)
        assert status == 0, output
        assert "train" not in output
        table = pd.read_csv(out)
        assert table["split"].tolist() == ["test"] * N_TEST
        first, second = sequence_pairs(to_float(load_sequences(ShardReader(shards, "test"), SIZE)))
        with torch.no_grad():
            np.testing.assert_allclose(table["s_1"], network.score(first[:, 1], second[:, 1]), rtol=1e-4)

    def test_mistakes_end_in_one_message(self, call, shards, run_folder, tmp_path):
        cases = [
            (("--shards", shards, "--run", tmp_path), "checkpoint.safetensors: there is no such file"),
            (("--shards", tmp_path, "--run", run_folder), "manifest.json"),
            (("--shards", shards, "--run", run_folder, "--split", "val"), "val"),
        ]
        for arguments, message in cases:
            status, output = call("label-order", *arguments, "--out", tmp_path / "labels.csv")
            assert status == 2
            assert message in output
            assert "Traceback" not in output
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("only_consistent", [False, True])
    def test_labels_go_on_to_the_layout_of_the_authors(self, call, shards, run_folder, tmp_path, only_consistent):
        out = tmp_path / "labels.csv"
        assert call("label-order", "--shards", shards, "--run", run_folder, "--out", out)[0] == 0
        table = pd.read_csv(out)
        table.loc[1, "consistent"], table.loc[2, ["order", "consistent"]] = 0, 0
        table.loc[[3, 4], "consistent"], table.loc[3, "order"], table.loc[4, "order"] = 1, 1, -1
        table.to_csv(out, index=False)
        options = ["--only-consistent"] if only_consistent else []
        arguments = ("--out", tmp_path / "Street", "--format", "hypercut", "--workers", 1, "--labels", out, *options)
        status, output = call("export", shards, *arguments)
        assert status == 0, output
        metadata = json.loads((tmp_path / "Street" / "metadata.json").read_text())
        orders = [entry["order"] for entry in metadata["data"]]
        names = {1: "keep", -1: "reverse", 0: "ignore"}
        kept = table["consistent"] if only_consistent else 1
        assert orders == [names[order] for order in table["order"] * kept]
        assert orders[2:5] == ["ignore", "keep", "reverse"]
        assert (orders[1] == "ignore") == only_consistent

    def test_an_export_of_other_labels_is_not_gone_on_with(self, call, shards, run_folder, tmp_path):
        out = tmp_path / "labels.csv"
        assert call("label-order", "--shards", shards, "--run", run_folder, "--out", out)[0] == 0
        arguments = (
            "export",
            shards,
            "--out",
            tmp_path / "out",
            "--format",
            "hypercut",
            "--workers",
            1,
            "--labels",
            out,
        )
        assert call(*arguments)[0] == 0
        status, output = call(*arguments, "--only-consistent")
        assert status == 2
        assert "only_consistent" in output

    def test_only_consistent_needs_labels(self, call, shards, tmp_path):
        status, output = call("export", shards, "--out", tmp_path / "out", "--format", "hypercut", "--only-consistent")
        assert status == 2
        assert "labels: is missing" in output
        assert not (tmp_path / "out").exists()


class TestDataSet:
    @pytest.fixture
    def table(self, shards):
        """Labels of the data set; margins and consistency differ."""
        rows = ShardReader(shards).table[["take", "blurry_index"]].copy()
        rows.insert(0, "split", ["train"] * N_TRAIN + ["test"] * N_TEST)
        rows["order"] = [1, -1, 1, -1, 0, 1, -1, 1, 1, -1]
        rows["margin"] = [0.5, 1.5, 0.5, 2.5, 0.0, 1.0, 3.0, 0.1, 0.2, 5.0]
        rows["consistent"] = [1, 1, 0, 0, 1, 1, 1, 1, 1, 0]
        return rows

    @pytest.fixture
    def path(self, table, tmp_path):
        table.sample(frac=1, random_state=0).to_csv(tmp_path / "labels.csv", index=False)
        return tmp_path / "labels.csv"

    def test_has_the_orders_of_the_table(self, shards, table, path):
        dataset = rb2v.ShardDataset(shards, labels=path)
        assert dataset.orders.tolist() == table["order"].tolist()
        assert [int(sample["order"]) for sample in dataset] == table["order"].tolist()
        test = rb2v.ShardDataset(shards, "test", labels=str(path))
        assert test.orders.tolist() == [1, 1, -1]
        loader = rb2v.make_loader(test, 3, workers=0)
        batch = next(iter(loader))
        assert batch["order"].tolist() == test.orders[batch["index"]].tolist()

    def test_what_is_not_sure_has_no_order_and_stays(self, shards, path):
        orders = rb2v.ShardDataset(shards, "train", labels=path, min_margin=1.0).orders
        assert orders.tolist() == [0, -1, 0, -1, 0, 1, -1]
        orders = rb2v.ShardDataset(shards, "train", labels=path, only_consistent=True).orders
        assert orders.tolist() == [1, -1, 0, 0, 0, 1, -1]
        both = rb2v.ShardDataset(shards, "train", labels=path, only_consistent=True, min_margin=1.25)
        assert both.orders.tolist() == [0, -1, 0, 0, 0, 0, -1]
        assert len(both) == N_TRAIN

    def test_reads_what_label_order_wrote(self, shards, run_folder, tmp_path):
        table = labels.run(shards, run_folder, tmp_path / "labels.csv", device="cpu")
        assert set(table["order"]) <= {-1, 1}
        dataset = rb2v.ShardDataset(shards, labels=tmp_path / "labels.csv", min_margin=table["margin"].median())
        expected = table["order"].where(table["margin"] >= table["margin"].median(), 0)
        # The file rounds margins to nine digits, which tells all 32-bit numbers apart.
        assert (dataset.orders == expected).mean() >= 0.9
        assert (rb2v.ShardDataset(shards, labels=tmp_path / "labels.csv").orders == table["order"]).all()

    def test_a_table_without_splits_may_be_of_more(self, shards, table, tmp_path):
        table.drop(columns="split").to_csv(tmp_path / "labels.csv", index=False)
        assert rb2v.ShardDataset(shards, "test", labels=tmp_path / "labels.csv").orders.tolist() == [1, 1, -1]

    @pytest.mark.parametrize(
        ("change", "options", "message"),
        [
            (
                lambda t: t[1:],
                {},
                "frame 0 of take 'train-take[^']*' of the train split has no label; expected labels of this data set",
            ),
            (
                lambda t: pd.concat([t, t[:1]]),
                {},
                "line 12: frame 0 of take 'train-take[^']*' of the train split has a label already",
            ),
            (
                lambda t: pd.concat([t, t[:1].assign(take="x")]),
                {},
                "frame 0 of take 'x' of the train split is not a sample; expected labels of",
            ),
            (
                lambda t: t.assign(take="other-" + t["take"]),
                {},
                "frame 0 of take 'train-take[^']*' of the train split has no label",
            ),
            (lambda t: t.assign(order=2), {}, "order: line 2: '2' is not an order; expected 1, -1 or 0"),
            (lambda t: t.assign(order=1.0), {}, "order: line 2: '1.0' is not an order"),
            (lambda t: t.assign(split="val"), {}, "split: line 2: 'val' is not a split; expected train or test"),
            (
                lambda t: t.drop(columns="take"),
                {},
                "take: column is missing; expected the table that 'rb2v label-order'",
            ),
            (lambda t: t.drop(columns="margin"), {"min_margin": 1}, "margin: column is missing"),
            (lambda t: t.assign(margin="wide"), {"min_margin": 1}, "margin: line 2: 'wide' is no margin"),
            (lambda t: t.assign(margin="nan"), {"min_margin": 1}, "margin: line 2: 'nan' is no margin"),
            (lambda t: t.assign(margin=-1), {"min_margin": 1}, "margin: line 2: '-1' is no margin"),
            (lambda t: t.drop(columns="consistent"), {"only_consistent": True}, "consistent: column is missing"),
            (
                lambda t: t.assign(consistent=2),
                {"only_consistent": True},
                "consistent: line 2: is '2'; expected 1 or 0",
            ),
            (lambda t: t, {"min_margin": -1}, "min_margin: is -1; expected 0 or more"),
            (lambda t: t, {"min_margin": float("nan")}, "min_margin: is nan"),
        ],
    )
    def test_wrong_labels_are_named(self, shards, table, tmp_path, change, options, message):
        change(table).to_csv(tmp_path / "labels.csv", index=False)
        with pytest.raises(InputError, match=message):
            rb2v.ShardDataset(shards, labels=tmp_path / "labels.csv", **options)

    def test_labels_of_too_much_for_a_split_are_named(self, shards, table, tmp_path):
        pd.concat([table, table[-1:].assign(blurry_index=9)]).to_csv(tmp_path / "labels.csv", index=False)
        rb2v.ShardDataset(shards, "train", labels=tmp_path / "labels.csv")
        with pytest.raises(InputError, match=r"frame 9 of take 'test-take[^']*' of the test split is not a sample"):
            rb2v.ShardDataset(shards, "test", labels=tmp_path / "labels.csv")

    def test_a_missing_table(self, shards, tmp_path):
        with pytest.raises(InputError, match=r"no\.csv: there is no such file"):
            rb2v.ShardDataset(shards, labels=tmp_path / "no.csv")

    @pytest.mark.parametrize("options", [{"min_margin": 0.5}, {"only_consistent": True}])
    def test_options_that_ask_a_table_need_one(self, shards, options):
        with pytest.raises(InputError, match="labels: is missing; expected the table that"):
            rb2v.ShardDataset(shards, **options)


class TestWhoseLabels:
    def test_those_of_a_data_set_with_the_same_takes_are_refused(self, shards, run_folder, tmp_path):
        write_data_set(tmp_path / "other", N_TRAIN, N_TEST, SIZE, seed=1)
        labels.run(tmp_path / "other", run_folder, tmp_path / "labels.csv", device="cpu")
        assert len(rb2v.ShardDataset(tmp_path / "other", labels=tmp_path / "labels.csv")) == N_TRAIN + N_TEST
        message = r"labels\.csv: data_sha256: line 2: is of another data set; expected labels of this data set"
        with pytest.raises(InputError, match=message):
            rb2v.ShardDataset(shards, "test", labels=tmp_path / "labels.csv")
        with pytest.raises(InputError, match=message):
            export_shards(shards, tmp_path / "out", "hypercut", labels=tmp_path / "labels.csv")
        assert not (tmp_path / "out").exists()

    def test_tables_that_do_not_say_whose_they_are_go_by_the_names(self, shards, run_folder, tmp_path):
        write_data_set(tmp_path / "other", N_TRAIN, N_TEST, SIZE, seed=1)
        table = labels.run(tmp_path / "other", run_folder, tmp_path / "labels.csv", device="cpu")
        table.drop(columns="data_sha256").to_csv(tmp_path / "labels.csv", index=False)
        assert (rb2v.ShardDataset(shards, labels=tmp_path / "labels.csv").orders == table["order"]).all()

    @pytest.fixture
    def one_take(self, tmp_path):
        """Two samples of each split, of takes that have the same name."""
        write_data_set(tmp_path / "parts", 2, 2, 24)
        folder, splits = tmp_path / "shards", {}
        for split in ("train", "test"):
            reader = ShardReader(tmp_path / "parts", split)
            samples = [dataclasses.replace(reader.read(index), take="take") for index in range(2)]
            splits[split] = [samples]
        write_samples(folder, splits, (24, 24))
        return folder

    def test_a_take_may_stand_in_both_splits(self, one_take, tmp_path):
        network = Scripted([[-1.0] * 3, [1.0] * 3, [1.0] * 3, [-1.0] * 3])
        table = write_labels(tmp_path / "labels.csv", network, one_take, 24)
        assert table["order"].tolist() == [1, -1, -1, 1]
        for split, expected in ((None, [1, -1, -1, 1]), ("train", [1, -1]), ("test", [-1, 1])):
            assert rb2v.ShardDataset(one_take, split, labels=tmp_path / "labels.csv").orders.tolist() == expected
        table[:3].to_csv(tmp_path / "labels.csv", index=False)
        with pytest.raises(InputError, match="frame 1 of take 'take' of the test split has no label"):
            rb2v.ShardDataset(one_take, labels=tmp_path / "labels.csv")
        table[:2].drop(columns="split").to_csv(tmp_path / "labels.csv", index=False)
        with pytest.raises(InputError, match="split: column is missing, and the splits share a take"):
            rb2v.ShardDataset(one_take, labels=tmp_path / "labels.csv")


class TestRegions:
    """The order of every region, by a network that scores every value."""

    def test_each_has_its_own(self):
        network = make_order_network("signs", 4, 0).requires_grad_(False)
        network.ending.weight.zero_()
        network.ending.bias.fill_(3.0)  # canonical where the second frame is brighter
        sequences = torch.zeros(1, 5, 3, 40, 40)
        sequences[:, 3:, :, :16] = 0.4
        sequences[:, :2, :, 24:] = 0.4
        sides = find_sides(network, sequences)[0]
        assert (sides[:12] == 1).all()
        assert (sides[28:] == -1).all()
        assert not find_sides(network, torch.zeros(1, 5, 3, 40, 40)).any()

    def test_a_table_turns_what_runs_backward(self, tmp_path):
        write_data_set(tmp_path / "shards", 3, 2, 32)
        network = make_order_network("signs", 4, 0).requires_grad_(False)
        network.ending.bias.fill_(3.0)
        config = TrainHyperCutConfig(arch="signs", loss="likelihood", n_dimensions=4, image_size=32)
        save_order_network(tmp_path / "signs.safetensors", network.state_dict(), config, "0" * 64)
        path = write_regions(tmp_path / "regions.h5", tmp_path / "signs.safetensors", tmp_path / "shards", device="cpu")
        reader = ShardReader(tmp_path / "shards", "test")
        table = GuidanceReader(path, reader)
        assert table.source.method == "order"
        frames = torch.from_numpy(reader.read_sharp(1)).permute(0, 3, 1, 2)[None].float() / 255
        expected = find_sides(network, frames)[0].numpy()
        found = vectors_of(table.fit(table.read(1), (32, 32)))[..., 0]
        assert np.mean(found == expected) > 0.9  # the table has half the size

    def test_another_network_is_refused(self, tmp_path):
        write_data_set(tmp_path / "shards", 2, 0, 32)
        config = TrainHyperCutConfig(n_dimensions=4, image_size=32)
        weights = make_order_network("motion", 4, 0).state_dict()
        save_order_network(tmp_path / "motion.safetensors", weights, config, "0" * 64)
        with pytest.raises(InputError) as caught:
            write_regions(tmp_path / "regions.h5", tmp_path / "motion.safetensors", tmp_path / "shards", device="cpu")
        assert caught.value.source == str(tmp_path / "motion.safetensors")
