"""Guidance of a training by an order network: the direction of every sequence, and the side of estimates."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from rb2v.blur2vid.config import REGIONS_REGULARIZER, SIGN_REGULARIZERS
from rb2v.blur2vid.losses import naive, regularize, regularize_regions, regularize_signs
from rb2v.errors import InputError
from rb2v.hypercut.checkpoint import load_order_network
from rb2v.hypercut.networks import OrderNetwork
from rb2v.hypercut.networks.signs import SignNetwork
from rb2v.hypercut.pair_order import sequence_pairs
from rb2v.hypercut.regions import find_sides
from rb2v.hypercut.sequences import check_frame_size
from rb2v.shards import ShardReader
from rb2v.shards.prepared import find_frames
from rb2v.shards.resizing import resize_frames
from rb2v.training.data import to_float, to_tensor

N_SCALE_SEQUENCES = 64
"""Training sequences that tell the units."""


class Regularizer:
    """The HyperCUT regulariser with a trained order network, which stays as it is.

    It is measured in two units of the training sequences, so that its weight means the same whatever the network and
    the data: scores in their root mean square, and the penalty in the distance between a sequence and its reversal,
    which is what the losses make of a wrong direction.

    Parameters
    ----------
    path : Path
        What `rb2v.hypercut.checkpoint.load_order_network` takes.
    reader : ShardReader
        The training sequences, some of which tell the units.
    form : str
        A key of ``REGULARIZERS``, or one of ``SIGN_REGULARIZERS``, whose penalty is in the second unit by itself.
    device : torch.device
        Where to compute.

    Raises
    ------
    InputError
        If the network cannot be read, frames are too small for it, it scores all sequences alike, or nothing moves.
    """

    def __init__(self, path: Path, reader: ShardReader, form: str, device: torch.device) -> None:
        self.form = form
        network, config = load_order_network(path)
        if form in SIGN_REGULARIZERS and not isinstance(network, SignNetwork):
            raise InputError(path, f"is a network {config.arch!r}", expected=f"'signs' for the regularizer {form!r}")
        self._network: OrderNetwork = network.to(device).requires_grad_(False)
        self._image_size = config.image_size
        check_frame_size(reader, config.image_size, network.min_size_px)
        self.score_scale, self.distance_scale = self._measure_scales(path, reader, device)

    @property
    def min_size_px(self) -> int:
        """Least side of the images whose estimates can be scored."""
        return self._network.min_size_px

    def __call__(self, estimate: Tensor, truth: Tensor) -> Tensor:
        """Return the penalty of every sequence, (B,), of estimates (B, N + 1, 3, H, W).

        The true sequences, of the same shape and in either direction, tell the orders of ``regions``.
        """
        shown = self._shown(estimate)
        if not isinstance(self._network, SignNetwork) or self.form not in SIGN_REGULARIZERS:
            return self.distance_scale * regularize(shown, self._network, self.score_scale, self.form)
        if self.form == REGIONS_REGULARIZER:
            true = self._shown(truth)
            return regularize_regions(shown, true, find_sides(self._network, true))
        return regularize_signs(shown, self._network)

    def _shown(self, sequences: Tensor) -> Tensor:
        """Shrink what is larger than the frames that the network was trained on."""
        height, width = sequences.shape[-2:]
        scale = self._image_size / min(height, width)
        if scale >= 1:
            return sequences
        size = (round(height * scale), round(width * scale))
        flat = F.interpolate(sequences.flatten(0, 1), size=size, mode="area")
        return flat.reshape(*sequences.shape[:-2], *size)

    def _measure_scales(self, path: Path, reader: ShardReader, device: torch.device) -> tuple[float, float]:
        squares, distances = [], []
        # A few sequences of maybe many: they are not worth making the frames of all.
        prepared = find_frames(reader, self._image_size)
        with torch.inference_mode():
            for index in np.unique(np.linspace(0, len(reader) - 1, N_SCALE_SEQUENCES).astype(int)).tolist():
                sharp = (
                    to_tensor(resize_frames(reader.read_sharp(index), self._image_size))
                    if prepared is None
                    else torch.from_numpy(prepared[index, 1:])
                )
                frames = to_float(sharp).to(device)
                squares.append(self._network.score(*sequence_pairs(frames)).square().mean())
                distances.append(naive(frames[None], frames[None].flip(1)))
        score = math.sqrt(float(torch.stack(squares).mean()))
        if not 0 < score < math.inf:
            raise InputError(path, "scores all training sequences alike", expected="a trained order network")
        distance = float(torch.cat(distances).mean())
        if not distance:
            raise InputError(reader.folder, "its training sequences are their own reversals", expected="motion")
        return score, distance
