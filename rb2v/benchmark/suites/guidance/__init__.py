"""Motion guidance, true and predicted; Table 4 of the paper: ``rb2v benchmark guidance``."""

from __future__ import annotations

from rb2v.lazy import lazy_names

_PUBLIC_NAMES = {
    "rb2v.benchmark.suites.guidance.config": ("DECOMPOSERS", "PRESETS", "GuidanceSuiteConfig"),
    "rb2v.benchmark.suites.guidance.stage": ("GuidanceSuite",),
}

__all__ = ["DECOMPOSERS", "PRESETS", "GuidanceSuite", "GuidanceSuiteConfig"]

__getattr__ = lazy_names(__name__, _PUBLIC_NAMES)
