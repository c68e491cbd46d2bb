"""Faults of single frames: blur of their own, and black bars burnt into their borders."""

from __future__ import annotations

import math
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

_MEASURED_SIDE_PX = 448  # of the longer side; blur that no longer shows at the size of a data set does no harm
_MEASURED_LINES = 96  # rows, and columns, of an image: a few thousand steps tell as much as all of them
_REBLUR_PX = 9  # width of the blur that takes sharp steps away, as in Crete's measure
_MIN_STEP_LEVELS = 3.0  # of 255; smaller steps between neighbors are noise, which is always sharp
_MIN_STEPS_SHARE = 1e-3  # of the pixels; fewer steps tell nothing of an image
_BAR_MAX_LEVEL = 24  # black is 0 or 16, and encoders leave it within a few levels
_BAR_MAX_SPREAD = 6  # levels along a row of a bar; night skies have more noise


class Bars(NamedTuple):
    """Widths of dark uniform borders in pixels."""

    top: int
    bottom: int
    left: int
    right: int


def sharpness(luma: NDArray[np.uint8]) -> float:
    """Measure how sharp an image is, by how much of its steps another blur takes away.

    Sharp steps between neighboring pixels nearly vanish when they are blurred; steps that are blurred already hardly
    change. The share that vanishes is measured along rows and along columns, and the smaller one counts: motion blurs
    in one direction. It depends little on what the image shows, and not on its contrast.

    Parameters
    ----------
    luma : (H, W) ndarray of uint8
        The image; larger ones are measured at 448 pixels of the longer side.

    Returns
    -------
    float
        In 0..1; NaN where the image holds too few steps to tell.

    References
    ----------
    .. [1] Crete et al., "The blur effect: perception and estimation with a new no-reference perceptual blur metric",
       SPIE Human Vision and Electronic Imaging XII, 2007.
    """
    height, width = luma.shape
    scale = _MEASURED_SIDE_PX / max(width, height)
    if scale < 1:
        size = (max(round(scale * width), 1), max(round(scale * height), 1))
        luma = np.asarray(cv2.resize(luma, size, interpolation=cv2.INTER_AREA), dtype=np.uint8)
    height, width = luma.shape
    # Columns as columns: turned ones would be gathered byte by byte.
    rows = np.ascontiguousarray(luma[:: max(height // _MEASURED_LINES, 1)])
    columns = np.ascontiguousarray(luma[:, :: max(width // _MEASURED_LINES, 1)])
    shares = []
    for lines, axis in ((rows, 1), (columns, 0)):
        kernel = (_REBLUR_PX, 1) if axis else (1, _REBLUR_PX)
        blurred = np.asarray(cv2.blur(lines.astype(np.float32), kernel, borderType=cv2.BORDER_REPLICATE))
        first, second = ((slice(None), slice(1, None)), (slice(None), slice(None, -1)))
        if axis == 0:
            first, second = first[::-1], second[::-1]
        steps = np.asarray(cv2.absdiff(lines[first], lines[second])) if lines.shape[axis] > 1 else None
        if steps is None or not steps.size:
            continue
        _, steps = cv2.threshold(steps, _MIN_STEP_LEVELS, 0, cv2.THRESH_TOZERO)
        if cv2.countNonZero(steps) < max(_MIN_STEPS_SHARE * steps.size, 1):
            continue
        blurred_steps = cv2.absdiff(blurred[first], blurred[second])
        # Where a step is no sharper than its blur, as beside sharp ones, nothing is lost.
        _, lost = cv2.threshold(cv2.subtract(steps, blurred_steps, dtype=cv2.CV_32F), 0, 0, cv2.THRESH_TOZERO)
        shares.append(cv2.sumElems(lost)[0] / cv2.sumElems(steps)[0])
    return min(shares, default=math.nan)


def find_bars(luma: NDArray[np.uint8]) -> Bars:
    """Find the uniform dark rows and columns along the borders of an (H, W) image.

    Rows that are all dark count up to the middle of the image, so that a black image has bars of half its sides.
    """
    turned = (luma, luma[::-1], luma.T, luma.T[::-1])
    return Bars(*map(_count_dark_rows, turned))


def _count_dark_rows(luma: NDArray[np.uint8]) -> int:
    # Nearly all images end at their first row.
    if not _is_dark(luma[0]):
        return 0
    half = luma[: max(len(luma) // 2, 1)]
    return next((index for index, row in enumerate(half) if not _is_dark(row)), len(half))


def _is_dark(row: NDArray[np.uint8]) -> bool:
    brightest = int(row.max())
    return brightest <= _BAR_MAX_LEVEL and brightest - int(row.min()) <= _BAR_MAX_SPREAD
