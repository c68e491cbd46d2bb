"""Processor time and bytes by stage, for work that overlaps in threads of one process."""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from functools import wraps
from typing import ParamSpec, TypeVar

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


@dataclass
class StageCost:
    """Cost of a stage."""

    processor_seconds: float = 0.0
    """Of all threads, without stages inside it."""
    bytes_read: int = 0
    bytes_written: int = 0


@dataclass
class _ThreadState:
    clock_id: int | None
    """By which other threads read this one's processor time; None where the system has none."""
    start_ns: int
    last_ns: int
    """Its processor time at the start, and as it was last seen."""
    mark_ns: int = 0
    """Up to where its time is charged."""
    names: list[str] = field(default_factory=list)
    """The stages that it is in, the innermost last."""


class Profiler:
    """Charge the processor time of the process to stages, each moment to the innermost one.

    The thread that makes the profiler is charged for all threads that are in no stage of their own, such as those of a
    decoder: whatever they do, they do for its stage.
    """

    def __init__(self) -> None:
        self.costs: dict[str, StageCost] = defaultdict(StageCost)
        self._lock = threading.Lock()
        self._start_seconds, self._start_ns = time.perf_counter(), time.process_time_ns()
        # By thread, and not by its number, which the next thread may have.
        self._local = threading.local()
        self._own = self._local.state = _ThreadState(None, self._start_ns, self._start_ns)
        self._others: list[_ThreadState] = []

    @property
    def wall_seconds(self) -> float:
        """Time since the start."""
        return time.perf_counter() - self._start_seconds

    @property
    def processor_seconds(self) -> float:
        """Processor time of the process since the start."""
        return (time.process_time_ns() - self._start_ns) / 1e9

    @contextmanager
    def stage(self, name: str) -> Iterator[None]:
        """Charge the block to a stage."""
        with self._lock:
            state = self._charge()
            state.names.append(name)
        try:
            yield
        finally:
            with self._lock:
                self._charge().names.pop()

    def count(self, *, read: int, written: int) -> None:
        """Charge bytes to the stage that the calling thread is in."""
        state: _ThreadState | None = getattr(self._local, "state", None)
        with self._lock:
            if state is not None and state.names:
                cost = self.costs[state.names[-1]]
                cost.bytes_read += read
                cost.bytes_written += written

    def _charge(self) -> _ThreadState:
        """Charge the time since the last call to the stage that the calling thread is in."""
        state: _ThreadState | None = getattr(self._local, "state", None)
        if state is None:
            state = self._local.state = _new_state()
            self._others.append(state)
        now_ns = self._own_ns() if state is self._own else time.thread_time_ns()
        state.last_ns = now_ns
        if state.names:
            self.costs[state.names[-1]].processor_seconds += (now_ns - state.mark_ns) / 1e9
        state.mark_ns = now_ns
        return state

    def _own_ns(self) -> int:
        others_ns = 0
        for state in self._others:
            if state.clock_id is not None:
                with suppress(OSError):  # the thread has ended
                    state.last_ns = max(state.last_ns, time.clock_gettime_ns(state.clock_id))
            others_ns += state.last_ns - state.start_ns
        return time.process_time_ns() - others_ns


def _new_state() -> _ThreadState:
    # Not on macOS, where a thread's time is known to others when it leaves a stage.
    find_clock = getattr(time, "pthread_getcpuclockid", None)
    clock_id = None if find_clock is None else find_clock(threading.get_ident())
    now_ns = time.thread_time_ns()
    return _ThreadState(clock_id, now_ns, now_ns)


_active: Profiler | None = None
_OFF = nullcontext()


@contextmanager
def profiling() -> Iterator[Profiler]:
    """Profile the block, in all threads of the process; one at a time."""
    global _active
    before, _active = _active, Profiler()
    try:
        yield _active
    finally:
        _active = before


def stage(name: str) -> AbstractContextManager[None]:
    """Return a context that charges its block to a stage; one that does nothing where nothing is profiled."""
    return _OFF if _active is None else _active.stage(name)


def staged(name: str) -> Callable[[Callable[Parameters, Result]], Callable[Parameters, Result]]:
    """Return a decorator that charges a function to a stage."""

    def decorate(function: Callable[Parameters, Result]) -> Callable[Parameters, Result]:
        @wraps(function)
        def charged(*args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
            with stage(name):
                return function(*args, **kwargs)

        return charged

    return decorate


def count_bytes(*, read: int = 0, written: int = 0) -> None:
    """Charge bytes that were read or written to the present stage."""
    if _active is not None:
        _active.count(read=read, written=written)
