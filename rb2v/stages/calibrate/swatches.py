"""An image of the color checker's patches in both cameras, before and after the color map."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from rb2v.stages.calibrate.captures import Image
from rb2v.stages.calibrate.chart import COLUMNS, ROWS
from rb2v.stages.calibrate.checker import CheckerFit

_PATCH_PX = 88  # holds the inner square and its figure
_GAP_PX = 8  # between patches
_HEAD_PX = 34  # of the title's line
_INNER_PX = 20  # from a patch's edge to the sharp camera's color within it
_GROUND = (38, 38, 38)  # RGB, dark and neutral, beside which colors are judged
_INK = (225, 225, 225)  # RGB
_FONT = cv2.FONT_HERSHEY_SIMPLEX


def draw_swatches(fit: CheckerFit) -> Image:
    """Draw every patch as the blurry camera saw it, around the sharp camera's color of it, before and after the map.

    The CIEDE2000 difference stands in each patch; one that the map was not fitted to is crossed out.

    Parameters
    ----------
    fit : CheckerFit
        The colors.

    Returns
    -------
    (H, W, 3) ndarray of uint8
        Left the sharp camera's colors as recorded, right as mapped.
    """
    panels = []
    for title, colors in (("as recorded", fit.sharp), ("after the color map", fit.mapped)):
        differences = fit.differences(colors)
        mean = float(differences[fit.used].mean())
        panels.append(_draw_panel(f"{title}: mean Delta E 2000 {mean:.2f}", fit.blurry, colors, differences, fit.used))
    return np.hstack(panels)


def _draw_panel(
    title: str,
    outer: NDArray[np.float64],
    inner: NDArray[np.float64],
    differences: NDArray[np.float64],
    used: NDArray[np.bool_],
) -> Image:
    pitch = _PATCH_PX + _GAP_PX
    panel = np.empty((_HEAD_PX + ROWS * pitch + _GAP_PX, COLUMNS * pitch + _GAP_PX, 3), dtype=np.uint8)
    panel[:] = _GROUND
    cv2.putText(panel, title, (_GAP_PX, _HEAD_PX - 10), _FONT, 0.55, _INK, 1, cv2.LINE_AA)
    levels = [np.rint(255 * np.clip(colors, 0, 1)).astype(np.uint8) for colors in (outer, inner)]
    for index in range(ROWS * COLUMNS):
        row, column = divmod(index, COLUMNS)
        top, left = _HEAD_PX + row * pitch, _GAP_PX + column * pitch
        bottom, right = top + _PATCH_PX, left + _PATCH_PX
        panel[top:bottom, left:right] = levels[0][index]
        panel[top + _INNER_PX : bottom - _INNER_PX, left + _INNER_PX : right - _INNER_PX] = levels[1][index]
        ink = (0, 0, 0) if levels[0][index].mean() > 110 else (255, 255, 255)
        if not used[index]:
            cv2.line(panel, (left, top), (right - 1, bottom - 1), ink, 1, cv2.LINE_AA)
            cv2.line(panel, (left, bottom - 1), (right - 1, top), ink, 1, cv2.LINE_AA)
        cv2.putText(panel, f"{differences[index]:.1f}", (left + 4, bottom - 5), _FONT, 0.42, ink, 1, cv2.LINE_AA)
    return panel
