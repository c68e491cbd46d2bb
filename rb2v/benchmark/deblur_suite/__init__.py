"""The deblurring suite: backbones and losses trained on one data set and compared; Tables 2 and 6, Figures 2 and 6."""

from __future__ import annotations

from rb2v.benchmark.deblur_suite.config import METHODS, PRESETS, DeblurSuiteConfig
from rb2v.benchmark.deblur_suite.stage import RESULTS_NAME, read_main_table, run

__all__ = ["METHODS", "PRESETS", "RESULTS_NAME", "DeblurSuiteConfig", "read_main_table", "run"]
