"""The search: the score of every window in range of the coarse offset, for every blurry frame."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rb2v.core.blur import STORED_LEVELS, CubicWindows
from rb2v.core.color import luminance
from rb2v.core.temporal import Peak, errors_to_psnr, find_peak, parabola_vertex, search_errors, window_errors
from rb2v.io.aligned import ScoreCurves
from rb2v.profiling import staged
from rb2v.stages.align.context import TakeContext
from rb2v.stages.align.track import Tracks

CLIPPED_LINEAR = 0.95
"""Linear light from which a pixel counts as clipped."""

_FRAMES_AT_ONCE = 256  # enough for one matrix product to run at full speed
_NUMBERS_AT_ONCE = 1 << 23  # 64 MB as float64
_MIN_LOST_RUN = 4  # frames; single spoilt ones are no reason to search farther (docs/alignment.md)
_CENTERING_ROUNDS = 2  # Newton steps; not measured how far a third would move a peak
_NEIGHBORS = np.array([-1.0, 0.0, 1.0])


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


@staged("search")
def search_windows(context: TakeContext, tracks: Tracks, offset_seconds: float) -> Search:
    """Score every window in range of the coarse offset, and look further where none is clear.

    Parameters
    ----------
    context : TakeContext
        The range, and what makes a peak clear.
    tracks : Tracks
        Blurry frames and windows.
    offset_seconds : float
        Sharp-camera time at blurry-camera time 0, roughly.
    """
    rig, config, times = context.rig, context.config, tracks.blurry.times
    radius = math.ceil(rig.search_range_seconds * rig.fine_fps)
    expected = np.array([round(tracks.sharp.position_at(offset_seconds + time)) for time in times], dtype=np.int64)
    scorer = _Scorer(context, tracks, expected - radius, 2 * radius + 1)
    scorer.score(np.arange(len(times)))
    wide = math.ceil(config.wide_range_seconds * rig.fine_fps)
    if wide > radius and config.positions == "clock":
        for run in _lost_runs(scorer.confident):
            scorer.look_further(run, expected, wide)
    return scorer.search()


def no_search(n_frames: int) -> Search:
    """Return what is known where no coarse offset is: nothing."""
    curves = ScoreCurves(
        np.zeros(n_frames, np.int64), np.full((n_frames, 1), np.nan, np.float32), np.full(n_frames, np.nan)
    )
    nothing = np.zeros(n_frames)
    return Search(curves, nothing, nothing, np.zeros(n_frames, dtype=np.bool_), found_offset=False)


def _lost_runs(confident: NDArray[np.bool_]) -> Iterator[NDArray[np.intp]]:
    """Yield runs of frames without a clear peak that are too long to be single spoilt frames."""
    lost = np.flatnonzero(~confident)
    for run in np.split(lost, np.flatnonzero(np.diff(lost) > 1) + 1):
        if len(run) >= _MIN_LOST_RUN:
            yield run


class _Scorer:
    """Scores frames against windows, and collects what it finds."""

    def __init__(
        self, context: TakeContext, tracks: Tracks, first_positions: NDArray[np.int64], n_windows: int
    ) -> None:
        self._config, self._product = context.config, context.matrix_product
        self._frames, self._windows = tracks.scored()
        n_frames = len(first_positions)
        self._first_positions = first_positions.copy()
        self._psnr = np.full((n_frames, n_windows), np.nan, dtype=np.float32)
        self._peaks = np.full(n_frames, np.nan)
        self._margins_db, self._sharpness = np.zeros(n_frames), np.zeros(n_frames)
        self.confident = np.zeros(n_frames, dtype=np.bool_)

    def search(self) -> Search:
        """Return what was found."""
        curves = ScoreCurves(self._first_positions, self._psnr, self._peaks)
        return Search(curves, self._margins_db, self._sharpness, self.confident)

    def score(self, indices: NDArray[np.intp]) -> None:
        """Score some frames in the ranges that the curves start at, and read their peaks."""
        for index, errors in self._errors(indices, self._first_positions[indices], self._psnr.shape[1]):
            self._psnr[index] = errors_to_psnr(errors)
            if np.all(np.isnan(errors)):
                continue
            peak = find_peak(errors)
            self._margins_db[index] = peak.margin_db
            self._sharpness[index] = peak.sharpness
            self._peaks[index] = np.nan
            if peak.margin_db >= self._config.min_margin_db:
                self._peaks[index] = self._first_positions[index] + peak.index + peak.offset
            self.confident[index] = self._is_clear(peak, errors)
        if isinstance(self._windows, CubicWindows) and self._config.positions == "clock":
            self._center_peaks(indices, self._windows)

    def _center_peaks(self, indices: NDArray[np.intp], windows: CubicWindows) -> None:
        """Read clear peaks again from windows that lie evenly about them.

        Errors are no parabola, so that the vertex through three windows of which the middle one lies off the peak is
        drawn towards that one.
        """
        peaks = self._peaks
        for index in indices[self.confident[indices]].tolist():
            frame = self._frames[index]
            target, valid = luminance(frame / STORED_LEVELS)[None], self._counted(frame[None])
            for _ in range(_CENTERING_ROUNDS):
                if not 1 <= peaks[index] <= len(windows) - 2:
                    break
                errors = window_errors(windows.between(peaks[index] + _NEIGHBORS), target, valid)[0]
                peaks[index] += parabola_vertex(*errors)

    def _counted(self, frames: NDArray[np.uint16]) -> NDArray[np.bool_] | None:
        return unclipped(frames) if self._config.color_fit == "robust" else None

    def look_further(self, run: NDArray[np.intp], expected: NDArray[np.int64], radius: int) -> None:
        """Move the ranges of frames whose clear window lies further off, as behind a piece that a recording lacks."""
        moved = []
        for index, errors in self._errors(run, expected[run] - radius, 2 * radius + 1):
            if np.all(np.isnan(errors)):
                continue
            peak = find_peak(errors)
            if self._is_clear(peak, errors):
                self._first_positions[index] = expected[index] - radius + peak.index - self._psnr.shape[1] // 2
                moved.append(index)
        self.score(np.array(moved, dtype=np.intp))

    def _errors(
        self, indices: NDArray[np.intp], first: NDArray[np.int64], n_windows: int
    ) -> Iterator[tuple[int, NDArray[np.float64]]]:
        """Yield frames with the errors of a range of windows, made for as many at a time as fit well in memory."""
        n = min(max(_NUMBERS_AT_ONCE // max(math.prod(self._frames.shape[1:]), 1), 1), _FRAMES_AT_ONCE)
        for start in range(0, len(indices), n):
            some = indices[start : start + n]
            frames = self._frames[some]
            valid = self._counted(frames)
            # Luminance alone, because chroma that lies beside luma would draw every moving edge to a wrong time.
            targets = luminance(frames / STORED_LEVELS) if self._config.positions == "clock" else frames / STORED_LEVELS
            errors = search_errors(
                self._windows, targets, first[start : start + n], n_windows, valid, product=self._product
            )
            yield from zip(some.tolist(), errors, strict=True)

    def _is_clear(self, peak: Peak, errors: NDArray[np.float64]) -> bool:
        best_db = float(errors_to_psnr(errors[peak.index : peak.index + 1])[0])
        config = self._config
        return not peak.at_edge and peak.margin_db >= config.min_margin_db and best_db >= config.min_psnr_db
