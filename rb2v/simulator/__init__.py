"""A beam-splitter rig with a known answer, for tests, demos and benchmarks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rb2v.lazy import lazy_names

if TYPE_CHECKING:
    from rb2v.simulator.config import SimulateConfig
    from rb2v.simulator.plans import TakePlan
    from rb2v.simulator.rig import SimulatedRig
    from rb2v.simulator.simulation import simulate
    from rb2v.simulator.truth import Truth, read_truth

__all__ = ["SimulateConfig", "SimulatedRig", "TakePlan", "Truth", "read_truth", "simulate"]

__getattr__ = lazy_names(
    __name__,
    {
        "rb2v.simulator.config": ("SimulateConfig",),
        "rb2v.simulator.rig": ("SimulatedRig",),
        "rb2v.simulator.plans": ("TakePlan",),
        "rb2v.simulator.truth": ("Truth", "read_truth"),
        "rb2v.simulator.simulation": ("simulate",),
    },
)
