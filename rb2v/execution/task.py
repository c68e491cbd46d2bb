"""Calls on their way to workers: small, and with paths that mean the same elsewhere."""

from __future__ import annotations

import io
import pickle
import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

MAX_TASK_BYTES = 2**20  # paths and configurations are far smaller; frames are larger (docs/scaling.md)
MAX_DEATHS = 3
"""After so many dead workers a task is given up."""


class Executor(Protocol):
    """Anything that maps a function over items and yields the results in the items' order."""

    def map(self, fn: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """Yield ``fn(item)`` for every item, in order; the first exception ends the iteration."""
        ...


@dataclass(frozen=True)
class Task:
    """A call, pickled."""

    call: bytes
    paths: tuple[str, ...]
    """The paths in the call that are there for its sender."""

    def death(self, n_deaths: int) -> RuntimeError:
        """Return the error of a task at which one worker after the other died."""
        _, item = pickle.loads(self.call)
        name = repr(item)
        name = name if len(name) <= 120 else name[:117] + "..."
        times = f"{n_deaths} times at the same task, {name}"
        return RuntimeError(f"a worker process died, {times}; run the command again to resume")

    def perform(self) -> bytes:
        """Call the function, with one thread of OpenCV and of the BLAS, and return the pickled outcome.

        Where workers wait for each other on the same cores, small matrix products take many times as long.
        """
        import cv2
        from threadpoolctl import threadpool_limits

        try:
            # First, because the limit holds for the libraries that are there, and what is called brings its own.
            fn, item = pickle.loads(self.call)
            cv2.setNumThreads(1)
            with threadpool_limits(1, "blas"):
                return pickle.dumps(Outcome(fn(item)))
        except Exception as error:
            return _pickle_error(error)


@dataclass(frozen=True)
class Outcome:
    """What came of a call: its result, or its error."""

    result: Any = None
    error: Exception | None = None

    def get(self) -> Any:  # noqa: ANN401 - whatever the function returned
        """Return the result, or raise the error."""
        if self.error is not None:
            raise self.error
        return self.result


def _pickle_error(error: Exception) -> bytes:
    """Pickle an error with its traceback as text; one that would not arrive is told in another's words."""
    text = "".join(traceback.format_exception(error))
    try:
        error.add_note(f"in a worker:\n{text}")
        outcome = pickle.dumps(Outcome(error=error))
        pickle.loads(outcome)
    except Exception:
        return pickle.dumps(Outcome(error=RuntimeError(f"a worker failed:\n{text}")))
    return outcome


class _TaskPickler(pickle.Pickler):
    """A pickler that makes paths absolute: on another machine relative ones mean something else."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file)
        self.paths: dict[str, None] = {}

    def reducer_override(self, value: object) -> Any:  # noqa: ANN401 - what pickle asks for
        if not isinstance(value, Path):
            return NotImplemented
        path = value.absolute()
        if path.exists():
            self.paths[str(path)] = None
        return type(path), (str(path),)


def pack(fn: Callable[[Item], Result], item: Item) -> Task:
    """Pickle a call.

    Raises
    ------
    ValueError
        If it is larger than a task may be: tasks carry paths and configurations, and never frames.
    """
    buffer = io.BytesIO()
    pickler = _TaskPickler(buffer)
    pickler.dump((fn, item))
    call = buffer.getvalue()
    if len(call) > MAX_TASK_BYTES:
        size = f"a task of {len(call)} bytes, of at most {MAX_TASK_BYTES}"
        raise ValueError(f"{_name(fn)}: {size}; send paths, not what they hold")
    return Task(call, tuple(pickler.paths))


def _name(fn: Callable[..., Any]) -> str:
    while isinstance(fn, partial):
        fn = fn.func
    return getattr(fn, "__qualname__", type(fn).__qualname__)


class WorkerExecutor(ABC):
    """Run items in worker processes, each with one thread of OpenCV and of the BLAS."""

    def map(self, fn: Callable[[Item], Result], items: Iterable[Item]) -> Iterator[Result]:
        """Yield ``fn(item)`` for every item, in order; the item of a worker that died is done again.

        Raises
        ------
        ValueError
            If a task is larger than a task may be.
        InputError
            If there is no scheduler, it has no workers, or they are of another version, have several threads, or do
            not see the files.
        RuntimeError
            If one worker after the other died at the same item, killed for memory for example.
        """
        tasks = [pack(fn, item) for item in items]
        if tasks:
            with closing(self._perform(tasks)) as outcomes:
                for outcome in outcomes:
                    yield outcome.get()

    @abstractmethod
    def _perform(self, tasks: list[Task]) -> Generator[Outcome, None, None]:
        """Yield the outcomes of tasks, of which there is one at least, in order."""
