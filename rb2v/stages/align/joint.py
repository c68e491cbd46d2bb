"""Whether windows that frames find by themselves hide a shift between the views, and a homography without it."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rb2v.artifacts import Calibration, Rig, TakeRegistration
from rb2v.core.blur import STORED_LEVELS, CubicWindows, Windows
from rb2v.core.clock import DriftPrior
from rb2v.core.color import luminance
from rb2v.core.homography import Homography, normalized
from rb2v.core.joint import FrameTerms, frame_terms, solve_jointly
from rb2v.io.frame_file import FrameFile
from rb2v.stages.align.config import AlignConfig
from rb2v.stages.align.search import Search, unclipped
from rb2v.stages.align.track import SharpSource

logger = logging.getLogger(__name__)

MAX_TIME_ERROR_FRAMES = 0.25
"""Fine frames by which a shift that is left may move a frame: half of what rounding a position does."""

_MAX_FRAMES = 100  # two or three seconds of clear frames tell a shift to 0.02 px
_MIN_SIGNIFICANCE = 4.0  # standard errors of a shift, by which takes of rigs that nobody moved never exceed it
_MIN_SHIFT_PX = 0.05  # of the blurry camera; less is what calibrations leave
_NEIGHBORS = np.array([-1.0, 0.0, 1.0])  # fine frames


@dataclass(frozen=True, eq=False)
class HiddenShift:
    """A shift between the views of a take that its frames' own windows hide."""

    registration: TakeRegistration
    homography: Homography | None
    """Without the shift; None where it is not significant."""
    time_error_frames: float
    """By how many fine frames it moves the windows that frames find, in the median."""


def find_hidden_shift(
    search: Search,
    frames: FrameFile[np.uint16],
    times: NDArray[np.float64],
    windows: Windows,
    sharp: SharpSource,
    size: tuple[int, int],
    rig: Rig,
    calibration: Calibration,
    config: AlignConfig,
) -> HiddenShift | None:
    """Solve for a take's clock and a shift between its views together; None where its frames tell too little.

    Parameters
    ----------
    search : Search
        Whose peaks are clear.
    frames : (J, h * w, 3) FrameFile of uint16
        Reduced blurry frames.
    times : (J,) ndarray of float64
        Their times in seconds.
    windows : Windows
        The synthetic blur of all windows, reduced alike.
    sharp : SharpSource
        Tells times of positions.
    size : tuple of int
        Width and height of reduced frames.
    rig : Rig
        The rates.
    calibration : Calibration
        What the frames were registered with.
    config : AlignConfig
        What is known of the drift.
    """
    if not isinstance(windows, CubicWindows):
        return None
    peaks = search.curves.peak
    clear = [i for i in np.flatnonzero(search.confident).tolist() if 1 <= peaks[i] <= len(windows) - 2]
    terms = []
    for index in clear[:: max(-(-len(clear) // _MAX_FRAMES), 1)]:
        lag = (sharp.center_time(float(peaks[index])) - float(times[index])) * rig.fine_fps
        terms.append(_terms(frames[index], windows.between(peaks[index] + _NEIGHBORS), size, lag, float(times[index])))
    prior = DriftPrior(1e-6 * config.drift_ppm, 1e-6 * config.drift_sigma_ppm)
    try:
        fit = solve_jointly(terms, rig.fine_fps, prior)
    except (ValueError, np.linalg.LinAlgError) as error:
        logger.info("the frames do not tell a shift from time: %s", error)
        return None
    scale = calibration.crop.width / size[0]
    shift_px = scale * fit.shift
    length_px = float(np.hypot(*shift_px))
    # Of the error's ellipse the axis along the shift.
    along = fit.shift / max(float(np.hypot(*fit.shift)), 1e-9)
    error_px = scale * float(np.sqrt(along @ fit.covariance @ along))
    own: Homography | None = None
    if length_px > max(_MIN_SHIFT_PX, _MIN_SIGNIFICANCE * error_px):
        move = np.array([[1, 0, -shift_px[0]], [0, 1, -shift_px[1]], [0, 0, 1]])
        own = normalized(move @ calibration.homography)
    registration = TakeRegistration(length_px, error_px, len(terms))
    return HiddenShift(registration, own, float(np.median(np.abs(fit.time_errors))))


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
