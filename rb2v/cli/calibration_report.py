"""Printed report of a calibration."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rich.table import Table

from rb2v.cli.consoles import console

if TYPE_CHECKING:
    from rb2v.artifacts import Calibration, Lens


class WarningCounter(logging.Handler):
    """Counts the warnings that are logged."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.n_warnings = 0

    def emit(self, record: logging.LogRecord) -> None:
        """Count a record."""
        self.n_warnings += 1


@contextmanager
def count_warnings() -> Iterator[WarningCounter]:
    """Count what the package warns of."""
    counter, logger = WarningCounter(), logging.getLogger("rb2v")
    logger.addHandler(counter)
    try:
        yield counter
    finally:
        logger.removeHandler(counter)


def print_calibration(path: Path, calibration: Calibration, n_warnings: int) -> None:
    """Print a calibration's figures as a table, and the files that were written.

    Parameters
    ----------
    path : Path
        The calibration's file.
    calibration : Calibration
        What is in it.
    n_warnings : int
        Warnings that were printed before.
    """
    import numpy as np

    from rb2v.stages.calibrate.overlay import find_pictures

    quality, crop = calibration.quality, calibration.crop
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column()
    n_used = max(quality.images or 0, quality.pairs)
    points = f"{n_used} used: {quality.points} points of {quality.pairs}"
    if n_used > quality.pairs:
        points += f", {n_used - quality.pairs} by the whole image"
    table.add_row("captures", points + (f", and {_count(quality.takes, 'still take')}" if quality.takes else ""))
    table.add_row("mirrored", "yes" if calibration.mirrored else "no")
    table.add_row("reprojection", f"rms {quality.rms_px:.3f} px" + _figure(", p95", quality.p95_px))
    if quality.leave_one_out_px is not None:
        table.add_row("leave-one-out", f"{quality.leave_one_out_px:.3f} px")
    if not quality.refined:
        table.add_row("refined", "no: as the points tell, not the images")
    if calibration.residuals:
        lengths = [float(np.hypot(one.dx, one.dy)) for one in calibration.residuals]
        table.add_row("residuals", f"median {np.median(lengths):.3f} px, largest {max(lengths):.3f} px over the crop")
    table.add_row("blurry lens", _describe_lens(calibration.lens_blurry, calibration.size_blurry))
    table.add_row("sharp lens", _describe_lens(calibration.lens_sharp, calibration.size_sharp))
    table.add_row("crop", f"{crop.width}x{crop.height} at ({crop.x}, {crop.y})")
    if quality.delta_e is not None:
        before = "" if quality.delta_e_before is None else f"{quality.delta_e_before:.2f} before, "
        coded = "" if quality.delta_e_coded is None else f", {quality.delta_e_coded:.2f} of coded values"
        table.add_row("Delta E 2000", f"{before}{quality.delta_e:.2f} after{coded}")
    if calibration.response is not None:
        table.add_row("response", str(calibration.response))
    for camera, siting in (("blurry", calibration.chroma_blurry), ("sharp", calibration.chroma_sharp)):
        if siting is not None:
            table.add_row(f"{camera} chroma", siting.describe())
    for camera, gray in (("blurry", calibration.gray_blurry), ("sharp", calibration.gray_sharp)):
        if gray is not None:
            table.add_row(f"{camera} gray row", f"exponent {gray.exponent:.3f} ± {gray.error:.3f} off the response")
    if calibration.tone_sharp is not None:
        tone = calibration.tone_sharp
        left = f"{100 * tone.error_before:.1f} % between the views before, {100 * tone.error_after:.1f} % after"
        table.add_row("sharp tone", f"exponent {tone.exponent:.3f}: {left}; align undoes it")
    if calibration.gain_field is not None:
        field = calibration.gain_field
        left = f"{100 * field.error_before:.1f} % between the views before, {100 * field.error_after:.1f} % after"
        table.add_row("uneven light", f"{left}; align evens it out")
    table.add_row("warnings", f"{n_warnings}, above" if n_warnings else "none")
    table.add_row("pictures", "\n".join(str(picture) for picture in find_pictures(path)))
    console.print(table)
    console.print(str(path), soft_wrap=True)


def _figure(label: str, value: float | None) -> str:
    return "" if value is None else f"{label} {value:.3f} px"


def _count(n: int, name: str) -> str:
    return f"{n} {name}" + ("" if n == 1 else "s")


def _describe_lens(lens: Lens | None, size: tuple[int, int]) -> str:
    from rb2v.core.lens import largest_displacement_px

    if lens is None:
        return "no distortion told: taken for perfect"
    return f"k1 {lens.distortion[0]:.4f}, moves pixels by up to {largest_displacement_px(lens, size):.1f} px"
