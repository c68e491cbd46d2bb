"""Consensus of the captures: excludes what moved between two exposures, or lies at another depth."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rb2v.core.displacement import local_displacements
from rb2v.core.homography import Homography, fit_homography, warp_points
from rb2v.core.refinement import ImagePair

logger = logging.getLogger(__name__)

_N_ACROSS = 12  # windows: 12 x 9 in an image of 4:3, of which 2 % are two
_MIN_RADIUS_PX = 12  # 25 pixels across show the texture of most things
_OVERLAP = 0.6  # of the step, as half a side: windows share a little, and nothing lies between them
_MAX_PAIRS = 16  # captures whose windows are measured: some 1700 of them, and time does not grow further
AGREEING_PX = (0.5, 0.25)
"""How near places must be to agree, in the first and in the second round."""

_CLEARLY_OFF = 1.5  # of the distance at which places agree; what lies between is left to the fit's own weights
_MIN_PLACES = 12  # three times the four that make a homography
_MIN_SHARE = 0.35  # that must agree: no majority, because what moved seldom agrees with anything
_MIN_OFF_SHARE = 0.02  # that must disagree; fewer are left to the fit's own weights


@dataclass(frozen=True, eq=False)
class Consensus:
    """The homography on which most places agree, and what is left of the images without the others."""

    homography: Homography
    pairs: list[ImagePair]
    n_places: int
    n_off: int


def find_consensus(homography: Homography, pairs: Sequence[ImagePair], agreeing_px: float) -> Consensus | None:
    """Find what most places of the images agree on, each counting alike whatever its contrast.

    Parameters
    ----------
    homography : (3, 3) ndarray
        From source to target pixels, right to a few pixels.
    pairs : sequence of ImagePair
        The captures.
    agreeing_px : float
        How near places must be to agree, in target pixels.

    Returns
    -------
    Consensus or None
        None where nearly all places agree with the homography that is there, or too few agree on any.
    """
    height, width = pairs[0].target.shape
    places, radius_px = _places(width, height)
    measured = [
        local_displacements(pair, homography, places, radius_px) if index < _MAX_PAIRS else [None] * len(places)
        for index, pair in enumerate(pairs)
    ]
    target = np.array([place for some in measured for place, one in zip(places, some, strict=True) if one is not None])
    shifts = np.array([(one.dx, one.dy) for some in measured for one in some if one is not None])
    # The fit's own weights take care of what a few places show.
    if len(target) < _MIN_PLACES or (np.linalg.norm(shifts, axis=1) > agreeing_px).mean() < _MIN_OFF_SHARE:
        return None
    # Displacements are where the registered source lies: back through the homography it is at its own pixels.
    source = warp_points(np.linalg.inv(homography), target + shifts)
    try:
        agreed, _ = fit_homography(source, target, threshold_px=agreeing_px)
    except ValueError:
        return None
    off_px = np.linalg.norm(warp_points(agreed, source) - target, axis=1)
    if (off_px < agreeing_px).mean() < _MIN_SHARE or (off_px < agreeing_px).sum() < _MIN_PLACES:
        return None
    remaining = iter(off_px.tolist())
    masked = []
    for pair, some in zip(pairs, measured, strict=True):
        off = [one is not None and next(remaining) > _CLEARLY_OFF * agreeing_px for one in some]
        masked.append(_without(pair, [place for place, is_off in zip(places, off, strict=True) if is_off], radius_px))
    return Consensus(agreed, masked, len(target), int((off_px > _CLEARLY_OFF * agreeing_px).sum()))


def _places(width: int, height: int) -> tuple[NDArray[np.float64], int]:
    step = max(width / _N_ACROSS, 1.5 * _MIN_RADIUS_PX)
    x, y = (np.arange(max(int(extent / step), 1)) for extent in (width, height))
    grid = np.stack(np.meshgrid((x + 0.5) * width / len(x), (y + 0.5) * height / len(y)), axis=-1).reshape(-1, 2)
    return grid - 0.5, max(round(_OVERLAP * step), _MIN_RADIUS_PX)


def _without(pair: ImagePair, places: Sequence[NDArray[np.float64]], radius_px: int) -> ImagePair:
    mask = np.ones(pair.target.shape, dtype=bool) if pair.target_mask is None else pair.target_mask.copy()
    for x, y in places:
        top, left = max(round(y) - radius_px, 0), max(round(x) - radius_px, 0)
        mask[top : round(y) + radius_px, left : round(x) + radius_px] = False
    return dataclasses.replace(pair, target_mask=mask)
