# mypy: disable-error-code="no-untyped-call"
"""Executors that hand their tasks to a Dask scheduler, here or on another machine."""

from __future__ import annotations

import asyncio
import logging
import pickle
import signal
import socket
import time
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import CancelledError, ThreadPoolExecutor
from contextlib import contextmanager, nullcontext, suppress
from multiprocessing import resource_tracker
from pathlib import Path
from typing import Any

import dask
from distributed import Client, Future, KilledWorker, LocalCluster, Security, get_worker, wait
from distributed.comm.core import connect

from rb2v import __version__
from rb2v.errors import InputError
from rb2v.execution.local import LocalExecutor
from rb2v.execution.task import MAX_DEATHS, Outcome, Task, WorkerExecutor

_CONNECT_SECONDS = 10.0  # a scheduler on the same network answers at once; a wrong address is reported soon
_WORKERS_SECONDS = 30.0  # for workers that are just being started, or started again
_SIGHT_SECONDS = 10.0  # network file systems keep what they know of a folder for some seconds
_POLL_SECONDS = 5.0  # between looks at whether workers are left; small beside `_WORKERS_SECONDS`


class LocalClusterExecutor(LocalExecutor):
    """Run items in a Dask cluster of processes, each with one thread, see `LocalExecutor`.

    The cluster lives as long as a ``map``, or as the block in which it is kept.
    """

    _kept: tuple[Client, str] | None = None

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Keep the cluster, see `LocalExecutor`."""
        with _connect_own(self.n_workers) as self._kept:
            try:
                yield
            finally:
                self._kept = None

    def _perform(self, tasks: list[Task]) -> Generator[Outcome, None, None]:
        kept = self._kept
        with _connect_own(min(self.n_workers, len(tasks))) if kept is None else nullcontext(kept) as (client, address):
            yield from _perform_all(client, address, tasks)


@contextmanager
def _connect_own(n_workers: int) -> Iterator[tuple[Client, str]]:
    with _silence(), _start_cluster(n_workers) as cluster, Client(cluster, set_as_default=False) as client:
        yield client, cluster.scheduler_address


def _start_cluster(n_workers: int) -> LocalCluster:
    # The threads that start here, and with them the workers, inherit that Ctrl-C, which reaches every process of a
    # terminal, is for the main process to act on.
    resource_tracker.ensure_running()  # which it would be on the way, and let Ctrl-C in again
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        # Under this setting of Dask's the C library asks the system for the memory of every array anew, which takes
        # longer than the work.
        with dask.config.set({"distributed.nanny.pre-spawn-environ.MALLOC_TRIM_THRESHOLD_": None}):
            return LocalCluster(
                n_workers=n_workers,
                threads_per_worker=1,
                memory_limit=None,
                host="127.0.0.1",
                dashboard_address=None,
                silence_logs=logging.CRITICAL,
                # Without a dashboard it listens all the same, and two commands want two ports.
                scheduler_kwargs={"allowed_failures": MAX_DEATHS - 1, "dashboard_address": "127.0.0.1:0"},
            )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


class ClusterExecutor(WorkerExecutor):
    """Run items on the workers of a running Dask scheduler.

    Parameters
    ----------
    address : str
        Where the scheduler listens, ``tcp://host:8786`` for example.
    """

    def __init__(self, address: str) -> None:
        self._address = address

    def _perform(self, tasks: list[Task]) -> Generator[Outcome, None, None]:
        with _silence(), _connect(self._address) as client:
            _check_workers(client, self._address)
            yield from _perform_all(client, self._address, tasks)


def _connect(address: str) -> Client:
    try:
        # By hand first: a client that could not connect does not go away quietly. In a thread, as a notebook's own
        # event loop runs in this one.
        with ThreadPoolExecutor(1) as thread:
            thread.submit(asyncio.run, _greet(address)).result()
        return Client(address, timeout=_CONNECT_SECONDS, set_as_default=False)
    except (OSError, ValueError, TypeError) as error:  # of the connection, of an address that is none, without a key
        raise InputError(
            address, f"no scheduler answers there ({error})", expected="the address of a running 'dask scheduler'"
        ) from error


async def _greet(address: str) -> None:
    arguments = Security().get_connection_args("client")
    comm = await connect(address, timeout=_CONNECT_SECONDS, **arguments)
    await comm.close()


def _check_workers(client: Client, address: str) -> None:
    try:
        client.wait_for_workers(1, timeout=_WORKERS_SECONDS)
    except TimeoutError as error:
        raise InputError(
            address, "the scheduler has no workers", expected=f"at least one; 'dask worker {address}' starts it"
        ) from error
    for worker, info in _workers(client).items():
        _check_threads(worker, info["nthreads"])
    for worker, found in client.run(_version, on_error="return").items():
        if isinstance(found, BaseException):
            raise InputError(worker, f"the worker cannot import rb2v ({found})", expected=f"rb2v {__version__} there")
        _check_version(worker, found)


def _workers(client: Client) -> dict[str, Any]:
    return dict(client.scheduler_info(n_workers=-1).get("workers", {}))  # none of a scheduler that is gone


def _check_threads(worker: str, n_threads: int) -> None:
    if n_threads != 1:
        # Threads of one process share what makes the bytes of a file certain, and hold each other up.
        raise InputError(worker, f"the worker has {n_threads} threads", expected="--nthreads 1")


def _version() -> str:
    import rb2v

    return rb2v.__version__


def _check_version(worker: str, found: str, expected: str = __version__) -> None:
    if found != expected:
        raise InputError(worker, f"the worker has rb2v {found}", expected=f"{expected}, as where the command runs")


def _perform_all(client: Client, address: str, tasks: list[Task]) -> Generator[Outcome, None, None]:
    left = deque(tasks)
    futures: deque[Future[bytes]] = deque()
    try:
        for task in tasks:
            _hand_out(client, address, left, futures)
            try:
                outcome: Outcome = pickle.loads(futures[0].result())
            except KilledWorker as error:
                raise task.death(error.allowed_failures + 1) from error
            except CancelledError as error:
                raise _gone(address) from error
            # Before the outcome goes out: whoever has the last one may never come back, and close the client.
            futures.popleft().release()
            yield outcome
    finally:
        if futures and client.status == "running":
            client.cancel(list(futures))


def _hand_out(client: Client, address: str, left: deque[Task], futures: deque[Future[bytes]]) -> None:
    """Give every worker a task at a time until the first of the futures is done, or nobody is there to do it.

    A scheduler that has more of them lets some wait behind a slow one, beside workers that have nothing to do.
    """
    alone_since = None
    while True:
        if client.status != "running":
            raise _gone(address)
        n_workers = len(_workers(client))
        under_way = [future for future in futures if not future.done()]
        for _ in range(min(max(n_workers, 1) - len(under_way), len(left))):
            futures.append(client.submit(_perform, left.popleft(), __version__, pure=False))
            under_way.append(futures[-1])
        if futures[0].done():
            return
        alone_since = None if n_workers else alone_since or time.monotonic()
        if alone_since is not None and time.monotonic() - alone_since > _WORKERS_SECONDS:
            raise InputError(address, "the scheduler has lost its workers", expected="to start them, and to run again")
        with client.as_current(), suppress(TimeoutError, CancelledError):
            wait(under_way, timeout=_POLL_SECONDS, return_when="FIRST_COMPLETED")


def _gone(address: str) -> InputError:
    return InputError(address, "the scheduler is gone", expected="to start it, and to run again")


def _perform(task: Task, version: str) -> bytes:
    try:
        # Again, because workers come and go while a command runs.
        worker = get_worker()
        _check_threads(worker.address, worker.state.nthreads)
        _check_version(worker.address, _version(), version)
        _check_sight(task.paths)
    except InputError as error:
        return pickle.dumps(Outcome(error=error))
    return task.perform()


def _check_sight(paths: Iterable[str]) -> None:
    deadline = time.monotonic() + _SIGHT_SECONDS
    for path in paths:
        # What was made a moment ago comes into sight late on some network file systems.
        while not Path(path).exists():
            if time.monotonic() > deadline:
                where = f"the worker on {socket.gethostname()} does not see it"
                raise InputError(path, where, expected="storage that every worker has at the same path")
            time.sleep(0.2)


@contextmanager
def _silence() -> Iterator[None]:
    """Keep the libraries' own messages away: what the user has to know comes as an error."""
    names = [name for name in logging.root.manager.loggerDict if name.partition(".")[0] in ("distributed", "tornado")]
    levels = {name: logging.getLogger(name).level for name in names}
    for name in names:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    try:
        yield
    finally:
        for name, level in levels.items():
            logging.getLogger(name).setLevel(level)
