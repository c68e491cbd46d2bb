"""The middle frame of every triplet by every method: how near the truth it is, and how long it took."""

from __future__ import annotations

import csv
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import astuple, dataclass, fields
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from rb2v.benchmark.interpolation_suite.triplets import Triplet
from rb2v.core.metrics import psnr, ssim
from rb2v.errors import InputError
from rb2v.interpolation import Interpolator
from rb2v.io.store import whole_file

_SAVE_SECONDS = 10.0  # of work that a kill may cost

Distance = Callable[[NDArray[np.uint8], NDArray[np.uint8]], float]


@dataclass(frozen=True)
class Measurement:
    """How one method did on one triplet."""

    set_name: str
    triplet: str
    psnr_db: float
    ssim: float
    lpips: float
    """NaN where it is not measured."""
    seconds: float

    @property
    def key(self) -> tuple[str, str]:
        """Set and name of the triplet."""
        return self.set_name, self.triplet


COLUMNS = tuple(field.name for field in fields(Measurement))


def middle_frame(method: Interpolator, triplet: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Return the (H, W, 3) frame that a method makes half-way between the first and the last of a triplet."""
    (frame,) = method.between(triplet[0], triplet[2], [0.5])  # type: ignore[arg-type]
    return np.asarray(frame, dtype=np.uint8)


def measure_method(
    method: Interpolator,
    triplets: Sequence[Triplet],
    path: Path,
    distance: Distance | None,
    min_size_px: int,
    clock: Callable[[], float],
    on_triplet: Callable[[int], None],
) -> list[Measurement]:
    """Measure a method on triplets, or go on where it was stopped.

    Parameters
    ----------
    method : Interpolator
        Is given 8-bit frames.
    triplets : sequence of Triplet
        What it is measured on.
    path : Path
        The table of what is measured; written every few seconds, whole or not at all.
    distance : callable or None
        Returns LPIPS of an estimate and the truth.
    min_size_px : int
        Least side that the metrics can judge.
    clock : callable
        Tells the time, in seconds, that a frame takes.
    on_triplet : callable
        Called with the number of triplets that are done.

    Raises
    ------
    InputError
        If a triplet cannot be read, or the table is none.
    """
    done = {one.key: one for one in read_measurements(path)} if path.exists() else {}
    saved = time.monotonic()
    rows = []
    for index, triplet in enumerate(triplets):
        row = done.get((triplet.set_name, triplet.name))
        if row is None:
            frames = triplet.read(min_size_px)
            start = clock()
            made = middle_frame(method, frames)
            seconds = clock() - start
            lpips = math.nan if distance is None else distance(made, frames[1])
            row = Measurement(
                triplet.set_name, triplet.name, psnr(made, frames[1]), ssim(made, frames[1]), lpips, seconds
            )
        rows.append(row)
        if time.monotonic() - saved > _SAVE_SECONDS:
            write_measurements(path, rows)
            saved = time.monotonic()
        on_triplet(index + 1)
    write_measurements(path, rows)
    return rows


def write_measurements(path: Path, rows: Sequence[Measurement]) -> None:
    """Write measurements as CSV, whole or not at all."""
    with whole_file(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(COLUMNS)
        writer.writerows(astuple(row) for row in rows)


def read_measurements(path: Path) -> list[Measurement]:
    """Read measurements again.

    Raises
    ------
    InputError
        If the file holds something else.
    """
    with path.open(newline="", encoding="utf-8") as file:
        header, *lines = list(csv.reader(file)) or [[]]
    try:
        if tuple(header) != COLUMNS:
            raise ValueError("other columns")
        return [Measurement(line[0], line[1], *map(float, line[2:])) for line in lines]
    except (ValueError, TypeError, IndexError) as error:
        raise InputError(path, "is no table of measurements; remove it to measure again") from error
