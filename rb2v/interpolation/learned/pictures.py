"""Frames as the networks are shown them: coded, of sides that suit, on their device; and the way back."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from numpy.typing import NDArray
from torch import Tensor

from rb2v.core.color import Response, from_linear, to_linear


def show(frame: NDArray[np.float32], response: Response, multiple: int, device: str) -> Tensor:
    """Return a frame as a network is shown it.

    Parameters
    ----------
    frame : (H, W, 3) ndarray of float32
        RGB in linear light; values outside 0..1 are clipped.
    response : {"linear", "srgb"} or float
        What it is encoded with.
    multiple : int
        What sides are brought to multiples of; the last row and column are repeated for it.
    device : str
        Where the tensor is to be.

    Returns
    -------
    (1, 3, H', W') tensor of float32
        Coded RGB in 0..1.
    """
    coded = torch.from_numpy(from_linear(frame, response)).permute(2, 0, 1)[None].to(device)
    height, width = frame.shape[:2]
    return F.pad(coded, (0, -width % multiple, 0, -height % multiple), mode="replicate")


def take_back(shown: Tensor, size: tuple[int, int], response: Response) -> NDArray[np.float32]:
    """Return a frame from what a network made; the inverse of `show`.

    Parameters
    ----------
    shown : (1, 3, H', W') tensor of float
        Coded RGB; values outside 0..1 are clipped.
    size : (H, W) tuple of int
        The size without what was added to its sides.
    response : {"linear", "srgb"} or float
        What it is decoded with.

    Returns
    -------
    (H, W, 3) ndarray of float32
        Linear light in 0..1.
    """
    coded = shown[0, :, : size[0], : size[1]].float().clamp(0, 1).permute(1, 2, 0).contiguous().cpu().numpy()
    return to_linear(coded, response)
