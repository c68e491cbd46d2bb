"""Order of the samples, for every process that trains and wherever training was stopped."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch.distributed
from numpy.typing import NDArray
from torch.utils.data import Sampler

from rb2v.errors import InputError, Rb2vError
from rb2v.shards.epoch_order import draw_order
from rb2v.training.data import ShardDataset


class ShardSampler(Sampler[int]):
    """Indices of one process's share of a data set, mixed anew in every epoch.

    Process ``r`` of ``w`` takes every ``w``-th index of one order, from the ``r``-th on: together they see every
    sample, each as many as the others.

    Parameters
    ----------
    dataset : ShardDataset
        The samples; its seed decides their order.
    shuffle : bool
        Whether to mix the samples.
    window : int, optional
        Where random access is slow: shards come in random order, and samples are mixed among so many of them, which a
        process then reads to their end. All samples are mixed where it is None.
    rank, world_size : int, optional
        This process and the number of processes; those of ``torch.distributed`` by default, where it runs.
    drop_last : bool
        Whether to leave out the last samples where the processes cannot share them evenly; otherwise the order's first
        samples are seen again to fill up.

    Raises
    ------
    Rb2vError
        If the rank or window is out of range.

    Examples
    --------
    >>> sampler = ShardSampler(dataset, rank=0, world_size=2)  # doctest: +SKIP
    """

    def __init__(
        self,
        dataset: ShardDataset,
        *,
        shuffle: bool = True,
        window: int | None = None,
        rank: int | None = None,
        world_size: int | None = None,
        drop_last: bool = False,
    ) -> None:
        running = torch.distributed.is_available() and torch.distributed.is_initialized()
        self.rank = (torch.distributed.get_rank() if running else 0) if rank is None else rank
        self.world_size = (torch.distributed.get_world_size() if running else 1) if world_size is None else world_size
        if not 0 <= self.rank < self.world_size:
            raise Rb2vError(f"there is no rank {self.rank} of {self.world_size} processes")
        self.dataset = dataset
        self.shuffle = shuffle
        self.window = window
        self.drop_last = drop_last
        self.start = 0
        """Samples of this process that the next iteration leaves out at the beginning."""
        self._draw()  # now, and not in the first iteration, refuses a window that cannot be

    @property
    def epoch(self) -> int:
        """The epoch, which is the data set's."""
        return self.dataset.epoch

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch that the next iteration draws, here and for the crops; in a new one it starts anew."""
        if epoch != self.epoch:
            self.start = 0
        self.dataset.set_epoch(epoch)

    def __len__(self) -> int:
        """Return the number of this process's samples in an epoch."""
        n = len(self.dataset)
        return n // self.world_size if self.drop_last else -(-n // self.world_size)

    def __iter__(self) -> Iterator[int]:
        """Return this process's indices; after `load_state_dict`, those that are left."""
        start, self.start = self.start, 0
        # Cut, or begun again as often as it takes: there may be more processes than samples.
        shared = np.resize(self._draw(), len(self) * self.world_size)
        return iter(shared[self.rank :: self.world_size][start:].tolist())

    def state_dict(self, position: int) -> dict[str, Any]:
        """Return what another process needs to resume from here.

        A loader's workers run ahead, so that the sampler cannot tell what was used: ``make_loader`` counts it.

        Parameters
        ----------
        position : int
            Samples of this epoch that were used by this process.
        """
        return {**self._identity(), "epoch": self.epoch, "consumed": position * self.world_size}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where a state was taken, maybe with another number of processes.

        Raises
        ------
        Rb2vError
            If the state is of another data set, seed or order, or the processes cannot share what was used.
        """
        for key, value in self._identity().items():
            if state.get(key) != value:
                problem = f"is {state.get(key)!r} in the state, and {value!r} here"
                raise InputError("state", problem, key, "a state of the same samples in the same order")
        epoch, consumed = state.get("epoch"), state.get("consumed")
        if not (isinstance(epoch, int) and isinstance(consumed, int) and epoch >= 0 and consumed >= 0):
            raise InputError("state", "holds no epoch and number of samples")
        finished = consumed >= len(self.dataset)
        if consumed % self.world_size and not finished:
            problem = (
                f"{consumed} samples were used, of which {self.world_size} processes cannot have used as many each"
            )
            raise InputError("state", problem, "consumed", f"a multiple of {self.world_size}")
        self.set_epoch(epoch)
        self.start = len(self) if finished else consumed // self.world_size

    def _draw(self) -> NDArray[np.int64]:
        sizes, seed = self.dataset.reader.shard_sizes, self.dataset.seed
        return draw_order(sizes, seed=seed, epoch=self.epoch, shuffle=self.shuffle, window=self.window)

    def _identity(self) -> dict[str, Any]:
        shards = [
            entry.sha256
            for split, listed in self.dataset.reader.manifest.splits.items()
            if self.dataset.reader.split in (None, split)
            for entry in listed.shards
        ]
        return {
            "data_sha256": hashlib.sha256("".join(shards).encode()).hexdigest(),
            "seed": self.dataset.seed,
            "shuffle": self.shuffle,
            "window": self.window,
        }
