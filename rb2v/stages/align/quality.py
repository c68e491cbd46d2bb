"""Why a blurry frame is not accepted: what it was judged by, and the verdict."""

from __future__ import annotations

import dataclasses
import math
from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import NDArray

from rb2v.artifacts import ClockModel
from rb2v.core.blur import STORED_LEVELS
from rb2v.core.clock import DriftPrior
from rb2v.io.aligned import FrameChecks
from rb2v.stages.align.config import AlignConfig
from rb2v.stages.align.context import TakeContext
from rb2v.stages.align.search import Search, unclipped
from rb2v.stages.align.track import Tracks

_LEAST_FREEDOM = 3  # of correlated frames: 95 % intervals 1.6 times as wide, where one would make them 6.5 times


@dataclass(frozen=True)
class AssignedPosition:
    """The position that a frame is assigned."""

    position: int
    position_fine: float
    error_frames: float
    """Standard error of the clock there, in fine frames."""


def assign_positions(
    context: TakeContext, tracks: Tracks, search: Search, clock: ClockModel | None
) -> list[AssignedPosition]:
    """Return the position of every frame: on the clock's line, or where there is none at its own best window."""
    # With few frames on the line its errors are themselves not well known.
    caution = 1.0 if clock is None else _caution(clock)
    places = []
    for index, time_seconds in enumerate(tracks.blurry.times):
        if clock is None:
            scores = search.curves.psnr[index]
            best = int(np.nanargmax(scores)) if not np.all(np.isnan(scores)) else len(scores) // 2
            position = int(search.curves.first_position[index]) + best
            places.append(AssignedPosition(position, float(position), math.inf))
        else:
            position_fine = tracks.sharp.position_at(clock.sharp_time(float(time_seconds)))
            error_frames = caution * clock.error_seconds(float(time_seconds)) * context.rig.fine_fps
            places.append(AssignedPosition(round(position_fine), position_fine, error_frames))
    return places


def _caution(clock: ClockModel) -> float:
    """Return by how much Student's intervals are wider than normal ones for the frames that carry a clock."""
    n_free = clock.n_inliers - 2
    if clock.n_effective is not None:
        # How many frames they are worth is itself a guess, and has widened the error already.
        n_free = min(n_free, max(round(clock.n_effective) - 2, _LEAST_FREEDOM))
    return float(scipy.special.stdtrit(max(n_free, 1), 0.975) / scipy.special.ndtri(0.975))


def check_frames(tracks: Tracks, places: list[AssignedPosition], confident: NDArray[np.bool_]) -> FrameChecks:
    """Measure what frames are judged by.

    Parameters
    ----------
    tracks : Tracks
        The recordings on reduced frames, and what was measured while they were made.
    places : list of AssignedPosition
        Where the frames were put.
    confident : (J,) ndarray of bool
        Frames whose gain tells what is usual.
    """
    windows, track = tracks.windows, tracks.reduced
    n = len(places)
    checks = FrameChecks(*(np.full(n, np.nan) for _ in dataclasses.fields(FrameChecks)))
    gains = np.full(n, np.nan)
    for index, place in enumerate(places):
        frame = tracks.blurry.reduced[index]
        valid = unclipped(frame[None])[0]
        checks.clipped_share[index] = 1.0 - valid.mean()
        checks.clock_error_frames[index] = place.error_frames
        if not 0 <= place.position < len(windows):
            continue
        originals = tracks.sharp.originals(place.position)
        checks.flash[index] = np.abs(track.light_changes[originals.start : originals.stop - 1]).max(initial=0.0)
        psnrs = track.interpolation_psnr[originals.start : originals.stop]
        checks.interpolation_psnr[index] = np.nan if np.all(np.isnan(psnrs)) else np.nanmin(psnrs)
        window = windows[place.position : place.position + 1][0][valid]
        if valid.any() and window.sum() > 0:
            gains[index] = frame[valid].sum() / STORED_LEVELS / window.sum()
    known = gains[np.isfinite(gains) & confident]
    if len(known):
        checks.gain_change[:] = gains / np.median(known) - 1
    return checks


class QualityGate:
    """Gives the reason why a frame is not accepted; the empty one where it is.

    Parameters
    ----------
    config : AlignConfig
        The thresholds.
    tracks : Tracks
        Where frames are missing, or the scene changes.
    search : Search
        What the frames say by themselves.
    checks : FrameChecks
        What else they are judged by.
    clock : ClockModel or None
        The take's clock.
    """

    def __init__(
        self, config: AlignConfig, tracks: Tracks, search: Search, checks: FrameChecks, clock: ClockModel | None
    ) -> None:
        self._config, self._tracks = config, tracks
        self._search, self._checks, self._clock = search, checks, clock

    def can_be_made(self, place: AssignedPosition) -> bool:
        """Return whether the window is known and lies inside the sharp recording."""
        return self._search.found_offset and 0 <= place.position < self._tracks.sharp.n_positions

    def reasons(self, index: int, place: AssignedPosition) -> tuple[str, str]:
        """Return the reason of a frame whose synthetic blur is good enough, and of one whose blur is not."""
        return self.reason(index, place, math.inf), self.reason(index, place, -math.inf)

    def reason(self, index: int, place: AssignedPosition, psnr_db: float) -> str:
        """Return a key of ``REASONS`` for a frame, given the PSNR of its synthetic blur at full size."""
        if self._config.positions == "independent":
            if not self._search.found_offset:
                return "no-clock"
            has_scores = not np.all(np.isnan(self._search.curves.psnr[index]))
            return "" if has_scores and self.can_be_made(place) else "out-of-range"
        if self._clock is None:
            return "no-clock"
        if not self.can_be_made(place):
            return "out-of-range"
        if self._tracks.sharp.has_gap(place.position):
            return "dropped-frames"
        if self._tracks.has_cut(place.position):
            return "cut"
        # Frames that are clipped look alike, too.
        if reason := self._bad_light(index):
            return reason
        return "dropped-frames" if self._tracks.blurry.track.repeated[index] else self._bad_place(index, place, psnr_db)

    def _bad_light(self, index: int) -> str:
        config, checks = self._config, self._checks
        if checks.clipped_share[index] > config.max_clipped_share:
            return "clipped"
        if checks.flash[index] > config.max_flash:
            return "flash"
        if abs(checks.gain_change[index]) > config.max_gain_change:
            return "exposure"
        return ""

    def _bad_place(self, index: int, place: AssignedPosition, psnr_db: float) -> str:
        config = self._config
        off_line = abs(self._search.curves.peak[index] - place.position_fine) > config.tolerance_frames
        if off_line and self._search.confident[index]:
            return "inconsistent"
        if psnr_db < config.min_psnr_db:
            return "low-psnr"
        if self._checks.interpolation_psnr[index] < config.min_interpolation_psnr_db:
            return "interpolation"
        if off_line or (np.isfinite(self._search.curves.peak[index]) and not math.isfinite(place.error_frames)):
            return "inconsistent"
        # A peak that lies near the line proves little where many windows score alike: the clock has to be known, and
        # one that no crystals explain may follow errors of the moving frames.
        needs_clock = not self._search.confident[index]
        is_unknown = place.error_frames > config.max_clock_error_frames or (needs_clock and self._is_unlike_crystals)
        return "static" if is_unknown else ""

    @property
    def _is_unlike_crystals(self) -> bool:
        clock, config = self._clock, self._config
        if clock is None or clock.own_drift is None or clock.own_drift_error is None:
            return False
        prior = DriftPrior(1e-6 * config.drift_ppm, 1e-6 * config.drift_sigma_ppm)
        return prior.is_contradicted(clock.own_drift, clock.own_drift_error)
