"""Executors of this machine."""

from __future__ import annotations

import multiprocessing
import os
import pickle
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool

from rb2v.execution.task import MAX_DEATHS, Item, Outcome, Result, Task, death_message, pack


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


class ProcessExecutor:
    """Run items in worker processes of this machine, each with one thread of OpenCV and of the BLAS.

    Parameters
    ----------
    n_workers : int
        Number of processes, at least 1.
    """

    def __init__(self, n_workers: int) -> None:
        if n_workers < 1:
            raise ValueError(f"n_workers must be at least 1, got {n_workers}")
        self._n_workers = n_workers

    def map(self, fn: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """Yield ``fn(item)`` for every item, in order; the item of a worker that died is done again.

        Raises
        ------
        RuntimeError
            If one worker after the other died at the same item, killed for memory for example.
        """
        items = list(items)
        tasks = [pack(fn, item) for item in items]
        waiting = list(range(len(tasks)))[::-1]
        deaths: Counter[int] = Counter()
        done: dict[int, Outcome] = {}
        running: dict[Future[bytes], tuple[int, ProcessPoolExecutor]] = {}
        # A pool to a worker: who dies takes nobody along, and it is known at which item.
        idle = [_make_worker() for _ in range(min(self._n_workers, len(tasks)))]
        try:
            for index in range(len(tasks)):
                while index not in done:
                    while idle and waiting:
                        worker, next_index = idle.pop(), waiting.pop()
                        try:
                            running[worker.submit(Task.perform, tasks[next_index])] = next_index, worker
                        except BrokenProcessPool:  # it died while it had nothing to do
                            idle.append(_make_worker())
                            waiting.append(next_index)
                    for future in wait(running, return_when=FIRST_COMPLETED).done:
                        finished, worker = running.pop(future)
                        try:
                            outcome: Outcome = pickle.loads(future.result())
                        except BrokenProcessPool as error:
                            worker = _make_worker()
                            deaths[finished] += 1
                            if deaths[finished] == MAX_DEATHS:
                                raise RuntimeError(death_message(items[finished], MAX_DEATHS)) from error
                            waiting.append(finished)
                        else:
                            done[finished] = outcome
                            if outcome.error is not None:  # what comes later is not wanted any more
                                waiting = [index for index in waiting if index < finished]
                        idle.append(worker)
                yield done.pop(index).get()
        finally:
            for worker in (*idle, *(worker for _, worker in running.values())):
                worker.shutdown(cancel_futures=True)


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
