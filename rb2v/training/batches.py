"""Batches whose tensors lie in one piece of memory, which a loader's worker shares with the process that trains.

A fresh page of shared memory costs more than the decoding of what is written to it, so a worker writes to the same
pieces again and again. The first byte of a piece says whether it may: it is set before a batch leaves the worker, and
cleared by the receiver when the batch's last tensor, or the last view of one, is gone.
"""

from __future__ import annotations

import math
import os
import weakref
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.utils.data import get_worker_info

Layout = Mapping[str, tuple[tuple[int, ...], torch.dtype]]
"""Shape and type of each tensor."""

MAX_PIECES = 16
"""Pieces that a worker keeps; batches that find all of them taken have memory of their own."""

_FREE, _TAKEN, _LOST = 0, 1, 2  # a piece's first byte
_ALIGNMENT = 64  # bytes, a processor's cache line: tensors begin there, the first one behind the state's byte

_kept: list[Tensor] = []
"""The pieces of this process, where it is a worker."""

_held: dict[int, Tensor] = {}
"""The pieces of workers in which this process holds batches, by their ids."""


@dataclass(frozen=True, eq=False)
class _SentBatch:
    """A written piece on its way, which arrives in the other process as the tensors that lie in it."""

    piece: Tensor
    layout: Layout

    def __reduce__(self) -> tuple[Any, ...]:
        return _receive, (self.piece, self.layout)


def make_batch(layout: Layout, write: Callable[[dict[str, Tensor]], None]) -> Any:  # noqa: ANN401 - see Returns
    """Write a batch where it needs no copy any more.

    Parameters
    ----------
    layout : mapping of str to (shape, dtype)
        The tensors by name.
    write : callable
        Called once with these tensors, contiguous and of any content.

    Returns
    -------
    dict of str to tensor
        The tensors; in a loader's worker, an object that the process that receives it finds to be this dict.
    """
    if get_worker_info() is None:
        batch = empty_batch(layout)
        write(batch)
        return batch
    piece = _free_piece(_ALIGNMENT + sum(_padded_size(*part) for part in layout.values()))
    write(_lay_out(piece, layout))
    piece[0] = _TAKEN
    return _SentBatch(piece, layout)


def empty_batch(layout: Layout) -> dict[str, Tensor]:
    """Return tensors of any content in ordinary memory."""
    return {name: torch.empty(shape, dtype=dtype) for name, (shape, dtype) in layout.items()}


def share(tensor: Tensor) -> Tensor:
    """Move a tensor to memory that processes can share."""
    shared: Tensor = tensor.share_memory_()  # type: ignore[no-untyped-call]
    return shared


def _free_piece(n_bytes: int) -> Tensor:
    # What is lost, or free but too small for the batches that come now, is kept no longer.
    _kept[:] = [piece for piece in _kept if piece[0] == _TAKEN or (piece[0] == _FREE and len(piece) >= n_bytes)]
    for piece in _kept:
        if piece[0] == _FREE:
            return piece
    piece = share(torch.zeros(n_bytes, dtype=torch.uint8))
    if len(_kept) < MAX_PIECES:
        _kept.append(piece)
    return piece


def _receive(piece: Tensor, layout: Layout) -> dict[str, Tensor]:
    # Tensors made from an array hold it for as long as one of them lives, or a view of one.
    memory = piece.numpy()
    _held[id(piece)] = piece
    weakref.finalize(memory, _let_go, id(piece)).atexit = False
    return _lay_out(torch.from_numpy(memory), layout)


def _let_go(key: int) -> None:
    piece = _held.pop(key, None)
    if piece is not None:
        piece[0] = _FREE


def _lose_held() -> None:
    # A forked process holds the same batches, and neither it nor this one knows when the other lets go of them.
    while _held:
        _held.popitem()[1][0] = _LOST


os.register_at_fork(before=_lose_held)


def _lay_out(memory: Tensor, layout: Layout) -> dict[str, Tensor]:
    offset, tensors = _ALIGNMENT, {}
    for name, (shape, dtype) in layout.items():
        tensors[name] = memory[offset : offset + math.prod(shape) * dtype.itemsize].view(dtype).view(shape)
        offset += _padded_size(shape, dtype)
    return tensors


def _padded_size(shape: tuple[int, ...], dtype: torch.dtype) -> int:
    return -(-math.prod(shape) * dtype.itemsize // _ALIGNMENT) * _ALIGNMENT
