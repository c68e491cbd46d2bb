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

from rb2v.benchmark.suites.interpolation.image_triplets import Triplet
from rb2v.core.metrics import SSIM_WINDOW_PX, psnr, ssim
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


@dataclass(frozen=True)
class Metrics:
    """By what frames are measured."""

    clock: Callable[[], float]
    """Tells the time, in seconds, that a frame takes."""
    min_size_px: int = SSIM_WINDOW_PX
    """Least side that the metrics can judge."""
    lpips: Distance | None = None
    """Returns LPIPS of an estimate and the truth; None where it is not measured."""

    def measure(self, method: Interpolator, triplet: Triplet) -> Measurement:
        """Measure a method on a triplet.

        Raises
        ------
        InputError
            If the triplet cannot be read, or is too small.
        """
        frames = triplet.read(self.min_size_px)
        start = self.clock()
        made = middle_frame(method, frames)
        seconds = self.clock() - start
        lpips = math.nan if self.lpips is None else self.lpips(made, frames[1])
        return Measurement(triplet.set_name, triplet.name, psnr(made, frames[1]), ssim(made, frames[1]), lpips, seconds)


COLUMNS = tuple(field.name for field in fields(Measurement))


def middle_frame(method: Interpolator, triplet: Sequence[NDArray[np.uint8]]) -> NDArray[np.uint8]:
    """Return the (H, W, 3) frame that a method makes half-way between the first and the last of a triplet."""
    (frame,) = method.between(triplet[0], triplet[2], [0.5])  # type: ignore[arg-type]
    return np.asarray(frame, dtype=np.uint8)


def measure_method(
    method: Interpolator,
    triplets: Sequence[Triplet],
    path: Path,
    *,
    metrics: Metrics,
    on_triplet: Callable[[int], None],
) -> None:
    """Measure a method on triplets, or resume.

    Parameters
    ----------
    method : Interpolator
        Is given 8-bit frames.
    triplets : sequence of Triplet
        What it is measured on.
    path : Path
        The table of what is measured; written every few seconds, atomically.
    metrics : Metrics
        By what it is measured.
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
        rows.append(done.get((triplet.set_name, triplet.name)) or metrics.measure(method, triplet))
        if time.monotonic() - saved > _SAVE_SECONDS:
            write_measurements(path, rows)
            saved = time.monotonic()
        on_triplet(index + 1)
    write_measurements(path, rows)


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
        raise InputError(path, "is not a table of measurements; remove it to measure again") from error
