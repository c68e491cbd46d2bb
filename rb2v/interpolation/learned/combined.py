"""The interpolator ``combined``: at every pixel a mean of what flow and two networks make, weighted by agreement.

Five frames are proposed for every time: that of ``flow``, and those of RIFE 3.1 and of RIFE 4.6, each made forwards and
backwards in time. A proposal counts for less where the two given frames, moved to the time between by its own motion,
differ from each other, and where it differs from the median of all proposals. Both are averaged over a neighborhood.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from rb2v.core.color import Response, from_linear, to_linear
from rb2v.device import Device
from rb2v.interpolation.flow import FlowInterpolator
from rb2v.interpolation.learned.rife import Proposal, RifeInterpolator, make_rife

# The five numbers were fitted to 24 generated triplets and 24 of real clips, none of them of an evaluation set: see
# docs/interpolation.md, combination. Fitted to one half of these, they gain as much on the other.
_SHARES = {"flow": 0.6, "3.1": 1.5, "4.6": 0.8}
"""What a proposal counts where all agree, relative to the others."""
_DISAGREEMENT_POWER = 1.27  # fitted, as said above
_DISTANCE_POWER = 0.72  # fitted, as said above
_NEIGHBORHOOD_PX = 8.0  # sigma; half as many are 0.01 dB worse on the triplets of the fit
_LEAST = 0.004  # of coded RGB, a level of 255: below it agreement is chance


class CombinedInterpolator:
    """Combine flow and two networks, pixel by pixel.

    Parameters
    ----------
    networks : mapping of str to RifeInterpolator
        By version, "3.1" and "4.6"; each encodes frames with ``response``.
    response : {"linear", "srgb"} or float
        What linear frames are encoded with.
    """

    def __init__(self, networks: dict[str, RifeInterpolator], response: Response = "srgb") -> None:
        self._networks = networks
        self._response: Response = response
        self._flow = FlowInterpolator(response)

    def between(
        self,
        frame_a: NDArray[np.float32],
        frame_b: NDArray[np.float32],
        times: Sequence[float],
        *,
        averaged: Collection[float] = (),
    ) -> list[NDArray[np.float32]]:
        """Return the frames at times between two frames, see `rb2v.interpolation.Interpolator`."""
        inner = sorted({time for time in times if 0 < time < 1})
        if np.array_equal(frame_a, frame_b):  # nothing moved, whatever a network may see in it
            return [frame_a.copy() for _ in times]
        made = dict(zip(inner, self._make(frame_a, frame_b, inner), strict=True))
        return [made[time] if time in made else (frame_a if time <= 0 else frame_b).copy() for time in times]

    def _make(
        self, frame_a: NDArray[np.float32], frame_b: NDArray[np.float32], times: Sequence[float]
    ) -> list[NDArray[np.float32]]:
        if not times:
            return []
        of_flow = self._propose_flow(frame_a, frame_b, times)
        of_networks = {name: one.propose(frame_a, frame_b, times) for name, one in self._networks.items()}
        frames = []
        for index, proposal in enumerate(of_flow):
            proposals = [("flow", proposal)]
            proposals += [(name, each) for name, all_times in of_networks.items() for each in all_times[index]]
            shares = [_SHARES[name] for name, _ in proposals]
            coded = combine([each for _, each in proposals], shares)
            frames.append(to_linear(coded, self._response))
        return frames

    def _propose_flow(
        self, frame_a: NDArray[np.float32], frame_b: NDArray[np.float32], times: Sequence[float]
    ) -> list[Proposal]:
        coded_a, coded_b = (from_linear(frame, self._response) for frame in (frame_a, frame_b))
        places = np.dstack(np.meshgrid(*(np.arange(side, dtype=np.float32) for side in frame_a.shape[1::-1])))
        proposals = []
        frames = self._flow.between(frame_a, frame_b, times)
        for time, frame, motion in zip(times, frames, self._flow.trace(frame_a, frame_b, times), strict=True):
            moved_a = _sample(coded_a, places - np.float32(time) * motion)
            moved_b = _sample(coded_b, places + np.float32(1 - time) * motion)
            disagreement = np.asarray(np.abs(moved_a - moved_b).mean(axis=2), dtype=np.float32)
            proposals.append(Proposal(from_linear(frame, self._response), disagreement))
        return proposals


def combine(proposals: Sequence[Proposal], shares: Sequence[float]) -> NDArray[np.float32]:
    """Return the weighted mean of proposals.

    Parameters
    ----------
    proposals : sequence of Proposal
        For one time.
    shares : sequence of float
        What each counts where all agree, relative to the others.

    Returns
    -------
    (H, W, 3) ndarray of float32
        Coded RGB.
    """
    frames = np.stack([each.frame for each in proposals])
    median = np.median(frames, axis=0)
    total = np.zeros(frames.shape[1:], dtype=np.float32)
    weights = np.zeros(frames.shape[1:3], dtype=np.float32)
    for share, frame, proposal in zip(shares, frames, proposals, strict=True):
        disagreement = _average(proposal.disagreement) + np.float32(_LEAST)
        distance = _average(np.abs(frame - median).mean(axis=2)) + np.float32(_LEAST)
        weight = np.float32(share) * disagreement**-_DISAGREEMENT_POWER * distance**-_DISTANCE_POWER
        total += weight[..., None] * frame
        weights += weight
    return np.asarray(np.clip(total / weights[..., None], 0, 1), dtype=np.float32)


def make_combined(response: Response, device: Device, folder: Path | None = None) -> CombinedInterpolator:
    """Return the interpolator with fetched weights.

    Parameters
    ----------
    response, device
        See `make_rife`.
    folder : Path, optional
        Folder of the weights of both versions; by default what ``rb2v models fetch`` brings.

    Raises
    ------
    InputError
        If weights are missing or cannot be used, or there is no such device.
    """
    versions = [name for name in _SHARES if name != "flow"]
    return CombinedInterpolator({name: make_rife(name, response, device, folder) for name in versions}, response)


def _average(values: NDArray[np.float32]) -> NDArray[np.float32]:
    return np.asarray(cv2.GaussianBlur(values, (0, 0), _NEIGHBORHOOD_PX), dtype=np.float32)


def _sample(image: NDArray[np.float32], places: NDArray[np.float32]) -> NDArray[np.float32]:
    sampled = cv2.remap(image, places, None, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)  # type: ignore[call-overload]
    return np.asarray(sampled, dtype=np.float32)
