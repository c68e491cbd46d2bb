"""Where the work runs: one ``map`` in order, here or in worker processes.

Items are takes or shards and results are small records; a worker reads, computes and writes its own files.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import threading
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Protocol, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class Executor(Protocol):
    """Anything that maps a function over items and yields the results in the items' order."""

    def map(self, fn: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """Yield ``fn(item)`` for every item, in order; the first exception ends the iteration."""
        ...


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
                fn_copy, item_copy = pickle.loads(pickle.dumps((fn, item)))
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
        """Yield ``fn(item)`` for every item, in order.

        Raises
        ------
        RuntimeError
            If a worker died, killed for memory for example.
        """
        items = list(items)
        if not items:
            return
        pool = ProcessPoolExecutor(
            max_workers=min(self._n_workers, len(items)),
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_prepare_worker,
        )
        try:
            yield from pool.map(fn, items)
        except BrokenProcessPool as error:
            raise RuntimeError("a worker process died; run the command again to go on where it was") from error
        finally:
            pool.shutdown(wait=True, cancel_futures=True)


def _prepare_worker() -> None:
    import cv2
    from threadpoolctl import threadpool_limits

    # Where workers wait for each other on the same cores, small matrix products take many times as long.
    cv2.setNumThreads(1)
    threadpool_limits(1, "blas")
    threading.Thread(target=_exit_with_parent, daemon=True).start()


def _exit_with_parent() -> None:
    # A killed parent cannot shut its pool down, and its workers would wait for work for ever.
    parent = multiprocessing.parent_process()
    if parent is not None:
        parent.join()
        os._exit(1)


def make_executor(n_workers: int | None = None) -> Executor:
    """Return the executor for a number of workers: serial for 1, processes above; None takes one per core."""
    n_workers = n_workers or os.cpu_count() or 1
    return SerialExecutor() if n_workers == 1 else ProcessExecutor(n_workers)
