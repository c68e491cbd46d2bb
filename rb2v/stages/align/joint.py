"""Shift between the views that the frames' own windows hide, and a homography without it."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

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
class HiddenShift:
    """A shift between the views of a take that its frames' own windows hide."""

    registration: TakeRegistration
    homography: Homography | None
    """Without the shift; None where it is not significant, or does not bend the clock."""
    time_error_frames: float
    """By how many fine frames it moves the windows that frames find, in the median."""
    span_seconds: tuple[float, float] = (-math.inf, math.inf)
    """Blurry times between which it holds: where the views shift inside of a take, those of the longer part."""

    def holds(self, times: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Return which times lie in the part of the take of which this is true."""
        return (times > self.span_seconds[0]) & (times < self.span_seconds[1])


@staged("registration")
def find_hidden_shift(
    context: TakeContext, tracks: Tracks, search: Search, homography: Homography
) -> HiddenShift | None:
    """Solve for a take's clock and a shift between its views together; None where its frames tell too little.

    Parameters
    ----------
    context : TakeContext
        The rates, the crop, and what is known of the drift.
    tracks : Tracks
        The recordings on reduced frames.
    search : Search
        Whose peaks are clear.
    homography : (3, 3) ndarray
        What the frames were registered with, sharp-camera pixels to blurry-camera pixels.
    """
    windows = tracks.windows
    rig, config, size, times = context.rig, context.config, context.reduced_size, tracks.blurry.times
    peaks = search.curves.peak
    clear = [i for i in np.flatnonzero(search.confident).tolist() if 1 <= peaks[i] <= len(windows) - 2]
    terms = []
    for index in clear[:: max(-(-len(clear) // _MAX_FRAMES), 1)]:
        lag = (tracks.sharp.center_time(float(peaks[index])) - float(times[index])) * rig.fine_fps
        near, frame = windows.between(peaks[index] + _NEIGHBORS), tracks.blurry.reduced[index]
        terms.append(_terms(frame, near, size, lag, float(times[index])))
    prior = DriftPrior(1e-6 * config.drift_ppm, 1e-6 * config.drift_sigma_ppm)
    scale = context.calibration.crop.width / size[0]

    def solve(some: Sequence[FrameTerms]) -> JointFit | None:
        try:
            return solve_jointly(some, rig.fine_fps, prior)
        except (ValueError, np.linalg.LinAlgError) as error:
            context.logger.info("the frames do not tell a shift from time: %s", error)
            return None

    fit, span_seconds = solve(terms), (-math.inf, math.inf)
    step = _find_step(terms, solve, _MIN_STEP_PX / scale)
    if step is not None:
        is_first = step >= len(terms) - step
        fit = solve(terms[:step] if is_first else terms[step:])
        at_seconds = 0.5 * (terms[step - 1].time_seconds + terms[step].time_seconds)
        span_seconds = (-math.inf, at_seconds) if is_first else (at_seconds, math.inf)
    if fit is None:
        return None
    shift_px = scale * fit.shift
    length_px = float(np.hypot(*shift_px))
    # Of the error's ellipse the axis along the shift.
    along = fit.shift / max(float(np.hypot(*fit.shift)), 1e-9)
    error_px = scale * float(np.sqrt(along @ fit.covariance @ along))
    own: Homography | None = None
    time_error_frames = float(np.median(np.abs(fit.time_errors)))
    is_significant = length_px > max(_MIN_SHIFT_PX, _MIN_SIGNIFICANCE * error_px)
    if is_significant and time_error_frames > _LEAST_TIME_ERROR_FRAMES:
        own = translated(homography, -shift_px)
    registration = TakeRegistration(length_px, error_px, len(terms))
    return HiddenShift(registration, own, time_error_frames, span_seconds)


def _find_step(
    terms: Sequence[FrameTerms], solve: Callable[[Sequence[FrameTerms]], JointFit | None], least: float
) -> int | None:
    """Return the first frame behind a step of the shift, by which the two parts differ most surely; None without one.

    Parameters
    ----------
    terms : sequence of FrameTerms
        Of frames in the order of time.
    solve : callable
        Solves for some of them.
    least : float
        A smaller step, in pixels of the frames, is none.
    """
    n = len(terms)
    stride = max(n // _N_SPLITS, 1)
    best: tuple[float, int] | None = None
    for place in range(_MIN_PART, n - _MIN_PART + 1, stride):
        fits = solve(terms[:place]), solve(terms[place:])
        if fits[0] is None or fits[1] is None:
            continue
        step = fits[1].shift - fits[0].shift
        covariance = fits[0].covariance + fits[1].covariance
        significance = float(np.sqrt(step @ np.linalg.solve(covariance, step)))
        if np.hypot(*step) > least and significance > _SURE_STEP and (best is None or significance > best[0]):
            best = significance, place
    return None if best is None else best[1]


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
