"""Timing of a take's recordings: the clock, the exposure that the blur shows, and the rolling shutters."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Iterable, Iterator

import cv2
import numpy as np
from numpy.typing import NDArray

from rb2v.artifacts import ClockJump, ClockModel, ExposureEstimate, Rig, RollingShutter, Timing
from rb2v.core.blur import STORED_LEVELS, cubic_weights
from rb2v.core.clock import CRYSTAL_DRIFT, DriftPrior, fit_clock
from rb2v.core.color import luminance
from rb2v.core.flicker import Flicker, find_standing_flicker
from rb2v.core.temporal import StepSums, box_weights, parabola_vertex
from rb2v.errors import InputError
from rb2v.profiling import staged
from rb2v.stages.align.context import TakeContext
from rb2v.stages.align.search import CLIPPED_LINEAR, Search, unclipped
from rb2v.stages.align.track import Tracks

_MAX_FRAMES = 64  # time does not grow with the take beyond it
_MIN_FRAMES = 8  # one for each group that the standard error is taken over
_N_GROUPS = 8  # of frames, left out in turn (jackknife)
_N_BANDS = 8  # of rows: a line through eight points, each with an eighth of the image's texture
_SHORTEST_STEPS = 3.0  # of the blur track, 5 ms: shorter exposures hardly blur
_MAX_SHIFT_FRAMES = 2.0  # fine frames either way: 10 ms, about the longest read-out over half an image
_SHIFT_STEP_FRAMES = 0.25  # of fine frames; a parabola finds the place between
_SHARED_ERROR_FRAMES = 0.006  # fine frames by which all frames of a take are off together (docs/alignment.md)
_MAX_DRIFT_ERROR = 1.0  # s per s, in place of the infinity of a clock through one instant
_MAX_SHUTTER_SECONDS = 1.0  # telemetry that states longer ones is broken
MAX_CRYSTAL_DRIFT = 4 * CRYSTAL_DRIFT
"""Drift, in s per s, that two crystals do not reach: 4 standard deviations, one pair of cameras in 16,000."""
MIN_SIGNIFICANCE = 3.0
"""Standard errors from which on something is told."""


@staged("timing")
def fit_take_clock(context: TakeContext, tracks: Tracks, search: Search) -> ClockModel | None:
    """Fit the clock through the frames whose own peaks are clear; None where too few agree."""
    confident = search.confident
    sharp_times = np.array([tracks.sharp.center_time(peak) for peak in search.curves.peak[confident]])
    times, config = tracks.blurry.times[confident], context.config
    tolerance_seconds = config.tolerance_frames / context.rig.fine_fps
    prior = DriftPrior(1e-6 * config.drift_ppm, 1e-6 * config.drift_sigma_ppm)
    try:
        fit = fit_clock(times, sharp_times, tolerance_seconds, search.sharpness[confident], prior=prior)
    except ValueError as error:
        context.logger.warning("%s", error)
        return None
    if abs(fit.drift) > MAX_CRYSTAL_DRIFT:
        context.logger.warning(
            "the cameras' clocks part by %.0f +- %.0f ppm, and crystals by less than %.0f: a frame rate may be "
            "another than the file states, frames may be missing or repeated, or the views may not lie on each other",
            *(1e6 * fit.drift, 1e6 * fit.drift_error, 1e6 * MAX_CRYSTAL_DRIFT),
        )
    for jump in fit.jumps:
        context.logger.warning(
            "the recordings part by %.3f s between %.3f s and %.3f s of the blurry one",
            *(jump.shift_seconds, jump.after_seconds, jump.before_seconds),
        )
    shared_error = _SHARED_ERROR_FRAMES / context.rig.fine_fps
    return ClockModel(
        offset_seconds=fit.offset_seconds,
        drift=fit.drift,
        residual_seconds=fit.residual_seconds,
        n_inliers=int(fit.inliers.sum()),
        drift_error=min(fit.drift_error, _MAX_DRIFT_ERROR),
        center_seconds=fit.center_seconds,
        center_error_seconds=math.hypot(fit.center_error_seconds, shared_error),
        jumps=tuple(
            ClockJump(
                **dataclasses.asdict(jump)
                | {"center_error_seconds": math.hypot(jump.center_error_seconds, shared_error)}
            )
            for jump in fit.jumps
        ),
        own_drift=fit.own_drift,
        own_drift_error=min(fit.own_drift_error, _MAX_DRIFT_ERROR),
        n_effective=fit.n_effective,
    )


@staged("timing")
def find_standing_lamps(context: TakeContext, tracks: Tracks, search: Search) -> Flicker | None:
    """Find lamps that flicker in step with the sharp frames, by the rows of the frames whose own peaks are clear."""
    width, height = context.reduced_size
    row_light, times = [], []
    for index in np.flatnonzero(search.confident).tolist():
        peak = float(search.curves.peak[index])
        frame, window = tracks.blurry.reduced[index], tracks.windows[round(peak) : round(peak) + 1][0]
        seen = unclipped(frame[None])[0] & (window.max(axis=1) < CLIPPED_LINEAR)
        blurry, sharp = (
            np.where(seen[:, None], light, 0).reshape(height, width * 3).sum(axis=1, dtype=np.float64)
            for light in (frame / STORED_LEVELS, window)
        )
        row_light.append(np.divide(sharp, blurry, out=np.full(height, np.nan), where=blurry > 0))
        times.append(tracks.sharp.center_time(peak))
    if not times:
        return None
    return find_standing_flicker(np.array(row_light), np.array(times), tracks.sharp.times, context.rig.sharp_fps)


def replace_flicker(context: TakeContext, timing: Timing, flicker: Flicker) -> Timing:
    """Return a take's timing with the flicker of its lamps, and name the remedy."""
    context.logger.warning(
        "lamps on %.0f Hz mains flicker by %.0f %% in the sharp frames, which is evened out; set a shutter of "
        "1/%.0f s or light without flicker",
        *(flicker.lamps_hz / 2, 100 * flicker.amplitude, flicker.lamps_hz),
    )
    return dataclasses.replace(timing, flicker_hz=flicker.lamps_hz, flicker_amplitude=flicker.amplitude)


@dataclasses.dataclass(frozen=True, eq=False)
class Neighborhood:
    """The original frames about the window that the clock gives a blurry frame."""

    originals: NDArray[np.float64]
    """(k, n, 3) reduced."""
    frame: NDArray[np.float64]
    """(n, 1) luminance of the blurry frame, reduced alike."""
    valid: NDArray[np.bool_]
    """(n,) pixels that are not clipped."""
    center: float
    """Middle of the exposure, in blur-track steps from the first original frame."""
    steps_per_original: int

    def weights(self, centers: NDArray[np.float64], lengths: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return the weights of the original frames in exposures, given in blur-track steps."""
        n_steps = (len(self.originals) - 1) * self.steps_per_original + 1
        between = cubic_weights(np.arange(n_steps) / self.steps_per_original, len(self.originals))
        return box_weights(n_steps, centers, lengths) @ between


class Neighborhoods:
    """The surroundings of some frames, evenly spread over those whose peaks are clear and lie on the line.

    Each is read when the iteration comes to it, so that only one is in memory.

    Parameters
    ----------
    context : TakeContext
        The rates, and how near to the line a peak has to lie.
    tracks : Tracks
        The recordings on reduced frames.
    search : Search
        Whose peaks are clear.
    clock : ClockModel
        The line.
    """

    def __init__(self, context: TakeContext, tracks: Tracks, search: Search, clock: ClockModel) -> None:
        self._rig, self._tracks = context.rig, tracks
        config, times = context.config, tracks.blurry.times
        self._positions = np.array([tracks.sharp.position_at(clock.sharp_time(float(one))) for one in times])
        known = np.array([math.isfinite(clock.error_seconds(float(one))) for one in times])
        near = np.abs(search.curves.peak - self._positions) <= config.tolerance_frames
        candidates = np.flatnonzero(search.confident & known & near)
        self._chosen = candidates[:: max(-(-len(candidates) // _MAX_FRAMES), 1)].tolist()

    def __iter__(self) -> Iterator[Neighborhood]:
        rig, sharp, per_frame = self._rig, self._tracks.sharp, self._rig.blur_steps_per_frame
        longest = max(_longest_steps(rig), rig.blur_samples)
        reach = math.ceil(longest / 2 + _MAX_SHIFT_FRAMES * rig.blur_factor)
        for index in self._chosen:
            position = float(self._positions[index])
            middle = position * rig.blur_factor + (rig.blur_samples - 1) / 2
            first, last = math.floor((middle - reach) / per_frame) - 1, math.ceil((middle + reach) / per_frame) + 1
            if first < 0 or last > sharp.last_original or sharp.has_gap(math.floor(position)):
                continue
            frame = self._tracks.blurry.reduced[index]
            valid = unclipped(frame[None])[0]
            if valid.any():
                originals = self._tracks.reduced.frames[first : last + 1] / STORED_LEVELS
                center = middle - first * per_frame
                yield Neighborhood(originals, luminance(frame / STORED_LEVELS), valid, center, per_frame)


def _longest_steps(rig: Rig) -> float:
    """Return the longest exposure that the frame rate leaves room for, in blur-track steps."""
    return rig.sharp_fps * rig.blur_steps_per_frame / rig.blurry_fps + 1


def estimate_exposure(context: TakeContext, nearby: Iterable[Neighborhood]) -> ExposureEstimate | None:
    """Find the length of the exposure under which the frames' blur is explained best.

    Parameters
    ----------
    context : TakeContext
        What the synthetic blur spans, and what the telemetry says.
    nearby : iterable of Neighborhood
        Frames with what surrounds their windows.
    """
    rig = context.rig
    step_seconds = 1 / (rig.sharp_fps * rig.blur_steps_per_frame)
    lengths = np.arange(_SHORTEST_STEPS, _longest_steps(rig) + 0.5)
    if len(lengths) < 3:
        return None
    errors = np.array([_length_errors(one, lengths, context.reduced_size) for one in nearby])
    found = _minimum(errors, lengths)
    if found is None:
        return None
    shutter_seconds = _shutter_seconds(context)
    estimate = ExposureEstimate(
        seconds=found[0] * step_seconds,
        error_seconds=found[1] * step_seconds,
        assumed_seconds=rig.blur_samples * step_seconds,
        shutter_seconds=shutter_seconds,
    )
    for whose, stated in find_contradictions(estimate, rig).items():
        context.logger.warning(
            "the blur looks like an exposure of %.1f ms, the %s is %.1f ms",
            *(1e3 * estimate.seconds, whose, 1e3 * stated),
        )
    return estimate


def find_contradictions(estimate: ExposureEstimate, rig: Rig) -> dict[str, float]:
    """Return the stated exposures, in seconds by whose they are, that the blur contradicts."""
    stated = {"rig's": estimate.assumed_seconds, "telemetry's": estimate.shutter_seconds}
    # The blur is that of whole steps of the blur track.
    allowed = max(MIN_SIGNIFICANCE * estimate.error_seconds, 2 / (rig.sharp_fps * rig.blur_steps_per_frame))
    return {
        whose: seconds
        for whose, seconds in stated.items()
        if seconds is not None and abs(estimate.seconds - seconds) > allowed
    }


def _shutter_seconds(context: TakeContext) -> float | None:
    try:
        telemetry = context.read_telemetry(context.take.blurry, context.take.blurry_format)
    except InputError:
        return None  # said where the sources of the offset were asked
    if telemetry is None:
        return None
    stated = telemetry.shutter_seconds
    possible = stated[(stated > 0) & (stated <= _MAX_SHUTTER_SECONDS)]
    return float(np.median(possible)) if len(possible) else None


def _length_errors(nearby: Neighborhood, lengths: NDArray[np.float64], size: tuple[int, int]) -> NDArray[np.float64]:
    # One camera is a little sharper than the other, and resampling blurs the sharp one's frames. That spread is the
    # same in all directions; the Laplacian takes it up, so that it is not taken for a shorter exposure.
    pictures = nearby.originals.reshape(-1, size[1], size[0], 3)
    laplacians = [cv2.Laplacian(one.mean(axis=2), cv2.CV_64F, borderType=cv2.BORDER_REPLICATE) for one in pictures]
    explaining = np.concatenate([pictures, np.stack(laplacians)[..., None]], axis=3)
    sums = StepSums(explaining.reshape(len(pictures), -1, 4), nearby.frame, nearby.valid)
    return sums.errors(nearby.weights(np.full(len(lengths), nearby.center), lengths))


def estimate_rolling_shutter(context: TakeContext, nearby: Iterable[Neighborhood]) -> RollingShutter | None:
    """Find how much later than the clock line each band of rows is exposed, and the line through the bands.

    Parameters
    ----------
    context : TakeContext
        The output's size, the rates, and whether a significant skew is made up for.
    nearby : iterable of Neighborhood
        Frames with what surrounds their windows.
    """
    rig, (width, height) = context.rig, context.reduced_size
    compensate = context.config.rolling_shutter == "compensate"
    shifts = np.arange(-_MAX_SHIFT_FRAMES, _MAX_SHIFT_FRAMES + _SHIFT_STEP_FRAMES / 2, _SHIFT_STEP_FRAMES)
    bands = np.array_split(np.arange(height), min(_N_BANDS, height))
    errors: list[list[NDArray[np.float64]]] = [[] for _ in bands]
    for one in nearby:
        for band, curves in zip(bands, errors, strict=True):
            pixels = slice(int(band[0]) * width, (int(band[-1]) + 1) * width)
            if one.valid[pixels].any():
                curves.append(_shift_errors(one, pixels, shifts, rig))
    rows, found = [], []
    for band, curves in zip(bands, errors, strict=True):
        minimum = _minimum(np.array(curves), shifts)
        if minimum is not None:
            rows.append((float(band.mean()) + 0.5) * rig.output_size[1] / height - 0.5)
            found.append(minimum)
    if len(found) < 3:
        return None
    middles = np.array(rows) - (rig.output_size[1] - 1) / 2
    values, deviations = np.array(found).T / rig.fine_fps
    weights = 1 / np.maximum(deviations, 1e-7)
    design = np.column_stack([middles, np.ones(len(middles))]) * weights[:, None]
    solution, residuals, _, _ = np.linalg.lstsq(design, values * weights)
    # Where the bands lie further off a line than their own errors say, those errors are too small.
    excess = max(float(residuals[0]) / max(len(found) - 2, 1), 1.0) if len(residuals) else 1.0
    deviation = math.sqrt(float(np.linalg.inv(design.T @ design)[0, 0]) * excess)
    span = rig.output_size[1] - 1
    skew_seconds, error_seconds = float(solution[0]) * span, deviation * span
    return RollingShutter(
        skew_seconds=skew_seconds,
        error_seconds=error_seconds,
        band_rows=tuple(rows),
        band_shifts_seconds=tuple(values.tolist()),
        compensated=compensate and abs(skew_seconds) > MIN_SIGNIFICANCE * error_seconds,
    )


def _shift_errors(one: Neighborhood, pixels: slice, shifts: NDArray[np.float64], rig: Rig) -> NDArray[np.float64]:
    sums = StepSums(one.originals[:, pixels], one.frame[pixels], one.valid[pixels])
    return sums.errors(
        one.weights(one.center + shifts * rig.blur_factor, np.full(len(shifts), float(rig.blur_samples)))
    )


def row_shifts(rolling_shutter: RollingShutter, rig: Rig) -> NDArray[np.float64]:
    """Return how many fine frames later than the middle row each output row of the blurry camera is exposed, (H,)."""
    height = rig.output_size[1]
    middles = (np.arange(height) - (height - 1) / 2) / (height - 1)
    return np.asarray(middles * rolling_shutter.skew_seconds * rig.fine_fps, dtype=np.float64)


def _minimum(errors: NDArray[np.float64], places: NDArray[np.float64]) -> tuple[float, float] | None:
    """Return where the sum of error curves is least, and the standard error of that, by leaving groups out.

    None where there are too few curves, or the least error lies at an end of what was tried.
    """
    if len(errors) < _MIN_FRAMES:
        return None
    groups = np.arange(len(errors)) % _N_GROUPS
    total = errors.sum(axis=0)
    best = _vertex(total, places)
    without = [_vertex(total - errors[groups == group].sum(axis=0), places) for group in range(_N_GROUPS)]
    if best is None or any(one is None for one in without):
        return None
    spread = np.array(without, dtype=np.float64)
    return best, math.sqrt((_N_GROUPS - 1) / _N_GROUPS * float(np.sum(np.square(spread - spread.mean()))))


def _vertex(errors: NDArray[np.float64], places: NDArray[np.float64]) -> float | None:
    index = int(np.argmin(errors))
    if index in (0, len(errors) - 1):
        return None
    return float(places[index] + (places[1] - places[0]) * parabola_vertex(*errors[index - 1 : index + 2]))
