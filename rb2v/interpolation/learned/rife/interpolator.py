"""The interpolator ``rife``: frames at any time between two frames, by one of the networks of RIFE."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rb2v.core.color import Response
from rb2v.device import Device, check_torch_device, one_torch_thread, torch_device_of
from rb2v.interpolation.learned.pictures import show, take_back
from rb2v.interpolation.learned.quick_layers import quicken
from rb2v.interpolation.learned.rife.network import Rife
from rb2v.interpolation.learned.rife.weights import load_rife


def make_rife(
    version: str, response: Response, device: Device, folder: Path | None = None, *, symmetric: bool = False
) -> RifeInterpolator:
    """Return the interpolator with the weights of a version.

    Parameters
    ----------
    version : {"3.1", "3.5", "3.8", "4.0", "4.6"}
        Which of the networks.
    response : {"linear", "srgb"} or float
        What linear frames are encoded with for the network.
    device : {"auto", "cpu", "cuda"}
        Where it computes; auto takes CUDA where there is one.
    folder : Path, optional
        Folder of the weights; by default the one that ``rb2v models fetch`` fills.
    symmetric : bool
        See `RifeInterpolator`.

    Raises
    ------
    InputError
        If the weights are missing or cannot be used, or there is no such device.
    """
    check_torch_device(device)
    return RifeInterpolator(load_rife(version, folder), response, torch_device_of(device), symmetric=symmetric)


class Proposal(NamedTuple):
    """A frame between two, and how well the two agree on it."""

    frame: NDArray[np.float32]
    """(H, W, 3) coded RGB in 0..1."""
    disagreement: NDArray[np.float32]
    """(H, W) mean absolute difference of the two frames, each moved to the time between, in coded RGB."""


class RifeInterpolator:
    """Frames by a network that estimates the flow from the frame between to both of its neighbors.

    Parameters
    ----------
    network : Rife
        In evaluation mode; on the CPU its layers are exchanged for those of `quick_layers`.
    response : {"linear", "srgb"} or float
        What linear frames are encoded with for the network, which was trained on coded ones.
    device : {"cpu", "cuda"}
        Where it computes: on the CPU in float32 and on one thread, on a GPU with convolutions in float16.
    symmetric : bool
        Whether to take the mean of both directions of time: the same frames then come out backwards, so that no order
        is told by how they were made, at twice the cost.
    """

    def __init__(
        self, network: Rife, response: Response = "srgb", device: str = "cpu", *, symmetric: bool = False
    ) -> None:
        self._network = network.to(device)
        if device == "cpu":
            quicken(self._network)
        self._response: Response = response
        self._device = device
        self._symmetric = symmetric

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
        made = dict(zip(inner, self._make(frame_a, frame_b, inner), strict=True))
        return [made[time] if time in made else (frame_a if time <= 0 else frame_b).copy() for time in times]

    def _make(
        self, frame_a: NDArray[np.float32], frame_b: NDArray[np.float32], times: Sequence[float]
    ) -> list[NDArray[np.float32]]:
        if not times or np.array_equal(frame_a, frame_b):  # nothing moved, whatever a network may see in it
            return [frame_a.copy() for _ in times]
        with torch.inference_mode(), one_torch_thread(), self._precision():
            shown_a, shown_b = self._show(frame_a), self._show(frame_b)
            if self._symmetric:
                both = self._network.make_both_ways(shown_a, shown_b, times)
                frames = [made.frame.mean(dim=0, keepdim=True) for made in both]
            else:
                frames = self._network.between(shown_a, shown_b, times)
            # The networks were trained on BGR.
            return [take_back(frame.flip(1), frame_a.shape[:2], self._response) for frame in frames]

    def propose(
        self, frame_a: NDArray[np.float32], frame_b: NDArray[np.float32], times: Sequence[float]
    ) -> list[list[Proposal]]:
        """Return for each time the frame made forwards and the one made backwards in time.

        Parameters
        ----------
        frame_a, frame_b : (H, W, 3) ndarray of float32
            As for `between`.
        times : sequence of float
            Within 0..1, exclusively.
        """
        size = frame_a.shape[:2]
        with torch.inference_mode(), one_torch_thread(), self._precision():
            both = self._network.make_both_ways(self._show(frame_a), self._show(frame_b), times)
            return [
                [
                    Proposal(take_back(frame[None].flip(1), size, "linear"), error[: size[0], : size[1]].cpu().numpy())
                    for frame, error in zip(
                        made.frame, (made.warped_a.float() - made.warped_b.float()).abs().mean(dim=1), strict=True
                    )
                ]
                for made in both
            ]

    def _show(self, frame: NDArray[np.float32]) -> Tensor:
        return show(frame, self._response, self._network.multiple, self._device).flip(1)

    def _precision(self) -> torch.autocast:
        return torch.autocast(self._device, torch.float16, enabled=self._device == "cuda")
