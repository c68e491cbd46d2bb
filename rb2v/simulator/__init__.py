"""A beam-splitter rig with a known answer, for tests, demos and benchmarks."""

from rb2v.simulator.config import SimulateConfig
from rb2v.simulator.rig import SimulatedRig, TakePlan, Truth, read_truth, simulate

__all__ = ["SimulateConfig", "SimulatedRig", "TakePlan", "Truth", "read_truth", "simulate"]
