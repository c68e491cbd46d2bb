"""Duration of the trainings of a suite."""

from __future__ import annotations

import time
from pathlib import Path

from rb2v.io.store import SCHEMA, write_json


class StopWatch:
    """Measure the training alone: its first step brings warming up, and what was before a kill is not known.

    Parameters
    ----------
    path : Path
        Where the time is written down.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._start: tuple[int, float] | None = None

    def see(self, done: int, total: int, label: str) -> None:
        """Take note of progress, and write the time down at the end."""
        if label != "training":
            return
        now = time.perf_counter()
        if self._start is None:
            self._start = done, now
        elif done == total:
            first, start = self._start
            per_step = (now - start) / (done - first)
            write_json(self._path, {"schema": SCHEMA, "seconds_per_step": per_step, "seconds": per_step * total})
