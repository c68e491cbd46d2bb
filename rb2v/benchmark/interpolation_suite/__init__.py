"""The interpolation suite: methods that make the frame between two frames, compared on triplets of pictures."""

from __future__ import annotations

from rb2v.benchmark.interpolation_suite.config import InterpolationSuiteConfig
from rb2v.benchmark.interpolation_suite.stage import RESULTS_NAME, read_main_table, run
from rb2v.benchmark.interpolation_suite.triplets import Triplet, find_triplets

__all__ = ["RESULTS_NAME", "InterpolationSuiteConfig", "Triplet", "find_triplets", "read_main_table", "run"]
