import functools
import gc
import os
import random
import re
import sys
from pathlib import Path
from typing import NamedTuple

import examples  # noqa: F401 - registers the profiles of hypothesis
import numpy as np
import pytest
from fork_server import LONGEST_PROGRAM_SECONDS, ForkServer
from sessions import QUICK, shared_session
from sharing import SharedFolders
from textures import write_data_set

from rb2v.cli import main
from rb2v.simulator.camera import NoiseBank

MAX_NOISE_BANKS = 4  # of 32 MB


class Outcome(NamedTuple):
    """What a command left behind."""

    status: int
    out: str
    err: str

    @property
    def output(self):
        return self.out + self.err


def pytest_terminal_summary(terminalreporter):
    """Name the tests for which something is missing that a command brings."""
    missing = {}
    for report in terminalreporter.stats.get("skipped", []):
        reason = report.longrepr[-1] if isinstance(report.longrepr, tuple) else str(report.longrepr)
        if command := re.search(r"run '([^']+)'", reason):
            missing.setdefault(command[1], set()).add(report.nodeid)
    for command, tests in sorted(missing.items()):
        terminalreporter.section(f"{len(tests)} tests did not run; '{command}' brings what they need")
        for test in sorted(tests):
            terminalreporter.line(test)


def pytest_runtest_setup(item):
    """Skip what needs CUDA where there is none; where a GPU is required such a test fails."""
    if item.get_closest_marker("gpu") and os.environ.get("RB2V_REQUIRE_GPU") != "1":
        import torch

        if not torch.cuda.is_available():
            pytest.skip("there is no CUDA device")


def pytest_collection_finish(session):
    """Let collections of garbage pass over modules and tests, which stay to the end."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def _same_random_numbers():
    """Start every test with the same state of the global generators, in whatever order tests run."""
    random.seed(0)
    np.random.seed(0)  # noqa: NPY002 - the one that libraries draw from
    if torch := sys.modules.get("torch"):
        torch.manual_seed(0)


@pytest.fixture(autouse=True)
def _narrow_backbones(request, monkeypatch):
    """Published backbones with few channels, but where these are the subject; zhong's own take 10 s an image.

    Here, because a conftest.py of a folder that comes before this file by name keeps doctest from collecting it.
    """
    if request.path.parent.name == "blur2vid":
        from rb2v.blur2vid.backbones.zhong import decomposer

        monkeypatch.setattr(decomposer, "WIDTH", 4)
        monkeypatch.setattr(decomposer, "N_BLOCKS", 1)
        if not request.path.name.startswith(("test_jin", "test_purohit")):
            request.getfixturevalue("narrow_cascades")


@pytest.fixture
def narrow_cascades(monkeypatch):
    """The backbones jin and purohit with few channels."""
    from rb2v.blur2vid.backbones import BACKBONES, jin, purohit

    monkeypatch.setattr(jin, "CENTER_WIDTH", 8)
    monkeypatch.setattr(jin, "PAIR_WIDTH", 8)
    for name, factory in (("purohit", purohit.Purohit), ("purohit_oracle", BACKBONES["purohit_oracle"])):
        monkeypatch.setitem(BACKBONES, name, functools.partial(factory, width=16))


@pytest.fixture
def narrow_predictors(monkeypatch):
    """The published predictor with few channels: its own make checkpoints of 300 MB."""
    from rb2v.blur2vid.predictor.networks import cvae_gan

    monkeypatch.setattr(cvae_gan, "WIDTHS", (4,) * 8)
    monkeypatch.setattr(cvae_gan, "ENCODER_WIDTHS", (4,) * 5)
    monkeypatch.setattr(cvae_gan, "DISCRIMINATOR_WIDTH", 4)


@pytest.fixture
def undrawn(monkeypatch):
    """Diagrams of reports are laid out and not drawn, which takes most of the time of a short report."""
    monkeypatch.setattr("matplotlib.figure.Figure.savefig", lambda figure, file, **settings: file.write(b"undrawn"))


@pytest.fixture
def rb2v(monkeypatch, capsys):
    """The command line in this process: ``rb2v("align", "--out", folder)`` returns an `Outcome`."""

    def run(*arguments, columns=400):
        monkeypatch.setattr(sys, "argv", ["rb2v", *map(str, arguments)])
        monkeypatch.setenv("COLUMNS", str(columns))  # enough by default for messages of one line
        monkeypatch.setattr(os, "cpu_count", lambda: 1)  # workers start only where a test asks for them
        with pytest.raises(SystemExit) as stopped:
            main()
        printed = capsys.readouterr()
        return Outcome(stopped.value.code or 0, printed.out, printed.err)

    return run


@pytest.fixture(scope="session")
def fork_server(tmp_path_factory):
    """Starts Python programs that are processes of their own, without loading the libraries again."""
    server = ForkServer(tmp_path_factory.mktemp("fork_server"))
    yield server
    server.close()


@pytest.fixture(scope="session")
def start_rb2v(fork_server):
    """The command line in a process of its own: ``start_rb2v("align", ...)`` returns a `ForkedProcess`.

    One that hangs says where, and ends.
    """
    program = f"import faulthandler; faulthandler.dump_traceback_later({LONGEST_PROGRAM_SECONDS}, exit=True)"
    return functools.partial(fork_server.start, f"{program}; from rb2v.cli import main; main()")


@pytest.fixture(scope="session")
def shared(request, tmp_path_factory):
    """Folders that are built once for all workers and kept between runs; tests only read them."""
    cache = getattr(request.config, "cache", None)
    if cache is not None:
        root = cache.mkdir("shared")
    elif "PYTEST_XDIST_WORKER" in os.environ:
        root = tmp_path_factory.getbasetemp().parent / "shared"
    else:
        root = tmp_path_factory.getbasetemp() / "shared"
    folders = SharedFolders(root)
    yield folders
    folders.close()


@pytest.fixture(scope="session", autouse=True)
def frame_cache(tmp_path_factory):
    """Frames that trainings prepare, in a folder of the run and not of the user."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RB2V_FRAME_CACHE", str(tmp_path_factory.mktemp("frame_cache")))
        yield


@pytest.fixture(scope="session", autouse=True)
def _no_waiting_for_disks():
    """What a file survives beside a power failure no test can tell."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda file: None)
        yield


@pytest.fixture(scope="session", autouse=True)
def _noise_drawn_once():
    """Noise of simulated cameras is drawn once in a process for each seed, of which sessions have few; 0.1 s each."""
    banks, draw = {}, NoiseBank.__init__

    def take_or_draw(bank, rng):
        seeded = repr(rng.bit_generator.state)
        if seeded in banks:
            bank._rng = rng
            bank._samples, rng.bit_generator.state = banks[seeded]
            return
        draw(bank, rng)
        if len(banks) < MAX_NOISE_BANKS:
            banks[seeded] = bank._samples, rng.bit_generator.state

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(NoiseBank, "__init__", take_or_draw)
        yield


@pytest.fixture(scope="session")
def shared_data():
    """Real recordings that lie beside a checkout and are not part of it."""
    folder = Path(__file__).resolve().parents[2] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip("the folder of real recordings is not here")
    return folder


@pytest.fixture(scope="session")
def tiny_shards(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tiny") / "shards"
    write_data_set(folder, 10, 6, 24)
    return folder


@pytest.fixture(scope="session")
def session(shared):
    """A mirrored rig with noise: a street take and a hand before a green screen, calibrated and aligned."""
    return shared_session(shared, upto="aligned", seconds=0.6, categories=("street", "hand"))


@pytest.fixture(scope="session")
def brief_session(shared, calibrated_session):
    """As `session`, but of 9 frames, for what needs few of them: who writes which files, and what is named.

    It is aligned with `sessions.QUICK`.
    """
    made = {"calibrated": calibrated_session, "interpolator": QUICK.interpolator}
    return shared_session(shared, upto="aligned", seconds=0.36, categories=("street", "hand"), **made)


@pytest.fixture(scope="session")
def calibrated_session(shared):
    """The captures of a mirrored rig with noise, calibrated; its take lasts a frame."""
    return shared_session(shared, upto="calibration", seconds=0.04, categories=("street",))


@pytest.fixture(scope="session")
def clean_session(shared):
    """A rig that mirrors nothing, without noise, whose sharp clock runs 0.4 % fast; calibrated."""
    changes = {"mirrored": False, "noise": False, "drift_ppm": 4000.0, "seed": 1, "crf": 4}
    return shared_session(shared, upto="calibration", seconds=0.8, categories=("street",), **changes)
