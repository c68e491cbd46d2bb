"""The matting method ``rvm``: mattes of sharp frames by a recurrent network, and that of the blurry frame from them."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import safe_open

from rb2v.choices import ScreenColor
from rb2v.core.color import Response, to_linear
from rb2v.core.compositing import spread_to_rgb
from rb2v.device import one_torch_thread
from rb2v.errors import InputError
from rb2v.io.store import sha256_of
from rb2v.matting import Matte
from rb2v.matting.recurrent.network import RecurrentNetwork, name_tensors
from rb2v.matting.sequences import bound_light, frames_to_linear, mean_over_window, show_frame
from rb2v.models import fetched_file
from rb2v.training.tensor_files import check_file, fill

MODEL_NAME, FILE_NAME = "rvm", "mobilenetv3.safetensors"
"""In the catalogue of what can be fetched."""

_FETCHING = "run 'rb2v models fetch rvm'"
_EXPECTED = "what 'rb2v models fetch rvm' brings"
_N_SETTLING = 2  # frames, played backward, in which the memory settles: flicker is a seventh less; 4 gain little
_OPAQUE = 0.98  # alpha, from which on a pixel's color is the foreground's own


def load_recurrent_matting(weights: Path | None = None) -> RecurrentMatting:
    """Return the matting method with its weights.

    Parameters
    ----------
    weights : Path, optional
        Safetensors; by default those that ``rb2v models fetch rvm`` brought.

    Raises
    ------
    InputError
        If the file is missing or damaged, or a tensor is missing, unknown, of another shape or not finite.
    """
    path = fetched_file(MODEL_NAME, FILE_NAME) if weights is None else weights
    if not path.is_file():
        raise InputError(path, "the weights of the matting method 'rvm' are not here", expected=_FETCHING)
    check_file(path, _EXPECTED)
    return RecurrentMatting(_load(path, sha256_of(path)))


@lru_cache(maxsize=1)
def _load(path: Path, _digest: str) -> RecurrentNetwork:
    try:
        with safe_open(path, framework="pt") as file:
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
    except Exception as error:  # of sizes that no tensor has, torch raises what it likes
        raise InputError(path, "is no safetensors file, or is cut short", expected=_EXPECTED) from error
    network = RecurrentNetwork()
    fill(path, network, name_tensors(network, tensors), "Robust Video Matting", _EXPECTED)
    return network.eval().requires_grad_(False)


class RecurrentMatting:
    """Tell people from what is behind them, in any take.

    Parameters
    ----------
    network : RecurrentNetwork
        In evaluation mode, on the CPU.
    """

    needs = "frames"

    def __init__(self, network: RecurrentNetwork) -> None:
        self._network = network

    def fit(
        self,
        frames: NDArray[np.uint8],
        response: Response,
        plate: NDArray[np.uint8] | None = None,
        color: ScreenColor = "auto",
    ) -> PeopleMatting:
        """Take a take's camera response; nothing else of it is learnt.

        Parameters
        ----------
        frames : (T, H, W, 3) ndarray of uint8
            Makes no difference.
        response : {"linear", "srgb"} or float
            The camera response that is coded in the frames.
        plate : (H, W, 3) ndarray of uint8, optional
            Makes no difference.
        color : {"auto", "green", "blue"}
            Makes no difference.
        """
        return PeopleMatting(self._network, response)


class PeopleMatting:
    """Recurrent matting of one take.

    Parameters
    ----------
    network : RecurrentNetwork
        In evaluation mode, on the CPU.
    response : {"linear", "srgb"} or float
        The camera response that is coded in the frames.
    """

    def __init__(self, network: RecurrentNetwork, response: Response) -> None:
        self._network, self._response = network, response

    def matte(self, sharp: NDArray[np.uint8], blurry: NDArray[np.uint8]) -> tuple[Matte, Matte]:
        """Return the mattes of a sharp sequence and of its blurry frame; see `FittedMatting.matte`.

        The network remembers within a sequence, from its first frame to its last; so a sample's mattes are the same
        whatever was keyed before. The blurry frame's alpha is the mean of the sharp ones over the blur window.
        """
        alphas, lights = (np.stack(parts) for parts in zip(*self._follow(sharp), strict=True))
        alpha, light = mean_over_window(alphas), mean_over_window(lights)
        left_out = to_linear(blurry, self._response) - mean_over_window(frames_to_linear(sharp, self._response))
        # What the blurry frame has beyond the sharp ones is the foreground's by its share.
        light = bound_light(light + spread_to_rgb(alpha) * left_out, alpha)
        return Matte(alphas, lights), Matte(alpha, light)

    def _follow(self, frames: NDArray[np.uint8]) -> list[tuple[NDArray[np.float32], NDArray[np.float32]]]:
        """Return alpha and premultiplied light of every frame of a sequence."""
        found, state = [], None
        with torch.inference_mode(), one_torch_thread():
            for frame in frames[_N_SETTLING:0:-1]:
                state = self._network(show_frame(frame, self._response), state).state
            for frame in frames:
                foreground, alpha, state = self._network(show_frame(frame, self._response), state)
                found.append(self._lift(frame, alpha[0, 0].numpy().copy(), foreground[0].permute(1, 2, 0).numpy()))
        return found

    def _lift(
        self, frame: NDArray[np.uint8], alpha: NDArray[np.float32], foreground: NDArray[np.float32]
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        color = to_linear(foreground, "srgb")
        own = to_linear(frame, self._response)
        color = np.where((alpha > _OPAQUE)[..., None], own, color)
        return alpha, bound_light(spread_to_rgb(alpha) * color, alpha)
