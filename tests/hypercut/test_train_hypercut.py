import dataclasses
import errno
import json
import shutil
import time

import cv2
import pandas as pd
import pytest
import torch
from tensorboardX.proto.event_pb2 import Event
from textures import write_data_set

from rb2v.benchmark.session import order_section
from rb2v.errors import ConfigMismatchError, InputError, Rb2vError
from rb2v.hypercut.augmentation import draw_batch
from rb2v.hypercut.checkpoint import load_order_network
from rb2v.hypercut.config import TrainHyperCutConfig, recommend
from rb2v.hypercut.losses import LOSSES, likelihood
from rb2v.hypercut.networks import ORDER_NETWORKS, make_order_network
from rb2v.hypercut.sequences import load_sequences
from rb2v.hypercut.train import run
from rb2v.shards import ShardReader
from rb2v.training.windows import Windows

SCORED = [arch for arch in ORDER_NETWORKS if arch != "signs"]  # which has a likelihood of its own
OUTPUTS = [
    "checkpoint.safetensors",
    "config.json",
    "metrics.csv",
    "metrics.json",
    "order_labels.csv",
    "predictions.csv",
    "samples.png",
]
"""What a run leaves, but for the files of TensorBoard: those hold the time."""


class StoppedError(Exception):
    pass


def stop_at(step):
    def progress(done, total, what):
        if what == "training" and done == step:
            raise StoppedError

    return progress


@pytest.fixture(scope="module")
def uninterrupted(tiny_shards, tiny_config, tmp_path_factory):
    folder = tmp_path_factory.mktemp("uninterrupted") / "run"
    assert run(tiny_shards, folder, tiny_config, device="cpu") == folder / "checkpoint.safetensors"
    return folder


@pytest.fixture(scope="module")
def unfinished(tiny_shards, tiny_config, tmp_path_factory):
    """A run that was stopped after its 11th step; its state is that of the 10th."""
    folder = tmp_path_factory.mktemp("unfinished") / "run"
    with pytest.raises(StoppedError):
        run(tiny_shards, folder, tiny_config, device="cpu", progress=stop_at(11))
    return folder


@pytest.fixture
def stopped(unfinished, tmp_path):
    """A copy of the stopped run, to be changed."""
    return shutil.copytree(unfinished, tmp_path / "run")


def assert_same_files(folder, other):
    assert sorted(path.name for path in folder.iterdir()) == [*OUTPUTS, "tensorboard"]
    for name in OUTPUTS:
        assert (folder / name).read_bytes() == (other / name).read_bytes(), name


@pytest.mark.parametrize(
    ("arch", "loss"),
    [
        *((arch, recommend(arch).loss) for arch in SCORED),
        *(("antisymmetric", loss) for loss in LOSSES if loss != "likelihood"),
        ("paper", "agreement"),
    ],
)
def test_every_network_and_every_loss_learns_a_step(arch, loss, larger_shards, tiny_config, tmp_path):
    # So much that the decay counts, and whether both orders are in it.
    decayed = dataclasses.replace(tiny_config, score_decay=1000.0, image_size=40)
    config = dataclasses.replace(decayed, arch=arch, loss=loss, steps=1, warmup_steps=0)
    sequences = load_sequences(ShardReader(larger_shards, "train"), config.image_size)
    first, second = draw_batch(sequences, 4, 0, 0)
    network, loaded = load_order_network(run(larger_shards, tmp_path / "run", config, device="cpu"))
    assert loaded == config
    untrained = make_order_network(arch, config.n_dimensions, config.seed)
    assert not torch.equal(network(first, second), untrained(first, second))
    logged = pd.read_csv(tmp_path / "run" / "metrics.csv").iloc[0]
    with torch.no_grad():
        scores = untrained(first, second)
    weighted = [getattr(config, f"{name}_weight") * logged[name] for name in LOSSES[loss]]
    decay = config.score_decay * scores.square().mean().item()
    assert logged["loss"] == pytest.approx(sum(weighted) + decay, rel=1e-4)
    for name, term in LOSSES[loss].items():
        assert logged[name] == pytest.approx(term(*scores).item(), rel=1e-4)
    assert logged["hit"] == pytest.approx((scores[0].sign() * scores[1].sign() < 0).float().mean().item())
    assert logged["gradient_norm"] > 0


@pytest.mark.parametrize("window_px", [None, 8])
def test_signs_are_learned_by_their_likelihood(window_px, larger_shards, tiny_config, tmp_path):
    changes = {"image_size": 40, "steps": 1, "warmup_steps": 0, "window_px": window_px}
    config = dataclasses.replace(tiny_config, arch="signs", loss="likelihood", **changes)
    sequences = load_sequences(ShardReader(larger_shards, "train"), config.image_size)
    first, second = draw_batch(sequences, 4, 0, 0)
    trained, loaded = load_order_network(run(larger_shards, tmp_path / "run", config, device="cpu"))
    assert loaded == config
    network = make_order_network("signs", config.n_dimensions, config.seed)
    assert not torch.equal(trained(first, second), network(first, second))
    logged = pd.read_csv(tmp_path / "run" / "metrics.csv").iloc[0]
    with torch.no_grad():
        ahead, back = network.surprise(first, second)
    expected = likelihood(ahead, back, Windows(window_px).shifted(0, 0)).item()
    assert logged["loss"] == logged["likelihood"] == pytest.approx(expected, rel=1e-4)
    assert 0.5 < expected < 0.8  # log 2 where nothing is known
    assert logged["hit"] == 1


def test_a_picture_shows_what_is_trained_on(tiny_shards, tiny_config, tmp_path):
    images = []
    for name, seed in (("one", 0), ("two", 0), ("three", 1)):
        config = dataclasses.replace(tiny_config, seed=seed)
        with pytest.raises(StoppedError):
            run(tiny_shards, tmp_path / name, config, device="cpu", progress=stop_at(1))
        images.append((tmp_path / name / "samples.png").read_bytes())
    assert images[0] == images[1] != images[2]
    height, width, _ = cv2.imread(str(tmp_path / "one" / "samples.png")).shape
    assert 7 / 5 < width / height < 7 / 4  # four sequences of seven square frames, with room for text below


class TestCurves:
    def test_are_those_of_the_table(self, uninterrupted):
        (path,) = (uninterrupted / "tensorboard").iterdir()
        table = pd.read_csv(uninterrupted / "metrics.csv").drop(columns="skipped").set_index("step")
        found = pd.DataFrame(curves_in(path)).T
        pd.testing.assert_frame_equal(found, table, check_like=True, check_names=False, check_dtype=False, rtol=1e-6)

    def test_go_on_where_the_run_does(self, tiny_shards, tiny_config, tmp_path):
        with pytest.raises(StoppedError):
            run(tiny_shards, tmp_path / "run", tiny_config, device="cpu", progress=stop_at(9))
        run(tiny_shards, tmp_path / "run", tiny_config, device="cpu")
        before, after = sorted((tmp_path / "run" / "tensorboard").iterdir())
        assert list(curves_in(before)) == [3, 6, 9]
        assert list(curves_in(after)) == [6, 9, 12]
        starts = [event.step for event in events_in(after) if event.HasField("session_log")]
        assert starts == [6]  # what came after the state of step 5 counts no more

    def test_a_full_disk_ends_the_run(self, tiny_shards, tiny_config, tmp_path, monkeypatch):
        def fail(*_):
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr("tensorboardX.record_writer.RecordWriter.flush", fail)
        with pytest.raises(OSError, match="No space left"):
            run(tiny_shards, tmp_path / "run", tiny_config, device="cpu")
        monkeypatch.undo()
        run(tiny_shards, tmp_path / "run", tiny_config, device="cpu")


def events_in(path):
    """Parse a file of events: length, its checksum, the event, its checksum, again and again."""
    data, place, events = path.read_bytes(), 0, []
    while place < len(data):
        length = int.from_bytes(data[place : place + 8], "little")
        events.append(Event.FromString(data[place + 12 : place + 12 + length]))
        place += 16 + length
    return events


def curves_in(path):
    return {
        event.step: {value.tag: value.simple_value for value in event.summary.value}
        for event in events_in(path)
        if event.HasField("summary")
    }


class TestResume:
    @pytest.mark.parametrize("step", [3, 5, 12])
    def test_a_stopped_run_ends_in_the_same_bytes(self, step, tiny_shards, tiny_config, tmp_path, uninterrupted):
        with pytest.raises(StoppedError):
            run(tiny_shards, tmp_path / "run", tiny_config, device="cpu", progress=stop_at(step))
        assert (tmp_path / "run" / "state.pt").exists() == (step >= 5)
        torch.rand(3)
        run(tiny_shards, tmp_path / "run", tiny_config, device="cpu")
        assert_same_files(tmp_path / "run", uninterrupted)

    def test_so_does_one_that_had_gone_on_beyond_its_state(self, tiny_shards, tiny_config, stopped, uninterrupted):
        run(tiny_shards, stopped, tiny_config, device="cpu")
        assert_same_files(stopped, uninterrupted)

    @pytest.mark.parametrize("arch", ["upstream", "antisymmetric"])
    def test_so_does_one_of_every_other_kind(self, arch, larger_shards, tmp_path):
        config = recommend(arch, n_dimensions=4, image_size=40, batch_size=2, steps=6, checkpoint_every=2, log_every=1)
        run(larger_shards, tmp_path / "whole", config, device="cpu")
        with pytest.raises(StoppedError):
            run(larger_shards, tmp_path / "run", config, device="cpu", progress=stop_at(5))
        run(larger_shards, tmp_path / "run", config, device="cpu")
        assert_same_files(tmp_path / "run", tmp_path / "whole")

    def test_a_killed_run_ends_in_the_same_bytes(self, tiny_shards, tiny_config, tmp_path, uninterrupted, fork_server):
        code = (
            "import sys, time; from pathlib import Path; from rb2v.hypercut.train import *\n"
            f"config = {tiny_config!r}\n"
            "slow = lambda done, total, what: time.sleep(60 if (done, what) == (11, 'training') else 0)\n"
            "run(Path(sys.argv[1]), Path(sys.argv[2]), config, device='cpu', progress=slow)"
        )
        process = fork_server.start(code, tiny_shards, tmp_path / "run")
        state = tmp_path / "run" / "state.pt"
        deadline = time.monotonic() + 60
        while not state.exists() and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.05)
        process.kill_group()
        process.wait()
        assert state.exists()
        run(tiny_shards, tmp_path / "run", tiny_config, device="cpu")
        assert_same_files(tmp_path / "run", uninterrupted)

    @pytest.mark.parametrize("n_left", range(2, len(OUTPUTS)))
    def test_what_is_missing_after_training_is_made_again(
        self, n_left, tiny_shards, tiny_config, tmp_path, uninterrupted
    ):
        order = [
            "samples.png",
            "config.json",
            "metrics.csv",
            "checkpoint.safetensors",
            "predictions.csv",
            "metrics.json",
        ]
        written = order[:n_left]
        (tmp_path / "run" / "tensorboard").mkdir(parents=True)
        for name in written:
            (tmp_path / "run" / name).write_bytes((uninterrupted / name).read_bytes())
        run(tiny_shards, tmp_path / "run", tiny_config, device="cpu")
        assert_same_files(tmp_path / "run", uninterrupted)

    def test_a_finished_run_is_skipped(self, tiny_shards, tiny_config, uninterrupted):
        before = {name: (uninterrupted / name).stat().st_mtime_ns for name in OUTPUTS}
        called = []
        run(tiny_shards, uninterrupted, tiny_config, device="cpu", progress=lambda *a: called.append(a))
        assert called == []
        assert {name: (uninterrupted / name).stat().st_mtime_ns for name in OUTPUTS} == before

    def test_a_broken_state_is_named(self, tiny_shards, tiny_config, stopped):
        (stopped / "state.pt").write_bytes(b"not a state")
        with pytest.raises(InputError, match=r"state\.pt: cannot be read"):
            run(tiny_shards, stopped, tiny_config, device="cpu")


class TestRefusals:
    def test_another_config(self, tiny_shards, tiny_config, uninterrupted):
        with pytest.raises(ConfigMismatchError, match=r"lr: the folder was made with 0\.002, this run has 0\.1"):
            run(tiny_shards, uninterrupted, dataclasses.replace(tiny_config, lr=0.1), device="cpu")

    def test_another_data_set(self, tiny_config, uninterrupted, tmp_path):
        write_data_set(tmp_path / "shards", 4, 2, 24, seed=9)
        with pytest.raises(ConfigMismatchError, match="data_sha256"):
            run(tmp_path / "shards", uninterrupted, tiny_config, device="cpu")

    def test_no_training_sequence(self, tiny_config, tmp_path):
        write_data_set(tmp_path / "shards", 0, 2, 24)
        with pytest.raises(InputError, match=r"splits\.train: holds no sequence"):
            run(tmp_path / "shards", tmp_path / "run", tiny_config, device="cpu")
        assert not (tmp_path / "run").exists()

    def test_sequences_of_one_pair(self, tiny_config, tmp_path):
        write_data_set(tmp_path / "shards", 2, 2, 24, n_frames=3)
        with pytest.raises(InputError, match=r"manifest\.json: frames_per_sequence: .*; expected at least 5"):
            run(tmp_path / "shards", tmp_path / "run", tiny_config, device="cpu")
        assert not (tmp_path / "run").exists()

    def test_frames_too_small(self, tiny_config, tmp_path):
        write_data_set(tmp_path / "shards", 2, 0, 12)
        with pytest.raises(InputError, match="frames are 12x12"):
            run(tmp_path / "shards", tmp_path / "run", tiny_config, device="cpu")

    @pytest.mark.parametrize("arch", ["paper", "upstream"])
    def test_crops_too_small_for_the_network(self, arch, tiny_shards, larger_shards, tmp_path):
        with pytest.raises(InputError, match="output_size: frames are 24x24; expected at least 38 pixels a side"):
            run(tiny_shards, tmp_path / "run", recommend(arch, image_size=24), device="cpu")
        with pytest.raises(InputError, match="image_size: is 37; expected at least 38 pixels a side for this network"):
            run(larger_shards, tmp_path / "run", recommend(arch, image_size=37), device="cpu")
        assert not (tmp_path / "run").exists()

    @pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
    def test_no_cuda(self, tiny_shards, tiny_config, tmp_path):
        with pytest.raises(Rb2vError, match="no CUDA device"):
            run(tiny_shards, tmp_path / "run", tiny_config, device="cuda")
        assert not (tmp_path / "run").exists()

    def test_unknown_device(self, tiny_shards, tiny_config, tmp_path):
        with pytest.raises(InputError, match="'tpu' is not known; expected auto, cpu or cuda"):
            run(tiny_shards, tmp_path / "run", tiny_config, device="tpu")

    @pytest.mark.parametrize(
        "change",
        [
            *({"arch": "resnet"}, {"loss": "hinge"}, {"steps": 0}, {"lr": float("nan")}, {"image_size": 8}),
            *({"agreement_weight": 0}, {"product_weight": -1}),
        ],
    )
    def test_bad_config(self, change):
        with pytest.raises(Rb2vError, match=next(iter(change))):
            TrainHyperCutConfig(**change)

    @pytest.mark.parametrize("arch", SCORED)
    @pytest.mark.parametrize(
        ("loss", "lr", "score_decay"), [("agreement", 2e-3, 1e-3), ("product", 1e-3, 0), ("upstream", 1e-3, 0)]
    )
    def test_rate_and_decay_are_recommended_for_the_loss(self, arch, loss, lr, score_decay):
        config = recommend(arch, loss=loss)
        assert (config.arch, config.loss, config.lr, config.score_decay) == (arch, loss, lr, score_decay)
        assert recommend(arch, loss=loss, lr=0.5).lr == 0.5

    def test_weight_of_a_term_that_the_loss_does_not_have(self):
        assert recommend("upstream", consistency_weight=0).term_weights == {"product": 0.5, "consistency": 0}
        with pytest.raises(Rb2vError, match="agreement_weight: the loss 'upstream' has no such term"):
            recommend("upstream", agreement_weight=2)


@pytest.mark.parametrize(("n_frames", "agreements"), [(5, ["con@2"]), (9, ["con@2", "con@3", "con@4"])])
def test_sequences_of_other_lengths_are_ordered_and_reported(n_frames, agreements, tiny_config, tmp_path):
    write_data_set(tmp_path / "shards", 4, 3, 24, n_frames=n_frames)
    run(tmp_path / "shards", tmp_path / "run", tiny_config, device="cpu")
    section = order_section.report(tmp_path / "run")
    metrics = {score.metric.removeprefix("network.") for score in section.scores}
    assert {f"hit_pair_{k}" for k in range(n_frames // 2)} | {*agreements, "con@2_outer"} <= metrics
    assert {name for name in metrics if name.startswith("con@") and "_" not in name} == set(agreements)


def test_no_test_sequence(tiny_config, tmp_path):
    write_data_set(tmp_path / "shards", 4, 0, 24)
    run(tmp_path / "shards", tmp_path / "run", tiny_config, device="cpu")
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    assert metrics["test_sequences"] == 0
    assert metrics["test"] is None
    assert metrics["controls"] is None
    assert metrics["collapsed"] is False
    assert len(pd.read_csv(tmp_path / "run" / "order_labels.csv")) == 4
    section = order_section.report(tmp_path / "run")
    assert "no test split" in section.lead


@pytest.mark.parametrize("n_test", [0, 3])
def test_a_collapsed_network_is_told(n_test, tmp_path, caplog):
    write_data_set(tmp_path / "shards", 4, n_test, 40)
    # All pairs agree, in whatever order, where all score the same: what the authors' loss without its product asks for.
    config = recommend("upstream", n_dimensions=4, image_size=40, batch_size=2, steps=1, product_weight=0)
    run(tmp_path / "shards", tmp_path / "run", config, device="cpu")
    metrics = json.loads((tmp_path / "run" / "metrics.json").read_text())
    hit = metrics["test"]["hit"] if n_test else pd.read_csv(tmp_path / "run" / "metrics.csv")["hit"].iloc[-1]
    assert hit < 0.6
    assert metrics["collapsed"] is True
    assert [record.message for record in caplog.records if "collapsed" in record.message] == [
        record.message for record in caplog.records if record.levelname == "WARNING"
    ]
    assert "COLLAPSED" in order_section.report(tmp_path / "run").lead


def test_a_step_that_is_not_finite_is_skipped_and_counted(tiny_shards, tiny_config, tmp_path, monkeypatch):
    calls = []

    def sometimes_nan(scores, reversed_scores):
        calls.append(scores)
        return scores.square().mean() * (float("nan") if len(calls) == 2 else 1)

    monkeypatch.setitem(LOSSES, tiny_config.loss, {"agreement": sometimes_nan})
    network, _ = load_order_network(run(tiny_shards, tmp_path / "run", tiny_config, device="cpu"))
    assert all(parameter.isfinite().all() for parameter in network.parameters())
    assert pd.read_csv(tmp_path / "run" / "metrics.csv")["skipped"].tolist() == [1, 1, 1, 1]


class TestForeignFiles:
    @pytest.mark.parametrize(
        ("change", "message"),
        [
            (lambda state: {**state, "step": 100}, r"state\.pt: step: is 100; expected 1 to 12"),
            (lambda state: {**state, "data_sha256": "x"}, r"state\.pt: is of another run"),
            (lambda state: {**state, "config": "{}"}, r"state\.pt: is of another run"),
            (lambda state: {**state, "network": {}}, r"state\.pt: holds no state of training"),
            (lambda state: 3, r"state\.pt: holds no state of training"),
        ],
    )
    def test_a_state_of_another_run_is_refused(self, change, message, tiny_shards, tiny_config, stopped):
        path = stopped / "state.pt"
        torch.save(change(torch.load(path, weights_only=True)), path)
        with pytest.raises(InputError, match=message):
            run(tiny_shards, stopped, tiny_config, device="cpu")
        assert not (stopped / "checkpoint.safetensors").exists()

    def test_a_checkpoint_of_another_run_is_refused(self, tiny_shards, tiny_config, tmp_path, uninterrupted):
        other = dataclasses.replace(tiny_config, arch="antisymmetric", steps=1, warmup_steps=0)
        foreign = run(tiny_shards, tmp_path / "other", other, device="cpu")
        folder = tmp_path / "run"
        folder.mkdir()
        (folder / "config.json").write_bytes((uninterrupted / "config.json").read_bytes())
        (folder / "checkpoint.safetensors").write_bytes(foreign.read_bytes())
        with pytest.raises(InputError, match=r"checkpoint\.safetensors: arch: is of another run, with 'antisymmetric'"):
            run(tiny_shards, folder, tiny_config, device="cpu")
        assert not (folder / "order_labels.csv").exists()
