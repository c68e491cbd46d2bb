"""The cameras' response from colors: of surfaces of known reflectance, and of one scene seen by two cameras."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rb2v.core.color import Response, to_linear
from rb2v.core.tone import MAX_EXPONENT, MIN_EXPONENT

_GAMMAS = np.geomspace(0.6, 3.5, 61)
_NAMED: tuple[Response, ...] = ("linear", "srgb")
_NOISE_FLOOR = 0.001  # of coded values: what 8 bits and a patch's noise leave
_FLARE_DEVIATION = 0.005  # of the light that a white surface sends: what a lens and black levels add
_KEPT_SHARE = 0.8  # of the pairs, those that a map fits best
_TRIM_ROUNDS = 4  # concentration steps of least trimmed squares (Rousseeuw and Van Driessen, 1999)
_SIGNIFICANT = 4.0  # two standard errors, in the criterion's unit
_DECISIVE = 9.0  # three standard errors, in the same unit
_MAX_EFFECTIVE_PAIRS = 60  # neighbors' errors go together
_MAX_ERROR = 0.15  # relative
_DARK_CODED = 0.02  # below, a level is a large part of the value
_EXPONENTS = np.geomspace(MIN_EXPONENT, MAX_EXPONENT, 106)  # 1 % apart, a third of what a row of six tells
_MIN_GRAYS = 5  # three parameters, and one more when a step is left out
_MAX_LEFT = 0.8  # of the error at steps that were left out; less gained may be noise
_MOST_LEFT = 0.02  # of coded values, beyond which no exponent explains a row: five real photographs left 0.03 to 0.06
_SURELY = 3.0  # standard errors


@dataclass(frozen=True, eq=False)
class GraySteps:
    """Coded colors of gray surfaces whose light is known up to the exposure."""

    coded: NDArray[np.float64]
    """(n, 3) coded colors, 0..1."""
    light: NDArray[np.float64]
    """(n,) reflectances, 0..1."""


@dataclass(frozen=True, eq=False)
class CodedColorPairs:
    """Coded colors of the same surfaces in two cameras."""

    source: NDArray[np.float64]
    """(n, 3) of the one, 0..1."""
    target: NDArray[np.float64]
    """(n, 3) of the other, 0..1."""


@dataclass(frozen=True)
class ResponseEstimate:
    """What colors tell of the cameras' response."""

    response: Response
    """The named one where it explains them as well as any gamma, else the exponent of the gamma that does best."""
    gamma: float
    """Exponent of the pure gamma that explains them best."""
    gamma_error: float
    """Its standard error."""
    criterion: tuple[tuple[Response, float], ...]
    """For each response that was tried, how much worse than the best one it explains the colors, in squared standard
    errors."""

    def excludes(self, response: Response) -> bool:
        """Return whether a response explains the colors worse by more than two standard errors."""
        if not isinstance(response, str):
            beyond = ((response - self.gamma) / max(self.gamma_error, 1e-6)) ** 2
            return bool(beyond > _SIGNIFICANT and response != self.response)
        return dict(self.criterion)[response] > _SIGNIFICANT


def estimate_response(grays: Sequence[GraySteps], pairs: Sequence[CodedColorPairs]) -> ResponseEstimate | None:
    """Estimate the response that cameras of one kind share.

    Under the right response the light of gray surfaces is proportional to their reflectance but for a little flare, and
    one affine map takes the light of one camera to that of the other. Two cameras that differ by a gain alone tell a
    response up to an exponent; crosstalk between their channels, or a curve that is no power, tells more.

    Parameters
    ----------
    grays : sequence of GraySteps
        One of each camera; may be empty.
    pairs : sequence of CodedColorPairs
        Scenes that both cameras saw; may be empty.

    Returns
    -------
    ResponseEstimate or None
        None where the colors leave the exponent open by more than 15 % and do not tell that it is sRGB either, or
        there are too few of them.

    References
    ----------
    .. [1] Mann and Picard, "On being 'undigital' with digital cameras: extending dynamic range by combining
       differently exposed images", IS&T 48th annual conference (1995).
    .. [2] Grossberg and Nayar, "Determining the camera response from images: what is knowable?", PAMI 25 (2003).
    """
    grays = [steps for steps in grays if len(steps.light) >= 4]
    pairs = [some for some in pairs if len(some.source) >= 8]
    if not grays and not pairs:
        return None
    candidates: list[Response] = [*_NAMED, *(float(gamma) for gamma in _GAMMAS)]
    scores = np.array([_misfit(response, grays, pairs) for response in candidates])
    gammas = scores[len(_NAMED) :]
    gamma, gamma_score, error = _parabola_minimum(np.log(_GAMMAS), gammas)
    best = min(float(scores.min()), gamma_score)
    named = int(np.argmin(scores[: len(_NAMED)]))
    explains = scores[named] <= gamma_score + _SIGNIFICANT
    # Where a gamma is open, linear is as open as any; a curve that is no power may be told all the same.
    decided = _NAMED[named] == "srgb" and scores[named] <= gamma_score - _DECISIVE
    if error > _MAX_ERROR and not decided:
        return None
    response: Response = _NAMED[named] if explains else round(gamma, 3)
    criterion = tuple((name, float(score - best)) for name, score in zip(_NAMED, scores, strict=False))
    return ResponseEstimate(response, gamma, gamma * error, criterion)


@dataclass(frozen=True)
class GrayExponent:
    """An exponent of a camera's coded values that explains gray steps that it was not fitted to."""

    exponent: float
    """The camera has ``coded ** exponent`` where the assumed response has ``coded``."""
    error: float
    """Its standard error."""


def estimate_gray_exponent(steps: GraySteps, response: Response) -> GrayExponent | None:
    """Estimate by which exponent a camera's coded values differ from a response, from gray surfaces.

    Every step is compared with what the others say of it: an exponent, a gain and a little flare.

    Parameters
    ----------
    steps : GraySteps
        Of one camera.
    response : {"linear", "srgb"} or float
        What it is assumed to have.

    Returns
    -------
    GrayExponent or None
        None where the response explains the steps that are left out as well or no exponent does, and with fewer than
        five steps.
    """
    n = len(steps.light)
    if n < _MIN_GRAYS:
        return None
    table = np.array([_left_out_squares(steps, response, float(exponent)) for exponent in _EXPONENTS])
    without = table.sum(axis=1, keepdims=True) - table
    best, of_others = int(table.sum(axis=1).argmin()), without.argmin(axis=0)
    assumed = _left_out_squares(steps, response, 1.0)
    exponent, others = float(_EXPONENTS[best]), _EXPONENTS[of_others]
    error = float(np.sqrt((n - 1) / n * np.square(others - others.mean()).sum()))
    left = table[of_others, np.arange(n)].sum() + n * _NOISE_FLOOR**2
    explains = left < min(_MAX_LEFT**2 * (assumed.sum() + n * _NOISE_FLOOR**2), n * _MOST_LEFT**2)
    if not explains or best in (0, len(_EXPONENTS) - 1) or abs(exponent - 1) < _SURELY * error:
        return None
    return GrayExponent(exponent, error)


def _left_out_squares(steps: GraySteps, response: Response, exponent: float) -> NDArray[np.float64]:
    """Return the mean square, in coded values, by which each gray step lies off what the others say, (n,)."""
    toned = np.power(np.clip(steps.coded, 0, 1), 1 / exponent)
    light, slope = _linearize(toned, response)
    # By which what is undone grows with the coded values themselves.
    slope = slope * toned / (exponent * np.maximum(steps.coded, _DARK_CODED))
    squares = np.empty(len(light))
    for index in range(len(light)):
        others = np.arange(len(light)) != index
        left = [
            light[index, channel]
            - np.array([steps.light[index], 1.0]) @ _fit_gain(steps, light, slope, channel, others)
            for channel in range(3)
        ]
        squares[index] = np.square(left / slope[index]).mean()
    return squares


def _fit_gain(
    steps: GraySteps, light: NDArray[np.float64], slope: NDArray[np.float64], channel: int, some: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Return gain and flare, (2,), of a channel's light over some gray steps."""
    weights = 1 / slope[some, channel]
    white = float(light[some, channel].max() / steps.light[some].max())
    design = np.column_stack([steps.light[some], np.ones(int(some.sum()))]) * weights[:, None]
    # A row that keeps the flare small; the deviation of the steps themselves is not known before.
    prior = np.array([[0.0, 0.01 / (_FLARE_DEVIATION * max(white, 1e-3))]])
    wanted = np.append(light[some, channel] * weights, 0.0)
    fitted, *_ = np.linalg.lstsq(np.vstack([design, prior]), wanted, rcond=None)
    return np.asarray(fitted)


def _parabola_minimum(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[float, float, float]:
    """Return the exponent of the least misfit, that misfit, and its relative standard error."""
    index = int(np.clip(np.argmin(y), 1, len(x) - 2))
    before, middle, after = y[index - 1 : index + 2]
    step = x[1] - x[0]
    curvature = (before - 2 * middle + after) / step**2
    if curvature <= 0:
        return float(np.exp(x[index])), float(middle), np.inf
    shift = np.clip((before - after) / (2 * step * curvature), -step, step)
    return float(np.exp(x[index] + shift)), float(middle - curvature * shift**2 / 2), float(np.sqrt(2 / curvature))


def _misfit(response: Response, grays: Sequence[GraySteps], pairs: Sequence[CodedColorPairs]) -> float:
    """Return minus twice the log likelihood of the colors under a response, their deviations being what they leave."""
    total = 0.0
    for steps in grays:
        total += (len(steps.light) - 2) * np.log(_gray_variance(response, steps) + _NOISE_FLOOR**2)
    for some in pairs:
        count = min(len(some.source) - 4, _MAX_EFFECTIVE_PAIRS)
        total += count * np.log(_pair_variance(response, some) + _NOISE_FLOOR**2)
    return float(total)


def _gray_variance(response: Response, steps: GraySteps) -> float:
    """Return the mean square, in coded values, of what gain and flare leave of the gray steps."""
    light, slope = _linearize(steps.coded, response)
    design = np.column_stack([steps.light, np.ones(len(light))])
    every = np.ones(len(light), dtype=np.bool_)
    squares = []
    for channel in range(3):
        left = (light[:, channel] - design @ _fit_gain(steps, light, slope, channel, every)) / slope[:, channel]
        squares.append(np.square(left).sum() / max(len(light) - 2, 1))
    return float(np.mean(squares))


def _pair_variance(response: Response, pairs: CodedColorPairs) -> float:
    """Return the mean square, in coded values, of what an affine map leaves of most pairs."""
    source, _ = _linearize(pairs.source, response)
    target, slope = _linearize(pairs.target, response)
    design = np.column_stack([source, np.ones(len(source))])
    kept = np.ones(len(source), dtype=np.bool_)
    n_kept = max(int(np.ceil(_KEPT_SHARE * len(source))), 8)
    squares = np.zeros(len(source))
    for _ in range(_TRIM_ROUNDS):
        residuals = np.empty_like(target)
        for channel in range(3):
            weights = 1 / slope[:, channel]
            fitted, *_ = np.linalg.lstsq(
                design[kept] * weights[kept, None], target[kept, channel] * weights[kept], rcond=None
            )
            residuals[:, channel] = (target[:, channel] - design @ fitted) * weights
        squares = np.square(residuals).mean(axis=1)
        kept = squares <= np.partition(squares, n_kept - 1)[n_kept - 1]
    return float(squares[kept].sum() / max(kept.sum() - 4, 1))


def _linearize(coded: NDArray[np.float64], response: Response) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Return the light of coded values, and by how much it grows with them."""
    step = 1e-3
    at = np.clip(coded, _DARK_CODED, 1.0)
    slope = (to_linear(at + step, response) - to_linear(at - step, response)).astype(np.float64) / (2 * step)
    return to_linear(coded, response).astype(np.float64), np.maximum(slope, 1e-3)
