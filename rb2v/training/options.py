"""What the options of trainings have in common: bounds, and the schedule of the learning rate."""

from __future__ import annotations

import math

from rb2v.errors import Rb2vError


def check_range(name: str, value: float, least: float, most: float = math.inf) -> None:
    """Check that an option is a finite number from ``least`` to ``most``.

    Raises
    ------
    Rb2vError
        If it is not.
    """
    if not (least <= value < math.inf):
        raise Rb2vError(f"{name} must be at least {least}, got {value}")
    if value > most:
        raise Rb2vError(f"{name} must be at most {most}, got {value}")


def check_positive(name: str, value: float) -> None:
    """Check that an option is a positive finite number.

    Raises
    ------
    Rb2vError
        If it is not.
    """
    if not 0 < value < math.inf:
        raise Rb2vError(f"{name} must be a positive number, got {value}")


def learning_rate(step: int, *, steps: int, peak: float, warmup_steps: int) -> float:
    """Return the learning rate of a step, counted from 0: it rises to its peak, and falls to zero along a cosine."""
    warm_up = min(1.0, (step + 1) / (warmup_steps + 1))
    return peak * warm_up * 0.5 * (1 + math.cos(math.pi * step / steps))
