"""Backbones and losses on one data set; Tables 2 and 6, Figures 2 and 6 of the paper: ``rb2v benchmark deblur``."""

from __future__ import annotations

from rb2v.lazy import lazy_names

_PUBLIC_NAMES = {
    "rb2v.benchmark.suites.deblur.config": ("METHODS", "PRESETS", "DeblurSuiteConfig"),
    "rb2v.benchmark.suites.deblur.stage": ("DeblurSuite",),
}

__all__ = ["METHODS", "PRESETS", "DeblurSuite", "DeblurSuiteConfig"]

__getattr__ = lazy_names(__name__, _PUBLIC_NAMES)
