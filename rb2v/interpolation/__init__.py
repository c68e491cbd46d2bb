"""Frames between two frames: one protocol, and the methods by name."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


class Interpolator(Protocol):
    """Anything that makes frames between two frames."""

    def between(
        self, frame_a: NDArray[np.float32], frame_b: NDArray[np.float32], times: Sequence[float]
    ) -> list[NDArray[np.float32]]:
        """Return the frames at times between two frames.

        Parameters
        ----------
        frame_a, frame_b : (H, W, 3) ndarray of float32
            Neighbouring frames in linear light, 0..1.
        times : sequence of float
            Times in 0..1: 0 is ``frame_a``, 1 is ``frame_b``.

        Returns
        -------
        list of (H, W, 3) ndarray of float32
            One frame per time; at 0 and 1 the given frames themselves.
        """
        ...


def _load_linear() -> Interpolator:
    from rb2v.interpolation.linear import LinearInterpolator

    return LinearInterpolator()


def _load_flow() -> Interpolator:
    from rb2v.interpolation.flow import FlowInterpolator

    return FlowInterpolator()


INTERPOLATORS: Mapping[str, Callable[[], Interpolator]] = {
    "flow": _load_flow,
    "linear": _load_linear,
}
"""Interpolation methods by name; each value loads its method."""


def make_interpolator(name: str) -> Interpolator:
    """Return an interpolation method by its name.

    Raises
    ------
    ValueError
        If there is no such method; the message names those there are.
    """
    if name not in INTERPOLATORS:
        raise ValueError(f"{name!r} is no interpolation method; expected one of {', '.join(INTERPOLATORS)}")
    return INTERPOLATORS[name]()
