"""One clock for a session: the drift that all takes of a pair of cameras share."""

from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rb2v.artifacts import ClockModel, Rig, SessionClock
from rb2v.core.clock import DriftPrior, combine_drifts, turned_to
from rb2v.io.aligned import AlignedTakeReader, aligned_take_path, rewrite_clock
from rb2v.stages.align.config import AlignConfig

logger = logging.getLogger(__name__)

_TEMPERATURE_DRIFT = 3e-6  # between takes of a session: AT-cut quartz changes by less over ten degrees
_PPM = 1e-6  # parts of one


@dataclass(frozen=True, eq=False)
class _TakeClock:
    path: Path
    name: str
    clock: ClockModel
    own: tuple[float, float]
    """Drift by the take's frames alone, and its standard error."""


def converge_clocks(
    out_dir: Path,
    names: Sequence[str],
    rig: Rig,
    config: AlignConfig,
    align_again: Callable[[str, AlignConfig], None],
) -> SessionClock | None:
    """Give the finished takes the drift that all of them agree on, and their frames the places that follow.

    Parameters
    ----------
    out_dir : Path
        The aligned folder.
    names : sequence of str
        Its finished takes.
    rig : Rig
        The rates.
    config : AlignConfig
        What is known of the drift beforehand.
    align_again : callable
        Aligns a take anew under another configuration: where a frame's window, or whether the clock is known well
        enough there, changes with the drift.

    Returns
    -------
    SessionClock or None
        None where fewer than two takes have a clock.
    """
    takes = [found for name in names if (found := _read_clock(out_dir, name)) is not None]
    if len(takes) < 2:
        return None
    prior = DriftPrior(_PPM * config.drift_ppm, _PPM * config.drift_sigma_ppm)
    known, contradicting = combine_drifts([take.own for take in takes], prior)
    error = math.hypot(known.sigma, _TEMPERATURE_DRIFT)
    for index, take in enumerate(takes):
        if index in contradicting:
            logger.warning(
                "%s: its clocks part by %.0f +- %.0f ppm, those of the other takes by %.0f: frames may be missing, or "
                "the views may not lie on each other",
                *(take.name, take.own[0] / _PPM, take.own[1] / _PPM, known.drift / _PPM),
            )
        elif (take.clock.drift, take.clock.drift_error) != (known.drift, error):
            _turn(take, DriftPrior(known.drift, error), rig, config, align_again)
    return SessionClock(known.drift, known.sigma, len(takes) - len(contradicting))


def _read_clock(out_dir: Path, name: str) -> _TakeClock | None:
    path = aligned_take_path(out_dir, name)
    with AlignedTakeReader(path) as reader:
        clock = reader.timing.clock
    if clock is None or clock.own_drift is None or clock.own_drift_error is None:
        return None
    return _TakeClock(path, name, clock, (clock.own_drift, clock.own_drift_error))


def _turn(
    take: _TakeClock,
    drift: DriftPrior,
    rig: Rig,
    config: AlignConfig,
    align_again: Callable[[str, AlignConfig], None],
) -> None:
    """Give a take's clock another drift."""
    clock = turned_to(take.clock, drift)
    with AlignedTakeReader(take.path) as reader:
        frames, checks, timing = reader.read_frames(), reader.read_checks(), reader.timing
    times = [frame.blurry_time for frame in frames]
    moved = np.array([clock.sharp_time(time) - take.clock.sharp_time(time) for time in times]) * rig.fine_fps
    places = np.array([frame.position_fine for frame in frames]) + moved
    ratios = [_ratio(clock.error_seconds(time), take.clock.error_seconds(time)) for time in times]
    errors_frames = checks.clock_error_frames * np.array(ratios)
    limit_frames = config.max_clock_error_frames
    stays = np.array_equal(np.rint(places), [frame.position for frame in frames]) and np.array_equal(
        errors_frames > limit_frames, checks.clock_error_frames > limit_frames
    )
    if stays:
        rewrite_clock(take.path, dataclasses.replace(timing, clock=clock), places, errors_frames)
        return
    known = dataclasses.replace(config, drift_ppm=drift.drift / _PPM, drift_sigma_ppm=drift.sigma / _PPM)
    align_again(take.name, known)


def _ratio(after: float, before: float) -> float:
    return after / before if 0 < before < math.inf else 1.0
