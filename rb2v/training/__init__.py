"""Common ground of trainings: samples as tensors, their order, processes, saved states, curves and intervals."""
