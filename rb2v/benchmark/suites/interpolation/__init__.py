"""Methods that make the frame between two frames, on triplets of images: ``rb2v benchmark interpolation``."""

from __future__ import annotations

from rb2v.lazy import lazy_names

_PUBLIC_NAMES = {
    "rb2v.benchmark.suites.interpolation.stage": ("InterpolationSuite",),
    "rb2v.benchmark.suites.interpolation.config": ("InterpolationSuiteConfig",),
    "rb2v.benchmark.suites.interpolation.image_triplets": ("Triplet", "find_triplets"),
}

__all__ = ["InterpolationSuite", "InterpolationSuiteConfig", "Triplet", "find_triplets"]

__getattr__ = lazy_names(__name__, _PUBLIC_NAMES)
