"""Schedule of the learning rate."""

from __future__ import annotations

import math


def learning_rate(step: int, *, steps: int, peak: float, warmup_steps: int) -> float:
    """Return the learning rate of a step, counted from 0: it rises to its peak, and falls to zero along a cosine."""
    warm_up = min(1.0, (step + 1) / (warmup_steps + 1))
    return peak * warm_up * 0.5 * (1 + math.cos(math.pi * step / steps))
