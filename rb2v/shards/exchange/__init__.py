"""Data sets in other layouts: shards to them, and them to shards."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rb2v.lazy import lazy_names

if TYPE_CHECKING:
    from rb2v.shards.exchange.config import ExportConfig, ImportConfig
    from rb2v.shards.exchange.layouts import LAYOUTS, ImportSummary, Layout, export_shards, import_folder

__all__ = ["LAYOUTS", "ExportConfig", "ImportConfig", "ImportSummary", "Layout", "export_shards", "import_folder"]

__getattr__ = lazy_names(
    __name__,
    {
        "rb2v.shards.exchange.layouts": ("LAYOUTS", "ImportSummary", "Layout", "export_shards", "import_folder"),
        "rb2v.shards.exchange.config": ("ExportConfig", "ImportConfig"),
    },
)
