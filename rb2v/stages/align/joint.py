"""Shift between the views that the frames' own windows hide, and a homography without it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from rb2v.artifacts import TakeRegistration
from rb2v.core.blur import STORED_LEVELS
from rb2v.core.clock import DriftPrior
from rb2v.core.color import luminance
from rb2v.core.homography import Homography, translated
from rb2v.core.joint import FrameTerms, JointFit, frame_terms, solve_jointly
from rb2v.profiling import staged
from rb2v.stages.align.context import TakeContext
from rb2v.stages.align.placement import Placement, Step, translation
from rb2v.stages.align.search import Search, unclipped
from rb2v.stages.align.track import Tracks

MAX_TIME_ERROR_FRAMES = 0.25
"""Fine frames by which a shift that is left may move a frame: half of what rounding a position does."""

_MAX_FRAMES = 100  # bounds the time that terms of a long take need
_MIN_SIGNIFICANCE = 4.0  # standard errors of a shift; a choice, not measured over many takes
_MIN_SHIFT_PX = 0.05  # of the blurry camera; less is what calibrations leave
_LEAST_TIME_ERROR_FRAMES = 0.03  # less bends no clock: matched frames then tell more of a homography than its shift
_MIN_STEP_PX = 0.25  # of the blurry camera; a choice: half of max_shift_px
_SURE_STEP = 6.0  # standard errors of a step; the surest of many places is asked
_MIN_PART = 10  # frames before a step and behind it, two more than a solution needs
_N_SPLITS = 16  # places of a step that are tried
_NEIGHBORS = np.array([-1.0, 0.0, 1.0])  # fine frames


@dataclass(frozen=True, eq=False)
class PartShift:
    """A shift between the views in a part of a take."""

    part: int
    """Of what frames were registered with, the part that this is or lies in."""
    registration: TakeRegistration
    time_error_frames: float
    """By how many fine frames it moves the windows that frames find, in the median."""
    is_undone: bool
    """Whether it is significant and bends the clock, or lies beside a new step."""


@dataclass(frozen=True, eq=False)
class HiddenShift:
    """Shifts between the views of a take that its frames' own windows hide."""

    parts: tuple[PartShift | None, ...]
    """None where a part's frames tell too little."""
    placement: Placement
    """Of the same parts: without the shifts that are significant and bend the clock."""
    is_better: bool
    """Whether that is another one than frames were registered with."""
    kept: int | None
    """Where steps are new, the longest part: others are registered otherwise."""

    def holds(self, times: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return which blurry times are those of frames that are registered alike."""
        holds = self.placement.holds(times)
        return holds if self.kept is None else holds & (self.placement.parts(times) == self.kept)

    def undone(self) -> list[PartShift]:
        """Return the shifts, of what is registered alike, that the placement undoes."""
        parts = self.parts if self.kept is None else self.parts[self.kept : self.kept + 1]
        return [one for one in parts if one is not None and one.is_undone]


@dataclass(frozen=True, eq=False)
class _Piece:
    """Frames between two steps."""

    frames: slice
    """Of all terms."""
    part: int
    """Of what frames were registered with."""
    fit: JointFit | None
    is_new: bool
    """Whether a step inside of that part bounds it."""


@staged("registration")
def find_hidden_shift(context: TakeContext, tracks: Tracks, search: Search, used: Placement) -> HiddenShift | None:
    """Solve for a take's clock and a shift between its views together, and for steps of the shift.

    Parameters
    ----------
    context : TakeContext
        The rates, the crop, and what is known of the drift.
    tracks : Tracks
        The recordings on reduced frames.
    search : Search
        Whose peaks are clear.
    used : Placement
        What the frames were registered with.

    Returns
    -------
    HiddenShift or None
        None where the take's frames tell too little.
    """
    terms = _collect_terms(context, tracks, search)
    pieces = _solve_pieces(context, terms, used)
    scale = _crop_scale(context)
    parts = tuple(_describe_part(one, scale) for one in pieces)
    if not any(parts):
        return None
    bases = [used.homographies[piece.part] for piece in pieces]
    own = tuple(
        translated(base, -scale * piece.fit.shift)
        if piece.fit is not None and part is not None and part.is_undone
        else base
        for base, piece, part in zip(bases, pieces, parts, strict=True)
    )
    steps = tuple(
        _locate_step(context, tracks, terms, used, pieces[i : i + 2], own[i : i + 2]) for i in range(len(pieces) - 1)
    )
    has_new = any(piece.is_new for piece in pieces)
    is_better = has_new or steps != used.steps or any(a is not b for a, b in zip(own, bases, strict=True))
    lengths = [piece.frames.stop - piece.frames.start for piece in pieces]
    return HiddenShift(parts, Placement(own, steps), is_better, int(np.argmax(lengths)) if has_new else None)


def _collect_terms(context: TakeContext, tracks: Tracks, search: Search) -> list[FrameTerms]:
    """Linearize the errors of frames whose own peaks are clear."""
    windows, times, peaks = tracks.windows, tracks.blurry.times, search.curves.peak
    clear = [i for i in np.flatnonzero(search.confident).tolist() if 1 <= peaks[i] <= len(windows) - 2]
    terms = []
    for index in clear[:: max(-(-len(clear) // _MAX_FRAMES), 1)]:
        lag = (tracks.sharp.center_time(float(peaks[index])) - float(times[index])) * context.rig.fine_fps
        near, frame = windows.between(peaks[index] + _NEIGHBORS), tracks.blurry.reduced[index]
        terms.append(_terms(frame, near, context.reduced_size, lag, float(times[index])))
    return terms


def _crop_scale(context: TakeContext) -> float:
    """Return how many blurry-camera pixels a pixel of reduced frames is."""
    return context.calibration.crop.width / context.reduced_size[0]


def _solve_pieces(context: TakeContext, terms: Sequence[FrameTerms], used: Placement) -> list[_Piece]:
    """Solve for every part by itself, and for two pieces of a part within which the shift has a step."""
    prior = DriftPrior(1e-6 * context.config.drift_ppm, 1e-6 * context.config.drift_sigma_ppm)

    def solve(some: Sequence[FrameTerms]) -> JointFit | None:
        try:
            return solve_jointly(some, context.rig.fine_fps, prior)
        except (ValueError, np.linalg.LinAlgError) as error:
            context.logger.info("the frames do not tell a shift from time: %s", error)
            return None

    part_of = used.parts(np.array([one.time_seconds for one in terms]))
    pieces = []
    for part in range(len(used.homographies)):
        start, stop = np.searchsorted(part_of, [part, part + 1]).tolist()
        split = _split(terms[start:stop], solve)
        if split is None:
            pieces.append(_Piece(slice(start, stop), part, solve(terms[start:stop]), is_new=False))
            continue
        place, before, behind = start + split[0], *split[1:]
        if _is_step(before, behind, _MIN_STEP_PX / _crop_scale(context)):
            pieces += [
                _Piece(slice(start, place), part, before, is_new=True),
                _Piece(slice(place, stop), part, behind, is_new=True),
            ]
            continue
        at_seconds = 0.5 * (terms[place - 1].time_seconds + terms[place].time_seconds)
        jump = behind.lag_at(at_seconds) - before.lag_at(at_seconds)
        jump = jump if abs(jump) > context.config.tolerance_frames else 0.0
        later = [replace(one, lag=one.lag - jump) for one in terms[place:stop]]
        pieces.append(_Piece(slice(start, stop), part, solve([*terms[start:place], *later]), is_new=False))
    return pieces


def _describe_part(piece: _Piece, scale: float) -> PartShift | None:
    fit = piece.fit
    if fit is None:
        return None
    # Of the error's ellipse the axis along the shift.
    along = fit.shift / max(float(np.hypot(*fit.shift)), 1e-9)
    error_px = scale * float(np.sqrt(along @ fit.covariance @ along))
    length_px = scale * float(np.hypot(*fit.shift))
    time_error_frames = float(np.median(np.abs(fit.time_errors)))
    is_significant = length_px > max(_MIN_SHIFT_PX, _MIN_SIGNIFICANCE * error_px)
    is_undone = is_significant and (piece.is_new or time_error_frames > _LEAST_TIME_ERROR_FRAMES)
    registration = TakeRegistration(length_px, error_px, len(fit.inliers))
    return PartShift(piece.part, registration, time_error_frames, is_undone)


def _locate_step(
    context: TakeContext,
    tracks: Tracks,
    terms: Sequence[FrameTerms],
    used: Placement,
    pieces: Sequence[_Piece],
    own: Sequence[Homography],
) -> Step:
    """Return the step between two pieces, where their frames are told apart best; the known one where that is there."""
    before, behind = pieces
    known = None if before.part == behind.part else used.steps[before.part]
    if before.fit is None or behind.fit is None:
        assert known is not None  # a new step has both
        return known
    first, stop, scale = before.frames.start, behind.frames.stop, _crop_scale(context)
    fits, worse = (before.fit, behind.fit), []
    for index in range(first, stop):
        base = used.homographies[before.part if index < behind.frames.start else behind.part]
        misfits = [
            fit.misfit(terms[index], -translation(homography, base) / scale)
            for fit, homography in zip(fits, own, strict=True)
        ]
        worse.append(misfits[0] - misfits[1])
    # Of one frame, such as one that the step blurs, no more is believed than of others.
    limit = float(np.median(np.abs(worse)))
    place = first + 1 + int(np.argmin(np.cumsum(np.clip(worse, -limit, limit))[:-1]))
    edges = terms[place - 1].time_seconds, terms[place].time_seconds
    middle = 0.5 * (edges[0] + edges[1])
    if known is not None and edges[0] <= 0.5 * (known.after_seconds + known.before_seconds) <= edges[1]:
        return known
    lag = 0.5 * (before.fit.lag_at(middle) + behind.fit.lag_at(middle))
    sharp_seconds = middle + lag / context.rig.fine_fps
    return Step(*edges, int(np.searchsorted(tracks.sharp.times, sharp_seconds)))


def _split(
    terms: Sequence[FrameTerms], solve: Callable[[Sequence[FrameTerms]], JointFit | None]
) -> tuple[int, JointFit, JointFit] | None:
    """Return the first frame behind the place where terms are split best, and the fits of both sides; None with few.

    Whether a step or a jump is there is another question. Away from a jump of the clock, a shift seems to have a step.
    """
    n = len(terms)
    best: tuple[float, int, JointFit, JointFit] | None = None
    for place in range(_MIN_PART, n - _MIN_PART + 1, max(n // _N_SPLITS, 1)):
        before, behind = solve(terms[:place]), solve(terms[place:])
        if before is None or behind is None:
            continue
        cost = float(np.abs(before.deviations).sum() + np.abs(behind.deviations).sum())
        if best is None or cost < best[0]:
            best = cost, place, before, behind
    return None if best is None else best[1:]


def _is_step(before: JointFit, behind: JointFit, least: float) -> bool:
    """Return whether two fits tell shifts that differ by more than a length in pixels of the frames."""
    step = behind.shift - before.shift
    significance = float(np.sqrt(step @ np.linalg.solve(before.covariance + behind.covariance, step)))
    return bool(np.hypot(*step) > least and significance > _SURE_STEP)


def _terms(
    frame: NDArray[np.uint16], windows: NDArray[np.float64], size: tuple[int, int], lag: float, time_seconds: float
) -> FrameTerms:
    width, height = size
    return frame_terms(
        luminance(windows).reshape(-1, height, width),
        luminance(frame / STORED_LEVELS).reshape(height, width),
        unclipped(frame[None])[0].reshape(height, width),
        lag,
        time_seconds,
    )
