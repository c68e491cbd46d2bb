"""Scores of a data set and of what it was made from, and suites that compare methods: ``rb2v benchmark``."""

from __future__ import annotations

from rb2v.lazy import lazy_names

_PUBLIC_NAMES = {
    "BenchmarkConfig": "rb2v.benchmark.session.config",
    "SessionPaths": "rb2v.benchmark.session.inputs",
    "run": "rb2v.benchmark.session.stage",
}

__all__ = ["BenchmarkConfig", "SessionPaths", "run"]

__getattr__ = lazy_names(__name__, _PUBLIC_NAMES)
