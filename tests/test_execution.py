import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from rb2v.errors import InputError, Rb2vError
from rb2v.execution import ProcessExecutor, SerialExecutor, count_workers, keep_workers, make_executor

NAMES = ["processes", "dask"]
PARALLEL = pytest.mark.parametrize("name", NAMES)


@pytest.fixture(scope="module", params=NAMES)
def parallel(request):
    """Executors of two workers, which stay from one test to the next, as starting them takes longer than the tests."""
    executor = make_executor(2, request.param)
    with keep_workers(executor):
        yield executor


def describe(item):
    # The first item is the slowest, so that a result given as it comes would come last.
    time.sleep(0.3 if item == 0 else 0.0)
    return item, os.getpid()


def take_time(seconds):
    time.sleep(seconds)
    return seconds


def refuse(item):
    if item == 2:
        raise InputError("some.mp4", "is empty", key="k", expected="a video")
    return item


def die(item):
    if item == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return item


def die_once(flag):
    if not flag.exists():
        flag.touch()
        os.kill(os.getpid(), signal.SIGKILL)
    return "done again"


def threads(item):
    import cv2
    import scipy.linalg  # noqa: F401 - brings a BLAS of its own
    from threadpoolctl import threadpool_info

    blas = {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}
    return cv2.getNumThreads(), blas


def show_path(path):
    return path


def time_out(item):
    raise TimeoutError("of the task's own")


def make_lambda(item):
    return lambda: item


def test_serial_yields_in_order_and_only_as_asked():
    asked = []
    results = SerialExecutor().map(refuse, (asked.append(n) or n for n in range(3)))
    assert next(results) == 0
    assert asked == [0]
    assert next(results) == 1
    with pytest.raises(InputError):
        next(results)


def test_checked_serial_meets_what_processes_would():
    assert list(SerialExecutor(check_pickle=True).map(refuse, [0, 1])) == [0, 1]
    for fn, item in ((lambda item: item, 0), (refuse, lambda: 0), (make_lambda, 0)):
        with pytest.raises((AttributeError, TypeError, ImportError), match=r"local|lambda|pickle"):
            list(SerialExecutor(check_pickle=True).map(fn, [item]))
        list(SerialExecutor().map(fn, [item]))


def test_workers_keep_the_order_and_are_other_processes(parallel):
    results = list(parallel.map(describe, range(5)))
    assert [item for item, _ in results] == list(range(5))
    pids = {pid for _, pid in results}
    assert os.getpid() not in pids
    assert len(pids) <= 2
    assert list(parallel.map(describe, [])) == []


def test_what_an_unfinished_map_leaves_is_not_taken_for_the_next(parallel):
    unfinished = parallel.map(take_time, [0.0, 0.3])
    next(unfinished)
    seconds = [0.1, 0.4, 0.0]
    assert list(parallel.map(take_time, seconds)) == seconds
    if isinstance(parallel, ProcessExecutor):
        with pytest.raises(RuntimeError, match="another map"):
            next(unfinished)


def test_who_has_enough_results_may_ask_no_further():
    executor = make_executor(1, "dask")
    with keep_workers(executor):
        last, more = executor.map(refuse, [0]), executor.map(refuse, [0, 1])
        assert next(last) == next(more) == 0
    last.close()
    more.close()


@PARALLEL
def test_two_run_at_once(name):
    outer = make_executor(1, name).map(refuse, [0, 1])
    assert next(outer) == 0
    assert list(make_executor(1, name).map(refuse, [0, 1])) == [0, 1]
    assert next(outer) == 1


@PARALLEL
def test_a_worker_s_error_arrives_whole(name):
    results = make_executor(2, name).map(refuse, range(4))
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(InputError) as caught:
        next(results)
    assert str(caught.value) == "some.mp4: k: is empty; expected a video"


def test_a_task_s_own_time_out_is_an_error_like_others(parallel):
    with pytest.raises(TimeoutError, match="of the task's own"):
        list(parallel.map(time_out, [0]))


def fail_oddly(item):
    error = ValueError("odd")
    error.lock = threading.Lock()
    raise error


def test_an_error_that_cannot_travel_is_told_in_words(parallel):
    with pytest.raises(RuntimeError, match=r"(?s)a worker failed:.*ValueError: odd"):
        list(parallel.map(fail_oddly, [0]))


@PARALLEL
def test_a_dead_worker_s_task_is_done_again(name, tmp_path):
    flags = [tmp_path / "first", tmp_path / "second", tmp_path / "third"]
    flags[1].touch()
    assert list(make_executor(2, name).map(die_once, flags)) == ["done again"] * 3


@PARALLEL
def test_a_task_at_which_every_worker_dies_is_named(name):
    results = make_executor(2, name).map(die, range(3))
    assert next(results) == 0
    with pytest.raises(RuntimeError, match="a worker process died, 3 times at the same task, 1; run the command again"):
        next(results)


def test_workers_leave_the_cores_to_one_another(parallel):
    assert list(parallel.map(threads, [0, 1])) == [(1, {1})] * 2


def test_a_worker_gets_paths_that_mean_the_same_elsewhere(parallel, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    paths = [Path("here"), tmp_path / "there"]
    assert list(parallel.map(show_path, paths)) == [tmp_path / "here", tmp_path / "there"]


@pytest.mark.parametrize(
    "executor",
    [SerialExecutor(check_pickle=True), ProcessExecutor(1), make_executor(1, "dask")],
    ids=lambda executor: type(executor).__name__,
)
def test_frames_do_not_travel(executor):
    with pytest.raises(ValueError, match=r"show_path: a task of \d+ bytes, of at most 1048576; send paths") as caught:
        list(executor.map(show_path, [bytes(2**20)]))
    assert not isinstance(caught.value, Rb2vError)


def test_workers_are_counted_where_they_are_known():
    assert (count_workers(SerialExecutor()), count_workers(ProcessExecutor(3))) == (1, 3)
    assert count_workers(make_executor(name="tcp://127.0.0.1:8786")) is None


def test_make_executor():
    assert isinstance(make_executor(1), SerialExecutor)
    assert isinstance(make_executor(2), ProcessExecutor)
    assert isinstance(make_executor(1, "processes"), ProcessExecutor)
    assert isinstance(make_executor(None, "serial"), SerialExecutor)
    assert make_executor() is not None
    with pytest.raises(ValueError, match="at least 1"):
        make_executor(-1)


@pytest.mark.parametrize(
    ("n_workers", "name", "message"),
    [
        (
            None,
            "proceses",
            "--executor: 'proceses' is no executor; expected auto, serial, processes, dask or the address",
        ),
        (2, "serial", "--workers: 2 with the serial executor; expected 1"),
        (2, "tcp://127.0.0.1:8786", "--workers: 2 with a scheduler, whose workers are started apart"),
    ],
)
def test_an_executor_that_cannot_be_made(n_workers, name, message):
    with pytest.raises(Rb2vError, match=message):
        make_executor(n_workers, name)


@pytest.mark.parametrize("name", ["dask", "tcp://127.0.0.1:8786"])
def test_without_dask_it_is_said_how_to_install_it(monkeypatch, name):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(Rb2vError, match=r"needs Dask Distributed; install it with pip install 'rb2v\[cluster\]'"):
        make_executor(None, name)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT], ids=["SIGKILL", "SIGINT"])
@PARALLEL
def test_workers_end_with_a_killed_parent(name, number, tmp_path):
    module = tmp_path / "napping.py"
    module.write_text(
        textwrap.dedent("""
        import os, sys, time
        from pathlib import Path
        from rb2v.execution import make_executor

        def nap(folder):
            Path(folder, str(os.getpid())).touch()
            time.sleep(120)

        if __name__ == "__main__":
            list(make_executor(1, sys.argv[2]).map(nap, [sys.argv[1]]))
        """)
    )
    pids = tmp_path / "pids"
    pids.mkdir()
    # In a group of its own: Ctrl-C reaches all processes of the terminal's group.
    command = [sys.executable, module, pids, name]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, start_new_session=True)
    deadline = time.monotonic() + 120
    while not list(pids.iterdir()):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    (worker,) = (int(path.name) for path in pids.iterdir())
    os.killpg(process.pid, number) if number == signal.SIGINT else process.kill()
    process.communicate(timeout=60)
    while is_running(worker) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not is_running(worker)


def is_running(pid):
    stat = Path(f"/proc/{pid}/stat")
    try:
        # A process that has ended but that nobody has waited for is a zombie.
        return stat.read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
