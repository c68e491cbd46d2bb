"""The search: the score of every window in range of the coarse offset, for every blurry frame."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rb2v.artifacts import Rig
from rb2v.core.blur import STORED_LEVELS, Windows
from rb2v.core.temporal import MatrixProduct, Peak, errors_to_psnr, find_peak, search_errors
from rb2v.io.aligned import ScoreCurves
from rb2v.io.frame_file import FrameFile
from rb2v.stages.align.config import AlignConfig
from rb2v.stages.align.track import SharpSource

CLIPPED_LINEAR = 0.95
"""Linear light from which a pixel counts as clipped."""

_FRAMES_AT_ONCE = 256
_NUMBERS_AT_ONCE = 1 << 23
_MIN_LOST_RUN = 4


@dataclass(frozen=True, eq=False)
class Search:
    """What the search says of every blurry frame by itself."""

    curves: ScoreCurves
    margins_db: NDArray[np.float64]
    """(J,) how far the peak stands out."""
    sharpness: NDArray[np.float64]
    """(J,) curvature of the error at the peak over the error there."""
    confident: NDArray[np.bool_]
    """(J,) whose peaks may tell the clock."""
    found_offset: bool = True
    """Whether a coarse offset told where to look."""


def unclipped(frames: NDArray[np.uint16]) -> NDArray[np.bool_]:
    """Return which pixels of (J, n, 3) reduced frames are below clipping, as (J, n)."""
    return np.asarray(frames.max(axis=2) < CLIPPED_LINEAR * STORED_LEVELS)


def search_windows(
    frames: FrameFile[np.uint16],
    times: NDArray[np.float64],
    windows: Windows,
    sharp: SharpSource,
    offset_seconds: float,
    rig: Rig,
    config: AlignConfig,
    product: MatrixProduct,
) -> Search:
    """Score every window in range of the coarse offset, and look further where none is clear.

    Parameters
    ----------
    frames : (J, n, 3) FrameFile of uint16
        Reduced blurry frames.
    times : (J,) ndarray of float64
        Their times in seconds.
    windows : Windows
        The synthetic blur of all windows, reduced alike.
    sharp : SharpSource
        Tells the position that belongs to a time.
    offset_seconds : float
        Sharp-camera time at blurry-camera time 0, roughly.
    rig : Rig
        The range.
    config : AlignConfig
        What makes a peak clear.
    product : callable
        Multiplies matrices.
    """
    radius = math.ceil(rig.search_range_seconds * rig.fine_fps)
    expected = np.array([round(sharp.position_at(offset_seconds + time)) for time in times], dtype=np.int64)
    search = _empty(len(times), 2 * radius + 1)
    search.curves.first_position[:] = expected - radius
    _score(search, np.arange(len(times)), frames, windows, config, product)
    wide = math.ceil(config.wide_range_seconds * rig.fine_fps)
    if wide > radius and config.positions == "clock":
        for run in _lost_runs(search.confident):
            _look_further(search, run, expected, wide, frames, windows, config, product)
    return search


def no_search(n_frames: int) -> Search:
    """Return what is known where no coarse offset is: nothing."""
    return dataclasses.replace(_empty(n_frames, 1), found_offset=False)


def _empty(n_frames: int, n_windows: int) -> Search:
    curves = ScoreCurves(
        np.zeros(n_frames, np.int64),
        np.full((n_frames, n_windows), np.nan, np.float32),
        np.full(n_frames, np.nan),
    )
    return Search(curves, np.zeros(n_frames), np.zeros(n_frames), np.zeros(n_frames, dtype=bool))


def _score(
    search: Search,
    indices: NDArray[np.intp],
    frames: FrameFile[np.uint16],
    windows: Windows,
    config: AlignConfig,
    product: MatrixProduct,
) -> None:
    """Score some frames in the ranges that the curves start at, and read their peaks."""
    n_windows = search.curves.psnr.shape[1]
    for some in _batches(indices, frames):
        errors = _errors(search.curves.first_position[some], n_windows, frames[some], windows, config, product)
        for index, row in zip(some, errors, strict=True):
            search.curves.psnr[index] = errors_to_psnr(row)
            if np.all(np.isnan(row)):
                continue
            peak = find_peak(row)
            search.margins_db[index] = peak.margin_db
            search.sharpness[index] = peak.sharpness
            search.curves.peak[index] = np.nan
            if peak.margin_db >= config.min_margin_db:
                search.curves.peak[index] = search.curves.first_position[index] + peak.index + peak.offset
            search.confident[index] = _is_clear(peak, row, config)


def _batches(indices: NDArray[np.intp], frames: FrameFile[np.uint16]) -> Iterator[NDArray[np.intp]]:
    """Yield as many indices at a time as frames fit well in memory."""
    n = min(max(_NUMBERS_AT_ONCE // max(math.prod(frames.shape[1:]), 1), 1), _FRAMES_AT_ONCE)
    for start in range(0, len(indices), n):
        yield indices[start : start + n]


def _errors(
    first: NDArray[np.int64],
    n_windows: int,
    frames: NDArray[np.uint16],
    windows: Windows,
    config: AlignConfig,
    product: MatrixProduct,
) -> NDArray[np.float64]:
    valid = unclipped(frames) if config.color_fit == "robust" else None
    return search_errors(windows, frames / STORED_LEVELS, first, n_windows, valid, product=product)


def _is_clear(peak: Peak, errors: NDArray[np.float64], config: AlignConfig) -> bool:
    best_db = float(errors_to_psnr(errors[peak.index : peak.index + 1])[0])
    return not peak.at_edge and peak.margin_db >= config.min_margin_db and best_db >= config.min_psnr_db


def _lost_runs(confident: NDArray[np.bool_]) -> Iterator[NDArray[np.intp]]:
    """Yield runs of frames without a clear peak that are too long to be single spoilt frames."""
    lost = np.flatnonzero(~confident)
    for run in np.split(lost, np.flatnonzero(np.diff(lost) > 1) + 1):
        if len(run) >= _MIN_LOST_RUN:
            yield run


def _look_further(
    search: Search,
    run: NDArray[np.intp],
    expected: NDArray[np.int64],
    radius: int,
    frames: FrameFile[np.uint16],
    windows: Windows,
    config: AlignConfig,
    product: MatrixProduct,
) -> None:
    """Move the ranges of frames whose clear window lies further off, as behind a piece that a recording lacks."""
    n_windows = search.curves.psnr.shape[1]
    moved = []
    for some in _batches(run, frames):
        first = expected[some] - radius
        errors = _errors(first, 2 * radius + 1, frames[some], windows, config, product)
        for index, low, row in zip(some, first, errors, strict=True):
            if np.all(np.isnan(row)):
                continue
            peak = find_peak(row)
            if _is_clear(peak, row, config):
                search.curves.first_position[index] = low + peak.index - n_windows // 2
                moved.append(index)
    _score(search, np.array(moved, dtype=np.intp), frames, windows, config, product)
