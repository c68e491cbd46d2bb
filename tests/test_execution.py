import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest

from rb2v.errors import InputError
from rb2v.execution import ProcessExecutor, SerialExecutor, make_executor


def describe(item):
    # The first item is the slowest, so that a result given as it comes would come last.
    time.sleep(0.3 if item == 0 else 0.0)
    return item, os.getpid()


def refuse(item):
    if item == 2:
        raise InputError("some.mp4", "is empty", key="k", expected="a video")
    return item


def die(item):
    if item == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    return item


def opencv_threads(item):
    import cv2

    return cv2.getNumThreads()


def blas_threads(item):
    from threadpoolctl import threadpool_info

    return {library["num_threads"] for library in threadpool_info() if library["user_api"] == "blas"}


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


def test_processes_keep_the_order_and_are_other_processes():
    results = list(ProcessExecutor(2).map(describe, range(5)))
    assert [item for item, _ in results] == list(range(5))
    pids = {pid for _, pid in results}
    assert os.getpid() not in pids
    assert len(pids) <= 2
    assert list(ProcessExecutor(2).map(describe, [])) == []


def test_a_worker_s_error_arrives_whole():
    results = ProcessExecutor(2).map(refuse, range(4))
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(InputError) as caught:
        next(results)
    assert str(caught.value) == "some.mp4: k: is empty; expected a video"


def test_a_dead_worker_is_told_and_not_waited_for():
    with pytest.raises(RuntimeError, match="worker process died"):
        list(ProcessExecutor(1).map(die, range(3)))


def test_workers_leave_the_cores_to_one_another():
    assert list(ProcessExecutor(1).map(opencv_threads, [0])) == [1]


def test_make_executor():
    assert isinstance(make_executor(1), SerialExecutor)
    assert isinstance(make_executor(2), ProcessExecutor)
    assert make_executor() is not None
    with pytest.raises(ValueError, match="at least 1"):
        make_executor(-1)


def test_workers_end_with_a_killed_parent(tmp_path):
    module = tmp_path / "napping.py"
    module.write_text(
        textwrap.dedent("""
        import os, sys, time
        from pathlib import Path
        from rb2v.execution import ProcessExecutor

        def nap(folder):
            Path(folder, str(os.getpid())).touch()
            time.sleep(120)

        if __name__ == "__main__":
            list(ProcessExecutor(1).map(nap, [sys.argv[1]]))
        """)
    )
    pids = tmp_path / "pids"
    pids.mkdir()
    process = subprocess.Popen([sys.executable, module, pids])
    deadline = time.monotonic() + 60
    while not list(pids.iterdir()):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    (worker,) = (int(path.name) for path in pids.iterdir())
    process.kill()
    process.wait()
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


def test_workers_have_one_thread_of_the_blas():
    assert list(ProcessExecutor(2).map(blas_threads, [0, 1])) == [{1}, {1}]
