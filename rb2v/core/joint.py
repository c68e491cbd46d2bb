"""The clock and a shift between the views, solved together.

Where something moves, a view that lies beside the other one looks like one at another time: a shift that is left over
becomes time, and time that is wrong becomes a shift. What tells them apart is that the time which a shift stands for
follows the direction of the motion, while the clock runs evenly.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import scipy
from numpy.typing import NDArray

from rb2v.core.clock import DriftPrior

# Sixth order: reduced frames are so fine in detail that neighbors alone tell three quarters of a slope.
_SLOPE = np.array([-1, 9, -45, 0, 45, -9, 1]) / 60
_MAX_ROUNDS = 30  # of reweighting; ten are usual
_SETTLED = 1e-4  # of a weight
_REACH = 3.0  # in robust deviations; frames beyond count little
_MIN_FRAMES = 8  # twice the parameters
_LEAST_SCALE = 0.01  # fine frames; the least deviation of single frames that real images leave
_MIN_SHARE = 0.5  # of the frames have to agree
_N_PIXEL_ROUNDS = 2  # of reweighting pixels
_PIXEL_REACH = 12.0  # robust deviations of pixels; what rests in one view lies further off, and what moves does not
_NORMAL = 1.4826  # of a normal distribution, standard deviation over median absolute one
_N_PARAMETERS = 4  # two of the shift, two of the clock


@dataclass(frozen=True, eq=False)
class FrameTerms:
    """How a frame's error grows with a shift and with time, about its own best window."""

    lag: float
    """Time of that window less the frame's, in fine frames."""
    time_seconds: float
    """Of the frame."""
    matrix: NDArray[np.float64]
    """(3, 3) normal matrix of a shift to the right, one downward, and a later window."""
    vector: NDArray[np.float64]
    """(3,) right-hand side, in units of the frame's noise as the matrix."""


@dataclass(frozen=True, eq=False)
class JointFit:
    """The shift under which the frames' windows lie evenly in time."""

    shift: NDArray[np.float64]
    """(2,) in pixels of the frames: what lies at x + shift in the registered sharp view is at x in the blurry one."""
    covariance: NDArray[np.float64]
    """(2, 2) of that."""
    time_errors: NDArray[np.float64]
    """(n,) by how many fine frames the shift moves each frame's own window."""
    deviations: NDArray[np.float64]
    """(n,) by how many fine frames frames lie off."""
    inliers: NDArray[np.bool_]
    """(n,) frames that agree."""
    line: tuple[float, float, float]
    """The clock: a time in seconds, a window's time less a frame's then, in fine frames, and its growth per second."""

    def lag_at(self, time_seconds: float) -> float:
        """Return by how many fine frames a window's time exceeds its frame's at a time."""
        middle, lag, growth = self.line
        return lag + growth * (time_seconds - middle)

    def misfit(self, term: FrameTerms, shift: NDArray[np.float64]) -> float:
        """Return how much a frame's error grows under this clock and a shift, (2,), in units of its noise."""
        move = np.append(shift, self.lag_at(term.time_seconds) - term.lag)
        return float(move @ term.matrix @ move - 2 * term.vector @ move)


def frame_terms(
    windows: NDArray[np.float64], frame: NDArray[np.float64], valid: NDArray[np.bool_], lag: float, time_seconds: float
) -> FrameTerms:
    """Linearize a frame's error about its own best window.

    Parameters
    ----------
    windows : (3, h, w) ndarray of float64
        Luminance of the windows one fine frame before the best one, at it, and one behind.
    frame : (h, w) ndarray of float64
        Luminance of the frame.
    valid : (h, w) ndarray of bool
        Pixels that count.
    lag : float
        Time of the best window less the frame's, in fine frames.
    time_seconds : float
        Of the frame.
    """
    before, here, behind = windows
    rows = np.stack([*_slopes(here), 0.5 * (behind - before), here, np.ones_like(here)])[:, valid]
    target = frame[valid]
    # What rests in one view alone, such as dirt on the splitter or a shaded rim, fits no shift and no window.
    roots = np.ones(len(target))
    for _ in range(_N_PIXEL_ROUNDS):
        fit = np.linalg.lstsq((roots * rows).T, roots * target)[0]
        left = target - fit @ rows
        scale = _NORMAL * float(np.median(np.abs(left))) + 1e-6
        roots = 1 / (1 + np.square(left / (_PIXEL_REACH * scale)))
    rows, target = roots * rows, roots * target
    # Gain and offset between the cameras are the frame's own.
    photometric = np.linalg.lstsq(rows[3:].T, target)[0]
    residual = target - photometric @ rows[3:]
    slopes = photometric[0] * (rows[:3] - (rows[:3] @ np.linalg.pinv(rows[3:])) @ rows[3:])
    variance = float(residual @ residual) / max(len(target) - len(rows), 1) + 1e-12
    return FrameTerms(lag, time_seconds, slopes @ slopes.T / variance, slopes @ residual / variance)


def _slopes(image: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how an (h, w) image changes to the right and downward, as (2, h, w)."""
    reach = len(_SLOPE) // 2
    padded = np.pad(image, reach, mode="reflect", reflect_type="odd")  # goes on evenly beyond the edges
    slopes = [scipy.ndimage.correlate1d(padded, _SLOPE, axis=axis) for axis in (1, 0)]
    return np.stack([slope[reach:-reach, reach:-reach] for slope in slopes])


def solve_jointly(terms: Sequence[FrameTerms], fine_fps: float, prior: DriftPrior) -> JointFit:
    """Solve for a clock and a shift together, robustly.

    Parameters
    ----------
    terms : sequence of FrameTerms
        Frames whose own best windows are clear.
    fine_fps : float
        Fine frames per second.
    prior : DriftPrior
        What is known of the drift.

    Raises
    ------
    ValueError
        If there are too few frames, or fewer than half of them agree.
    """
    n = len(terms)
    if n < _MIN_FRAMES:
        raise ValueError(f"a clock and a shift need {_MIN_FRAMES} frames, got {n}")
    times = np.array([one.time_seconds for one in terms])
    lags = np.array([one.lag for one in terms])
    matrices, vectors = np.stack([one.matrix for one in terms]), np.stack([one.vector for one in terms])
    middle = float(times.mean())
    # Parameters: the shift, the lag in the middle, and the drift in fine frames per second.
    design = np.zeros((n, 3, 4))
    design[:, 0, 0] = design[:, 1, 1] = design[:, 2, 2] = 1
    design[:, 2, 3] = times - middle
    center = float(np.median(lags))
    targets = vectors + matrices[:, :, 2] * (lags - center)[:, None]
    normals = np.einsum("nia,nij,njb->nab", design, matrices, design)
    rights = np.einsum("nia,ni->na", design, targets)
    response = matrices[:, 2, :2] / matrices[:, 2, 2:]
    known = np.diag([0, 0, 0, (fine_fps * prior.sigma) ** -2.0])
    aim = np.array([0, 0, 0, fine_fps * prior.drift])
    weights, noise = np.ones(n), 1.0
    for _ in range(_MAX_ROUNDS):
        strength = np.einsum("n,nab->ab", weights, normals) + noise * known
        solution = np.linalg.solve(strength, np.einsum("n,na->a", weights, rights) + noise * known @ aim)
        own = vectors[:, 2] / matrices[:, 2, 2] - response @ solution[:2]
        deviations = solution[2] + solution[3] * (times - middle) - (lags - center) - own
        scale = max(_NORMAL * float(np.median(np.abs(deviations))), _LEAST_SCALE)
        # Errors of whole frames, which follow their motion, are larger than those that their pixels' noise makes.
        noise = max(float(np.median(np.square(deviations) * matrices[:, 2, 2])) * _NORMAL**2, 1.0)
        updated = 1 / (1 + np.square(deviations / (_REACH * scale))) ** 2
        change = float(np.abs(updated - weights).max())
        weights = updated
        if change < _SETTLED:
            break
    inliers = np.abs(deviations) < _REACH * scale
    if inliers.mean() < _MIN_SHARE:
        raise ValueError(f"only {int(inliers.sum())} of {n} frames agree on a clock and a shift")
    scores = weights[:, None] * (rights - normals @ solution)
    inverse = np.linalg.inv(strength)
    covariance = inverse @ (scores.T @ scores) @ inverse * n / (n - _N_PARAMETERS)
    line = middle, center + float(solution[2]), float(solution[3])
    return JointFit(solution[:2], covariance[:2, :2], response @ solution[:2], deviations, inliers, line)
