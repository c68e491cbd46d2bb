"""Scores of a data set and of what it was made from, and suites that compare methods: ``rb2v benchmark``."""

from __future__ import annotations

from rb2v.lazy import lazy_names

_PUBLIC_NAMES = {
    "rb2v.benchmark.session.config": ("BenchmarkConfig",),
    "rb2v.benchmark.session.inputs": ("SessionPaths",),
    "rb2v.benchmark.session.stage": ("run",),
}

__all__ = ["BenchmarkConfig", "SessionPaths", "run"]

__getattr__ = lazy_names(__name__, _PUBLIC_NAMES)
