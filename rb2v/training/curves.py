"""The curves of a training for TensorBoard."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.proto.summary_pb2 import Summary
from tensorboardX.record_writer import RecordWriter

_FILE_VERSION = "brain.Event:2"


class Curves:
    """A file of scalars that TensorBoard follows while it grows.

    Parameters
    ----------
    folder : Path
        Where the files are, one for each time that the training was begun or gone on with.
    step : int
        The steps done; what older files hold beyond them counts no more.

    Notes
    -----
    Events are written at once and by this thread: the writer that tensorboardX would start beside it waits for ever
    where its disk is full.
    """

    def __init__(self, folder: Path, step: int) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        # TensorBoard reads the files of a folder by their names' order.
        self._writer = RecordWriter(str(folder.absolute() / f"events.out.tfevents.{step:010d}.rb2v"))
        self._add(Event(wall_time=time.time(), file_version=_FILE_VERSION))
        self._add(Event(wall_time=time.time(), step=step + 1, session_log=SessionLog(status=SessionLog.START)))

    def add(self, step: int, figures: Mapping[str, float]) -> None:
        """Add a point to the curve of every figure."""
        values = [Summary.Value(tag=name, simple_value=value) for name, value in figures.items()]
        self._add(Event(wall_time=time.time(), step=step, summary=Summary(value=values)))
        self._writer.flush()

    def close(self) -> None:
        """Close the file."""
        self._writer.close()

    def _add(self, event: Event) -> None:
        self._writer.write(event.SerializeToString())
