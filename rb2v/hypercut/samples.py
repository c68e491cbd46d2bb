"""An early look at what the order network is trained on: augmented sequences as one image."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rb2v.hypercut.augmentation import draw_sequences, show_pairs
from rb2v.hypercut.networks import OrderNetwork
from rb2v.io.store import whole_file

N_SHOWN = 6  # rows of the image, few enough to look at each
_SIDE_PX = 144  # of the shorter side of a frame as shown
_GAP_PX = 8  # between frames
_TEXT_PX = 20  # height of the line with the score

_INK, _PAPER, _NEGATIVE = (40, 32, 28), (255, 255, 255), (30, 100, 200)
"""Colors in OpenCV's order, blue first."""


def write_samples(path: Path, network: OrderNetwork, sequences: Tensor, batch_size: int, seed: int) -> Path:
    """Write the first sequences of the first step's batch as the network sees them, whole or not at all.

    Every row is a sequence, its frames in the order in which they are shown. Pairs whose contrast is reversed have a
    frame of their own, and below the first frame of every pair stands the score that the network gives it.

    Parameters
    ----------
    path : Path
        The PNG file to write.
    network : OrderNetwork
        The network, not trained yet.
    sequences : (n, N + 1, 3, h, w) tensor of uint8
        Training sequences.
    batch_size, seed : int
        Those of the training.
    """
    drawn, contrast_reversed = draw_sequences(sequences, batch_size, seed, 0, range(min(N_SHOWN, batch_size)))
    first, second = show_pairs(drawn, contrast_reversed)
    with torch.inference_mode():
        scores = network.score(first.to(network.normal.device), second.to(network.normal.device)).cpu().numpy()
    n_pairs = first.shape[1]
    # The center frame has no partner, and the network never sees it.
    shown = torch.cat([first, drawn[:, n_pairs : n_pairs + 1], second.flip(1)], dim=1)
    rows = [
        _draw_row(frames, negative, row_scores)
        for frames, negative, row_scores in zip(shown, contrast_reversed.numpy(), scores, strict=True)
    ]
    image = np.pad(np.vstack(rows), ((_GAP_PX, 0), (_GAP_PX, 0), (0, 0)), constant_values=255)
    with whole_file(path) as temporary:
        temporary.write_bytes(cv2.imencode(".png", image)[1].tobytes())
    return path


def _draw_row(frames: Tensor, negative: NDArray[np.bool_], scores: NDArray[np.float32]) -> NDArray[np.uint8]:
    n_pairs, last = len(negative), len(frames) - 1
    tiles = []
    for index, frame in enumerate(frames):
        pair = min(index, last - index)
        text = f"x_{index}"
        if pair == n_pairs:
            text += ": no pair"
        elif index == pair:
            text += f"  s_{pair} {scores[pair]:+.3g}"
        elif negative[pair]:
            text += "  negative"
        tiles.append(_draw_tile(frame, text, marked=pair < n_pairs and bool(negative[pair])))
    return np.hstack(tiles)


def _draw_tile(frame: Tensor, text: str, *, marked: bool) -> NDArray[np.uint8]:
    pixels = np.rint(frame.clamp(0, 1).permute(1, 2, 0).numpy()[..., ::-1] * 255).astype(np.uint8)
    height, width = pixels.shape[:2]
    scale = _SIDE_PX / min(height, width)
    size = (round(width * scale), round(height * scale))
    pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_NEAREST if scale > 1 else cv2.INTER_AREA)
    color = _NEGATIVE if marked else _PAPER
    tile = cv2.copyMakeBorder(pixels, 4, 4, 4, 4, cv2.BORDER_CONSTANT, value=color)
    tile = cv2.copyMakeBorder(tile, 0, _TEXT_PX + _GAP_PX, 0, _GAP_PX, cv2.BORDER_CONSTANT, value=_PAPER)
    place = (4, size[1] + 8 + 14)
    ink = _NEGATIVE if marked else _INK
    cv2.putText(tile, text, place, cv2.FONT_HERSHEY_SIMPLEX, 0.42, ink, 1, cv2.LINE_AA)
    return np.asarray(tile, dtype=np.uint8)
