"""Landmarks of recovered sequences against the true ones; Table 5 of the paper: ``rb2v benchmark trajectories``."""

from __future__ import annotations

from rb2v.lazy import lazy_names

_PUBLIC_NAMES = {
    "rb2v.benchmark.suites.trajectories.config": ("PRESETS", "TrajectorySuiteConfig"),
    "rb2v.benchmark.suites.trajectories.stage": ("TrajectorySuite",),
}

__all__ = ["PRESETS", "TrajectorySuite", "TrajectorySuiteConfig"]

__getattr__ = lazy_names(__name__, _PUBLIC_NAMES)
