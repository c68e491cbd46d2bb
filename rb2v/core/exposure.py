"""Synthetic exposures: the instants that a blurry frame averages, light beyond white, and sensor noise."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from rb2v.core.color import Response, to_linear

Light = NDArray[np.float32]

_KNEE_LEVEL = 250  # of 255; H.264 at CRF 23 leaves clipped white between 250 and 255 (docs/synthesize.md)
_SHARE_DENOMINATOR = 1000  # of the exposure's share: finer than any shutter is set


@dataclass(frozen=True)
class Interval:
    """The part of an exposure from one recorded frame up to the next."""

    counts_start: bool
    """Whether the recorded frame at its start is averaged."""
    sharp_times: tuple[float, ...]
    """Times in (0, 1) of the sharp frames of the sequence between the two recorded ones."""
    blur_times: tuple[float, ...]
    """Times in (0, 1) that are averaged."""

    @property
    def times(self) -> tuple[float, ...]:
        """All times at which frames are needed, ascending."""
        return tuple(sorted({*self.sharp_times, *self.blur_times}))


@dataclass(frozen=True)
class Exposure:
    """The recorded frames and the instants between them that one blurry frame averages.

    The instants are evenly spaced over the central share of the sequence, both ends included, and count alike.

    Parameters
    ----------
    n_recorded : int
        Recorded frames of a sequence, at least 2.
    upsampling : int
        Sharp frames of the sequence per recorded frame.
    n_samples : int
        Instants averaged, odd and at least 3.
    share : float
        Length of the exposure relative to the sequence, in (0, 1].

    Examples
    --------
    >>> Exposure(n_recorded=4, upsampling=2, n_samples=7, share=1.0).intervals[0]
    Interval(counts_start=True, sharp_times=(0.5,), blur_times=(0.5,))
    """

    n_recorded: int
    upsampling: int
    n_samples: int
    share: float = 1.0

    def __post_init__(self) -> None:
        if self.n_recorded < 2 or self.upsampling < 1:
            raise ValueError(f"an exposure needs 2 recorded frames and an upsampling of 1 at least, got {self}")
        if self.n_samples < 3 or not self.n_samples % 2:
            raise ValueError(f"n_samples must be an odd number of at least 3, got {self.n_samples}")
        if not 0 < self.share <= 1:
            raise ValueError(f"share must lie in (0, 1], got {self.share}")

    @cached_property
    def instants(self) -> tuple[Fraction, ...]:
        """The instants averaged, in recorded frames from the first one of the sequence."""
        share = max(Fraction(self.share).limit_denominator(_SHARE_DENOMINATOR), Fraction(1, _SHARE_DENOMINATOR))
        span = self.n_recorded - 1
        return tuple(
            span * (Fraction(1, 2) + share * (Fraction(index, self.n_samples - 1) - Fraction(1, 2)))
            for index in range(self.n_samples)
        )

    @cached_property
    def intervals(self) -> tuple[Interval, ...]:
        """One for each recorded frame; that of the last one holds no time."""
        sharp_times = tuple(index / self.upsampling for index in range(1, self.upsampling))
        made = []
        for index in range(self.n_recorded):
            within = [instant - index for instant in self.instants if 0 <= instant - index < 1]
            blur_times = tuple(float(time) for time in within if time > 0)
            is_last = index == self.n_recorded - 1
            made.append(Interval(0 in within, () if is_last else sharp_times, blur_times))
        return tuple(made)

    @property
    def interpolates(self) -> bool:
        """Whether any frame between the recorded ones is needed."""
        return any(interval.times for interval in self.intervals)

    @property
    def is_interpolated(self) -> NDArray[np.bool_]:
        """Whether each sharp frame of the sequence, (N + 1,), lies between recorded ones."""
        places = np.arange((self.n_recorded - 1) * self.upsampling + 1)
        return np.asarray(places % self.upsampling != 0, dtype=np.bool_)


def light_table(response: Response, saturation: float = 1.0) -> Light:
    """Return the light that each 8-bit level stands for.

    Parameters
    ----------
    response : {"linear", "srgb"} or float
        Camera response; ``"linear"`` takes coded values for light.
    saturation : float
        See `raise_highlights`.

    Returns
    -------
    (256,) ndarray of float32
        Light, 1 for white; more where it is clipped in the frame.
    """
    return raise_highlights(to_linear(np.arange(256, dtype=np.uint8), response), response, saturation)


def raise_highlights(light: Light, response: Response, saturation: float) -> Light:
    """Give clipped values the light that they may have had before they were clipped.

    A camera records white for all that is brighter. Averaged as white, a lamp that moves leaves no streak. From level
    250 to 255 values are raised, smoothly, up to ``saturation`` times white.

    Parameters
    ----------
    light : ndarray of float32
        Light in 0..1.
    response : {"linear", "srgb"} or float
        Camera response by which level 250 is found.
    saturation : float
        Light of a clipped value, in times white; 1 leaves all as it is.

    Returns
    -------
    ndarray of float32
        Light, of the same shape.

    References
    ----------
    .. [1] Rim et al., "Realistic Blur Synthesis for Learning Image Deblurring", ECCV 2022, section 4, for the need of
       saturated pixels; their gains are drawn at random, this one is given.

    Examples
    --------
    >>> raise_highlights(np.array([0.5, 1.0], np.float32), "srgb", 8.0).tolist()
    [0.5, 8.0]
    """
    if saturation == 1:
        return light
    knee = float(to_linear(np.array([_KNEE_LEVEL], dtype=np.uint8), response)[0])
    ramp = np.clip((light - np.float32(knee)) / np.float32(1 - knee), 0, 1)
    return np.asarray(light * (1 + np.float32(saturation - 1) * ramp), dtype=np.float32)


def mean_light(frames: Iterable[Light], *, clip_before: bool = False) -> Light:
    """Return the mean of frames whose light may exceed white, clipped to white.

    Parameters
    ----------
    frames : iterable of (H, W, 3) ndarray of float32
        Light of one size; at least one frame, and no more than one is held at a time.
    clip_before : bool
        Whether light beyond white is lost before the mean, as in frames that a camera has recorded.

    Returns
    -------
    (H, W, 3) ndarray of float32
        In 0..1.

    Examples
    --------
    >>> lamp = [np.full((1, 1, 3), light, np.float32) for light in (3.0, 0.0, 0.0)]
    >>> float(mean_light(lamp).mean()), round(float(mean_light(lamp, clip_before=True).mean()), 3)
    (1.0, 0.333)
    """
    total: Light | None = None
    n_frames = 0
    for frame in frames:
        light = np.minimum(frame, 1) if clip_before else frame
        if total is None:
            total = np.array(light, dtype=np.float32, order="C")
        else:
            cv2.add(total, np.ascontiguousarray(light), dst=total)
        n_frames += 1
    if total is None:
        raise ValueError("there is no frame to average")
    return np.clip(np.asarray(total * np.float32(1 / n_frames)), 0, 1)


def add_noise(light: Light, shot_noise: float, read_noise: float, rng: np.random.Generator) -> Light:
    """Add the noise of a sensor: a variance of ``shot_noise**2 * light + read_noise**2``.

    Parameters
    ----------
    light : (H, W, 3) ndarray of float32
        Light, 1 for white.
    shot_noise : float
        Standard deviation of photon noise at white.
    read_noise : float
        Standard deviation of the noise without light.
    rng : numpy.random.Generator
        Draws the noise.

    Returns
    -------
    (H, W, 3) ndarray of float32
        Not clipped.

    References
    ----------
    .. [1] Brooks et al., "Unprocessing Images for Learned Raw Denoising", CVPR 2019, section 3.1.
    """
    if not shot_noise and not read_noise:
        return light
    deviation = np.sqrt(np.float32(shot_noise**2) * np.maximum(light, 0) + np.float32(read_noise**2))
    return np.asarray(light + deviation * rng.standard_normal(light.shape, dtype=np.float32), dtype=np.float32)
