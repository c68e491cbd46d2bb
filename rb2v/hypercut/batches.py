"""Batches whose tensors lie in one piece of memory, which a loader's worker shares with the process that trains.

A fresh page of shared memory costs more than the decoding of what is written to it, so a worker writes to the same
pieces again and again: the first byte of a piece says that a batch lies in it, and is cleared by whoever lets go of the
batch's last tensor, in whichever process.
"""

from __future__ import annotations

import math
import weakref
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import get_worker_info

Layout = Mapping[str, tuple[tuple[int, ...], torch.dtype]]
"""Shape and type of each tensor."""

MAX_PIECES = 16
"""Pieces that a worker keeps; batches that find all of them taken have memory of their own."""

_ALIGNMENT = 64

_pieces: list[Tensor] = []


class SharedBatch(dict[str, Tensor]):
    """Tensors in a piece of shared memory, which cross to another process as that piece and arrive as a plain dict."""

    def __init__(self, piece: Tensor, layout: Layout) -> None:
        tensors, self._lease = _lay_out(piece, layout)
        super().__init__(tensors)
        self._piece, self._layout = piece, layout

    def __reduce__(self) -> tuple[Any, ...]:
        # From now on it is the receiver who lets go of the piece.
        self._lease.detach()
        return _receive, (self._piece, self._layout)


def allocate_batch(layout: Layout) -> dict[str, Tensor]:
    """Return tensors to be written to: in shared memory within a loader's worker, in ordinary memory elsewhere.

    Parameters
    ----------
    layout : mapping of str to (shape, dtype)
        The tensors by name.

    Returns
    -------
    dict of str to tensor
        Contiguous tensors of any content.
    """
    if get_worker_info() is None:
        return {name: torch.empty(shape, dtype=dtype) for name, (shape, dtype) in layout.items()}
    return SharedBatch(_take_piece(_ALIGNMENT + sum(_padded_size(*part) for part in layout.values())), layout)


def _take_piece(n_bytes: int) -> Tensor:
    free = [piece for piece in _pieces if not piece[0]]
    for piece in free:
        if len(piece) >= n_bytes:
            return piece
        _pieces[:] = [other for other in _pieces if other is not piece]
    # Shared from the beginning: to share a tensor later is to copy it.
    storage = torch.UntypedStorage._new_shared(n_bytes, device="cpu")  # type: ignore[no-untyped-call]
    piece = torch.empty(0, dtype=torch.uint8).set_(storage)
    if len(_pieces) < MAX_PIECES:
        _pieces.append(piece)
    return piece


def _receive(piece: Tensor, layout: Layout) -> dict[str, Tensor]:
    return _lay_out(piece, layout)[0]


def _lay_out(piece: Tensor, layout: Layout) -> tuple[dict[str, Tensor], weakref.finalize[..., Any]]:
    memory = piece.numpy()
    memory[0] = 1
    # Tensors made from the array hold it for as long as one of them lives, or a view of one.
    lease = weakref.finalize(memory, piece.__setitem__, 0, 0)
    lease.atexit = False
    whole, offset, tensors = torch.from_numpy(memory), _ALIGNMENT, {}
    for name, (shape, dtype) in layout.items():
        tensors[name] = whole[offset : offset + math.prod(shape) * dtype.itemsize].view(dtype).view(shape)
        offset += _padded_size(shape, dtype)
    return tensors, lease


def _padded_size(shape: tuple[int, ...], dtype: torch.dtype) -> int:
    return -(-math.prod(shape) * dtype.itemsize // _ALIGNMENT) * _ALIGNMENT
