"""All order networks on one data set, several seeds each, beside trivial controls: ``rb2v benchmark order``."""

from __future__ import annotations

from rb2v.lazy import lazy_names

_PUBLIC_NAMES = {
    "rb2v.benchmark.suites.order.config": ("PRESETS", "OrderSuiteConfig"),
    "rb2v.benchmark.suites.order.stage": ("OrderSuite",),
}

__all__ = ["PRESETS", "OrderSuite", "OrderSuiteConfig"]

__getattr__ = lazy_names(__name__, _PUBLIC_NAMES)
