"""Calibration: from captures of static scenes to the homography, the mirror, the crop and the color map.

`stage` is the order of steps; the steps are modules of their own: `captures` (reading), `boards` and `features` (point
pairs), `lenses` (what bends lines), `takes` (what is static in takes), `registration` (the homography), `overlap`
(the crop), `precision` (what is left), `chart` (the color checker in one image), `checker` and `response` (the
color maps, and the response to undo for them), `colors` (their step), `swatches` (an image of the patches), `light`
(light that is shared unevenly), `overlay` (images to judge by).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rb2v.lazy import lazy_names

if TYPE_CHECKING:
    from rb2v.stages.calibrate.config import CalibrateConfig
    from rb2v.stages.calibrate.light import draw_gain_field
    from rb2v.stages.calibrate.overlay import draw_overlay, draw_residuals
    from rb2v.stages.calibrate.stage import run

__all__ = ["CalibrateConfig", "draw_gain_field", "draw_overlay", "draw_residuals", "run"]

__getattr__ = lazy_names(
    __name__,
    {
        "rb2v.stages.calibrate.config": ("CalibrateConfig",),
        "rb2v.stages.calibrate.light": ("draw_gain_field",),
        "rb2v.stages.calibrate.overlay": ("draw_overlay", "draw_residuals"),
        "rb2v.stages.calibrate.stage": ("run",),
    },
)
