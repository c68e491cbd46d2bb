"""Executors of this machine."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import threading
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager, nullcontext
from typing import Self

from rb2v.execution.task import MAX_DEATHS, Item, Outcome, Result, Task, WorkerExecutor, pack


class SerialExecutor:
    """Run everything here, one item after the other.

    Parameters
    ----------
    check_pickle : bool
        Pickle the function, every item and every result on the way, so that a serial test meets what a process
        pool or a cluster would.
    """

    def __init__(self, *, check_pickle: bool = False) -> None:
        self._check_pickle = check_pickle

    def map(self, fn: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """Yield ``fn(item)`` for every item, in order."""
        for item in items:
            if self._check_pickle:
                fn_copy, item_copy = pickle.loads(pack(fn, item).call)
                yield pickle.loads(pickle.dumps(fn_copy(item_copy)))
            else:
                yield fn(item)


class LocalExecutor(WorkerExecutor):
    """Run items in worker processes of this machine.

    Parameters
    ----------
    n_workers : int
        Number of processes, at least 1.

    Attributes
    ----------
    n_workers : int
    """

    def __init__(self, n_workers: int) -> None:
        if n_workers < 1:
            raise ValueError(f"n_workers must be at least 1, got {n_workers}")
        self.n_workers = n_workers

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Keep the workers from one ``map`` in the block to the next, as each takes seconds to start."""
        yield


class ProcessExecutor(LocalExecutor):
    """Run items in processes that the command starts, see `LocalExecutor`."""

    _kept: _Workers | None = None

    @contextmanager
    def kept(self) -> Iterator[None]:
        """Keep the workers, see `LocalExecutor`."""
        with _Workers(self.n_workers) as self._kept:
            try:
                yield
            finally:
                self._kept = None

    def _perform(self, tasks: list[Task]) -> Generator[Outcome, None, None]:
        waiting = list(range(len(tasks)))[::-1]
        done: dict[int, Outcome] = {}
        kept = self._kept
        with _Workers(min(self.n_workers, len(tasks))) if kept is None else nullcontext(kept) as workers:
            n_maps = workers.begin()
            for index in range(len(tasks)):
                while True:
                    if workers.n_maps != n_maps:
                        raise RuntimeError("another map has begun with these workers")
                    while waiting and workers.any_idle:
                        following = waiting.pop()
                        workers.submit(following, tasks[following])
                    if index in done:
                        break
                    finished = workers.collect()
                    done |= finished
                    # What comes after an error is not wanted any more.
                    end = min((one for one, outcome in finished.items() if outcome.error is not None), default=None)
                    waiting = [one for one in waiting if end is None or one < end]
                yield done.pop(index)


class _Workers:
    """Processes that take a task each. A pool to each: who dies takes nobody along, and it is known at which task."""

    def __init__(self, n_workers: int) -> None:
        self._idle = [_make_worker() for _ in range(n_workers)]
        self._running: dict[Future[bytes], tuple[int, Task, ProcessPoolExecutor]] = {}
        self._deaths: Counter[int] = Counter()
        self.n_maps = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        for worker in (*self._idle, *(worker for _, _, worker in self._running.values())):
            worker.shutdown(cancel_futures=True)

    def begin(self) -> int:
        """Begin the tasks of another ``map``, and count it; those that an unfinished one left are waited for."""
        self._deaths.clear()
        for future, (_, _, worker) in self._running.items():
            if future.exception() is None:
                self._idle.append(worker)
            else:
                self._replace(worker)
        self._running.clear()
        self.n_maps += 1
        return self.n_maps

    @property
    def any_idle(self) -> bool:
        """Whether a task would be begun at once."""
        return bool(self._idle)

    def submit(self, index: int, task: Task) -> None:
        """Give a task to an idle worker."""
        while True:
            worker = self._idle.pop()
            try:
                future = worker.submit(Task.perform, task)
            except BrokenProcessPool:  # it died while it had nothing to do
                self._replace(worker)
            else:
                self._running[future] = index, task, worker
                return

    def collect(self) -> dict[int, Outcome]:
        """Wait for a worker, and return what is done by now; the task of a worker that died is done again."""
        outcomes = {}
        for future in wait(self._running, return_when=FIRST_COMPLETED).done:
            index, task, worker = self._running.pop(future)
            try:
                pickled = future.result()
            except BrokenProcessPool as error:
                self._replace(worker)
                self._deaths[index] += 1
                if self._deaths[index] == MAX_DEATHS:
                    raise task.death(MAX_DEATHS) from error
                self.submit(index, task)
            else:
                self._idle.append(worker)
                outcomes[index] = pickle.loads(pickled)
        return outcomes

    def _replace(self, worker: ProcessPoolExecutor) -> None:
        self._idle.append(_make_worker())
        worker.shutdown()


def _make_worker() -> ProcessPoolExecutor:
    return ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), _watch_parent)


def _watch_parent() -> None:
    threading.Thread(target=_exit_with_parent, daemon=True).start()


def _exit_with_parent() -> None:
    # A killed parent cannot shut its pool down, and its workers would wait for work for ever.
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)
