"""Check that the views of a take still lie on each other, and the take's own homography where they do not."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from rb2v.artifacts import RegistrationStep, TakeRegistration
from rb2v.core.color import Response, from_linear
from rb2v.core.homography import Homography, crop_homography, normalized, translated, warp_points
from rb2v.core.refinement import ImagePair, Refinement, gradient_correlation, refine_jointly
from rb2v.profiling import staged
from rb2v.stages.align.context import TakeContext
from rb2v.stages.align.placement import Placement
from rb2v.stages.align.track import Tracks

MAX_FRAMES = 8
"""Frames that are looked at."""

_SATURATED = 0.97  # of coded values; where light is clipped, edges lie elsewhere in each view
_MAX_ERROR_PX = 0.15  # standard error at the worst place, beyond which a homography is not fitted, but a shift
_MIN_FRAMES_TO_REFINE = 4  # two to fit and two to test, both ways round
_MIN_SIGNIFICANCE = 3.0  # standard errors
_MIN_SHIFT_PX = 0.05  # of the camera and of the output; smaller ones are not worth another round
_PRECISION_PX = 0.005  # a tenth of `_MIN_SHIFT_PX`
_GRID = 7  # points across and down, whose median displacement is the shift
_MAX_SHIFT_SHARE = 0.15  # of the shorter side; beyond it too little is shared
_MIN_CORRELATION = 0.4  # of fine detail at the best shift; less is chance
_MIN_GAIN = 0.02  # of correlation over no shift at all; less is chance
_SLOPE_SHARE = 0.1  # of the shorter side: the deviation of what counts as a slope of the light
_COARSE_SIDE_PX = 96
"""At which, or up to twice that, frames are correlated under all shifts."""
_UNKNOWN_ERROR_PX = 1.0  # about a coarse pixel, where the frames say nothing after the shift
_MIN_STILL_DB = 24.0  # as `min_psnr_db`: the window explains the frame
_MAX_STILL_RANGE_DB = 1.0  # twice `min_margin_db`: no window stands out


@dataclass(frozen=True, eq=False)
class MatchedFrame:
    """A blurry frame, and the synthetic blur of its window, in the output's geometry."""

    blurry: NDArray[np.uint8]
    """(H, W, 3) coded."""
    blur: NDArray[np.float32]
    """(H, W, 3) linear light."""


@staged("registration")
def measure_registration(
    context: TakeContext,
    matched: Iterable[MatchedFrame],
    homography: Homography,
    center_shift: NDArray[np.float64] | None = None,
) -> tuple[TakeRegistration | None, Homography | None]:
    """Measure how far the views of a take lie off each other, and find a homography under which they do not.

    Windows lie at whole positions, and that looks like a shift along the motion. Where the shift was solved for
    together with the clock, as `find_hidden_shift` does, the frames are therefore asked for the rest alone: what a
    homography does beside its shift of the crop's center.

    Parameters
    ----------
    context : TakeContext
        The crop, and the response in which frames are coded.
    matched : iterable of MatchedFrame
        Frames of which the clock tells the windows, or of which any window will do.
    homography : (3, 3) ndarray
        What they were registered with, sharp-camera pixels to blurry-camera pixels.
    center_shift : (2,) ndarray of float64, optional
        By how many blurry-camera pixels the center of the crop has to move, where that is known.

    Returns
    -------
    registration : TakeRegistration or None
        None where the frames tell too little.
    homography : (3, 3) ndarray of float64, or None
        The take's own, sharp-camera pixels to blurry-camera pixels; None where it would not be better, which frames
        that it is not fitted to decide.
    """
    pairs = [_pair(one, context.response) for one in matched]
    found = _fit(pairs)
    if found is None:
        return None, None
    height, width = pairs[0].target.shape
    center = np.array([(width - 1) / 2, (height - 1) / 2])
    crop = context.calibration.crop

    def told_by(fit: Refinement) -> Homography:
        if center_shift is None:
            return fit.homography
        return _shift_center(fit.homography, center, center_shift * (width / crop.width))

    to_output = crop_homography((crop.x, crop.y, crop.width, crop.height), (width, height))
    told = told_by(found)
    own = normalized(np.linalg.inv(to_output) @ told @ to_output @ homography)
    points = _points(width, height)
    moved = warp_points(told, points) - points
    # Where the output is smaller than the crop, its pixels are larger.
    scale = float(np.sqrt(crop.width * crop.height / (width * height)))
    shift_px = scale * float(np.median(np.linalg.norm(moved, axis=1)))
    error_px = scale * max(
        float(np.median(found.standard_error_px(points))), _disagreement_px(pairs, found.homography, told_by, points)
    )
    registration = TakeRegistration(shift_px, error_px, len(pairs))
    least_px = min(_MIN_SHIFT_PX * max(scale, 1.0), context.config.max_shift_px)
    if shift_px < max(least_px, _MIN_SIGNIFICANCE * error_px):
        return registration, None
    if not _holds_elsewhere(pairs, told_by):
        context.logger.info("another homography would not bring frames together that it is not fitted to")
        return registration, None
    return registration, own


@staged("registration")
def find_coarse_shift(
    context: TakeContext, tracks: Tracks, offset_seconds: float, homography: Homography
) -> tuple[TakeRegistration | None, Homography | None]:
    """Find a shift so large that no window explains any frame without it.

    Under each shift, every frame is correlated with all windows near its expected one, and the best counts.

    Parameters
    ----------
    context : TakeContext
        The range to either side.
    tracks : Tracks
        The recordings on reduced frames.
    offset_seconds : float
        Sharp-camera time at blurry-camera time 0, roughly.
    homography : (3, 3) ndarray
        What they were registered with, sharp-camera pixels to blurry-camera pixels.

    Returns
    -------
    registration : TakeRegistration or None
        None where no shift stands out.
    homography : (3, 3) ndarray of float64, or None
        The given one with that shift.
    """
    rig, size, windows = context.rig, context.reduced_size, tracks.windows
    expected = [round(tracks.sharp.position_at(offset_seconds + time)) for time in tracks.blurry.times]
    factor = max(min(size) // _COARSE_SIDE_PX, 1)
    width, height = (max(side // factor, 1) for side in size)
    radius = math.ceil(rig.search_range_seconds * rig.fine_fps)
    possible = [index for index, place in enumerate(expected) if radius <= place < len(windows) - radius]
    chosen = possible[:: max(-(-len(possible) // MAX_FRAMES), 1)]
    total = np.zeros((height, width))
    for index in chosen:
        near = windows[expected[index] - radius : expected[index] + radius + 1]
        total += _correlations(tracks.blurry.reduced[index], near, size, (width, height)).max(axis=0)
    if not chosen:
        return None, None
    total /= len(chosen)
    y, x = np.meshgrid(np.fft.fftfreq(height, 1 / height), np.fft.fftfreq(width, 1 / width), indexing="ij")
    total[np.hypot(x, y) > _MAX_SHIFT_SHARE * min(width, height)] = -1
    row, column = np.unravel_index(int(total.argmax()), total.shape)
    if total[row, column] < _MIN_CORRELATION or total[row, column] < total[0, 0] + _MIN_GAIN:
        return None, None
    crop = context.calibration.crop
    shift = np.array([x[row, column] * crop.width / width, y[row, column] * crop.height / height])
    registration = TakeRegistration(float(np.hypot(*shift)), 0.5 * crop.width / width, len(chosen))
    return registration, translated(homography, shift)


def contradicts(fine: TakeRegistration, coarse: TakeRegistration) -> bool:
    """Return whether the shift of whole reduced pixels is another one than what the matched frames tell."""
    return abs(fine.shift_px - coarse.shift_px) > coarse.error_px


def _correlations(
    frame: NDArray[np.uint16], windows: NDArray[np.floating], size: tuple[int, int], coarse: tuple[int, int]
) -> NDArray[np.float64]:
    """Return the correlation of a frame with every window under every shift of the window, as (n, H, W).

    Parameters
    ----------
    frame, windows : (J, 3) and (n, J, 3) ndarray
        Images of ``size``, their pixels in a row.
    size, coarse : tuple of int
        Width and height that they have, and that they are compared at.
    """
    width, height = coarse
    pictures = [
        [_shrink(one, size, coarse) for one in some.reshape(-1, size[0] * size[1], 3)] for some in (frame, windows)
    ]
    fade = np.outer(np.hanning(height), np.hanning(width)) ** 0.5
    spectra = []
    for some in pictures:
        # The means and the slow slopes of the light say nothing of a place.
        fine = np.stack([one - cv2.GaussianBlur(one, (0, 0), _SLOPE_SHARE * min(coarse)) for one in some]) * fade
        norms = np.sqrt(np.square(fine).sum(axis=(1, 2), keepdims=True)) + 1e-9
        spectra.append(np.fft.rfft2(fine / norms))
    return np.asarray(np.fft.irfft2(spectra[0] * np.conj(spectra[1]), s=(height, width)), dtype=np.float64)


def _shrink(
    pixels: NDArray[np.uint16] | NDArray[np.floating], size: tuple[int, int], coarse: tuple[int, int]
) -> NDArray[np.float64]:
    gray = np.asarray(pixels, dtype=np.float32).mean(axis=-1).reshape(size[1], size[0])
    return np.asarray(cv2.resize(gray, coarse, interpolation=cv2.INTER_AREA), dtype=np.float64)


def registration_of(context: TakeContext, homography: Homography, left: TakeRegistration | None) -> TakeRegistration:
    """Return the registration of a take with a homography of its own.

    Parameters
    ----------
    context : TakeContext
        The homography of all takes, and the crop.
    homography : (3, 3) ndarray
        That of this one.
    left : TakeRegistration or None
        What it leaves.
    """
    crop, shared = context.calibration.crop, context.calibration.homography
    points = _points(crop.width, crop.height) + np.array([crop.x, crop.y])
    moved = warp_points(homography @ np.linalg.inv(shared), points) - points
    rows = homography.tolist()
    return TakeRegistration(
        shift_px=float(np.median(np.linalg.norm(moved, axis=1))),
        error_px=_UNKNOWN_ERROR_PX if left is None else left.error_px,
        frames=0 if left is None else left.frames,
        homography=(tuple(rows[0]), tuple(rows[1]), tuple(rows[2])),
    )


def placed_registration(
    context: TakeContext, placement: Placement, left: Sequence[TakeRegistration | None]
) -> TakeRegistration:
    """Return the registration of a take with a placement of its own, given what that leaves in each part."""
    first, *later = (registration_of(context, *one) for one in zip(placement.homographies, left, strict=True))
    steps = []
    for step, part in zip(placement.steps, later, strict=True):
        assert part.homography is not None
        edges = step.after_seconds, step.before_seconds
        steps.append(RegistrationStep(*edges, part.shift_px, part.error_px, part.frames, part.homography))
    return replace(first, steps=tuple(steps))


def is_still(psnr: NDArray[np.floating]) -> bool:
    """Return whether all windows of a (n,) score curve, in dB, explain a frame alike, and well: nothing moves."""
    known = psnr[np.isfinite(psnr)]
    return bool(len(known) and known.min() > _MIN_STILL_DB and np.ptp(known) < _MAX_STILL_RANGE_DB)


def _pair(matched: MatchedFrame, response: Response) -> ImagePair:
    coded = from_linear(matched.blur, response)
    target = cv2.cvtColor(matched.blurry, cv2.COLOR_RGB2GRAY).astype(np.float32) / np.float32(255)
    source = np.asarray(cv2.cvtColor(np.asarray(coded, dtype=np.float32), cv2.COLOR_RGB2GRAY), dtype=np.float32)
    return ImagePair(
        source, target, coded.max(axis=2) < _SATURATED, matched.blurry.max(axis=2) < round(255 * _SATURATED)
    )


def _fit(pairs: Sequence[ImagePair], near: Homography | None = None) -> Refinement | None:
    """Return the fit of a homography, or of a shift where little texture tells no more; None where not even that.

    Parameters
    ----------
    pairs : sequence of ImagePair
        What it is fitted to.
    near : (3, 3) ndarray, optional
        The homography to within a pixel, so that nothing coarse need be looked at; by default the identity begins.
    """
    if not pairs:
        return None
    height, width = pairs[0].target.shape
    start = np.eye(3) if near is None else near
    try:
        found = refine_jointly(start, pairs, precision_px=_PRECISION_PX, is_near=near is not None)
        if found.standard_error_px(_points(width, height)).max() < _MAX_ERROR_PX:
            return found
    except ValueError:
        pass
    try:
        return refine_jointly(start, pairs, precision_px=_PRECISION_PX, motion="shift", is_near=near is not None)
    except ValueError:
        return None


def _shift_center(homography: Homography, center: NDArray[np.float64], shift: NDArray[np.float64]) -> Homography:
    """Return a homography with a translation behind it, after which a point, (2,), moves by a shift."""
    return translated(homography, shift - (warp_points(homography, center[None])[0] - center))


def _disagreement_px(
    pairs: Sequence[ImagePair],
    near: Homography,
    told_by: Callable[[Refinement], Homography],
    points: NDArray[np.float64],
) -> float:
    """Return the standard error that two halves of the frames show by what they say differently."""
    halves = [found for found in (_fit(pairs[::2], near), _fit(pairs[1::2], near)) if found is not None]
    if len(halves) < 2:
        return 0.0
    places = [warp_points(told_by(found), points) for found in halves]
    return 0.5 * float(np.median(np.linalg.norm(places[0] - places[1], axis=1)))


def _holds_elsewhere(pairs: Sequence[ImagePair], told_by: Callable[[Refinement], Homography]) -> bool:
    if len(pairs) < _MIN_FRAMES_TO_REFINE:
        return False
    for fitted, others in ((pairs[::2], pairs[1::2]), (pairs[1::2], pairs[::2])):
        found = _fit(fitted)
        if found is None:
            return False
        if gradient_correlation(others, told_by(found)) <= gradient_correlation(others, np.eye(3)):
            return False
    return True


def _points(width: int, height: int) -> NDArray[np.float64]:
    x, y = np.meshgrid(np.linspace(0, width - 1, _GRID), np.linspace(0, height - 1, _GRID))
    return np.column_stack([x.ravel(), y.ravel()])
