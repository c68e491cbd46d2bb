"""The protocol of interpolation methods, and the methods by name."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from rb2v.core.color import Response
from rb2v.device import Device
from rb2v.errors import InputError, check_member
from rb2v.interpolation.guarded import GuardedInterpolator
from rb2v.io.store import sha256_of, sha256_of_files


class Interpolator(Protocol):
    """Anything that makes frames between two frames."""

    def between(
        self,
        frame_a: NDArray[np.float32],
        frame_b: NDArray[np.float32],
        times: Sequence[float],
        *,
        averaged: Collection[float] = (),
    ) -> list[NDArray[np.float32]]:
        """Return the frames at times between two frames.

        Parameters
        ----------
        frame_a, frame_b : (H, W, 3) ndarray of float32
            Neighboring frames in linear light, 0..1.
        times : sequence of float
            Times in 0..1: 0 is ``frame_a``, 1 is ``frame_b``.
        averaged : collection of float
            Those of the times whose frames are only ever averaged with others; a method may sample them more cheaply.

        Returns
        -------
        list of (H, W, 3) ndarray of float32
            One frame per time; at 0 and 1 the given frames themselves.
        """
        ...


@dataclass(frozen=True)
class InterpolatorSettings:
    """What an interpolation method is to work with; a method heeds what concerns it."""

    response: Response = "srgb"
    """What the linear frames are encoded with for a network, which knows coded images alone, and its answer decoded
    with; ``"linear"`` where the frames that will be given are coded already."""
    device: Device = "auto"
    """Where a network computes."""
    weights: Path | None = None
    """A network's weights in place of its usual ones: a file, or for RIFE the folder of its files."""


def _check_needless(name: str, settings: InterpolatorSettings) -> None:
    if settings.weights is not None:
        problem = f"weights are given, and {name!r} has none"
        raise InputError(settings.weights, problem, expected="a method that is a network, or no weights")


def _load_linear(settings: InterpolatorSettings) -> Interpolator:
    _check_needless("linear", settings)
    from rb2v.interpolation.linear import LinearInterpolator

    return LinearInterpolator()


def _load_flow(settings: InterpolatorSettings) -> Interpolator:
    _check_needless("flow", settings)
    from rb2v.interpolation.flow import FlowInterpolator

    return FlowInterpolator(settings.response)


def _load_quick_flow(settings: InterpolatorSettings) -> Interpolator:
    _check_needless("quick-flow", settings)
    from rb2v.interpolation.flow import FlowInterpolator

    return FlowInterpolator(settings.response, "quick")


def _load_rife(settings: InterpolatorSettings, version: str = "3.1", *, symmetric: bool = False) -> Interpolator:
    from rb2v.interpolation.learned.rife import make_rife

    return make_rife(version, settings.response, settings.device, settings.weights, symmetric=symmetric)


def _load_cdfi(settings: InterpolatorSettings) -> Interpolator:
    from rb2v.interpolation.learned.cdfi.interpolator import make_cdfi

    return make_cdfi(settings.response, settings.device, settings.weights)


def _load_combined(settings: InterpolatorSettings) -> Interpolator:
    from rb2v.interpolation.learned.combined import make_combined

    return make_combined(settings.response, settings.device, settings.weights)


INTERPOLATORS: Mapping[str, Callable[[InterpolatorSettings], Interpolator]] = {
    "cdfi": _load_cdfi,
    "combined": _load_combined,
    "flow": _load_flow,
    "linear": _load_linear,
    "quick-flow": _load_quick_flow,
    "rife": _load_rife,
    "rife-symmetric": partial(_load_rife, symmetric=True),
    "rife-3.5": partial(_load_rife, version="3.5"),
    "rife-3.8": partial(_load_rife, version="3.8"),
    "rife-3.8-symmetric": partial(_load_rife, version="3.8", symmetric=True),
    "rife-4.0": partial(_load_rife, version="4.0"),
    "rife-4.0-symmetric": partial(_load_rife, version="4.0", symmetric=True),
    "rife-4.6": partial(_load_rife, version="4.6"),
    "rife-4.6-symmetric": partial(_load_rife, version="4.6", symmetric=True),
}
"""Interpolation methods by name; each value loads its method."""

WEIGHTS: Mapping[str, Sequence[str]] = {
    "cdfi": ("cdfi",),
    "combined": ("rife", "rife-4.6"),
    **{name: ("rife-4.6" if "4.6" in name else "rife",) for name in INTERPOLATORS if name.startswith("rife")},
}
"""Names of the usual weights of methods that have some, as `rb2v.models` knows them."""


def make_interpolator(
    name: str, *, response: Response = "srgb", device: Device = "auto", weights: Path | None = None
) -> GuardedInterpolator:
    """Return an interpolation method by its name, guarded: see `GuardedInterpolator`.

    Parameters
    ----------
    name : str
        A key of ``INTERPOLATORS``.
    response : {"linear", "srgb"} or float
        See `InterpolatorSettings`.
    device : {"auto", "cpu", "cuda"}
        Where a network computes; auto takes CUDA where there is one.
    weights : Path, optional
        A network's weights in place of its usual ones, see `InterpolatorSettings`.

    Raises
    ------
    InputError
        If there is no such method or device, a network's weights are missing or cannot be used, or a method that has
        none is given some.
    """
    check_member("interpolator", name, INTERPOLATORS)
    method = INTERPOLATORS[name](InterpolatorSettings(response, device, weights))
    return GuardedInterpolator(method, response)


_WEIGHTS_SUFFIXES = (".safetensors", ".pth")


def digest_weights(weights: Path | None) -> str | None:
    """Return the SHA-256 of a file of weights, or of all in a folder, as 64 hex digits; None where there are none.

    Parameters
    ----------
    weights : Path, optional
        A file or a folder that `make_interpolator` has taken.
    """
    if weights is None or not weights.is_dir():
        return None if weights is None else sha256_of(weights)
    return sha256_of_files(sorted(path for path in weights.iterdir() if path.suffix in _WEIGHTS_SUFFIXES))
