"""Parts of the networks' mattes of a sequence: frames as a network sees them, and means over the blur window."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rb2v.core.blur import step_weights
from rb2v.core.color import Response, from_linear, to_linear
from rb2v.core.compositing import spread_to_rgb


def show_frame(frame: NDArray[np.uint8], response: Response) -> Tensor:
    """Return an (H, W, 3) frame as networks see it: (1, 3, H, W), coded as sRGB, in 0..1."""
    if response == "srgb":
        coded = frame.astype(np.float32) / np.float32(255)
    else:
        coded = from_linear(to_linear(frame, response), "srgb")
    return torch.from_numpy(coded).permute(2, 0, 1)[None].contiguous()


def bound_light(premultiplied_linear: NDArray[np.float32], alpha: NDArray[np.float32]) -> NDArray[np.float32]:
    """Hold (..., H, W, 3) light times share between darkness and full light."""
    return np.clip(premultiplied_linear, 0, spread_to_rgb(alpha))


def frames_to_linear(frames: Iterable[NDArray[np.uint8]], response: Response) -> NDArray[np.float32]:
    """Return frames in linear light."""
    return np.stack([to_linear(frame, response) for frame in frames])


def mean_over_window(frames: NDArray[np.float32]) -> NDArray[np.float32]:
    """Average sharp frames as the blur track does, whose frames between two sharp ones are linear in time."""
    return np.asarray(np.tensordot(step_weights(len(frames)), frames, axes=1), dtype=np.float32)
