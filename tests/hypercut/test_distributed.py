"""Training by several processes that torchrun starts on this machine."""

import dataclasses
import os

import numpy as np
import pandas as pd
import pytest
import safetensors.torch

from rb2v.hypercut.config import TrainHyperCutConfig
from rb2v.hypercut.losses import LOSSES, agreement
from rb2v.hypercut.train import run

OPTIONS = ("--steps", "9", "--batch-size", "4", "--image-size", "20", "--device", "cpu")
CONFIG = TrainHyperCutConfig(steps=9, batch_size=4, image_size=20)
TIMEOUT_SECONDS = 120
ROUNDING = 2e-5  # of sums in another order, after steps of up to 2e-3 each

STOPPING = """
import os, sys
from pathlib import Path
from rb2v.hypercut import train
from rb2v.hypercut.config import TrainHyperCutConfig

def stop(done, total, what):
    if what == "training" and done == 7:
        os.kill(os.getpid(), 9)

config = TrainHyperCutConfig(steps=9, batch_size=4, image_size=20, checkpoint_every=3)
train.run(Path(sys.argv[1]), Path(sys.argv[2]), config, device="cpu", progress=stop)
"""

NOT_FINITE = """
import os, sys
from pathlib import Path
from rb2v.hypercut import train
from rb2v.hypercut.config import TrainHyperCutConfig
from rb2v.hypercut.losses import LOSSES, agreement

calls = []

def spoilt(scores, reversed_scores):
    calls.append(scores)
    return agreement(scores, reversed_scores) + (float("inf") if os.environ["RANK"] == "1" and len(calls) == 2 else 0)

LOSSES["agreement"] = {"agreement": spoilt}
config = TrainHyperCutConfig(steps=4, batch_size=4, image_size=20, log_every=1)
train.run(Path(sys.argv[1]), Path(sys.argv[2]), config, device="cpu")
"""


@pytest.fixture
def torchrun(fork_server):
    """Runs a program as two processes; returns the exit status of torchrun and the output of all as one text."""

    def run_twice(code, *arguments):
        options = ["--standalone", "--local-addr", "127.0.0.1", "--nproc-per-node", "2", "--no-python"]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONWARNINGS": ""}
        launch = "from torch.distributed.run import main; main()"
        process = fork_server.start(launch, *options, *fork_server.command(code, *arguments), env=environment)
        output = "".join(process.communicate(TIMEOUT_SECONDS))
        return process.returncode, output

    return run_twice


@pytest.fixture
def torchrun_rb2v(torchrun):
    program = "from rb2v.cli import main; main()"
    return lambda shards, out, *options: torchrun(
        program, "train-hypercut", "--shards", shards, "--out", out, *OPTIONS, *options
    )


def assert_close(folder, other):
    found, expected = (safetensors.torch.load_file(place / "checkpoint.safetensors") for place in (folder, other))
    for name in expected:
        np.testing.assert_allclose(found[name], expected[name], atol=ROUNDING, err_msg=name)
    for table in ("metrics.csv", "order_labels.csv"):
        one, two = (pd.read_csv(place / table) for place in (folder, other))
        pd.testing.assert_frame_equal(one, two, rtol=1e-4, atol=1e-5)


@pytest.fixture(scope="module")
def alone(tiny_shards, tmp_path_factory):
    folder = tmp_path_factory.mktemp("alone") / "run"
    run(tiny_shards, folder, CONFIG, device="cpu")
    return folder


def test_two_processes_train_what_one_does(tiny_shards, tmp_path, alone, torchrun_rb2v):
    status, output = torchrun_rb2v(tiny_shards, tmp_path / "run")
    assert status == 0, output
    assert output.count(str(tmp_path / "run" / "checkpoint.safetensors")) == 1
    assert_close(tmp_path / "run", alone)
    assert sorted(path.name for path in (tmp_path / "run").iterdir()) == sorted(path.name for path in alone.iterdir())


def test_a_run_whose_process_was_killed_goes_on_with_another_number(tiny_shards, tmp_path, torchrun):
    whole, stopped = tmp_path / "whole", tmp_path / "stopped"
    config = dataclasses.replace(CONFIG, checkpoint_every=3)
    run(tiny_shards, whole, config, device="cpu")
    status, _ = torchrun(STOPPING, tiny_shards, stopped)
    assert status != 0
    assert (stopped / "state.pt").exists()
    assert not (stopped / "checkpoint.safetensors").exists()
    run(tiny_shards, stopped, config, device="cpu")
    assert_close(stopped, whole)


def test_a_step_that_one_process_cannot_take_none_takes(tiny_shards, tmp_path, monkeypatch, torchrun):
    status, output = torchrun(NOT_FINITE, tiny_shards, tmp_path / "two")
    assert status == 0, output
    assert output.count("step 1 skipped") == 1
    assert pd.read_csv(tmp_path / "two" / "metrics.csv")["skipped"].tolist() == [0, 1, 1, 1]
    calls = []

    def spoilt(scores, reversed_scores):
        calls.append(scores)
        return agreement(scores, reversed_scores) + (float("inf") if len(calls) == 2 else 0)

    monkeypatch.setitem(LOSSES, "agreement", {"agreement": spoilt})
    run(tiny_shards, tmp_path / "one", dataclasses.replace(CONFIG, steps=4, log_every=1), device="cpu")
    found, expected = (
        safetensors.torch.load_file(tmp_path / name / "checkpoint.safetensors") for name in ("two", "one")
    )
    for name in expected:
        np.testing.assert_allclose(found[name], expected[name], atol=ROUNDING)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "is not empty and was not made by this command"),  # what the first process alone finds
        (("--batch-size", "5"), "batch_size: 5 sequences cannot be shared by 2 processes; expected a multiple of 2"),
    ],
)
def test_one_message_ends_all_processes(tiny_shards, tmp_path, torchrun_rb2v, options, message):
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "notes.txt").write_text("mine")
    status, output = torchrun_rb2v(tiny_shards, tmp_path / "run", *options)
    assert status == 1  # torchrun's own
    assert output.count("error: ") == output.count(message) == 1, output
    assert "exitcode  : 2" in output
    assert "rb2v/hypercut" not in output  # no traceback of a process
    assert not (tmp_path / "run" / "config.json").exists()
