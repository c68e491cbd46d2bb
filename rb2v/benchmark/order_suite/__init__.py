"""All order networks on one data set, several seeds each, beside trivial controls: ``rb2v benchmark order``."""

from __future__ import annotations

from rb2v.benchmark.order_suite.config import PRESETS, OrderSuiteConfig
from rb2v.benchmark.order_suite.stage import RESULTS_NAME, read_main_table, run

__all__ = ["PRESETS", "RESULTS_NAME", "OrderSuiteConfig", "read_main_table", "run"]
