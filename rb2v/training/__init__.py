"""What trainings share: samples as tensors, their order, processes, states to go on from, curves and intervals."""
