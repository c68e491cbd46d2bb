"""The matting method ``background``: mattes of sharp frames by a network, and that of the blurry frame from them."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from rb2v.choices import ScreenColor
from rb2v.core.color import Response, to_linear
from rb2v.core.compositing import composite, spread_to_rgb
from rb2v.core.metrics import psnr
from rb2v.device import one_torch_thread
from rb2v.errors import Rb2vError
from rb2v.matting import Matte
from rb2v.matting.background.network import MattingNetwork, Refinement, choose_scale
from rb2v.matting.background.weights import load_network
from rb2v.matting.sequences import bound_light, frames_to_linear, mean_over_window, show_frame

Plane = NDArray[np.float32]

_MOVED = 0.1  # range of a pixel's alpha over the sharp frames, from which on foreground moves through it
_NEARBY = np.float32(0.1)  # weight of a pixel's surroundings in the color of its foreground
_MIN_CONTRAST = 1e-2  # squared distance of foreground and plate in linear light, below which they are told apart less
_UNSURE = np.float32(0.03)  # change of alpha that is as likely an error of a sharp matte as light between sharp frames


def load_background_matting(weights: Path | None) -> BackgroundMatting:
    """Return the matting method with the weights of a file.

    Raises
    ------
    Rb2vError
        If no file is given, or it holds no weights of this network.
    """
    if weights is None:
        raise Rb2vError("the matting method 'background' needs weights; expected --weights FILE, see models/README.md")
    return BackgroundMatting(load_network(weights))


class BackgroundMatting:
    """Tell the foreground of a take by its clean plate.

    Parameters
    ----------
    network : MattingNetwork
        In evaluation mode, on the CPU.
    """

    needs = "a take with plate_blurry.png or plate_sharp.png, aligned with it"

    def __init__(self, network: MattingNetwork) -> None:
        self._network = network

    def fit(
        self,
        frames: NDArray[np.uint8],
        response: Response,
        plate: NDArray[np.uint8] | None = None,
        color: ScreenColor = "auto",
    ) -> PlateMatting:
        """Take the plate of a take.

        Parameters
        ----------
        frames : (T, H, W, 3) ndarray of uint8
            A few frames from all over the take; only their size matters.
        response : {"linear", "srgb"} or float
            The camera response that is coded in the frames.
        plate : (H, W, 3) ndarray of uint8, optional
            A frame without foreground.
        color : {"auto", "green", "blue"}
            Makes no difference.

        Raises
        ------
        Rb2vError
            If there is no plate, or it is not of the frames' size.
        """
        if plate is None:
            raise Rb2vError("there is no clean plate, which the matting method 'background' needs")
        if plate.shape != frames.shape[1:]:
            sizes = [f"{shape[1]}x{shape[0]}" for shape in (plate.shape, frames.shape[1:])]
            raise Rb2vError(f"the clean plate is {sizes[0]}, its frames are {sizes[1]}")
        return PlateMatting(self._network, plate, response)


class PlateMatting:
    """Background matting of one take.

    Parameters
    ----------
    network : MattingNetwork
        In evaluation mode, on the CPU.
    plate : (H, W, 3) ndarray of uint8
        A frame without foreground.
    response : {"linear", "srgb"} or float
        The camera response that is coded in the frames.
    """

    def __init__(self, network: MattingNetwork, plate: NDArray[np.uint8], response: Response) -> None:
        self._network = network
        self._response = response
        self._plate_linear = to_linear(plate, response)
        self._plate = show_frame(plate, response)

    def matte(self, sharp: NDArray[np.uint8], blurry: NDArray[np.uint8]) -> tuple[Matte, Matte]:
        """Return the mattes of a sharp sequence and of its blurry frame; see `FittedMatting.matte`."""
        mattes = [self._matte_sharp(frame) for frame in sharp]
        alphas, foregrounds = (np.stack(parts) for parts in zip(*mattes, strict=True))
        means = [mean_over_window(stack) for stack in (alphas, foregrounds, frames_to_linear(sharp, self._response))]
        return Matte(alphas, foregrounds), self._matte_blurry(to_linear(blurry, self._response), alphas, *means)

    def _matte_sharp(self, frame: NDArray[np.uint8]) -> tuple[Plane, NDArray[np.float32]]:
        with torch.inference_mode(), one_torch_thread():
            scale = choose_scale(*frame.shape[:2])
            alpha, *_ = self._network(show_frame(frame, self._response), self._plate, scale, Refinement())
        share = alpha[0, 0].numpy().copy()
        return share, bound_light(
            to_linear(frame, self._response) - spread_to_rgb(1 - share) * self._plate_linear, share
        )

    def _matte_blurry(
        self,
        image_linear: NDArray[np.float32],
        alphas: Plane,
        alpha: Plane,
        foreground: NDArray[np.float32],
        mean_linear: NDArray[np.float32],
    ) -> Matte:
        """Matte the blurry frame: the mean of the sharp mattes, and the light that the sharp frames leave out between.

        Where foreground sweeps over the plate, more or less light than the sharp frames' mean is more or less of the
        foreground; where nothing moves, the means stand as they are.
        """
        left_out = image_linear - mean_linear
        radius = max(1, min(alpha.shape) // 50)
        swept = _dilate(np.ptp(alphas, axis=0) > _MOVED, radius)
        contrast = _spread_color(foreground, alpha, radius) - self._plate_linear
        gain = (contrast * left_out).sum(axis=-1)
        gain /= np.maximum(np.square(contrast).sum(axis=-1), _MIN_CONTRAST)
        gain *= gain**2 / (gain**2 + _UNSURE**2)
        share = np.clip(alpha + swept * gain, 0, 1).astype(np.float32)
        change = spread_to_rgb(np.maximum(share, alpha)) * left_out + spread_to_rgb(share - alpha) * self._plate_linear
        light = bound_light(foreground + change, share)
        return Matte(share, light, psnr(composite(light, share, self._plate_linear), image_linear))


def _dilate(mask: NDArray[np.bool_], radius: int) -> Plane:
    kernel = np.ones((2 * radius + 1, 2 * radius + 1), np.uint8)
    return np.asarray(cv2.dilate(mask.astype(np.float32), kernel), dtype=np.float32)


def _spread_color(premultiplied: NDArray[np.float32], alpha: Plane, radius: int) -> NDArray[np.float32]:
    """Return the foreground's color: a pixel's own, or that of its surroundings where it shows little of it."""
    near, near_alpha = (cv2.GaussianBlur(image, (0, 0), radius) for image in (premultiplied, alpha))
    total = np.maximum(alpha + _NEARBY * near_alpha, np.float32(1e-4))
    return np.asarray((premultiplied + _NEARBY * near) / spread_to_rgb(total), dtype=np.float32)
