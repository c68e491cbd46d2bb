"""Executors: one ``map`` in order, here, in worker processes, or on the workers of a cluster.

Items are takes or shards and results are small records; a worker reads, computes and writes its own files.
"""

from __future__ import annotations

import os
from contextlib import AbstractContextManager, nullcontext
from importlib.util import find_spec

from rb2v.errors import Rb2vError
from rb2v.execution.local import LocalExecutor, ProcessExecutor, SerialExecutor
from rb2v.execution.task import Executor

__all__ = ["Executor", "ProcessExecutor", "SerialExecutor", "count_workers", "keep_workers", "make_executor"]


def make_executor(n_workers: int | None = None, name: str = "auto") -> Executor:
    """Return the executor of a name.

    Parameters
    ----------
    n_workers : int, optional
        Number of worker processes on this machine; one per core by default.
    name : str
        ``serial``; ``processes`` of this machine; ``auto`` for serial with one worker and processes otherwise; ``dask``
        for a cluster of processes on this machine; or the address of a running Dask scheduler, which has
        workers of its own.

    Raises
    ------
    Rb2vError
        If there is no such executor, it does not go with a number of workers, or Dask is not installed.
    """
    n_local = n_workers or os.cpu_count() or 1
    if name == "auto":
        return SerialExecutor() if n_local == 1 else ProcessExecutor(n_local)
    if name == "processes":
        return ProcessExecutor(n_local)
    if name == "serial":
        if n_workers not in (None, 1):
            raise Rb2vError(f"--workers: {n_workers} with the serial executor; expected 1, or another executor")
        return SerialExecutor()
    if name != "dask" and "://" not in name:
        expected = "expected auto, serial, processes, dask or the address of a scheduler, tcp://host:8786 for example"
        raise Rb2vError(f"--executor: {name!r} is no executor; {expected}")
    if find_spec("distributed") is None:
        raise Rb2vError(f"--executor: {name} needs Dask Distributed; install it with pip install 'rb2v[cluster]'")
    from rb2v.execution.cluster import ClusterExecutor, LocalClusterExecutor

    if name == "dask":
        return LocalClusterExecutor(n_local)
    if n_workers is not None:
        raise Rb2vError(f"--workers: {n_workers} with a scheduler, whose workers are started apart; expected neither")
    return ClusterExecutor(name)


def count_workers(executor: Executor) -> int | None:
    """Return how many items an executor runs at a time, None where others decide that."""
    if isinstance(executor, SerialExecutor):
        return 1
    return executor.n_workers if isinstance(executor, LocalExecutor) else None


def keep_workers(executor: Executor) -> AbstractContextManager[None]:
    """Return a context in which an executor's workers stay from one ``map`` to the next."""
    return executor.kept() if isinstance(executor, LocalExecutor) else nullcontext()
