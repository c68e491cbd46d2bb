"""Any time between two frames from a method that knows the middle alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from rb2v.interpolation import Interpolator

_FINEST = 16  # sixteenths, four passes deep; what lies between is made by another method (docs/interpolation.md)
_TOLERANCE = 1e-6  # of a frame's time: what float64 makes of sixteenths

Frame = NDArray[np.float32]


def between_by_halves(
    halve: Callable[[Frame, Frame], Frame],
    within: Interpolator,
    frame_a: Frame,
    frame_b: Frame,
    times: Sequence[float],
) -> list[Frame]:
    """Return the frames at times between two frames.

    Sixteenths, eighths and so on are halves of halves. Any other time is made by another method between the middle and
    the frame on its side: on simulated scenes, whose frames at thirds are known, that is better than the nearest half
    of halves, a blend of the two around it, or that method between those two.

    Parameters
    ----------
    halve : callable
        Returns the frame halfway between two.
    within : Interpolator
        The method for all other times.
    frame_a, frame_b : (H, W, 3) ndarray of float32
        In linear light.
    times : sequence of float
        Times in 0..1.

    Returns
    -------
    list of (H, W, 3) ndarray of float32
        One frame per time, each a new array; what is shared is made once.

    Examples
    --------
    >>> from rb2v.interpolation.linear import LinearInterpolator
    >>> black, white = (np.full((1, 1, 3), value, np.float32) for value in (0.0, 1.0))
    >>> made = between_by_halves(lambda a, b: (a + b) / 2, LinearInterpolator(), black, white, [0.25, 0.6])
    >>> [round(float(frame.mean()), 3) for frame in made]
    [0.25, 0.6]
    """
    made = {Fraction(0): frame_a, Fraction(1): frame_b}

    def at(time: Fraction) -> Frame:
        if time not in made:
            step = Fraction(1, time.denominator)
            made[time] = halve(at(time - step), at(time + step))
        return made[time]

    frames: dict[float, Frame] = {}
    others: dict[Fraction, list[float]] = {}
    for time in times:
        nearest = Fraction(round(min(max(time, 0.0), 1.0) * _FINEST), _FINEST)
        if time <= 0 or time >= 1 or abs(float(nearest) - time) < _TOLERANCE:
            frames[time] = at(nearest)
        else:
            others.setdefault(Fraction(int(time > 0.5), 2), []).append(time)
    for start, its_times in others.items():
        ends = at(start), at(start + Fraction(1, 2))
        inner = within.between(*ends, [2 * (time - float(start)) for time in its_times])
        frames.update(zip(its_times, inner, strict=True))
    return [frames[time].copy() for time in times]
