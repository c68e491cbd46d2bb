"""Captures that do not belong to the others: left out, or refused where a mistake of the files' explains them."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from rb2v.artifacts import Rig
from rb2v.core.homography import Homography
from rb2v.core.refinement import ImagePair, gradient_correlation
from rb2v.errors import InputError
from rb2v.stages.calibrate.captures import Capture, Image, gray_of

logger = logging.getLogger(__name__)

_MISFIT_SHARE = 0.5  # of the best capture's correlation: other contents and blur leave more, another scene less
_EXPLAINED_SHARE = 0.6  # of it, that exchanged files must reach: more than any misfit has
_BETTER = 0.02  # correlation by which exchanged files must win
_LEFT_SHARE = 0.4  # of what is unexplained (1 - correlation) that they may leave
_FINE_SHARE, _COARSE_SHARE = 1 / 360, 1 / 90  # of the width: 5 and 21 px of 1920
_MIN_FINE_ENERGY = 1.3  # between 1, nothing fine, and 4, sharp edges


@dataclass(frozen=True, eq=False)
class Fits:
    """Captures, their coarse images, and how well each fits the homography of all."""

    captures: Sequence[Capture]
    pairs: Sequence[ImagePair]
    homography: Homography
    """Between the coarse images."""
    correlations: Sequence[float]


def warn_of_halves(captures: Sequence[Capture]) -> None:
    """Name the captures whose board only one camera shows."""
    for capture in captures:
        if capture.board_in not in (None, "both"):
            logger.warning("%s: the board is found in the %s view only", capture.name, capture.board_in)


def leave_out_blurred(captures: Sequence[Capture], folder: Path) -> list[Capture]:
    """Return the captures in focus.

    Raises
    ------
    InputError
        If there is none.
    """
    kept, blurred = [], []
    for capture in captures:
        views = [
            name
            for name, image in (("blurry", capture.blurry), ("sharp", capture.sharp))
            if _fine_energy(image) < _MIN_FINE_ENERGY
        ]
        if views:
            blurred.append(f"{views[0]}/{capture.name}")
        else:
            kept.append(capture)
    if not kept:
        raise InputError(folder / blurred[0], "is blurred beyond use", expected="a capture in focus, of what is static")
    for name in blurred:
        logger.warning("%s: is blurred beyond use and left out", name)
    return kept


def _fine_energy(image: Image) -> float:
    """Return the energy of fine gradients over that of coarse ones: 1 where nothing fine is seen, 4 at sharp edges.

    Both scales are so coarse that a sensor's noise is no detail.
    """
    gray = gray_of(image)
    energies = []
    for share in (_FINE_SHARE, _COARSE_SHARE):
        smooth = cv2.GaussianBlur(gray, (0, 0), max(share * gray.shape[1], 1.0))
        energies.append(sum(float(np.square(difference).mean()) for difference in np.gradient(smooth)))
    # What shows nothing at all is not a matter of focus.
    return energies[0] / energies[1] if energies[1] > 1e-9 else np.inf


def check_misfits(fits: Fits, rig: Rig, folder: Path, expected: str) -> list[int]:
    """Return the indices of the captures that fit the homography, and name the others.

    Raises
    ------
    InputError
        If a misfit is explained by exchanged files, or no more captures fit than do not.
    """
    best = max(fits.correlations)
    misfits = [index for index, value in enumerate(fits.correlations) if value < _MISFIT_SHARE * best]
    kept = [index for index in range(len(fits.captures)) if index not in misfits]
    # Under a mirror that is stated wrongly exchanged files may seem to explain what does not fit.
    most_fit = len(kept) > len(misfits)
    if 2 * len(kept) < len(misfits) or (rig.mirrored is not None and not most_fit):
        raise InputError(
            folder,
            f"the two views of the captures show no common structure ({len(kept)} of {len(fits.captures)} pairs agree)",
            expected=expected,
        )
    for index in range(len(fits.captures)):
        _check_exchanged_cameras(fits, index, _EXPLAINED_SHARE * best, folder)
    for index in misfits:
        _check_exchanged_names(fits, index, misfits, _EXPLAINED_SHARE * best, folder)
    for index in misfits:
        logger.warning(
            "%s: does not fit the other captures and is left out (its gradients correlate by %.2f, the others' by up "
            "to %.2f)",
            *(fits.captures[index].name, fits.correlations[index], best),
        )
    if not most_fit:
        name = fits.captures[misfits[0]].name
        raise InputError(
            folder / "blurry" / name,
            f"this pair contradicts {fits.captures[kept[0]].name}, and no more pairs agree with either",
            expected="pairs of one rig that nobody moved, the names of each scene alike",
        )
    return kept


def _check_exchanged_cameras(fits: Fits, index: int, enough: float, folder: Path) -> None:
    own = fits.pairs[index]
    if own.source.shape != own.target.shape:
        return
    # The views of a mirrored rig are nearly each other's inverse, so that an exchanged pair fits a little, too.
    exchanged = ImagePair(own.target, own.source, own.target_mask, own.source_mask)
    correlation = gradient_correlation([exchanged], fits.homography)
    own_correlation = fits.correlations[index]
    explains_more = 1 - correlation < _LEFT_SHARE * (1 - own_correlation)
    if explains_more and correlation > max(enough, own_correlation + _BETTER):
        raise InputError(
            folder / "blurry" / fits.captures[index].name,
            "is the sharp camera's image, and its partner the blurry camera's",
            expected="each camera's images in its own folder",
        )


def _check_exchanged_names(fits: Fits, index: int, misfits: Sequence[int], enough: float, folder: Path) -> None:
    own = fits.pairs[index]
    for other in misfits:
        if other == index:
            continue
        crossed = ImagePair(fits.pairs[other].source, own.target, fits.pairs[other].source_mask, own.target_mask)
        if gradient_correlation([crossed], fits.homography) > enough:
            raise InputError(
                folder / "blurry" / fits.captures[index].name,
                f"shows the scene of sharp/{fits.captures[other].name}, not that of its partner",
                expected="images of one scene under one name",
            )
