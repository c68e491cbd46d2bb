"""A beam-splitter rig with a known answer, for tests, demos and benchmarks."""

from rb2v.simulator.rig import SimulateConfig, SimulatedRig, TakePlan, Truth, read_truth, simulate

__all__ = ["SimulateConfig", "SimulatedRig", "TakePlan", "Truth", "read_truth", "simulate"]
