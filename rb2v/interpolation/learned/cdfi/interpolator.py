"""The interpolator ``cdfi``: the frame halfway between two by CDFI's network, and other times from halves of halves."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from rb2v.core.color import Response
from rb2v.device import Device, check_torch_device, one_torch_thread, torch_device_of
from rb2v.interpolation.flow import FlowInterpolator
from rb2v.interpolation.learned.cdfi.network import Cdfi
from rb2v.interpolation.learned.cdfi.weights import load_cdfi
from rb2v.interpolation.learned.pictures import show, take_back
from rb2v.interpolation.recursion import between_by_halves


def make_cdfi(response: Response, device: Device, weights: Path | None = None) -> CdfiInterpolator:
    """Return the interpolator with the weights of a file.

    Parameters
    ----------
    response : {"linear", "srgb"} or float
        What linear frames are encoded with for the network.
    device : {"auto", "cpu", "cuda"}
        Where it computes; auto takes CUDA where there is one.
    weights : Path, optional
        See `load_cdfi`.

    Raises
    ------
    InputError
        If the weights are missing or cannot be used, or there is no such device.
    """
    check_torch_device(device)
    return CdfiInterpolator(load_cdfi(weights), response, torch_device_of(device))


class CdfiInterpolator:
    """Frames by a network that makes the one halfway between two.

    Times that are no halves of halves lie between two that are, and there the flow goes on: see
    `rb2v.interpolation.recursion.between_by_halves`.

    Parameters
    ----------
    network : Cdfi
        In evaluation mode.
    response : {"linear", "srgb"} or float
        What linear frames are encoded with for the network, which was trained on coded ones.
    device : {"cpu", "cuda"}
        Where it computes, in float32; on one thread of the CPU.
    """

    def __init__(self, network: Cdfi, response: Response = "srgb", device: str = "cpu") -> None:
        self._network = network.to(device)
        self._response: Response = response
        self._device = device
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
        if np.array_equal(frame_a, frame_b):  # nothing moved, whatever a network may see in it
            return [frame_a.copy() for _ in times]
        return between_by_halves(self._halve, self._flow, frame_a, frame_b, times)

    def _halve(self, frame_a: NDArray[np.float32], frame_b: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.inference_mode(), one_torch_thread():
            shown = (show(frame, self._response, 1, self._device) for frame in (frame_a, frame_b))
            return take_back(self._network(*shown).frame, frame_a.shape[:2], self._response)
