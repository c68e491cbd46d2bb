"""Look into a data set of shards: numbers, contact sheets, clips of single samples, and a local page."""

from __future__ import annotations

from rb2v.inspection.clip import check_report_folder, clip_frames, write_clip, write_report
from rb2v.inspection.pictures import (
    contact_sheet,
    difference_picture,
    mean_of_sharp,
    plot_histograms,
    strip,
)
from rb2v.inspection.selection import draw_samples, select_samples
from rb2v.inspection.server import InspectionServer, serve
from rb2v.inspection.summary import (
    Histogram,
    Motion,
    SplitSummary,
    Summary,
    bin_values,
    measure_motion,
    motion_px,
    position_period,
    summarize,
)

__all__ = [
    "Histogram",
    "InspectionServer",
    "Motion",
    "SplitSummary",
    "Summary",
    "bin_values",
    "check_report_folder",
    "clip_frames",
    "contact_sheet",
    "difference_picture",
    "draw_samples",
    "mean_of_sharp",
    "measure_motion",
    "motion_px",
    "plot_histograms",
    "position_period",
    "select_samples",
    "serve",
    "strip",
    "summarize",
    "write_clip",
    "write_report",
]
