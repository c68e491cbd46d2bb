import dataclasses
import inspect
import json
import os
import re
import shutil
import signal
import socket
import time
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

import pytest
from fork_server import LONGEST_PROGRAM_SECONDS
from sessions import QUICK

from rb2v.errors import InputError
from rb2v.execution import SerialExecutor, cluster, make_executor
from rb2v.execution.cluster import ClusterExecutor
from rb2v.io.aligned import aligned_take_path
from rb2v.stages import align, build_shards

CONFIG = build_shards.BuildShardsConfig(shard_samples=4)


@pytest.fixture(scope="module")
def shards(session, tmp_path_factory):
    """What one process makes of the session."""
    folder = tmp_path_factory.mktemp("serial") / "shards"
    build_shards.run(session.aligned, folder, CONFIG, executor=SerialExecutor())
    return folder


def tree_bytes(folder):
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def become_deadly(flag):
    """Have this process killed in the middle of its second sample, if it is the first to come so far."""
    import os
    import signal

    from rb2v.shards import packing

    check, seen = packing.check_sample, []

    def check_or_die(sample):
        seen.append(sample)
        if len(seen) == 2 and not flag.exists():
            flag.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        check(sample)

    packing.check_sample = check_or_die


def die_in_a_shard(item, fn, flag):
    become_deadly(flag)
    return fn(item)


@dataclasses.dataclass
class Deadly:
    """An executor with one worker that dies."""

    flag: object

    def map(self, fn, items):
        return make_executor(2, "processes").map(partial(die_in_a_shard, fn=fn, flag=self.flag), items)


def test_a_worker_killed_in_a_shard_changes_nothing(session, shards, tmp_path):
    flag = tmp_path / "died"
    build_shards.run(session.aligned, tmp_path / "shards", CONFIG, executor=Deadly(flag))
    assert flag.exists()
    assert tree_bytes(tmp_path / "shards") == tree_bytes(shards)


# What workers of a cluster import before they start.
OTHER_VERSION = "import rb2v\nrb2v.__version__ = '0.0.1'\n"
WITHOUT_RB2V = """
import sys

class Nobody:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == "rb2v":
            raise ModuleNotFoundError(f"No module named {name!r}")

sys.meta_path.insert(0, Nobody())
"""


def wait_until(ready, process, seconds=120):
    deadline = time.monotonic() + seconds
    while not ready():
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)


@contextmanager
def running(process):
    """End a program of Dask's and all that it started."""
    try:
        yield process
    finally:
        if process.poll() is None:
            os.kill(process.pid, signal.SIGTERM)
        try:
            process.wait(20)
        finally:
            process.kill_group()
            process.wait()


@pytest.fixture(autouse=True)
def patience(monkeypatch):
    """What waits for processes to start waits longer than a busy machine needs; tests that wait in vain set less."""
    monkeypatch.setattr(cluster, "_CONNECT_SECONDS", 120.0)
    monkeypatch.setattr(cluster, "_WORKERS_SECONDS", 120.0)


@pytest.fixture
def scheduler_process(fork_server, tmp_path):
    """A scheduler without workers, and its address."""
    file = tmp_path / "scheduler.json"
    options = ["--host", "127.0.0.1", "--port", "0", "--no-dashboard", "--scheduler-file", file]
    program = "from distributed.cli.dask_scheduler import main; main()"
    with running(fork_server.start(program, *options)) as process:
        wait_until(lambda: file.exists() and file.read_text().endswith("}"), process)
        yield process, json.loads(file.read_text())["address"]


@pytest.fixture
def scheduler(scheduler_process):
    return scheduler_process[1]


@pytest.fixture
def workers(fork_server):
    """Starts workers of a scheduler."""

    def start(address, folder, *options, preload="", n_workers=1):
        script = folder / "preloaded.py"
        script.write_text(preload)
        arguments = [address, "--no-dashboard", "--host", "127.0.0.1", "--nworkers", n_workers]
        arguments += ["--local-directory", folder / "dask", "--preload", script, *options]
        return running(fork_server.start("from distributed.cli.dask_worker import main; main()", *arguments))

    return start


@pytest.fixture
def call(start_rb2v):
    """Runs the command line in a process group of its own, and leaves nothing of it."""

    @contextmanager
    def run(arguments, cwd):
        process = start_rb2v(*arguments, cwd=cwd)
        try:
            yield process
        finally:
            process.kill_group()
            process.wait()

    return run


def test_workers_of_a_scheduler_one_of_them_killed(session, shards, scheduler, tmp_path, workers, call):
    deadly = f"{inspect.getsource(become_deadly)}\nbecome_deadly(pathlib.Path({str(tmp_path / 'died')!r}))\n"
    with workers(scheduler, tmp_path, "--nthreads", "1", preload=f"import pathlib\n{deadly}", n_workers=2):
        relative = os.path.relpath(session.aligned, tmp_path)
        arguments = ["build-shards", "--aligned", relative, "--out", "shards", "--shard-samples", "4"]
        with call([*arguments, "--executor", scheduler], tmp_path) as process:
            output, errors = process.communicate(timeout=120)
    assert (process.returncode, errors) == (0, "")
    assert re.fullmatch(r"train: \d+ samples in \d+ shards\ntest: .*\nshards/manifest\.json\n", output)
    assert (tmp_path / "died").exists()
    assert tree_bytes(tmp_path / "shards") == tree_bytes(shards)


def test_takes_are_aligned_to_the_same_bytes_and_errors_cross_whole(brief_session, tmp_path):
    executor = make_executor(2, "dask")
    align.run(
        brief_session.raw,
        brief_session.calibration,
        tmp_path / "aligned",
        QUICK,
        execution=align.Execution(executor=executor),
    )
    assert tree_bytes(tmp_path / "aligned") == tree_bytes(brief_session.aligned)
    victim = aligned_take_path(tmp_path / "aligned", "hand_train")
    data = bytearray(victim.read_bytes())
    data[len(data) // 2 : len(data) // 2 + 4096] = bytes(4096)
    victim.write_bytes(data)
    with pytest.raises(InputError) as here:
        build_shards.run(tmp_path / "aligned", tmp_path / "here", CONFIG)
    with pytest.raises(InputError) as there:
        build_shards.run(tmp_path / "aligned", tmp_path / "there", CONFIG, executor=executor)
    assert str(here.value) == str(there.value)


@pytest.mark.parametrize(
    ("preload", "threads", "message"),
    [
        (OTHER_VERSION, 1, r"the worker has rb2v 0\.0\.1; expected \S+, as where the command runs"),
        (WITHOUT_RB2V, 1, r"the worker cannot import rb2v .*No module named 'rb2v.*; expected rb2v"),
        ("", 2, "the worker has 2 threads; expected --nthreads 1"),
    ],
)
def test_workers_that_would_do_something_else_are_refused(scheduler, tmp_path, preload, threads, message, workers):
    with (
        workers(scheduler, tmp_path, "--nthreads", str(threads), preload=preload),
        pytest.raises(InputError, match=message),
    ):
        list(ClusterExecutor(scheduler).map(str, [1]))


def test_a_worker_that_does_not_see_a_file_says_so(scheduler, tmp_path, workers):
    shared = tmp_path / "shared"
    shared.mkdir()
    # As another machine, which has a folder of its own under the name.
    preload = f"""
from pathlib import Path
from rb2v.execution import cluster

exists = Path.exists
Path.exists = lambda path: str(path) != {str(shared)!r} and exists(path)
cluster._SIGHT_SECONDS = 0.5
"""
    expected = "the worker on .* does not see it; expected storage that every worker has at the same path"
    with (
        workers(scheduler, tmp_path, "--nthreads", "1", preload=preload),
        pytest.raises(InputError, match=f"^{re.escape(str(shared))}: {expected}"),
    ):
        list(ClusterExecutor(scheduler).map(str, [shared]))


def test_a_scheduler_that_loses_its_workers_is_not_waited_for(scheduler, tmp_path, monkeypatch, workers):
    monkeypatch.setattr(cluster, "_WORKERS_SECONDS", 1.0)
    monkeypatch.setattr(cluster, "_POLL_SECONDS", 0.5)
    with pytest.raises(InputError, match="the scheduler has no workers; expected at least one; 'dask worker tcp://"):
        list(ClusterExecutor(scheduler).map(str, [1]))
    monkeypatch.setattr(cluster, "_WORKERS_SECONDS", 120.0)
    with ExitStack() as stack:
        process = stack.enter_context(workers(scheduler, tmp_path, "--nthreads", "1", "--no-nanny"))
        results = ClusterExecutor(scheduler).map(time.sleep, [0, 60])
        assert next(results) is None
        monkeypatch.setattr(cluster, "_WORKERS_SECONDS", 1.0)
        process.kill_group()
        with pytest.raises(InputError, match="the scheduler has lost its workers"):
            next(results)


def test_workers_that_join_later_are_checked_as_well(scheduler, tmp_path, workers):
    with workers(scheduler, tmp_path, "--nthreads", "1", "--no-nanny") as process:
        results = ClusterExecutor(scheduler).map(time.sleep, [0, 60])
        assert next(results) is None
        process.kill_group()
    with (
        workers(scheduler, tmp_path, "--nthreads", "2"),
        pytest.raises(InputError, match="the worker has 2 threads; expected --nthreads 1"),
    ):
        next(results)


@pytest.mark.parametrize("seconds", [0.0, 1.0])  # until the command asks on: before and after it can know
def test_a_scheduler_that_goes_is_not_waited_for(scheduler_process, tmp_path, workers, seconds):
    process, address = scheduler_process
    with workers(address, tmp_path, "--nthreads", "1", "--no-nanny") as worker:
        results = ClusterExecutor(address).map(time.sleep, [0, 60])
        assert next(results) is None
        process.kill_group()
        time.sleep(seconds)
        with pytest.raises(InputError, match="the scheduler is gone; expected to start it, and to run again"):
            next(results)
        worker.kill_group()  # it would wait for its task


def test_an_address_at_which_nobody_answers(monkeypatch):
    with socket.socket() as bound:
        bound.bind(("127.0.0.1", 0))
        address = f"tcp://127.0.0.1:{bound.getsockname()[1]}"
    monkeypatch.setattr(cluster, "_CONNECT_SECONDS", 0.5)
    for place in (address, "nonsense://host:8786", "tcp://"):
        with pytest.raises(InputError, match="no scheduler answers there"):
            list(ClusterExecutor(place).map(str, [1]))
    assert list(ClusterExecutor(address).map(str, [])) == []


def test_ctrl_c_says_nothing_strange_and_a_second_run_goes_on(session, shards, tmp_path, call):
    arguments = ["build-shards", "--aligned", session.aligned, "--out", "shards", "--shard-samples", "4"]
    arguments += ["--executor", "dask", "--workers", "2"]
    for _ in range(5):  # on a busy machine the command may be done before it is interrupted
        with call(arguments, tmp_path) as process:
            wait_until(lambda: (tmp_path / "shards" / "train-00000.h5").exists(), process)
            process.kill_group(signal.SIGINT)
            _, errors = process.communicate(timeout=120)
        if process.returncode != 0:
            break
        shutil.rmtree(tmp_path / "shards")
    assert process.returncode in (1, 130)
    assert errors.strip() in ("", "Aborted.")
    with call(arguments, tmp_path) as again:
        _, errors = again.communicate(timeout=120)
        assert (again.returncode, errors) == (0, "")
    assert tree_bytes(tmp_path / "shards") == tree_bytes(shards)


def test_kills_at_any_moment(brief_session, fork_server):
    folder = Path(__file__).parent / "benchmarks"
    program = f"import sys; sys.path.insert(0, {str(folder)!r}); from check_kills import main; main()"
    process = fork_server.start(program, "--kills", "6", "--aligned", brief_session.aligned)
    printed, complaints = process.communicate(LONGEST_PROGRAM_SECONDS)
    assert process.returncode == 0, printed + complaints
    kills = [int(n) for n in re.findall(r"^(\d+) kills (?:before|after|at) ", printed, re.MULTILINE)]
    assert len(kills) == 3
    assert min(kills) > 0
    assert sum(kills) >= 6
    assert re.search(r"6 kills of two writers of one shard, looked at [1-9]\d* times: always whole", printed)
