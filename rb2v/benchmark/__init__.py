"""The pipeline's scores and pictures in one report, against the truth where there is one: ``rb2v benchmark``."""

from __future__ import annotations

from rb2v.benchmark.config import BenchmarkConfig
from rb2v.benchmark.stage import run

__all__ = ["BenchmarkConfig", "run"]
