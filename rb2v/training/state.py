"""State of a training on disk, from which a stopped run resumes."""

from __future__ import annotations

import io
import json
import logging
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import pandas as pd
import torch

from rb2v.errors import InputError
from rb2v.io.store import whole_file
from rb2v.training.ranks import Ranks

__all__ = ["STATE_NAME", "TRAINING_NAME", "Stateful", "TrainingState", "write_table"]

logger = logging.getLogger(__name__)

STATE_NAME = "state.pt"
TRAINING_NAME = "metrics.csv"


class Stateful(Protocol):
    """What can be laid down and taken up again, like a network."""

    def state_dict(self) -> Any:  # noqa: ANN401 - as torch has it
        """Return what there is to know."""
        ...

    def load_state_dict(self, state_dict: Any) -> Any:  # noqa: ANN401 - as torch has it
        """Go on from what `state_dict` returned."""
        ...


class TrainingState:
    """The network, its optimizer, and what of their training is behind them.

    Parameters
    ----------
    out_dir : Path
        Where the state is kept.
    config : mapping
        What is trained, and how; a state of anything else is rejected.
    data_sha256 : str
        Digest of the manifest of the data.
    n_steps : int
        Steps of the whole training.
    ranks : Ranks
        The processes that train; the first of them reads and writes.
    parts : mapping of str to Stateful
        What changes with every step: network, optimizer and so on.
    """

    def __init__(
        self,
        out_dir: Path,
        config: Mapping[str, Any],
        data_sha256: str,
        n_steps: int,
        ranks: Ranks,
        parts: Mapping[str, Stateful],
    ) -> None:
        self.out_dir, self.ranks = out_dir, ranks
        self._parts = dict(parts)
        self._n_steps = n_steps
        self._of_run = {"config": json.dumps(config), "data_sha256": data_sha256}
        self.step = 0
        self.skipped = 0
        self.rows: list[dict[str, float]] = []

    def resume(self) -> None:
        """Go on from the last state that was saved, if there is one.

        Raises
        ------
        InputError
            If the file cannot be read, or is not a state of this run.
        """
        path = self.out_dir / STATE_NAME
        with self.ranks.sync_errors():
            found = _read_state(path) if self.ranks.is_main_process and path.exists() else None
        state = self.ranks.broadcast(found)
        if state is None:
            return
        with self.ranks.sync_errors():
            if any(state.get(name) != value for name, value in self._of_run.items()):
                raise InputError(path, "is of another run", expected="the state of this run, or none to start anew")
            try:
                for name, part in self._parts.items():
                    part.load_state_dict(state[name])
                self.step, self.skipped, self.rows = int(state["step"]), int(state["skipped"]), list(state["rows"])
            except (AttributeError, LookupError, OverflowError, RuntimeError, TypeError, ValueError) as error:
                raise InputError(path, "holds no state of training; remove it to train from the beginning") from error
            if not 0 < self.step <= self._n_steps:
                raise InputError(path, f"is {self.step}", "step", expected=f"1 to {self._n_steps}")
        if self.ranks.is_main_process:
            logger.info("going on at step %d of %d", self.step, self._n_steps)

    def save(self) -> None:
        """Write the state and the table of training, each whole or not at all."""
        state = {
            **{name: part.state_dict() for name, part in self._parts.items()},
            **self._of_run,
            "step": self.step,
            "skipped": self.skipped,
            "rows": self.rows,
        }
        with self.ranks.sync_errors():
            if self.ranks.is_main_process:
                # The table first: a run stopped between the two goes over these steps again, and writes both.
                write_table(self.out_dir / TRAINING_NAME, pd.DataFrame(self.rows))
                with whole_file(self.out_dir / STATE_NAME) as temporary:
                    # Through memory: on a full disk torch's own writer fails with an error that does not say so.
                    buffer = io.BytesIO()
                    torch.save(state, buffer)
                    temporary.write_bytes(buffer.getvalue())


def _read_state(path: Path) -> dict[str, Any]:
    try:
        with zipfile.ZipFile(path) as archive:
            is_whole = archive.testzip() is None  # torch does not look at checksums
        state: Any = torch.load(path, map_location="cpu", weights_only=True) if is_whole else None
    except Exception as error:  # there is hardly one that torch does not raise on damaged files
        raise InputError(path, "cannot be read; remove it to train from the beginning") from error
    if not is_whole:
        raise InputError(path, "is damaged; remove it to train from the beginning")
    if not isinstance(state, dict):
        raise InputError(path, "holds no state of training; remove it to train from the beginning")
    return state


def write_table(path: Path, table: pd.DataFrame) -> None:
    """Write a table with as many digits as float32 has, whole or not at all."""
    with whole_file(path) as temporary:
        table.to_csv(temporary, index=False, lineterminator="\n", float_format="%.9g")
